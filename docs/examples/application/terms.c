#include "terms.h"

#include <string.h>

static const char DAMAGED[] = "state.damaged";

static bool digits(const char *text, int count, int *number) {
    *number = 0;
    for (int index = 0; index < count; index++) {
        if (text[index] < '0' || text[index] > '9')
            return false;
        *number = *number * 10 + (text[index] - '0');
    }
    return true;
}

bool terms_moment(const char *text, time_t *moment) {
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day, hour, minute, second;
    if (text == NULL || strlen(text) != strlen("2026-12-01T00:00:00Z") || text[4] != '-'
        || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':'
        || text[19] != 'Z' || !digits(text, 4, &year) || !digits(text + 5, 2, &month)
        || !digits(text + 8, 2, &day) || !digits(text + 11, 2, &hour)
        || !digits(text + 14, 2, &minute) || !digits(text + 17, 2, &second))
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59
        || day > DAYS[month - 1] + (leap && month == 2))
        return false;
    long long days = day - 1 + (leap && month > 2);
    for (int before = 1970; before < year; before++)
        days += 365 + ((before % 4 == 0 && before % 100 != 0) || before % 400 == 0);
    for (int before = 1; before < month; before++)
        days += DAYS[before - 1];
    *moment = (time_t)(days * 86400 + hour * 3600 + minute * 60 + second);
    return true;
}

static bool is_asked(const struct json *value) { return value != NULL && value->type != JSON_NULL; }

static bool same(const char *one, const char *other) {
    return one != NULL && other != NULL && strcmp(one, other) == 0;
}

static bool holds(const char *const *texts, size_t count, const char *wanted) {
    for (size_t index = 0; index < count; index++)
        if (same(texts[index], wanted))
            return true;
    return false;
}

static bool is_list(const struct json *value) { return value != NULL && value->type == JSON_LIST; }

/* Whether it is missing, or a list of texts. */
static bool is_texts_or_none(const struct json *value) {
    if (value != NULL && value->type != JSON_LIST)
        return false;
    for (const struct json *item = value == NULL ? NULL : value->child; item; item = item->next)
        if (item->type != JSON_TEXT)
            return false;
    return true;
}

static const char *of_age(const struct json *layer, const struct primum_episode *episode) {
    static const char *const BOUNDS[] = {"ageYearsMin", "ageYearsMax"};
    for (int upper = 0; upper < 2; upper++) {
        const struct json *bound = json_member(layer, BOUNDS[upper]);
        long long years;
        if (!is_asked(bound))
            continue;
        if (!json_whole(bound, &years))
            return DAMAGED;
        if (!episode->has_age || (upper ? episode->age_years > years : episode->age_years < years))
            return "eligibility.population";
    }
    return NULL;
}

static const char *of_category(const struct json *layer, const struct primum_episode *episode) {
    const struct json *allowed = json_member(layer, "patientCategories");
    if (!is_asked(allowed))
        return NULL;
    if (!is_texts_or_none(allowed))
        return DAMAGED;
    for (const struct json *item = allowed->child; item != NULL; item = item->next)
        if (same(item->text, episode->patient_category))
            return NULL;
    return "eligibility.population";
}

static const char *of_sex(const struct json *layer, const struct primum_episode *episode) {
    const struct json *asked = json_member(layer, "sex");
    if (!is_asked(asked))
        return NULL;
    if (asked->type != JSON_TEXT)
        return DAMAGED;
    return same(asked->text, episode->sex) ? NULL : "eligibility.population";
}

/* Every code that must apply does, and none that must not; what is not known does neither. */
static const char *of_codes(const struct json *layer, const struct primum_episode *episode) {
    static const char *const NAMES[] = {"include", "exclude"};
    for (int never = 0; never < 2; never++) {
        const struct json *codes = json_member(layer, NAMES[never]);
        if (!is_texts_or_none(codes))
            return DAMAGED;
        for (const struct json *item = codes ? codes->child : NULL; item; item = item->next) {
            bool applies = holds(episode->codes, episode->code_count, item->text);
            if (!episode->has_codes || applies == (bool)never)
                return "eligibility.population";
        }
    }
    return NULL;
}

static const char *of_input(const struct json *wanted, const struct primum_episode *episode) {
    const char *channel = json_text(json_member(wanted, "channel"));
    const char *code = json_text(json_member(wanted, "code"));
    const char *unit = json_text(json_member(wanted, "unit"));
    double rate;
    if (!channel || !code || !unit || !json_decimal(json_member(wanted, "rateHz"), &rate))
        return DAMAGED;
    for (size_t index = 0; index < episode->input_count; index++) {
        const struct primum_channel *there = &episode->inputs[index];
        if (same(there->channel, channel))
            return same(there->code, code) && same(there->unit, unit) && there->rate_hz == rate
                     ? NULL : "compat.contract";
    }
    return "compat.contract";
}

static const char *of_condition(const struct json *wanted, const struct primum_episode *episode) {
    const char *code = json_text(json_member(wanted, "code"));
    if (code == NULL)
        return DAMAGED;
    return holds(episode->conditions_met, episode->condition_count, code)
             ? NULL : "eligibility.condition";
}

typedef const char *rule(const struct json *, const struct primum_episode *);

static const char *of_each(const struct json *layer, const char *name, rule *rule,
                           const struct primum_episode *episode) {
    const struct json *list = json_member(layer, name);
    const char *refusal = NULL;
    if (list != NULL && !is_list(list))
        return DAMAGED;
    for (const struct json *item = list ? list->child : NULL; item && !refusal; item = item->next)
        refusal = rule(item, episode);
    return refusal;
}

/* Why a layer is not met, or NULL. */
static const char *of_layer(const struct json *layer, const struct primum_episode *episode) {
    static const char *const KNOWN[] = {"patientCategories", "ageYearsMin", "ageYearsMax", "sex",
                                        "include", "exclude", "inputs", "conditions"};
    static rule *const RULES[] = {of_category, of_age, of_sex, of_codes};
    const char *refusal = NULL;
    if (layer->type != JSON_OBJECT)
        return DAMAGED;
    for (const struct json *member = layer->child; member != NULL; member = member->next)
        if (!holds(KNOWN, sizeof KNOWN / sizeof *KNOWN, member->name))
            return "eligibility.crit-unknown";
    for (size_t index = 0; index < sizeof RULES / sizeof *RULES && refusal == NULL; index++)
        refusal = RULES[index](layer, episode);
    if (refusal == NULL)
        refusal = of_each(layer, "inputs", of_input, episode);
    return refusal != NULL ? refusal : of_each(layer, "conditions", of_condition, episode);
}

bool terms_allow(const struct json *terms, const struct primum_episode *episode, time_t now,
                 const char **reason, const char **banner, const char **more) {
    const char *mode = json_text(json_member(terms, "mode"));
    const char *order = json_text(json_member(terms, "onExpiry"));
    const struct json *layers = json_member(terms, "layers");
    time_t ends;
    *banner = json_text(json_member(terms, "banner"));
    *more = "";
    *reason = DAMAGED;
    if (mode == NULL || order == NULL || *banner == NULL || !is_list(layers)
        || !terms_moment(json_text(json_member(terms, "notAfter")), &ends))
        return false;
    *reason = "eligibility.mode";
    if (!same(mode, "clinical") && !same(mode, "investigational"))
        return false;
    *reason = "eligibility.expired";
    if (now >= ends && !same(order, "notify-only") && !same(order, "continue-with-notice"))
        return false;
    if (now >= ends)
        *more = "The eligibility of this function has ended.";
    for (const struct json *layer = layers->child; layer != NULL; layer = layer->next)
        if ((*reason = of_layer(layer, episode)) != NULL)
            return false;
    *reason = "";
    return true;
}
