#include "engine/debug/session.h"

#include "engine/model/hub.h"
#include "engine/model/plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- opening ---- */

static struct backend *open_backend(const struct session_options *o, struct error *err)
{
    const char *device = o->device ? o->device : "auto";
    struct backend_options options = {.n_threads = o->n_threads, .isa = o->isa};
    char why[256];
    /* "auto" is the CPU until there is another backend to prefer. */
    struct backend *b = backend_open(strcmp(device, "auto") == 0 ? "cpu" : device, &options, why);
    if (!b)
        error_set(err, ERR_DEVICE, "%s", why);
    return b;
}

/* Chooses the checkpoint stride for a context that was asked for, refuses what cannot fit. */
static bool plan(struct session *s, const struct session_options *o, struct trace_options *trace,
                 struct error *err)
{
    struct plan p;
    int chunk = trace->chunk > 0 ? trace->chunk : TRACE_CHUNK;
    /* Without --ctx memory is taken as tokens come: the least that must fit is one page. */
    int n = trace->n_ctx > 0 && trace->n_ctx <= s->model.config.n_ctx ? trace->n_ctx : KV_PAGE;
    plan_make(&p, &s->model, n, chunk);
    int stride = plan_stride(&p, n, s->budget);
    if (stride == 0) {
        char need[24], have[24], hint[80] = "";
        int fit = plan_positions(&p, n, p.n_layers, s->budget);
        if (fit > 0)
            snprintf(hint, sizeof hint, "; fits with --ctx %d, with checkpoints every %d layers",
                     fit, p.n_layers);
        return error_set(
            err, ERR_MEMORY,
            "%s with %d positions needs %s and the budget%s is %s%s (--plan tells more)",
            s->model.name, n, mem_format(plan_bytes(&p, n, p.n_layers), need),
            o->budget ? " (--mem)" : "", mem_format(s->budget, have), hint);
    }
    if (trace->stride == 0)
        trace->stride = stride;
    ledger_set_budget(s->ledger, s->budget - p.weights);
    return true;
}

bool session_open(struct session *s, struct ledger *l, const char *model,
                  const struct session_options *o, struct error *err)
{
    memset(s, 0, sizeof *s);
    s->ledger = l;
    s->op = -1;
    s->sampler =
        (struct sampler){.greedy = true, .temperature = 1, .top_p = 1, .seed = 1, .state = 1};
    s->budget = o->budget ? o->budget : mem_available();
    char *folder = hub_find(l, model, err);
    if (!folder)
        return false;
    s->backend = open_backend(o, err);
    bool ok = s->backend && model_open(&s->model, l, s->backend, folder, true, err);
    mem_free(l, folder);
    struct trace_options trace = o->trace;
    ok = ok && plan(s, o, &trace, err) && trace_open(&s->trace, &s->model, &trace, err) &&
         patches_init(&s->patches, &s->trace, err);
    if (ok && s->model.notice[0])
        snprintf(s->notice, sizeof s->notice, "%s", s->model.notice);
    if (!ok)
        session_close(s);
    return ok;
}

void session_close(struct session *s)
{
    patches_fini(&s->patches);
    trace_close(&s->trace);
    model_close(&s->model);
    backend_close(s->backend);
    if (s->ledger)
        ledger_set_budget(s->ledger, 0);
    memset(s, 0, sizeof *s);
}

/* ---- the prompt ---- */

static bool append(struct session *s, const int32_t *ids, int n, struct error *err)
{
    bool recompute;
    if (!trace_append(&s->trace, ids, n, &recompute, err))
        return false;
    if (recompute)
        snprintf(
            s->notice, sizeof s->notice,
            "the sequence is now longer than %d positions: RoPE's long factors hold for all of "
            "it, and everything is recomputed (--rope short keeps the short ones)",
            s->model.ropes[0].original);
    return true;
}

bool session_prompt_ids(struct session *s, const int32_t *ids, int n, struct error *err)
{
    if (n <= 0)
        return error_set(err, ERR_USAGE, "the prompt is empty: there is no token to run");
    /* The new prompt is checked whole before the old one goes. */
    int vocab = s->model.config.n_vocab;
    for (int i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            return error_set(err, ERR_USAGE, "token id %d is outside the vocabulary (0 to %d)",
                             (int)ids[i], vocab - 1);
    if (n > s->trace.n_ctx)
        return error_set(err, ERR_USAGE, "a prompt of %d tokens is over the context limit of %d%s",
                         n, s->trace.n_ctx,
                         s->trace.n_ctx < s->model.config.n_ctx ? " (--ctx)" : "");
    trace_truncate(&s->trace, 0, NULL);
    s->has_prompt = false;
    if (!append(s, ids, n, err))
        return false;
    s->has_prompt = true;
    s->n_prompt = n;
    s->position = 0;
    s->op = -1;
    s->at_start = true;
    return true;
}

bool session_prompt_text(struct session *s, const char *text, size_t n, struct error *err)
{
    if (!s->model.tokenizer)
        return error_set(err, ERR_STATE,
                         "%s has no tokenizer.json: give the prompt as ids (ids N...)",
                         s->model.folder);
    int32_t *ids;
    int n_ids;
    if (!tokenizer_encode(s->model.tokenizer, text, n, true, &ids, &n_ids, err))
        return false;
    bool ok = session_prompt_ids(s, ids, n_ids, err);
    mem_free(s->ledger, ids);
    return ok;
}

bool session_piece(const struct session *s, int32_t id, struct text *out, struct error *err)
{
    if (!s->model.tokenizer) {
        text_printf(out, "#%d", (int)id);
        return text_ok(out, err);
    }
    return tokenizer_piece(s->model.tokenizer, id, out, err);
}

/* ---- what is known ---- */

bool session_has(const struct session *s, int position, int op, struct error *err)
{
    char name[64], here[64] = "its start";
    const struct op *o = &s->model.program.ops[op];
    if (!s->has_prompt)
        return error_set(err, ERR_STATE, "there is no prompt yet (run TEXT)");
    if (position < 0 || position >= s->trace.n_ids)
        return error_set(err, ERR_USAGE, "there is no position %d: the sequence has %d tokens",
                         position, s->trace.n_ids);
    if (trace_has(&s->trace, position, op))
        return true;
    if (s->op >= 0 && s->model.program.ops[s->op].site)
        site_short_name(s->model.program.ops[s->op].site, s->model.program.ops[s->op].layer, here);
    return error_set(err, ERR_STATE,
                     "%s of position %d is not computed yet: the cursor is at "
                     "position %d, %s",
                     site_short_name(o->site, o->layer, name), position, s->position, here);
}

int session_known(const struct session *s, int op)
{
    int n = trace_rows(&s->trace);
    while (n < s->trace.n_ids && trace_has(&s->trace, n, op))
        n++;
    return n;
}

/* ---- motions ---- */

/* Computes what the place needs and stands there. */
static bool move(struct session *s, int position, int op, struct error *err)
{
    const struct program *p = &s->model.program;
    double start = now();
    int before = trace_rows(&s->trace);
    bool ok = true;
    s->at_start = false;
    if (op < 0) {
        ok = trace_compute(&s->trace, position, err);
    } else if (!trace_has(&s->trace, position, op)) {
        ok = trace_compute(&s->trace, position, err);
        if (ok && op >= p->block_op[p->n_layers])
            ok = trace_compute(&s->trace, position + 1, err);
        else if (ok)
            ok = trace_step(&s->trace, op, err);
    }
    if (ok) {
        s->position = position;
        s->op = op;
    } else if (trace_rows(&s->trace) > before) {
        /* Stopped on the way: stand where it stopped. */
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
                if (i > 0 && !move(s, position, op, err))
                    return false;
                return at_end(err);
            }
            position++;
            to = next(&s->model.program, -1);
        }
        op = to;
    }
    return move(s, position, op, err);
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
    return move(s, position, program_find(&s->model.program, SITE_LOGITS, 0), err);
}

/* ---- sampling ---- */

/* xorshift64*: https://doi.org/10.18637/jss.v008.i14 (Marsaglia), Vigna's multiplier. */
static double uniform(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)((*state * 2685821657736338717ull) >> 11) * 0x1p-53;
}

static int best(const float *x, int n)
{
    int at = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[at] || (isnan(x[at]) && !isnan(x[i])))
            at = i;
    return at;
}

/* The least probability inside the nucleus: the fewest best tokens whose weights reach
 * `limit`. By bisection, since the vocabulary is not sorted. */
static float nucleus_floor(const float *p, int n, double limit)
{
    double low = 0, high = 1;
    for (int k = 0; k < 40; k++) {
        double mid = (low + high) / 2, sum = 0;
        for (int i = 0; i < n; i++)
            if ((double)p[i] >= mid)
                sum += (double)p[i];
        if (sum >= limit)
            low = mid;
        else
            high = mid;
    }
    return (float)low;
}

/* One token by its probability among the best that together have top_p. logits are used up. */
static int draw(struct sampler *sampler, float *logits, int n)
{
    double sum = 0;
    float top = logits[best(logits, n)];
    for (int i = 0; i < n; i++) {
        logits[i] = expf((logits[i] - top) / sampler->temperature);
        sum += (double)logits[i];
    }
    float floor_p = sampler->top_p < 1 ? nucleus_floor(logits, n, sum * (double)sampler->top_p) : 0;
    sum = 0;
    for (int i = 0; i < n; i++)
        sum += logits[i] >= floor_p ? (double)logits[i] : 0;
    double left = sum * uniform(&sampler->state);
    int last = 0;
    for (int i = 0; i < n && left >= 0; i++)
        if (logits[i] >= floor_p) {
            last = i;
            left -= (double)logits[i];
        }
    return last;
}

/* Appends one token after the last. */
static bool sample(struct session *s, struct error *err)
{
    int n = s->model.config.n_vocab;
    int op = program_find(&s->model.program, SITE_LOGITS, 0);
    if (s->trace.n_ids >= s->trace.n_ctx)
        return error_set(err, ERR_STATE, "the context limit of %d positions is reached",
                         s->trace.n_ctx);
    if (!trace_compute(&s->trace, s->trace.n_ids, err))
        return false;
    float *logits = mem_alloc_array(s->ledger, MEM_SCRATCH, (size_t)n, sizeof *logits, err);
    if (!logits)
        return false;
    bool ok = trace_read(&s->trace, op, s->trace.n_ids - 1, 1, 0, 0, 0, logits, err);
    if (ok) {
        int32_t id = s->sampler.greedy ? best(logits, n) : draw(&s->sampler, logits, n);
        ok = append(s, &id, 1, err);
    }
    mem_free(s->ledger, logits);
    return ok;
}

bool session_token(struct session *s, int n, struct error *err)
{
    if (!needs_prompt(s, err))
        return false;
    for (int i = 0; i < n; i++) {
        if (s->position + 1 >= s->trace.n_ids && !sample(s, err))
            return false;
        if (!move(s, s->position + 1, s->op, err))
            return false;
    }
    return true;
}

bool session_generate(struct session *s, int n, struct error *err)
{
    if (!needs_prompt(s, err))
        return false;
    int logits = program_find(&s->model.program, SITE_LOGITS, 0);
    double start = now();
    int before = trace_rows(&s->trace);
    bool ok = move(s, s->trace.n_ids - 1, logits, err);
    for (int i = 0; ok && i < n; i++)
        ok = sample(s, err) && move(s, s->trace.n_ids - 1, logits, err);
    s->last_seconds = now() - start;
    s->last_tokens = trace_rows(&s->trace) - before;
    return ok;
}
