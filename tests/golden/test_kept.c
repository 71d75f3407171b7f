/* test_kept.c - values recomputed by way of z that is kept: on every golden checkpoint the bits are
 * those of a run that keeps every residual, on the CPU and on a device in bf16; whatever is
 * patched, interrupted, run again or forgotten in between. */
#include "tests/support/checkpoints.h"
#include "tests/support/far.h"
#include "tests/support/twin.h"

#include <stdlib.h>
#include <string.h>

#define ROUNDS 60

static void same_bits(const char *name, struct backend *(*open)(void))
{
    for (int way = 0; way < 4; way++) {
        struct twin t;
        twin_open(&t, name, open(), way % 2 ? 7 : 512, way / 2 ? 2 : 0);
        if (t.backend->device)
            far_unguard();
        int last = t.model.program.block_op[t.model.config.n_layers] - 1;
        for (int i = 0; way % 2 && i < t.n / 2; i++)
            twin_must(trace_step(&t.kept, last / 2, &t.err) && trace_step(&t.kept, last, &t.err),
                      &t);
        twin_must(trace_compute(&t.kept, t.n, &t.err), &t);
        twin_compare(&t, 1, t.backend->device ? "bf16" : "f32");
        twin_close(&t);
    }
}

static void test_bits(void **state)
{
    same_bits(*state, twin_cpu);
    same_bits(*state, twin_bf16);
}

/* ---- patched, interrupted, run again, forgotten ---------------------------------------------- */

struct life {
    struct twin t;
    bool *watch;  /* [n_ops] that are patched */
    int *from;    /* [n_ops] from which position on */
    bool *look;   /* [n_ops] that the observer looks at */
    int patience; /* how often it lets pass what it sees */
};

/* Another number in every fifth value of the rows from `from` on; twice is not once. */
static bool change(void *context, const struct op_view *v, struct error *err)
{
    const struct life *life = context;
    size_t each = v->row_stride ? v->row_stride : (size_t)v->n_keys;
    size_t rows = v->row_stride ? (size_t)v->n : (size_t)v->heads * (size_t)v->n;
    (void)err;
    for (size_t i = 0; i < rows; i++) {
        int position = v->pos0 + (int)(i % (size_t)v->n);
        size_t end = v->row_stride ? each : (size_t)position + 1;
        for (size_t e = (size_t)position % 5; position >= life->from[v->op] && e < end; e += 5)
            v->data[i * each + e] = 1.5f * v->data[i * each + e] + 0.25f;
    }
    return true;
}

static bool lose_patience(void *context, const struct op_view *v, struct error *err)
{
    struct life *life = context;
    (void)v;
    return life->patience-- > 0 || error_set(err, ERR_INTERRUPTED, "stopped");
}

/* A patch comes or goes: about attention, every second time. */
static void repatch(struct life *life)
{
    struct twin *t = &life->t;
    const struct program *p = &t->model.program;
    int op = twin_roll(p->n_ops);
    if (twin_roll(2))
        op = program_mix(p, twin_roll(p->n_layers)) - 5 + twin_roll(8);
    int section = program_section(p, op);
    if (p->ops[op].site == SITE_NONE)
        return;
    life->watch[op] = !life->watch[op];
    if (life->watch[op])
        life->from[op] = twin_roll(t->n);
    if (section < p->n_layers)
        trace_invalidate(&t->kept, life->from[op], section < 0 ? 1 : section + 1);
    trace_truncate(&t->plain, 0, NULL);
    twin_append(t, &t->plain);
}

/* What is known is run once more, as for conditions that come later. */
static bool run_again(struct trace *t, struct error *err)
{
    int to = trace_rows(t);
    return to == 0 || !t->observer.watch || trace_again(t, twin_roll(to), to, err);
}

static void act(struct life *life)
{
    struct trace *t = &life->t.kept;
    const struct program *p = &t->model->program;
    struct error *err = &life->t.err;
    bool ok = true;
    *err = (struct error){0};
    life->patience = twin_roll(2 * p->n_ops);
    if (twin_roll(3) == 0)
        t->observer =
            (struct hooks){.watch = life->look, .written = lose_patience, .context = life};
    switch (twin_roll(10)) {
    case 0:
    case 1:
        ok = trace_compute(t, twin_roll(t->n_ids + 1), err);
        break;
    case 2:
    case 3:
        ok = trace_rows(t) == t->n_ids || trace_step(t, twin_roll(p->block_op[p->n_layers]), err);
        break;
    case 4:
        ok = trace_compute_layer(t, twin_roll(t->n_ids + 1), 1 + twin_roll(p->n_layers), err);
        break;
    case 5:
        trace_truncate(t, twin_roll(t->n_ids + 1), NULL);
        twin_append(&life->t, t);
        break;
    case 6:
        ok = run_again(t, err);
        break;
    default:
        repatch(life);
    }
    t->observer = (struct hooks){0};
    twin_must(ok || err->code == ERR_INTERRUPTED, &life->t);
}

static void live_through(const char *name, struct backend *b, int chunk, int stride)
{
    struct life life = {0};
    struct twin *t = &life.t;
    twin_open(t, name, b, chunk, stride);
    if (b->device)
        far_unguard();
    size_t n = (size_t)t->model.program.n_ops;
    life.watch = calloc(n, sizeof *life.watch);
    life.look = calloc(n, sizeof *life.look);
    life.from = calloc(n, sizeof *life.from);
    memset(life.look, true, n);
    t->kept.hooks = t->plain.hooks =
        (struct hooks){.watch = life.watch, .written = change, .context = &life};
    for (int i = 0; i < chunk; i++) /* each its own */
        twin_roll(2);
    for (int i = 0; i < ROUNDS; i++) {
        act(&life);
        twin_compare(t, 4, b->device ? "bf16" : "f32");
    }
    twin_close(t);
    free(life.watch);
    free(life.look);
    free(life.from);
}

static void test_life(void **state)
{
    live_through(*state, twin_cpu(), 1, 0);
    live_through(*state, twin_cpu(), 5, 2);
    live_through(*state, twin_bf16(), 16, 0);
    live_through(*state, twin_bf16(), 7, 2);
}

int main(void)
{
    static struct CMUnitTest tests[2 * CHECKPOINTS_MOST];
    int n = checkpoints_add(tests, 0, CHECKPOINTS_MOST, test_bits);
    n = checkpoints_add(tests, n, 2 * CHECKPOINTS_MOST, test_life);
    return _cmocka_run_group_tests("kept", tests, (size_t)n, NULL, NULL);
}
