/* test_map.c - pooled attention maps: on every golden checkpoint each cell of random regions is the
 * largest of the exact rows' weights, bit for bit; however many queries are read at a time, behind
 * an interruption, with checkpoints of few layers, and under patches. */
#include "engine/forward/map.h"
#include "tests/support/bits.h"
#include "tests/support/checkpoints.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS  61 /* past every window and original length of the golden models */
#define REGIONS 25

struct run {
    struct ledger *ledger;
    struct backend *backend;
    struct model model;
    struct trace trace;
    int n, layer;
    bool *watch;
    struct error err;
};

static uint64_t random_state = 88172645463325252ull;

static int roll(int n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (int)((random_state >> 33) % (unsigned)n);
}

static void must(bool ok, const struct run *r)
{
    if (!ok)
        fail_msg("%s: %s", r->model.name, r->err.text);
}

static void open_run(struct run *r, const char *name, int threads, int chunk, struct keep keep)
{
    char why[256] = "", path[300];
    int32_t ids[TOKENS] = {0};
    memset(r, 0, sizeof *r);
    snprintf(path, sizeof path, CHECKPOINTS "/%s", name);
    r->ledger = ledger_open();
    r->backend = backend_open("cpu", &(struct backend_options){.n_threads = threads}, why);
    if (!r->backend)
        fail_msg("%s", why);
    struct trace_options o = {.chunk = chunk, .stride = keep.stride, .attention = keep.attention};
    must(model_open(&r->model, r->ledger, r->backend, path, true, &r->err), r);
    must(trace_open(&r->trace, &r->model, &o, &r->err), r);
    r->n = r->trace.n_ctx < TOKENS ? r->trace.n_ctx : TOKENS;
    r->layer = r->model.config.n_layers - 1;
    for (int i = 0; i < r->n; i++)
        ids[i] = (int32_t)((i * i * 7 + i * 3 + 1) % r->model.config.n_vocab);
    must(trace_append(&r->trace, ids, r->n, NULL, &r->err), r);
    r->watch = calloc((size_t)r->model.program.n_ops, sizeof *r->watch);
}

static void close_run(struct run *r)
{
    free(r->watch);
    trace_close(&r->trace);
    model_close(&r->model);
    backend_close(r->backend);
    assert_int_equal(ledger_close(r->ledger), 0);
}

/* All rows of the layer's pattern: [H, n, n]. */
static float *exact_rows(struct run *r, int n)
{
    int H = r->model.config.n_heads, op = program_find(&r->model.program, SITE_PATTERN, r->layer);
    float *all = malloc((size_t)H * (size_t)n * (size_t)n * sizeof *all);
    must(trace_read(&r->trace, op, 0, n, 0, H, n, all, &r->err), r);
    return all;
}

static float expected(const float *rows, int n, const struct map_region *m, int row, int column)
{
    float most = -INFINITY;
    int nq = m->q1 - m->q0, nk = m->k1 - m->k0;
    for (int q = m->q0 + row * nq / m->rows; q < m->q0 + (row + 1) * nq / m->rows; q++)
        for (int k = m->k0 + column * nk / m->columns; k < m->k0 + (column + 1) * nk / m->columns;
             k++) {
            float x = rows[q * n + k];
            if (k <= q && !isnan(most) && (isnan(x) || isinf(most) || fabsf(x) > fabsf(most)))
                most = x;
        }
    return most;
}

static void compare(const struct run *r, const struct map *m, const float *all, int n)
{
    const struct map_region *g = &m->region;
    for (int i = 0; i < m->n_heads; i++)
        for (int row = 0; row < g->rows; row++)
            for (int c = 0; c < g->columns; c++) {
                float want =
                    expected(all + (size_t)m->heads[i] * (size_t)n * (size_t)n, n, g, row, c);
                float got = m->cells[(i * g->rows + row) * g->columns + c];
                if (bits_differ(&got, &want, 1) == 0)
                    fail_msg("%s: head %d, queries %d-%d, keys %d-%d in %d x %d: cell %d %d is "
                             "%.9g, not %.9g",
                             r->model.name, m->heads[i], g->q0, g->q1, g->k0, g->k1, g->rows,
                             g->columns, row, c, (double)got, (double)want);
            }
}

/* A region of the first n positions, and some heads. */
static struct map_region random_region(int n)
{
    struct map_region m = {.q0 = roll(n), .k0 = roll(n)};
    m.q1 = m.q0 + 1 + roll(n - m.q0);
    m.k1 = m.k0 + 1 + roll(n - m.k0);
    m.rows = 1 + roll(m.q1 - m.q0);
    m.columns = 1 + roll(m.k1 - m.k0);
    return m;
}

static int random_heads(const struct run *r, int *heads)
{
    int n = 0;
    for (int i = 0; i < r->model.config.n_heads; i++)
        if (roll(3) > 0)
            heads[n++] = i;
    if (n == 0)
        heads[n++] = roll(r->model.config.n_heads);
    return n;
}

static void compare_regions(struct run *r, int n)
{
    float *all = exact_rows(r, n);
    for (int i = 0; i < REGIONS; i++) {
        struct map m;
        int heads[64], n_heads = random_heads(r, heads);
        struct map_region region =
            i == 0 ? (struct map_region){0, n, 0, n, n, n} : random_region(n);
        must(map_open(&m, &r->trace, r->layer, heads, n_heads, &region, &r->err), r);
        while (!map_done(&m))
            must(map_read(&m, i == 0 ? n : 1 + roll(n), &r->err), r);
        compare(r, &m, all, n);
        map_close(&m);
    }
    free(all);
}

static void test_regions(void **state)
{
    static const struct {
        int threads, chunk;
        struct keep keep;
    } ways[] = {{1, 512, {1, false}}, {3, 7, {3, false}}, {2, 16, {2, true}}};
    for (int i = 0; i < 3; i++) {
        struct run r;
        open_run(&r, *state, ways[i].threads, ways[i].chunk, ways[i].keep);
        must(trace_compute(&r.trace, r.n, &r.err), &r);
        for (r.layer = 0; r.layer < r.model.config.n_layers; r.layer++)
            compare_regions(&r, r.n);
        close_run(&r);
    }
}

/* ---- patches --------------------------------------------------------------------------------- */

/* Something else in every fifth value, so that it is not the same in neighbouring rows. */
static bool change(void *context, const struct op_view *v, struct error *err)
{
    const float *to = context;
    (void)err;
    size_t each = v->row_stride ? v->row_stride : (size_t)v->n_keys;
    size_t rows = v->row_stride ? (size_t)v->n : (size_t)v->heads * (size_t)v->n;
    for (size_t r = 0; r < rows; r++) {
        int position = v->pos0 + (int)(r % (size_t)v->n);
        size_t seen = v->row_stride ? each : (size_t)position + 1;
        for (size_t i = (size_t)position % 5; i < seen; i += 5)
            v->data[r * each + i] = *to;
    }
    return true;
}

static void test_patches(void **state)
{
    static const enum site sites[] = {SITE_Q,       SITE_K,         SITE_ROT_Q, SITE_ATTN_SCORES,
                                      SITE_PATTERN, SITE_RESID_PRE, SITE_Z,     SITE_RESULT};
    static float values[] = {0.75f, -3.0f, NAN};
    for (size_t i = 0; i < sizeof sites / sizeof sites[0]; i++)
        for (size_t k = 0; k < sizeof values / sizeof values[0]; k++) {
            struct run r;
            open_run(&r, *state, 2, 16, (struct keep){2, k > 0});
            int op = program_find(&r.model.program, sites[i], r.layer);
            if (op >= 0) {
                r.watch[op] = true;
                r.trace.hooks =
                    (struct hooks){.watch = r.watch, .written = change, .context = &values[k]};
                must(trace_compute(&r.trace, r.n, &r.err), &r);
                compare_regions(&r, r.n);
            }
            close_run(&r);
        }
}

/* ---- what is not there yet, and what is not there -------------------------------------------- */

static void test_goes_on(void **state)
{
    struct run r;
    struct map m;
    volatile int stop = 0;
    open_run(&r, *state, 1, 8, (struct keep){1, false});
    int part = r.n / 2, heads[64], n_heads = random_heads(&r, heads);
    struct map_region all_of_it = {0, r.n, 0, r.n, r.n / 3, r.n / 2};
    r.trace.interrupt = &stop;
    must(trace_compute(&r.trace, part, &r.err), &r);
    must(map_open(&m, &r.trace, r.layer, heads, n_heads, &all_of_it, &r.err), &r);
    must(map_read(&m, 3, &r.err), &r);
    stop = 1;
    assert_false(map_read(&m, r.n, &r.err));
    assert_int_equal(r.err.code, ERR_INTERRUPTED);
    assert_int_equal(m.next, 3);
    stop = 0;
    must(map_read(&m, r.n, &r.err), &r);
    assert_true(map_done(&m));
    assert_int_equal(m.next, part);
    /* The token in flight, of which the pattern is computed. */
    must(trace_step(&r.trace, m.op, &r.err), &r);
    assert_false(map_done(&m));
    must(map_read(&m, r.n, &r.err), &r);
    assert_int_equal(m.next, part + 1);
    must(trace_compute(&r.trace, r.n, &r.err), &r);
    must(map_read(&m, r.n, &r.err), &r);
    assert_int_equal(m.next, r.n);
    float *rows = exact_rows(&r, r.n);
    compare(&r, &m, rows, r.n);
    map_close(&m);
    /* Layers above what an edit left. */
    trace_invalidate(&r.trace, part, r.layer + 1);
    compare_regions(&r, part);
    free(rows);
    close_run(&r);
}

static void test_refused(void **state)
{
    struct run r;
    struct map m;
    open_run(&r, *state, 1, 8, (struct keep){1, false});
    must(trace_compute(&r.trace, r.n, &r.err), &r);
    int head = 0, none = r.model.config.n_heads, n = r.n;
    const struct map_region bad[] = {{0, n + 1, 0, n, 1, 1},     {0, n, 0, n, n + 1, 1},
                                     {0, n, n - 1, n - 1, 1, 1}, {-1, n, 0, n, 1, 1},
                                     {0, n, 0, n, 1, 0},         {0, 2, 0, n, 3, 1}};
    const struct map_region good = {0, n, 0, n, 2, 2};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(map_open(&m, &r.trace, 0, &head, 1, &bad[i], &r.err));
    assert_false(map_open(&m, &r.trace, r.layer + 1, &head, 1, &good, &r.err));
    assert_false(map_open(&m, &r.trace, 0, &none, 1, &good, &r.err));
    /* Each request for memory fails in turn; in the end all goes well. */
    bool ok = false;
    for (long i = 1; !ok; i++) {
        ledger_fail_after(r.ledger, i);
        ok = map_open(&m, &r.trace, 0, &head, 1, &good, &r.err);
        bool opened = ok;
        ok = ok && map_read(&m, n, &r.err);
        if (!ok)
            assert_int_equal(r.err.code, ERR_MEMORY);
        ledger_fail_after(r.ledger, 0);
        if (opened)
            map_close(&m);
    }
    close_run(&r);
}

int main(void)
{
    struct CMUnitTest tests[CHECKPOINTS_MOST + 3] = {
        cmocka_unit_test_prestate(test_patches, "mistral"),
        cmocka_unit_test_prestate(test_patches, "phi3"),
        cmocka_unit_test_prestate(test_refused, "llama"),
    };
    struct CMUnitTest more[CHECKPOINTS_MOST];
    int n = checkpoints_add(tests, 3, CHECKPOINTS_MOST + 3, test_regions);
    int n_more = checkpoints_add(more, 0, CHECKPOINTS_MOST, test_goes_on);
    return _cmocka_run_group_tests("maps: regions, patches", tests, (size_t)n, NULL, NULL) +
           _cmocka_run_group_tests("maps: read on", more, (size_t)n_more, NULL, NULL);
}
