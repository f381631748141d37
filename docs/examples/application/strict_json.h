/* A small strict reader of JSON (RFC 8259): what is malformed, ambiguous or too much is refused.

   It allocates nothing: the caller brings the room, and texts are decoded where they lie. */

#ifndef STRICT_JSON_H
#define STRICT_JSON_H

#include <stdbool.h>
#include <stddef.h>

enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_TEXT, JSON_LIST, JSON_OBJECT };

/* One value. `name` is set in an object's members; `text` is a text, ended by a zero byte, or the
   characters of a number; `length` counts its bytes; `child` is the first member or item. */
struct json {
    enum json_type type;
    const char *name;
    const char *text;
    size_t length;
    const struct json *child;
    const struct json *next;
};

struct json_room {
    struct json *nodes;
    size_t most;
    size_t used;
};

/* The value that `data` holds, all of it, or NULL. `data` is overwritten and must outlive the
   result. Refused besides what RFC 8259 forbids: a name twice in one object, U+0000, half a
   surrogate pair, bytes that are not UTF-8, more than 32 levels, more values than there is room. */
const struct json *json_read(struct json_room *room, char *data, size_t length);

/* The member of an object, or NULL: none of that name, or no object. */
const struct json *json_member(const struct json *object, const char *name);

/* The text, or NULL where the value is missing or no text. */
const char *json_text(const struct json *value);

/* Whether the value is a whole number that fits, written without fraction or exponent. */
bool json_whole(const struct json *value, long long *number);

/* Whether the value is a finite number, or a text that holds exactly one. */
bool json_decimal(const struct json *value, double *number);

#endif
