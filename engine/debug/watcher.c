#include "engine/debug/watcher.h"

#include "engine/debug/catch.h"
#include "engine/debug/row_test.h"
#include "engine/debug/sieve.h"

#include <stdlib.h>
#include <string.h>

/* ---- hits ---- */

bool watcher_note(struct watcher *w, int position, int op, int id, bool maybe, struct error *err)
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

/* Whether a condition is tested while a chunk runs. */
static bool tested(const struct breakpoint *b)
{
    return b->kind == STOP_NAN || (b->kind == STOP_SITE && b->expr && b->here_only);
}

bool watcher_tells(const struct watcher *w, const struct breakpoint *b, int op)
{
    const struct program *p = &w->session->model.program;
    /* The tail is not run with a chunk: catch nan alone notes its rows (travel.c). */
    return tested(b) && (op < p->block_op[p->n_layers] || b->kind == STOP_NAN);
}

static bool watch(void *context, const struct op_view *v, struct error *err)
{
    struct watcher *w = context;
    for (int i = w->first[v->op]; i >= 0; i = w->standers[i].next) {
        const struct breakpoint *b = watcher_breakpoint(w, i);
        if (!tested(b))
            continue;
        for (int row = 0; row < v->n; row++) {
            bool truth = false;
            if (!breakpoint_covers(b, w->session, v->pos0 + row, v->op))
                continue;
            if (b->kind == STOP_NAN)
                truth = catch_bad_row(&w->session->model.program.ops[v->op], v, row);
            else if (!row_test(w->session, b, v, row, &truth, err))
                return false;
            if (truth && !watcher_note(w, v->pos0 + row, v->op, b->id, false, err))
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

static bool is_odd(const struct sieve_row *row)
{
    for (int k = 0; k < row->parts; k++)
        if (row->measures[k].odd > 0)
            return true;
    return false;
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
        const struct breakpoint *b = watcher_breakpoint(w, i);
        if (!tested(b) || (op != v->op && b->kind != STOP_NAN))
            continue;
        const struct sieve *sieve = w->sieves[w->standers[i].breakpoint];
        for (int r = 0; r < v->n; r++) {
            row.measures = m + (size_t)r * (size_t)parts;
            if ((sieve ? sieve_passes(sieve, &row) : is_odd(&row)) &&
                breakpoint_covers(b, s, v->pos0 + r, op) &&
                !watcher_note(w, v->pos0 + r, op, b->id, true, err))
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

struct hooks watcher_hooks(struct watcher *w)
{
    return (struct hooks){w->watch, watch, w, watch_measured, w->whole};
}

void watcher_sort(struct watcher *w)
{
    if (w->n > 0)
        qsort(w->hits, w->n, sizeof *w->hits, compare_hits);
}

const struct hit *watcher_find(const struct watcher *w, int position, int op, int id)
{
    const struct hit wanted = {position, op, id, false};
    return w->n > 0 ? bsearch(&wanted, w->hits, w->n, sizeof wanted, compare_hits) : NULL;
}

void watcher_forget(struct watcher *w, int position)
{
    w->n = 0;
    w->seen_from = w->seen_to = position;
}

void watcher_pass(struct watcher *w, int position)
{
    size_t passed = 0;
    if (w->changes != w->session->trace.changes || position < w->seen_from ||
        position > w->seen_to) {
        watcher_forget(w, position);
        return;
    }
    while (passed < w->n && w->hits[passed].position < position)
        passed++;
    if (passed > 0)
        memmove(w->hits, w->hits + passed, (w->n - passed) * sizeof *w->hits);
    w->n -= passed;
    w->seen_from = position;
}

/* ---- who stands where ---- */

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

/* Where a mix is fetched and not measured, what is no number in front of it is looked for there. */
static void watch_hidden(struct watcher *w)
{
    const struct program *p = &w->session->model.program;
    for (int op = 0; op + 2 < p->n_ops; op++) {
        if (p->ops[op].kind != OP_SCORES || !w->whole[op + 2])
            continue;
        for (int k = op; k < op + 2; k++)
            for (int i = w->first[k]; i >= 0; i = w->standers[i].next)
                w->watch[k] = w->watch[k] || watcher_breakpoint(w, i)->kind == STOP_NAN;
    }
}

/* Adds breakpoint i, which is enabled, at an op. */
static bool mark_op(struct watcher *w, int i, int op, struct error *err)
{
    const struct session *s = w->session;
    const struct breakpoint *b = &s->breakpoints.list[i];
    const struct op *o = &s->model.program.ops[op];
    if (!add_stander(w, op, i, err))
        return false;
    w->conditional = w->conditional || b->expr || b->kind != STOP_SITE;
    w->next_stood[op] = op;
    if (!watcher_tells(w, b, op))
        w->next_asked[op] = op;
    if (!tested(b))
        return true;
    w->tests = true;
    w->nan = w->nan || b->kind == STOP_NAN;
    w->varies = w->varies || (b->expr && expr_reads_variable(b->expr));
    if (b->expr) {
        /* All ops of a site have as many heads. */
        if (!w->sieves[i])
            w->sieves[i] = sieve_open(s->ledger, b->expr, o->heads > 1 ? o->heads : 1, err);
        if (!w->sieves[i])
            return false;
        w->whole[op] = w->whole[op] || !sieve_judges(w->sieves[i]);
    }
    bool elsewhere = b->kind == STOP_NAN && shows_in_mix(s, op);
    w->watch[elsewhere ? op + (int)(OP_MIX - o->kind) : op] = true;
    return true;
}

static void drop_sieves(struct watcher *w)
{
    for (int i = 0; i < w->n_sieves; i++)
        sieve_close(w->sieves[i]);
    mem_free(w->session->ledger, w->sieves);
    w->sieves = NULL;
    w->n_sieves = 0;
}

static bool list(struct watcher *w, struct error *err)
{
    const struct session *s = w->session;
    int n_ops = s->model.program.n_ops, n = s->breakpoints.n;
    drop_sieves(w);
    w->sieves = mem_alloc_array(s->ledger, MEM_OTHER, (size_t)n, sizeof *w->sieves, err);
    if (!w->sieves)
        return false;
    w->n_sieves = n;
    w->n_standers = 0;
    w->conditional = w->tests = w->nan = w->varies = false;
    for (int op = 0; op <= n_ops; op++)
        w->next_stood[op] = w->next_asked[op] = n_ops;
    for (int op = 0; op < n_ops; op++) {
        w->watch[op] = w->whole[op] = false;
        w->first[op] = -1;
    }
    for (int i = n - 1; i >= 0; i--)
        for (int op = 0; op < n_ops && s->breakpoints.list[i].enabled; op++)
            if (breakpoint_stands(&s->breakpoints.list[i], s, op) && !mark_op(w, i, op, err))
                return false;
    for (int op = n_ops - 1; op >= 0; op--) {
        if (w->next_stood[op] == n_ops)
            w->next_stood[op] = w->next_stood[op + 1];
        if (w->next_asked[op] == n_ops)
            w->next_asked[op] = w->next_asked[op + 1];
    }
    watch_hidden(w);
    return true;
}

static bool make(struct session *s, struct error *err)
{
    size_t n = (size_t)s->model.program.n_ops;
    struct watcher *w = s->watcher = mem_alloc(s->ledger, MEM_OTHER, sizeof *w, err);
    if (!w)
        return false;
    w->session = s;
    if ((w->watch = mem_alloc_array(s->ledger, MEM_OTHER, n, sizeof *w->watch, err)) &&
        (w->whole = mem_alloc_array(s->ledger, MEM_OTHER, n, sizeof *w->whole, err)) &&
        (w->first = mem_alloc_array(s->ledger, MEM_OTHER, n, sizeof *w->first, err)) &&
        (w->next_stood =
             mem_alloc_array(s->ledger, MEM_OTHER, n + 1, sizeof *w->next_stood, err)) &&
        (w->next_asked = mem_alloc_array(s->ledger, MEM_OTHER, n + 1, sizeof *w->next_asked, err)))
        return true;
    watcher_close(w);
    s->watcher = NULL;
    return false;
}

struct watcher *watcher_open(struct session *s, struct error *err)
{
    if (!s->watcher && !make(s, err))
        return NULL;
    struct watcher *w = s->watcher;
    if (w->listed && w->breakpoints == s->breakpoints.changes && w->patches == s->patches.changes)
        return w;
    watcher_forget(w, 0);
    w->listed = list(w, err);
    w->breakpoints = s->breakpoints.changes;
    w->patches = s->patches.changes;
    return w->listed ? w : NULL;
}

void watcher_close(struct watcher *w)
{
    if (!w)
        return;
    struct ledger *l = w->session->ledger;
    drop_sieves(w);
    mem_free(l, w->watch);
    mem_free(l, w->whole);
    mem_free(l, w->first);
    mem_free(l, w->next_stood);
    mem_free(l, w->next_asked);
    mem_free(l, w->standers);
    mem_free(l, w->hits);
    mem_free(l, w);
}
