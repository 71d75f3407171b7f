/* test_ledger.c - all that is held is counted, the budget is kept, the n-th request can fail. */
#include "engine/base/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Read by the sanitizers, if they are there: a request that is too large fails as it should. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static int set_up(void **state)
{
    *state = ledger_open();
    return *state == NULL;
}

static int tear_down(void **state)
{
    return ledger_close(*state) != 0;
}

static void blocks_are_aligned_and_zeroed(void **state)
{
    struct ledger *l = *state;
    void *p[200];

    for (size_t i = 0; i < 200; i++) {
        size_t bytes = i < 150 ? i : i * 4096;
        unsigned char *b = p[i] = mem_alloc(l, MEM_SCRATCH, bytes, NULL);
        assert_non_null(b);
        assert_int_equal((uintptr_t)b % 64, 0);
        for (size_t k = 0; k < bytes; k++)
            assert_int_equal(b[k], 0);
        memset(b, 0xff, bytes);
    }
    for (size_t i = 0; i < 200; i++)
        mem_free(l, p[i]);
    mem_free(l, NULL);
}

static void bytes_are_counted(void **state)
{
    struct ledger *l = *state;
    void *a = mem_alloc(l, MEM_KV, 1000, NULL);
    void *b = mem_alloc(l, MEM_KV, 500, NULL);
    void *c = mem_alloc(l, MEM_VIEWS, 7, NULL);

    assert_int_equal(ledger_now(l, MEM_KV, MEM_HOST), 1500);
    assert_int_equal(ledger_now(l, MEM_VIEWS, MEM_HOST), 7);
    assert_int_equal(ledger_total(l), 1507);
    mem_free(l, a);
    assert_int_equal(ledger_now(l, MEM_KV, MEM_HOST), 500);
    assert_int_equal(ledger_peak(l, MEM_KV, MEM_HOST), 1500);
    assert_true(ledger_take(l, MEM_WEIGHTS, MEM_MAPPED, 1 << 20, NULL));
    assert_int_equal(ledger_total(l), 507);
    assert_true(ledger_take(l, MEM_WEIGHTS, MEM_DEVICE, 100, NULL));
    assert_int_equal(ledger_total(l), 607);
    assert_int_equal(ledger_total_peak(l), 1507);
    ledger_give(l, MEM_WEIGHTS, MEM_DEVICE, 100);
    ledger_give(l, MEM_WEIGHTS, MEM_MAPPED, 1 << 20);
    assert_int_equal(ledger_peak(l, MEM_WEIGHTS, MEM_MAPPED), 1 << 20);
    mem_free(l, b);
    mem_free(l, c);
    assert_int_equal(ledger_total(l), 0);
}

static void what_is_kept_is_told_at_the_end(void **state)
{
    (void)state;
    struct ledger *l = ledger_open();
    void *kept = mem_alloc(l, MEM_OTHER, 10, NULL);

    assert_true(ledger_take(l, MEM_WEIGHTS, MEM_MAPPED, 5, NULL));
    assert_int_equal(ledger_close(l), 15);
    assert_int_equal(ledger_close(NULL), 0);

    l = ledger_open(); /* the block knows no ledger, so another may take it back */
    assert_true(ledger_take(l, MEM_OTHER, MEM_HOST, 10, NULL));
    mem_free(l, kept);
    assert_int_equal(ledger_close(l), 0);
}

static void the_budget_is_kept(void **state)
{
    struct ledger *l = *state;
    struct error err = {0};
    size_t gib = (size_t)1 << 30;

    ledger_set_budget(l, 8 * gib);
    assert_int_equal(ledger_budget(l), 8 * gib);
    assert_true(ledger_take(l, MEM_KV, MEM_DEVICE, 5 * gib, &err));
    assert_false(ledger_take(l, MEM_WEIGHTS, MEM_HOST, (size_t)(7.1 * (double)gib), &err));
    assert_int_equal(err.code, ERR_MEMORY);
    assert_string_equal(err.text,
                        "needs 7.1 GiB of weights, 3.0 GiB of the 8.0 GiB budget are free");
    assert_null(mem_alloc(l, MEM_WEIGHTS, 4 * gib, &err));
    assert_int_equal(ledger_now(l, MEM_WEIGHTS, MEM_HOST), 0);
    assert_true(ledger_take(l, MEM_WEIGHTS, MEM_MAPPED, 100 * gib, &err));
    ledger_give(l, MEM_WEIGHTS, MEM_MAPPED, 100 * gib);
    assert_true(ledger_take(l, MEM_SCRATCH, MEM_HOST, 3 * gib, &err)); /* to the last byte */
    assert_false(ledger_take(l, MEM_SCRATCH, MEM_HOST, 1, &err));
    ledger_set_budget(l, gib); /* less than is held */
    assert_false(ledger_take(l, MEM_SCRATCH, MEM_HOST, 1, &err));
    assert_non_null(strstr(err.text, "0 B of the 1.0 GiB"));
    ledger_give(l, MEM_SCRATCH, MEM_HOST, 3 * gib);
    ledger_give(l, MEM_KV, MEM_DEVICE, 5 * gib);
    ledger_set_budget(l, 0);
    assert_false(ledger_take(l, MEM_KV, MEM_DEVICE, 5, NULL) &&
                 ledger_take(l, MEM_KV, MEM_DEVICE, SIZE_MAX - 2, NULL));
    ledger_give(l, MEM_KV, MEM_DEVICE, 5);
}

static void impossible_sizes_are_refused(void **state)
{
    struct ledger *l = *state;
    struct error err = {0};

    assert_null(mem_alloc(l, MEM_KV, SIZE_MAX, &err));
    assert_int_equal(err.code, ERR_MEMORY);
    assert_null(mem_alloc(l, MEM_KV, PTRDIFF_MAX, &err));
    assert_null(mem_alloc(l, MEM_KV, (size_t)1 << 60, &err));
    assert_non_null(strstr(err.text, "1.0 EiB of keys and values"));
    assert_null(mem_alloc_array(l, MEM_KV, SIZE_MAX / 2, 3, &err));
    assert_int_equal(err.code, ERR_MEMORY);
    assert_null(mem_alloc_array(l, MEM_KV, (size_t)1 << 32, (size_t)1 << 32, NULL));
    void *p = mem_alloc(l, MEM_KV, 8, &err);
    assert_null(mem_resize(l, MEM_KV, p, SIZE_MAX, &err));
    assert_null(mem_resize(l, MEM_KV, p, (size_t)1 << 60, &err));
    assert_int_equal(ledger_total(l), 8);
    mem_free(l, p);
    p = mem_alloc_array(l, MEM_KV, 0, 8, &err);
    assert_non_null(p);
    mem_free(l, p);
}

static void resizing_keeps_what_was_there(void **state)
{
    struct ledger *l = *state;
    struct error err = {0};
    unsigned char *p = NULL;
    static const size_t sizes[] = {1, 100, 63, 64, 100000, 5000, 3000000, 1, 0, 200};
    size_t before = 0;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        p = mem_resize(l, MEM_VIEWS, p, sizes[i], NULL);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        assert_int_equal(ledger_now(l, MEM_VIEWS, MEM_HOST), sizes[i]);
        for (size_t k = 0; k < sizes[i] && k < before; k++)
            assert_int_equal(p[k], (unsigned char)(k * 7));
        for (size_t k = 0; k < sizes[i]; k++)
            p[k] = (unsigned char)(k * 7);
        before = sizes[i];
    }
    ledger_set_budget(l, 250);
    assert_null(mem_resize(l, MEM_VIEWS, p, 300, &err));
    assert_int_equal(err.code, ERR_MEMORY);
    assert_int_equal(p[199], (unsigned char)(199 * 7));
    assert_int_equal(ledger_total(l), 200);
    mem_free(l, p);
}

static void the_nth_request_fails_and_all_after(void **state)
{
    struct ledger *l = *state;
    struct error err = {0};

    for (long n = 1; n < 6; n++) {
        void *p[6] = {0};
        ledger_fail_after(l, n);
        for (long i = 1; i < 6; i++) {
            err.code = ERR_NONE;
            p[i] = mem_alloc(l, MEM_OTHER, 3, &err);
            assert_int_equal(p[i] == NULL, i >= n);
            assert_int_equal(err.code, i >= n ? ERR_MEMORY : ERR_NONE);
        }
        assert_false(ledger_take(l, MEM_KV, MEM_DEVICE, 1, NULL));
        assert_true(ledger_take(l, MEM_WEIGHTS, MEM_MAPPED, 1, NULL));
        ledger_give(l, MEM_WEIGHTS, MEM_MAPPED, 1);
        if (p[1] != NULL)
            assert_null(mem_resize(l, MEM_OTHER, p[1], 100, NULL));
        assert_null(mem_strdup(l, MEM_OTHER, "x", NULL));
        for (int i = 1; i < 6; i++)
            mem_free(l, p[i]);
        ledger_fail_after(l, 0);
    }
    char *s = mem_strdup(l, MEM_OTHER, "abc", NULL);
    assert_string_equal(s, "abc");
    mem_free(l, s);
}

/* Threads that fight over a small budget: it is never passed, and all comes back. */
static atomic_bool passed;
static void *take_and_give(void *ledger)
{
    struct ledger *l = ledger;
    unsigned seed = 1;

    for (int i = 0; i < 20000; i++) {
        seed = seed * 1103515245 + 12345;
        void *p = mem_alloc(l, MEM_VIEWS, seed % 700, NULL);
        if (ledger_total(l) > 1000)
            passed = true;
        mem_free(l, p);
    }
    return NULL;
}

static void threads_may_share(void **state)
{
    struct ledger *l = *state;
    pthread_t t[4];

    ledger_set_budget(l, 1000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, take_and_give, l), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_false(passed);
    assert_true(ledger_total_peak(l) <= 1000);
    assert_int_equal(ledger_total(l), 0);
}

static void sizes_as_words(void **state)
{
    (void)state;
    char out[24];

    assert_string_equal(mem_format(0, out), "0 B");
    assert_string_equal(mem_format(1023, out), "1023 B");
    assert_string_equal(mem_format(1024, out), "1.0 KiB");
    assert_string_equal(mem_format(14336, out), "14.0 KiB");
    assert_string_equal(mem_format((1 << 20) - 1, out), "1.0 MiB");
    assert_string_equal(mem_format(7623566234, out), "7.1 GiB");
    assert_string_equal(mem_format(SIZE_MAX, out), "16.0 EiB");
}

static void words_as_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t bytes;
    } good[] = {
        {"4096", 4096},
        {"0", 0},
        {"512M", (size_t)512 << 20},
        {"8G", (size_t)8 << 30},
        {"8g", (size_t)8 << 30},
        {"1.5GiB", (size_t)3 << 29},
        {"1.5 gib", (size_t)3 << 29},
        {".5K", 512},
        {"2MB", 2000000},
        {"7b", 7},
        {"15E", (size_t)15 << 60},
        {"18446744073709551615", SIZE_MAX},
    };
    static const char *const bad[] = {
        "",
        " ",
        "G",
        "-1",
        "+1",
        "8Q",
        "8GG",
        "8Gi",
        "1e3",
        "1.5",
        "0x10",
        "1..5G",
        "8 G x",
        "8,5G",
        "nan",
        ".",
        ".G",
        "1G\n",
        "18446744073709551616",
        "16E",
        "99999999999999999999999999G",
        "17179869184G",
    };

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        size_t bytes = 1;
        struct error err = {0};
        if (!mem_parse(good[i].text, &bytes, &err) || bytes != good[i].bytes)
            fail_msg("%s gives %zu (%s)", good[i].text, bytes, err.text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t bytes = 77;
        struct error err = {0};
        if (mem_parse(bad[i], &bytes, &err))
            fail_msg("\"%s\" passes as %zu", bad[i], bytes);
        assert_int_equal(err.code, ERR_USAGE);
        assert_int_equal(bytes, 77);
        assert_true(strlen(err.text) > 10);
    }
}

static void the_system_is_asked(void **state)
{
    struct ledger *l = *state;
    size_t before = mem_resident(), bytes = 32 << 20;
    char *p = mem_alloc(l, MEM_SCRATCH, bytes, NULL);

    assert_true(before > 0 && mem_available() > 0);
    memset(p, 1, bytes);
    size_t after = mem_resident();
    mem_free(l, p);
    assert_true(after >= before + bytes / 2);
    assert_true(mem_resident_peak() >= after);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(mem_category_name(MEM_WEIGHTS), "weights");
    assert_string_equal(mem_category_name(MEM_KV), "kv");
    assert_string_equal(mem_category_name(MEM_OTHER), "other");
    assert_string_equal(mem_category_name(MEM_CATEGORIES), "unknown");
    assert_string_equal(mem_place_name(MEM_MAPPED), "mapped");
    assert_string_equal(mem_place_name(MEM_PLACES), "unknown");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(blocks_are_aligned_and_zeroed),
        TEST(bytes_are_counted),
        TEST(what_is_kept_is_told_at_the_end),
        TEST(the_budget_is_kept),
        TEST(impossible_sizes_are_refused),
        TEST(resizing_keeps_what_was_there),
        TEST(the_nth_request_fails_and_all_after),
        TEST(threads_may_share),
        TEST(sizes_as_words),
        TEST(words_as_sizes),
        TEST(the_system_is_asked),
        TEST(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
