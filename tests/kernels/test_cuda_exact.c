/* test_cuda_exact.c - a GPU opened exact: products and attention of rows by themselves have the
 * bits that they have among others, wherever a call begins. Products are held against sums in
 * double, too; attention is what test_cuda_attention.c looks at, but for where it may not split its
 * keys.
 */
#include "tests/kernels/gpu.h"

static int open_exact(void **state, enum dtype dtype)
{
    int rc = gpu_open(state, dtype);
    if (!gpu)
        return rc;
    backend_close(gpu);
    gpu = backend_open("cuda", &(struct backend_options){.dtype = dtype, .exact = true}, no_gpu);
    return !gpu || !gpu->exact;
}

static int exact_f32(void **state)
{
    return open_exact(state, DTYPE_F32);
}

static int exact_bf16(void **state)
{
    return open_exact(state, DTYPE_BF16);
}

/* Calls of these many rows, one behind the other. */
static const int cuts[] = {1, 2, 1, 7, 8, 9, 3, 40, 1, 129, 16};
#define N_CUTS (sizeof cuts / sizeof *cuts)

/* ---- products -------------------------------------------------------------------------------- */

struct product {
    int n_in, n_out,
        group; /* group: outputs of one head in Conv1D's and GPT-NeoX's layouts, or 0 */
    bool linear, biased;
};

static const struct product products[] = {
    {64, 32, 0, true, false},   {3072, 100, 0, true, true}, {130, 257, 0, true, true},
    {16, 8, 0, true, false},    {1, 3, 0, true, true},      {768, 2304, 0, false, true},
    {50, 70, 0, false, false},  {520, 96, 16, true, true},  {33, 40, 8, true, false},
    {1024, 130, 0, true, true},
};
#define N_PRODUCTS (sizeof products / sizeof *products)
#define ROWS       231

static void check_product(const struct product *p)
{
    size_t K = (size_t)p->n_in, N = (size_t)p->n_out, stride = K + 4;
    /* Heads lie twice as far apart as they are long, as where q, k and v alternate. */
    size_t elements = K * N * (p->group ? 2 : 1);
    float *x = random_floats(ROWS * stride), *weights = random_floats(elements);
    float *bias = random_floats(N), *far_x = put_floats(x, ROWS * stride);
    float *far_bias = put_floats(bias, N);
    uint16_t *low = malloc(elements * sizeof *low);
    assert_non_null(low);
    for (size_t i = 0; i < elements; i++) {
        low[i] = dtype_to_bf16(weights[i]);
        weights[i] = dtype_load(DTYPE_BF16, &low[i]);
    }
    round_for(x, ROWS * stride);
    void *far_low = put(low, elements * sizeof *low);
    struct matrix w = {far_low, DTYPE_BF16, p->n_out, p->n_in, 1, 1, 0, 0};
    *(p->linear ? &w.out_stride : &w.in_stride) = (ptrdiff_t)(p->linear ? K : N);
    if (p->group) {
        w.group = p->group;
        w.group_stride = 2 * (ptrdiff_t)K * p->group;
    }
    struct workspace work = {NULL, gpu->workspace_bytes(gpu, ROWS, ROWS)};
    work.data = gpu->alloc(gpu, work.bytes);
    float *all = put_blank(ROWS * N), *cut = put_blank(ROWS * N);
    const float *b = p->biased ? far_bias : NULL;
    gpu->matmul(gpu, far_x, stride, &w, b, all, N, ROWS, work);
    for (int r = 0, i = 0; r < ROWS; i++) {
        int n = cuts[(size_t)i % N_CUTS];
        n = ROWS - r < n ? ROWS - r : n;
        gpu->matmul(gpu, far_x + (size_t)r * stride, stride, &w, b, cut + (size_t)r * N, N, n,
                    work);
        r += n;
    }
    float *got = get_floats(all, ROWS * N), *by_cuts = get_floats(cut, ROWS * N);
    char name[80];
    snprintf(name, sizeof name, "product of %d to %d, group %d", p->n_in, p->n_out, p->group);
    expect_same(name, gpu, got, by_cuts, ROWS * N);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t o = 0; o < N; o++) {
            double sum = 0, size = 0;
            size_t group = p->group ? (size_t)p->group : N;
            size_t row =
                o / group * (p->group ? 2 * K * group : 0) + o % group * (p->linear ? K : 1);
            for (size_t k = 0; k < K; k++) {
                double term =
                    (double)x[r * stride + k] * (double)weights[row + k * (p->linear ? 1 : N)];
                sum += term;
                size += fabs(term);
            }
            float want = (float)(sum + (p->biased ? (double)bias[o] : 0));
            double off = fabs((double)got[r * N + o] - (double)want);
            if (off > 8e-6 * size + 1e-6 * fabs((double)want))
                fail_msg("%s: row %zu, output %zu is %.9g, not %.9g", name, r, o,
                         (double)got[r * N + o], (double)want);
        }
    free(got), free(by_cuts), free(x), free(weights), free(bias), free(low);
    gpu->free(gpu, far_x);
    gpu->free(gpu, far_bias);
    gpu->free(gpu, far_low);
    gpu->free(gpu, work.data);
}

static void products_have_the_same_bits(void **state)
{
    NEEDS_GPU();
    for (size_t i = 0; i < N_PRODUCTS; i++)
        check_product(&products[i]);
}

/* ---- attention ------------------------------------------------------------------------------- */

struct setup {
    int heads, kv_heads, h, keys, window;
};

static const struct setup setups[] = {
    {2, 2, 64, 700, 0}, {4, 2, 96, 517, 0},  {2, 1, 128, 400, 0},  {3, 3, 96, 600, 77},
    {2, 2, 80, 300, 0}, {2, 1, 64, 450, 64}, {2, 2, 20, 330, 50},  {1, 1, 256, 150, 0},
    {2, 2, 16, 257, 3}, {1, 1, 304, 90, 0},  {2, 2, 128, 380, 90}, {2, 2, 7, 100, 0},
};
#define N_SETUPS (sizeof setups / sizeof *setups)

static void check_attention(const struct setup *s)
{
    size_t keys = (size_t)s->keys, q_row = (size_t)(s->heads * s->h);
    size_t kv_row = (size_t)(s->kv_heads * s->h), part = gpu->kv_bytes(gpu, s->kv_heads, s->h);
    float *q = random_floats(keys * q_row), *k = random_floats(keys * kv_row);
    float *v = random_floats(keys * kv_row);
    for (size_t i = 0; i < keys * q_row; i++)
        q[i] *= 6;
    float *far_q = put_floats(q, keys * q_row), *far_k = put_floats(k, keys * kv_row);
    float *far_v = put_floats(v, keys * kv_row);
    int n_pages = (s->keys + KV_PAGE - 1) / KV_PAGE;
    void **pages = malloc((size_t)n_pages * sizeof *pages);
    char *blank = malloc(2 * part);
    assert_true(pages && blank);
    memset(blank, 0xff, 2 * part); /* NaN in any type */
    for (int i = 0; i < n_pages; i++)
        pages[i] = put(blank, 2 * part);
    struct kv_view view = {pages, 0, part, s->kv_heads, s->h};
    struct attention a = {s->heads, s->kv_heads, s->h, (float)(1 / sqrt(s->h)), s->window};
    struct workspace work = {NULL, gpu->workspace_bytes(gpu, s->keys, s->keys)};
    work.data = gpu->alloc(gpu, work.bytes);
    float *all = put_blank(keys * q_row), *cut = put_blank(keys * q_row);
    gpu->kv_store(gpu, &view, 0, s->keys, far_k, far_v);
    gpu->attend(gpu, &a, &view, far_q, 0, s->keys, all, NULL, work);
    for (int r = 0, i = 0; r < s->keys; i++) {
        int n = cuts[(size_t)i % N_CUTS];
        n = s->keys - r < n ? s->keys - r : n;
        gpu->attend(gpu, &a, &view, far_q + (size_t)r * q_row, r, n, cut + (size_t)r * q_row, NULL,
                    work);
        r += n;
    }
    float *got = get_floats(all, keys * q_row), *by_cuts = get_floats(cut, keys * q_row);
    char name[80];
    snprintf(name, sizeof name, "attention of %d, %d keys, window %d", s->h, s->keys, s->window);
    expect_same(name, gpu, got, by_cuts, keys * q_row);
    for (size_t i = 0; i < keys * q_row; i++)
        assert_true(isfinite(got[i]));
    for (int i = 0; i < n_pages; i++)
        gpu->free(gpu, pages[i]);
    gpu->free(gpu, far_q);
    gpu->free(gpu, far_k);
    gpu->free(gpu, far_v);
    gpu->free(gpu, work.data);
    free(got), free(by_cuts), free(q), free(k), free(v), free(pages), free(blank);
}

static void attention_has_the_same_bits(void **state)
{
    NEEDS_GPU();
    for (size_t i = 0; i < N_SETUPS; i++)
        check_attention(&setups[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(products_have_the_same_bits),
                                       cmocka_unit_test(attention_has_the_same_bits)};
    int failed = cmocka_run_group_tests_name("CUDA: exact, f32", tests, exact_f32, close_both);
    return failed + cmocka_run_group_tests_name("CUDA: exact, bf16", tests, exact_bf16, close_both);
}
