/* An application that works with the agent: `monitor STATE [what is known of the patient]`.

   Each line on the standard input is what happens to it: `open`, `begin` and `end` of an episode,
   `stop WHY` where somebody wants no release used any more, a score that the model gave, or a whole
   case, `case INPUT NUMBER ... > OUTPUT NUMBER ...`, which what runs in shadow is told too. Each
   line on the standard output is a JSON object. It ends with 0, or with 1 where it is in safe mode
   then, and 2 where the call is wrong. */

#define _POSIX_C_SOURCE 200809L

#include "primum.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64, LINE = 16 * 1024, NUMBERS = 1024, QUOTED = 6 * PRIMUM_TEXT + 3 };

static struct primum primum;
static const char *codes[MOST], *conditions[MOST];
static struct primum_channel inputs[MOST];
static struct primum_episode episode = {
    .codes = codes, .inputs = inputs, .conditions_met = conditions};

static void tell_texts(const char *event, const char *name, const char *text, const char *other,
                       const char *more) {
    char one[QUOTED] = "", two[QUOTED] = "";
    primum_quote(one, sizeof one, text);
    primum_quote(two, sizeof two, more);
    printf("{\"event\": \"%s\", \"%s\": %s, \"%s\": %s}\n", event, name, one, other, two);
}

static void open_again(void) {
    char stamp[PRIMUM_STAMP];
    if (!primum_open(&primum)) {
        tell_texts("safe", "reason", primum.release.reason, "notice", primum.release.notice);
        return;
    }
    /* Here the model is loaded, from the descriptor primum.release.model, and tried. */
    primum_activated(&primum);
    bool taken = primum_healthy(&primum);
    primum_stamp(&primum, stamp);
    printf("{\"event\": \"opened\", \"healthTaken\": %s, %s}\n", taken ? "true" : "false", stamp);
}

/* Between episodes only: another release is opened here and nowhere else. */
static bool begin(void) {
    static struct primum_permission permission;
    if (primum_changed(&primum))
        open_again();
    bool allowed = primum_begin(&primum, &episode, &permission);
    if (!allowed && strcmp(permission.reason, "eligibility.superseded") == 0) {
        open_again(); /* switched between the two lines above */
        allowed = primum_begin(&primum, &episode, &permission);
    }
    if (allowed)
        tell_texts("begun", "banner", permission.banner, "notice", primum.release.notice);
    else
        tell_texts("refused", "reason", permission.reason, "found", permission.found);
    return allowed;
}

/* One tensor of floats as a model has it. */
struct floats {
    unsigned char bytes[4 * NUMBERS];
    size_t count;
    double first;
};

static void show(double score) {
    char stamp[PRIMUM_STAMP];
    primum_stamp(&primum, stamp);
    printf("{\"event\": \"output\", \"score\": %.6g, \"alarm\": %s, %s}\n", score,
           score >= primum.release.threshold ? "true" : "false", stamp);
}

/* Its name and its numbers, up to `>` or the end; false where they are none. */
static bool read_floats(char **rest, struct primum_tensor *tensor, struct floats *floats) {
    const char *word;
    char *end;
    floats->count = 0;
    tensor->name = strtok_r(NULL, " ", rest);
    while ((word = strtok_r(NULL, " ", rest)) != NULL && strcmp(word, ">") != 0) {
        double number = strtod(word, &end);
        float value = (float)number;
        uint32_t bits;
        if (end == word || *end != 0 || !isfinite(value) || floats->count == NUMBERS)
            return false;
        if (floats->count == 0)
            floats->first = number;
        memcpy(&bits, &value, sizeof bits);
        for (int byte = 0; byte < 4; byte++)
            floats->bytes[4 * floats->count + (size_t)byte] = (unsigned char)(bits >> 8 * byte);
        floats->count++;
    }
    tensor->data = floats->bytes;
    tensor->size = 4 * floats->count;
    return tensor->name != NULL && floats->count > 0;
}

/* Shown first: whoever is served waits for nothing that runs in shadow. */
static bool show_case(char *line) {
    static struct floats input, output;
    struct primum_tensor in, out;
    char *rest = NULL;
    strtok_r(line, " ", &rest);
    if (!read_floats(&rest, &in, &input) || !read_floats(&rest, &out, &output))
        return false;
    show(output.first);
    bool taken = primum_observe(&primum, &in, 1, &out, 1);
    printf("{\"event\": \"observed\", \"taken\": %s}\n", taken ? "true" : "false");
    return true;
}

/* A person at the screen has it stopped: at once, whether or not the agent can be told. */
static void stop(const char *why) {
    primum_end(&primum);
    bool taken = primum_ask_safe_mode(&primum, why);
    printf("{\"event\": \"stopped\", \"taken\": %s}\n", taken ? "true" : "false");
}

static bool read_input(char *text, struct primum_channel *input) {
    char *rest = NULL, *end;
    input->channel = strtok_r(text, ",", &rest);
    input->code = strtok_r(NULL, ",", &rest);
    input->unit = strtok_r(NULL, ",", &rest);
    char *rate = strtok_r(NULL, "", &rest);
    input->rate_hz = rate == NULL ? 0 : strtod(rate, &end);
    return rate != NULL && end != rate && *end == 0 && isfinite(input->rate_hz);
}

static bool read_age(const char *text) {
    char *end;
    errno = 0;
    long years = strtol(text, &end, 10);
    episode.has_age = true;
    episode.age_years = (int)years;
    return end != text && *end == 0 && errno == 0 && years >= 0 && years <= 150;
}

static bool read_word(const char *option, char *value) {
    if (strcmp(option, "--age") == 0)
        return read_age(value);
    if (strcmp(option, "--sex") == 0)
        return episode.sex = value, true;
    if (strcmp(option, "--category") == 0)
        return episode.patient_category = value, true;
    if (strcmp(option, "--code") == 0 && episode.code_count < MOST)
        return episode.has_codes = true, codes[episode.code_count++] = value, true;
    if (strcmp(option, "--condition") == 0 && episode.condition_count < MOST)
        return conditions[episode.condition_count++] = value, true;
    if (strcmp(option, "--input") == 0 && episode.input_count < MOST)
        return read_input(value, &inputs[episode.input_count++]);
    return false;
}

int main(int count, char **words) {
    char line[LINE];
    bool runs = false;
    bool right = count >= 2 && count % 2 == 0 && strlen(words[1]) < PRIMUM_PATH;
    for (int index = 2; right && index + 1 < count; index += 2)
        right = read_word(words[index], words[index + 1]);
    if (!right) {
        fputs("monitor STATE [--age N] [--sex S] [--category C] [--code SYSTEM|CODE]\n"
              "    [--condition CODE] [--input CHANNEL,CODE,UNIT,HZ]\n", stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    primum_init(&primum, words[1]);
    open_again();
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *end;
        line[strcspn(line, "\n")] = 0;
        double score = strtod(line, &end);
        bool is_score = end != line && *end == 0 && isfinite(score);
        if (runs && !primum_goes_on(&primum)) {
            /* Taken away at once: nothing more is shown of it. */
            primum_end(&primum);
            runs = false;
            puts("{\"event\": \"stopped\"}");
        }
        if (strncmp(line, "stop ", 5) == 0) {
            stop(line + 5);
            runs = false;
        } else if (strcmp(line, "open") == 0 && !runs) {
            open_again();
        } else if (strcmp(line, "begin") == 0 && !runs) {
            runs = begin();
        } else if (strcmp(line, "end") == 0 && runs) {
            primum_end(&primum);
            runs = false;
            puts("{\"event\": \"ended\"}");
        } else if (is_score && runs) {
            show(score);
        } else if (!runs || strncmp(line, "case ", 5) != 0 || !show_case(line)) {
            /* Outside an episode, and in safe mode, it measures only. */
            puts("{\"event\": \"measured\"}");
        }
    }
    primum_end(&primum);
    return primum.release.usable ? 0 : 1;
}
