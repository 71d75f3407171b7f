/* test_patch.c - edits: only the cone is computed again, and the bits are those of a run from
 * the start with the patch in place; without it the first bits come back. Random sites,
 * positions and operations on every golden checkpoint. */
#include "engine/debug/patch.h"
#include "tests/support/bits.h"
#include "tests/support/checkpoints.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS 23
#define ROUNDS 24

struct run {
    struct ledger *ledger;
    struct backend *backend;
    struct model model;
    struct trace trace;
    struct patches patches;
    struct error err;
};

static void must(bool ok, const struct error *e)
{
    if (!ok)
        fail_msg("%s", e->text);
}

static void open_run(struct run *r, const char *name, int chunk, struct keep keep)
{
    char why[256] = "", path[300];
    memset(r, 0, sizeof *r);
    snprintf(path, sizeof path, CHECKPOINTS "/%s", name);
    r->ledger = ledger_open();
    r->backend = backend_open("cpu", &(struct backend_options){.n_threads = 1, .isa = NULL}, why);
    if (!r->backend)
        fail_msg("%s", why);
    must(model_open(&r->model, r->ledger, r->backend, path, true, &r->err), &r->err);
    struct trace_options o = {.chunk = chunk, .stride = keep.stride, .attention = keep.attention};
    must(trace_open(&r->trace, &r->model, &o, &r->err), &r->err);
    must(patches_init(&r->patches, &r->trace, &r->err), &r->err);
}

static void close_run(struct run *r)
{
    patches_fini(&r->patches);
    trace_close(&r->trace);
    model_close(&r->model);
    backend_close(r->backend);
    assert_int_equal(ledger_close(r->ledger), 0);
}

static void compute(struct run *r, int n)
{
    int32_t ids[TOKENS] = {0};
    for (int i = 0; i < n; i++)
        ids[i] = (int32_t)((i * i * 5 + i * 3 + 1) % r->model.config.n_vocab);
    if (r->trace.n_ids == 0)
        must(trace_append(&r->trace, ids, n, NULL, &r->err), &r->err);
    must(trace_compute(&r->trace, n, &r->err), &r->err);
}

/* Every site of every position, one after the other. */
static float *everything(struct run *r, int n, size_t *count)
{
    size_t total = 0;
    const struct program *p = &r->model.program;
    for (int op = 0; op < p->n_ops; op++)
        if (p->ops[op].site)
            total += trace_read_count(&r->trace, op, n, p->ops[op].width, n);
    assert_true(total > 0);
    float *out = malloc((total + 1) * sizeof *out), *at = out;
    for (int op = 0; op < p->n_ops; op++) {
        if (!p->ops[op].site)
            continue;
        must(trace_read(&r->trace, op, 0, n, 0, p->ops[op].width, n, at, &r->err), &r->err);
        at += trace_read_count(&r->trace, op, n, p->ops[op].width, n);
    }
    *count = total;
    return out;
}

static void assert_same(const float *a, const float *b, size_t n, const char *what)
{
    size_t i = bits_differ(a, b, n);
    if (i < n)
        fail_msg("value %zu of %zu differs: %s", i, n, what);
}

static uint32_t next(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

static struct pick pick_some(uint32_t *seed, int n)
{
    uint32_t kind = next(seed) % 3;
    if (kind == 0)
        return pick_all((size_t)n);
    if (kind == 1)
        return pick_one((int64_t)(next(seed) % (uint32_t)n));
    int64_t first = next(seed) % (uint32_t)n;
    return (struct pick){.first = first, .step = 1, .count = 1 + next(seed) % (size_t)(n - first)};
}

/* A random patch that this model takes. */
static int add_random(struct run *r, int n, uint32_t *seed, struct patch_spec *spec,
                      struct value *operand)
{
    const struct program *p = &r->model.program;
    const struct op *op;
    do
        op = &p->ops[next(seed) % (uint32_t)p->n_ops];
    while (!op->site);
    int L = p->n_layers;
    *spec = (struct patch_spec){.site = op->site, .operand = operand, .text = "random"};
    spec->layer_first = spec->layer_last = site_in_block(op->site) ? op->layer : 0;
    if (site_in_block(op->site) && next(seed) % 4 == 0 && program_find(p, op->site, L - 1) >= 0)
        spec->layer_last = L - 1;
    spec->first = (int)(next(seed) % (uint32_t)n);
    spec->last = next(seed) % 2 ? spec->first : PATCH_TO_THE_END;
    enum site_axes axes = site_axes(op->site);
    spec->n_picks = axes == AXES_HTS || axes == AXES_THX ? 2 : 1;
    spec->picks[0] = pick_some(seed, spec->n_picks == 2 ? op->heads : op->width);
    if (spec->n_picks == 2)
        spec->picks[1] = pick_some(seed, axes == AXES_HTS ? n : op->width / op->heads);
    spec->kind = (enum patch_kind)(next(seed) % 3);
    value_set_number(operand, (double)(next(seed) % 200) / 100.0 - 0.5);
    return patches_add(&r->patches, spec, &r->err);
}

/* How many rows one run of n positions changes: the tail does not run by itself, and a row that
 * sees none of the picked keys is left alone. */
static int rows_touched(const struct program *p, const struct patch_spec *s, int n)
{
    int op = program_find(p, s->site, s->layer_first), rows = 0;
    if (program_section(p, op) == p->n_layers)
        return 0;
    for (int pos = s->first; pos < n && pos <= s->last; pos++)
        rows += site_axes(s->site) != AXES_HTS || s->picks[1].first <= pos;
    return rows * (s->layer_last - s->layer_first + 1);
}

static void test_cone(void **state)
{
    const char *name = *state;
    struct run a;
    uint32_t seed = 12345;
    /* What is kept: of some of the models with three layers z, too. */
    static const struct keep kept[] = {{2, true}, {99, true}, {1, false}, {2, false}};
    open_run(&a, name, 512, kept[(strlen(name) + (size_t)name[0]) % 4]);
    int n = a.model.config.n_ctx < TOKENS ? a.model.config.n_ctx : TOKENS;
    size_t count;
    compute(&a, n);
    float *first = everything(&a, n, &count);
    for (int round = 0; round < ROUNDS; round++) {
        struct patch_spec spec;
        struct value operand;
        value_init(&operand, a.ledger);
        int id = add_random(&a, n, &seed, &spec, &operand);
        if (!id)
            fail_msg("%s", a.err.text);
        compute(&a, n);
        float *after = everything(&a, n, &count);
        /* The same from the start, in other chunks. */
        struct run b;
        char what[160], site[64];
        size_t same;
        snprintf(what, sizeof what, "%s, round %d, %s from position %d", name, round,
                 site_name(spec.site, spec.layer_first, site), spec.first);
        open_run(&b, name, 1 + round % 7, kept[2]);
        if (!patches_add(&b.patches, &spec, &b.err))
            fail_msg("%s", b.err.text);
        compute(&b, n);
        assert_int_equal(b.patches.list[0].fired, rows_touched(&b.model.program, &spec, n));
        float *fresh = everything(&b, n, &same);
        assert_int_equal(count, same);
        assert_same(after, fresh, count, what);
        free(fresh);
        close_run(&b);
        free(after);
        must(patches_remove(&a.patches, id, &a.err), &a.err);
        compute(&a, n);
        float *back = everything(&a, n, &count);
        assert_same(first, back, count, what);
        free(back);
        value_fini(&operand);
    }
    free(first);
    close_run(&a);
}

static void test_numbers_and_errors(void **state)
{
    (void)state;
    struct run r;
    open_run(&r, "llama", 512, (struct keep){1, false});
    struct value x;
    value_init(&x, r.ledger);
    struct patch_spec spec = {.site = SITE_Z,
                              .last = 3,
                              .n_picks = 2,
                              .picks = {pick_one(0), pick_all(4)},
                              .operand = &x};
    assert_int_equal(patches_add(&r.patches, &spec, &r.err), 1);
    assert_int_equal(patches_add(&r.patches, &spec, &r.err), 2);
    assert_true(patches_remove(&r.patches, 2, &r.err));
    assert_false(patches_remove(&r.patches, 2, &r.err));
    assert_false(patches_enable(&r.patches, 9, true, &r.err));
    /* A number is never given twice. */
    assert_int_equal(patches_add(&r.patches, &spec, &r.err), 3);
    struct patch_spec bad = spec;
    bad.layer_last = 99;
    assert_int_equal(patches_add(&r.patches, &bad, &r.err), 0);
    bad = spec;
    bad.picks[0] = pick_one(99);
    assert_int_equal(patches_add(&r.patches, &bad, &r.err), 0);
    assert_non_null(strstr(r.err.text, "out of range"));
    bad = spec;
    bad.n_picks = 1;
    assert_int_equal(patches_add(&r.patches, &bad, &r.err), 0);
    bad = spec;
    bad.site = SITE_POS_EMBED; /* not in a Llama */
    assert_int_equal(patches_add(&r.patches, &bad, &r.err), 0);
    bad = spec;
    bad.first = 4;
    assert_int_equal(patches_add(&r.patches, &bad, &r.err), 0);
    /* Disabled, it changes nothing. */
    compute(&r, 8);
    assert_int_equal(patches_find(&r.patches, 3)->fired, 4);
    assert_true(patches_enable(&r.patches, 1, false, &r.err));
    assert_true(patches_enable(&r.patches, 3, false, &r.err));
    compute(&r, 8);
    assert_int_equal(patches_find(&r.patches, 3)->fired, 4);
    value_fini(&x);
    close_run(&r);
}

int main(void)
{
    static struct CMUnitTest tests[CHECKPOINTS_MOST + 1];
    int n = checkpoints_add(tests, 0, CHECKPOINTS_MOST, test_cone);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_numbers_and_errors);
    return _cmocka_run_group_tests("patch", tests, (size_t)n, NULL, NULL);
}
