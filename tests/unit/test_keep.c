/* test_keep.c - what a run keeps to recompute values from: the order in which less is kept, where
 * it lies in a page, what the plan makes of it, and a session that does as planned. */
#include "engine/debug/command.h"
#include "engine/forward/vm.h"
#include "engine/model/plan.h"
#include "tests/support/far.h"
#include "tests/support/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GIB (1ull << 30)

static struct keep_sizes sizes_of(int layers, int d, int z, enum dtype z_dtype)
{
    return (struct keep_sizes){layers, d, z, z_dtype, 7};
}

/* ---- less and less --------------------------------------------------------------------------- */

/* "1 2z 2 4" */
static const char *ladder(struct keep_sizes s)
{
    static char said[100];
    struct keep k = {.stride = 1};
    said[0] = '\0';
    do {
        size_t n = strlen(said);
        snprintf(said + n, sizeof said - n, "%s%d%s", n ? " " : "", k.stride,
                 k.attention ? "z" : "");
    } while (keep_less(&s, &k));
    assert_int_equal(k.stride, keep_least(&s).stride);
    assert_false(k.attention);
    return said;
}

static void test_ladder(void **state)
{
    (void)state;
    assert_string_equal(ladder(sizes_of(32, 3072, 3072, DTYPE_BF16)), "1 2z 2 4 8 16 32");
    /* As much as every residual, and for nothing. */
    assert_string_equal(ladder(sizes_of(32, 3072, 3072, DTYPE_F32)), "1 2 4 8 16 32");
    assert_string_equal(ladder(sizes_of(6, 64, 128, DTYPE_BF16)), "1 2 4 6");
    assert_string_equal(ladder(sizes_of(6, 64, 48, DTYPE_F32)), "1 2z 2 4 6");
    assert_string_equal(ladder(sizes_of(3, 64, 64, DTYPE_BF16)), "1 2z 2 3");
    assert_string_equal(ladder(sizes_of(2, 64, 64, DTYPE_BF16)), "1 2z 2");
    assert_string_equal(ladder(sizes_of(1, 64, 64, DTYPE_BF16)), "1");
}

/* A stride that was asked for is where the ladder is entered. */
static void test_from(void **state)
{
    (void)state;
    struct keep_sizes low = sizes_of(32, 64, 64, DTYPE_BF16), one = sizes_of(1, 64, 64, DTYPE_BF16);
    struct keep_sizes high = sizes_of(32, 64, 64, DTYPE_F32);
    char words[64];
    assert_string_equal(keep_words(keep_from(&low, 0), words), "every layer");
    assert_string_equal(keep_words(keep_from(&low, 1), words), "every layer");
    assert_string_equal(keep_words(keep_from(&low, 2), words), "every 2 layers, attention between");
    assert_string_equal(keep_words(keep_from(&high, 2), words), "every 2 layers");
    assert_string_equal(keep_words(keep_from(&low, 5), words), "every 5 layers");
    assert_string_equal(keep_words(keep_from(&low, 99), words), "every 32 layers");
    assert_string_equal(keep_words(keep_from(&one, 2), words), "every layer");
}

/* ---- a page ---------------------------------------------------------------------------------- */

/* Takes [at, at + bytes) of a page whose bytes are each taken once. */
static void take(char *page, size_t n, size_t at, size_t bytes)
{
    assert_true(at + bytes <= n);
    for (size_t i = at; i < at + bytes; i++)
        assert_false(page[i]++);
}

/* What is kept fills a page and does not overlap; and from a residual that is kept one comes to any
 * layer above through layers that have z, up to the next. */
static void test_layout(void **state)
{
    (void)state;
    for (int layers = 1; layers < 9; layers++)
        for (int stride = 1; stride <= layers; stride++)
            for (int attention = 0; attention < 2; attention++) {
                struct keep_sizes s = sizes_of(layers, 3, 5, DTYPE_BF16);
                struct keep k = {stride, attention};
                size_t n = keep_bytes(&s, k);
                char *page = calloc(1, n);
                assert_non_null(page);
                for (int l = 0; l < layers; l++)
                    take(page, n, keep_sums_at(&s, l), KV_PAGE * 7 * sizeof(float));
                for (int l = 0; l <= layers; l++) {
                    if (keep_residual(&s, k, l))
                        take(page, n, keep_residual_at(&s, k, l), KV_PAGE * 3 * sizeof(float));
                    if (keep_attention(&s, k, l))
                        take(page, n, keep_attention_at(&s, k, l), KV_PAGE * 5 * 2);
                    bool through = l < layers && !keep_residual(&s, k, l + 1);
                    assert_int_equal(keep_attention(&s, k, l), attention && through);
                }
                assert_null(memchr(page, 0, n));
                assert_true(keep_residual(&s, k, layers));
                free(page);
            }
}

/* ---- the plan -------------------------------------------------------------------------------- */

static size_t half_kv_bytes(struct backend *b, int n_kv_heads, int d_head)
{
    (void)b;
    return (size_t)n_kv_heads * (size_t)d_head * KV_PAGE * 2;
}

/* Phi-3.5-mini's shape on a device of 139 GiB that computes in bf16. */
static void test_phi(void **state)
{
    struct ledger *l = *state;
    char line[400];
    struct backend *far = far_open(1);
    assert_non_null(far);
    far_round();
    struct backend device = *far;
    struct model m;
    struct plan p;
    struct keep k = {.stride = 1};
    struct error err = {0};
    device.kv_bytes = half_kv_bytes;
    snprintf(line, sizeof line, "cp tests/bench/phi-3.5-mini-instruct.json %s",
             folder_file("config.json"));
    assert_int_equal(system(line), 0);
    if (!model_map(&m, l, &device, folder_path(), false, &err))
        fail_msg("%s", err.text);
    int n = m.config.n_ctx;
    assert_int_equal(n, 131072);
    plan_make(&p, &m, n, 512, ledger_total(l));
    /* All residuals would be 48 GiB of 132. */
    assert_true(plan_keep(&p, n, 139 * GIB, &k));
    assert_int_equal(k.stride, 2);
    assert_true(k.attention);
    size_t pages = (size_t)n / KV_PAGE;
    assert_int_equal(pages * p.kv_page, 48 * GIB);
    assert_int_equal(pages * keep_bytes(&p.sizes, k), 36 * GIB + GIB / 2); /* with the sums */
    assert_true(plan_bytes(&p, n, k) < 100 * GIB);
    k = (struct keep){.stride = 1};
    assert_true(plan_keep(&p, n, 74 * GIB, &k));
    assert_int_equal(k.stride, 4);
    assert_false(k.attention);
    k = (struct keep){.stride = 1};
    assert_true(plan_keep(&p, n, 100 * GIB, &k));
    assert_int_equal(k.stride, 2);
    assert_false(k.attention);
    k = (struct keep){.stride = 1};
    assert_true(plan_keep(&p, n, 400 * GIB, &k));
    assert_int_equal(k.stride, 1);
    assert_false(plan_keep(&p, n, 50 * GIB, &k));
    model_close(&m);
    backend_close(far);
}

/* ---- a session ------------------------------------------------------------------------------- */

static void run(struct session *s, int n, struct error *err)
{
    int32_t ids[128];
    for (int i = 0; i < n; i++)
        ids[i] = i * 3 % 40;
    if (!session_prompt_ids(s, ids, n, err) || !session_finish(s, err))
        fail_msg("%s", err->text);
}

static bool hear(void *context, const char *s, size_t n, struct error *err)
{
    struct text *said = context;
    text_add_bytes(said, s, n);
    return text_ok(said, err);
}

/* What `info memory` says of it, as text and as JSON. */
static void expect_told(struct session *s, bool json, const char *words)
{
    struct text said;
    struct report report;
    struct console console;
    struct error err = {0};
    text_init(&said, s->ledger, MEM_OTHER);
    report_init(&report, s->ledger, json, hear, &said);
    console_init(&console, s, &report);
    if (!console_run(&console, "info memory", 11, &err) || !strstr(said.data, words))
        fail_msg("%s: not in %s", words, err.code ? err.text : said.data);
    console_fini(&console);
    report_fini(&report);
    text_fini(&said);
}

/* On a device in bf16 all three steps are there; each is taken for a budget in which it fits. */
static void test_session(void **state)
{
    static const struct keep steps[] = {{1, false}, {2, true}, {2, false}};
    static const char *const said[] = {"(every layer)", "(every 2 layers, attention between)",
                                       "(every 2 layers)"};
    static const char *const said_json[] = {"\"checkpoint_attention\":false",
                                            "\"checkpoint_attention\":true",
                                            "\"checkpoint_attention\":false"};
    const int n = 128;
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct ledger *l = ledger_open();
        struct error err = {0};
        struct session s;
        struct plan p;
        struct backend *b = far_open(1);
        assert_non_null(b);
        far_round();
        if (!session_open(&s, l, "tests/golden/models/llama-biased",
                          &(struct session_options){.backend = b, .budget = 64 << 20}, &err))
            fail_msg("%s", err.text);
        size_t held = ledger_total(l) - ledger_now(l, MEM_WEIGHTS, MEM_DEVICE);
        plan_make(&p, &s.model, n, b->chunk, held);
        session_close(&s);
        b = far_open(1);
        assert_non_null(b);
        far_round();
        size_t budget = plan_bytes(&p, n, steps[i]);
        struct session_options o = {.backend = b, .budget = budget, .trace.n_ctx = n};
        if (!session_open(&s, l, "tests/golden/models/llama-biased", &o, &err))
            fail_msg("%s", err.text);
        run(&s, n, &err);
        assert_int_equal(s.trace.keep.stride, steps[i].stride);
        assert_int_equal(s.trace.keep.attention, steps[i].attention);
        assert_int_equal(ledger_now(l, MEM_CHECKPOINTS, MEM_DEVICE),
                         (size_t)(n / KV_PAGE) * keep_bytes(&s.trace.sizes, steps[i]));
        assert_true(ledger_total(l) <= budget);
        ledger_set_budget(l, 0);
        expect_told(&s, false, said[i]);
        expect_told(&s, true, said_json[i]);
        session_close(&s);
        assert_int_equal(ledger_close(l), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ladder),
        cmocka_unit_test(test_from),
        cmocka_unit_test(test_layout),
        cmocka_unit_test_setup_teardown(test_phi, folder_set_up, folder_tear_down),
        cmocka_unit_test(test_session),
    };
    return cmocka_run_group_tests_name("keep", tests, NULL, NULL);
}
