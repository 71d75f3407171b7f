/* lexer.c - the words of an expression.
 *
 * "5." starts a number and a site alike: it is a site where a letter follows ("5.pattern"),
 * unless that spells an exponent ("5.e3").
 */
#include "engine/debug/expr_parts.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int column(const struct lexer *x, size_t at)
{
    size_t c = at > 1000000000 ? 1000000000 : at;
    return x->column + (int)c;
}

static bool letter(char c)
{
    return isalpha((unsigned char)c) || c == '_';
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool fail(const struct lexer *x, size_t at, const char *why)
{
    return error_at(x->err, ERR_USAGE, column(x, at), "%s", why);
}

/* Keeps n bytes of s in strings, for the token. */
static bool keep(struct lexer *x, const char *s, size_t n)
{
    x->token.at = x->strings->n;
    x->token.n = n;
    text_add_bytes(x->strings, s, n);
    text_add_bytes(x->strings, "", 1);
    return text_ok(x->strings, x->err);
}

/* Whether the text at p, which starts with digits, is a site of a layer. */
static bool starts_site(const char *p)
{
    while (digit(*p))
        p++;
    if (*p++ != '.' || !letter(*p))
        return false;
    if (*p != 'e' && *p != 'E')
        return true;
    p += p[1] == '+' || p[1] == '-' ? 2 : 1;
    if (!digit(*p))
        return true;
    while (digit(*p))
        p++;
    return letter(*p) || *p == '.';
}

static bool read_site(struct lexer *x)
{
    int last;
    size_t used;
    if (!site_parse(x->text + x->at, &x->token.site, &x->token.layer, &last, &used, x->err)) {
        if (x->err)
            x->err->column = x->token.column;
        return false;
    }
    if (x->token.layer == SITE_ALL_LAYERS || last != x->token.layer)
        return fail(x, x->at, "an expression reads one layer; a range of layers has no value here");
    x->token.kind = TOKEN_SITE;
    x->at += used;
    return true;
}

static bool read_number(struct lexer *x)
{
    const char *p = x->text + x->at;
    char *end;
    size_t n = strspn(p, "0123456789");
    if (p[n] == '.')
        n += 1 + strspn(p + n + 1, "0123456789");
    if ((p[n] == 'e' || p[n] == 'E') &&
        (digit(p[n + 1]) || ((p[n + 1] == '+' || p[n + 1] == '-') && digit(p[n + 2]))))
        n += 2 + strspn(p + n + 2, "0123456789");
    if (letter(p[n]))
        return fail(x, x->at + n, "a letter in a number");
    /* "0x" and the like were refused above, so that strtod sees digits alone. */
    x->token.number = strtod(p, &end);
    if (end != p + n || isinf(x->token.number))
        return fail(x, x->at, "a number too large for a double");
    x->token.kind = TOKEN_NUMBER;
    x->at += n;
    return true;
}

static int hex(char c)
{
    return digit(c) ? c - '0' : isxdigit((unsigned char)c) ? (c | 32) - 'a' + 10 : -1;
}

/* "..." with \n \t \r \" \\ and \x1b. */
static bool read_string(struct lexer *x)
{
    size_t start = x->at++;
    x->token.at = x->strings->n;
    while (x->at < x->n && x->text[x->at] != '"') {
        char c = x->text[x->at++];
        if (c == '\\') {
            char e = x->at < x->n ? x->text[x->at++] : '\0';
            const char *known = "n\nt\tr\r\"\"\\\\";
            const char *found = e ? strchr(known, e) : NULL;
            if (e == 'x' && x->at + 1 < x->n && hex(x->text[x->at]) >= 0 &&
                hex(x->text[x->at + 1]) >= 0) {
                c = (char)(hex(x->text[x->at]) * 16 + hex(x->text[x->at + 1]));
                x->at += 2;
            } else if (found && (found - known) % 2 == 0) {
                c = found[1];
            } else {
                return fail(x, x->at - 1, "in a string \\n \\t \\r \\\" \\\\ and \\x1b are known");
            }
        }
        text_add_bytes(x->strings, &c, 1);
    }
    if (x->at >= x->n)
        return fail(x, start, "the string has no closing \"");
    x->at++;
    x->token.kind = TOKEN_STRING;
    x->token.n = x->strings->n - x->token.at;
    text_add_bytes(x->strings, "", 1);
    return text_ok(x->strings, x->err);
}

/* The name in W(...); its parenthesis is the next character. */
static bool read_weight(struct lexer *x)
{
    x->at++;
    x->at += strspn(x->text + x->at, " \t");
    size_t n = strcspn(x->text + x->at, ") \t");
    size_t end = x->at + n + strspn(x->text + x->at + n, " \t");
    if (n == 0 || n > 64 || x->text[end] != ')')
        return fail(x, x->at, "W takes a weight's name, as in W(5.attn.W_O)");
    x->token.kind = TOKEN_WEIGHT;
    x->token.column = column(x, x->at);
    if (!keep(x, x->text + x->at, n))
        return false;
    x->at = end + 1;
    return true;
}

/* A function, a site that is there once, nan or inf. */
static bool read_word(struct lexer *x)
{
    const char *p = x->text + x->at;
    size_t n = 0, space;
    while (letter(p[n]) || digit(p[n]))
        n++;
    space = strspn(p + n, " \t");
    if (p[n + space] == '(') {
        if (n == 1 && *p == 'W') {
            x->at += n + space;
            return read_weight(x);
        }
        x->token.kind = TOKEN_FUNCTION;
        x->at += n;
        return keep(x, p, n);
    }
    if (n == 3 && p[n] != '.' && (memcmp(p, "nan", 3) == 0 || memcmp(p, "inf", 3) == 0)) {
        x->token.kind = TOKEN_NUMBER;
        x->token.number = *p == 'n' ? (double)NAN : (double)INFINITY;
        x->at += n;
        return true;
    }
    char name[16];
    if (n < sizeof name) {
        memcpy(name, p, n);
        name[n] = '\0';
        if (function_find(name) >= 0)
            return error_at(x->err, ERR_USAGE, x->token.column,
                            "%s is a function: its arguments stand in parentheses", name);
    }
    return read_site(x);
}

static bool read_variable(struct lexer *x)
{
    const char *p = x->text + ++x->at;
    size_t n = 0;
    if (digit(*p))
        n = strspn(p, "0123456789");
    else
        while (letter(p[n]) || digit(p[n]))
            n++;
    if (n > 64)
        return fail(x, x->at, "a name of more than 64 letters");
    x->token.kind = TOKEN_VARIABLE;
    x->at += n;
    return keep(x, p, n);
}

static bool read_operator(struct lexer *x)
{
    static const char *const pairs[] = {"==", "!=", "<=", ">=", "&&", "||"};
    const char *p = x->text + x->at;
    x->token.kind = TOKEN_OPERATOR;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (p[0] == pairs[i][0] && p[1] == pairs[i][1]) {
            memcpy(x->token.symbol, pairs[i], 3);
            x->at += 2;
            return true;
        }
    if (*p == '\0' || !strchr("+-*/@<>!()[],:", *p)) {
        if (*p == '=')
            return fail(x, x->at, "= gives a value to something; equality is ==");
        if (*p == '&' || *p == '|')
            return fail(x, x->at, "\"and\" is &&, \"or\" is ||");
        if (*p < ' ' || *p > '~')
            return fail(x, x->at, "a character that means nothing here");
        return error_at(x->err, ERR_USAGE, column(x, x->at), "\"%c\" means nothing here", *p);
    }
    x->token.symbol[0] = *p;
    x->at++;
    return true;
}

static bool read_token(struct lexer *x)
{
    const char *p = x->text + x->at;
    if (strncmp(p, "...", 3) == 0) {
        x->token.kind = TOKEN_ELLIPSIS;
        x->at += 3;
        return true;
    }
    if (digit(*p)) {
        if (!x->after_operand) {
            size_t n = strspn(p, "0123456789");
            if (p[n] == '-' && digit(p[n + 1]) && starts_site(p + n + 1))
                return fail(x, x->at,
                            "a range of layers has no value here; a difference is "
                            "written with spaces, as in 3 - 5.resid_post");
        }
        return starts_site(p) ? read_site(x) : read_number(x);
    }
    if (*p == '.' && digit(p[1]))
        return read_number(x);
    if (*p == '.' && letter(p[1]))
        return fail(x, x->at,
                    ". is the site stood at; a site of a layer is written as in 5.pattern");
    if (*p == '.') {
        x->token.kind = TOKEN_HERE;
        x->at++;
        return true;
    }
    if (*p == '*' && p[1] == '.' && letter(p[2]) && !x->after_operand)
        return fail(x, x->at, "an expression reads one layer; * has no value here");
    if (*p == '"')
        return read_string(x);
    if (*p == '$')
        return read_variable(x);
    if (letter(*p))
        return read_word(x);
    return read_operator(x);
}

bool lexer_next(struct lexer *x)
{
    while (x->at < x->n && (x->text[x->at] == ' ' || x->text[x->at] == '\t'))
        x->at++;
    x->token = (struct token){.column = column(x, x->at)};
    if (x->at >= x->n) {
        x->token.kind = TOKEN_END;
        return true;
    }
    if (!read_token(x))
        return false;
    char s = x->token.symbol[0];
    x->after_operand =
        x->token.kind == TOKEN_OPERATOR ? s == ')' || s == ']' : x->token.kind != TOKEN_FUNCTION;
    return true;
}
