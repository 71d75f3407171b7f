/* test_top.c - the best tokens of a row of logits. */
#include "engine/analysis/top.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void best_first(void **state)
{
    static const float logits[] = {1, 5, 3, 5, -INFINITY, NAN, 4};
    static const int order[] = {1, 3, 6, 2, 0, 4, 5};
    struct top_entry out[7];
    (void)state;
    for (int n = 0; n <= 9; n++) {
        int got = top_tokens(logits, 7, n, out);
        assert_int_equal(got, n < 7 ? n : 7);
        for (int i = 0; i < got; i++)
            assert_int_equal(out[i].id, order[i]);
    }
    for (int i = 0; i < 7; i++)
        assert_int_equal(top_rank(logits, 7, order[i]), i);
    assert_int_equal(top_tokens(logits, 0, 3, out), 0);
}

static void probabilities_add_up(void **state)
{
    /* Large ones, which exp() alone could not take. */
    static const float logits[] = {1000, 1001, 999, -1000};
    struct top_entry out[4];
    double sum = 0;
    (void)state;
    top_tokens(logits, 4, 4, out);
    for (int i = 0; i < 4; i++)
        sum += out[i].probability;
    assert_true(fabs(sum - 1) < 1e-12);
    assert_true(fabs(out[0].probability / out[1].probability - exp(1)) < 1e-9);
    assert_true(fabs(top_log_sum(logits, 4) - (1001 + log(1 + exp(-1) + exp(-2)))) < 1e-9);
}

static void as_sorting_all_of_them(void **state)
{
    enum { N = 500 };
    float logits[N];
    struct top_entry some[37], all[N];
    (void)state;
    srand(7);
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < N; i++)
            logits[i] = (float)(rand() % 100);
        assert_int_equal(top_tokens(logits, N, N, all), N);
        assert_int_equal(top_tokens(logits, N, 37, some), 37);
        for (int i = 0; i < N; i++) {
            assert_true(i == 0 || all[i - 1].logit > all[i].logit ||
                        (all[i - 1].logit == all[i].logit && all[i - 1].id < all[i].id));
            assert_true(i >= 37 || some[i].id == all[i].id);
        }
    }
}

/* All that is told of a row, by what tells each thing. */
static void a_row_at_once(void **state)
{
    enum { N = 700 };
    static const float odd[] = {NAN, INFINITY, -INFINITY, -0.0f, 0.0f};
    float logits[N];
    (void)state;
    srand(11);
    for (int round = 0; round < 200; round++) {
        int n = 1 + rand() % N, kinds = 1 + round % 6;
        for (int i = 0; i < n; i++)
            logits[i] = rand() % 9 < kinds - 1 ? odd[i % kinds % 5] : (float)(rand() % 30 - 15);
        int32_t target = round % 7 == 0 ? -1 : rand() % n;
        struct top_ask ask = {.n_best = 3, .probabilities = true, .targets = &target};
        struct top_entry want[3], got[3];
        struct top_row row;
        char a[80], b[80];
        top_of_row(logits, n, &ask, 0, &row, got);
        assert_int_equal(row.n_best, top_tokens(logits, n, 3, want));
        assert_int_equal(top_first(logits, n), want[0].id);
        for (int i = 0; i < row.n_best; i++)
            assert_memory_equal(&got[i], &want[i], sizeof *got);
        double log_sum = top_log_sum(logits, n);
        assert_memory_equal(&row.log_sum, &log_sum, sizeof log_sum);
        const char *x = top_trouble(logits, n, a), *y = top_row_trouble(&row, n, b);
        assert_string_equal(x ? x : "", y ? y : "");
        assert_int_equal(row.target.id, target);
        if (target < 0)
            continue;
        double p = exp((double)logits[target] - log_sum);
        assert_int_equal(row.rank, top_rank(logits, n, target));
        assert_memory_equal(&row.target.logit, &logits[target], sizeof(float));
        assert_true(row.target.probability == p || (isnan(p) && isnan(row.target.probability)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(best_first),
        cmocka_unit_test(probabilities_add_up),
        cmocka_unit_test(as_sorting_all_of_them),
        cmocka_unit_test(a_row_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
