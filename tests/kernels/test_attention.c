/* test_attention.c - attention: the reference against double, every instruction set against
 * the reference, and one sequence cut into chunks in several ways, bit for bit. */
#include "tests/kernels/compare.h"

#include <stdbool.h>

struct setup {
    int heads, kv_heads, h, keys, window;
};

/* Pages from one block, each with something before the parts and between them. */
struct cache {
    void **pages;
    char *memory;
    struct kv_view view;
};

#define PART_OFFSET 12

static struct cache cache_open(struct backend *b, const struct setup *s)
{
    struct cache c = {0};
    size_t part = b->kv_bytes(b, s->kv_heads, s->h), page = 2 * part + 2 * PART_OFFSET;
    size_t n = ((size_t)s->keys + KV_PAGE - 1) / KV_PAGE;
    c.memory = malloc(n * page);
    c.pages = malloc(n * sizeof *c.pages);
    assert_non_null(c.memory);
    assert_non_null(c.pages);
    memset(c.memory, 0xff, n * page); /* NaN, wherever nothing is stored */
    for (size_t i = 0; i < n; i++)
        c.pages[i] = c.memory + i * page;
    c.view = (struct kv_view){c.pages, PART_OFFSET, part + 2 * PART_OFFSET, s->kv_heads, s->h};
    return c;
}

static void cache_free(struct cache *c)
{
    free(c->pages);
    free(c->memory);
}

static struct attention attention_of(const struct setup *s)
{
    return (struct attention){s->heads, s->kv_heads, s->h, (float)(1 / sqrt(s->h)), s->window};
}

/* What a whole sequence needs and gives: rows of z [keys, H, h]. */
struct run {
    float *q, *k, *v, *z, *scores, *patterns; /* scores, patterns: [H, keys, keys] */
};

static struct run run_open(const struct setup *s)
{
    size_t rows = (size_t)s->keys, q = rows * (size_t)(s->heads * s->h);
    size_t kv = rows * (size_t)(s->kv_heads * s->h), square = (size_t)s->heads * rows * rows;
    struct run r = {random_floats(q), random_floats(kv),    random_floats(kv),
                    blank_floats(q),  blank_floats(square), blank_floats(square)};
    for (size_t i = 0; i < q; i++)
        r.q[i] *= 6;
    return r;
}

static void run_free(struct run *r)
{
    free(r->q);
    free(r->k);
    free(r->v);
    free(r->z);
    free(r->scores);
    free(r->patterns);
}

/* The three steps, all rows at once, from a cache that holds them all. */
static void three_steps(struct backend *b, const struct setup *s, const struct cache *c,
                        struct run *r)
{
    struct attention a = attention_of(s);
    b->scores(b, &a, &c->view, r->q, 0, s->keys, 0, s->heads, r->scores);
    b->softmax(b, &a, r->scores, 0, s->keys, s->heads, r->patterns, NULL);
    b->mix(b, &a, &c->view, r->patterns, 0, s->keys, 0, s->heads, r->z, (size_t)(s->heads * s->h));
}

static bool visible(const struct setup *s, int t, int key)
{
    return key <= t && (s->window <= 0 || key > t - s->window);
}

static const struct setup setups[] = {
    {3, 3, 64, 70, 0},   {4, 2, 16, 150, 0},     {6, 1, 20, 33, 0},   {2, 2, 7, 1, 0},
    {2, 1, 130, 40, 0},  {8, 2, 32, 140, 5},     {3, 3, 64, 300, 1},  {4, 4, 80, 290, 130},
    {1, 1, 128, 17, 16}, {4, 2, 24, 1100, 1050}, {2, 2, 256, 90, 17}, {9, 3, 1, 64, 3},
};
#define N_SETUPS (sizeof setups / sizeof *setups)

static void reference_is_right(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_SETUPS; k++) {
        const struct setup *s = &setups[k];
        if (s->keys > 300)
            continue;
        struct backend *b = backends[0];
        struct cache c = cache_open(b, s);
        struct run r = run_open(s);
        struct attention a = attention_of(s);
        b->kv_store(b, &c.view, 0, s->keys, r.k, r.v);
        three_steps(b, s, &c, &r);
        double *p = malloc((size_t)s->keys * sizeof *p);
        assert_non_null(p);
        for (int t = 0; t < s->keys; t++) {
            for (int head = 0; head < s->heads; head++) {
                int g = head / (s->heads / s->kv_heads);
                const float *q = r.q + (t * s->heads + head) * s->h;
                double sum = 0;
                for (int key = 0; key < s->keys; key++) {
                    size_t at = ((size_t)head * (size_t)s->keys + (size_t)t) * (size_t)s->keys +
                                (size_t)key;
                    double score = 0;
                    for (int i = 0; i < s->h; i++)
                        score += (double)q[i] * (double)r.k[(key * s->kv_heads + g) * s->h + i];
                    score *= (double)a.scale;
                    p[key] = visible(s, t, key) ? exp(score) : 0;
                    sum += p[key];
                    if (visible(s, t, key))
                        assert_true(fabs((double)r.scores[at] - score) < 1e-4);
                    else
                        assert_true(r.scores[at] == -INFINITY && bits_of(r.patterns[at]) == 0);
                }
                for (int i = 0; i < s->h; i++) {
                    double z = 0;
                    for (int key = 0; key < s->keys; key++)
                        z += p[key] / sum * (double)r.v[(key * s->kv_heads + g) * s->h + i];
                    assert_true(fabs((double)r.z[(t * s->heads + head) * s->h + i] - z) < 1e-5);
                }
            }
        }
        free(p);
        run_free(&r);
        cache_free(&c);
    }
}

/* The sequence again in chunks, storing each before it attends, as a run does. */
static void compare_chunks(struct backend *b, const struct setup *s, const struct run *want,
                           int chunk)
{
    struct cache c = cache_open(b, s);
    struct attention a = attention_of(s);
    size_t row = (size_t)(s->heads * s->h), kv_row = (size_t)(s->kv_heads * s->h);
    struct workspace work = work_open(b, chunk, s->keys);
    float *z = blank_floats((size_t)s->keys * row);
    for (int pos = 0; pos < s->keys; pos += chunk) {
        int n = s->keys - pos < chunk ? s->keys - pos : chunk;
        b->kv_store(b, &c.view, pos, n, want->k + (size_t)pos * kv_row, NULL);
        b->kv_store(b, &c.view, pos, n, NULL, want->v + (size_t)pos * kv_row);
        b->attend(b, &a, &c.view, want->q + (size_t)pos * row, pos, n, z + (size_t)pos * row, NULL,
                  work);
    }
    char what[96];
    snprintf(what, sizeof what, "attend in chunks of %d: H %d G %d h %d S %d window %d", chunk,
             s->heads, s->kv_heads, s->h, s->keys, s->window);
    expect_same(what, b, want->z, z, (size_t)s->keys * row);
    b->free(b, work.data);
    free(z);
    cache_free(&c);
}

/* Waking threads thousands of times on a busy machine is slow and shows nothing new. */
static bool chunk_is_worth(const struct backend *b, const struct setup *s, int chunk)
{
    if (b == backends[0] && s->keys > 300)
        return false;
    return chunk > 2 || s->keys <= 70 || (b->n_threads == 1 && s->keys <= 300);
}

static void chunks_have_the_same_bits(void **state)
{
    static const int chunks[] = {1, 2, 7, 64, 130, 5000};
    (void)state;
    for (size_t k = 0; k < N_SETUPS; k++) {
        const struct setup *s = &setups[k];
        struct cache c = cache_open(backends[0], s);
        struct run want = run_open(s);
        backends[0]->kv_store(backends[0], &c.view, 0, s->keys, want.k, want.v);
        three_steps(backends[0], s, &c, &want);
        for (int i = 0; i < n_backends; i++)
            for (size_t j = 0; j < sizeof chunks / sizeof *chunks; j++)
                if (chunk_is_worth(backends[i], s, chunks[j]))
                    compare_chunks(backends[i], s, &want, chunks[j]);
        cache_free(&c);
        run_free(&want);
    }
}

/* The three steps of a part: rows from pos0 on, heads from head0 on. */
static void compare_steps(struct backend *b, const struct setup *s, const struct cache *c,
                          const struct run *want, int pos0, int n, int head0, int heads)
{
    struct attention a = attention_of(s);
    size_t keys = (size_t)(pos0 + n), count = (size_t)heads * (size_t)n * keys;
    size_t row = (size_t)(s->heads * s->h), z_stride = (size_t)(heads * s->h) + 3;
    float *scores = blank_floats(count + 1), *z = blank_floats((size_t)n * z_stride);
    float guard = scores[count];
    b->scores(b, &a, &c->view, want->q + (size_t)pos0 * row, pos0, n, head0, heads, scores);
    for (int pass = 0; pass < 2; pass++) {
        const float *all = pass ? want->patterns : want->scores;
        if (pass)
            b->softmax(b, &a, scores, pos0, n, heads, scores, NULL);
        for (int head = 0; head < heads; head++)
            for (int i = 0; i < n; i++) {
                size_t at = (size_t)(head0 + head) * (size_t)s->keys + (size_t)(pos0 + i);
                expect_same(pass ? "softmax of a part" : "scores of a part", b,
                            all + at * (size_t)s->keys,
                            scores + ((size_t)head * (size_t)n + (size_t)i) * keys, keys);
            }
    }
    b->mix(b, &a, &c->view, scores, pos0, n, head0, heads, z, z_stride);
    for (int i = 0; i < n; i++)
        expect_same("mix of a part", b, want->z + (size_t)(pos0 + i) * row + (size_t)(head0 * s->h),
                    z + (size_t)i * z_stride, (size_t)(heads * s->h));
    assert_true(same_bits(guard, scores[count]));
    free(scores);
    free(z);
}

static void parts_have_the_same_bits(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_SETUPS; k++) {
        const struct setup *s = &setups[k];
        struct cache c = cache_open(backends[0], s);
        struct run want = run_open(s);
        backends[0]->kv_store(backends[0], &c.view, 0, s->keys, want.k, want.v);
        three_steps(backends[0], s, &c, &want);
        for (int i = 0; i < n_backends; i++) {
            int half = s->keys / 2, head = s->heads - 1;
            compare_steps(backends[i], s, &c, &want, 0, s->keys, 0, s->heads);
            compare_steps(backends[i], s, &c, &want, half, s->keys - half, head, 1);
            compare_steps(backends[i], s, &c, &want, s->keys - 1, 1, 0, s->heads);
            compare_steps(backends[i], s, &c, &want, half, 1, head / 2, head - head / 2 + 1);
        }
        cache_free(&c);
        run_free(&want);
    }
}

/* A key or value that a query does not see may be anything. */
static void what_is_not_seen_does_not_leak(void **state)
{
    static const struct setup s = {4, 2, 33, 100, 20};
    (void)state;
    for (int i = 0; i < n_backends; i++) {
        struct backend *b = backends[i];
        struct cache c = cache_open(b, &s);
        struct run r = run_open(&s);
        size_t kv_row = (size_t)(s.kv_heads * s.h), row = (size_t)(s.heads * s.h);
        struct attention a = attention_of(&s);
        struct workspace work = work_open(b, s.keys, s.keys);
        for (size_t k = 0; k < kv_row; k++) {
            r.k[50 * kv_row + k] = NAN;
            r.v[50 * kv_row + k] = INFINITY;
        }
        b->kv_store(b, &c.view, 0, s.keys, r.k, r.v);
        b->attend(b, &a, &c.view, r.q, 0, s.keys, r.z, NULL, work);
        for (int t = 0; t < s.keys; t++)
            for (size_t k = 0; k < row; k++)
                assert_true(isfinite(r.z[(size_t)t * row + k]) == !visible(&s, t, 50));
        /* ... and a pattern beyond what is seen is not looked at. */
        b->scores(b, &a, &c.view, r.q, 0, s.keys, 0, s.heads, r.scores);
        b->softmax(b, &a, r.scores, 0, s.keys, s.heads, r.patterns, NULL);
        for (int k = 0; k < s.heads * s.keys * s.keys; k++)
            if (!visible(&s, k / s.keys % s.keys, k % s.keys))
                r.patterns[k] = NAN;
        b->mix(b, &a, &c.view, r.patterns, 0, s.keys, 0, s.heads, r.z, row);
        for (int t = 0; t < s.keys; t++)
            for (size_t k = 0; k < row; k++)
                assert_true(isfinite(r.z[(size_t)t * row + k]) == !visible(&s, t, 50));
        b->free(b, work.data);
        cache_free(&c);
        run_free(&r);
    }
}

/* Scores edited to -inf for all that a query sees: its row is NaN, and others are not. */
static void a_row_without_a_finite_score_is_nan(void **state)
{
    static const struct setup s = {1, 1, 8, 50, 0};
    (void)state;
    for (int i = 0; i < n_backends; i++) {
        struct attention a = attention_of(&s);
        float *scores = random_floats(50 * 50), p[50 * 50];
        for (int k = 0; k <= 30; k++)
            scores[30 * 50 + k] = -INFINITY;
        backends[i]->softmax(backends[i], &a, scores, 0, 50, 1, p, NULL);
        for (int k = 0; k < 50 * 50; k++) {
            int t = k / 50;
            assert_true(isnan(p[k]) == (t == 30 && k % 50 <= t));
            assert_true(k % 50 <= t || bits_of(p[k]) == 0);
        }
        free(scores);
    }
}

/* Scratch grows with S, not with n * S. */
static void scratch_is_linear(void **state)
{
    (void)state;
    for (int i = 0; i < n_backends; i++) {
        struct backend *b = backends[i];
        size_t small = b->workspace_bytes(b, 1, 1 << 20),
               large = b->workspace_bytes(b, 4096, 1 << 20);
        assert_true(large <= small + ((size_t)64 << 20));
        assert_true(b->workspace_bytes(b, 512, 1 << 21) <= 2 * large);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_is_right),
        cmocka_unit_test(chunks_have_the_same_bits),
        cmocka_unit_test(parts_have_the_same_bits),
        cmocka_unit_test(what_is_not_seen_does_not_leak),
        cmocka_unit_test(a_row_without_a_finite_score_is_nan),
        cmocka_unit_test(scratch_is_linear),
    };
    return cmocka_run_group_tests(tests, backends_setup, backends_teardown);
}
