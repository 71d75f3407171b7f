/* command_restore.c - `restore`: what saved sessions and logs say and nobody types. */
#include "engine/debug/command_parts.h"

#include "engine/debug/place.h"

#include <stdlib.h>
#include <string.h>

#define MOST 2147483647

static bool read_int(struct arguments *a, const char *what, int low, int *out, struct error *err)
{
    int column = arguments_column(a);
    *out = low;
    if (arguments_end(a))
        return error_at(err, ERR_USAGE, column, "%s is expected here", what);
    return arguments_int(a, what, low, MOST, 0, out, err);
}

static bool needs_prompt(const struct console *c, struct error *err)
{
    return c->session->has_prompt || error_set(err, ERR_STATE, "there is no prompt yet (run TEXT)");
}

/* The ids that are left on the line, from mem_alloc (MEM_OTHER); NULL and *err. */
static int32_t *read_ids(struct console *c, struct arguments *a, int *n, struct error *err)
{
    size_t room = (a->n - a->at) / 2 + 1;
    int vocab = c->session->model.config.n_vocab;
    int32_t *ids = mem_alloc_array(c->ledger, MEM_OTHER, room, sizeof *ids, err);
    bool ok = ids != NULL;
    for (*n = 0; ok && !arguments_end(a);) {
        int id, column = arguments_column(a);
        ok = read_int(a, "a token's id", 0, &id, err);
        if (ok && id >= vocab)
            ok = error_at(err, ERR_USAGE, column, "token id %d is outside the vocabulary (0 to %d)",
                          id, vocab - 1);
        if (ok)
            ids[(*n)++] = id;
    }
    if (ok)
        return ids;
    mem_free(c->ledger, ids);
    return NULL;
}

/* tokens N...: as if they had been generated. */
static bool restore_tokens(struct console *c, struct arguments *a, struct error *err)
{
    int n;
    int32_t *ids = needs_prompt(c, err) ? read_ids(c, a, &n, err) : NULL;
    bool ok = ids && session_append(c->session, ids, n, err);
    mem_free(c->ledger, ids);
    return ok;
}

/* FROM "PATCHES": tokens from there on were sampled with these patches in force. */
static bool read_origin(struct console *c, struct arguments *a, struct origins *o,
                        struct error *err)
{
    int from;
    size_t n;
    bool quoted;
    if (!read_int(a, "a position", 0, &from, err))
        return false;
    int column = arguments_column(a);
    char *patches = arguments_text(c, a, &n, &quoted, err);
    bool ok = patches &&
              (quoted || error_at(err, ERR_USAGE, column, "patches in quotes are expected here")) &&
              origins_add(o, from, patches, err);
    mem_free(c->ledger, patches);
    return ok;
}

/* token POSITION ID TEXT: a patch that puts this token there; the position may be none now. */
static bool restore_token(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    int position, id;
    if (!read_int(a, "a position", 0, &position, err) || !read_int(a, "a token's id", 0, &id, err))
        return false;
    arguments_end(a);
    return patches_restore_token(&s->patches, position, id, a->line + a->at, err) != 0;
}

/* sampled FROM "PATCHES" */
static bool restore_sampled(struct console *c, struct arguments *a, struct error *err)
{
    return needs_prompt(c, err) && read_origin(c, a, &c->session->origins, err);
}

/* change LINE: what follows was made by this line, which was interrupted; undo takes it back. */
static bool restore_change(struct console *c, struct arguments *a, struct error *err)
{
    struct snapshot before;
    arguments_end(a);
    if (!snapshot_take(&before, c, err))
        return false;
    bool ok = history_add(c, a->line + a->at, &before, err);
    snapshot_fini(&before, c->ledger);
    return ok;
}

/* history: undo does not go behind this. */
static bool restore_history(struct console *c, struct arguments *a, struct error *err)
{
    if (!arguments_done(a, err))
        return false;
    history_clear(&c->history);
    return true;
}

/* cut FROM: the generated tokens from there on go, and are kept. */
static bool restore_cut(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    int from, column = arguments_column(a);
    if (!needs_prompt(c, err) || !read_int(a, "a position", 0, &from, err) ||
        !arguments_done(a, err))
        return false;
    if (from < s->n_prompt || from >= s->trace.n_ids)
        return error_at(err, ERR_USAGE, column, "tokens %d to %d were generated", s->n_prompt,
                        s->trace.n_ids - 1);
    if (!session_keep(s, err))
        return false;
    session_cut(s, from);
    return true;
}

/* continuation N ID...: kept ones, in order; continuation + ID...: more of the last, and
 * continuation sampled FROM "PATCHES": what it was sampled with. */
static bool restore_continuation(struct console *c, struct arguments *a, struct error *err)
{
    struct continuations *all = &c->session->continuations;
    int n, n_prompt = 0, column = arguments_column(a);
    bool sampled = arguments_take(a, "sampled"), more = !sampled && arguments_symbol(a, '+');
    if ((sampled || more) && all->n == 0)
        return error_at(err, ERR_USAGE, column, "there is no continuation yet");
    if (sampled)
        return read_origin(c, a, &all->list[all->n - 1].origins, err);
    if (!more && !read_int(a, "a count of tokens", 1, &n_prompt, err))
        return false;
    column = arguments_column(a);
    int32_t *ids = read_ids(c, a, &n, err);
    bool ok = ids && (n > 0 || error_at(err, ERR_USAGE, column, "a token's id is expected here"));
    ok = ok && (more ? continuations_extend(all, ids, n, err)
                     : continuations_add(all, ids, n_prompt, n, NULL, err));
    mem_free(c->ledger, ids);
    return ok;
}

/* prompt N: the first N tokens are the prompt. */
static bool restore_prompt(struct console *c, struct arguments *a, struct error *err)
{
    int n, column = arguments_column(a);
    if (!needs_prompt(c, err) || !read_int(a, "a count of tokens", 1, &n, err) ||
        !arguments_done(a, err))
        return false;
    if (n > c->session->trace.n_ids)
        return error_at(err, ERR_USAGE, column, "the sequence has %d tokens",
                        c->session->trace.n_ids);
    c->session->n_prompt = n;
    return true;
}

/* sampler STATE: of its generator, after what was drawn. */
static bool restore_sampler(struct console *c, struct arguments *a, struct error *err)
{
    char word[24], *end;
    int column = arguments_column(a);
    if (!arguments_string(a, "the generator's state", word, sizeof word, err) ||
        !arguments_done(a, err))
        return false;
    unsigned long long state = strtoull(word, &end, 10);
    if (*end || word[0] < '0' || word[0] > '9' || state == 0)
        return error_at(err, ERR_USAGE, column, "a state is a whole number from 1 on");
    c->session->sampler.state = state;
    return true;
}

/* number patch|breakpoint|display N: what comes next has this number. */
static bool restore_number(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    bool patch = arguments_take(a, "patch");
    bool display = !patch && arguments_take(a, "display");
    int *last = patch     ? &s->patches.last_id
                : display ? &c->displays.last_id
                          : &s->breakpoints.last_id;
    int n;
    if (!patch && !display && !arguments_take(a, "breakpoint"))
        return error_at(err, ERR_USAGE, arguments_column(a),
                        "patch, breakpoint or display is expected here");
    int column = arguments_column(a);
    if (!read_int(a, "a number", 1, &n, err) || !arguments_done(a, err))
        return false;
    if (n <= *last)
        return error_at(err, ERR_USAGE, column, "numbers up to %d were given already", *last);
    *last = n - 1;
    return true;
}

/* text patch|breakpoint N TEXT: how listings show it. */
static bool restore_text(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    bool patch = arguments_take(a, "patch");
    char **text = NULL;
    int id;
    if (!patch && !arguments_take(a, "breakpoint"))
        return error_at(err, ERR_USAGE, arguments_column(a),
                        "patch or breakpoint is expected here");
    if (!read_int(a, "its number", 1, &id, err))
        return false;
    if (patch) {
        for (int i = 0; i < s->patches.n; i++)
            if (s->patches.list[i].id == id)
                text = &s->patches.list[i].text;
    } else {
        struct breakpoint *b = breakpoints_find(&s->breakpoints, id, err);
        text = b ? &b->text : NULL;
    }
    if (!text)
        return error_set(err, ERR_USAGE, "there is no %s %d", patch ? "patch" : "breakpoint", id);
    arguments_end(a);
    char *copy = mem_strdup(c->ledger, MEM_OTHER, a->line + a->at, err);
    if (!copy)
        return false;
    mem_free(c->ledger, *text);
    *text = copy;
    return true;
}

/* at N ID: the breakpoint stops at this token alone. */
static bool restore_at(struct console *c, struct arguments *a, struct error *err)
{
    int id, token;
    if (!read_int(a, "a breakpoint's number", 1, &id, err) ||
        !read_int(a, "a token's id", 0, &token, err) || !arguments_done(a, err))
        return false;
    struct breakpoint *b = breakpoints_find(&c->session->breakpoints, id, err);
    if (b)
        b->token_id = token;
    return b != NULL;
}

/* hits N HITS IGNORE */
static bool restore_hits(struct console *c, struct arguments *a, struct error *err)
{
    int id, hits, ignore;
    if (!read_int(a, "a breakpoint's number", 1, &id, err) ||
        !read_int(a, "a count of hits", 0, &hits, err) ||
        !read_int(a, "a count of hits to pass by", 0, &ignore, err) || !arguments_done(a, err))
        return false;
    struct breakpoint *b = breakpoints_find(&c->session->breakpoints, id, err);
    if (!b)
        return false;
    b->hits = hits;
    b->ignore = ignore;
    return true;
}

/* breakpoints N...: all others are gone. */
static bool restore_breakpoints(struct console *c, struct arguments *a, struct error *err)
{
    struct breakpoints *all = &c->session->breakpoints;
    for (int i = all->n - 1; i >= 0; i--) {
        struct arguments list = *a;
        bool stays = false;
        while (!arguments_end(&list)) {
            int id;
            if (!read_int(&list, "a breakpoint's number", 1, &id, err))
                return false;
            stays = stays || id == all->list[i].id;
        }
        if (!stays && !breakpoints_remove(all, all->list[i].id, err))
            return false;
    }
    return true;
}

static bool read_place(struct console *c, struct arguments *a, int *position, int *op,
                       struct error *err)
{
    struct session *s = c->session;
    int column = arguments_column(a);
    if (!needs_prompt(c, err) || !read_int(a, "a position", 0, position, err) ||
        !read_int(a, "an op's number", -1, op, err) || !arguments_done(a, err))
        return false;
    return (*position < s->trace.n_ids && *op < s->model.program.n_ops) ||
           error_at(err, ERR_USAGE, column, "there is no such place: %d tokens, ops -1 to %d",
                    s->trace.n_ids, s->model.program.n_ops - 1);
}

/* computed OP N...: N positions are known before blocks 1, 2, ... and behind the last one, and of
 * the next position the ops up to OP; no more, no less. */
static bool restore_computed(struct console *c, struct arguments *a, struct error *err)
{
    struct trace *t = &c->session->trace;
    const struct program *p = &c->session->model.program;
    int op, column = arguments_column(a), L = p->n_layers;
    if (!needs_prompt(c, err) || !read_int(a, "an op's number", -1, &op, err))
        return false;
    int *known = mem_alloc_array(c->ledger, MEM_OTHER, (size_t)L + 1, sizeof *known, err);
    bool ok = known != NULL;
    for (int l = 1; ok && l <= L; l++)
        ok = read_int(a, "a count of positions", 0, &known[l], err);
    ok = ok && arguments_done(a, err);
    for (int l = 1; ok && l <= L; l++)
        if (known[l] > t->n_ids || (l > 1 && known[l] > known[l - 1]) || op >= p->block_op[L] ||
            (op >= 0 && known[L] == t->n_ids))
            ok = error_at(err, ERR_USAGE, column, "%d tokens cannot be computed like this",
                          t->n_ids);
    for (int l = 1; ok && l <= L; l++)
        if (t->done[l] > known[l])
            trace_invalidate(t, known[l], l);
    if (ok && t->pc > op + 1)
        trace_invalidate(t, known[L], L);
    ok = ok && trace_compute(t, known[L], err) && (op < 0 || trace_step(t, op, err));
    for (int l = L - 1; ok && l > 0; l--)
        ok = trace_compute_layer(t, known[l], l, err);
    mem_free(c->ledger, known);
    return ok;
}

/* place POSITION OP */
static bool restore_place(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    int position, op;
    return read_place(c, a, &position, &op, err) && session_goto(s, position, op, err) &&
           place_report(c->report, s, "goto", err);
}

/* forget $name */
static bool restore_forget(struct console *c, struct arguments *a, struct error *err)
{
    char name[80];
    int column = arguments_column(a);
    if (!arguments_string(a, "a $name", name, sizeof name, err) || !arguments_done(a, err))
        return false;
    if (name[0] != '$')
        return error_at(err, ERR_USAGE, column, "a $name is expected here");
    variables_remove(&c->variables, name + 1);
    return true;
}

static const struct part {
    const char *word;
    bool (*run)(struct console *c, struct arguments *a, struct error *err);
} parts[] = {
    {"tokens", restore_tokens},     {"prompt", restore_prompt},
    {"sampler", restore_sampler},   {"number", restore_number},
    {"text", restore_text},         {"at", restore_at},
    {"hits", restore_hits},         {"breakpoints", restore_breakpoints},
    {"computed", restore_computed}, {"place", restore_place},
    {"forget", restore_forget},     {"continuation", restore_continuation},
    {"sampled", restore_sampled},   {"cut", restore_cut},
    {"change", restore_change},     {"token", restore_token},
    {"history", restore_history},
};

static bool run_restore(struct console *c, struct arguments *a, struct error *err)
{
    int column = arguments_column(a);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (arguments_take(a, parts[i].word))
            return parts[i].run(c, a, err);
    return error_at(err, ERR_USAGE, column, "restore knows no such part (help restore)");
}

const struct command command_restore = {
    .name = "restore",
    .aliases = "",
    .usage = "restore PART ...",
    .brief = "what saved sessions and logs use to bring a state back",
    .help = "tokens N...  prompt N  sampler STATE  number patch|breakpoint|display N\n"
            "text patch|breakpoint N TEXT  at N ID  hits N HITS IGNORE  breakpoints N...\n"
            "computed OP N...  place POSITION OP  forget $name\n"
            "continuation N ID...  continuation + ID...  continuation sampled FROM \"PATCHES\"\n"
            "sampled FROM \"PATCHES\"  cut FROM  change LINE\n"
            "token POSITION ID TEXT  history",
    .theme = THEME_SAVE,
    .takes = TAKES_NOTHING,
    .changes = true,
    .run = run_restore,
};
