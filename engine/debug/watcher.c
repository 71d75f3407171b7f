#include "engine/debug/watcher.h"

#include "engine/debug/catch.h"
#include "engine/debug/row_test.h"
#include "engine/debug/sieve.h"

#include <stdlib.h>

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

bool watcher_tests(const struct breakpoint *b)
{
    return b->kind == STOP_NAN || (b->kind == STOP_SITE && b->expr && b->here_only);
}

static bool watch(void *context, const struct op_view *v, struct error *err)
{
    struct watcher *w = context;
    for (int i = w->first[v->op]; i >= 0; i = w->standers[i].next) {
        const struct breakpoint *b = watcher_breakpoint(w, i);
        if (!watcher_tests(b))
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
        if (!watcher_tests(b) || (op != v->op && b->kind != STOP_NAN))
            continue;
        for (int r = 0; r < v->n; r++) {
            bool odd = false;
            row.measures = m + (size_t)r * (size_t)parts;
            for (int k = 0; k < parts; k++)
                odd = odd || row.measures[k].odd > 0;
            if ((b->kind == STOP_NAN ? odd : sieve_passes(b->expr, &row)) &&
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

/* As watcher_init. */
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
            int heads = s->model.program.ops[op].heads;
            if (watcher_tests(b) && b->expr && !sieve_judges(b->expr, heads > 1 ? heads : 1))
                w->whole[op] = true;
            if (watcher_tests(b))
                w->watch[elsewhere ? op + (int)(OP_MIX - s->model.program.ops[op].kind) : op] =
                    true;
        }
    }
    watch_hidden(w);
    return true;
}

void watcher_fini(struct watcher *w)
{
    struct ledger *l = w->session->ledger;
    mem_free(l, w->watch);
    mem_free(l, w->whole);
    mem_free(l, w->sites);
    mem_free(l, w->first);
    mem_free(l, w->standers);
    mem_free(l, w->hits);
}

bool watcher_init(struct watcher *w, struct session *s, bool *conditional, struct error *err)
{
    const struct program *p = &s->model.program;
    size_t n = (size_t)p->n_ops;
    *w = (struct watcher){.session = s};
    w->watch = mem_alloc_array(s->ledger, MEM_OTHER, n, sizeof *w->watch, err);
    w->whole = mem_alloc_array(s->ledger, MEM_OTHER, n, sizeof *w->whole, err);
    w->sites = mem_alloc_array(s->ledger, MEM_OTHER, n, sizeof *w->sites, err);
    w->first = mem_alloc_array(s->ledger, MEM_OTHER, n, sizeof *w->first, err);
    bool ok = w->watch && w->whole && w->sites && w->first;
    for (int op = 0; ok && op < p->n_ops; op++)
        w->sites[op] = (unsigned char)p->ops[op].site;
    ok = ok && mark(w, conditional, err);
    if (!ok)
        watcher_fini(w);
    return ok;
}
