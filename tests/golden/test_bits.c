/* test_bits.c - the same bits, whichever way: on every golden checkpoint, every site of every
 * position is compared bit for bit between ways of running, threads, instruction sets, and what
 * checkpoints keep. Arguments: a device that is opened exact, and its type (bf16). */
#include "engine/forward/trace.h"
#include "tests/support/bits.h"
#include "tests/support/checkpoints.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS 37 /* past every window and original length of the golden models */

static const char *device = "cpu";
static enum dtype dtype = DTYPE_F32;

/* How a sequence is run. */
enum way { CHUNKS, TOKEN_BY_TOKEN, OP_BY_OP, BACK_AND_FORTH };

struct run {
    struct ledger *ledger;
    struct backend *backend;
    struct model model;
    struct trace trace;
    struct error err;
};

static void open_run(struct run *r, const char *name, const char *isa, int threads, int chunk,
                     struct keep keep, int n_ctx)
{
    char why[256] = "", path[300];
    memset(r, 0, sizeof *r);
    snprintf(path, sizeof path, CHECKPOINTS "/%s", name);
    r->ledger = ledger_open();
    struct backend_options options = {
        .n_threads = threads, .isa = isa, .dtype = dtype, .exact = true};
    r->backend = backend_open(device, &options, why);
    if (!r->backend)
        fail_msg("%s", why);
    struct trace_options o = {
        .chunk = chunk, .stride = keep.stride, .attention = keep.attention, .n_ctx = n_ctx};
    if (!model_open(&r->model, r->ledger, r->backend, path, true, &r->err) ||
        !trace_open(&r->trace, &r->model, &o, &r->err))
        fail_msg("%s", r->err.text);
}

static void close_run(struct run *r)
{
    trace_close(&r->trace);
    model_close(&r->model);
    backend_close(r->backend);
    assert_int_equal(ledger_close(r->ledger), 0);
}

static int tokens_of(const struct run *r)
{
    return r->trace.n_ctx < TOKENS ? r->trace.n_ctx : TOKENS;
}

static void must(bool ok, const struct error *e)
{
    if (!ok)
        fail_msg("%s", e->text);
}

static void compute(struct run *r, enum way way)
{
    struct trace *t = &r->trace;
    const struct program *p = &r->model.program;
    int n = tokens_of(r), last = p->block_op[p->n_layers] - 1;
    int32_t ids[TOKENS] = {0};
    for (int i = 0; i < n; i++)
        ids[i] = (int32_t)((i * i * 7 + i * 3 + 1) % r->model.config.n_vocab);
    must(trace_append(t, ids, n, NULL, &r->err), &r->err);
    if (way == CHUNKS)
        must(trace_compute(t, n, &r->err), &r->err);
    for (int i = 0; way == TOKEN_BY_TOKEN && i < n; i++)
        must(trace_compute(t, i + 1, &r->err), &r->err);
    for (int i = 0; way == OP_BY_OP && i < n; i++)
        for (int op = 0; op <= last; op++)
            must(trace_step(t, op, &r->err), &r->err);
    if (way == BACK_AND_FORTH) {
        /* Half a token, a read in the middle of it, the rest in chunks, then the second half
         * forgotten from a middle layer on and run again. */
        must(trace_compute(t, 3, &r->err), &r->err);
        must(trace_step(t, last / 2, &r->err), &r->err);
        int op = program_find(p, SITE_RESID_PRE, 0);
        float *row = calloc((size_t)r->model.config.d_model, sizeof *row);
        must(trace_read(t, op, 3, 1, 0, 0, 0, row, &r->err), &r->err);
        free(row);
        must(trace_step(t, last, &r->err), &r->err);
        must(trace_compute(t, n, &r->err), &r->err);
        trace_invalidate(t, n / 2, p->n_layers / 2 + 1);
        must(trace_compute(t, n, &r->err), &r->err);
    }
    assert_int_equal(trace_rows(t), n);
}

/* All positions of one site; NULL for an op without a site. */
static float *read_site(struct run *r, int op, size_t *count, int from, int rows)
{
    const struct op *o = &r->model.program.ops[op];
    if (o->site == SITE_NONE)
        return NULL;
    int n = tokens_of(r), heads = o->width;
    *count = trace_read_count(&r->trace, op, rows, heads, n);
    float *out = malloc(*count * sizeof *out);
    must(trace_read(&r->trace, op, from, rows, 0, heads, n, out, &r->err), &r->err);
    return out;
}

static bool same(const float *a, const float *b, size_t n)
{
    return bits_differ(a, b, n) == n;
}

/* Compares every site of b with a's; b reads its rows one part at a time. */
static void compare(struct run *a, struct run *b, const char *how)
{
    int n = tokens_of(a);
    for (int op = 0; op < a->model.program.n_ops; op++) {
        size_t na = 0, nb = 0;
        float *x = read_site(a, op, &na, 0, n);
        if (!x)
            continue;
        float *y = read_site(b, op, &nb, 0, n);
        char name[64];
        site_name(a->model.program.ops[op].site, a->model.program.ops[op].layer, name);
        if (na != nb || !same(x, y, na))
            fail_msg("%s of %s differs: %s", name, a->model.name, how);
        /* One row alone gives what it gives among all; not for [H, T, S], laid out by heads. */
        if (site_axes(a->model.program.ops[op].site) != AXES_HTS) {
            size_t width = na / (size_t)n, one;
            float *z = read_site(b, op, &one, n / 2, 1);
            if (!same(x + width * (size_t)(n / 2), z, width))
                fail_msg("%s of %s: one row differs: %s", name, a->model.name, how);
            free(z);
        }
        free(x);
        free(y);
    }
}

static void check(struct run *base, const char *name, const char *how, enum way way,
                  const char *isa, int threads, int chunk, struct keep keep, int n_ctx)
{
    struct run r;
    open_run(&r, name, isa, threads, chunk, keep, n_ctx);
    compute(&r, way);
    compare(base, &r, how);
    close_run(&r);
}

static void test_model(void **state)
{
    const char *name = *state;
    struct run base;
    const struct keep all = {1, false}, half = {2, false}, half_z = {2, true};
    open_run(&base, name, "scalar", 1, 512, all, 0);
    compute(&base, CHUNKS);
    const struct keep least = {base.model.config.n_layers, false};
    const struct keep least_z = {base.model.config.n_layers, true};
    check(&base, name, "chunks of 1", CHUNKS, NULL, 1, 1, all, 0);
    check(&base, name, "chunks of 7", CHUNKS, NULL, 2, 7, all, 0);
    check(&base, name, "chunks of 512", CHUNKS, NULL, 5, 512, all, 0);
    check(&base, name, "token by token", TOKEN_BY_TOKEN, NULL, 1, 512, all, 0);
    check(&base, name, "op by op", OP_BY_OP, NULL, 1, 512, all, 0);
    check(&base, name, "scalar, op by op, stride 2", OP_BY_OP, "scalar", 2, 512, half, 0);
    check(&base, name, "back and forth", BACK_AND_FORTH, NULL, 2, 7, all, 0);
    check(&base, name, "back and forth, stride L", BACK_AND_FORTH, NULL, 2, 7, least, 0);
    check(&base, name, "checkpoints of stride 2", CHUNKS, NULL, 2, 512, half, 0);
    check(&base, name, "checkpoints of stride L", CHUNKS, NULL, 2, 512, least, 0);
    check(&base, name, "stride 2 with z", CHUNKS, NULL, 2, 512, half_z, 0);
    check(&base, name, "stride L with z", CHUNKS, NULL, 2, 7, least_z, 0);
    check(&base, name, "stride 2 with z, token by token", TOKEN_BY_TOKEN, NULL, 1, 512, half_z, 0);
    check(&base, name, "stride 2 with z, op by op", OP_BY_OP, NULL, 1, 512, half_z, 0);
    check(&base, name, "stride 2 with z, back and forth", BACK_AND_FORTH, NULL, 2, 7, half_z, 0);
    check(&base, name, "stride L with z, back and forth", BACK_AND_FORTH, NULL, 1, 5, least_z, 0);
    /* A cap on the context is a cap and nothing else. */
    check(&base, name, "with a cap", CHUNKS, NULL, 2, 512, all, tokens_of(&base));
    const char *const isas[] = {"avx2", "avx512"};
    for (int i = 0; !base.backend->device && i < 2; i++) {
        char why[256];
        struct backend *b =
            backend_open("cpu", &(struct backend_options){.n_threads = 1, .isa = isas[i]}, why);
        if (!b) {
            print_message("not compared: %s\n", why);
            continue;
        }
        backend_close(b);
        check(&base, name, isas[i], CHUNKS, isas[i], 2, 512, all, 0);
        check(&base, name, isas[i], TOKEN_BY_TOKEN, isas[i], 5, 512, half, 0);
    }
    close_run(&base);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        device = argv[1];
    if (argc > 2 && strcmp(argv[2], "bf16") == 0)
        dtype = DTYPE_BF16;
    static struct CMUnitTest tests[CHECKPOINTS_MOST];
    int n = checkpoints_add(tests, 0, CHECKPOINTS_MOST, test_model);
    return _cmocka_run_group_tests("bits", tests, (size_t)n, NULL, NULL);
}
