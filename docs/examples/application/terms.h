/* The terms of use, for the time that no agent answers: the same rules that the agent applies. */

#ifndef TERMS_H
#define TERMS_H

#include "primum.h"
#include "strict_json.h"

#include <time.h>

/* Whether `text` is a moment as 2026-12-01T00:00:00Z, and which. */
bool terms_moment(const char *text, time_t *moment);

/* Whether the terms let the release serve the episode; `reason` says why not, `banner` and `more`
   are shown meanwhile. What cannot be read, and what is not known, permits nothing. */
bool terms_allow(const struct json *terms, const struct primum_episode *episode, time_t now,
                 const char **reason, const char **banner, const char **more);

#endif
