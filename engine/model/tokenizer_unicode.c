/* tokenizer_unicode.c - characters: their classes, their bytes, their normal forms. */
#include "engine/model/tokenizer_parts.h"

#include <string.h>
#include <utf8proc.h>

/* ---- UTF-8 ---- */

/* How many bytes at s make one character (*ok), or one longest piece that could begin one. */
static size_t read_char(const unsigned char *s, size_t n, bool *ok)
{
    unsigned char lead = s[0], low = 0x80, high = 0xbf;
    size_t want;

    *ok = true;
    if (lead < 0x80)
        return 1;
    *ok = false;
    if (lead < 0xc2 || lead > 0xf4)
        return 1;
    want = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    /* The second byte is narrower where a shorter form, a surrogate or a number beyond
     * U+10FFFF would begin. */
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < want; i++) {
        if (i >= n || s[i] < low || s[i] > high)
            return i;
        low = 0x80;
        high = 0xbf;
    }
    *ok = true;
    return want;
}

size_t tok_char(const char *s, size_t n, int32_t *c)
{
    const unsigned char *u = (const unsigned char *)s;

    if (u[0] < 0x80 || n < 2) {
        *c = u[0];
        return 1;
    }
    if (u[0] < 0xe0 || n < 3) {
        *c = (u[0] & 0x1f) << 6 | (u[1] & 0x3f);
        return 2;
    }
    if (u[0] < 0xf0 || n < 4) {
        *c = (u[0] & 0x0f) << 12 | (u[1] & 0x3f) << 6 | (u[2] & 0x3f);
        return 3;
    }
    *c = (u[0] & 0x07) << 18 | (u[1] & 0x3f) << 12 | (u[2] & 0x3f) << 6 | (u[3] & 0x3f);
    return 4;
}

size_t tok_char_before(const char *s, size_t n, int32_t *c)
{
    size_t at = n - 1;

    while (at > 0 && n - at < 4 && ((unsigned char)s[at] & 0xc0) == 0x80)
        at--;
    tok_char(s + at, n - at, c);
    return at;
}

void tok_add_char(struct text *out, int32_t c)
{
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t n = utf8proc_encode_char(c, bytes);

    if (n > 0)
        text_add_bytes(out, (const char *)bytes, (size_t)n);
}

bool tok_is_valid(const char *s, size_t n)
{
    bool ok;

    for (size_t i = 0; i < n;) {
        i += read_char((const unsigned char *)s + i, n - i, &ok);
        if (!ok)
            return false;
    }
    return true;
}

void tok_add_valid(struct text *out, const char *s, size_t n)
{
    size_t sound = 0; /* what was not yet copied begins here */

    for (size_t i = 0; i < n;) {
        bool ok;
        size_t step = read_char((const unsigned char *)s + i, n - i, &ok);
        if (!ok) {
            text_add_bytes(out, s + sound, i - sound);
            tok_add_char(out, TOK_REPLACEMENT);
            sound = i + step;
        }
        i += step;
    }
    text_add_bytes(out, s + sound, n - sound);
}

/* Letters of any script stay; what could steer a terminal does not. */
char *tok_shown(char out[TOK_SHOWN], const char *s, size_t n)
{
    size_t k = 1;

    out[0] = '"';
    for (size_t i = 0, step; i < n; i += step) {
        int32_t c;
        step = tok_char(s + i, n - i, &c);
        if (k + step + 5 >= TOK_SHOWN) {
            memcpy(out + k, "...", 3);
            k += 3;
            break;
        }
        utf8proc_category_t kind = utf8proc_category(c);
        bool odd = kind == UTF8PROC_CATEGORY_CC || kind == UTF8PROC_CATEGORY_CF ||
                   kind == UTF8PROC_CATEGORY_CN || kind == UTF8PROC_CATEGORY_ZL ||
                   kind == UTF8PROC_CATEGORY_ZP;
        if (odd)
            out[k++] = '?';
        for (size_t b = 0; !odd && b < step; b++)
            out[k++] = s[i + b];
    }
    out[k] = '"';
    out[k + 1] = '\0';
    return out;
}

/* ---- classes ---- */

bool tok_is_space(int32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool tok_is_mark(int32_t c)
{
    utf8proc_category_t k = utf8proc_category(c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ME;
}

bool tok_is_number(int32_t c)
{
    utf8proc_category_t k = utf8proc_category(c);
    return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

/* Alphabetic, marks, decimal digits, connectors and joiners. utf8proc has no Alphabetic: the
 * letters, letter numbers and these circled letters make it up. */
bool tok_is_word(int32_t c)
{
    if (c < 0x80)
        return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_';
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) ||
               (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
               (c >= 0x1f170 && c <= 0x1f189);
    }
}

bool tok_is_punct(int32_t c)
{
    if (c < 0x80)
        return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
               (c >= '{' && c <= '~');
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
        return true;
    default:
        return false;
    }
}

int32_t tok_lower(int32_t c)
{
    return utf8proc_tolower(c);
}

/* ---- GPT-2's bytes ---- */

/* Bytes that show are themselves; the 68 others take the characters from U+0100 on, in
 * order: 0..32, 127..160 and 173. */
int32_t tok_from_byte(unsigned char b)
{
    if (b <= 32)
        return 256 + b;
    if (b >= 127 && b <= 160)
        return 289 + (b - 127);
    return b == 173 ? 323 : b;
}

int tok_to_byte(int32_t c)
{
    if (c >= 256)
        return c <= 288 ? c - 256 : c <= 322 ? c - 289 + 127 : c == 323 ? 173 : -1;
    return c <= 32 || (c >= 127 && c <= 160) || c == 173 ? -1 : c;
}

void tok_add_byte_level(struct text *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t c = tok_from_byte((unsigned char)s[i]);
        char two[2] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};
        if (c < 0x80)
            text_add_bytes(out, &s[i], 1);
        else
            text_add_bytes(out, two, 2);
    }
}

/* ---- normal forms ---- */

static int class_of(int32_t c)
{
    return utf8proc_get_property(c)->combining_class;
}

/* Orders one run of marks by combining class; marks of one class keep their order. A run may
 * be as long as the text, so a long one is sorted by counting. */
static void order_marks(int32_t *marks, int32_t *spare, size_t n)
{
    size_t places[256] = {0}, sum = 0;

    if (n < 16) {
        for (size_t i = 1; i < n; i++)
            for (size_t k = i; k > 0 && class_of(marks[k - 1]) > class_of(marks[k]); k--) {
                int32_t c = marks[k];
                marks[k] = marks[k - 1];
                marks[k - 1] = c;
            }
        return;
    }
    for (size_t i = 0; i < n; i++)
        places[class_of(marks[i])]++;
    for (int k = 0; k < 256; k++) {
        size_t here = places[k];
        places[k] = sum;
        sum += here;
    }
    for (size_t i = 0; i < n; i++)
        spare[places[class_of(marks[i])]++] = marks[i];
    memcpy(marks, spare, n * sizeof *marks);
}

static void order_all(int32_t *c, int32_t *spare, size_t n)
{
    size_t run = 0; /* marks since the last starter */

    for (size_t i = 0; i < n; i++) {
        if (class_of(c[i]) != 0) {
            run++;
            continue;
        }
        order_marks(c + i - run, spare, run);
        run = 0;
    }
    order_marks(c + n - run, spare, run);
}

static size_t decompose(const char *s, size_t n, int32_t *out, size_t room, int options)
{
    size_t done = 0;
    int32_t c;

    for (size_t i = 0; i < n;) {
        i += tok_char(s + i, n - i, &c);
        utf8proc_ssize_t got = utf8proc_decompose_char(
            c, out == NULL ? NULL : out + done, (utf8proc_ssize_t)(room - (out == NULL ? 0 : done)),
            (utf8proc_option_t)options, NULL);
        if (got < 0) { /* not a character it knows: as it is */
            if (out != NULL)
                out[done] = c;
            got = 1;
        }
        done += (size_t)got;
    }
    return done;
}

bool tok_add_form(struct text *out, const char *s, size_t n, enum tok_form form, struct error *err)
{
    bool compose = form == TOK_NFC || form == TOK_NFKC;
    int options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    size_t plain = 0;

    if (form == TOK_NFKC || form == TOK_NFKD)
        options |= UTF8PROC_COMPAT;
    while (plain < n && (unsigned char)s[plain] < 0x80)
        plain++;
    if (plain == n) { /* ASCII is its own normal form */
        text_add_bytes(out, s, n);
        return text_ok(out, err);
    }
    size_t count = decompose(s, n, NULL, 0, options);
    int32_t *c = mem_alloc_array(out->ledger, out->category, count * 2, sizeof *c, err);
    if (c == NULL)
        return false;
    decompose(s, n, c, count, options);
    order_all(c, c + count, count);
    if (compose) {
        utf8proc_ssize_t left = utf8proc_normalize_utf32(
            c, (utf8proc_ssize_t)count, (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
        count = left < 0 ? 0 : (size_t)left;
    }
    for (size_t i = 0; i < count; i++)
        tok_add_char(out, c[i]);
    mem_free(out->ledger, c);
    return text_ok(out, err);
}
