/* arguments.c - the words behind a command's name. */
#include "engine/debug/command_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static void skip(struct arguments *a)
{
    while (a->at < a->n && blank(a->line[a->at]))
        a->at++;
}

bool arguments_end(struct arguments *a)
{
    skip(a);
    return a->at >= a->n;
}

int arguments_column(struct arguments *a)
{
    skip(a);
    return a->at < 1000000000 ? (int)a->at + 1 : 1000000000;
}

/* The length of the word at p, a quoted part counting as one. */
static size_t word_length(const char *p, size_t n)
{
    bool quoted = false;
    size_t i = 0;
    for (; i < n && (quoted || !blank(p[i])); i++) {
        if (p[i] == '"')
            quoted = !quoted;
        else if (quoted && p[i] == '\\' && i + 1 < n)
            i++;
    }
    return i;
}

bool arguments_word(struct arguments *a, const char **word, size_t *n)
{
    if (arguments_end(a))
        return false;
    *word = a->line + a->at;
    *n = word_length(*word, a->n - a->at);
    a->at += *n;
    return true;
}

/* Copies a word, without the quotes around it. */
static bool copy_word(const char *word, size_t n, const char *what, int column, char *out,
                      size_t room, struct error *err)
{
    if (n >= 2 && word[0] == '"' && word[n - 1] == '"') {
        word++;
        n -= 2;
    }
    if (n == 0)
        return error_at(err, ERR_USAGE, column, "%s is expected here", what);
    if (n >= room || memchr(word, '\0', n))
        return error_at(err, ERR_USAGE, column, "this is too long for %s", what);
    memcpy(out, word, n);
    out[n] = '\0';
    return true;
}

bool arguments_string(struct arguments *a, const char *what, char *out, size_t room,
                      struct error *err)
{
    int column = arguments_column(a);
    const char *word;
    size_t n;
    if (!arguments_word(a, &word, &n))
        return error_at(err, ERR_USAGE, column, "%s is expected here", what);
    return copy_word(word, n, what, column, out, room, err);
}

bool arguments_int(struct arguments *a, const char *what, int low, int high, int fallback, int *out,
                   struct error *err)
{
    int column = arguments_column(a);
    const char *word;
    char text[24], *end;
    size_t n;
    *out = fallback;
    if (!arguments_word(a, &word, &n))
        return true;
    bool fits = n < sizeof text;
    if (fits) {
        memcpy(text, word, n);
        text[n] = '\0';
        long x = strtol(text, &end, 10);
        fits = *end == '\0' && strlen(text) == n && x >= low && x <= high;
        *out = (int)x;
    }
    return fits || error_at(err, ERR_USAGE, column, "%s is a whole number from %d to %d, not %.*s",
                            what, low, high, n > 24 ? 24 : (int)n, word);
}

bool arguments_done(struct arguments *a, struct error *err)
{
    int column = arguments_column(a);
    return arguments_end(a) ||
           error_at(err, ERR_USAGE, column, "nothing more is expected here (help tells the usage)");
}

bool arguments_take(struct arguments *a, const char *word)
{
    size_t n = strlen(word);
    skip(a);
    if (a->n - a->at < n || memcmp(a->line + a->at, word, n) != 0 ||
        (a->at + n < a->n && !blank(a->line[a->at + n])))
        return false;
    a->at += n;
    return true;
}

bool arguments_last(struct arguments *a, const char *what, char *out, size_t room,
                    struct error *err)
{
    struct arguments scan = *a;
    const char *word = NULL, *next;
    size_t n = 0, next_n;
    while (arguments_word(&scan, &next, &next_n)) {
        word = next;
        n = next_n;
    }
    if (!word)
        return error_at(err, ERR_USAGE, arguments_column(a), "%s is expected here", what);
    int column = (int)(word - a->line) + 1;
    a->n = (size_t)(word - a->line);
    return copy_word(word, n, what, column, out, room, err);
}

char *arguments_text(struct console *c, struct arguments *a, size_t *n, bool *quoted,
                     struct error *err)
{
    size_t at = a->at, end = a->n;
    /* One blank parts the command from its text; more of them belong to the text, unless it
     * stands in quotes. */
    if (at < end && blank(a->line[at]))
        at++;
    struct arguments probe = *a;
    *quoted = false;
    if (!arguments_end(&probe) && probe.line[probe.at] == '"') {
        size_t last = end;
        while (last > probe.at && blank(a->line[last - 1]))
            last--;
        if (last - probe.at >= 2 &&
            word_length(a->line + probe.at, last - probe.at) == last - probe.at &&
            a->line[last - 1] == '"' && !memchr(a->line + probe.at, '\0', last - probe.at)) {
            struct expr *e = expr_parse(c->ledger, a->line + probe.at, last - probe.at,
                                        arguments_column(&probe), NULL);
            struct scope nothing = {.ledger = c->ledger};
            struct value v;
            value_init(&v, c->ledger);
            char *text = NULL;
            if (e && expr_eval(e, &nothing, &v, err) && v.string) {
                text = v.string;
                *n = v.n_string;
                v.string = NULL;
                *quoted = true;
            }
            expr_close(e);
            value_fini(&v);
            if (*quoted)
                return text;
        }
    }
    char *text = mem_alloc(c->ledger, MEM_OTHER, end - at + 1, err);
    if (text)
        memcpy(text, a->line + at, end - at);
    *n = end - at;
    return text;
}

bool arguments_number(struct arguments *a, long *out)
{
    char *end;
    if (a->at >= a->n)
        return false;
    long x = strtol(a->line + a->at, &end, 10);
    size_t used = (size_t)(end - (a->line + a->at));
    if (used == 0 || a->at + used > a->n || x < INT32_MIN / 2 || x > INT32_MAX / 2)
        return false;
    *out = x;
    a->at += used;
    return true;
}

bool arguments_symbol(struct arguments *a, char c)
{
    if (arguments_end(a) || a->line[a->at] != c)
        return false;
    a->at++;
    return true;
}

bool arguments_positions(struct arguments *a, int n_ids, int n_ctx, int *first, int *last,
                         struct error *err)
{
    int column = arguments_column(a);
    long from = 0, to;
    if (arguments_symbol(a, '*')) {
        *first = 0;
        *last = POSITIONS_TO_THE_END;
        return true;
    }
    if (!arguments_number(a, &from))
        return error_at(err, ERR_USAGE, column,
                        "behind \"at\" a position, a range 3-7 or * is expected");
    to = from = from < 0 ? from + n_ids : from;
    if (a->at < a->n && a->line[a->at] == '-') {
        a->at++;
        if (!arguments_number(a, &to))
            return error_at(err, ERR_USAGE, arguments_column(a),
                            "the range's end is expected here");
    }
    if (from < 0)
        return n_ids == 0 ? error_at(err, ERR_STATE, column,
                                     "there is no prompt yet whose end %ld could count from", from)
                          : error_at(err, ERR_USAGE, column,
                                     "there is no position %ld: the sequence has %d tokens",
                                     from - n_ids, n_ids);
    if (to < from)
        return error_at(err, ERR_USAGE, column, "the range %ld-%ld ends before it begins", from,
                        to);
    if (to >= n_ctx)
        return error_at(err, ERR_USAGE, column,
                        "position %ld can never come: the context limit is %d positions", to,
                        n_ctx);
    *first = (int)from;
    *last = (int)to;
    return true;
}
