#include "strict_json.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LEVELS = 32, MOST_DIGITS = 63 };

struct reader {
    struct json_room *room;
    char *at;
    char *end;
};

static struct json *read_value(struct reader *reader, int level);

static void skip_space(struct reader *reader) {
    while (reader->at < reader->end && strchr(" \t\n\r", *reader->at) != NULL && *reader->at != 0)
        reader->at++;
}

static bool take(struct reader *reader, char wanted) {
    if (reader->at >= reader->end || *reader->at != wanted)
        return false;
    reader->at++;
    return true;
}

static bool take_word(struct reader *reader, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
        return false;
    reader->at += length;
    return true;
}

static struct json *new_value(struct reader *reader, enum json_type type) {
    if (reader->room->used >= reader->room->most)
        return NULL;
    struct json *value = &reader->room->nodes[reader->room->used++];
    *value = (struct json){.type = type};
    return value;
}

static bool is_digit(const char *at, const char *end) {
    return at < end && *at >= '0' && *at <= '9';
}

/* The end of a number that begins at `at`, by the grammar of RFC 8259 section 6, or NULL. */
static const char *number_end(const char *at, const char *end) {
    if (at < end && *at == '-')
        at++;
    if (!is_digit(at, end))
        return NULL;
    if (*at++ != '0')
        while (is_digit(at, end))
            at++;
    if (at < end && *at == '.') {
        at++;
        if (!is_digit(at, end))
            return NULL;
        while (is_digit(at, end))
            at++;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        if (!is_digit(at, end))
            return NULL;
        while (is_digit(at, end))
            at++;
    }
    return at;
}

static struct json *read_number(struct reader *reader) {
    const char *end = number_end(reader->at, reader->end);
    struct json *value = end == NULL ? NULL : new_value(reader, JSON_NUMBER);
    if (value == NULL)
        return NULL;
    value->text = reader->at;
    value->length = (size_t)(end - reader->at);
    reader->at += value->length;
    return value;
}

static bool read_hex(struct reader *reader, unsigned *code) {
    *code = 0;
    for (int digit = 0; digit < 4; digit++) {
        if (reader->at >= reader->end)
            return false;
        char c = *reader->at++;
        unsigned value;
        if (c >= '0' && c <= '9')
            value = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = (unsigned)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            value = (unsigned)(c - 'A') + 10;
        else
            return false;
        *code = *code * 16 + value;
    }
    return true;
}

/* After "\u": the character, and its other half where it is one of a pair. */
static bool read_code(struct reader *reader, unsigned *code) {
    unsigned low;
    if (!read_hex(reader, code) || *code == 0 || (*code >= 0xDC00 && *code <= 0xDFFF))
        return false;
    if (*code < 0xD800 || *code > 0xDBFF)
        return true;
    if (!take_word(reader, "\\u") || !read_hex(reader, &low) || low < 0xDC00 || low > 0xDFFF)
        return false;
    *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
    return true;
}

static char *put_utf8(char *to, unsigned code) {
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xC0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *to++ = (char)(0xE0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    } else {
        *to++ = (char)(0xF0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3F));
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    }
    return to;
}

/* Bytes of the well-formed UTF-8 character at `at` (Unicode table 3-7), or 0. */
static size_t utf8_length(const char *at, const char *end) {
    const unsigned char *c = (const unsigned char *)at;
    size_t left = (size_t)(end - at);
    size_t length = c[0] < 0x80 ? 1 : c[0] < 0xC2 ? 0 : c[0] < 0xE0 ? 2 : c[0] < 0xF0 ? 3
                  : c[0] < 0xF5 ? 4 : 0;
    if (length > left)
        return 0;
    for (size_t index = 1; index < length; index++)
        if ((c[index] & 0xC0) != 0x80)
            return 0;
    if ((c[0] == 0xE0 && c[1] < 0xA0) || (c[0] == 0xED && c[1] > 0x9F)
        || (c[0] == 0xF0 && c[1] < 0x90) || (c[0] == 0xF4 && c[1] > 0x8F))
        return 0;
    return length;
}

static bool read_escape(struct reader *reader, char **to) {
    static const char NAMES[] = "\"\\/bfnrt", VALUES[] = "\"\\/\b\f\n\r\t";
    unsigned code;
    if (reader->at >= reader->end || *reader->at == 0)
        return false;
    char escaped = *reader->at++;
    if (escaped == 'u') {
        if (!read_code(reader, &code))
            return false;
        *to = put_utf8(*to, code);
        return true;
    }
    const char *found = strchr(NAMES, escaped);
    if (found == NULL)
        return false;
    *(*to)++ = VALUES[found - NAMES];
    return true;
}

/* After the first quote. What is decoded is never longer than what it was written as, so that it
   takes its place, and its zero byte that of the last quote at the latest. */
static const char *read_text(struct reader *reader, size_t *length) {
    char *start = reader->at, *to = reader->at;
    while (reader->at < reader->end && *reader->at != '"') {
        if ((unsigned char)*reader->at < 0x20)
            return NULL;
        if (take(reader, '\\')) {
            if (!read_escape(reader, &to))
                return NULL;
            continue;
        }
        size_t bytes = utf8_length(reader->at, reader->end);
        if (bytes == 0)
            return NULL;
        memmove(to, reader->at, bytes);
        to += bytes;
        reader->at += bytes;
    }
    if (!take(reader, '"'))
        return NULL;
    *to = 0;
    *length = (size_t)(to - start);
    return start;
}

/* After the first bracket: the members of an object, or the items of a list. */
static struct json *read_inside(struct reader *reader, enum json_type type, int level) {
    char last = type == JSON_OBJECT ? '}' : ']';
    struct json *outer = new_value(reader, type);
    const struct json **place = outer == NULL ? NULL : &outer->child;
    if (outer == NULL || level >= MOST_LEVELS)
        return NULL;
    skip_space(reader);
    if (take(reader, last))
        return outer;
    do {
        const char *name = NULL;
        size_t length;
        skip_space(reader);
        if (type == JSON_OBJECT) {
            if (!take(reader, '"') || (name = read_text(reader, &length)) == NULL)
                return NULL;
            if (json_member(outer, name) != NULL)
                return NULL;
            skip_space(reader);
            if (!take(reader, ':'))
                return NULL;
        }
        struct json *value = read_value(reader, level + 1);
        if (value == NULL)
            return NULL;
        value->name = name;
        *place = value;
        place = &value->next;
        skip_space(reader);
    } while (take(reader, ','));
    return take(reader, last) ? outer : NULL;
}

static struct json *read_value(struct reader *reader, int level) {
    skip_space(reader);
    if (take(reader, '{'))
        return read_inside(reader, JSON_OBJECT, level);
    if (take(reader, '['))
        return read_inside(reader, JSON_LIST, level);
    if (take(reader, '"')) {
        struct json *value = new_value(reader, JSON_TEXT);
        if (value != NULL)
            value->text = read_text(reader, &value->length);
        return value == NULL || value->text == NULL ? NULL : value;
    }
    if (take_word(reader, "null"))
        return new_value(reader, JSON_NULL);
    if (take_word(reader, "false"))
        return new_value(reader, JSON_FALSE);
    if (take_word(reader, "true"))
        return new_value(reader, JSON_TRUE);
    return read_number(reader);
}

const struct json *json_read(struct json_room *room, char *data, size_t length) {
    struct reader reader = {.room = room, .at = data, .end = data + length};
    room->used = 0;
    const struct json *value = read_value(&reader, 0);
    skip_space(&reader);
    return reader.at == reader.end ? value : NULL;
}

const struct json *json_member(const struct json *object, const char *name) {
    if (object == NULL || object->type != JSON_OBJECT)
        return NULL;
    for (const struct json *member = object->child; member != NULL; member = member->next)
        if (strcmp(member->name, name) == 0)
            return member;
    return NULL;
}

const char *json_text(const struct json *value) {
    return value != NULL && value->type == JSON_TEXT ? value->text : NULL;
}

bool json_whole(const struct json *value, long long *number) {
    if (value == NULL || value->type != JSON_NUMBER)
        return false;
    bool negative = value->text[0] == '-';
    long long found = 0;
    for (size_t index = negative; index < value->length; index++) {
        char c = value->text[index];
        if (c < '0' || c > '9' || found > (LLONG_MAX - 9) / 10)
            return false;
        found = found * 10 + (c - '0');
    }
    *number = negative ? -found : found;
    return true;
}

bool json_decimal(const struct json *value, double *number) {
    char copy[MOST_DIGITS + 1], *end;
    if (value == NULL || (value->type != JSON_NUMBER && value->type != JSON_TEXT))
        return false;
    if (value->length > MOST_DIGITS
        || number_end(value->text, value->text + value->length) != value->text + value->length)
        return false;
    memcpy(copy, value->text, value->length);
    copy[value->length] = 0;
    /* In a locale with another decimal point this stops early, and refuses: it never misreads. */
    *number = strtod(copy, &end);
    return *end == 0 && isfinite(*number);
}
