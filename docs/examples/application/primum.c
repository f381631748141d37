#define _POSIX_C_SOURCE 200809L

#include "primum.h"

#include "sha256.h"
#include "strict_json.h"
#include "terms.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    MOST_STANDING = 256 * 1024, /* bytes of standing.json; more is unreadable */
    MOST_STANDING_VALUES = 8192,
    MOST_ANSWER = 64 * 1024, /* bytes of one answer; `status` is the longest */
    MOST_ANSWER_VALUES = 2048,
    MOST_REQUEST = 16 * 1024,
    MOST_CASE = 1024 * 1024, /* bytes of a case as it is handed over; more is not */
    ANSWER_SECONDS = 2,
    OBSERVE_MILLISECONDS = 200,
    DIGEST_DIGITS = 64,
};

/* One thread uses them; another thread needs its own. */
static char standing_data[MOST_STANDING + 1], answer_data[MOST_ANSWER + 1];
static struct json standing_values[MOST_STANDING_VALUES], answer_values[MOST_ANSWER_VALUES];

/* Small words */

static bool is_word(const struct json *value, const char *word) {
    const char *text = json_text(value);
    return text != NULL && strcmp(text, word) == 0;
}

static bool copy(char *to, size_t size, const struct json *value) {
    const char *text = json_text(value);
    if (text == NULL || strlen(text) >= size)
        return false;
    memcpy(to, text, strlen(text) + 1);
    return true;
}

/* Text for a person: what has no room is cut, at a character's beginning. */
static void copy_cut(char *to, size_t size, const char *text) {
    size_t length = strlen(text);
    if (length >= size)
        for (length = size - 1; length > 0 && (text[length] & 0xC0) == 0x80; length--)
            ;
    memcpy(to, text, length);
    to[length] = 0;
}

static const char *text_or(const struct json *value, const char *without) {
    const char *text = json_text(value);
    return text == NULL ? without : text;
}

static bool append(char *to, size_t size, const char *format, ...) {
    size_t used = strlen(to);
    va_list words;
    va_start(words, format);
    int length = vsnprintf(to + used, size - used, format, words);
    va_end(words);
    return length >= 0 && (size_t)length < size - used;
}

bool primum_quote(char *to, size_t size, const char *text) {
    bool fits = append(to, size, "\"");
    for (; fits && *text != 0; text++) {
        if (*text == '"' || *text == '\\')
            fits = append(to, size, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            fits = append(to, size, "\\u%04x", (unsigned)(unsigned char)*text);
        else
            fits = append(to, size, "%c", *text);
    }
    return fits && append(to, size, "\"");
}

/* The agent's word on the disk */

static const struct json *read_standing(const struct primum *primum) {
    struct json_room room = {.nodes = standing_values, .most = MOST_STANDING_VALUES};
    char path[PRIMUM_PATH + 32] = "";
    size_t used = 0;
    ssize_t piece = 1;
    if (!append(path, sizeof path, "%s/run/standing.json", primum->state_dir))
        return NULL;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return NULL;
    while (used < sizeof standing_data && piece > 0) {
        piece = read(file, standing_data + used, sizeof standing_data - used);
        if (piece < 0 && errno == EINTR)
            piece = 1;
        else if (piece > 0)
            used += (size_t)piece;
    }
    close(file);
    if (piece < 0 || used > MOST_STANDING)
        return NULL;
    const struct json *found = json_read(&room, standing_data, used);
    return is_word(json_member(found, "schemaVersion"), "0.1") ? found : NULL;
}

static bool is_digest(const char *text) {
    return strlen(text) == DIGEST_DIGITS && strspn(text, "0123456789abcdef") == DIGEST_DIGITS;
}

/* Open a file of the generation and hold it against its digest; the descriptor, or -1. */
static int open_checked(const char *folder, const char *name, const char *expected) {
    static unsigned char data[64 * 1024];
    char path[2 * PRIMUM_PATH] = "", digest[DIGEST_DIGITS + 1];
    struct stat about;
    struct sha256 hash;
    ssize_t piece;
    if (*name == 0 || strchr(name, '/') != NULL || strcmp(name, ".") == 0
        || strcmp(name, "..") == 0 || !is_digest(expected)
        || !append(path, sizeof path, "%s/%s", folder, name))
        return -1;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return -1;
    sha256_begin(&hash);
    while ((piece = read(file, data, sizeof data)) > 0 || (piece < 0 && errno == EINTR))
        sha256_add(&hash, data, piece < 0 ? 0 : (size_t)piece);
    sha256_end(&hash, digest);
    if (piece == 0 && strcmp(digest, expected) == 0 && fstat(file, &about) == 0
        && S_ISREG(about.st_mode) && lseek(file, 0, SEEK_SET) == 0)
        return file;
    close(file);
    return -1;
}

/* Whether every file is the one that was activated, and one of them is the model. */
static bool open_files(struct primum_release *release, const struct json *standing,
                       const char **why) {
    const char *folder = json_text(json_member(standing, "folder"));
    const struct json *files = json_member(standing, "files");
    *why = "state.damaged";
    if (folder == NULL || *folder != '/' || files == NULL || files->type != JSON_LIST)
        return false;
    for (const struct json *item = files->child; item != NULL; item = item->next) {
        const char *name = json_text(json_member(item, "path"));
        const char *digest = json_text(json_member(item, "sha256"));
        if (name == NULL || digest == NULL || json_text(json_member(item, "kind")) == NULL)
            return false;
        bool model = is_word(json_member(item, "kind"), "model");
        if (model && release->model >= 0)
            return false;
        int file = open_checked(folder, name, digest);
        if (file < 0) {
            *why = "artifact.digest";
            return false;
        }
        if (model)
            release->model = file;
        else
            close(file);
    }
    return release->model >= 0;
}

static bool is_null_or_text(const struct json *value) {
    return value != NULL && (value->type == JSON_NULL || value->type == JSON_TEXT);
}

/* What identifies the release and how it is used; false where a member is missing or wrong. */
static bool read_release(struct primum_release *release, const struct json *standing) {
    const struct json *point = json_member(standing, "operatingPoint");
    const struct json *ends = json_member(standing, "notAfter");
    const struct json *ordered = json_member(standing, "ordered");
    const struct json *reasons = json_member(standing, "reasons");
    time_t moment;
    copy_cut(release->notice, sizeof release->notice, text_or(json_member(standing, "notice"), ""));
    copy_cut(release->ordered, sizeof release->ordered, text_or(ordered, ""));
    return copy(release->mode, sizeof release->mode, json_member(standing, "mode"))
        && (strcmp(release->mode, "clinical") == 0 || strcmp(release->mode, "investigational") == 0)
        && json_whole(json_member(standing, "generation"), &release->generation)
        && json_whole(json_member(standing, "statementNumber"), &release->statement_number)
        && copy(release->component, sizeof release->component, json_member(standing, "component"))
        && copy(release->version, sizeof release->version, json_member(standing, "version"))
        && copy(release->release, sizeof release->release, json_member(standing, "release"))
        && copy(release->statement, sizeof release->statement, json_member(standing, "statement"))
        && is_digest(release->release) && is_digest(release->statement)
        && copy(release->output, sizeof release->output, json_member(point, "output"))
        && copy(release->threshold_text, sizeof release->threshold_text,
                json_member(point, "threshold"))
        && json_decimal(json_member(point, "threshold"), &release->threshold)
        && json_text(json_member(standing, "notice")) != NULL && is_null_or_text(ordered)
        && reasons != NULL && reasons->type == JSON_LIST && is_null_or_text(ends)
        && (ends->type == JSON_NULL || terms_moment(json_text(ends), &moment));
}

static bool safe_mode(struct primum_release *release, const char *reason, const char *notice) {
    if (release->model >= 0)
        close(release->model);
    *release = (struct primum_release){.model = -1};
    copy_cut(release->reason, sizeof release->reason, reason);
    copy_cut(release->notice, sizeof release->notice,
             *notice == 0 ? "No eligible model is active." : notice);
    return false;
}

void primum_init(struct primum *primum, const char *state_dir) {
    *primum = (struct primum){.link = -1, .release = {.model = -1}};
    copy_cut(primum->state_dir, sizeof primum->state_dir, state_dir);
}

bool primum_open(struct primum *primum) {
    const struct json *standing = read_standing(primum);
    struct primum_release *release = &primum->release;
    const char *why = "state.damaged";
    safe_mode(release, why, "");
    if (primum->stopped)
        return safe_mode(release, "safety.stopped", "");
    if (standing == NULL)
        return false;
    if (is_word(json_member(standing, "mode"), "safe")) {
        const struct json *reasons = json_member(standing, "reasons");
        const struct json *first =
            reasons != NULL && reasons->type == JSON_LIST ? reasons->child : NULL;
        safe_mode(release, text_or(first, "fallback.none"),
                  text_or(json_member(standing, "notice"), ""));
        copy_cut(release->suspended, sizeof release->suspended,
                 text_or(json_member(standing, "suspended"), ""));
        return false;
    }
    if (!read_release(release, standing) || !open_files(release, standing, &why))
        return safe_mode(release, why, "");
    release->usable = true;
    return true;
}

/* Whether the agent still names this release, in this mode. */
static bool is_opened(const struct primum_release *release, const struct json *standing) {
    long long generation;
    return release->usable && is_word(json_member(standing, "mode"), release->mode)
        && json_whole(json_member(standing, "generation"), &generation)
        && generation == release->generation;
}

/* Whether an output that names the opened statement and threshold would be true. */
static bool is_unchanged(const struct primum_release *release, const struct json *standing) {
    const struct json *point = json_member(standing, "operatingPoint");
    return is_opened(release, standing)
        && is_word(json_member(standing, "statement"), release->statement)
        && is_word(json_member(point, "output"), release->output)
        && is_word(json_member(point, "threshold"), release->threshold_text)
        && strcmp(text_or(json_member(standing, "ordered"), ""), release->ordered) == 0;
}

bool primum_changed(struct primum *primum) {
    const struct json *standing = read_standing(primum);
    if (primum->release.usable)
        return !is_unchanged(&primum->release, standing);
    return standing != NULL && (!is_word(json_member(standing, "mode"), "safe")
        || strcmp(text_or(json_member(standing, "suspended"), ""), primum->release.suspended) != 0);
}

bool primum_goes_on(struct primum *primum) {
    return is_opened(&primum->release, read_standing(primum));
}

void primum_stamp(const struct primum *primum, char stamp[PRIMUM_STAMP]) {
    const struct primum_release *release = &primum->release;
    const char *const texts[][2] = {
        {"\"component\": ", release->component}, {", \"version\": ", release->version},
        {", \"release\": ", release->release},   {", \"statement\": ", release->statement},
        {", \"mode\": ", release->usable ? release->mode : "safe"},
    };
    stamp[0] = 0;
    /* Five names of at most PRIMUM_NAME bytes, six times as long when quoted: there is room. */
    for (size_t index = 0; index < sizeof texts / sizeof *texts; index++) {
        append(stamp, PRIMUM_STAMP, "%s", texts[index][0]);
        primum_quote(stamp, PRIMUM_STAMP, texts[index][1]);
    }
    append(stamp, PRIMUM_STAMP, ", \"statementNumber\": %lld, \"generation\": %lld",
           release->statement_number, release->generation);
}

/* The socket */

static long long milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool is_ready(int link, short what, long long deadline) {
    for (;;) {
        long long left = deadline - milliseconds();
        struct pollfd watched = {.fd = link, .events = what};
        int found = left <= 0 ? 0 : poll(&watched, 1, (int)left);
        if (found >= 0 || errno != EINTR)
            return found > 0;
    }
}

/* Through the folder's descriptor (Linux): a socket's address holds only 107 bytes. */
static int connected(const struct primum *primum, const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[PRIMUM_PATH + 32] = "";
    if (!append(path, sizeof path, "%s/run", primum->state_dir))
        return -1;
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int link = folder < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM, 0);
    if (link >= 0) {
        snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", folder, name);
        if (fcntl(link, F_SETFD, FD_CLOEXEC) != 0 || fcntl(link, F_SETFL, O_NONBLOCK) != 0
            || connect(link, (struct sockaddr *)&address, sizeof address) != 0) {
            close(link);
            link = -1;
        }
    }
    if (folder >= 0)
        close(folder);
    return link;
}

/* One answer to one request, or NULL: too late, too long, garbage. After that the connection is
   of no use any more, since the next line on it may be the answer to this request. */
static const struct json *converse(int link, const char *request, long long deadline) {
    struct json_room room = {.nodes = answer_values, .most = MOST_ANSWER_VALUES};
    size_t length = strlen(request), used = 0;
    while (length > 0) {
        ssize_t sent = send(link, request, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return NULL;
        if (sent < 0 && !is_ready(link, POLLOUT, deadline))
            return NULL;
        request += sent < 0 ? 0 : sent;
        length -= sent < 0 ? 0 : (size_t)sent;
    }
    while (used == 0 || answer_data[used - 1] != '\n') {
        if (used >= MOST_ANSWER || !is_ready(link, POLLIN, deadline))
            return NULL;
        ssize_t piece = recv(link, answer_data + used, MOST_ANSWER - used, 0);
        if (piece == 0 || (piece < 0 && errno != EAGAIN && errno != EINTR))
            return NULL;
        used += piece < 0 ? 0 : (size_t)piece;
    }
    const struct json *answer = json_read(&room, answer_data, used);
    const struct json *ok = json_member(answer, "ok");
    return ok != NULL && (ok->type == JSON_TRUE || ok->type == JSON_FALSE) ? answer : NULL;
}

static bool is_taken(const struct json *answer) {
    const struct json *ok = json_member(answer, "ok");
    return ok != NULL && ok->type == JSON_TRUE;
}

static bool tell(struct primum *primum, const char *what, const char *why) {
    char request[256 + 6 * PRIMUM_TEXT] = "";
    long long deadline = milliseconds() + ANSWER_SECONDS * 1000;
    int link = primum->release.usable ? connected(primum, "primum.sock") : -1;
    if (link < 0)
        return false;
    bool fits = append(request, sizeof request, "{\"do\": \"%s\", \"generation\": %lld", what,
                       primum->release.generation);
    if (why != NULL)
        fits = fits && append(request, sizeof request, ", \"why\": ")
            && primum_quote(request, sizeof request, why);
    fits = fits && append(request, sizeof request, "}\n");
    bool taken = fits && is_taken(converse(link, request, deadline));
    close(link);
    return taken;
}

bool primum_activated(struct primum *primum) { return tell(primum, "activated", NULL); }

bool primum_healthy(struct primum *primum) { return tell(primum, "healthy", NULL); }

bool primum_ask_safe_mode(struct primum *primum, const char *why) {
    bool taken = tell(primum, "safe-mode", why);
    primum->stopped = primum->stopped || !taken;
    safe_mode(&primum->release, "safety.stopped", why);
    return taken;
}

/* What runs in shadow */

static bool append_base64(char *to, size_t size, const unsigned char *data, size_t length) {
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t used = strlen(to);
    if (length > size || (length + 2) / 3 * 4 >= size - used)
        return false;
    for (size_t at = 0; at < length; at += 3) {
        size_t left = length - at;
        unsigned long three = (unsigned long)data[at] << 16
            | (unsigned long)(left > 1 ? data[at + 1] : 0) << 8 | (left > 2 ? data[at + 2] : 0);
        to[used++] = digits[three >> 18 & 63];
        to[used++] = digits[three >> 12 & 63];
        to[used++] = left > 1 ? digits[three >> 6 & 63] : '=';
        to[used++] = left > 2 ? digits[three & 63] : '=';
    }
    to[used] = 0;
    return true;
}

static bool append_tensors(char *to, size_t size, const char *what,
                           const struct primum_tensor *tensors, size_t count) {
    bool fits = append(to, size, ", \"%s\": {", what);
    for (size_t index = 0; fits && index < count; index++)
        fits = append(to, size, index == 0 ? "" : ", ")
            && primum_quote(to, size, tensors[index].name) && append(to, size, ": \"")
            && append_base64(to, size, tensors[index].data, tensors[index].size)
            && append(to, size, "\"");
    return fits && append(to, size, "}");
}

bool primum_observe(const struct primum *primum, const struct primum_tensor *inputs,
                    size_t input_count, const struct primum_tensor *outputs, size_t output_count) {
    static char request[MOST_CASE];
    long long deadline = milliseconds() + OBSERVE_MILLISECONDS;
    int link = primum->release.usable ? connected(primum, "runner.sock") : -1;
    if (link < 0)
        return false;
    request[0] = 0;
    bool taken = append(request, sizeof request, "{\"do\": \"observe\", \"release\": ")
        && primum_quote(request, sizeof request, primum->release.release)
        && append_tensors(request, sizeof request, "inputs", inputs, input_count)
        && append_tensors(request, sizeof request, "outputs", outputs, output_count)
        && append(request, sizeof request, "}\n") && is_taken(converse(link, request, deadline));
    close(link);
    return taken;
}

/* Episodes */

static bool quote_list(char *to, size_t size, const char *name, const char *const *texts,
                       size_t count) {
    bool fits = append(to, size, ", \"%s\": [", name);
    for (size_t index = 0; fits && index < count; index++)
        fits = append(to, size, index == 0 ? "" : ", ") && primum_quote(to, size, texts[index]);
    return fits && append(to, size, "]");
}

static bool write_question(char *to, size_t size, const struct primum_episode *episode) {
    bool fits = append(to, size, "{\"do\": \"may-use\", \"episode\": {\"inputs\": [");
    for (size_t index = 0; fits && index < episode->input_count; index++) {
        const struct primum_channel *input = &episode->inputs[index];
        fits = append(to, size, index == 0 ? "{\"channel\": " : ", {\"channel\": ")
            && primum_quote(to, size, input->channel) && append(to, size, ", \"code\": ")
            && primum_quote(to, size, input->code) && append(to, size, ", \"unit\": ")
            && primum_quote(to, size, input->unit)
            && append(to, size, ", \"rateHz\": %.17g}", input->rate_hz);
    }
    fits = fits && append(to, size, "]")
        && quote_list(to, size, "conditionsMet", episode->conditions_met, episode->condition_count);
    if (episode->has_codes)
        fits = fits && quote_list(to, size, "codes", episode->codes, episode->code_count);
    if (episode->has_age)
        fits = fits && append(to, size, ", \"ageYears\": %d", episode->age_years);
    if (episode->sex != NULL)
        fits = fits && append(to, size, ", \"sex\": ") && primum_quote(to, size, episode->sex);
    if (episode->patient_category != NULL)
        fits = fits && append(to, size, ", \"patientCategory\": ")
            && primum_quote(to, size, episode->patient_category);
    return fits && append(to, size, "}}\n");
}

static bool refuse(struct primum_permission *permission, const char *reason, const char *found) {
    *permission = (struct primum_permission){.allowed = false};
    copy_cut(permission->reason, sizeof permission->reason, reason);
    copy_cut(permission->found, sizeof permission->found, found);
    return false;
}

/* Read the agent's answer to `may-use`; only its own two words are a yes. */
static bool read_permission(const struct primum_release *release, const struct json *answer,
                            struct primum_permission *permission) {
    long long generation;
    const struct json *word = json_member(answer, "answer");
    const char *banner = json_text(json_member(answer, "banner"));
    if (!is_taken(answer))
        return refuse(permission, text_or(json_member(answer, "reason"), "state.damaged"),
                      text_or(json_member(answer, "message"), ""));
    if (banner == NULL || strlen(banner) >= sizeof permission->banner
        || !(is_word(word, "allow") || is_word(word, "allow-with-banner")))
        return refuse(permission, text_or(json_member(answer, "reason"), "state.damaged"),
                      text_or(json_member(answer, "found"), ""));
    if (!json_whole(json_member(answer, "generation"), &generation)
        || generation != release->generation
        || !is_word(json_member(answer, "statement"), release->statement))
        return refuse(permission, "eligibility.superseded", "open the active release again");
    *permission = (struct primum_permission){.allowed = true};
    copy_cut(permission->banner, sizeof permission->banner, banner);
    return true;
}

/* Without an agent: the terms, and the statement's own end by the device's clock. */
static bool judge_alone(const struct json *standing, const struct primum_episode *episode,
                        struct primum_permission *permission) {
    const char *reason = "state.damaged", *banner = "", *more = "";
    if (!terms_allow(json_member(standing, "terms"), episode, time(NULL), &reason, &banner, &more))
        return refuse(permission, reason, "judged without the agent");
    *permission = (struct primum_permission){.allowed = true};
    if (!append(permission->banner, sizeof permission->banner, "%s%s%s", banner,
                *banner != 0 && *more != 0 ? " " : "", more))
        return refuse(permission, "state.damaged", "the banner is too long to be shown");
    return true;
}

bool primum_begin(struct primum *primum, const struct primum_episode *episode,
                  struct primum_permission *permission) {
    static char question[MOST_REQUEST];
    long long deadline = milliseconds() + ANSWER_SECONDS * 1000;
    const struct json *answer, *standing;
    primum_end(primum);
    question[0] = 0;
    if (!primum->release.usable)
        return refuse(permission, primum->release.reason, "no release may be used");
    if (!write_question(question, sizeof question, episode))
        return refuse(permission, "usage", "too much is known of the episode");
    /* Declared first, then asked: from here on nothing is switched between question and use. */
    primum->link = connected(primum, "primum.sock");
    answer = primum->link < 0 ? NULL
           : converse(primum->link, "{\"do\": \"episode-begin\"}\n", deadline);
    if (answer != NULL && is_taken(answer))
        answer = converse(primum->link, question, deadline);
    if (answer != NULL) {
        read_permission(&primum->release, answer, permission);
    } else if (primum->link >= 0) {
        close(primum->link);
        primum->link = -1;
    }
    /* Read last: whoever answered, what is used now is what was opened. */
    standing = read_standing(primum);
    if (standing == NULL)
        refuse(permission, "state.damaged", "the agent's word cannot be read");
    else if (!is_unchanged(&primum->release, standing))
        refuse(permission, "eligibility.superseded", "open the active release again");
    else if (json_member(standing, "ending") == NULL
             || json_member(standing, "ending")->type != JSON_NULL)
        refuse(permission, text_or(json_member(json_member(standing, "ending"), "reason"),
                                   "eligibility.withdrawn"),
               "it is taken away: no new episode begins");
    else if (answer == NULL)
        judge_alone(standing, episode, permission);
    if (!permission->allowed)
        primum_end(primum);
    return permission->allowed;
}

void primum_end(struct primum *primum) {
    if (primum->link < 0)
        return;
    /* It ends with the connection too, where nobody answers any more. */
    converse(primum->link, "{\"do\": \"episode-end\"}\n", milliseconds() + ANSWER_SECONDS * 1000);
    close(primum->link);
    primum->link = -1;
}
