/* text.c - growing strings, and what of a foreign string may reach a terminal. */
#include "engine/base/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#define FIRST_ROOM 64

void text_init(struct text *t, struct ledger *l, enum mem_category c)
{
    *t = (struct text){.ledger = l, .category = c};
}

void text_fini(struct text *t)
{
    if (t->data != NULL)
        mem_free(t->ledger, t->data);
    *t = (struct text){.ledger = t->ledger, .category = t->category};
}

/* A failure stays: a text that is cleared again and again is still checked once, at the end. */
void text_clear(struct text *t)
{
    t->n = 0;
    if (t->data != NULL)
        t->data[0] = '\0';
}

/* Makes room for n more bytes and the NUL. */
static bool make_room(struct text *t, size_t n)
{
    size_t need, room;

    if (t->failed)
        return false;
    if (n < t->room - t->n)
        return true;
    if (__builtin_add_overflow(t->n, n, &need) || need > SIZE_MAX / 2 - 1) {
        t->failed = true;
        return false;
    }
    room = t->room < FIRST_ROOM ? FIRST_ROOM : t->room;
    while (room < need + 1)
        room *= 2;
    char *data = mem_resize(t->ledger, t->category, t->data, room, NULL);
    if (data == NULL) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->room = room;
    return true;
}

void text_add_bytes(struct text *t, const char *s, size_t n)
{
    if (!make_room(t, n))
        return;
    if (n > 0)
        memcpy(t->data + t->n, s, n);
    t->n += n;
    t->data[t->n] = '\0';
}

void text_add(struct text *t, const char *s)
{
    text_add_bytes(t, s, strlen(s));
}

void text_printf(struct text *t, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        t->failed = true;
        return;
    }
    if (!make_room(t, (size_t)n))
        return;
    va_start(args, format);
    vsnprintf(t->data + t->n, (size_t)n + 1, format, args);
    va_end(args);
    t->n += (size_t)n;
}

bool text_ok(const struct text *t, struct error *err)
{
    char have[24];

    if (!t->failed)
        return true;
    return error_set(err, ERR_MEMORY, "no memory for a text that grows beyond %s",
                     mem_format(t->room, have));
}

/* ---- text from outside ---- */

/* How many bytes from s on are ASCII that shows as itself. */
static size_t plain_run(const char *s, size_t n)
{
    size_t i = 0;

    while (i < n && s[i] >= ' ' && s[i] <= '~' && s[i] != '"' && s[i] != '\\')
        i++;
    return i;
}

/* A combining mark: shown over the character before it, without a column of its own. */
static bool is_mark(int32_t c)
{
    utf8proc_category_t k = utf8proc_category(c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME;
}

/* Whether a terminal shows c as some glyph that a reader sees, and all agree how wide it is.
 * Not so: controls, what changes direction, what is ignorable or has no width of its own
 * (joiners, variation selectors, fillers), separators of lines, private and unassigned. */
static bool is_shown(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return false;
    default:
        return !utf8proc_get_property(c)->ignorable && (is_mark(c) || utf8proc_charwidth(c) > 0);
    }
}

/* The next character of s, or -1 for a byte that is no UTF-8; *bytes is how much it takes. */
static int32_t next_character(const char *s, size_t n, size_t *bytes)
{
    utf8proc_int32_t c;
    utf8proc_ssize_t got =
        utf8proc_iterate((const utf8proc_uint8_t *)s, n < 4 ? (utf8proc_ssize_t)n : 4, &c);

    *bytes = got > 0 ? (size_t)got : 1;
    return got > 0 ? c : -1;
}

static void add_escape(struct text *t, int32_t c)
{
    switch (c) {
    case '\n':
        text_add(t, "\\n");
        break;
    case '\t':
        text_add(t, "\\t");
        break;
    case '\r':
        text_add(t, "\\r");
        break;
    default:
        if (c < 0x80)
            text_printf(t, "\\x%02x", (unsigned)c);
        else if (c < 0x10000)
            text_printf(t, "\\u%04x", (unsigned)c);
        else
            text_printf(t, "\\U%08x", (unsigned)c);
    }
}

void text_add_shown(struct text *t, const char *s, size_t n, bool quote)
{
    bool after_glyph = false; /* so that a mark has something to stand on, and it is ours */

    if (quote)
        text_add(t, "\"");
    while (n > 0 && !t->failed) {
        size_t bytes = plain_run(s, n);
        if (bytes > 0) {
            text_add_bytes(t, s, bytes);
            after_glyph = true;
        } else if (*s == '"' || *s == '\\') {
            text_add_bytes(t, "\\", quote);
            text_add_bytes(t, s, bytes = 1);
            after_glyph = true;
        } else {
            int32_t c = next_character(s, n, &bytes);
            bool shown = c >= 0 && is_shown(c) && (after_glyph || !is_mark(c));
            if (shown)
                text_add_bytes(t, s, bytes);
            else if (c < 0)
                text_printf(t, "\\x%02x", (unsigned)(unsigned char)*s);
            else
                add_escape(t, c);
            after_glyph = shown;
        }
        s += bytes;
        n -= bytes;
    }
    text_add(t, quote ? "\"" : "");
}

/* Escapes more than JSON asks for: all that a terminal might act on, for --json goes there
 * too. A reader of JSON gets the same string back. */
static void add_json_escape(struct text *t, int32_t c)
{
    switch (c) {
    case '"':
        text_add(t, "\\\"");
        break;
    case '\\':
        text_add(t, "\\\\");
        break;
    case '\n':
        text_add(t, "\\n");
        break;
    case '\t':
        text_add(t, "\\t");
        break;
    case '\r':
        text_add(t, "\\r");
        break;
    default:
        if (c >= 0x10000)
            text_printf(t, "\\u%04x\\u%04x", 0xd800u + (((unsigned)c - 0x10000) >> 10),
                        0xdc00u + ((unsigned)c & 0x3ff));
        else
            text_printf(t, "\\u%04x", (unsigned)c);
    }
}

void text_add_json(struct text *t, const char *s, size_t n)
{
    text_add(t, "\"");
    while (n > 0 && !t->failed) {
        size_t bytes = plain_run(s, n);
        if (bytes > 0) {
            text_add_bytes(t, s, bytes);
        } else {
            int32_t c = next_character(s, n, &bytes);
            if (c < 0)
                text_add(t, "\xef\xbf\xbd"); /* U+FFFD */
            else if (c == '"' || c == '\\' || !is_shown(c))
                add_json_escape(t, c);
            else
                text_add_bytes(t, s, bytes);
        }
        s += bytes;
        n -= bytes;
    }
    text_add(t, "\"");
}
