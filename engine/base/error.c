/* error.c - messages are made safe to show here, once, since their words come from files. */
#include "engine/base/error.h"
#include "engine/base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RAW_BYTES 1000 /* longer messages are cut before they are made safe */

const char *error_code_name(enum error_code code)
{
    switch (code) {
    case ERR_NONE:
        return "none";
    case ERR_USAGE:
        return "usage";
    case ERR_FILE:
        return "file";
    case ERR_FORMAT:
        return "format";
    case ERR_UNSUPPORTED:
        return "unsupported";
    case ERR_MEMORY:
        return "memory";
    case ERR_STATE:
        return "state";
    case ERR_INTERRUPTED:
        return "interrupted";
    case ERR_DEVICE:
        return "device";
    }
    return "unknown";
}

/* The length of the longest start of s, at most limit bytes, that cuts no UTF-8 character. */
static size_t whole_characters(const char *s, size_t limit)
{
    while (limit > 0 && ((unsigned char)s[limit] & 0xc0) == 0x80)
        limit--;
    return limit;
}

static void copy_cut(char *out, size_t room, const char *s, size_t n)
{
    if (n < room) {
        memcpy(out, s, n);
        out[n] = '\0';
        return;
    }
    size_t keep = whole_characters(s, room - sizeof "...");
    memcpy(out, s, keep);
    memcpy(out + keep, "...", sizeof "...");
}

/* Sets e's message. Line breaks stay, every other control is escaped. */
static void set_text(struct error *e, const char *raw)
{
    /* One byte becomes at most 4 (\x1b), so this text never grows and needs no ledger. */
    char shown[4 * RAW_BYTES + 1];
    struct text t = {.data = shown, .room = sizeof shown};

    shown[0] = '\0';
    for (;;) {
        size_t line = strcspn(raw, "\n");
        text_add_shown(&t, raw, line, false);
        if (raw[line] == '\0')
            break;
        text_add(&t, "\n");
        raw += line + 1;
    }
    copy_cut(e->text, sizeof e->text, t.data, t.n);
}

static void format_into(char raw[RAW_BYTES], const char *format, va_list args)
{
    char longer[RAW_BYTES + 1];

    if (vsnprintf(longer, sizeof longer, format, args) < 0)
        longer[0] = '\0';
    copy_cut(raw, RAW_BYTES, longer, strlen(longer));
}

static void set_all(struct error *e, enum error_code code, int column, const char *format,
                    va_list args)
{
    char raw[RAW_BYTES];

    if (e == NULL)
        return;
    format_into(raw, format, args);
    e->code = code;
    e->column = column;
    set_text(e, raw);
}

bool error_set(struct error *e, enum error_code code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_all(e, code, 0, format, args);
    va_end(args);
    return false;
}

bool error_at(struct error *e, enum error_code code, int column, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_all(e, code, column, format, args);
    va_end(args);
    return false;
}

bool error_prefix(struct error *e, const char *format, ...)
{
    char before[RAW_BYTES], both[RAW_BYTES + sizeof e->text + 2], raw[RAW_BYTES];
    va_list args;

    if (e == NULL)
        return false;
    va_start(args, format);
    format_into(before, format, args);
    va_end(args);
    snprintf(both, sizeof both, "%s: %s", before, e->text);
    copy_cut(raw, sizeof raw, both, strlen(both));
    /* What e->text had is safe already, and stays as it is. */
    set_text(e, raw);
    return false;
}
