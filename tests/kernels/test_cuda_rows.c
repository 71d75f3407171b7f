/* test_cuda_rows.c - the CUDA backend's memory and its ops on rows, beside the reference. */
#include "tests/kernels/gpu.h"

static void memory_holds_what_was_written(void **state)
{
    NEEDS_GPU();
    size_t n = 300001, available, total, before;
    float *x = random_floats(n), *p = put_floats(x, n), *q = put_blank(n);
    gpu->memory(gpu, &before, &total);
    gpu->copy(gpu, q, p, n * sizeof *x);
    float *y = get_floats(q, n);
    expect_same("copy", gpu, x, y, n);
    /* Small reads and large ones come on different ways. */
    static const size_t some[] = {1, 10, 65536, 65537, 300001};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        size_t at = n - some[i];
        memset(y, 0xab, n * sizeof *y);
        gpu->read(gpu, y, p + at, some[i] * sizeof *y);
        expect_same("read", gpu, x + at, y, some[i]);
    }
    gpu->free(gpu, p);
    gpu->memory(gpu, &available, &total);
    assert_true(total > 0 && available <= total && before <= total);
    /* More than there is: refused, and the device goes on. */
    char why[256];
    assert_null(gpu->alloc(gpu, total * 2));
    assert_true(gpu->sync(gpu, why));
    free(x);
    free(y);
}

static const int sizes[][2] = {{1, 1}, {3, 7}, {1, 3072}, {5, 129}, {70, 64}, {2, 8193}, {600, 33}};
#define N_SIZES (sizeof sizes / sizeof *sizes)

/* The largest |x| of a row: what the rounding of a sum is measured against. */
static double row_size(const float *x, int d)
{
    double size = 0;
    for (int i = 0; i < d; i++)
        size = fmax(size, fabs((double)x[i]));
    return size;
}

static void norms(void **state)
{
    NEEDS_GPU();
    for (size_t k = 0; k < N_SIZES; k++) {
        int n = sizes[k][0], d = sizes[k][1];
        size_t count = (size_t)n * (size_t)d;
        float *x = random_floats(count), *gains = random_floats((size_t)d * 2);
        float *dx = put_floats(x, count), *dg = put_floats(gains, (size_t)d * 2);
        float *want = blank_floats(count), *out = put_blank(count);
        cpu->center(cpu, x, want, n, d);
        gpu->center(gpu, dx, out, n, d);
        float *got = get_floats(out, count);
        for (size_t i = 0; i < count; i++)
            expect_near("center", want, got, i,
                        TOLERANCE * row_size(x + i / (size_t)d * (size_t)d, d));
        free(got);
        float *scale = blank_floats((size_t)n), *dscale = put_blank((size_t)n);
        cpu->rms(cpu, x, 1e-5f, scale, n, d);
        gpu->rms(gpu, dx, 1e-5f, dscale, n, d);
        out = put_blank(count);
        cpu->divide(cpu, x, scale, want, n, d);
        gpu->divide(gpu, dx, dscale, out, n, d);
        got = get_floats(out, count);
        expect_all("divide", want, got, count, TOLERANCE);
        free(got);
        got = get_floats(dscale, (size_t)n);
        expect_all("rms", scale, got, (size_t)n, TOLERANCE);
        free(got);
        for (int form = 0; form < 4; form++) {
            bool has_gain = form & 1, has_bias = form & 2;
            out = put_blank(count);
            cpu->gain(cpu, x, has_gain ? gains : NULL, has_bias ? gains + d : NULL, want, n, d);
            gpu->gain(gpu, dx, has_gain ? dg : NULL, has_bias ? dg + d : NULL, out, n, d);
            got = get_floats(out, count);
            expect_same("gain", gpu, want, got, count);
            free(got);
        }
        gpu->free(gpu, dx);
        gpu->free(gpu, dg);
        free(x), free(gains), free(want), free(scale);
    }
}

static void elements(void **state)
{
    NEEDS_GPU();
    static const float special[] = {0.0f, -0.0f, 1e-30f, 88, -88, 104, -104, 1e30f, -1e30f};
    size_t count = 70007, n_special = sizeof special / sizeof *special;
    float *x = random_floats(count), *y = random_floats(count), *want = blank_floats(count);
    for (size_t i = 0; i < count; i++)
        x[i] *= 12;
    memcpy(x, special, sizeof special);
    float *dx = put_floats(x, count), *dy = put_floats(y, count), *out = put_blank(count);
    cpu->add(cpu, x, y, want, count);
    gpu->add(gpu, dx, dy, out, count);
    float *got = get_floats(out, count);
    expect_same("add", gpu, want, got, count);
    free(got);
    for (int f = 0; f < ACT_N; f++) {
        out = put_blank(count);
        cpu->activate(cpu, (enum activation)f, x, want, count);
        gpu->activate(gpu, (enum activation)f, dx, out, count);
        got = get_floats(out, count);
        /* 1 + erf and 1 + tanh cancel where x is well below 0: against x, then. */
        for (size_t i = 0; i < count; i++)
            expect_near("activate", want, got, i, TOLERANCE * fmin(fabs((double)x[i]), 20));
        free(got);
        out = put_blank(count);
        cpu->gate(cpu, (enum activation)f, x, y, want, count);
        gpu->gate(gpu, (enum activation)f, dx, dy, out, count);
        got = get_floats(out, count);
        for (size_t i = 0; i < count; i++)
            if (i >= n_special)
                expect_near("gate", want, got, i, TOLERANCE * fabs((double)x[i]));
        free(got);
    }
    gpu->free(gpu, dx);
    gpu->free(gpu, dy);
    free(x), free(y), free(want);
}

/* Elements of a type from random floats; returns bytes, to be freed. */
static void *stored(enum dtype t, size_t n)
{
    char *p = malloc(n * dtype_size(t));
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) {
        float x = random_float();
        uint16_t half = t == DTYPE_BF16 ? dtype_to_bf16(x) : (uint16_t)(random_bits() & 0xbbff);
        memcpy(p + i * dtype_size(t), t == DTYPE_F32 ? (void *)&x : (void *)&half, dtype_size(t));
    }
    return p;
}

static void embeddings(void **state)
{
    NEEDS_GPU();
    enum { V = 300, D = 77, N = 1030 };
    int32_t ids[N];
    for (int i = 0; i < N; i++)
        ids[i] = (int32_t)(random_bits() % V);
    for (int t = 0; t < DTYPE_N; t++) {
        void *data = stored((enum dtype)t, (size_t)V * D);
        struct matrix table = {data, (enum dtype)t, V, D, D, 1, 0, 0}, far = table;
        far.data = put(data, (size_t)V * D * dtype_size((enum dtype)t));
        float *want = blank_floats((size_t)N * D), *out = put_blank((size_t)N * D);
        cpu->embed(cpu, &table, ids, N, 1.7f, want);
        gpu->embed(gpu, &far, ids, N, 1.7f, out);
        float *got = get_floats(out, (size_t)N * D);
        expect_same("embed", gpu, want, got, (size_t)N * D);
        gpu->free(gpu, (void *)far.data);
        free(got), free(want), free(data);
    }
}

static void rotations(void **state)
{
    NEEDS_GPU();
    static const struct {
        int n, heads, h, r, pos0;
    } cases[] = {{1, 1, 2, 2, 0}, {5, 3, 16, 8, 9}, {40, 32, 96, 96, 131000}, {3, 2, 7, 6, 4090}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        int n = cases[k].n, heads = cases[k].heads, h = cases[k].h, r = cases[k].r;
        size_t count = (size_t)n * (size_t)heads * (size_t)h, turns = (size_t)n * (size_t)r;
        float inv_freq[128], *x = random_floats(count), *angles = blank_floats(turns);
        for (int i = 0; i < r / 2; i++)
            inv_freq[i] = (float)pow(10000, -2.0 * i / r);
        float *freq = put_floats(inv_freq, (size_t)r / 2), *far = put_blank(turns);
        float *dx = put_floats(x, count), *want = blank_floats(count);
        cpu->angles(cpu, inv_freq, r, 1.19f, cases[k].pos0, n, angles);
        gpu->angles(gpu, freq, r, 1.19f, cases[k].pos0, n, far);
        for (int style = ROPE_HALVES; style <= ROPE_PAIRS; style++) {
            float *out = put_blank(count);
            cpu->rope(cpu, x, angles, r, (enum rope_style)style, want, n, heads, h);
            gpu->rope(gpu, dx, far, r, (enum rope_style)style, out, n, heads, h);
            float *got = get_floats(out, count);
            for (size_t i = 0; i < count; i++)
                expect_near("rope", want, got, i, TOLERANCE);
            free(got);
        }
        float *got = get_floats(far, turns);
        for (size_t i = 0; i < turns; i++)
            expect_near("angles", angles, got, i, 2e-7);
        gpu->free(gpu, freq);
        gpu->free(gpu, dx);
        free(got), free(x), free(angles), free(want);
    }
}

static void probabilities(void **state)
{
    NEEDS_GPU();
    for (size_t k = 0; k < N_SIZES; k++) {
        int n = sizes[k][0], d = sizes[k][1];
        size_t count = (size_t)n * (size_t)d;
        float *x = random_floats(count), *want = blank_floats(count);
        for (size_t i = 0; i < count; i++)
            x[i] *= 30;
        if (d > 1) /* a row without a finite number, and a NaN in the last */
            for (int i = 0; i < d; i++)
                x[i] = -INFINITY;
        x[count - 1] = n > 1 ? NAN : x[count - 1];
        float *p = put_floats(x, count);
        cpu->probabilities(cpu, x, want, n, d);
        gpu->probabilities(gpu, p, p, n, d);
        float *got = get_floats(p, count);
        for (size_t i = 0; i < count; i++)
            expect_near("probabilities", want, got, i, TOLERANCE);
        free(got), free(x), free(want);
    }
}

/* Rows come back from pages as they went there, or rounded to bfloat16, at any place, and no other
 * byte changes. */
static void rows_in_pages_of(enum dtype kept, int d, size_t pad)
{
    enum { PAGES = 600, N = PAGES * KV_PAGE };
    size_t part = (size_t)KV_PAGE * (size_t)d * dtype_size(kept), page = 2 * pad + part;
    size_t count = (size_t)N * (size_t)d;
    void *pages[PAGES];
    float *x = random_floats(count), *p;
    char *blank = calloc(1, page), *seen = malloc(page);
    x[3] = 0x1.01p0f, x[4] = 0x1.03p0f, x[5] = INFINITY; /* ties, to even */
    p = put_floats(x, count);
    for (int i = 0; i < PAGES; i++)
        pages[i] = put(blank, page);
    /* In stretches, one of one row, the list growing as a sequence's does. */
    static const int at[] = {0, 5, 6, 4000, N};
    for (int i = 0; i < 4; i++)
        gpu->rows_save(gpu, pages, pad, kept, d, at[i], at[i + 1] - at[i],
                       p + (size_t)at[i] * (size_t)d);
    float *back = put_blank(count);
    gpu->rows_load(gpu, pages, pad, kept, d, 0, 7, back);
    gpu->rows_load(gpu, pages, pad, kept, d, 7, N - 7, back + (size_t)7 * (size_t)d);
    float *got = get_floats(back, count);
    for (size_t i = 0; kept == DTYPE_BF16 && i < count; i++)
        x[i] = as_bf16(x[i]);
    expect_same("rows from pages", gpu, x, got, count);
    gpu->read(gpu, seen, pages[PAGES - 1], page);
    assert_memory_equal(seen, blank, pad);
    assert_memory_equal(seen + pad + part, blank, pad);
    for (int i = 0; i < KV_PAGE * d; i++)
        assert_true(same_bits(dtype_load(kept, seen + pad + (size_t)i * dtype_size(kept)),
                              x[count - (size_t)(KV_PAGE * d) + (size_t)i]));
    for (int i = 0; i < PAGES; i++)
        gpu->free(gpu, pages[i]);
    gpu->free(gpu, p);
    free(got), free(x), free(blank), free(seen);
}

static void rows_in_pages(void **state)
{
    NEEDS_GPU();
    static const enum dtype ways[] = {DTYPE_F32, DTYPE_BF16};
    for (int i = 0; i < 2; i++) {
        rows_in_pages_of(ways[i], 37, 1024);
        rows_in_pages_of(ways[i], 64, 1024); /* 16 bytes at a time */
        rows_in_pages_of(ways[i], 64, 1028); /* not so */
        rows_in_pages_of(ways[i], 3072, 64);
    }
}

/* An add, its checkpoint and its norm on one row are launched together, and may write over the
 * second summand; looked at in between they are not. Both give the same bits. */
static void joined_rows(void **state)
{
    NEEDS_GPU();
    enum { D = 3000, SAVED = 3, AT = SAVED * D };
    float *x = random_floats(2 * D), *gains = random_floats(2 * D);
    float *dg = put_floats(gains, 2 * D);
    float *found[2][4];
    for (int apart = 0; apart < 2; apart++) {
        float *dx = put_floats(x, D), *dy = put_floats(x + D, D), *sum = put_blank(D);
        float *page = put_blank((size_t)KV_PAGE * D), *scale = put_blank(1), *out = put_blank(D);
        void *pages[1] = {page};
        float seen;
        gpu->add(gpu, dx, dy, sum, D);
        if (apart)
            gpu->read(gpu, &seen, sum, sizeof seen);
        gpu->rows_save(gpu, pages, 0, DTYPE_F32, D, SAVED, 1, sum);
        gpu->rms(gpu, sum, 1e-5f, scale, 1, D);
        if (apart)
            gpu->read(gpu, &seen, scale, sizeof seen);
        gpu->divide(gpu, sum, scale, dy, 1, D);
        if (apart)
            gpu->read(gpu, &seen, dy, sizeof seen);
        gpu->gain(gpu, dy, dg, dg + D, out, 1, D);
        found[apart][0] = get_floats(sum, D);
        found[apart][1] = blank_floats(D);
        gpu->read(gpu, found[apart][1], page + AT, D * sizeof(float));
        found[apart][2] = get_floats(dy, D);
        found[apart][3] = get_floats(out, D);
        gpu->free(gpu, dx);
        gpu->free(gpu, page);
        gpu->free(gpu, scale);
    }
    for (int i = 0; i < D; i++)
        assert_true(found[0][0][i] == x[i] + x[D + i] && found[0][1][i] == found[0][0][i]);
    for (int k = 0; k < 4; k++) {
        assert_memory_equal(found[0][k], found[1][k], D * sizeof(float));
        free(found[0][k]), free(found[1][k]);
    }
    gpu->free(gpu, dg);
    free(x), free(gains);
}

static void rows_are_measured(void **state)
{
    static const int shapes[][2] = {{1, 3072}, {100, 64}, {7, 513}, {300, 96}, {3, 1}, {2, 9000}};
    NEEDS_GPU();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int n = shapes[i][0], d = shapes[i][1];
        size_t count = (size_t)n * (size_t)d, bytes = (size_t)n * sizeof(struct measures);
        float *x = random_floats(count);
        x[count / 3] = NAN;
        x[count / 2] = count > 9 ? INFINITY : x[count / 2];
        float *far = put_floats(x, count), *far_out = put_blank(bytes / sizeof(float));
        struct measures *want = malloc(bytes);
        assert_non_null(want);
        cpu->measure(cpu, x, n, d, want);
        gpu->measure(gpu, far, n, d, (struct measures *)(void *)far_out);
        struct measures *got = (void *)get_floats(far_out, bytes / sizeof(float));
        for (int r = 0; r < n; r++) {
            assert_int_equal(got[r].odd, want[r].odd);
            assert_true(same_bits(got[r].most, want[r].most));
            assert_true(same_bits(got[r].least, want[r].least));
            assert_true(fabs(got[r].sum - want[r].sum) <= 1e-12 * d);
            assert_true(fabs(got[r].squares - want[r].squares) <= 1e-12 * d);
        }
        gpu->free(gpu, far);
        free(x), free(want), free(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_measured),
        cmocka_unit_test(memory_holds_what_was_written),
        cmocka_unit_test(norms),
        cmocka_unit_test(joined_rows),
        cmocka_unit_test(elements),
        cmocka_unit_test(embeddings),
        cmocka_unit_test(rotations),
        cmocka_unit_test(probabilities),
        cmocka_unit_test(rows_in_pages),
    };
    return cmocka_run_group_tests_name("CUDA: rows", tests, open_f32, close_both);
}
