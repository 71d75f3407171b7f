/* travel.c - going on until a breakpoint stops it.
 *
 * Where a condition looks only at `.`, it is tested while a chunk of the prompt runs, on the
 * rows that the op has just written; the hits are noted, and then gone through in token-major
 * order. A device's rows stay where they are: what was measured of them (sieve.h) tells which may
 * be hits, and these alone are read. Any other condition is evaluated afterwards, on values
 * recomputed for its one row. */
#include "engine/debug/catch.h"
#include "engine/debug/row_test.h"
#include "engine/debug/session.h"
#include "engine/debug/session_scope.h"
#include "engine/debug/sieve.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CHUNK 8 /* positions run before the first look; then eight times as many */

/* ---- noting hits while a chunk runs ---- */

struct hit {
    int position, op, id;
    bool maybe; /* the row is still to be read */
};

/* A breakpoint at an op, and the next one there. */
struct stander {
    int breakpoint, next; /* -1: the last */
};

struct watcher {
    struct session *session;
    bool *watch;          /* [n_ops] */
    unsigned char *sites; /* [n_ops]: the ops themselves lie far apart */
    int *first;           /* [n_ops], of the standers there; -1: none */
    struct stander *standers;
    int n_standers, room_standers;
    struct hit *hits;
    size_t n, room;
};

static bool note(struct watcher *w, int position, int op, int id, bool maybe, struct error *err)
{
    if (w->n == w->room) {
        size_t room = w->room ? 2 * w->room : 64;
        struct hit *p = mem_resize(w->session->ledger, MEM_OTHER, w->hits, room * sizeof *p, err);
        if (!p)
            return false;
        w->hits = p;
        w->room = room;
    }
    w->hits[w->n++] = (struct hit){position, op, id, maybe};
    return true;
}

static int compare_hits(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    if (x->position != y->position)
        return x->position < y->position ? -1 : 1;
    if (x->op != y->op)
        return x->op < y->op ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static struct breakpoint *stander(const struct watcher *w, int i)
{
    return &w->session->breakpoints.list[w->standers[i].breakpoint];
}

static bool watched_while_running(const struct breakpoint *b)
{
    return b->kind == STOP_NAN || (b->kind == STOP_SITE && b->expr && b->here_only);
}

static bool watch(void *context, const struct op_view *v, struct error *err)
{
    struct watcher *w = context;
    for (int i = w->first[v->op]; i >= 0; i = w->standers[i].next) {
        const struct breakpoint *b = stander(w, i);
        if (!watched_while_running(b))
            continue;
        for (int row = 0; row < v->n; row++) {
            bool truth = false;
            if (!breakpoint_covers(b, w->session, v->pos0 + row, v->op))
                continue;
            if (b->kind == STOP_NAN)
                truth = catch_bad_row(&w->session->model.program.ops[v->op], v, row);
            else if (!row_test(w->session, b, v, row, &truth, err))
                return false;
            if (truth && !note(w, v->pos0 + row, v->op, b->id, false, err))
                return false;
        }
    }
    return true;
}

/* Whether a device's rows bring a NaN of this op's to light by themselves: what is no number among
 * scores or weights makes a mix that is none. A patch in between could hide it. */
static bool shows_in_mix(const struct session *s, int op)
{
    const struct op *o = &s->model.program.ops[op];
    if (!s->backend->device || (o->kind != OP_SCORES && o->kind != OP_SOFTMAX))
        return false;
    int scores = op - (int)(o->kind - OP_SCORES);
    const bool *patched = s->trace.hooks.watch;
    return !patched || !(patched[scores] || patched[scores + 1] || patched[scores + 2]);
}

/* Rows of one op that may be hits of the breakpoints at `op`, which is that op, or scores or
 * weights that show in it. */
static bool sift(struct watcher *w, const struct op_view *v, const struct measures *m, int op,
                 struct error *err)
{
    struct session *s = w->session;
    const struct backend *device = s->backend;
    int parts = v->heads > 1 ? v->heads : 1;
    struct sieve_row row = {.parts = parts, .d = (int)v->row_stride / parts};
    /* What is read later is recomputed: off by rounding, unless the device is exact. */
    row.margin = device->exact ? 1e-6 : device->dtype == DTYPE_BF16 ? 0.02 : 1e-4;
    for (int i = w->first[op]; i >= 0; i = w->standers[i].next) {
        const struct breakpoint *b = stander(w, i);
        if (!watched_while_running(b) || (op != v->op && b->kind != STOP_NAN))
            continue;
        for (int r = 0; r < v->n; r++) {
            bool odd = false;
            row.measures = m + (size_t)r * (size_t)parts;
            for (int k = 0; k < parts; k++)
                odd = odd || row.measures[k].odd > 0;
            if ((b->kind == STOP_NAN ? odd : sieve_passes(b->expr, &row)) &&
                breakpoint_covers(b, s, v->pos0 + r, op) &&
                !note(w, v->pos0 + r, op, b->id, true, err))
                return false;
        }
    }
    return true;
}

static bool watch_measured(void *context, const struct op_view *v, const struct measures *m,
                           struct error *err)
{
    struct watcher *w = context;
    const struct op *o = &w->session->model.program.ops[v->op];
    for (int back = o->kind == OP_MIX ? 2 : 0; back >= 0; back--)
        if ((back == 0 || shows_in_mix(w->session, v->op - back)) &&
            !sift(w, v, m, v->op - back, err))
            return false;
    return true;
}

/* ---- going through places in order ---- */

static bool test_by_reading(struct session *s, const struct breakpoint *b, int position, int op,
                            bool *truth, struct error *err)
{
    const struct op *o = &s->model.program.ops[op];
    struct session_scope scope;
    struct value x;
    /* What the condition may read must be there: all of this position. */
    if (!trace_compute(&s->trace, position + 1, err))
        return false;
    if (b->kind != STOP_SITE)
        return catch_test(s, b, position, op, truth, err);
    session_scope_init(&scope, s, s->breakpoints.variables);
    scope.scope.position = position;
    scope.scope.here = o->site;
    scope.scope.here_layer = o->layer;
    value_init(&x, s->ledger);
    bool ok = expr_eval(b->expr, &scope.scope, &x, err) && expr_truth(&x, truth, err);
    value_fini(&x);
    return ok || error_prefix(err, "the condition of breakpoint %d", b->id);
}

/* Whether breakpoint b stops at a place it covers. Rows from `noted` on were watched. */
static bool stops(struct watcher *w, const struct breakpoint *b, int position, int op, int noted,
                  bool *truth, struct error *err)
{
    *truth = true;
    if (b->kind == STOP_SITE && !b->expr)
        return true;
    const struct program *p = &w->session->model.program;
    bool tail = op >= p->block_op[p->n_layers];
    /* The tail is not run with the prompt: only catch nan has noted it, by reading (look). */
    if (!watched_while_running(b) || position < noted || (tail && b->kind != STOP_NAN))
        return test_by_reading(w->session, b, position, op, truth, err);
    const struct hit wanted = {position, op, b->id, false};
    const struct hit *found =
        w->n > 0 ? bsearch(&wanted, w->hits, w->n, sizeof wanted, compare_hits) : NULL;
    if (found && found->maybe)
        return test_by_reading(w->session, b, position, op, truth, err);
    *truth = found != NULL;
    return true;
}

/* The first breakpoint that stops at this place, counting hits; 0: none. */
static bool stop_at(struct watcher *w, int position, int op, int noted, int *stopped,
                    struct error *err)
{
    *stopped = 0;
    for (int i = w->first[op]; i >= 0; i = w->standers[i].next) {
        bool truth = false;
        struct breakpoint *b = stander(w, i);
        if (!breakpoint_covers(b, w->session, position, op))
            continue;
        if (!stops(w, b, position, op, noted, &truth, err))
            return false;
        if (!truth)
            continue;
        b->hits++;
        if (b->ignore > 0)
            b->ignore--;
        else if (!*stopped)
            *stopped = b->id;
    }
    return true;
}

static bool add_stander(struct watcher *w, int op, int breakpoint, struct error *err)
{
    if (w->n_standers == w->room_standers) {
        int room = w->room_standers ? 2 * w->room_standers : 64;
        struct stander *p =
            mem_resize(w->session->ledger, MEM_OTHER, w->standers, (size_t)room * sizeof *p, err);
        if (!p)
            return false;
        w->standers = p;
        w->room_standers = room;
    }
    w->standers[w->n_standers] = (struct stander){breakpoint, w->first[op]};
    w->first[op] = w->n_standers++;
    return true;
}

/* Lists the enabled breakpoints at each op in their order, and marks the ops that have to be
 * watched while they run. *conditional: whether there are conditions. */
static bool mark(struct watcher *w, bool *conditional, struct error *err)
{
    struct session *s = w->session;
    int n_ops = s->model.program.n_ops;
    *conditional = false;
    for (int op = 0; op < n_ops; op++)
        w->first[op] = -1;
    for (int i = s->breakpoints.n - 1; i >= 0; i--) {
        const struct breakpoint *b = &s->breakpoints.list[i];
        if (!b->enabled)
            continue;
        for (int op = 0; op < n_ops; op++) {
            if (b->kind == STOP_SITE && w->sites[op] != (unsigned char)b->site)
                continue;
            if (!breakpoint_stands(b, s, op))
                continue;
            if (!add_stander(w, op, i, err))
                return false;
            *conditional = *conditional || b->expr || b->kind != STOP_SITE;
            bool elsewhere = b->kind == STOP_NAN && shows_in_mix(s, op);
            if (watched_while_running(b))
                w->watch[elsewhere ? op + (int)(OP_MIX - s->model.program.ops[op].kind) : op] =
                    true;
        }
    }
    return true;
}

static bool stand(struct session *s, int position, int op, int id, struct error *err)
{
    bool ok = session_goto(s, position, op, err);
    struct breakpoint *b = breakpoints_find(&s->breakpoints, id, NULL);
    if (ok && b && b->temporary)
        breakpoints_retire(&s->breakpoints, id);
    return ok;
}

static bool catches_nan(const struct session *s)
{
    for (int i = 0; i < s->breakpoints.n; i++)
        if (s->breakpoints.list[i].enabled && s->breakpoints.list[i].kind == STOP_NAN)
            return true;
    return false;
}

/* Reads the tail's sites of computed rows [from, to), as the watcher saw the blocks'. */
static bool note_tail(struct watcher *w, int from, int to, struct error *err)
{
    enum { ROWS = 32 };
    struct session *s = w->session;
    const struct program *p = &s->model.program;
    for (int op = p->block_op[p->n_layers]; op < p->n_ops; op++)
        for (int row = from; w->watch[op] && row < to; row += ROWS) {
            int n = to - row < ROWS ? to - row : ROWS;
            size_t count = trace_read_count(&s->trace, op, n, 0, 0);
            float *values = mem_alloc_array(s->ledger, MEM_VIEWS, count, sizeof *values, err);
            struct op_view v = {.op = op,
                                .pos0 = row,
                                .n = n,
                                .data = values,
                                .row_stride = (size_t)p->ops[op].width,
                                .heads = p->ops[op].heads};
            bool ok = values && trace_read(&s->trace, op, row, n, 0, 0, 0, values, err);
            for (int i = 0; ok && i < s->breakpoints.n; i++)
                for (int r = 0; ok && r < n; r++)
                    if (s->breakpoints.list[i].kind == STOP_NAN &&
                        breakpoint_covers(&s->breakpoints.list[i], s, row + r, op) &&
                        catch_bad_row(&p->ops[op], &v, r))
                        ok = note(w, row + r, op, s->breakpoints.list[i].id, false, err);
            mem_free(s->ledger, values);
            if (!ok)
                return false;
        }
    return true;
}

/* Runs positions [from, to), known already, once more for the watcher: every site of every row read
 * one by one would take far longer. The bits come out the same, so what is known stays known. */
static bool run_again(struct session *s, int from, int to, struct error *err)
{
    size_t n = (size_t)s->model.config.n_layers + 1;
    int *done = mem_alloc_array(s->ledger, MEM_OTHER, n, sizeof *done, err);
    if (!done)
        return false;
    memcpy(done, s->trace.done, n * sizeof *done);
    trace_invalidate(&s->trace, from, 0);
    s->trace.again = true;
    bool ok = trace_compute(&s->trace, to, err);
    s->trace.again = false;
    for (size_t l = 0; l < n; l++)
        if (s->trace.done[l] < done[l])
            s->trace.done[l] = done[l];
    mem_free(s->ledger, done);
    return ok;
}

/* Positions [from, to): runs them, watching, then looks at each place up to (position, op). */
static bool look(struct watcher *w, bool conditional, int from, int to, int position, int op,
                 int *stopped, struct error *err)
{
    struct session *s = w->session;
    /* After an edit the lower layers of some rows stand, and are not run again: only rows of
     * which nothing is known pass by the watcher at every op. */
    int noted = s->trace.done[1] > from ? s->trace.done[1] : from;
    int known = noted < to ? noted : to;
    bool nan = catches_nan(s), ok = true;
    w->n = 0;
    if (conditional && (nan || to > noted)) {
        s->trace.observer = (struct hooks){w->watch, watch, w, watch_measured};
        if (nan && known > from) {
            ok = run_again(s, from, known, err);
            noted = from;
        }
        ok = ok && trace_compute(&s->trace, to, err);
        s->trace.observer = (struct hooks){0};
        if (!ok)
            return false;
    }
    if (nan && !note_tail(w, from, to, err))
        return false;
    if (w->n > 0)
        qsort(w->hits, w->n, sizeof *w->hits, compare_hits);
    for (int pos = from; pos < to; pos++)
        for (int i = pos == s->position ? s->op + 1 : 0; i < s->model.program.n_ops; i++) {
            if (pos == position && i > op)
                return true;
            if (w->first[i] < 0)
                continue;
            if (!stop_at(w, pos, i, noted, stopped, err))
                return false;
            if (*stopped)
                return stand(s, pos, i, *stopped, err);
        }
    return true;
}

/* Gives back what the watcher holds. */
static void watcher_fini(struct watcher *w)
{
    struct ledger *l = w->session->ledger;
    mem_free(l, w->watch);
    mem_free(l, w->sites);
    mem_free(l, w->first);
    mem_free(l, w->standers);
    mem_free(l, w->hits);
}

static bool watcher_init(struct watcher *w, struct session *s, bool *conditional, struct error *err)
{
    const struct program *p = &s->model.program;
    size_t n = (size_t)p->n_ops;
    *w = (struct watcher){.session = s};
    w->watch = mem_alloc_array(s->ledger, MEM_OTHER, n, sizeof *w->watch, err);
    w->sites = mem_alloc_array(s->ledger, MEM_OTHER, n, sizeof *w->sites, err);
    w->first = mem_alloc_array(s->ledger, MEM_OTHER, n, sizeof *w->first, err);
    bool ok = w->watch && w->sites && w->first;
    for (int op = 0; ok && op < p->n_ops; op++)
        w->sites[op] = (unsigned char)p->ops[op].site;
    ok = ok && mark(w, conditional, err);
    if (!ok)
        watcher_fini(w);
    return ok;
}

bool session_travel(struct session *s, int position, int op, int *stopped, struct error *err)
{
    struct watcher w;
    bool conditional, ok = true;
    *stopped = 0;
    trace_aim(&s->trace, position + 1);
    if (s->breakpoints.n == 0)
        return session_goto(s, position, op, err);
    if (!watcher_init(&w, s, &conditional, err))
        return false;
    int chunk = FIRST_CHUNK;
    for (int from = s->position; ok && w.n_standers > 0 && !*stopped && from <= position;) {
        int to = position + 1 - from < chunk ? position + 1 : from + chunk;
        ok = look(&w, conditional, from, to, position, op, stopped, err);
        from = to;
        chunk = chunk * 8 < s->trace.chunk ? chunk * 8 : s->trace.chunk;
    }
    watcher_fini(&w);
    if (!ok) {
        /* Interrupted or failed on the way: stand where it came to. */
        int rows = trace_rows(&s->trace);
        if (rows > s->position && rows <= position)
            session_goto(s, rows, -1, NULL);
        return false;
    }
    return *stopped || session_goto(s, position, op, err);
}

bool session_travel_back(struct session *s, int *stopped, struct error *err)
{
    const struct program *p = &s->model.program;
    *stopped = 0;
    if (!s->has_prompt)
        return error_set(err, ERR_STATE, "there is no prompt yet (run TEXT)");
    for (int pos = s->position; pos >= 0; pos--)
        for (int op = pos == s->position ? s->op - 1 : p->n_ops - 1; op >= 0; op--)
            for (int i = 0; i < s->breakpoints.n; i++) {
                const struct breakpoint *b = &s->breakpoints.list[i];
                bool truth = true;
                if (!breakpoint_covers(b, s, pos, op))
                    continue;
                if ((b->expr || b->kind != STOP_SITE) &&
                    !test_by_reading(s, b, pos, op, &truth, err))
                    return false;
                if (truth) {
                    *stopped = b->id;
                    return session_goto(s, pos, op, err);
                }
            }
    return session_goto(s, 0, -1, err);
}
