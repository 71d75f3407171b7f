/* test_cuda_token.c - what a block of a model does with one row, on the GPU: as ops that come one
 * behind the other, which are then launched together; looked at after each op, which keeps them
 * apart; each result measured, which does not; and as GPUs before 9.0 do it. Every value has to
 * have the same bits in all ways. */
#include "tests/kernels/gpu.h"

struct shape {
    int d, heads, kv_heads, h, r, mlp;
    enum rope_style style;
    int window;
    bool biased, gated;
    bool centred; /* the first norm's row */
};

static const struct shape shapes[] = {
    {64, 4, 2, 16, 16, 96, ROPE_HALVES, 0, false, true, false},
    {96, 3, 3, 32, 8, 40, ROPE_PAIRS, 7, true, false, true},
    {3072, 32, 32, 96, 96, 8192, ROPE_HALVES, 0, false, true, false},
    {1000, 4, 1, 128, 96, 1032, ROPE_HALVES, 100, true, true, true},
    {130, 2, 2, 64, 0, 260, ROPE_HALVES, 0, true, false, true}, /* the narrow way, and no RoPE */
    {256, 4, 4, 64, 64, 25000, ROPE_HALVES, 0, false, true, false},
    {512, 5, 5, 7, 6, 64, ROPE_HALVES, 0, true, true, true},
    {8192, 2, 1, 80, 80, 64, ROPE_PAIRS, 300, true, true, true},
};
#define N_SHAPES (sizeof shapes / sizeof *shapes)

static struct backend *plain; /* the GPU again, as if it were an older one */

static const int positions[] = {0, 1, 2, 15, 16, 17, 63, 64, 65, 200, 511, 1300};
#define N_POSITIONS (sizeof positions / sizeof *positions)
#define MOST_KEYS   1301

enum {
    X,
    Y,
    SUM,
    PAGE,
    CENTRED,
    SCALE,
    NORMED,
    ROW,
    Q,
    K,
    V,
    TURNED_Q,
    TURNED_K,
    ANGLES,
    Z,
    SUMS,
    ATTN,
    MID,
    SCALE2,
    NORMED2,
    ROW2,
    PRE,
    UP,
    POST,
    OUT,
    BUFFERS
};
enum way { TOGETHER, APART, MEASURED, PLAIN, WAYS };
enum { W_Q, W_K, W_V, W_O, W_PRE, W_UP, W_DOWN, MATRICES };

struct block {
    const struct shape *s;
    size_t sizes[BUFFERS];
    float *at[BUFFERS];
    struct matrix w[MATRICES];
    float *bias[MATRICES], *gain, *frequencies;
    void *pages[(MOST_KEYS + KV_PAGE - 1) / KV_PAGE];
    size_t page_bytes;
    struct kv_view view;
    struct attention a;
    struct workspace work;
    enum way way;
    struct measures *measured; /* [BUFFERS], the GPU's memory */
};

static struct matrix matrix_put(int n_out, int n_in)
{
    size_t n = (size_t)n_out * (size_t)n_in;
    bool half = gpu->dtype == DTYPE_BF16;
    float *x = random_floats(n);
    uint16_t *bits = malloc(n * sizeof *bits);
    assert_non_null(bits);
    for (size_t i = 0; i < n; i++)
        bits[i] = dtype_to_bf16(x[i]);
    struct matrix w = {half ? put(bits, n * sizeof *bits) : put_floats(x, n),
                       half ? DTYPE_BF16 : DTYPE_F32,
                       n_out,
                       n_in,
                       n_in,
                       1,
                       0,
                       0};
    free(x), free(bits);
    return w;
}

static float *put_random(size_t n)
{
    float *x = random_floats(n), *p = put_floats(x, n);
    free(x);
    return p;
}

static void block_open(struct block *b, const struct shape *s)
{
    memset(b, 0, sizeof *b);
    b->s = s;
    size_t d = (size_t)s->d, q = (size_t)(s->heads * s->h), k = (size_t)(s->kv_heads * s->h);
    size_t m = (size_t)s->mlp, r = (size_t)s->r;
    const size_t sizes[BUFFERS] = {[X] = d,
                                   [Y] = d,
                                   [SUM] = d,
                                   [PAGE] = d * KV_PAGE,
                                   [CENTRED] = s->centred ? d : 0,
                                   [SCALE] = 1,
                                   [NORMED] = d,
                                   [ROW] = d,
                                   [Q] = q,
                                   [K] = k,
                                   [V] = k,
                                   [TURNED_Q] = q,
                                   [TURNED_K] = k,
                                   [ANGLES] = r,
                                   [Z] = q,
                                   [SUMS] = (size_t)s->heads,
                                   [ATTN] = d,
                                   [MID] = d,
                                   [SCALE2] = 1,
                                   [NORMED2] = d,
                                   [ROW2] = d,
                                   [PRE] = m,
                                   [UP] = m,
                                   [POST] = m,
                                   [OUT] = d};
    memcpy(b->sizes, sizes, sizeof sizes);
    const int shape_of[MATRICES][2] = {{s->heads * s->h, s->d},
                                       {s->kv_heads * s->h, s->d},
                                       {s->kv_heads * s->h, s->d},
                                       {s->d, s->heads * s->h},
                                       {s->mlp, s->d},
                                       {s->mlp, s->d},
                                       {s->d, s->mlp}};
    for (int i = 0; i < MATRICES; i++) {
        b->w[i] = matrix_put(shape_of[i][0], shape_of[i][1]);
        b->bias[i] = s->biased ? put_random((size_t)shape_of[i][0]) : NULL;
    }
    b->gain = put_random(2 * d);
    float frequencies[128];
    for (int i = 0; i < s->r / 2; i++)
        frequencies[i] = (float)pow(10000, -2.0 * i / s->r);
    b->frequencies = put_floats(frequencies, (size_t)s->r / 2);
    size_t part = gpu->kv_bytes(gpu, s->kv_heads, s->h);
    b->page_bytes = 2 * part;
    for (size_t i = 0; i < sizeof b->pages / sizeof *b->pages; i++) {
        b->pages[i] = gpu->alloc(gpu, b->page_bytes);
        assert_non_null(b->pages[i]);
    }
    b->view = (struct kv_view){b->pages, 0, part, s->kv_heads, s->h};
    b->a = (struct attention){s->heads, s->kv_heads, s->h, (float)(1 / sqrt(s->h)), s->window};
    b->work = work_open(gpu, 1, MOST_KEYS);
    b->measured = gpu->alloc(gpu, BUFFERS * sizeof *b->measured);
    assert_non_null(b->measured);
}

static void block_close(struct block *b)
{
    for (int i = 0; i < MATRICES; i++) {
        gpu->free(gpu, (void *)b->w[i].data);
        gpu->free(gpu, b->bias[i]);
    }
    for (size_t i = 0; i < sizeof b->pages / sizeof *b->pages; i++)
        gpu->free(gpu, b->pages[i]);
    gpu->free(gpu, b->gain);
    gpu->free(gpu, b->frequencies);
    gpu->free(gpu, b->work.data);
    gpu->free(gpu, b->measured);
}

/* An op's result is looked at, if they are to be kept apart; or measured. */
static void seen(struct block *b, int buffer)
{
    float x;
    if (b->way == APART && b->sizes[buffer] > 0)
        gpu->read(gpu, &x, b->at[buffer], sizeof x);
    if (b->way == MEASURED && buffer != PAGE)
        gpu->measure(gpu, b->at[buffer], 1, (int)b->sizes[buffer], b->measured + buffer);
}

/* What was measured of the results is what they are. */
static void check_measured(const struct block *b, float *found[])
{
    static const int of[] = {SUM, SCALE, NORMED, ROW, Q, K, V, Z, ATTN, MID, NORMED2, PRE, POST};
    struct measures got[BUFFERS];
    gpu->read(gpu, got, b->measured, sizeof got);
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        struct measures want;
        const struct measures *m = &got[of[i]];
        cpu->measure(cpu, found[of[i]], 1, (int)b->sizes[of[i]], &want);
        double near = 1e-9 * sqrt(want.squares * (double)b->sizes[of[i]]);
        if (m->most != want.most || m->least != want.least || m->odd != want.odd ||
            fabs(m->sum - want.sum) > near || fabs(m->squares - want.squares) > 1e-9 * want.squares)
            fail_msg("buffer %d is measured: sum %.9g, squares %.9g, from %g to %g, %d odd; not "
                     "%.9g, %.9g, from %g to %g, %d",
                     of[i], m->sum, m->squares, (double)m->least, (double)m->most, m->odd, want.sum,
                     want.squares, (double)want.least, (double)want.most, want.odd);
    }
}

static void product(struct block *b, int w, int x, int out)
{
    gpu->matmul(gpu, b->at[x], b->sizes[x], &b->w[w], b->bias[w], b->at[out], b->sizes[out], 1,
                b->work);
    seen(b, out);
}

static void norm(struct block *b, int x, int scale, int normed, int out)
{
    int d = b->s->d;
    gpu->rms(gpu, b->at[x], 1e-5f, b->at[scale], 1, d);
    seen(b, scale);
    gpu->divide(gpu, b->at[x], b->at[scale], b->at[normed], 1, d);
    seen(b, normed);
    gpu->gain(gpu, b->at[normed], b->gain, b->s->biased ? b->gain + d : NULL, b->at[out], 1, d);
    seen(b, out);
}

static void turn(struct block *b, int x, int out, int heads)
{
    gpu->rope(gpu, b->at[x], b->at[ANGLES], b->s->r, b->s->style, b->at[out], 1, heads, b->s->h);
    seen(b, out);
}

/* One block, of the row at pos; found: all that it wrote, and what it stored. */
static void block_run(struct block *b, int pos, const float *x, const float *y, float *found[],
                      char **page)
{
    const struct shape *s = b->s;
    size_t d = b->sizes[X];
    void *kept[MOST_KEYS / KV_PAGE + 1];
    for (int i = 0; i < BUFFERS; i++)
        b->at[i] = i == X ? put_floats(x, d) : i == Y ? put_floats(y, d) : put_blank(b->sizes[i]);
    for (int i = 0; i <= pos / KV_PAGE; i++)
        kept[i] = b->at[PAGE];
    if (s->r)
        gpu->angles(gpu, b->frequencies, s->r, 1.0f, pos, 1, b->at[ANGLES]);
    gpu->add(gpu, b->at[X], b->at[Y], b->at[SUM], d);
    seen(b, SUM);
    gpu->rows_save(gpu, kept, 0, DTYPE_F32, s->d, pos, 1, b->at[SUM]);
    seen(b, PAGE);
    if (s->centred) {
        gpu->center(gpu, b->at[SUM], b->at[CENTRED], 1, s->d);
        seen(b, CENTRED);
    }
    norm(b, s->centred ? CENTRED : SUM, SCALE, NORMED, ROW);
    product(b, W_Q, ROW, Q);
    product(b, W_K, ROW, K);
    product(b, W_V, ROW, V);
    if (s->r) {
        turn(b, Q, TURNED_Q, s->heads);
        turn(b, K, TURNED_K, s->kv_heads);
    }
    gpu->kv_store(gpu, &b->view, pos, 1, b->at[s->r ? TURNED_K : K], b->at[V]);
    seen(b, V);
    gpu->attend(gpu, &b->a, &b->view, b->at[s->r ? TURNED_Q : Q], pos, 1, b->at[Z], b->at[SUMS],
                b->work);
    seen(b, Z);
    product(b, W_O, Z, ATTN);
    gpu->add(gpu, b->at[SUM], b->at[ATTN], b->at[MID], d);
    seen(b, MID);
    norm(b, MID, SCALE2, NORMED2, ROW2);
    product(b, W_PRE, ROW2, PRE);
    if (s->gated) {
        product(b, W_UP, ROW2, UP);
        gpu->gate(gpu, ACT_SILU, b->at[PRE], b->at[UP], b->at[POST], b->sizes[POST]);
    } else {
        gpu->activate(gpu, ACT_GELU_TANH, b->at[PRE], b->at[POST], b->sizes[POST]);
    }
    seen(b, POST);
    product(b, W_DOWN, POST, OUT);
    *page = malloc(b->page_bytes);
    assert_non_null(*page);
    gpu->read(gpu, *page, b->pages[pos / KV_PAGE], b->page_bytes);
    for (int i = 0; i < BUFFERS; i++)
        found[i] = get_floats(b->at[i], b->sizes[i]);
}

static const char *const way_names[WAYS] = {"together", "apart", "measured", "plain"};

static void one_position(struct block *b, int pos, const float *keys, const float *values)
{
    size_t d = b->sizes[X];
    float *x = random_floats(d), *y = random_floats(d), *found[WAYS][BUFFERS];
    char *page[WAYS];
    struct backend *first = gpu;
    for (int way = 0; way < WAYS; way++) {
        gpu = way == PLAIN ? plain : first;
        gpu->kv_store(gpu, &b->view, 0, MOST_KEYS, keys, values);
        b->way = way;
        block_run(b, pos, x, y, found[way], &page[way]);
        if (way == MEASURED)
            check_measured(b, found[way]);
    }
    gpu = first;
    for (int way = 1; way < WAYS; way++) {
        for (int i = 0; i < BUFFERS; i++)
            for (size_t e = 0; e < b->sizes[i]; e++)
                if (!same_bits(found[0][i][e], found[way][i][e]))
                    fail_msg("d %d at %d (%s): element %zu of buffer %d is %.9g together, "
                             "%.9g %s",
                             b->s->d, pos, gpu->detail, e, i, (double)found[0][i][e],
                             (double)found[way][i][e], way_names[way]);
        assert_memory_equal(page[0], page[way], b->page_bytes);
    }
    for (int way = 0; way < WAYS; way++) {
        for (int i = 0; i < BUFFERS; i++)
            free(found[way][i]);
        free(page[way]);
    }
    free(x), free(y);
}

static void same_bits_in_all_ways(void **state)
{
    NEEDS_GPU();
    char why[256];
    plain =
        backend_open("cuda", &(struct backend_options){.dtype = gpu->dtype, .plain = true}, why);
    if (!plain)
        fail_msg("%s", why);
    for (size_t k = 0; k < N_SHAPES; k++) {
        struct block b;
        block_open(&b, &shapes[k]);
        float *keys = put_random(MOST_KEYS * b.sizes[K]),
              *values = put_random(MOST_KEYS * b.sizes[K]);
        for (size_t p = 0; p < N_POSITIONS; p++)
            one_position(&b, positions[p], keys, values);
        gpu->free(gpu, keys);
        gpu->free(gpu, values);
        block_close(&b);
    }
    backend_close(plain);
}

/* Slots may share memory: what is written where something else is still read must not go along. */
static void shared_memory(void **state)
{
    NEEDS_GPU();
    enum { D = 256, N = 192 };
    float *x = random_floats(2 * D), *gain = put_random(D), *got[2][3];
    struct matrix w[2] = {matrix_put(N, D), matrix_put(N, D)};
    struct workspace work = work_open(gpu, 1, 1);
    for (int apart = 0; apart < 2; apart++) {
        /* The norm's result goes where a summand was, the products' where the other one and what
         * was only divided were. */
        float *a = put_floats(x, D), *b = put_floats(x + D, D), *sum = put_blank(D), seen_x;
        float *scale = put_blank(1), *normed = put_blank(D), *post = put_blank(N);
        gpu->add(gpu, a, b, sum, D);
        gpu->rms(gpu, sum, 1e-5f, scale, 1, D);
        gpu->divide(gpu, sum, scale, normed, 1, D);
        gpu->gain(gpu, normed, gain, NULL, a, 1, D);
        if (apart)
            gpu->read(gpu, &seen_x, a, sizeof seen_x);
        gpu->matmul(gpu, a, D, &w[0], NULL, b, N, 1, work);
        if (apart)
            gpu->read(gpu, &seen_x, b, sizeof seen_x);
        gpu->matmul(gpu, a, D, &w[1], NULL, normed, N, 1, work);
        if (apart)
            gpu->read(gpu, &seen_x, b, sizeof seen_x);
        gpu->gate(gpu, ACT_GELU, b, normed, post, N);
        got[apart][0] = get_floats(post, N);
        got[apart][1] = get_floats(b, D);
        got[apart][2] = get_floats(normed, D);
        gpu->free(gpu, a), gpu->free(gpu, sum), gpu->free(gpu, scale);
    }
    for (int k = 0; k < 3; k++) {
        expect_same("where memory is shared", gpu, got[1][k], got[0][k], k ? D : N);
        free(got[0][k]), free(got[1][k]);
    }
    gpu->free(gpu, (void *)w[0].data), gpu->free(gpu, (void *)w[1].data);
    gpu->free(gpu, gain), gpu->free(gpu, work.data);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_in_all_ways),
        cmocka_unit_test(shared_memory),
    };
    int failed = cmocka_run_group_tests_name("CUDA: a token, f32", tests, open_f32, close_both);
    return failed +
           cmocka_run_group_tests_name("CUDA: a token, bf16", tests, open_bf16, close_both);
}
