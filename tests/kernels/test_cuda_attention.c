/* test_cuda_attention.c - attention on the GPU, beside the reference: step by step and at once,
 * from pages that hold NaN wherever nothing is stored, a sequence cut in several ways.
 *
 * A value is held against the largest value that there is: a mix is a mean of values. */
#include "tests/kernels/gpu.h"

struct setup {
    int heads, kv_heads, h, keys, window;
};

static const struct setup setups[] = {
    {3, 3, 64, 70, 0},    {4, 2, 16, 150, 0},   {6, 1, 20, 33, 0},     {2, 2, 7, 1, 0},
    {2, 1, 130, 40, 0},   {8, 2, 32, 140, 5},   {3, 3, 64, 300, 1},    {4, 4, 80, 290, 130},
    {1, 1, 128, 17, 16},  {9, 3, 1, 64, 3},     {2, 2, 256, 90, 17},   {16, 2, 96, 700, 0},
    {10, 1, 128, 260, 0}, {4, 2, 24, 600, 550}, {2, 2, 96, 1100, 262}, {20, 2, 48, 200, 0},
    {2, 1, 64, 460, 200}, {1, 1, 128, 600, 0},  {2, 1, 128, 500, 333}, {1, 1, 64, 529, 0},
};
#define N_SETUPS (sizeof setups / sizeof *setups)

/* Pages of a backend, with something before the parts and between them. */
struct cache {
    struct backend *b;
    void **pages;
    int n;
    struct kv_view view;
};

static struct cache cache_open(struct backend *b, const struct setup *s)
{
    const size_t gap = 64;
    size_t part = b->kv_bytes(b, s->kv_heads, s->h), bytes = 2 * part + 2 * gap;
    struct cache c = {b, NULL, (s->keys + KV_PAGE - 1) / KV_PAGE, {0}};
    c.pages = malloc((size_t)c.n * sizeof *c.pages);
    char *blank = malloc(bytes);
    assert_true(c.pages && blank);
    memset(blank, 0xff, bytes); /* NaN in any type */
    for (int i = 0; i < c.n; i++) {
        c.pages[i] = b->alloc(b, bytes);
        assert_non_null(c.pages[i]);
        b->write(b, c.pages[i], blank, bytes);
    }
    c.view = (struct kv_view){c.pages, gap, part + 2 * gap, s->kv_heads, s->h};
    free(blank);
    return c;
}

static void cache_free(struct cache *c)
{
    for (int i = 0; i < c->n; i++)
        c->b->free(c->b, c->pages[i]);
    free(c->pages);
}

/* A whole sequence: [keys, heads, h], and the reference's result. */
struct sequence {
    const struct setup *s;
    struct attention a;
    size_t q_row, kv_row, square;
    float *q, *k, *v, *z, *scores, *patterns;
    float *far_q, *far_k, *far_v;
    float *sums, *far_sums; /* [keys, heads]: of each row of the scores, log(sum(e^score)) */
};

static float log_sum_exp(const float *scores, int n)
{
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++)
        most = fmax(most, (double)scores[i]);
    for (int i = 0; i < n; i++)
        sum += exp((double)scores[i] - most);
    return (float)(most + log(sum));
}

static struct sequence sequence_open(const struct setup *s)
{
    struct sequence x = {.s = s};
    size_t keys = (size_t)s->keys;
    x.a = (struct attention){s->heads, s->kv_heads, s->h, (float)(1 / sqrt(s->h)), s->window};
    x.q_row = (size_t)(s->heads * s->h);
    x.kv_row = (size_t)(s->kv_heads * s->h);
    x.square = (size_t)s->heads * keys * keys;
    x.q = random_floats(keys * x.q_row);
    x.k = random_floats(keys * x.kv_row);
    x.v = random_floats(keys * x.kv_row);
    for (size_t i = 0; i < keys * x.q_row; i++)
        x.q[i] *= 6;
    x.far_q = put_floats(x.q, keys * x.q_row);
    x.far_k = put_floats(x.k, keys * x.kv_row);
    x.far_v = put_floats(x.v, keys * x.kv_row);
    round_for(x.q, keys * x.q_row);
    round_for(x.k, keys * x.kv_row);
    round_for(x.v, keys * x.kv_row);
    x.z = blank_floats(keys * x.q_row);
    x.scores = blank_floats(x.square);
    x.patterns = blank_floats(x.square);
    struct cache c = cache_open(cpu, s);
    cpu->kv_store(cpu, &c.view, 0, s->keys, x.k, x.v);
    cpu->scores(cpu, &x.a, &c.view, x.q, 0, s->keys, 0, s->heads, x.scores);
    cpu->softmax(cpu, &x.a, x.scores, 0, s->keys, s->heads, x.patterns, NULL);
    cpu->mix(cpu, &x.a, &c.view, x.patterns, 0, s->keys, 0, s->heads, x.z, x.q_row);
    cache_free(&c);
    x.sums = blank_floats(keys * (size_t)s->heads);
    for (size_t i = 0; i < keys * (size_t)s->heads; i++) {
        size_t row = i / (size_t)s->heads, head = i % (size_t)s->heads;
        x.sums[i] = log_sum_exp(x.scores + (head * keys + row) * keys, s->keys);
    }
    x.far_sums = put_floats(x.sums, keys * (size_t)s->heads);
    return x;
}

static void sequence_free(struct sequence *x)
{
    free(x->q), free(x->k), free(x->v), free(x->z), free(x->scores), free(x->patterns);
    free(x->sums);
    gpu->free(gpu, x->far_sums);
    gpu->free(gpu, x->far_q);
    gpu->free(gpu, x->far_k);
    gpu->free(gpu, x->far_v);
}

static const char *name_of(const char *what, const struct setup *s)
{
    static char name[160];
    snprintf(name, sizeof name, "%s, %d heads (%d) of %d, %d keys, window %d", what, s->heads,
             s->kv_heads, s->h, s->keys, s->window);
    return name;
}

/* In f32: the exponent's rounding is that of scores up to about 6 sqrt(h). */
static double allowed(const struct setup *s)
{
    return 1e-6 * (2 + 2 * sqrt(s->h)) + (gpu->dtype == DTYPE_BF16 ? 0x1p-9 : 0);
}

/* A sum is as far off as the scores are, and by its own rounding. */
static double sum_allowed(const struct sequence *x, size_t i)
{
    return TOLERANCE * 6 * sqrt(x->s->h) + 1e-6 * (1 + fabs((double)x->sums[i]));
}

/* Rows [from, to) at once, stored just before. */
static void attend_part(struct sequence *x, struct cache *c, int from, int to, float *far_z,
                        float *far_sums)
{
    int n = to - from;
    size_t q = (size_t)from * x->q_row, kv = (size_t)from * x->kv_row;
    struct workspace work = work_open(gpu, n, to);
    gpu->kv_store(gpu, &c->view, from, n, x->far_k + kv, NULL);
    gpu->kv_store(gpu, &c->view, from, n, NULL, x->far_v + kv);
    gpu->attend(gpu, &x->a, &c->view, x->far_q + q, from, n, far_z + q,
                far_sums ? far_sums + (size_t)from * (size_t)x->a.n_heads : NULL, work);
    gpu->free(gpu, work.data);
}

static void at_once(void **state)
{
    NEEDS_GPU();
    static const int cuts[] = {1 << 20, 300, 64, 17, 8, 3, 1};
    for (size_t k = 0; k < N_SETUPS; k++) {
        struct sequence x = sequence_open(&setups[k]);
        size_t n = (size_t)x.s->keys * x.q_row;
        for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
            struct cache c = cache_open(gpu, x.s);
            size_t n_sums = (size_t)x.s->keys * (size_t)x.s->heads;
            float *z = put_blank(n), *sums = put_blank(n_sums);
            for (int from = 0; from < x.s->keys; from += cuts[i])
                attend_part(&x, &c, from, x.s->keys - from < cuts[i] ? x.s->keys : from + cuts[i],
                            z, sums);
            float *got = get_floats(z, n), *got_sums = get_floats(sums, n_sums);
            char what[40];
            snprintf(what, sizeof what, "attend, %d rows at a time", cuts[i]);
            for (size_t e = 0; e < n; e++)
                expect_near(name_of(what, x.s), x.z, got, e, allowed(x.s));
            for (size_t e = 0; e < n_sums; e++)
                expect_near(name_of("the sums", x.s), x.sums, got_sums, e, sum_allowed(&x, e));
            free(got), free(got_sums);
            cache_free(&c);
        }
        sequence_free(&x);
    }
}

/* Rows and heads as they are looked at: [heads, n, S], S = pos0 + n. */
static void step_by_step(void **state)
{
    NEEDS_GPU();
    for (size_t k = 0; k < N_SETUPS; k++) {
        struct sequence x = sequence_open(&setups[k]);
        struct cache c = cache_open(gpu, x.s);
        int keys = x.s->keys;
        gpu->kv_store(gpu, &c.view, 0, keys, x.far_k, x.far_v);
        for (int turn = 0; turn < 3; turn++) {
            int n = turn == 0   ? keys
                    : turn == 1 ? (keys + 1) / 2
                                : 1,
                pos0 = (keys - n) / (turn + 1);
            int head0 = turn && x.s->heads > 1 ? 1 : 0, heads = x.s->heads - head0, S = pos0 + n;
            size_t count = (size_t)heads * (size_t)n * (size_t)S;
            float *scores = put_blank(count), *patterns = put_blank(count);
            size_t n_z = (size_t)n * x.q_row, n_sums = (size_t)n * (size_t)heads;
            float *z = put_blank(n_z), *sums = put_blank(n_sums);
            gpu->scores(gpu, &x.a, &c.view, x.far_q + (size_t)pos0 * x.q_row, pos0, n, head0, heads,
                        scores);
            gpu->softmax(gpu, &x.a, scores, pos0, n, heads, patterns, sums);
            gpu->mix(gpu, &x.a, &c.view, patterns, pos0, n, head0, heads, z, x.q_row);
            float *got = get_floats(scores, count), *got_p = get_floats(patterns, count);
            float *got_z = get_floats(z, n_z), *got_sums = get_floats(sums, n_sums);
            for (size_t i = 0; i < n_sums; i++) {
                size_t row = (size_t)pos0 + i / (size_t)heads;
                size_t at = row * (size_t)x.s->heads + (size_t)head0 + i % (size_t)heads;
                expect_near(name_of("sum", x.s), x.sums + at, got_sums + i, 0, sum_allowed(&x, at));
            }
            for (size_t i = 0; i < count; i++) {
                size_t s = i % (size_t)S, row = i / (size_t)S % (size_t)n;
                size_t head = i / (size_t)S / (size_t)n + (size_t)head0;
                size_t at = (head * (size_t)keys + (size_t)pos0 + row) * (size_t)keys + s;
                float want = x.scores[at], want_p = x.patterns[at];
                expect_near(name_of("score", x.s), &want, got + i, 0, TOLERANCE * 6 * sqrt(x.s->h));
                expect_near(name_of("pattern", x.s), &want_p, got_p + i, 0, allowed(x.s));
            }
            for (size_t i = 0; i < (size_t)n * (size_t)heads * (size_t)x.s->h; i++) {
                size_t width = (size_t)heads * (size_t)x.s->h, row = i / width, e = i % width;
                size_t at = ((size_t)pos0 + row) * x.q_row + (size_t)(head0 * x.s->h) + e;
                expect_near(name_of("mix", x.s), x.z + at, got_z + row * x.q_row + e, 0,
                            allowed(x.s));
            }
            free(got), free(got_p), free(got_z), free(got_sums);
        }
        cache_free(&c);
        sequence_free(&x);
    }
}

/* A value that is no number spoils the queries that see it, and no other. */
static void hidden_keys_spoil_nothing(void **state)
{
    NEEDS_GPU();
    for (size_t k = 0; k < N_SETUPS; k++) {
        const struct setup *s = &setups[k];
        struct sequence x = sequence_open(s);
        int bad = s->keys / 2;
        size_t n = (size_t)s->keys * x.q_row;
        float nan = NAN;
        for (size_t i = 0; i < x.kv_row; i++)
            gpu->write(gpu, x.far_v + (size_t)bad * x.kv_row + i, &nan, sizeof nan);
        for (int rows = s->keys; rows > 0; rows = rows > 4 ? 4 : 0) {
            struct cache c = cache_open(gpu, s);
            float *z = put_blank(n);
            for (int from = 0; from < s->keys; from += rows)
                attend_part(&x, &c, from, s->keys - from < rows ? s->keys : from + rows, z, NULL);
            float *got = get_floats(z, n);
            for (int t = 0; t < s->keys; t++) {
                bool sees = t >= bad && (s->window == 0 || bad > t - s->window);
                for (size_t i = 0; i < x.q_row; i++)
                    if (isnan(got[(size_t)t * x.q_row + i]) != sees)
                        fail_msg("%s: the query at %d %s a NaN at %d, %d rows at a time",
                                 name_of("attend", s), t, sees ? "does not see" : "sees", bad,
                                 rows);
            }
            free(got);
            cache_free(&c);
        }
        sequence_free(&x);
    }
}

/* ---- pooled maps ---- */

#define MAPS 6 /* of each setup */

/* More keys than one split has, and a window that reaches into the one before. */
static const struct setup wide_setups[] = {{1, 1, 96, 2500, 0}, {1, 1, 32, 2300, 1100}};

static int below(int n)
{
    return (int)(random_bits() % (unsigned)n);
}

static struct map_region random_region(int keys, int turn)
{
    struct map_region m = {0, keys, 0, keys, 1 + below(keys), 1 + below(keys)};
    if (turn == 0)
        m.rows = m.columns = keys < 40 ? keys : 40;
    if (turn < 2)
        return m;
    m.q0 = below(keys);
    m.k0 = below(keys);
    m.q1 = m.q0 + 1 + below(keys - m.q0);
    m.k1 = m.k0 + 1 + below(keys - m.k0);
    m.rows = 1 + below(m.q1 - m.q0);
    m.columns = 1 + below(m.k1 - m.k0);
    return m;
}

/* Queries q0 .. of heads head0 .., `rows` at a time. */
static float *map_of(const struct sequence *x, struct cache *c, const struct map_region *m,
                     int head0, int heads, int rows)
{
    size_t n = (size_t)heads * (size_t)m->rows * (size_t)m->columns;
    float *cells = malloc(n * sizeof *cells);
    assert_non_null(cells);
    for (size_t i = 0; i < n; i++)
        cells[i] = -INFINITY;
    float *far = put_floats(cells, n);
    free(cells);
    for (int q = m->q0; q < m->q1; q += rows) {
        int some = m->q1 - q < rows ? m->q1 - q : rows;
        struct workspace work = {NULL, gpu->map_workspace(gpu, &x->a, some, q + some, heads)};
        work.data = gpu->alloc(gpu, work.bytes);
        assert_non_null(work.data);
        gpu->map(gpu, &x->a, &c->view, x->far_q + (size_t)q * x->q_row,
                 x->far_sums + (size_t)q * (size_t)x->a.n_heads, q, some, head0, heads, m, far,
                 work);
        gpu->free(gpu, work.data);
    }
    return get_floats(far, n);
}

/* The largest weight that a cell's queries have at those of its keys that they see; -inf: none. */
static float largest_weight(const struct sequence *x, const struct map_region *m, int head, int row,
                            int column)
{
    float most = -INFINITY;
    int nq = m->q1 - m->q0, nk = m->k1 - m->k0;
    for (int q = m->q0 + cell_first(row, nq, m->rows); q < m->q0 + cell_first(row + 1, nq, m->rows);
         q++)
        for (int k = m->k0 + cell_first(column, nk, m->columns);
             k < m->k0 + cell_first(column + 1, nk, m->columns) && k <= q; k++)
            if (x->s->window == 0 || k > q - x->s->window)
                most = fmaxf(most, x->patterns[((size_t)head * (size_t)x->s->keys + (size_t)q) *
                                                   (size_t)x->s->keys +
                                               (size_t)k]);
    return most;
}

static void map_case(const struct sequence *x, struct cache *c, int turn)
{
    struct map_region m = random_region(x->s->keys, turn);
    int head0 = turn % 2 && x->s->heads > 1 ? 1 : 0, heads = x->s->heads - head0;
    float *got = map_of(x, c, &m, head0, heads, turn == 1 ? 200 + below(200) : 5000);
    size_t at = 0;
    for (int head = head0; head < head0 + heads; head++)
        for (int row = 0; row < m.rows; row++)
            for (int column = 0; column < m.columns; column++, at++) {
                float want = largest_weight(x, &m, head, row, column);
                /* Keys behind a window may count as 0. */
                if (isinf(want) && (isinf(got[at]) || (got[at] == 0 && x->s->window > 0)))
                    continue;
                expect_near(name_of("map", x->s), &want, got + at, 0,
                            1e-6 * (2 + 2 * sqrt(x->s->h)));
            }
    free(got);
}

static void maps(void **state)
{
    NEEDS_GPU();
    for (size_t k = 0; k < N_SETUPS + sizeof wide_setups / sizeof *wide_setups; k++) {
        struct sequence x = sequence_open(k < N_SETUPS ? &setups[k] : &wide_setups[k - N_SETUPS]);
        struct cache c = cache_open(gpu, x.s);
        gpu->kv_store(gpu, &c.view, 0, x.s->keys, x.far_k, x.far_v);
        for (int turn = 0; turn < MAPS; turn++)
            map_case(&x, &c, turn);
        cache_free(&c);
        sequence_free(&x);
    }
}

/* A key that is no number makes those queries NaN that see it, and no other. */
static void maps_show_nan(void **state)
{
    NEEDS_GPU();
    for (size_t k = 0; k < N_SETUPS; k++) {
        struct sequence x = sequence_open(&setups[k]);
        struct cache c = cache_open(gpu, x.s);
        int keys = x.s->keys, bad = keys / 2;
        float nan = NAN;
        for (size_t i = 0; i < x.kv_row; i++)
            gpu->write(gpu, x.far_k + (size_t)bad * x.kv_row + i, &nan, sizeof nan);
        float *z = put_blank((size_t)keys * x.q_row);
        attend_part(&x, &c, 0, keys, z, x.far_sums);
        gpu->free(gpu, z);
        struct map_region m = {0, keys, 0, keys, keys, 1};
        float *got = map_of(&x, &c, &m, 0, x.s->heads, keys);
        for (int i = 0; i < x.s->heads * keys; i++) {
            int t = i % keys;
            bool sees = t >= bad && (x.s->window == 0 || bad > t - x.s->window);
            if (isnan(got[i]) != sees)
                fail_msg("%s: the query at %d %s a NaN at %d", name_of("map", x.s), t,
                         sees ? "does not see" : "sees", bad);
        }
        free(got);
        cache_free(&c);
        sequence_free(&x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_once),
        cmocka_unit_test(step_by_step),
        cmocka_unit_test(hidden_keys_spoil_nothing),
        cmocka_unit_test(maps),
        cmocka_unit_test(maps_show_nan),
    };
    int failed = cmocka_run_group_tests_name("CUDA: attention, f32", tests, open_f32, close_both);
    return failed +
           cmocka_run_group_tests_name("CUDA: attention, bf16", tests, open_bf16, close_both);
}
