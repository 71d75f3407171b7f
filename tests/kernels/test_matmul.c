/* test_matmul.c - products: every layout, dtype, shape and thread count against the plain
 * reference, bit for bit, and the reference against double. */
#include "tests/kernels/compare.h"

/* A matrix whose data begin at an odd address. */
struct weights {
    unsigned char *memory;
    struct matrix w;
};

static void store(struct weights *m, size_t i, float x)
{
    unsigned char *p = m->memory + 1 + i * dtype_size(m->w.dtype);
    uint32_t bits = bits_of(x);
    if (m->w.dtype == DTYPE_F32) {
        memcpy(p, &x, sizeof x);
        return;
    }
    uint16_t half = (uint16_t)(bits >> 16); /* bf16: cut off */
    if (m->w.dtype == DTYPE_F16)            /* f16: any number of moderate size will do */
        half = (uint16_t)((bits >> 16 & 0x8000) | (bits & 0x3ff) | (10 + bits % 5) << 10);
    memcpy(p, &half, sizeof half);
}

/* group > 0: groups of so many outputs, with a gap of other data after each. */
static struct weights weights_open(enum dtype t, bool conv, int n_out, int n_in, int group)
{
    struct weights m = {0};
    int width = group ? group : n_out, groups = (n_out + width - 1) / width;
    int gap = group ? 5 : 0;
    m.w = (struct matrix){.dtype = t, .n_out = n_out, .n_in = n_in, .group = group};
    size_t count;
    if (conv) { /* [K, groups, width + gap] */
        m.w.out_stride = 1;
        m.w.in_stride = (ptrdiff_t)groups * (width + gap);
        m.w.group_stride = width + gap;
        count = (size_t)n_in * (size_t)m.w.in_stride;
    } else { /* [groups, width + gap, K] */
        m.w.in_stride = 1;
        m.w.out_stride = n_in;
        m.w.group_stride = (ptrdiff_t)(width + gap) * n_in;
        count = (size_t)groups * (size_t)m.w.group_stride + (group ? 0 : (size_t)n_out * 0);
    }
    if (conv && m.w.in_stride == 1)
        m.w.out_stride = n_in; /* one output: the layouts are the same, and it is a dot */
    m.memory = malloc(count * dtype_size(t) + 1);
    assert_non_null(m.memory);
    m.w.data = m.memory + 1;
    for (size_t i = 0; i < count; i++)
        store(&m, i, random_float());
    return m;
}

static void multiply(struct backend *b, const float *x, size_t x_stride, const struct matrix *w,
                     const float *bias, float *out, size_t out_stride, int n)
{
    struct workspace work = work_open(b, n, 1);
    b->matmul(b, x, x_stride, w, bias, out, out_stride, n, work);
    b->free(b, work.data);
}

static void compare(enum dtype t, bool conv, int n, int n_out, int n_in, int group, bool biased)
{
    struct weights m = weights_open(t, conv, n_out, n_in, group);
    size_t x_stride = (size_t)n_in + 3, out_stride = (size_t)n_out + 2;
    size_t outs = (size_t)n * out_stride;
    float *x = random_floats((size_t)n * x_stride), *bias = random_floats((size_t)n_out);
    float *want = blank_floats(outs), *got = blank_floats(outs);
    char what[128];
    snprintf(what, sizeof what, "%s %s n %d N %d K %d group %d bias %d", conv ? "mix" : "dot",
             dtype_name(t), n, n_out, n_in, group, biased);
    multiply(backends[0], x, x_stride, &m.w, biased ? bias : NULL, want, out_stride, n);
    for (int i = 1; i < n_backends; i++) {
        memset(got, 0xab, outs * sizeof *got);
        multiply(backends[i], x, x_stride, &m.w, biased ? bias : NULL, got, out_stride, n);
        expect_same(what, backends[i], want, got, outs);
    }
    free(m.memory);
    free(x);
    free(bias);
    free(want);
    free(got);
}

static void every_shape_has_the_same_bits(void **state)
{
    static const int rows[] = {1, 2, 7, 64, 130};
    static const int shapes[][3] = {/* N, K, group */
                                    {1, 1, 0},    {3, 17, 0},    {17, 3, 0},
                                    {48, 130, 0}, {100, 33, 0},  {65, 257, 13},
                                    {40, 64, 8},  {130, 20, 64}, {5, 2054, 0}};
    (void)state;
    for (int t = 0; t < DTYPE_N; t++)
        for (int conv = 0; conv < 2; conv++)
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
                for (size_t r = 0; r < 5; r++)
                    compare((enum dtype)t, conv, rows[r], shapes[s][0], shapes[s][1], shapes[s][2],
                            (s + r) % 2);
}

static void small_numbers_of_rows_have_the_same_bits(void **state)
{
    (void)state;
    for (int n = 1; n <= 20; n++)
        for (int conv = 0; conv < 2; conv++)
            compare(DTYPE_BF16, conv, n, 53, 300, 0, true);
}

static void long_rows_have_the_same_bits(void **state)
{
    (void)state;
    for (int conv = 0; conv < 2; conv++) {
        compare(DTYPE_F32, conv, 1, 1000, 1000, 0, true);
        compare(DTYPE_BF16, conv, 1, 300, 3001, 0, false);
        compare(DTYPE_F16, conv, 1, 2100, 130, 0, true);
        compare(DTYPE_BF16, conv, 9, 70, 3001, 0, true);
        compare(DTYPE_F32, conv, 40, 250, 4200, 0, true);
        compare(DTYPE_F16, conv, 17, 211, 2177, 100, true);
        compare(DTYPE_F32, conv, 600, 50, 150, 0, true);
    }
    /* Blocks of rows that are full, but for whole tiles. */
    for (int conv = 0; conv < 2; conv++)
        compare(DTYPE_F32, conv, 1023, 5, 33, 0, true);
    /* Conv1D's runs that do not divide among five threads: each is cut. */
    compare(DTYPE_F32, true, 1, 530, 700, 0, true);
    compare(DTYPE_BF16, true, 3, 530, 700, 100, false);
}

/* Products too small for a float32 are -0, and so is their sum, if nothing but them is added:
 * +0 would show that padding was. */
static void zeros_keep_their_sign(void **state)
{
    enum { N = 5, MOST = 12 };
    static const int inputs[] = {3, 16, 20, 130, 2054};
    (void)state;
    for (size_t c = 0; c < sizeof inputs / sizeof *inputs; c++) {
        int k = inputs[c];
        float *w = random_floats((size_t)(N * k)), *x = random_floats((size_t)(MOST * k));
        float bias[N], out[MOST * N];
        for (int i = 0; i < N * k; i++)
            w[i] = -1e-30f;
        for (int i = 0; i < MOST * k; i++)
            x[i] = 1e-30f;
        for (int i = 0; i < N; i++)
            bias[i] = -0.0f;
        for (int conv = 0; conv < 2; conv++) {
            struct matrix m = {w, DTYPE_F32, N, k, conv ? 1 : k, conv ? N : 1, 0, 0};
            for (int i = 0; i < n_backends; i++) {
                for (int n = 1; n <= MOST; n++) {
                    multiply(backends[i], x, (size_t)k, &m, bias, out, N, n);
                    /* by the dot rule lanes without an input stay +0 */
                    bool negative = conv || k >= DOT_LANES;
                    if (!conv && k % DOT_RUN != 0 && k > DOT_RUN && k % DOT_RUN < DOT_LANES)
                        negative = false;
                    for (int o = 0; o < n * N; o++)
                        assert_int_equal(bits_of(out[o]), negative ? 0x80000000u : 0);
                }
            }
        }
        free(w);
        free(x);
    }
}

/* One row among many has the bits that it has alone, whatever is beside it. */
static void a_row_does_not_know_its_neighbours(void **state)
{
    enum { N = 70, K = 1500, ROWS = 40 };
    (void)state;
    for (int conv = 0; conv < 2; conv++) {
        struct weights m = weights_open(DTYPE_BF16, conv, N, K, 0);
        float *x = random_floats(ROWS * K), *all = blank_floats(ROWS * N), one[N];
        for (int k = 0; k < K; k++)
            x[20 * K + k] = NAN;
        for (int i = 0; i < n_backends; i++) {
            multiply(backends[i], x, K, &m.w, NULL, all, N, ROWS);
            for (int row = 0; row < ROWS; row++) {
                multiply(backends[i], x + row * K, K, &m.w, NULL, one, N, 1);
                expect_same("a row alone", backends[i], all + row * N, one, N);
                assert_true(isnan(one[0]) == (row == 20));
            }
        }
        free(m.memory);
        free(x);
        free(all);
    }
}

/* The error of a sum of K products in float32, chains of at most 2048 / 16 or 128 long. */
static void reference_is_close_to_double(void **state)
{
    enum { N = 20, K = 3000, ROWS = 4 };
    (void)state;
    for (int t = 0; t < DTYPE_N; t++) {
        for (int conv = 0; conv < 2; conv++) {
            struct weights m = weights_open((enum dtype)t, conv, N, K, 8);
            float *x = random_floats(ROWS * K), *bias = random_floats(N), out[ROWS * N];
            multiply(backends[0], x, K, &m.w, bias, out, N, ROWS);
            for (int i = 0; i < ROWS * N; i++) {
                int row = i / N, o = i % N;
                double sum = (double)bias[o], size = fabs(sum);
                for (int k = 0; k < K; k++) {
                    ptrdiff_t at =
                        o / 8 * m.w.group_stride + o % 8 * m.w.out_stride + k * m.w.in_stride;
                    double w = (double)dtype_load(
                        m.w.dtype, (const char *)m.w.data + (size_t)at * dtype_size(m.w.dtype));
                    sum += w * (double)x[row * K + k];
                    size += fabs(w * (double)x[row * K + k]);
                }
                assert_true(fabs((double)out[i] - sum) <= size * 4e-7);
            }
            free(m.memory);
            free(x);
            free(bias);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_is_close_to_double),
        cmocka_unit_test(every_shape_has_the_same_bits),
        cmocka_unit_test(small_numbers_of_rows_have_the_same_bits),
        cmocka_unit_test(long_rows_have_the_same_bits),
        cmocka_unit_test(zeros_keep_their_sign),
        cmocka_unit_test(a_row_does_not_know_its_neighbours),
    };
    return cmocka_run_group_tests(tests, backends_setup, backends_teardown);
}
