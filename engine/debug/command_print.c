/* command_print.c - commands that show values. */
#include "engine/debug/command_parts.h"

#include "engine/analysis/top_read.h"
#include "engine/debug/place.h"
#include "engine/debug/session_scope.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool console_eval(struct console *c, const struct arguments *a, size_t at, size_t n,
                  struct value *out, struct error *err)
{
    struct session_scope scope;
    struct expr *e = expr_parse(c->ledger, a->line + at, n - at, (int)at + 1, err);
    if (!e)
        return false;
    session_scope_init(&scope, c->session, &c->variables);
    bool ok = expr_eval(e, &scope.scope, out, err);
    expr_close(e);
    return ok;
}

/* ---- $name = EXPR ---- */

bool console_assign(struct console *c, struct arguments *a, bool *found, struct error *err)
{
    char name[80];
    size_t at, start, n;
    *found = false;
    if (arguments_end(a) || a->line[a->at] != '$')
        return true;
    start = at = a->at + 1;
    while (at < a->n && a->line[at] != ' ' && a->line[at] != '\t' && a->line[at] != '=')
        at++;
    n = at - start;
    while (at < a->n && (a->line[at] == ' ' || a->line[at] == '\t'))
        at++;
    if (at >= a->n || a->line[at] != '=' || (at + 1 < a->n && a->line[at + 1] == '='))
        return true;
    *found = true;
    if (!variable_name_ok(a->line + start, n))
        return error_at(err, ERR_USAGE, (int)start + 1,
                        "a name is letters, digits and _, and no number: $1, $2, ... are what was "
                        "printed");
    memcpy(name, a->line + start, n);
    name[n] = '\0';
    struct value v;
    struct change_mark mark;
    value_init(&v, c->ledger);
    bool ok = console_eval(c, a, at + 1, a->n, &v, err);
    if (ok) {
        change_begin(c, &mark);
        ok = variables_set(&c->variables, name, &v, err);
        change_end(c, &mark, a->line, false);
    }
    struct report *r = c->report;
    if (ok && r->json) {
        report_begin(r, "cmd", "set");
        report_string(r, "name", name, n);
        if (!v.string)
            report_shape(r, "shape", v.n_dims, v.dims);
        ok = report_end(r, err);
    }
    value_fini(&v);
    return ok;
}

/* ---- print, output, x ---- */

/* Which of its letters a format has; anything else is an error. */
static bool read_format(struct arguments *a, const char *letters, struct error *err)
{
    for (const char *p = a->format; *p; p++)
        if (!strchr(letters, *p))
            return error_at(err, ERR_USAGE, a->format_column,
                            "/%s: only /%s is known here (all of a large value)", a->format,
                            letters);
    return true;
}

static void json_expr(struct console *c, const char *cmd, const struct arguments *a)
{
    size_t at = a->at, n = a->n;
    while (at < n && (a->line[at] == ' ' || a->line[at] == '\t'))
        at++;
    while (n > at && (a->line[n - 1] == ' ' || a->line[n - 1] == '\t'))
        n--;
    report_begin(c->report, "cmd", cmd);
    report_string(c->report, "expr", a->line + at, n - at);
}

static bool run_print(struct console *c, struct arguments *a, struct error *err)
{
    bool found;
    if (!read_format(a, "a", err) || !console_assign(c, a, &found, err))
        return false;
    if (found)
        return true;
    struct value v;
    char before[32];
    value_init(&v, c->ledger);
    int number = 0;
    bool ok = console_eval(c, a, a->at, a->n, &v, err) &&
              (number = variables_add(&c->variables, &v, err)) > 0;
    snprintf(before, sizeof before, "$%d = ", number);
    if (ok && c->report->json) {
        json_expr(c, "print", a);
        report_int(c->report, "number", number);
        ok = report_value(c->report, &v, err) && report_end(c->report, err);
    } else if (ok) {
        ok = report_print(c->report, before, &v, a->format[0] != '\0', err);
    }
    value_fini(&v);
    return ok;
}

static bool run_output(struct console *c, struct arguments *a, struct error *err)
{
    struct value v;
    value_init(&v, c->ledger);
    bool ok = read_format(a, "a", err) && console_eval(c, a, a->at, a->n, &v, err);
    if (ok && c->report->json) {
        json_expr(c, "output", a);
        ok = report_value(c->report, &v, err) && report_end(c->report, err);
    } else if (ok) {
        ok = report_print(c->report, "", &v, a->format[0] != '\0', err);
    }
    value_fini(&v);
    return ok;
}

/* Eight a line, each line behind the index of its first number. */
static bool examine(struct console *c, const struct value *v, size_t n, struct error *err)
{
    struct text *t = &c->report->text;
    for (size_t i = 0; i < n; i++) {
        if (i % 8 == 0) {
            size_t rest = i;
            text_add(t, i ? "\n[" : "[");
            for (int d = 0; d < v->n_dims; d++) {
                size_t each = 1;
                for (int k = d + 1; k < v->n_dims; k++)
                    each *= v->dims[k];
                text_printf(t, "%s%zu", d ? "," : "", rest / each);
                rest %= each;
            }
            text_add(t, "]");
        }
        text_add(t, "  ");
        add_number(t, value_at(v, i));
        if (!report_trickle(c->report, err))
            return false;
    }
    text_add(t, n > 0 ? "\n" : "no elements\n");
    return report_send(c->report, err);
}

static bool run_examine(struct console *c, struct arguments *a, struct error *err)
{
    struct value v;
    size_t n = 8;
    if (a->format[0]) {
        char *end;
        long x = strtol(a->format, &end, 10);
        if (*end || x < 1)
            return error_at(err, ERR_USAGE, a->format_column,
                            "x/N shows N numbers; \"%s\" is no such N", a->format);
        n = (size_t)x;
    }
    value_init(&v, c->ledger);
    bool ok = console_eval(c, a, a->at, a->n, &v, err);
    if (ok && v.string)
        ok = error_set(err, ERR_USAGE, "x shows numbers, and this is a string");
    n = ok && v.count < n ? v.count : n;
    if (ok && c->report->json) {
        json_expr(c, "x", a);
        report_shape(c->report, "shape", v.n_dims, v.dims);
        report_open(c->report, "data", '[');
        for (size_t i = 0; ok && i < n; i++) {
            report_number(c->report, NULL, value_at(&v, i));
            ok = report_trickle(c->report, err);
        }
        report_close(c->report, ']');
        ok = ok && report_end(c->report, err);
    } else if (ok) {
        ok = examine(c, &v, n, err);
    }
    value_fini(&v);
    return ok;
}

/* ---- top ---- */

static bool add_entry(struct console *c, const struct top_entry *e, int rank, struct error *err)
{
    struct report *r = c->report;
    struct session *s = c->session;
    if (!r->json) {
        text_printf(&r->text, "%4d  %8.6f  %9.4f  %6d  ", rank, e->probability, (double)e->logit,
                    (int)e->id);
        if (!place_add_token(&r->text, s, e->id, err))
            return false;
        text_add(&r->text, "\n");
        return report_trickle(r, err);
    }
    struct text piece;
    text_init(&piece, c->ledger, MEM_VIEWS);
    bool ok = session_piece(s, e->id, &piece, err);
    report_open(r, NULL, '{');
    report_int(r, "id", e->id);
    if (s->model.tokenizer)
        report_string(r, "token", piece.data ? piece.data : "", piece.n);
    else
        report_null(r, "token");
    report_number(r, "logit", (double)e->logit);
    report_number(r, "probability", e->probability);
    report_close(r, '}');
    text_fini(&piece);
    return ok && report_trickle(r, err);
}

static bool list_top(struct console *c, const struct top_row *row, const struct top_entry *best,
                     struct error *err)
{
    struct report *r = c->report;
    struct session *s = c->session;
    char why[80];
    const char *trouble = top_row_trouble(row, s->model.config.n_vocab, why);
    if (r->json) {
        report_begin(r, "cmd", "top");
        report_int(r, "position", s->position);
        if (trouble)
            report_string(r, "trouble", trouble, strlen(trouble));
        report_open(r, "tokens", '[');
    } else {
        text_printf(&r->text, "behind #%d ", s->position);
        if (!place_add_token(&r->text, s, s->trace.ids[s->position], err))
            return false;
        if (trouble) {
            text_printf(&r->text, ": %s, so no token has a probability\n", trouble);
            return report_send(r, err);
        }
        text_add(&r->text, ":\nrank  probability  logit      id  token\n");
    }
    for (int i = 0; i < row->n_best; i++)
        if (!add_entry(c, &best[i], i, err))
            return false;
    if (!r->json)
        return report_send(r, err);
    report_close(r, ']');
    return report_end(r, err);
}

static bool run_top(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    int n, op, vocab = s->model.config.n_vocab;
    if (!arguments_int(a, "a count", 1, vocab, vocab < 10 ? vocab : 10, &n, err) ||
        !arguments_done(a, err) || !session_find(s, SITE_LOGITS, 0, &op, err) ||
        !session_has(s, s->position, op, err))
        return false;
    struct top_ask ask = {.n_best = n, .probabilities = true};
    struct top_row row;
    struct top_entry *best = mem_alloc_array(c->ledger, MEM_VIEWS, (size_t)n, sizeof *best, err);
    bool ok = best && top_read(&s->trace, op, s->position, 1, &ask, &row, best, err) &&
              list_top(c, &row, best, err);
    mem_free(c->ledger, best);
    return ok;
}

/* ---- the table ---- */

const struct command command_print = {
    .name = "print",
    .aliases = "p inspect",
    .usage = "print[/a] EXPR",
    .brief = "a value, kept as $1, $2, ...",
    .help =
        "Values of more than 1000 numbers are summarised; print/a shows all. $name = EXPR keeps "
        "one\nunder a name. help expressions tells what an EXPR is.",
    .theme = THEME_LOOK,
    .takes = TAKES_EXPR,
    .changes = true,
    .run = run_print,
};

const struct command command_output = {
    .name = "output",
    .aliases = "",
    .usage = "output[/a] EXPR",
    .brief = "a value, without a number",
    .help = "",
    .theme = THEME_LOOK,
    .takes = TAKES_EXPR,
    .run = run_output,
};

const struct command command_examine = {
    .name = "x",
    .aliases = "",
    .usage = "x/N EXPR",
    .brief = "the first N numbers (8) of a value, with their indices",
    .help = "",
    .theme = THEME_LOOK,
    .takes = TAKES_EXPR,
    .run = run_examine,
};

const struct command command_top = {
    .name = "top",
    .aliases = "",
    .usage = "top [n]",
    .brief = "the n best next tokens (10) by this position's logits",
    .help = "The logits have to be computed: finish goes there.",
    .theme = THEME_LOOK,
    .run = run_top,
};
