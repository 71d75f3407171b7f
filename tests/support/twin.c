#include "tests/support/twin.h"

#include "tests/support/bits.h"
#include "tests/support/checkpoints.h"
#include "tests/support/far.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS 39 /* more than two pages */

static uint64_t random_state = 88172645463325252ull;

int twin_roll(int n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (int)((random_state >> 33) % (unsigned)n);
}

void twin_must(bool ok, const struct twin *t)
{
    if (!ok)
        fail_msg("%s: %s", t->model.name, t->err.text);
}

void twin_append(struct twin *t, struct trace *trace)
{
    int32_t ids[TOKENS];
    for (int i = 0; i < t->n; i++)
        ids[i] = (int32_t)((i * i * 7 + i * 3 + 1) % t->model.config.n_vocab);
    twin_must(trace_append(trace, ids + trace->n_ids, t->n - trace->n_ids, NULL, &t->err), t);
}

void twin_open(struct twin *t, const char *name, struct backend *b, int chunk, int stride)
{
    char path[300];
    memset(t, 0, sizeof *t);
    random_state = 88172645463325252ull;
    snprintf(path, sizeof path, CHECKPOINTS "/%s", name);
    t->ledger = ledger_open();
    t->backend = b;
    assert_non_null(b);
    twin_must(model_open(&t->model, t->ledger, b, path, true, &t->err), t);
    int layers = t->model.config.n_layers;
    struct trace_options o = {
        .chunk = chunk, .stride = stride ? stride : layers, .attention = stride != 1};
    twin_must(trace_open(&t->kept, &t->model, &o, &t->err), t);
    o = (struct trace_options){.stride = 1};
    twin_must(trace_open(&t->plain, &t->model, &o, &t->err), t);
    t->n = t->kept.n_ctx < TOKENS ? t->kept.n_ctx : TOKENS;
    twin_append(t, &t->kept);
    twin_append(t, &t->plain);
}

void twin_close(struct twin *t)
{
    trace_close(&t->kept);
    trace_close(&t->plain);
    model_close(&t->model);
    backend_close(t->backend);
    assert_int_equal(ledger_close(t->ledger), 0);
}

struct backend *twin_cpu(void)
{
    char why[256];
    return backend_open("cpu", &(struct backend_options){.n_threads = 1}, why);
}

struct backend *twin_bf16(void)
{
    struct backend *b = far_open(1);
    assert_non_null(b);
    far_round();
    return b;
}

float *twin_values(struct twin *t, struct trace *trace, int op, int row, int n, size_t *count)
{
    const struct op *o = &t->model.program.ops[op];
    int keys = row + n;
    *count = trace_read_count(trace, op, n, o->width, keys);
    float *out = malloc((*count + 1) * sizeof *out);
    twin_must(trace_read(trace, op, row, n, 0, o->width, keys, out, &t->err), t);
    return out;
}

static void compare_rows(struct twin *t, int op, int row, int n, const char *how)
{
    size_t count;
    char name[64];
    const struct op *o = &t->model.program.ops[op];
    float *want = twin_values(t, &t->plain, op, row, n, &count);
    float *got = twin_values(t, &t->kept, op, row, n, &count);
    size_t at = bits_differ(got, want, count);
    if (at < count)
        fail_msg("%s, stride %d%s, %s: %s of rows %d to %d: value %zu is %.9g, not %.9g",
                 t->model.name, t->kept.keep.stride, t->kept.keep.attention ? " with z" : "", how,
                 site_name(o->site, o->layer, name), row, row + n - 1, at, (double)got[at],
                 (double)want[at]);
    free(want);
    free(got);
}

void twin_compare(struct twin *t, int part, const char *how)
{
    const struct program *p = &t->model.program;
    twin_must(trace_compute(&t->plain, t->n, &t->err), t);
    for (int op = 0; op < p->n_ops; op++) {
        int n = 0;
        while (n < t->n && trace_has(&t->kept, n, op))
            n++;
        if (p->ops[op].site == SITE_NONE || n == 0 || twin_roll(part) > 0)
            continue;
        compare_rows(t, op, 0, n, how);
        compare_rows(t, op, n - 1, 1, how);
    }
}
