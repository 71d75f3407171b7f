/* command_stop.c - watch and catch, and the commands that a breakpoint runs when it stops. */
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

void stop_gather_no_more(struct console *c)
{
    c->first_gathered = c->gather_depth = 0;
    text_clear(&c->gathered);
    c->gathered.failed = false;
}

/* Whether a line opens commands of its own, whose end closes these. */
static bool opens(const char *line, size_t n)
{
    size_t word = 0;
    while (word < n && line[word] != ' ' && line[word] != '\t')
        word++;
    return command_find(line, word, 1, NULL) == &command_commands;
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
    if (!closes || c->gather_depth > 0) {
        c->gather_depth += closes ? -1 : opens(line + at, end - at);
        if (end > at && !memchr(line + at, '\0', end - at)) {
            text_add_bytes(&c->gathered, line + at, end - at);
            text_add(&c->gathered, "\n");
        }
        if (text_ok(&c->gathered, err))
            return true;
        stop_gather_no_more(c);
        return false;
    }
    struct change_mark mark;
    char what[60];
    bool ok = true;
    snprintf(what, sizeof what,
             c->first_gathered < c->last_gathered ? "commands %d-%d" : "commands %d",
             c->first_gathered, c->last_gathered);
    change_begin(c, &mark);
    for (int id = c->first_gathered; ok && id <= c->last_gathered; id++)
        if (breakpoints_find(b, id, NULL))
            ok = breakpoints_commands(b, id, c->gathered.data, c->gathered.n, err);
    change_end(c, &mark, what, ok);
    stop_gather_no_more(c);
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
    char *repeat = c->repeat; /* an empty line repeats what was typed, not what ran here */
    c->repeat = NULL;
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
    if (console_gathers(c)) /* of a list that was not ended within this one */
        stop_gather_no_more(c);
    mem_free(c->ledger, c->repeat);
    c->repeat = repeat;
    mem_free(c->ledger, lines);
    return ok;
}

bool stop_follow(struct console *c, long arrivals, struct error *err)
{
    struct session *s = c->session;
    while (s->arrivals != arrivals && !c->quit) {
        const struct breakpoint *b = breakpoints_stopper(&s->breakpoints, s->stopped_by);
        arrivals = s->arrivals;
        if (s->trace.interrupt && *s->trace.interrupt)
            return error_set(err, ERR_INTERRUPTED, "stopped");
        if ((!b || !b->silent) && !displays_show(c, err))
            return false;
        if (b && b->commands && !run_list(c, b, err))
            return false;
    }
    return true;
}

/* ---- the table ---- */

const struct command command_watch = {
    .name = "watch",
    .aliases = "",
    .usage = "watch EXPR",
    .brief = "stop where a value is not the one at the token before",
    .help = "It is looked at behind the last site that it reads: watch argmax(logits) stops at\n"
            "each token whose best next token is another one. Old and new value are shown.\n"
            "5.z is the present token's; 5.z[3] is one place's, and does not change.",
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
    .help =
        "`silent` as the first line keeps the stop itself quiet. A line that goes on ends\n"
        "the list, and where that stops, the list of that breakpoint runs: `continue` as the\n"
        "last line makes a loop, up to the sequence's end or Ctrl-C. No line at all takes away\n"
        "what was there. commands within commands have an end of their own.",
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
