/* travel.c - going on until a breakpoint stops it.
 *
 * Where a condition looks only at `.`, it is tested while a chunk of the prompt runs (watcher.h);
 * the hits are then gone through in token-major order. Any other condition is evaluated afterwards,
 * on values recomputed for its one row. */
#include "engine/debug/catch.h"
#include "engine/debug/session.h"
#include "engine/debug/session_scope.h"
#include "engine/debug/watcher.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CHUNK 8 /* positions run before the first look; then eight times as many */

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
    if (!watcher_tests(b) || position < noted || (tail && b->kind != STOP_NAN))
        return test_by_reading(w->session, b, position, op, truth, err);
    const struct hit *found = watcher_find(w, position, op, b->id);
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
        struct breakpoint *b = watcher_breakpoint(w, i);
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
                        ok = watcher_note(w, row + r, op, s->breakpoints.list[i].id, false, err);
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
        s->trace.observer = watcher_hooks(w);
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
    watcher_sort(w);
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
