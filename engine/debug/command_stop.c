/* command_stop.c - watch and catch, and what happens at stops: a breakpoint's commands, displays.
 */
#include "engine/debug/command_parts.h"

#include <stdio.h>
#include <string.h>

/* ---- watch, catch ---- */

static bool add(struct console *c, const struct breakpoint_spec *spec, const char *cmd,
                const char *name, struct error *err)
{
    struct report *r = c->report;
    int id = breakpoints_add(&c->session->breakpoints, c->session, spec, err);
    if (!id)
        return false;
    if (r->json) {
        report_begin(r, "cmd", cmd);
        report_int(r, "id", id);
        report_string(r, "text", spec->text, strlen(spec->text));
        return report_end(r, err);
    }
    text_printf(&r->text, "%s %d: ", name, id);
    text_add_shown(&r->text, spec->text, strlen(spec->text), false);
    text_add(&r->text, "\n");
    return report_send(r, err);
}

static bool run_watch(struct console *c, struct arguments *a, struct error *err)
{
    int column = arguments_column(a);
    if (arguments_end(a))
        return error_at(err, ERR_USAGE, column, "an expression is expected here");
    struct breakpoint_spec spec = {.kind = STOP_WATCH,
                                   .first = 1, /* the first token has none before it */
                                   .last = POSITIONS_TO_THE_END,
                                   .token_id = -1,
                                   .condition = a->line + a->at,
                                   .n_condition = a->n - a->at,
                                   .column = column,
                                   .text = a->line + a->at};
    return add(c, &spec, "watch", "Watchpoint", err);
}

static const char *const catch_words[] = {"nan", "top1", NULL};

static bool run_catch(struct console *c, struct arguments *a, struct error *err)
{
    int column = arguments_column(a);
    struct breakpoint_spec spec = {.last = POSITIONS_TO_THE_END, .token_id = -1};
    if (arguments_take(a, "nan"))
        spec.kind = STOP_NAN;
    else if (arguments_take(a, "top1"))
        spec.kind = STOP_TOP1;
    else
        return error_at(err, ERR_USAGE, column, "nan or top1 is expected here");
    spec.text = catch_words[spec.kind - STOP_NAN];
    return arguments_done(a, err) && add(c, &spec, "catch", "Catchpoint", err);
}

/* ---- commands ... end ---- */

static bool run_commands(struct console *c, struct arguments *a, struct error *err)
{
    const struct breakpoints *b = &c->session->breakpoints;
    int first = b->n > 0 ? b->list[b->n - 1].id : 0, last = first;
    int column = arguments_column(a);
    long x;
    if (!arguments_end(a)) {
        if (!arguments_number(a, &x) || x < 1 || x > b->last_id)
            return error_at(err, ERR_USAGE, column, "a breakpoint's number is expected here");
        first = last = (int)x;
        if (a->at < a->n && a->line[a->at] == '-') {
            a->at++;
            column = (int)a->at + 1;
            if (!arguments_number(a, &x) || x < first || x > b->last_id)
                return error_at(err, ERR_USAGE, column, "the last breakpoint's number is expected");
            last = (int)x;
        }
    }
    if (!arguments_done(a, err))
        return false;
    if (first == 0)
        return error_set(err, ERR_STATE, "there is no breakpoint yet");
    int there = 0;
    for (int id = first; id <= last; id++)
        there += breakpoints_find(b, id, NULL) != NULL;
    if (there == 0)
        return error_at(err, ERR_USAGE, column, "there is no breakpoint %d", first);
    text_clear(&c->gathered);
    c->first_gathered = first;
    c->last_gathered = last;
    return true;
}

static bool run_end(struct console *c, struct arguments *a, struct error *err)
{
    (void)c;
    (void)a;
    return error_set(err, ERR_USAGE, "end closes commands, and none are open");
}

bool stop_gather(struct console *c, const char *line, size_t n, struct error *err)
{
    struct breakpoints *b = &c->session->breakpoints;
    size_t at = 0, end = n;
    while (at < n && (line[at] == ' ' || line[at] == '\t'))
        at++;
    while (end > at && (line[end - 1] == ' ' || line[end - 1] == '\t'))
        end--;
    bool closes = end - at == 3 && memcmp(line + at, "end", 3) == 0;
    if (!closes) {
        if (end > at && !memchr(line + at, '\0', end - at)) {
            text_add_bytes(&c->gathered, line + at, end - at);
            text_add(&c->gathered, "\n");
        }
        return text_ok(&c->gathered, err);
    }
    bool ok = true;
    for (int id = c->first_gathered; ok && id <= c->last_gathered; id++)
        if (breakpoints_find(b, id, NULL))
            ok = breakpoints_commands(b, id, c->gathered.data, c->gathered.n, err);
    c->first_gathered = 0;
    text_clear(&c->gathered);
    return ok;
}

/* Whether a line could not go on because the sequence ends where the session stands: a list that
 * goes on at each stop has come to its end then, and nothing is wrong. */
static bool ran_out(const struct session *s, const char *line, const struct error *err)
{
    size_t at = strspn(line, " \t"), n = strcspn(line + at, " \t");
    const struct command *command = command_find(line + at, n, 1, NULL);
    return err->code == ERR_STATE && command && command->theme == THEME_RUN && s->has_prompt &&
           s->position == s->trace.n_ids - 1 &&
           s->op == program_find(&s->model.program, SITE_LOGITS, 0);
}

/* Runs a breakpoint's lines until one of them arrives somewhere else. */
static bool run_list(struct console *c, const struct breakpoint *b, struct error *err)
{
    struct session *s = c->session;
    int id = b->id, number = 0;
    bool quiet = b->silent;
    long arrivals = s->arrivals;
    char *lines = mem_strdup(c->ledger, MEM_OTHER, b->commands, err); /* it may be deleted */
    if (!lines)
        return false;
    bool ok = true;
    for (char *line = lines; ok && *line && s->arrivals == arrivals && !c->quit;) {
        size_t n = strcspn(line, "\n");
        bool more = line[n] == '\n';
        line[n] = '\0';
        bool silent = ++number == 1 && quiet;
        struct error own = {0};
        if (!silent)
            ok = console_line(c, line, n, &own) && report_send(c->report, &own);
        if (!ok && ran_out(s, line, &own)) {
            ok = true;
            break;
        }
        if (!ok && err) {
            *err = own;
            error_prefix(err, "breakpoint %d, command %d (%.60s)", id, number, line);
            err->column = 0;
        }
        line += n + more;
    }
    mem_free(c->ledger, lines);
    return ok;
}

static bool show_displays(struct console *c, struct error *err);

bool stop_follow(struct console *c, long arrivals, struct error *err)
{
    struct session *s = c->session;
    while (s->arrivals != arrivals && !c->quit) {
        const struct breakpoint *b =
            s->stopped_by ? breakpoints_find(&s->breakpoints, s->stopped_by, NULL) : NULL;
        arrivals = s->arrivals;
        if (s->trace.interrupt && *s->trace.interrupt)
            return error_set(err, ERR_INTERRUPTED, "stopped");
        if ((!b || !b->silent) && !show_displays(c, err))
            return false;
        if (b && b->commands && !run_list(c, b, err))
            return false;
    }
    return true;
}

/* ---- display ---- */

static struct display *display_find(struct console *c, int id, struct error *err)
{
    for (int i = 0; i < c->n_displays; i++)
        if (c->displays[i].id == id)
            return &c->displays[i];
    error_set(err, ERR_USAGE, "there is no display %d", id);
    return NULL;
}

/* One line each; what cannot be evaluated here says so and ends nothing. */
static bool show(struct console *c, const struct display *d, struct error *err)
{
    struct report *r = c->report;
    struct error why = {0};
    struct value v;
    struct text before;
    struct arguments a = {.line = d->expr, .n = strlen(d->expr)};
    value_init(&v, c->ledger);
    text_init(&before, c->ledger, MEM_OTHER);
    bool fine = console_eval(c, &a, 0, a.n, &v, &why);
    bool ok = fine || why.code != ERR_INTERRUPTED;
    if (!ok && err)
        *err = why;
    if (ok && r->json) {
        r->first = true;
        report_open(r, NULL, '{');
        report_int(r, "display", d->id);
        report_string(r, "expr", d->expr, a.n);
        if (fine)
            ok = report_value(r, &v, err);
        else
            report_string(r, "error", why.text, strlen(why.text));
        ok = ok && report_end(r, err);
    } else if (ok) {
        text_printf(&before, "%d: ", d->id);
        text_add_shown(&before, d->expr, a.n, false);
        text_add(&before, fine ? " = " : "  ");
        ok = text_ok(&before, err);
        if (ok && fine) {
            ok = report_print(r, before.data, &v, d->all, err);
        } else if (ok) {
            text_printf(&r->text, "%s(%s)\n", before.data, why.text);
            ok = report_send(r, err);
        }
    }
    text_fini(&before);
    value_fini(&v);
    return ok;
}

static bool show_displays(struct console *c, struct error *err)
{
    for (int i = 0; i < c->n_displays; i++)
        if (c->displays[i].enabled && !show(c, &c->displays[i], err))
            return false;
    return true;
}

static bool run_display(struct console *c, struct arguments *a, struct error *err)
{
    if (arguments_end(a))
        return show_displays(c, err);
    if (strcmp(a->format, "a") != 0 && a->format[0])
        return error_at(err, ERR_USAGE, a->format_column, "only /a is known here");
    arguments_column(a);
    /* What is no expression at all is told now; what has no value here may have one elsewhere. */
    struct expr *e = expr_parse(c->ledger, a->line + a->at, a->n - a->at, (int)a->at + 1, err);
    if (!e)
        return false;
    expr_close(e);
    if (c->n_displays == c->room_displays) {
        int room = c->room_displays ? 2 * c->room_displays : 4;
        struct display *list =
            mem_resize(c->ledger, MEM_OTHER, c->displays, (size_t)room * sizeof *list, err);
        if (!list)
            return false;
        c->displays = list;
        c->room_displays = room;
    }
    char *text = mem_strdup(c->ledger, MEM_OTHER, a->line + a->at, err);
    if (!text)
        return false;
    struct display *d = &c->displays[c->n_displays++];
    *d = (struct display){++c->last_display, true, a->format[0] == 'a', text};
    return !c->session->has_prompt || show(c, d, err);
}

/* The display that the rest of the line names; NULL and *err otherwise. */
static struct display *read_display(struct console *c, struct arguments *a, struct error *err)
{
    int id = 0, column = arguments_column(a);
    if (arguments_end(a)) {
        error_at(err, ERR_USAGE, column, "a display's number is expected here");
        return NULL;
    }
    if (!arguments_int(a, "a display's number", 1, INT32_MAX, 0, &id, err) ||
        !arguments_done(a, err))
        return NULL;
    return display_find(c, id, err);
}

bool display_delete(struct console *c, struct arguments *a, struct error *err)
{
    struct display *d = read_display(c, a, err);
    if (!d)
        return false;
    mem_free(c->ledger, d->expr);
    memmove(d, d + 1, (size_t)(&c->displays[c->n_displays] - (d + 1)) * sizeof *d);
    c->n_displays--;
    return true;
}

bool display_enable(struct console *c, struct arguments *a, bool enabled, struct error *err)
{
    struct display *d = read_display(c, a, err);
    if (d)
        d->enabled = enabled;
    return d != NULL;
}

bool display_list(struct console *c, struct arguments *a, struct error *err)
{
    struct report *r = c->report;
    if (!arguments_done(a, err))
        return false;
    for (int i = 0; i < c->n_displays; i++) {
        const struct display *d = &c->displays[i];
        if (r->json) {
            report_begin(r, "cmd", "info display");
            report_int(r, "display", d->id);
            report_string(r, "expr", d->expr, strlen(d->expr));
            report_bool(r, "enabled", d->enabled);
            if (!report_end(r, err))
                return false;
            continue;
        }
        text_printf(&r->text, "%-4d %s", d->id, d->enabled ? "" : "(disabled) ");
        text_add_shown(&r->text, d->expr, strlen(d->expr), false);
        text_add(&r->text, "\n");
    }
    if (c->n_displays == 0 && !r->json)
        text_add(&r->text, "no displays\n");
    return report_send(r, err);
}

void displays_fini(struct console *c)
{
    for (int i = 0; i < c->n_displays; i++)
        mem_free(c->ledger, c->displays[i].expr);
    mem_free(c->ledger, c->displays);
    c->displays = NULL;
    c->n_displays = c->room_displays = 0;
}

/* ---- the table ---- */

const struct command command_watch = {
    .name = "watch",
    .aliases = "",
    .usage = "watch EXPR",
    .brief = "stop where a value is not the one at the token before",
    .help = "It is looked at behind the last site that it reads: watch argmax(logits) stops at\n"
            "each token whose best next token is another one. Old and new value are shown.",
    .theme = THEME_BREAK,
    .takes = TAKES_EXPR,
    .changes = true,
    .undoable = true,
    .run = run_watch,
};

const struct command command_catch = {
    .name = "catch",
    .aliases = "",
    .usage = "catch nan|top1",
    .brief = "stop at the first NaN or infinity; where the lens's best token changes",
    .help = "nan looks at every site, the tail's too; -inf among scores is a mask.\n"
            "top1 compares the logit lens before and behind each block.",
    .theme = THEME_BREAK,
    .takes = TAKES_WORD,
    .words = catch_words,
    .changes = true,
    .undoable = true,
    .run = run_catch,
};

const struct command command_commands = {
    .name = "commands",
    .aliases = "",
    .usage = "commands [N|N-M]",
    .brief = "lines that run when a breakpoint (the last one) stops, up to `end`",
    .help = "`silent` as the first line keeps the stop itself quiet. A line that goes on ends\n"
            "the list; none at all takes away what was there.",
    .theme = THEME_BREAK,
    .takes = TAKES_NOTHING,
    .changes = true,
    .run = run_commands,
};

const struct command command_end = {
    .name = "end",
    .aliases = "",
    .usage = "end",
    .brief = "closes commands",
    .help = "",
    .theme = THEME_BREAK,
    .takes = TAKES_NOTHING,
    .run = run_end,
};

const struct command command_display = {
    .name = "display",
    .aliases = "",
    .usage = "display[/a] [EXPR]",
    .brief = "show a value behind every stop; without EXPR, show them now",
    .help = "info display lists them, undisplay N takes one away.",
    .theme = THEME_LOOK,
    .takes = TAKES_EXPR,
    .changes = true,
    .run = run_display,
};

const struct command command_undisplay = {
    .name = "undisplay",
    .aliases = "",
    .usage = "undisplay N",
    .brief = "show it no more",
    .help = "",
    .theme = THEME_LOOK,
    .takes = TAKES_NOTHING,
    .changes = true,
    .run = display_delete,
};
