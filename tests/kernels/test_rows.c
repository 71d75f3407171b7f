/* test_rows.c - ops on rows and arrays: every instruction set against the plain reference. */
#include "tests/kernels/compare.h"

static const int widths[] = {1, 3, 15, 16, 17, 64, 100, 1000, 1024, 1025, 2200, 4096 + 7};
#define N_WIDTHS (sizeof widths / sizeof *widths)

/* Every op that maps [n, D] to [n, D], by number, so that one loop compares them all. */
enum row_op {
    OP_ADD,
    OP_CENTER,
    OP_DIVIDE,
    OP_GAIN,
    OP_GAIN_ONLY,
    OP_BIAS_ONLY,
    OP_COPY,
    OP_PROBABILITIES,
    OP_SILU,
    OP_GELU,
    OP_GELU_TANH,
    OP_RELU,
    OP_GATE,
    OP_GATE_GELU,
    OP_GATE_TANH,
    OP_GATE_RELU,
    N_OPS
};

static void row_op(struct backend *b, enum row_op op, const float *x, const float *y, float *out,
                   int n, int d)
{
    size_t count = (size_t)n * (size_t)d;
    switch (op) {
    case OP_ADD:
        b->add(b, x, y, out, count);
        break;
    case OP_CENTER:
        b->center(b, x, out, n, d);
        break;
    case OP_DIVIDE:
        b->divide(b, x, y, out, n, d);
        break;
    case OP_GAIN:
        b->gain(b, x, y, y + d, out, n, d);
        break;
    case OP_GAIN_ONLY:
        b->gain(b, x, y, NULL, out, n, d);
        break;
    case OP_BIAS_ONLY:
        b->gain(b, x, NULL, y, out, n, d);
        break;
    case OP_COPY:
        b->gain(b, x, NULL, NULL, out, n, d);
        break;
    case OP_PROBABILITIES:
        b->probabilities(b, x, out, n, d);
        break;
    case OP_SILU:
    case OP_GELU:
    case OP_GELU_TANH:
    case OP_RELU:
        b->activate(b, (enum activation)(ACT_SILU + (op - OP_SILU)), x, out, count);
        break;
    default:
        b->gate(b, (enum activation)(ACT_SILU + (op - OP_GATE)), x, y, out, count);
        break;
    }
}

static void compare_ops(float *x, const float *y, int n, int d)
{
    size_t count = (size_t)n * (size_t)d;
    for (int op = 0; op < N_OPS; op++) {
        float *want = blank_floats(count + 1), *got = blank_floats(count + 1);
        char what[64];
        row_op(backends[0], (enum row_op)op, x, y, want, n, d);
        for (int i = 1; i < n_backends; i++) {
            memset(got, 0xab, (count + 1) * sizeof *got);
            row_op(backends[i], (enum row_op)op, x, y, got, n, d);
            snprintf(what, sizeof what, "row op %d, %d x %d", op, n, d);
            expect_same(what, backends[i], want, got, count + 1);
        }
        free(want);
        free(got);
    }
    float *want = blank_floats((size_t)n), *got = blank_floats((size_t)n);
    backends[0]->rms(backends[0], x, 1e-5f, want, n, d);
    for (int i = 1; i < n_backends; i++) {
        backends[i]->rms(backends[i], x, 1e-5f, got, n, d);
        expect_same("rms", backends[i], want, got, (size_t)n);
    }
    free(want);
    free(got);
}

static void rows_have_the_same_bits(void **state)
{
    static const int rows[] = {1, 2, 7, 64};
    (void)state;
    for (size_t w = 0; w < N_WIDTHS; w++) {
        for (size_t r = 0; r < 4; r++) {
            int n = rows[r], d = widths[w];
            size_t count = (size_t)n * (size_t)d + (size_t)d * 2;
            float *x = random_floats(count + 1), *y = random_floats(count + 1);
            for (size_t i = 0; i < count; i++)
                x[i] *= 12;
            compare_ops(x + 1, y + 1, n, d);
            free(x);
            free(y);
        }
    }
}

static void special_values_have_the_same_bits(void **state)
{
    (void)state;
    enum { D = 150 };
    const float odd[] = {INFINITY, -INFINITY, NAN,     0.0f,   -0.0f,  1e-45f,
                         -1e-45f,  3e38f,     -3e38f,  1e-38f, 88.7f,  88.8f,
                         -87.4f,   -103.9f,   -104.1f, 1e-20f, -1e-20f};
    for (size_t k = 0; k < sizeof odd / sizeof *odd + 3; k++) {
        float *x = random_floats(D * 4), *y = random_floats(D * 4);
        for (int i = 0; i < D; i++) {
            if (k < sizeof odd / sizeof *odd) {
                if (i == 37 || i == 149)
                    x[i] = odd[k];
            } else if (k == sizeof odd / sizeof *odd) {
                x[i] = -0.0f;
            } else if (k == sizeof odd / sizeof *odd + 1) {
                x[i] = -INFINITY;
            } else {
                x[i] = of_bits(random_bits());
            }
        }
        compare_ops(x, y, 1, D);
        free(x);
        free(y);
    }
}

/* The reference against the definition, in double. */
static void reference_is_right(void **state)
{
    enum { N = 3, D = 1500 };
    struct backend *b = backends[0];
    float *x = random_floats(N * D), *out = blank_floats(N * D), scale[N];
    (void)state;
    b->center(b, x, out, N, D);
    b->rms(b, x, 1e-3f, scale, N, D);
    for (int row = 0; row < N; row++) {
        double sum = 0, squares = 0, e = 0;
        for (int i = 0; i < D; i++) {
            double v = (double)x[row * D + i];
            sum += v;
            squares += v * v;
            e += exp(v);
        }
        for (int i = 0; i < D; i++)
            assert_true(fabs((double)out[row * D + i] - ((double)x[row * D + i] - sum / D)) < 2e-7);
        assert_true(fabs((double)scale[row] - sqrt(squares / D + 1e-3)) < 1e-6);
        float p[D];
        b->probabilities(b, x + row * D, p, 1, D);
        for (int i = 0; i < D; i++)
            assert_true(fabs((double)p[i] / (exp((double)x[row * D + i]) / e) - 1) < 1e-6);
    }
    free(x);
    free(out);
}

static void in_place_is_allowed_where_it_is_said(void **state)
{
    enum { D = 333 };
    (void)state;
    for (int i = 0; i < n_backends; i++) {
        struct backend *b = backends[i];
        float *x = random_floats(D), *y = random_floats(D), want[D];
        b->add(b, x, y, want, D);
        float copy[D];
        memcpy(copy, x, sizeof copy);
        b->add(b, copy, y, copy, D);
        expect_same("add onto x", b, want, copy, D);
        memcpy(copy, y, sizeof copy);
        b->add(b, x, copy, copy, D);
        expect_same("add onto y", b, want, copy, D);
        b->probabilities(b, x, want, 1, D);
        b->probabilities(b, x, x, 1, D);
        expect_same("probabilities in place", b, want, x, D);
        free(x);
        free(y);
    }
}

static void a_row_without_a_finite_score_is_nan(void **state)
{
    (void)state;
    for (int i = 0; i < n_backends; i++) {
        float x[40], p[40];
        for (int k = 0; k < 40; k++)
            x[k] = -INFINITY;
        backends[i]->probabilities(backends[i], x, p, 1, 40);
        for (int k = 0; k < 40; k++)
            assert_true(isnan(p[k]));
        x[33] = 5;
        backends[i]->probabilities(backends[i], x, p, 1, 40);
        for (int k = 0; k < 40; k++)
            assert_true(p[k] == (k == 33 ? 1.0f : 0.0f));
    }
}

static void embed_widens_exactly(void **state)
{
    (void)state;
    for (int t = 0; t < DTYPE_N; t++) {
        for (int d = 1; d < 70; d += 11) {
            enum { V = 9, IDS = 5 };
            const int32_t ids[IDS] = {8, 0, 3, 3, 1};
            unsigned char *data = malloc((size_t)(V * d) * 4 + 1);
            assert_non_null(data);
            for (int i = 0; i < V * d * 4 + 1; i++)
                data[i] = (unsigned char)random_bits();
            struct matrix table = {.data = data + 1,
                                   .dtype = (enum dtype)t,
                                   .n_out = V,
                                   .n_in = d,
                                   .out_stride = d,
                                   .in_stride = 1};
            float *out = blank_floats((size_t)(IDS * d));
            for (int i = 0; i < n_backends; i++) {
                backends[i]->embed(backends[i], &table, ids, IDS, 2.5f, out);
                for (int k = 0; k < IDS * d; k++) {
                    size_t place = (size_t)(ids[k / d] * d + k % d);
                    float x = dtype_load(table.dtype, data + 1 + place * dtype_size(table.dtype));
                    assert_true(same_bits(2.5f * x, out[k]));
                }
            }
            free(out);
            free(data);
        }
    }
}

static void half_precision_is_widened_exactly(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        uint16_t bits = (uint16_t)h;
        int exponent = (int)(h >> 10 & 31), fraction = (int)(h & 1023);
        double want = exponent == 0    ? ldexp(fraction, -24)
                      : exponent == 31 ? (fraction ? (double)NAN : (double)INFINITY)
                                       : ldexp(1024 + fraction, exponent - 25);
        want = h & 0x8000 ? -want : want;
        assert_true(same_bits((float)want, dtype_load(DTYPE_F16, &bits)));
        assert_true(same_bits(of_bits(h << 16), dtype_load(DTYPE_BF16, &bits)));
    }
    assert_int_equal(dtype_size(DTYPE_F32), 4);
    assert_int_equal(dtype_size(DTYPE_BF16), 2);
    assert_string_equal(dtype_name(DTYPE_F16), "f16");
}

/* cos and sin from double, correct to the last unit, at positions into the millions. */
static void angles_are_right(void **state)
{
    enum { R = 64, N = 3 };
    static const int at[] = {0, 1, 1000, 131070, 1 << 20, 16777210};
    float inv_freq[R / 2], out[N * R], again[N * R];
    (void)state;
    for (int i = 0; i < R / 2; i++)
        inv_freq[i] = (float)pow(10000, -2.0 * i / R);
    for (size_t p = 0; p < sizeof at / sizeof *at; p++) {
        backends[0]->angles(backends[0], inv_freq, R, 1, at[p], N, out);
        for (int i = 0; i < N * R / 2; i++) {
            int row = i / (R / 2), k = i % (R / 2);
            double angle = (double)((float)(at[p] + row) * inv_freq[k]);
            float c = (float)cos(angle), s = (float)sin(angle);
            assert_true(fabsf(out[row * R + k] - c) <= fabsf(c) * 0x1p-23f);
            assert_true(fabsf(out[row * R + R / 2 + k] - s) <= fabsf(s) * 0x1p-23f);
        }
        for (int i = 1; i < n_backends; i++) {
            backends[i]->angles(backends[i], inv_freq, R, 1, at[p], N, again);
            expect_same("angles", backends[i], out, again, N * R);
        }
    }
}

static void rope_turns_pairs(void **state)
{
    enum { N = 5, HEADS = 3 };
    static const int shapes[][2] = {{64, 64}, {64, 32}, {20, 6}, {5, 2}, {128, 128}}; /* h, r */
    (void)state;
    for (size_t k = 0; k < 5; k++) {
        for (int style = 0; style < 2; style++) {
            int h = shapes[k][0], r = shapes[k][1];
            size_t count = (size_t)(N * HEADS * h);
            float *x = random_floats(count), *angles = random_floats((size_t)(N * r));
            float *want = blank_floats(count), *got = blank_floats(count);
            for (size_t i = 0; i < count; i++) {
                size_t row = i / (size_t)(HEADS * h), e = i % (size_t)h, half = (size_t)r / 2;
                const float *c = angles + row * (size_t)r, *s = c + half;
                bool first = style ? e % 2 == 0 : e < half;
                size_t pair = style ? e / 2 : first ? e : e - half;
                size_t step = style ? 1 : half;
                if (e >= (size_t)r)
                    want[i] = x[i];
                else if (first)
                    want[i] = fmaf(x[i], c[pair], -(x[i + step] * s[pair]));
                else
                    want[i] = fmaf(x[i], c[pair], x[i - step] * s[pair]);
            }
            for (int i = 0; i < n_backends; i++) {
                backends[i]->rope(backends[i], x, angles, r, style ? ROPE_PAIRS : ROPE_HALVES, got,
                                  N, HEADS, h);
                expect_same("rope", backends[i], want, got, count);
            }
            free(x);
            free(angles);
            free(want);
            free(got);
        }
    }
}

/* Rows come back from pages as they went there, or rounded, and no byte beside them changes. */
static void rows_are_kept(void **state)
{
    enum { D = 21, PAGES = 3, N = PAGES * KV_PAGE, OFFSET = 64 };
    static const struct {
        enum dtype kept;
        size_t bytes;
    } ways[] = {{DTYPE_F32, 4}, {DTYPE_BF16, 2}};
    (void)state;
    for (int i = 0; i < 2 * n_backends; i++) {
        struct backend *b = backends[i / 2];
        enum dtype kept = ways[i % 2].kept;
        size_t part = KV_PAGE * D * ways[i % 2].bytes, page = OFFSET + part + 64;
        float *x = random_floats((size_t)N * D), *back = blank_floats((size_t)N * D);
        x[3] = NAN, x[4] = INFINITY, x[5] = 0x1.01p0f, x[6] = 0x1.03p0f, x[7] = -0x1p-149f;
        char *blank = malloc(page);
        void *pages[PAGES];
        memset(blank, 0x5a, page);
        for (int k = 0; k < PAGES; k++) {
            pages[k] = malloc(page);
            memcpy(pages[k], blank, page);
        }
        b->rows_save(b, pages, OFFSET, kept, D, 0, 5, x);
        b->rows_save(b, pages, OFFSET, kept, D, 5, N - 5, x + (size_t)5 * D);
        b->rows_load(b, pages, OFFSET, kept, D, 0, 30, back);
        b->rows_load(b, pages, OFFSET, kept, D, 30, N - 30, back + (size_t)30 * D);
        for (size_t k = 0; kept == DTYPE_BF16 && k < (size_t)N * D; k++)
            x[k] = as_bf16(x[k]);
        expect_same("rows kept", b, x, back, (size_t)N * D);
        for (int k = 0; k < PAGES; k++) {
            assert_memory_equal(pages[k], blank, OFFSET);
            assert_memory_equal((char *)pages[k] + OFFSET + part, blank, 64);
            free(pages[k]);
        }
        free(x), free(back), free(blank);
    }
}

static void opening_says_why_not(void **state)
{
    char why[256];
    struct backend_options options = {.n_threads = 1, .isa = "sse9"};
    (void)state;
    assert_null(backend_open("cpu", &options, why));
    assert_non_null(strstr(why, "sse9"));
    assert_null(backend_open("tpu", NULL, why));
    assert_non_null(strstr(why, "tpu"));
    struct backend *cuda = backend_open("cuda", NULL, why);
    assert_true(cuda || why[0]);
    backend_close(cuda);
    backend_close(NULL);
    struct backend *b = backend_open("cpu", NULL, why);
    assert_non_null(b);
    assert_true(b->n_threads >= 1 && b->version == KERNELS_VERSION);
    void *p = b->alloc(b, 100);
    assert_int_equal((uintptr_t)p % 64, 0);
    b->write(b, p, "midpass", 8);
    char back[8];
    b->read(b, back, p, 8);
    assert_string_equal(back, "midpass");
    assert_true(b->sync(b, why));
    b->free(b, p);
    backend_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_is_right),
        cmocka_unit_test(rows_have_the_same_bits),
        cmocka_unit_test(special_values_have_the_same_bits),
        cmocka_unit_test(in_place_is_allowed_where_it_is_said),
        cmocka_unit_test(a_row_without_a_finite_score_is_nan),
        cmocka_unit_test(embed_widens_exactly),
        cmocka_unit_test(half_precision_is_widened_exactly),
        cmocka_unit_test(angles_are_right),
        cmocka_unit_test(rope_turns_pairs),
        cmocka_unit_test(rows_are_kept),
        cmocka_unit_test(opening_says_why_not),
    };
    return cmocka_run_group_tests(tests, backends_setup, backends_teardown);
}
