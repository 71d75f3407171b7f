/* command_break.c - breakpoints: set, list, change, and go on to them. */
#include "engine/debug/command_parts.h"

#include "engine/debug/place.h"
#include "engine/debug/session_scope.h"

#include <stdio.h>
#include <string.h>

/* ---- SITE [at POS] [if EXPR] ---- */

/* at 5, at -1, at 3-7, at "token", at * */
static bool read_where(struct console *c, struct arguments *a, struct breakpoint_spec *spec,
                       struct error *err)
{
    struct session *s = c->session;
    if (!arguments_take(a, "at"))
        return true;
    int column = arguments_column(a);
    if (a->at < a->n && a->line[a->at] == '"') {
        const char *word;
        size_t n;
        arguments_word(a, &word, &n);
        if (n < 2 || word[n - 1] != '"')
            return error_at(err, ERR_USAGE, column, "the string is not closed");
        if (session_token_id(s, word + 1, n - 2, &spec->token_id, err))
            return true;
        if (err)
            err->column = column;
        return false;
    }
    return arguments_positions(a, s->trace.n_ids, s->trace.n_ctx, &spec->first, &spec->last, err);
}

static bool set(struct console *c, struct arguments *a, bool temporary, struct error *err)
{
    struct session *s = c->session;
    size_t used;
    int column = arguments_column(a);
    struct breakpoint_spec spec = {.last = POSITIONS_TO_THE_END,
                                   .token_id = -1,
                                   .temporary = temporary,
                                   .text = a->line + a->at};
    if (!site_parse(a->line + a->at, &spec.site, &spec.layer_first, &spec.layer_last, &used, err)) {
        if (err)
            err->column = column;
        return false;
    }
    a->at += used;
    if (spec.layer_first == SITE_ALL_LAYERS) {
        spec.layer_first = 0;
        spec.layer_last = s->model.program.n_layers - 1;
    }
    if (!read_where(c, a, &spec, err))
        return false;
    if (arguments_take(a, "if")) {
        spec.column = arguments_column(a);
        spec.condition = a->line + a->at;
        spec.n_condition = a->n - a->at;
        a->at = a->n;
    }
    if (!arguments_done(a, err))
        return false;
    int id = breakpoints_add(&s->breakpoints, s, &spec, err);
    if (!id) {
        if (err && err->column == 0)
            err->column = column;
        return false;
    }
    struct report *r = c->report;
    char name[64];
    site_name(spec.site, spec.layer_first, name);
    if (r->json) {
        report_begin(r, "cmd", temporary ? "tbreak" : "break");
        report_int(r, "id", id);
        report_string(r, "site", name, strlen(name));
        return report_end(r, err);
    }
    text_printf(&r->text, "%s %d at %s", temporary ? "Temporary breakpoint" : "Breakpoint", id,
                name);
    if (spec.layer_last != spec.layer_first)
        text_printf(&r->text, " to layer %d", spec.layer_last);
    text_add(&r->text, "\n");
    return report_send(r, err);
}

static bool run_break(struct console *c, struct arguments *a, struct error *err)
{
    return set(c, a, false, err);
}

static bool run_tbreak(struct console *c, struct arguments *a, struct error *err)
{
    return set(c, a, true, err);
}

/* ---- those that are there ---- */

static bool list_one(struct report *r, const struct breakpoint *b, struct error *err)
{
    static const char *const kinds[] = {"break", "watch", "nan", "top1"};
    static const char *const words[] = {"stop", "watch", "catch", "catch"};
    char name[64];
    if (b->kind == STOP_SITE)
        site_name(b->site, b->layer_first, name);
    if (r->json) {
        report_begin(r, "cmd", "info breakpoints");
        report_int(r, "id", b->id);
        report_string(r, "kind", kinds[b->kind], strlen(kinds[b->kind]));
        report_string(r, "text", b->text, strlen(b->text));
        if (b->kind == STOP_SITE) {
            report_string(r, "site", name, strlen(name));
            report_int(r, "layer_last", b->layer_last);
            report_int(r, "first", b->first);
            report_int(r, "last", b->last == POSITIONS_TO_THE_END ? -1 : b->last);
        }
        report_bool(r, "enabled", b->enabled);
        report_bool(r, "temporary", b->temporary);
        report_int(r, "hits", b->hits);
        report_int(r, "ignore", b->ignore);
        if (b->condition)
            report_string(r, "condition", b->condition, strlen(b->condition));
        if (b->commands)
            report_string(r, "commands", b->commands, strlen(b->commands));
        return report_end(r, err);
    }
    text_printf(&r->text, "%-4d %s%s  ", b->id, b->enabled ? "" : "(disabled) ",
                b->temporary ? "once" : words[b->kind]);
    text_add_shown(&r->text, b->text, strlen(b->text), false);
    text_printf(&r->text, "\n     hit %ld time%s", b->hits, b->hits == 1 ? "" : "s");
    if (b->ignore > 0)
        text_printf(&r->text, ", passes by the next %d", b->ignore);
    text_add(&r->text, "\n");
    for (const char *line = b->commands; line && *line;) {
        size_t n = strcspn(line, "\n");
        text_add(&r->text, "        ");
        text_add_shown(&r->text, line, n, false);
        text_add(&r->text, "\n");
        line += n + (line[n] == '\n');
    }
    return report_send(r, err);
}

bool break_list(struct console *c, struct arguments *a, struct error *err)
{
    const struct breakpoints *b = &c->session->breakpoints;
    if (!arguments_done(a, err))
        return false;
    for (int i = 0; i < b->n; i++)
        if (!list_one(c->report, &b->list[i], err))
            return false;
    if (b->n == 0 && !c->report->json) {
        text_add(&c->report->text, "no breakpoints\n");
        return report_send(c->report, err);
    }
    return true;
}

static bool read_number(struct arguments *a, const char *what, int low, int *n, struct error *err)
{
    int column = arguments_column(a);
    if (arguments_end(a))
        return error_at(err, ERR_USAGE, column, "%s is expected here", what);
    return arguments_int(a, what, low, INT32_MAX, 0, n, err);
}

/* delete N M ...; delete alone: all of them. */
bool break_delete(struct console *c, struct arguments *a, struct error *err)
{
    struct breakpoints *b = &c->session->breakpoints;
    int id = 0;
    if (arguments_end(a))
        while (b->n > 0)
            if (!breakpoints_remove(b, b->list[0].id, err))
                return false;
    while (!arguments_end(a))
        if (!read_number(a, "a breakpoint's number, or patch N,", 1, &id, err) ||
            !breakpoints_remove(b, id, err))
            return false;
    return true;
}

bool break_enable(struct console *c, struct arguments *a, bool enabled, struct error *err)
{
    int id = 0;
    do {
        if (!read_number(a, "a breakpoint's number, or patch N,", 1, &id, err) ||
            !breakpoints_enable(&c->session->breakpoints, id, enabled, err))
            return false;
    } while (!arguments_end(a));
    return true;
}

static bool run_ignore(struct console *c, struct arguments *a, struct error *err)
{
    int id = 0, n = 0;
    if (!read_number(a, "a breakpoint's number", 1, &id, err) ||
        !read_number(a, "a count", 0, &n, err) || !arguments_done(a, err))
        return false;
    struct breakpoint *b = breakpoints_find(&c->session->breakpoints, id, err);
    if (b)
        b->ignore = n;
    return b != NULL;
}

static bool run_condition(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    int id = 0;
    if (!read_number(a, "a breakpoint's number", 1, &id, err))
        return false;
    bool none = arguments_end(a);
    return breakpoints_condition(&s->breakpoints, s, id, none ? NULL : a->line + a->at,
                                 a->n - a->at, arguments_column(a), err);
}

/* ---- going on ---- */

static bool go(struct console *c, struct arguments *a, const char *why,
               bool (*motion)(struct session *s, int n, struct error *err), struct error *err)
{
    struct session *s = c->session;
    int n = 1, position = s->position, op = s->op;
    if (!arguments_int(a, "a count", 1, INT32_MAX, 1, &n, err) || !arguments_done(a, err))
        return false;
    bool ok = motion(s, n, err);
    if (ok || (s->has_prompt && (s->position != position || s->op != op)))
        return place_report(c->report, s, why, ok ? err : NULL) && ok;
    return false;
}

static bool run_continue(struct console *c, struct arguments *a, struct error *err)
{
    return go(c, a, "continue", session_continue, err);
}

static bool run_reverse_continue(struct console *c, struct arguments *a, struct error *err)
{
    return go(c, a, "reverse-continue", session_reverse_continue, err);
}

const struct command command_break = {
    .name = "break",
    .aliases = "b",
    .usage = "break SITE [at POS] [if EXPR]",
    .brief = "stop after the site's value is written",
    .help = "SITE may be *.pattern or 3-5.resid_post. POS is 5, -1, 3-7, * or a token in quotes;\n"
            "-1 is the sequence's last token as it is now, and a token stops wherever it comes.\n"
            "EXPR may look at the value as `.`: break 1.pattern if max(.[3]) > 0.8. Every motion\n"
            "forwards but goto stops at breakpoints; continue goes on to the next one.",
    .theme = THEME_BREAK,
    .takes = TAKES_SITE,
    .changes = true,
    .undoable = true,
    .run = run_break,
};

const struct command command_tbreak = {
    .name = "tbreak",
    .aliases = "tb",
    .usage = "tbreak SITE [at POS] [if EXPR]",
    .brief = "the same, gone after it has stopped once",
    .help = "",
    .theme = THEME_BREAK,
    .takes = TAKES_SITE,
    .changes = true,
    .undoable = true,
    .run = run_tbreak,
};

const struct command command_condition = {
    .name = "condition",
    .aliases = "",
    .usage = "condition N [EXPR]",
    .brief = "change a breakpoint's condition, or take it away",
    .help = "",
    .theme = THEME_BREAK,
    .takes = TAKES_EXPR,
    .changes = true,
    .undoable = true,
    .run = run_condition,
};

const struct command command_ignore = {
    .name = "ignore",
    .aliases = "",
    .usage = "ignore N COUNT",
    .brief = "pass by the next COUNT hits of a breakpoint",
    .help = "",
    .theme = THEME_BREAK,
    .takes = TAKES_NOTHING,
    .changes = true,
    .undoable = true,
    .run = run_ignore,
};

const struct command command_continue = {
    .name = "continue",
    .aliases = "c",
    .usage = "continue [n]",
    .brief = "to the next breakpoint (the n-th), or the last token's logits",
    .help = "",
    .theme = THEME_RUN,
    .takes = TAKES_NOTHING,
    .repeats = true,
    .changes = true,
    .run = run_continue,
};

const struct command command_reverse_continue = {
    .name = "reverse-continue",
    .aliases = "rc",
    .usage = "reverse-continue [n]",
    .brief = "back to the breakpoint before, or the start",
    .help = "",
    .theme = THEME_RUN,
    .takes = TAKES_NOTHING,
    .repeats = true,
    .changes = true,
    .run = run_reverse_continue,
};
