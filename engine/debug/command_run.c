/* command_run.c - commands that set the prompt and move the cursor. */
#include "engine/debug/command_parts.h"

#include "engine/debug/place.h"
#include "engine/debug/session_scope.h"

#include <stdio.h>
#include <string.h>

#define MOST 1000000000

/* ---- the prompt ---- */

static bool prompt_set(struct console *c, const char *why, struct error *err)
{
    struct session *s = c->session;
    if (!c->report->json)
        text_printf(&c->report->text, "%d token%s\n", s->trace.n_ids,
                    s->trace.n_ids == 1 ? "" : "s");
    return place_report(c->report, s, why, err);
}

/* The prompt that is there, from its start; what was generated goes. */
static bool rerun(struct console *c, struct error *err)
{
    struct session *s = c->session;
    if (!s->has_prompt)
        return error_set(err, ERR_STATE, "there is no prompt to run again (run TEXT)");
    size_t bytes = (size_t)s->n_prompt * sizeof *s->trace.ids;
    int32_t *ids = mem_alloc(c->ledger, MEM_OTHER, bytes, err);
    if (!ids)
        return false;
    for (int i = 0; i < s->n_prompt; i++)
        ids[i] = patches_old_token(&s->patches, i);
    bool ok = session_prompt_ids(s, ids, s->n_prompt, err);
    mem_free(c->ledger, ids);
    return ok;
}

static bool run_run(struct console *c, struct arguments *a, struct error *err)
{
    struct arguments probe = *a;
    bool ok, quoted;
    if (arguments_end(&probe)) {
        ok = rerun(c, err);
    } else {
        size_t n;
        char *text = arguments_text(c, a, &n, &quoted, err);
        if (!text)
            return false;
        ok = session_prompt_text(c->session, text, n, err);
        mem_free(c->ledger, text);
    }
    return ok && prompt_set(c, "run", err);
}

static bool run_ids(struct console *c, struct arguments *a, struct error *err)
{
    int32_t *ids = NULL;
    int n = 0, room = 0;
    bool ok = true;
    while (ok) {
        /* Commas part numbers as well as blanks do: ids from Python can be pasted. */
        while (!arguments_end(a) && strchr(",[]", a->line[a->at]) && a->line[a->at])
            a->at++;
        if (arguments_end(a))
            break;
        int column = arguments_column(a);
        long long x = 0;
        size_t start = a->at;
        while (a->at < a->n && a->line[a->at] >= '0' && a->line[a->at] <= '9' && x < MOST)
            x = x * 10 + (a->line[a->at++] - '0');
        bool ended = a->at >= a->n || (a->line[a->at] && strchr(" \t,]", a->line[a->at]));
        if (a->at == start || !ended || x >= MOST) {
            ok = error_at(err, ERR_USAGE, column, "a token's id is a whole number");
            break;
        }
        if (n == room) {
            room = room ? 2 * room : 64;
            int32_t *more = mem_resize(c->ledger, MEM_OTHER, ids, (size_t)room * sizeof *ids, err);
            ok = more != NULL;
            ids = more ? more : ids;
        }
        if (ok)
            ids[n++] = (int32_t)x;
    }
    ok = ok && session_prompt_ids(c->session, ids, n, err);
    mem_free(c->ledger, ids);
    return ok && prompt_set(c, "run", err);
}

/* ---- motions ---- */

bool motion_end(struct console *c, const char *why, bool ok, int position, int op,
                struct error *err)
{
    struct session *s = c->session;
    if (ok)
        return place_report(c->report, s, why, err);
    if (s->has_prompt && (s->position != position || s->op != op))
        place_report(c->report, s, why, NULL);
    return false;
}

static bool move(struct console *c, struct arguments *a, const char *why,
                 bool (*motion)(struct session *s, int n, struct error *err), struct error *err)
{
    struct session *s = c->session;
    int n, position = s->position, op = s->op;
    if (!arguments_int(a, "a count", 1, MOST, 1, &n, err) || !arguments_done(a, err))
        return false;
    return motion_end(c, why, motion(s, n, err), position, op, err);
}

static bool run_step(struct console *c, struct arguments *a, struct error *err)
{
    return move(c, a, "step", session_step, err);
}

static bool run_stepi(struct console *c, struct arguments *a, struct error *err)
{
    return move(c, a, "stepi", session_stepi, err);
}

static bool run_next(struct console *c, struct arguments *a, struct error *err)
{
    return move(c, a, "next", session_next, err);
}

static bool run_token(struct console *c, struct arguments *a, struct error *err)
{
    return move(c, a, "token", session_token, err);
}

static bool run_reverse_step(struct console *c, struct arguments *a, struct error *err)
{
    return move(c, a, "reverse-step", session_reverse_step, err);
}

static bool run_reverse_stepi(struct console *c, struct arguments *a, struct error *err)
{
    return move(c, a, "reverse-stepi", session_reverse_stepi, err);
}

static bool run_reverse_next(struct console *c, struct arguments *a, struct error *err)
{
    return move(c, a, "reverse-next", session_reverse_next, err);
}

static bool run_reverse_token(struct console *c, struct arguments *a, struct error *err)
{
    return move(c, a, "reverse-token", session_reverse_token, err);
}

static bool run_finish(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    int position = s->position, op = s->op;
    return arguments_done(a, err) &&
           motion_end(c, "finish", session_finish(s, err), position, op, err);
}

static bool needs_prompt(const struct console *c, struct error *err)
{
    return c->session->has_prompt || error_set(err, ERR_STATE, "there is no prompt yet (run TEXT)");
}

static bool run_goto(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    int column = arguments_column(a), position, op = s->op, layer, last;
    int old_position = s->position, old_op = s->op;
    size_t used;
    enum site site;
    char word[128];
    if (!needs_prompt(c, err))
        return false;
    if (arguments_end(a))
        return error_at(err, ERR_USAGE, column, "a position is expected here: goto POS [SITE]");
    if (!arguments_int(a, "a position", -MOST, MOST, 0, &position, err))
        return false;
    int at = position < 0 ? position + s->trace.n_ids : position;
    if (at < 0 || at >= s->trace.n_ids)
        return error_at(err, ERR_USAGE, column,
                        "there is no position %d: the sequence has %d tokens", position,
                        s->trace.n_ids);
    column = arguments_column(a);
    if (!arguments_end(a)) {
        if (!arguments_string(a, "a site", word, sizeof word, err) || !arguments_done(a, err))
            return false;
        bool ok = site_parse(word, &site, &layer, &last, &used, err);
        if (ok && (word[used] || layer == SITE_ALL_LAYERS || layer != last))
            ok = error_set(err, ERR_USAGE, "goto takes one site, as in 5.resid_post");
        if (!ok || !session_find(s, site, layer, &op, err)) {
            if (err && err->column == 0)
                err->column = column;
            return false;
        }
    }
    return motion_end(c, "goto", session_goto(s, at, op, err), old_position, old_op, err);
}

static bool run_until(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    int column = arguments_column(a), n_ops = s->model.program.n_ops;
    int old_position = s->position, old_op = s->op;
    char word[128];
    if (!arguments_string(a, "a site", word, sizeof word, err) || !arguments_done(a, err) ||
        !needs_prompt(c, err))
        return false;
    bool *chosen = mem_alloc_array(c->ledger, MEM_OTHER, (size_t)n_ops, sizeof *chosen, err);
    if (!chosen)
        return false;
    bool ok = sites_match(s, word, column, chosen, err);
    int to = -1, position = s->position;
    for (int i = s->op + 1; ok && to < 0 && i < n_ops; i++)
        to = chosen[i] ? i : -1;
    if (ok && to < 0) {
        position++;
        for (int i = 0; to < 0 && i < n_ops; i++)
            to = chosen[i] ? i : -1;
    }
    mem_free(c->ledger, chosen);
    if (ok && position >= s->trace.n_ids)
        ok = error_set(err, ERR_STATE, "the sequence ends before %s comes again (token samples on)",
                       word);
    return ok &&
           motion_end(c, "until", session_forward(s, position, to, err), old_position, old_op, err);
}

/* ---- the table ---- */

const struct command command_run = {
    .name = "run",
    .aliases = "r",
    .usage = "run [TEXT]",
    .brief = "set the prompt and stand before its first op",
    .help =
        "TEXT is taken as it stands behind one blank; wholly in quotes, its escapes (\\n \\t \\\" "
        "\\x1b)\nare read and the quotes are not part of it. Without TEXT the same prompt "
        "starts again.",
    .theme = THEME_RUN,
    .takes = TAKES_TEXT,
    .changes = true,
    .undoable = true,
    .run = run_run,
};

const struct command command_ids = {
    .name = "ids",
    .aliases = "",
    .usage = "ids N...",
    .brief = "set the prompt as token ids",
    .help = "Blanks or commas part the numbers. Nothing is added: no BOS.",
    .theme = THEME_RUN,
    .takes = TAKES_TEXT,
    .changes = true,
    .undoable = true,
    .run = run_ids,
};

const struct command command_finish = {
    .name = "finish",
    .aliases = "fin",
    .usage = "finish",
    .brief = "to this token's logits",
    .help = "Right after run: to the logits of the prompt's last token.",
    .theme = THEME_RUN,
    .repeats = true,
    .changes = true,
    .run = run_finish,
};

const struct command command_token = {
    .name = "token",
    .aliases = "t",
    .usage = "token [n]",
    .brief = "to the same op of the next token",
    .help = "Past the last token this samples one and goes on (set sampler tells how).",
    .theme = THEME_RUN,
    .repeats = true,
    .changes = true,
    .undoable = true,
    .run = run_token,
};

const struct command command_step = {
    .name = "step",
    .aliases = "s",
    .usage = "step [n]",
    .brief = "to the next site",
    .help = "Behind a token's logits comes the next token's first site.",
    .theme = THEME_RUN,
    .repeats = true,
    .changes = true,
    .run = run_step,
};

const struct command command_stepi = {
    .name = "stepi",
    .aliases = "si",
    .usage = "stepi [n]",
    .brief = "one op on",
    .help = "info program lists the ops.",
    .theme = THEME_RUN,
    .repeats = true,
    .changes = true,
    .run = run_stepi,
};

const struct command command_next = {
    .name = "next",
    .aliases = "n",
    .usage = "next [n]",
    .brief = "to the next block's end (resid_post)",
    .help = "Behind the last block come the logits.",
    .theme = THEME_RUN,
    .repeats = true,
    .changes = true,
    .run = run_next,
};

const struct command command_until = {
    .name = "until",
    .aliases = "u",
    .usage = "until SITE",
    .brief = "forward to a site",
    .help = "The next place where it is written, of this token or the next one. Wildcards work: "
            "*.pattern.",
    .theme = THEME_RUN,
    .takes = TAKES_SITE,
    .repeats = true,
    .changes = true,
    .run = run_until,
};

const struct command command_goto = {
    .name = "goto",
    .aliases = "",
    .usage = "goto POS [SITE]",
    .brief = "to any place, forwards or backwards",
    .help = "A negative position counts from the end. Without SITE: the same op as now.",
    .theme = THEME_RUN,
    .takes = TAKES_SITE,
    .changes = true,
    .run = run_goto,
};

const struct command command_reverse_step = {
    .name = "reverse-step",
    .aliases = "rs",
    .usage = "reverse-step [n]",
    .brief = "to the site before",
    .help = "Going back computes nothing, and what lies ahead stays known.",
    .theme = THEME_RUN,
    .takes = TAKES_NOTHING,
    .repeats = true,
    .changes = true,
    .run = run_reverse_step,
};

const struct command command_reverse_stepi = {
    .name = "reverse-stepi",
    .aliases = "rsi",
    .usage = "reverse-stepi [n]",
    .brief = "one op back",
    .help = "Going back computes nothing, and what lies ahead stays known.",
    .theme = THEME_RUN,
    .takes = TAKES_NOTHING,
    .repeats = true,
    .changes = true,
    .run = run_reverse_stepi,
};

const struct command command_reverse_next = {
    .name = "reverse-next",
    .aliases = "rn",
    .usage = "reverse-next [n]",
    .brief = "to the end of the block before",
    .help = "Going back computes nothing, and what lies ahead stays known.",
    .theme = THEME_RUN,
    .takes = TAKES_NOTHING,
    .repeats = true,
    .changes = true,
    .run = run_reverse_next,
};

const struct command command_reverse_token = {
    .name = "reverse-token",
    .aliases = "rt",
    .usage = "reverse-token [n]",
    .brief = "to the same op of the token before",
    .help = "Going back computes nothing, and what lies ahead stays known.",
    .theme = THEME_RUN,
    .takes = TAKES_NOTHING,
    .repeats = true,
    .changes = true,
    .run = run_reverse_token,
};
