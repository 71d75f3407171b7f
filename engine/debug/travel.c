/* travel.c - going on until a breakpoint stops it.
 *
 * Where a condition looks only at `.`, it is tested while a chunk of the prompt runs (watcher.h);
 * the hits are then gone through in token-major order. Any other condition is evaluated afterwards,
 * on values recomputed for its one row. */
#include "engine/debug/catch.h"
#include "engine/debug/session.h"
#include "engine/debug/session_scope.h"
#include "engine/debug/watcher.h"
#include "engine/forward/vm.h"

#define FIRST_CHUNK 8  /* positions run before the first look; then eight times as many */
#define FIRST_AGAIN 64 /* the same, of known ones that a device runs again */

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

/* Whether breakpoint b stops at a place it covers. */
static bool stops(struct watcher *w, const struct breakpoint *b, int position, int op, bool *truth,
                  struct error *err)
{
    *truth = true;
    if (b->kind == STOP_SITE && !b->expr)
        return true;
    if (!watcher_saw(w, position) || !watcher_tells(w, b, op))
        return test_by_reading(w->session, b, position, op, truth, err);
    const struct hit *found = watcher_find(w, position, op, b->id);
    if (found && found->maybe)
        return test_by_reading(w->session, b, position, op, truth, err);
    *truth = found != NULL;
    return true;
}

/* The first breakpoint that stops at this place, counting hits; 0: none. */
static bool stop_at(struct watcher *w, int position, int op, int *stopped, struct error *err)
{
    *stopped = 0;
    for (int i = w->first[op]; i >= 0; i = w->standers[i].next) {
        bool truth = false;
        struct breakpoint *b = watcher_breakpoint(w, i);
        if (!breakpoint_covers(b, w->session, position, op))
            continue;
        if (!stops(w, b, position, op, &truth, err))
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

static bool stand(struct session *s, int position, int op, int id, struct error *err)
{
    bool ok = session_goto(s, position, op, err);
    struct breakpoint *b = breakpoints_find(&s->breakpoints, id, NULL);
    if (ok && b && b->temporary)
        breakpoints_retire(&s->breakpoints, id);
    return ok;
}

/* The first op behind `op` of a position where a breakpoint may stop, n_ops if there is none. *hit
 * goes along: of the hits the first that is not behind. */
static int next_place(const struct watcher *w, int position, int op, size_t *hit)
{
    if (!watcher_saw(w, position))
        return w->next_stood[op + 1];
    int next = w->next_asked[op + 1];
    for (; *hit < w->n; ++*hit) {
        const struct hit *h = &w->hits[*hit];
        if (h->position > position || (h->position == position && h->op > op))
            return h->position == position && h->op < next ? h->op : next;
    }
    return next;
}

/* Looks at each place of positions [from, to) up to (position, op). */
static bool pass(struct watcher *w, int from, int to, int position, int op, int *stopped,
                 struct error *err)
{
    struct session *s = w->session;
    size_t hit = 0;
    for (int pos = from; pos < to; pos++) {
        int last = pos == position ? op : s->model.program.n_ops - 1;
        int i = next_place(w, pos, pos == s->position ? s->op : -1, &hit);
        for (; i <= last; i = next_place(w, pos, i, &hit)) {
            if (!stop_at(w, pos, i, stopped, err))
                return false;
            if (*stopped)
                return stand(s, pos, i, *stopped, err);
        }
    }
    return true;
}

/* ---- running, watched ---- */

struct tail {
    struct watcher *watcher;
    int op;
};

static bool note_row(struct tail *tail, int position, bool maybe, struct error *err)
{
    struct watcher *w = tail->watcher;
    for (int i = w->first[tail->op]; i >= 0; i = w->standers[i].next) {
        const struct breakpoint *b = watcher_breakpoint(w, i);
        if (b->kind == STOP_NAN && breakpoint_covers(b, w->session, position, tail->op) &&
            !watcher_note(w, position, tail->op, b->id, maybe, err))
            return false;
    }
    return true;
}

/* A device's rows are measured, as those of the blocks are. */
static bool note_rows(void *context, const float *rows, int row0, int n, struct error *err)
{
    struct tail *tail = context;
    struct session *s = tail->watcher->session;
    const struct op *o = &s->model.program.ops[tail->op];
    const struct measures *measures = NULL;
    struct op_view v = {.op = tail->op,
                        .pos0 = row0,
                        .n = n,
                        .data = (float *)rows,
                        .row_stride = (size_t)o->width,
                        .heads = o->heads};
    if (s->backend->device && !vm_measure(s->trace.vm, rows, n, o->width, &measures, err))
        return false;
    for (int r = 0; r < n; r++)
        if ((measures ? measures[r].odd > 0 : catch_bad_row(o, &v, r)) &&
            !note_row(tail, row0 + r, measures != NULL, err))
            return false;
    return true;
}

/* Looks for NaN in the tail's sites of computed rows [from, to), as the watcher did in the
 * blocks'. */
static bool note_tail(struct watcher *w, int from, int to, struct error *err)
{
    struct session *s = w->session;
    const struct program *p = &s->model.program;
    for (int op = p->block_op[p->n_layers]; op < p->n_ops; op++) {
        struct tail tail = {w, op};
        if (w->watch[op] && !trace_show(&s->trace, op, from, to - from, note_rows, &tail, err))
            return false;
    }
    return true;
}

/* Runs positions [from, to), watching, but for those that were seen. Of known ones the values are
 * recomputed for catch nan, since every site of every row read one by one would take far longer;
 * and on a device, where reading one takes longer than running many. */
static bool watch_rows(struct watcher *w, int from, int to, struct error *err)
{
    struct trace *t = &w->session->trace;
    if (!w->conditional || to <= w->seen_to)
        return true;
    /* After an edit the lower layers of some rows stand, and are not run again: only rows of
     * which nothing is known pass by the watcher at every op. */
    int start = w->seen_to, known = t->done[1] < to ? t->done[1] : to;
    bool again = known > start && w->tests && (w->nan || w->session->backend->device), ok = true;
    if (again)
        ok = trace_compute(t, known, err);
    else if (known > start)
        watcher_forget(w, known);
    if (ok && w->tests) {
        t->observer = watcher_hooks(w);
        ok = !again || trace_again(t, start, known, err);
    }
    ok = ok && trace_compute(t, to, err);
    t->observer = (struct hooks){0};
    if (!ok || (w->nan && !note_tail(w, start, to, err))) {
        watcher_forget(w, from);
        return false;
    }
    watcher_sort(w);
    w->seen_to = to;
    w->changes = t->changes;
    return true;
}

/* Where the stretch of [from, goal) that begins at `from` ends: a hit that comes early is found
 * early. What a device has to compute it computes in whole chunks, which hardly take longer than
 * some positions. How far is computed must not depend on what was seen: a session that was saved
 * has seen nothing.
 */
static int stretch_end(const struct watcher *w, int from, int goal, int *stretch)
{
    const struct trace *t = &w->session->trace;
    bool device = w->session->backend->device;
    int known = t->done[1], end = from + *stretch;
    if (device && from >= known)
        return from + trace_rows_at(t, from, goal);
    if (device && from < w->seen_to)
        return w->seen_to;
    *stretch = *stretch * 8 < t->chunk ? *stretch * 8 : t->chunk;
    return device && end > known ? known : end;
}

/* As session_travel, where there are breakpoints. */
static bool go(struct watcher *w, int position, int op, int *stopped, struct error *err)
{
    struct session *s = w->session;
    int from = s->position, stretch = s->backend->device ? FIRST_AGAIN : FIRST_CHUNK;
    bool ok = true;
    if (w->next_stood[s->op + 1] == s->model.program.n_ops)
        from++; /* nothing is left to look at here */
    if (w->varies)
        watcher_forget(w, from);
    while (ok && !*stopped && from <= position) {
        watcher_pass(w, from);
        int to = stretch_end(w, from, position + 1, &stretch);
        to = to < position + 1 ? to : position + 1;
        ok = watch_rows(w, from, to, err) && pass(w, from, to, position, op, stopped, err);
        from = to;
    }
    return ok;
}

bool session_travel(struct session *s, int position, int op, int *stopped, struct error *err)
{
    *stopped = 0;
    trace_aim(&s->trace, position + 1);
    struct watcher *w = s->breakpoints.n > 0 ? watcher_open(s, err) : NULL;
    if (s->breakpoints.n > 0 && !w)
        return false;
    if (w && w->n_standers > 0 && !go(w, position, op, stopped, err)) {
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
