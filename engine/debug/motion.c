/* motion.c - the cursor's ways: forwards, backwards, past the end of the sequence. */
#include "engine/debug/session.h"

#include "engine/analysis/top_read.h"

#include <stdio.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Whether everything up to this place is computed. What comes before the first block can be read
 * at any position: of such an op the earlier positions tell. */
static bool known_up_to(const struct session *s, int position, int op)
{
    if (op < 0 || program_section(&s->model.program, op) < 0)
        return trace_rows(&s->trace) >= position;
    return trace_has(&s->trace, position, op);
}

bool session_stands_on_known(const struct session *s)
{
    return known_up_to(s, s->position, s->op);
}

/* Computes what the place needs and stands there. */
static bool move(struct session *s, int position, int op, struct error *err)
{
    const struct program *p = &s->model.program;
    double start = now();
    int before = trace_rows(&s->trace);
    bool ok = true;
    s->at_start = false;
    s->stopped_by = 0;
    if (!known_up_to(s, position, op)) {
        /* Of this position nothing is needed before its first block, and all of it in the tail:
         * then it runs with those before, which reads the weights once. */
        bool within = op >= 0 && program_section(p, op) >= 0;
        bool whole = within && op >= p->block_op[p->n_layers];
        ok = trace_compute(&s->trace, whole ? position + 1 : position, err);
        if (ok && within && !whole)
            ok = trace_step(&s->trace, op, err);
        ok = ok && (s->hurries || trace_sync(&s->trace, err));
    }
    if (ok) {
        s->position = position;
        s->op = op;
    } else if (trace_rows(&s->trace) > before || !session_stands_on_known(s)) {
        /* Stopped on the way: stand where it stopped. After an edit that may lie behind. */
        s->position =
            trace_rows(&s->trace) < s->trace.n_ids ? trace_rows(&s->trace) : s->trace.n_ids - 1;
        s->op = s->trace.pc - 1;
    }
    s->last_seconds = now() - start;
    s->last_tokens = trace_rows(&s->trace) - before;
    return ok;
}

static bool needs_prompt(const struct session *s, struct error *err)
{
    return s->has_prompt || error_set(err, ERR_STATE, "there is no prompt yet (run TEXT)");
}

static bool at_end(struct error *err)
{
    return error_set(err, ERR_STATE,
                     "the last token's pass ends here; token or generate samples the next one");
}

bool session_goto(struct session *s, int position, int op, struct error *err)
{
    if (!needs_prompt(s, err))
        return false;
    if (position < 0 || position >= s->trace.n_ids)
        return error_set(err, ERR_USAGE, "there is no position %d: the sequence has %d tokens",
                         position, s->trace.n_ids);
    return move(s, position, op, err);
}

/* Forward to a place, or to a breakpoint on the way to it. */
static bool travel(struct session *s, int position, int op, struct error *err)
{
    double start = now();
    int before = trace_rows(&s->trace), stopped;
    bool ok = session_travel(s, position, op, &stopped, err);
    s->stopped_by = ok ? stopped : 0;
    s->last_seconds = now() - start;
    s->last_tokens = trace_rows(&s->trace) - before;
    return ok;
}

/* The place `n` steps on by `next`, which gives the following op of a token or -1. */
static bool advance(struct session *s, int n, int (*next)(const struct program *, int),
                    struct error *err)
{
    if (!needs_prompt(s, err))
        return false;
    int position = s->position, op = s->op;
    for (int i = 0; i < n; i++) {
        int to = next(&s->model.program, op);
        if (to < 0) {
            if (position + 1 >= s->trace.n_ids) {
                if (i > 0 && (!travel(s, position, op, err) || s->stopped_by))
                    return s->stopped_by != 0;
                return at_end(err);
            }
            position++;
            to = next(&s->model.program, -1);
        }
        op = to;
    }
    return travel(s, position, op, err);
}

static int next_op(const struct program *p, int op)
{
    return op + 1 < p->n_ops ? op + 1 : -1;
}

/* The residual after a block; behind the last one the logits. */
static int next_block(const struct program *p, int op)
{
    for (int i = op + 1; i < p->n_ops; i++)
        if (p->ops[i].site == SITE_RESID_POST || p->ops[i].site == SITE_LOGITS)
            return i;
    return -1;
}

/* The same backwards: `previous` gives the op before one, of n_ops ops at most, or -1. Nothing
 * is computed: all of it was. */
static bool retreat(struct session *s, int n, int (*previous)(const struct program *, int),
                    struct error *err)
{
    if (!needs_prompt(s, err))
        return false;
    int position = s->position, op = s->op;
    for (int i = 0; i < n; i++) {
        int to = op < 0 ? -1 : previous(&s->model.program, op);
        if (to < 0 && position == 0) {
            if (i > 0 && !move(s, position, op, err))
                return false;
            return error_set(err, ERR_STATE, "this is the first such place of the sequence");
        }
        if (to < 0) {
            to = previous(&s->model.program, s->model.program.n_ops);
            position--;
        }
        op = to;
    }
    return move(s, position, op, err);
}

static int previous_op(const struct program *p, int op)
{
    (void)p;
    return op - 1;
}

static int previous_block(const struct program *p, int op)
{
    for (int i = op - 1; i >= 0; i--)
        if (p->ops[i].site == SITE_RESID_POST || p->ops[i].site == SITE_LOGITS)
            return i;
    return -1;
}

bool session_continue(struct session *s, int n, struct error *err)
{
    int logits = program_find(&s->model.program, SITE_LOGITS, 0);
    if (!needs_prompt(s, err))
        return false;
    if (s->position == s->trace.n_ids - 1 && s->op == logits)
        return at_end(err);
    for (int i = 0; i < n; i++) {
        if (!travel(s, s->trace.n_ids - 1, logits, err))
            return false;
        if (!s->stopped_by)
            break;
    }
    return true;
}

bool session_reverse_continue(struct session *s, int n, struct error *err)
{
    int stopped = 0;
    for (int i = 0; i < n; i++)
        if (!session_travel_back(s, &stopped, err))
            return false;
    s->stopped_by = stopped;
    return true;
}

bool session_forward(struct session *s, int position, int op, struct error *err)
{
    return needs_prompt(s, err) && travel(s, position, op, err);
}

bool session_reverse_step(struct session *s, int n, struct error *err)
{
    return retreat(s, n, program_previous_site, err);
}

bool session_reverse_stepi(struct session *s, int n, struct error *err)
{
    return retreat(s, n, previous_op, err);
}

bool session_reverse_next(struct session *s, int n, struct error *err)
{
    return retreat(s, n, previous_block, err);
}

bool session_reverse_token(struct session *s, int n, struct error *err)
{
    if (!needs_prompt(s, err))
        return false;
    if (s->position - n < 0)
        return error_set(err, ERR_STATE, "there are only %d tokens before this one", s->position);
    return move(s, s->position - n, s->op, err);
}

bool session_step(struct session *s, int n, struct error *err)
{
    return advance(s, n, program_next_site, err);
}

bool session_stepi(struct session *s, int n, struct error *err)
{
    return advance(s, n, next_op, err);
}

bool session_next(struct session *s, int n, struct error *err)
{
    return advance(s, n, next_block, err);
}

bool session_finish(struct session *s, struct error *err)
{
    if (!needs_prompt(s, err))
        return false;
    int position = s->at_start ? s->trace.n_ids - 1 : s->position;
    return travel(s, position, program_find(&s->model.program, SITE_LOGITS, 0), err);
}

/* The best token behind the last, which takes no look at a device's logits. */
static bool choose(struct session *s, int op, struct top_row *row, int32_t *id, struct error *err)
{
    struct top_entry best;
    if (!top_next(&s->trace, op, row, &best, err))
        return false;
    *id = best.id;
    return true;
}

/* One drawn by its probability. */
static bool draw(struct session *s, int op, struct top_row *row, int32_t *id, struct error *err)
{
    int n = s->model.config.n_vocab;
    float *logits = mem_alloc_array(s->ledger, MEM_SCRATCH, (size_t)n, sizeof *logits, err);
    bool ok = logits && trace_read(&s->trace, op, s->trace.n_ids - 1, 1, 0, 0, 0, logits, err);
    if (ok) {
        top_of_row(logits, n, &(struct top_ask){0}, 0, row, NULL);
        *id = sampler_draw(&s->sampler, logits, n);
    }
    mem_free(s->ledger, logits);
    return ok;
}

/* Appends one token after the last. */
static bool sample(struct session *s, struct error *err)
{
    int op = program_find(&s->model.program, SITE_LOGITS, 0);
    struct top_row row;
    int32_t id;
    char why[80];
    if (s->trace.n_ids >= s->trace.n_ctx)
        return error_set(err, ERR_STATE, "the context limit of %d positions is reached",
                         s->trace.n_ctx);
    if (!trace_compute(&s->trace, s->trace.n_ids, err) ||
        !(s->sampler.greedy ? choose : draw)(s, op, &row, &id, err))
        return false;
    const char *trouble = top_row_trouble(&row, s->model.config.n_vocab, why);
    if (trouble)
        snprintf(s->notice, sizeof s->notice,
                 "%s at position %d: what was sampled there is not the model's choice", trouble,
                 s->trace.n_ids - 1);
    return session_note_origin(s, s->trace.n_ids, err) && session_append(s, &id, 1, err);
}

bool session_token(struct session *s, int n, struct error *err)
{
    if (!needs_prompt(s, err))
        return false;
    for (int i = 0; i < n; i++) {
        if (s->position + 1 >= s->trace.n_ids && !sample(s, err))
            return false;
        if (!travel(s, s->position + 1, s->op, err))
            return false;
        if (s->stopped_by)
            break;
    }
    return true;
}

bool session_generate_one(struct session *s, int left, struct error *err)
{
    if (!needs_prompt(s, err))
        return false;
    int logits = program_find(&s->model.program, SITE_LOGITS, 0);
    double start = now();
    int before = trace_rows(&s->trace), room = s->trace.n_ctx - s->trace.n_ids;
    trace_aim(&s->trace, s->trace.n_ids + (left < room ? left : room));
    s->hurries = true;
    s->trace.ahead.wanted = s->sampler.greedy && left > 1;
    bool ok = travel(s, s->trace.n_ids - 1, logits, err);
    if (ok && !s->stopped_by)
        ok = sample(s, err) && travel(s, s->trace.n_ids - 1, logits, err);
    s->hurries = false;
    if (!ok || s->stopped_by)
        trace_end_ahead(&s->trace);
    s->last_seconds = now() - start;
    s->last_tokens = trace_rows(&s->trace) - before;
    return ok;
}

bool session_generate(struct session *s, int n, struct error *err)
{
    double seconds = 0;
    int before = trace_rows(&s->trace);
    bool ok = true;
    s->stopped_by = 0;
    for (int i = 0; ok && !s->stopped_by && i < n; i++) {
        ok = session_generate_one(s, n - i, err);
        seconds += s->last_seconds;
    }
    trace_end_ahead(&s->trace);
    s->last_seconds = seconds;
    s->last_tokens = trace_rows(&s->trace) - before;
    return ok;
}

bool session_wait(struct session *s, struct error *err)
{
    double start = now();
    trace_end_ahead(&s->trace);
    bool ok = trace_sync(&s->trace, err);
    s->last_seconds += now() - start;
    return ok;
}
