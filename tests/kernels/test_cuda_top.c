/* test_cuda_top.c - the best of a row, found by the GPU, beside what the host finds. */
#include "engine/analysis/top.h"
#include "tests/kernels/gpu.h"
#include "tests/support/limits.h"

#define SUM_OFF 0x1p-21 /* of a sum, as kernels.h says */

/* ---- rows ------------------------------------------------------------------------------------ */

enum shape { RANDOM, TIES, EQUAL, ODD, NO_NUMBERS, MASKED, ZEROS, FALLING, RISING, WIDE, SHAPES };

static void fill_row(enum shape shape, float *x, int d)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < d; i++) {
        uint32_t r = random_bits();
        x[i] = random_float() * 20;
        if (shape == TIES)
            x[i] = (float)(r % 40);
        else if (shape == EQUAL)
            x[i] = 3;
        else if (shape == ODD && r % 50 == 0)
            x[i] = odd[r / 50 % 3];
        else if (shape == NO_NUMBERS)
            x[i] = r % 2 ? NAN : of_bits(0xffc00001u); /* of either sign */
        else if (shape == MASKED && r % 3 > 0)
            x[i] = -INFINITY;
        else if (shape == ZEROS)
            x[i] = r % 3 == 0 ? 0.0f : r % 3 == 1 ? -0.0f : -1.0f;
        else if (shape == FALLING || shape == RISING)
            x[i] = (float)(shape == RISING ? i : -i);
        else if (shape == WIDE)
            x[i] *= r % 7 == 0 ? 1.6e37f : 1;
    }
}

/* Seven hundred of a thousand logits below all others, as padding of a vocabulary is. */
static void pad(float *x, int d)
{
    for (int i = d * 3 / 10; i < d; i++)
        x[i] = -INFINITY;
}

/* ---- finding --------------------------------------------------------------------------------- */

struct found {
    struct best_row *rows;
    struct best_entry *best;
};

static struct found find(const float *far, int n, int d, const int32_t *targets, int k)
{
    size_t row_bytes = (size_t)n * sizeof(struct best_row);
    size_t best_bytes = (size_t)n * (size_t)k * sizeof(struct best_entry);
    struct workspace work = {.bytes = gpu->best_workspace(gpu, n, d, k)};
    work.data = put_blank(work.bytes / sizeof(float));
    float *rows = put_blank(row_bytes / sizeof(float));
    float *best = put_blank(best_bytes / sizeof(float) + 1);
    gpu->best(gpu, far, n, d, targets, k, (void *)rows, (void *)best, work);
    struct found f = {(void *)get_floats(rows, row_bytes / sizeof(float)),
                      (void *)get_floats(best, best_bytes / sizeof(float))};
    gpu->free(gpu, work.data);
    return f;
}

static void found_free(struct found f)
{
    free(f.rows);
    free(f.best);
}

static void compare_sum(const float *x, int d, const struct best_row *got)
{
    double sum = 0;
    if (!isfinite(got->most))
        return;
    for (int i = 0; i < d; i++)
        sum += isnan(x[i]) ? 0 : exp((double)x[i] - (double)got->most);
    if (!(fabs(got->sum - sum) <= SUM_OFF * sum))
        fail_msg("a row of %d: the sum is %.12g, not %.12g", d, got->sum, sum);
}

static void compare_row(const float *x, int d, int32_t target, int k, const struct best_row *got,
                        const struct best_entry *best)
{
    struct top_ask ask = {.n_best = k, .targets = &target};
    struct top_entry want[BEST_MOST];
    struct top_row row;
    float most = -INFINITY;
    top_of_row(x, d, &ask, 0, &row, want);
    for (int i = 0; i < d; i++)
        most = x[i] > most ? x[i] : most;
    assert_int_equal(got->n_nan, row.n_nan);
    assert_int_equal(got->n_above, row.n_above);
    assert_int_equal(got->n_below, row.n_below);
    assert_true(got->most == most);
    compare_sum(x, d, got);
    for (int i = 0; i < k; i++) {
        int32_t id = i < row.n_best ? want[i].id : -1;
        if (best[i].at != id || (id >= 0 && bits_of(best[i].value) != bits_of(x[id])))
            fail_msg("a row of %d, %d best: number %d is %d (%g), not %d (%g)", d, k, i,
                     (int)best[i].at, (double)best[i].value, (int)id, id < 0 ? 0.0 : (double)x[id]);
    }
    if (target < 0)
        return;
    assert_int_equal(got->ahead, row.rank);
    assert_int_equal(bits_of(got->target), bits_of(x[target]));
}

static const int counts[] = {0, 1, 2, 10, 33, BEST_MOST};
#define N_COUNTS (sizeof counts / sizeof *counts)

static void compare_rows(const float *x, int n, int d)
{
    float *far = put_floats(x, (size_t)n * (size_t)d);
    int32_t *targets = malloc((size_t)n * sizeof *targets);
    assert_non_null(targets);
    for (size_t c = 0; c < N_COUNTS; c++) {
        int k = counts[c];
        for (int r = 0; r < n; r++)
            targets[r] = random_bits() % 4 == 0 ? -1 : (int32_t)(random_bits() % (uint32_t)d);
        struct found f = find(far, n, d, targets, k);
        for (int r = 0; r < n; r++)
            compare_row(x + (size_t)r * (size_t)d, d, targets[r], k, &f.rows[r],
                        f.best + (size_t)r * (size_t)k);
        found_free(f);
    }
    gpu->free(gpu, far);
    free(targets);
}

static void as_the_host(void **state)
{
    static const int sizes[][2] = {{1, 1},     {4, 7},     {5, 52},    {3, 4096},  {2, 4097},
                                   {1, 12288}, {3, 32064}, {2, 50257}, {1, 262208}};
    NEEDS_GPU();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int shape = 0; shape < SHAPES; shape++) {
            int n = sizes[i][0], d = sizes[i][1];
            float *x = random_floats((size_t)n * (size_t)d);
            for (int r = 0; r < n; r++)
                fill_row((enum shape)shape, x + (size_t)r * (size_t)d, d);
            if (shape == RANDOM)
                pad(x, d);
            compare_rows(x, n, d);
            free(x);
        }
}

/* Lists of lists: more of them than one block puts together. */
static void rows_of_a_million(void **state)
{
    enum { D = 1 << 20 };
    NEEDS_GPU();
    float *x = random_floats(D);
    compare_rows(x, 1, D);
    free(x);
}

/* More rows than one launch takes, and the same bits as of each by itself, wherever it lies. */
static void whatever_beside(void **state)
{
    enum { N = 700, D = 4999, K = 20, ALONE = 37 };
    NEEDS_GPU();
    float *x = random_floats((size_t)N * D);
    int32_t targets[N];
    for (int r = 0; r < N; r++) {
        fill_row((enum shape)(r % SHAPES), x + (size_t)r * D, D);
        targets[r] = r % D;
    }
    float *far = put_floats(x, (size_t)N * D);
    struct found all = find(far, N, D, targets, K);
    for (int r = 0; r < N; r += ALONE) {
        float *row = put_floats(x + (size_t)r * D, D);
        struct found one = find(row, 1, D, &targets[r], K);
        compare_row(x + (size_t)r * D, D, targets[r], K, one.rows, one.best);
        assert_memory_equal(one.rows, &all.rows[r], sizeof *one.rows);
        assert_memory_equal(one.best, all.best + (size_t)r * K, K * sizeof *one.best);
        gpu->free(gpu, row);
        found_free(one);
    }
    found_free(all);
    gpu->free(gpu, far);
    free(x);
}

/* Some tens of microseconds are far too many: about ten are right. */
static void in_no_time(void **state)
{
    static const int widths[] = {32064, 151936, 262208}, of[] = {1, 10, BEST_MOST};
    enum { TIMES = 200 };
    char why[256];
    NEEDS_GPU();
    for (int i = 0; i < 9; i++) {
        int d = widths[i / 3], k = of[i % 3];
        float *x = random_floats((size_t)d), *far = put_floats(x, (size_t)d);
        struct workspace work = {.bytes = gpu->best_workspace(gpu, 1, d, k)};
        work.data = put_blank(work.bytes / sizeof(float));
        float *row = put_blank(sizeof(struct best_row) / sizeof(float));
        float *best = put_blank((size_t)k * 2);
        double start = 0;
        for (int t = -1; t < TIMES; t++) { /* the first loads the kernels */
            gpu->best(gpu, far, 1, d, NULL, k, (void *)row, (void *)best, work);
            if (t < 0) {
                assert_true(gpu->sync(gpu, why));
                start = limit_seconds();
            }
        }
        assert_true(gpu->sync(gpu, why));
        double took = (limit_seconds() - start) / TIMES * 1e6;
        printf("  %2d best of %6d: %.1f us\n", k, d, took);
        assert_true(took < 60);
        gpu->free(gpu, far), gpu->free(gpu, work.data), gpu->free(gpu, row), gpu->free(gpu, best);
        free(x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_host),
        cmocka_unit_test(rows_of_a_million),
        cmocka_unit_test(whatever_beside),
        cmocka_unit_test(in_no_time),
    };
    return cmocka_run_group_tests_name("CUDA: the best of rows", tests, open_f32, close_both);
}
