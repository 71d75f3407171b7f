/* tokenizer_pattern.c - regular expressions as Hugging Face reads them, in PCRE2's words.
 *
 * Hugging Face uses Oniguruma with Ruby's syntax. What differs, and is put right here:
 *   \s             PCRE2 adds U+180E
 *   \w \W \b \B    PCRE2 10.42 leaves out marks, connectors and circled letters
 *   \h \v \uHHHH   hexadecimal digit, vertical tab, a character
 *   X{1,3}+        repeats X{1,3}, where PCRE2 is possessive; so X** and the like
 *   X{,3}          is X{0,3}; X{2}? is X{2} or nothing
 *   (?m:...)       the dot takes newlines (Perl's s); ^ and $ always stand at every line
 *   a(?i)b|c       is a(?i:b|c)
 *   [a[bc]]        is [abc]
 *   \p{Letter}, \p{Alpha}, \p{Punct}, ...   names that PCRE2 has not; scripts are not extended
 *   [[:alpha:]]    Unicode's classes
 * What cannot be said in PCRE2 ([a&&b], (?~...), (?x)) is refused. Not put right: a few
 * characters by the Unicode version, and ignoring case, "ss" does not match "ß".
 */
#include "engine/model/tokenizer_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_GROUPS 200
/* Oniguruma's \w has six numbers of Latin-1 too, which in a class it has not. */
#define WORD TOK_CLASS_WORD "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define NONE ((size_t)-1)

struct group {
    size_t begin; /* in the output: a quantifier behind the group counts from here */
    int closes;   /* isolated options opened inside */
};
struct translation {
    const char *pattern, *p, *where;
    struct text *out;
    struct error *err;
    size_t atom; /* in the output: what a quantifier applies to, or NONE */
    bool quantified;
    struct group groups[MAX_GROUPS];
    int depth;
};

static bool refuse(struct translation *t, const char *what)
{
    if (t->out->failed) /* what was written is not there, and looks wrong for that alone */
        return text_ok(t->out, t->err);
    char shown[TOK_SHOWN];
    return error_set(t->err, ERR_UNSUPPORTED, "%s: the regular expression has %s at %s", t->where,
                     what, tok_shown(shown, t->p, strlen(t->p)));
}

static void insert(struct text *out, size_t at, const char *s)
{
    size_t n = strlen(s), tail = out->n - at;

    text_add_bytes(out, s, n);
    if (out->failed)
        return;
    memmove(out->data + at + n, out->data + at, tail);
    memcpy(out->data + at, s, n);
}

static void begin_atom(struct translation *t)
{
    t->atom = t->out->n;
    t->quantified = false;
}

/* ---- properties ---- */

/* Adds the property `name`. Inside a class a set joins the class. */
static bool add_property(struct translation *t, const char *name, size_t n, bool negated,
                         bool in_class)
{
    char plain[64], script[70];
    size_t k = 0;

    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        if (c == ' ' || c == '_' || c == '-')
            continue;
        if (k + 1 == sizeof plain ||
            !((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')))
            return refuse(t, "an unknown property");
        plain[k++] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    plain[k] = '\0';
    const struct tok_property *property = tok_property_find(plain);
    if (property != NULL) {
        if (!property->set)
            text_printf(t->out, "\\%c{%s}", negated ? 'P' : 'p', property->of);
        else if (!in_class)
            text_printf(t->out, "[%s%s]", negated ? "^" : "", property->of);
        else if (!negated)
            text_add(t->out, property->of);
        else
            return refuse(t, "a negated property in a class");
        return true;
    }
    /* PCRE2's bare \p{Han} takes in what other scripts share with it. */
    snprintf(script, sizeof script, "sc:%s", plain);
    bool known;
    if (!tok_regex_knows(t->out->ledger, script, &known, t->err))
        return false;
    text_printf(t->out, "\\%c{%s}", negated ? 'P' : 'p', known ? script : plain);
    return true;
}

/* \p{...}, \P{...} or \p{^...} at t->p; without a brace it is a letter. */
static bool read_property(struct translation *t, bool in_class)
{
    bool negated = t->p[1] == 'P';
    const char *name = t->p + 3, *end;

    if (t->p[2] != '{') {
        text_add_bytes(t->out, t->p + 1, 1);
        t->p += 2;
        return true;
    }
    if (*name == '^') {
        negated = !negated;
        name++;
    }
    end = strchr(name, '}');
    if (end == NULL)
        return refuse(t, "a property without its end");
    if (!add_property(t, name, (size_t)(end - name), negated, in_class))
        return false;
    t->p = end + 1;
    return true;
}

/* ---- escapes that mean one character, inside and outside of classes ---- */

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool read_hex(struct translation *t, size_t digits)
{
    char hex[5] = "";

    for (size_t i = 0; i < digits && is_hex(t->p[2 + i]); i++)
        hex[i] = t->p[2 + i];
    if (strlen(hex) == 0 || (digits == 4 && strlen(hex) < 4))
        return refuse(t, "a number without its digits");
    if (digits == 2 && strtol(hex, NULL, 16) >= 0x80)
        return refuse(t, "a byte that is no character");
    text_printf(t->out, "\\x{%s}", hex);
    t->p += 2 + strlen(hex);
    return true;
}

static bool read_character(struct translation *t)
{
    char c = t->p[1];

    if (c == '\0')
        return refuse(t, "a backslash at its end");
    if (c == 'u')
        return read_hex(t, 4);
    if (c == 'x' && t->p[2] != '{')
        return read_hex(t, 2);
    if (c == 'c' || c == 'C' || c == 'M')
        return refuse(t, "a control escape");
    if (c == 'v')
        text_add(t->out, "\\x0b");
    else if ((c >= '0' && c <= '9') || strchr("xtnrfae", c) != NULL)
        text_add_bytes(t->out, t->p, 2); /* \x{...} goes on as it is */
    else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80)
        text_add_bytes(t->out, &c, 1); /* an escaped letter without a meaning is itself */
    else
        text_add_bytes(t->out, t->p, 2);
    t->p += 2;
    return true;
}

/* ---- classes ---- */

static bool read_posix(struct translation *t)
{
    const char *name = t->p + 2, *end;
    bool negated = *name == '^';

    name += negated;
    end = strstr(name, ":]");
    if (end == NULL)
        return refuse(t, "a class without its end");
    size_t n = (size_t)(end - name);
    if (n == 5 && strncmp(name, "punct", 5) == 0 && !negated)
        text_add(t->out, "\\p{P}\\p{S}");
    else if (n == 5 && (strncmp(name, "graph", 5) == 0 || strncmp(name, "print", 5) == 0))
        return refuse(t, "a class midpass does not know");
    else if (n == 5 && strncmp(name, "punct", 5) == 0)
        return refuse(t, "a negated property in a class");
    else if (!add_property(t, name, n, negated, true))
        return false;
    t->p = end + 2;
    return true;
}

/* An escape inside a class. *not_word: \W was there, which cannot be written inside. *set: it
 * was not a single character, so that a hyphen behind it is one. */
static bool read_class_escape(struct translation *t, bool *not_word, bool *set)
{
    *set = true;
    switch (t->p[1]) {
    case 's':
    case 'S':
        text_printf(t->out, "\\%c{White_Space}", t->p[1] == 's' ? 'p' : 'P');
        break;
    case 'd':
    case 'D':
        text_add_bytes(t->out, t->p, 2);
        break;
    case 'w':
        text_add(t->out, TOK_CLASS_WORD);
        break;
    case 'W':
        *not_word = true;
        break;
    case 'h':
        text_add(t->out, TOK_HEX);
        break;
    case 'H':
    case 'R':
    case 'X':
        return refuse(t, "an escape in a class");
    case 'p':
    case 'P':
        return read_property(t, true);
    case 'b':
        *set = false;
        text_add(t->out, "\\x08");
        break;
    default:
        *set = false;
        return read_character(t);
    }
    t->p += 2;
    return true;
}

static bool read_class_items(struct translation *t, bool *not_word)
{
    bool set = true; /* nothing before, from which a hyphen could reach on */
    int nested = 0;

    for (;;) {
        char c = *t->p;
        if (c == '\0')
            return refuse(t, "a class without its end");
        if (c == ']' && nested-- == 0)
            return true;
        if (c == '&' && t->p[1] == '&')
            return refuse(t, "an intersection of classes");
        if (c == '[' && t->p[1] == ':' && strstr(t->p, ":]") != NULL) {
            if (!read_posix(t))
                return false;
            set = true;
        } else if (c == '[' && t->p[1] == '^') {
            return refuse(t, "a negated class in a class");
        } else if (c == '[' || c == ']') {
            nested += c == '[';
            t->p++;
            set = true;
        } else if (c == '\\') {
            if (!read_class_escape(t, not_word, &set))
                return false;
        } else if (c == '-' && (set || t->p[1] == ']' || t->p[1] == '[')) {
            text_add(t->out, "\\-");
            t->p++;
            set = false;
        } else {
            text_add_bytes(t->out, t->p++, 1);
            set = false;
        }
    }
}

static bool read_class(struct translation *t)
{
    bool not_word = false, negated;
    size_t begin = t->out->n, inner;

    begin_atom(t);
    t->p++;
    negated = *t->p == '^';
    t->p += negated;
    text_add(t->out, negated ? "[^" : "[");
    inner = t->out->n;
    if (*t->p == ']') { /* first, it is a character */
        text_add(t->out, "\\]");
        t->p++;
    }
    if (!read_class_items(t, &not_word))
        return false;
    t->p++;
    bool empty = t->out->n == inner;
    text_add(t->out, "]");
    if (empty && !not_word)
        return refuse(t, "an empty class before it,");
    if (!not_word || t->out->failed)
        return true;
    /* [a\W] is [a] or a non-word character; [^a\W] is a word character and not [a]. */
    if (empty) {
        t->out->n = begin;
        text_printf(t->out, "[%s" TOK_CLASS_WORD "]", negated ? "" : "^");
    } else if (negated) {
        insert(t->out, begin, "(?:");
        text_add(t->out, "(?<=[" TOK_CLASS_WORD "]))");
    } else {
        insert(t->out, begin, "(?:");
        text_add(t->out, "|[^" TOK_CLASS_WORD "])");
    }
    return true;
}

/* ---- outside of classes ---- */

static bool read_escape(struct translation *t)
{
    begin_atom(t);
    switch (t->p[1]) {
    case 's':
    case 'S':
        text_printf(t->out, "\\%c{White_Space}", t->p[1] == 's' ? 'p' : 'P');
        break;
    case 'w':
    case 'W':
        text_printf(t->out, "[%s" WORD "]", t->p[1] == 'w' ? "" : "^");
        break;
    case 'h':
    case 'H':
        text_printf(t->out, "[%s" TOK_HEX "]", t->p[1] == 'h' ? "" : "^");
        break;
    case 'b':
        text_add(t->out, "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))");
        break;
    case 'B':
        text_add(t->out, "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))");
        break;
    case 'O':
        text_add(t->out, "(?s:.)");
        break;
    case 'y':
    case 'Y':
        return refuse(t, "a text boundary");
    case 'p':
    case 'P':
        return read_property(t, false);
    case 'd':
    case 'D':
    case 'A':
    case 'z':
    case 'Z':
    case 'G':
    case 'R':
    case 'X':
    case 'N':
    case 'K':
    case 'k':
    case 'g':
        text_add_bytes(t->out, t->p, 2);
        break;
    default:
        return read_character(t);
    }
    t->p += 2;
    return true;
}

static bool open_group(struct translation *t, size_t begin)
{
    if (t->depth == MAX_GROUPS)
        return refuse(t, "groups nested too deep");
    t->groups[t->depth++] = (struct group){.begin = begin};
    t->atom = NONE;
    return true;
}

/* (?imx-imx) and (?imx-imx: at t->p. */
static bool read_options(struct translation *t)
{
    const char *p = t->p + 2;

    text_add(t->out, "(?");
    for (; *p == 'i' || *p == 'm' || *p == '-'; p++)
        text_add(t->out, *p == 'm' ? "s" : *p == 'i' ? "i" : "-");
    if (*p != ':' && *p != ')')
        return refuse(t, "a kind of group midpass does not know");
    text_add(t->out, ":");
    t->p = p + 1;
    if (*p == ':')
        return true;
    /* An isolated option holds to the end of the group around it, alternatives included. */
    t->groups[t->depth - 1].closes++;
    t->atom = NONE;
    return true;
}

static bool read_group(struct translation *t)
{
    static const char *const kinds[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"};
    size_t begin = t->out->n;

    if (t->p[1] == '*')
        return refuse(t, "a verb");
    if (t->p[1] != '?') {
        text_add(t->out, "(");
        t->p++;
        return open_group(t, begin);
    }
    if (t->p[2] == '#') {
        const char *end = strchr(t->p, ')');
        if (end == NULL)
            return refuse(t, "a comment without its end");
        t->p = end + 1;
        return true;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strncmp(t->p, kinds[i], strlen(kinds[i])) == 0) {
            text_add(t->out, kinds[i]);
            t->p += strlen(kinds[i]);
            return open_group(t, begin);
        }
    if (t->p[2] == '<') {
        const char *end = strchr(t->p, '>');
        if (end == NULL)
            return refuse(t, "a name without its end");
        text_add_bytes(t->out, t->p, (size_t)(end + 1 - t->p));
        t->p = end + 1;
        return open_group(t, begin);
    }
    const char *p = t->p + 2;
    while (*p == 'i' || *p == 'm' || *p == '-')
        p++;
    bool isolated = *p == ')';
    return read_options(t) && (isolated || open_group(t, begin));
}

static bool close_group(struct translation *t)
{
    if (t->depth == 1)
        return refuse(t, "a bracket too much");
    struct group *g = &t->groups[--t->depth];
    for (int i = 0; i <= g->closes; i++)
        text_add(t->out, ")");
    t->atom = g->begin;
    t->quantified = false;
    t->p++;
    return true;
}

/* {n}, {n,}, {,m} or {n,m} at p: its length, else 0. */
static size_t interval_length(const char *p, bool *fixed, bool *no_low)
{
    size_t i = 1, low, high = 0;

    while (p[i] >= '0' && p[i] <= '9')
        i++;
    low = i - 1;
    *fixed = p[i] != ',';
    if (p[i] == ',')
        for (i++; p[i] >= '0' && p[i] <= '9'; i++)
            high++;
    *no_low = low == 0;
    return p[i] == '}' && low + high > 0 ? i + 1 : 0;
}

static bool read_quantifier(struct translation *t)
{
    bool interval = *t->p == '{', fixed = false, no_low = false;
    size_t n = interval ? interval_length(t->p, &fixed, &no_low) : 1;

    if (n == 0) { /* no interval: a brace is a brace */
        begin_atom(t);
        text_add(t->out, "\\{");
        t->p++;
        return true;
    }
    if (t->atom == NONE)
        return refuse(t, "a quantifier of nothing");
    if (t->quantified) { /* a quantifier of what has one already */
        insert(t->out, t->atom, "(?:");
        text_add(t->out, ")");
    }
    if (no_low) {
        text_add(t->out, "{0");
        text_add_bytes(t->out, t->p + 1, n - 1);
    } else {
        text_add_bytes(t->out, t->p, n);
    }
    t->p += n;
    t->quantified = true;
    if (interval ? !fixed && *t->p == '?' : *t->p == '?' || *t->p == '+')
        text_add_bytes(t->out, t->p++, 1);
    return true;
}

static bool read_one(struct translation *t)
{
    switch (*t->p) {
    case '\\':
        return read_escape(t);
    case '[':
        return read_class(t);
    case '(':
        return read_group(t);
    case ')':
        return close_group(t);
    case '*':
    case '+':
    case '?':
    case '{':
        return read_quantifier(t);
    case '|':
        t->atom = NONE;
        text_add_bytes(t->out, t->p++, 1);
        return true;
    default:
        begin_atom(t);
        do /* a whole character: a quantifier must not split it */
            text_add_bytes(t->out, t->p++, 1);
        while (((unsigned char)*t->p & 0xc0) == 0x80);
        return true;
    }
}

bool tok_pattern_translate(const char *pattern, struct text *out, const char *where,
                           struct error *err)
{
    struct translation t = {
        .pattern = pattern, .p = pattern, .where = where, .out = out, .err = err, .atom = NONE};

    t.depth = 1; /* the whole is a group of its own, for isolated options */
    while (*t.p != '\0')
        if (!read_one(&t))
            return false;
    if (t.depth != 1)
        return refuse(&t, "a group without its end");
    for (int i = 0; i < t.groups[0].closes; i++)
        text_add(out, ")");
    return true;
}
