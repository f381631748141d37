/* The application's side of the agent, over run/standing.json, run/primum.sock and
   run/runner.sock.

   Whatever cannot be read or is not understood is safe mode: measure, and show no AI output. */

#ifndef PRIMUM_H
#define PRIMUM_H

#include <stdbool.h>
#include <stddef.h>

enum { PRIMUM_NAME = 256, PRIMUM_PATH = 4096, PRIMUM_TEXT = 1024, PRIMUM_STAMP = 8192 };

struct primum_channel {
    const char *channel, *code, *unit;
    double rate_hz;
};

/* What is known of an episode; what is left out is not known, which is never a yes. */
struct primum_episode {
    bool has_age, has_codes;
    int age_years;
    const char *sex, *patient_category; /* NULL: not known */
    const char *const *codes;           /* as system|code */
    size_t code_count;
    const struct primum_channel *inputs;
    size_t input_count;
    const char *const *conditions_met;
    size_t condition_count;
};

/* What may be used: opened once, so that the model cannot change under the application. */
struct primum_release {
    bool usable;               /* false: safe mode */
    char reason[PRIMUM_NAME];  /* why not */
    char notice[PRIMUM_TEXT];  /* what the user is told */
    char suspended[PRIMUM_NAME];
    char component[PRIMUM_NAME], version[PRIMUM_NAME], mode[PRIMUM_NAME], ordered[PRIMUM_NAME];
    char release[PRIMUM_NAME], statement[PRIMUM_NAME];
    char output[PRIMUM_NAME], threshold_text[PRIMUM_NAME];
    double threshold;
    long long generation, statement_number;
    int model; /* descriptor of the file whose digest was checked: load from it, not by name */
};

/* One input or output of the model as it lies in memory: little-endian, as it is signed. */
struct primum_tensor {
    const char *name;
    const void *data;
    size_t size; /* bytes */
};

struct primum_permission {
    bool allowed;
    char reason[PRIMUM_NAME], found[PRIMUM_TEXT], banner[PRIMUM_TEXT];
};

struct primum {
    char state_dir[PRIMUM_PATH];
    struct primum_release release;
    bool stopped; /* asked for safe mode, and no agent took it */
    int link; /* the connection that holds the episode, or -1 */
};

void primum_init(struct primum *primum, const char *state_dir);

/* Open what may be used now; whether anything may. Between episodes only. */
bool primum_open(struct primum *primum);

/* Whether it is to be opened again before the next episode. */
bool primum_changed(struct primum *primum);

/* Whether the episode that runs may go on; false: stop showing outputs at once. */
bool primum_goes_on(struct primum *primum);

/* Tell the agent that the release was loaded, that it works; whether the agent took it. */
bool primum_activated(struct primum *primum);
bool primum_healthy(struct primum *primum);

/* Ask that no release be used any more, for a reason (one line, nothing about a patient); whether
   the agent took it. What it did not take holds all the same for as long as this runs. */
bool primum_ask_safe_mode(struct primum *primum, const char *why);

/* Declare clinical use and ask whether the release may serve it. A refusal declares nothing. */
bool primum_begin(struct primum *primum, const struct primum_episode *episode,
                  struct primum_permission *permission);
void primum_end(struct primum *primum);

/* Hand a case that was computed with the open release to what runs in shadow beside it; whether the
   runner took it. After the output was shown: it says nothing about the case, and what a fifth of a
   second is too short for is not handed over. */
bool primum_observe(const struct primum *primum, const struct primum_tensor *inputs,
                    size_t input_count, const struct primum_tensor *outputs, size_t output_count);

/* The members that every output carries, as JSON without braces. */
void primum_stamp(const struct primum *primum, char stamp[PRIMUM_STAMP]);

/* Append `text` to `to` as a JSON text with its quotes; false where it has no room. */
bool primum_quote(char *to, size_t size, const char *text);

#endif
