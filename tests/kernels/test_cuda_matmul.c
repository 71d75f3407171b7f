/* test_cuda_matmul.c - products on the GPU, beside the reference: every type of weight, both
 * layouts, slices and groups, few rows and many, in f32 and in bf16. */
#include "tests/kernels/gpu.h"

struct shape {
    int n_out, n_in, group; /* group 0: one */
    int rows_around;        /* outputs of the tensor before and behind those of a group */
    bool conv, bias;
};

static const struct shape shapes[] = {
    {64, 64, 0, 0, false, false},  {1, 1, 0, 0, false, true},      {7, 13, 0, 3, false, true},
    {48, 96, 16, 8, false, true},  {33, 40, 11, 2, false, false},  {64, 64, 0, 0, true, true},
    {7, 13, 0, 3, true, false},    {96, 130, 0, 16, true, true},   {3072, 3072, 0, 0, false, false},
    {50, 8200, 0, 0, false, true}, {1300, 257, 0, 0, true, false}, {24, 16, 8, 8, false, false},
    {2000, 24, 0, 0, false, true}, {40, 5000, 0, 8, true, true},
};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

static const int rows_of[] = {1, 2, 3, 5, 8, 9, 33, 130};

/* A tensor with the matrix inside, all of it random. */
static struct matrix matrix_open(const struct shape *s, enum dtype t, size_t *bytes)
{
    int group = s->group ? s->group : s->n_out, groups = s->n_out / group;
    int each = group + 2 * s->rows_around, all = groups * each;
    size_t count = (size_t)all * (size_t)s->n_in, size = dtype_size(t);
    char *p = malloc(count * size);
    assert_non_null(p);
    for (size_t i = 0; i < count; i++) {
        float x = random_float();
        /* A half with a small exponent, any sign and fraction. */
        uint16_t half = t == DTYPE_BF16 ? dtype_to_bf16(x) : (uint16_t)(random_bits() & 0xbbff);
        memcpy(p + i * size, t == DTYPE_F32 ? (void *)&x : (void *)&half, size);
    }
    *bytes = count * size;
    struct matrix m = {p, t, s->n_out, s->n_in, s->n_in, 1, s->group, 0};
    if (s->group)
        m.group_stride = (ptrdiff_t)each * s->n_in;
    if (s->conv) {
        m.out_stride = 1;
        m.in_stride = all;
        m.group_stride = s->group ? each : 0;
    }
    return m;
}

static size_t first_element(const struct shape *s)
{
    return (size_t)s->rows_around * (s->conv ? 1 : (size_t)s->n_in);
}

/* What the rounding of an output is measured against: the sum of |x| |w|. */
static double size_of_sum(const struct matrix *w, const float *x, int o)
{
    ptrdiff_t group = w->group ? w->group : w->n_out;
    ptrdiff_t at = o / group * w->group_stride + o % group * w->out_stride;
    double sum = 0;
    for (int k = 0; k < w->n_in; k++)
        sum += fabs((double)x[k] *
                    (double)dtype_load(w->dtype, (const char *)w->data +
                                                     (at + k * w->in_stride) *
                                                         (ptrdiff_t)dtype_size(w->dtype)));
    return sum;
}

static void compare(const struct shape *s, enum dtype t, int n)
{
    size_t bytes, x_stride = (size_t)s->n_in + 4, out_stride = (size_t)s->n_out + 3;
    struct matrix w = matrix_open(s, t, &bytes), far = w;
    void *tensor = (void *)w.data, *far_tensor = put(tensor, bytes);
    size_t first = first_element(s) * dtype_size(t);
    w.data = (char *)tensor + first;
    far.data = (char *)far_tensor + first;
    size_t n_x = (size_t)n * x_stride, n_out = (size_t)n * out_stride;
    float *x = random_floats(n_x), *bias = random_floats((size_t)s->n_out);
    float *dx = put_floats(x, n_x), *db = put_floats(bias, (size_t)s->n_out);
    float *want = blank_floats(n_out), *out = put_blank(n_out);
    if (t == DTYPE_BF16) /* matrices of other types are multiplied in float32 */
        round_for(x, n_x);
    struct workspace here = work_open(cpu, n, 1), there = work_open(gpu, n, 1);
    cpu->matmul(cpu, x, x_stride, &w, s->bias ? bias : NULL, want, out_stride, n, here);
    gpu->matmul(gpu, dx, x_stride, &far, s->bias ? db : NULL, out, out_stride, n, there);
    float *got = get_floats(out, n_out);
    char what[160];
    snprintf(what, sizeof what, "matmul %s%s [%d, %d] group %d, %d rows", dtype_name(t),
             s->conv ? " Conv1D" : "", s->n_out, s->n_in, s->group, n);
    for (size_t i = 0; i < n_out; i++) {
        int row = (int)(i / out_stride), o = (int)(i % out_stride);
        bool ours = o < s->n_out;
        double size = ours ? size_of_sum(&w, x + (size_t)row * x_stride, o) + 1 : 0;
        expect_near(what, want, got, i, TOLERANCE * size);
    }
    gpu->free(gpu, far_tensor);
    gpu->free(gpu, dx);
    gpu->free(gpu, db);
    gpu->free(gpu, there.data);
    cpu->free(cpu, here.data);
    free(tensor), free(x), free(bias), free(want), free(got);
}

static void products(void **state)
{
    NEEDS_GPU();
    for (size_t k = 0; k < N_SHAPES; k++)
        for (int t = 0; t < DTYPE_N; t++)
            for (size_t r = 0; r < sizeof rows_of / sizeof *rows_of; r++) {
                bool large = (size_t)shapes[k].n_out * (size_t)shapes[k].n_in > 1000000;
                if (!large || rows_of[r] < 10) /* the reference takes its time */
                    compare(&shapes[k], (enum dtype)t, rows_of[r]);
            }
}

/* Numbers that are none come out as such, and spoil no other row. */
static void bad_numbers(void **state)
{
    NEEDS_GPU();
    enum { N = 20, K = 64, O = 32 };
    float *x = random_floats(N * K), *w = random_floats(O * K);
    x[3 * K + 5] = NAN;
    x[4 * K] = INFINITY;
    struct matrix far = {put_floats(w, O * K), DTYPE_F32, O, K, K, 1, 0, 0};
    float *dx = put_floats(x, N * K);
    for (int n = 5; n <= N; n += N - 5) {
        struct workspace work = work_open(gpu, n, 1);
        float *out = put_blank((size_t)n * O);
        gpu->matmul(gpu, dx, K, &far, NULL, out, O, n, work);
        float *got = get_floats(out, (size_t)n * O);
        for (int i = 0; i < n * O; i++)
            assert_int_equal(isfinite(got[i]), i / O != 3 && i / O != 4);
        assert_true(isnan(got[3 * O]));
        gpu->free(gpu, work.data);
        free(got);
    }
    gpu->free(gpu, dx);
    gpu->free(gpu, (void *)far.data);
    free(x), free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),
        cmocka_unit_test(bad_numbers),
    };
    int failed = cmocka_run_group_tests_name("CUDA: products, f32", tests, open_f32, close_both);
    return failed +
           cmocka_run_group_tests_name("CUDA: products, bf16", tests, open_bf16, close_both);
}
