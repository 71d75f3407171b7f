/* test_kept_cost.c - what keeping z saves and takes: with it no key is looked at on the way to a
 * layer; and short of memory it is given back before residuals are. On every golden checkpoint. */
#include "engine/forward/map.h"
#include "engine/forward/vm.h"
#include "tests/support/checkpoints.h"
#include "tests/support/twin.h"

#include <stdlib.h>

/* ---- no key is looked at --------------------------------------------------------------------- */

static struct backend table; /* what the counting functions stand in front of */
static struct {
    int attends, scores, mixes, stores;
} calls;

static void count_attend(struct backend *b, const struct attention *a, const struct kv_view *kv,
                         const float *q, int pos0, int n, float *z, float *sums,
                         struct workspace work)
{
    calls.attends++;
    table.attend(b, a, kv, q, pos0, n, z, sums, work);
}

static void count_scores(struct backend *b, const struct attention *a, const struct kv_view *kv,
                         const float *q, int pos0, int n, int head0, int heads, float *out)
{
    calls.scores++;
    table.scores(b, a, kv, q, pos0, n, head0, heads, out);
}

static void count_mix(struct backend *b, const struct attention *a, const struct kv_view *kv,
                      const float *pattern, int pos0, int n, int head0, int heads, float *z,
                      size_t z_stride)
{
    calls.mixes++;
    table.mix(b, a, kv, pattern, pos0, n, head0, heads, z, z_stride);
}

static void count_store(struct backend *b, const struct kv_view *kv, int pos0, int n,
                        const float *k, const float *v)
{
    calls.stores++;
    table.kv_store(b, kv, pos0, n, k, v);
}

static struct backend *open_counting(void)
{
    struct backend *b = twin_cpu();
    assert_non_null(b);
    table = *b;
    b->attend = count_attend;
    b->scores = count_scores;
    b->mix = count_mix;
    b->kv_store = count_store;
    return b;
}

static void expect_calls(const struct twin *t, enum site site, int layer, int attends, int scores)
{
    char name[64];
    if (calls.attends != attends || calls.scores != scores || calls.mixes || calls.stores)
        fail_msg("%s, %s: %d times all of attention, %d scores, %d mixes, %d stores; not %d, %d",
                 t->model.name, site_name(site, layer, name), calls.attends, calls.scores,
                 calls.mixes, calls.stores, attends, scores);
}

/* Reads a site at the last rows. */
static void reads(struct twin *t, enum site site, int layer, int attends, int scores)
{
    size_t count;
    calls.attends = calls.scores = calls.mixes = calls.stores = 0;
    int op = program_find(&t->model.program, site, layer);
    free(twin_values(t, &t->kept, op, t->n - 5, 5, &count));
    expect_calls(t, site, layer, attends, scores);
}

static void maps(struct twin *t, int layer, int attends)
{
    struct map m;
    int head = 0;
    struct map_region all = {0, t->n, 0, t->n, 3, 3};
    calls.attends = calls.scores = calls.mixes = calls.stores = 0;
    twin_must(map_open(&m, &t->kept, layer, &head, 1, &all, &t->err) && map_read(&m, t->n, &t->err),
              t);
    map_close(&m);
    expect_calls(t, SITE_PATTERN, layer, attends, 0);
}

/* The last residual alone is kept, with z of all layers below, or without. */
static void test_calls(void **state)
{
    for (int without = 0; without < 2; without++) {
        struct twin t;
        twin_open(&t, *state, open_counting(), 512, 0);
        t.kept.keep.attention = !without;
        twin_must(trace_compute(&t.kept, t.n, &t.err), &t);
        int last = t.model.config.n_layers - 1;
        for (int l = 0; l <= last; l++) {
            int below = without ? l : 0, own = without || l == last;
            reads(&t, SITE_RESID_PRE, l, below, 0);
            reads(&t, SITE_Q, l, below, 0);
            reads(&t, SITE_PATTERN, l, below, 1);
            reads(&t, SITE_Z, l, below + own, 0);
            reads(&t, SITE_RESULT, l, below + own, 0);
            reads(&t, SITE_RESID_POST, l, below + own, 0);
            maps(&t, l, below);
        }
        reads(&t, SITE_LOGITS, 0, 0, 0);
        twin_close(&t);
    }
}

/* ---- short of memory ------------------------------------------------------------------------- */

/* Computes n positions with so much memory that one step less is kept from the next page on. */
static void squeeze(struct twin *t, int n)
{
    struct trace *trace = &t->kept;
    struct keep less = trace->keep;
    size_t others = ledger_now(t->ledger, MEM_CHECKPOINTS, MEM_DEVICE);
    size_t page = trace_checkpoint_page_bytes(trace);
    for (int i = 0; i < trace->n_pages; i++)
        others -= trace->checkpoint_bytes[i];
    assert_true(keep_less(&trace->sizes, &less));
    /* The ids and the lists of pages are part of the room to look that is left. */
    size_t lists = (size_t)trace->room_ids * sizeof(int32_t) +
                   (size_t)trace->room_pages * (2 * sizeof(void *) + sizeof(size_t));
    ledger_set_budget(t->ledger, ledger_total(t->ledger) - lists + vm_room_bytes(&t->model, n) +
                                     trace_kv_page_bytes(trace) + page - 1);
    int older = trace->n_pages;
    twin_must(trace_compute(trace, n, &t->err), t);
    ledger_set_budget(t->ledger, 0);
    assert_int_equal(trace->keep.stride, less.stride);
    assert_int_equal(trace->keep.attention, less.attention);
    assert_int_equal(trace->n_pages, older + 1);
    size_t want = (size_t)older * keep_bytes(&trace->sizes, (struct keep){less.stride, false}) +
                  keep_bytes(&trace->sizes, less);
    assert_int_equal(ledger_now(t->ledger, MEM_CHECKPOINTS, MEM_DEVICE) - others, want);
}

static void test_squeezed(void **state)
{
    struct twin t;
    twin_open(&t, *state, twin_bf16(), 12, 1);
    t.kept.keep.attention = false;
    assert_true(t.n >= 2 * KV_PAGE);
    twin_must(trace_compute(&t.plain, t.n, &t.err), &t);
    twin_must(trace_compute(&t.kept, KV_PAGE, &t.err), &t);
    twin_compare(&t, 3, "all residuals");
    squeeze(&t, 2 * KV_PAGE);
    twin_compare(&t, 3, "squeezed once");
    /* Rows on both sides of the first page that has z, computed again. */
    trace_invalidate(&t.kept, KV_PAGE - 6, 1);
    twin_must(trace_compute(&t.kept, 2 * KV_PAGE, &t.err), &t);
    twin_compare(&t, 3, "squeezed once, and run again");
    /* Of another sequence the first page has z, too. */
    size_t others = ledger_now(t.ledger, MEM_CHECKPOINTS, MEM_DEVICE);
    for (int i = 0; i < t.kept.n_pages; i++)
        others -= t.kept.checkpoint_bytes[i];
    trace_truncate(&t.kept, 0, NULL);
    twin_append(&t, &t.kept);
    twin_must(trace_compute(&t.kept, 2 * KV_PAGE, &t.err), &t);
    assert_int_equal(t.kept.z_from, 0);
    assert_int_equal(ledger_now(t.ledger, MEM_CHECKPOINTS, MEM_DEVICE) - others,
                     2 * trace_checkpoint_page_bytes(&t.kept));
    twin_compare(&t, 3, "squeezed once, and begun anew");
    struct keep least = t.kept.keep;
    if (t.n > 2 * KV_PAGE && keep_less(&t.kept.sizes, &least))
        squeeze(&t, t.n);
    twin_compare(&t, 3, "squeezed twice");
    twin_close(&t);
}

int main(void)
{
    static struct CMUnitTest tests[2 * CHECKPOINTS_MOST];
    int n = checkpoints_add(tests, 0, CHECKPOINTS_MOST, test_calls);
    n = checkpoints_add(tests, n, 2 * CHECKPOINTS_MOST, test_squeezed);
    return _cmocka_run_group_tests("what keeping costs", tests, (size_t)n, NULL, NULL);
}
