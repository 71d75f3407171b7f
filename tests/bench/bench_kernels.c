/* bench_kernels.c - how near the kernels come to what the machine can do.
 *
 * What the machine can do is measured in the same breath with the same threads: how fast they
 * read a large buffer, and how many fused multiply-adds they finish in registers. Other
 * programs may be running, so each kernel is measured between two measurements of its limit,
 * and held against the better of them. Shown are the median and the best of the rounds.
 *
 *   bench_kernels [isa|best [threads [rounds [word]]]]   word: only lines that have it */
#include "kernels/kernels.h"
#include "tests/support/limits.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BUFFER     ((size_t)256 << 20)
#define ROUNDS_MAX 99

/* ---- the kernels ----------------------------------------------------------------------------- */

struct line {
    const char *name;
    bool attention, conv;
    enum dtype dtype;
    int n, n_out, n_in; /* attention: rows, heads, width of a head */
    int kv_heads, keys;
    double rate, ratio[ROUNDS_MAX]; /* the best rate; every round's ratio to the limit */
};

static struct line lines[] = {
    {"generate  768x2304  f32  Conv1D", false, true, DTYPE_F32, 1, 2304, 768, 0, 0, 0, {0}},
    {"generate 2048x8192  f32  Conv1D", false, true, DTYPE_F32, 1, 8192, 2048, 0, 0, 0, {0}},
    {"generate 2048x8192  bf16 Conv1D", false, true, DTYPE_BF16, 1, 8192, 2048, 0, 0, 0, {0}},
    {"generate  768x2304  f32  Linear", false, false, DTYPE_F32, 1, 2304, 768, 0, 0, 0, {0}},
    {"generate 2048x8192  f32  Linear", false, false, DTYPE_F32, 1, 8192, 2048, 0, 0, 0, {0}},
    {"generate 2048x8192  bf16 Linear", false, false, DTYPE_BF16, 1, 8192, 2048, 0, 0, 0, {0}},
    {"generate 8192x2048  bf16 Linear", false, false, DTYPE_BF16, 1, 2048, 8192, 0, 0, 0, {0}},
    {"generate 2048x8192  f16  Linear", false, false, DTYPE_F16, 1, 8192, 2048, 0, 0, 0, {0}},
    {"4 rows   2048x8192  bf16 Linear", false, false, DTYPE_BF16, 4, 8192, 2048, 0, 0, 0, {0}},
    {"4 rows   2048x8192  f32  Conv1D", false, true, DTYPE_F32, 4, 8192, 2048, 0, 0, 0, {0}},
    {"prompt    768x2304  f32  Conv1D", false, true, DTYPE_F32, 512, 2304, 768, 0, 0, 0, {0}},
    {"prompt    768x3072  f32  Conv1D", false, true, DTYPE_F32, 512, 3072, 768, 0, 0, 0, {0}},
    {"prompt   2048x8192  bf16 Linear", false, false, DTYPE_BF16, 512, 8192, 2048, 0, 0, 0, {0}},
    {"prompt   8192x2048  bf16 Linear", false, false, DTYPE_BF16, 512, 2048, 8192, 0, 0, 0, {0}},
    {"128 rows 2048x2048  bf16 Linear", false, false, DTYPE_BF16, 128, 2048, 2048, 0, 0, 0, {0}},
    {"32 rows  2048x2048  bf16 Linear", false, false, DTYPE_BF16, 32, 2048, 2048, 0, 0, 0, {0}},
    {"attention 512 rows, 12 heads, h 64", true, false, 0, 512, 12, 64, 12, 512, 0, {0}},
    {"attention 512 of 4096, 32/8 heads, h 64", true, false, 0, 512, 32, 64, 8, 4096, 0, {0}},
    {"attention 1 of 4096, 32/8 heads, h 64", true, false, 0, 1, 32, 64, 8, 4096, 0, {0}},
};
#define N_LINES (sizeof lines / sizeof *lines)

struct machine {
    struct backend *b;
    char *buffer;   /* weights, keys and values are taken from it */
    float *x, *out; /* rows */
    struct workspace work;
};

/* One product. part: which of several matrices in the buffer, so that none is left in a cache. */
static void product(struct machine *m, const struct line *l, size_t part)
{
    size_t bytes = (size_t)l->n_out * (size_t)l->n_in * dtype_size(l->dtype);
    struct matrix w = {
        .data = m->buffer + part % (BUFFER / bytes) * bytes,
        .dtype = l->dtype,
        .n_out = l->n_out,
        .n_in = l->n_in,
        .out_stride = l->conv ? 1 : l->n_in,
        .in_stride = l->conv ? l->n_out : 1,
    };
    m->b->matmul(m->b, m->x, (size_t)l->n_in, &w, NULL, m->out, (size_t)l->n_out, l->n, m->work);
}

static void attention(struct machine *m, const struct line *l, size_t part)
{
    static void *pages[4096 / KV_PAGE];
    size_t page = 2 * m->b->kv_bytes(m->b, l->kv_heads, l->n_in);
    size_t n = (size_t)l->keys / KV_PAGE, first = part % (BUFFER / (n * page)) * n;
    for (size_t i = 0; i < n; i++)
        pages[i] = m->buffer + (first + i) * page;
    struct kv_view kv = {pages, 0, m->b->kv_bytes(m->b, l->kv_heads, l->n_in), l->kv_heads,
                         l->n_in};
    struct attention a = {l->n_out, l->kv_heads, l->n_in, 0.125f, 0};
    m->b->attend(m->b, &a, &kv, m->x, l->keys - l->n, l->n, m->out, NULL, m->work);
}

static double line_rate(struct machine *m, struct line *l)
{
    double work = 2.0 * l->n * l->n_out * l->n_in;
    if (l->attention) /* two products with half of the last n keys and all before */
        work *= 2 * (l->keys - l->n / 2.0 + 0.5);
    else if (l->n <= 4)
        work = (double)l->n_out * l->n_in * (double)dtype_size(l->dtype);
    if (l->attention && l->n == 1)
        work = 2.0 * l->kv_heads * l->n_in * (double)sizeof(float) * l->keys;
    double begin = limit_seconds(), seconds;
    size_t times = 0;
    do {
        if (l->attention)
            attention(m, l, times);
        else
            product(m, l, times);
        times++;
        seconds = limit_seconds() - begin;
    } while (seconds < 0.12);
    return work * (double)times / seconds;
}

static bool reads(const struct line *l)
{
    return l->n <= 4;
}

static double limit_measure(const struct machine *m, const struct line *l)
{
    return reads(l) ? limit_read_rate(m->buffer, BUFFER, m->b->n_threads, 2)
                    : limit_fma_rate(m->b->n_threads);
}

static int ratio_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double greater(double a, double b)
{
    return a > b ? a : b;
}

static bool machine_open(struct machine *m, const char *isa, int threads)
{
    struct backend_options options = {.n_threads = threads, .isa = isa};
    char why[256];
    m->b = backend_open("cpu", &options, why);
    if (!m->b) {
        fprintf(stderr, "%s\n", why);
        return false;
    }
    const size_t floats = (size_t)512 * 8192;
    m->work.bytes = m->b->workspace_bytes(m->b, 512, 4096);
    m->work.data = m->b->alloc(m->b, m->work.bytes);
    m->buffer = m->b->alloc(m->b, BUFFER);
    m->x = m->b->alloc(m->b, floats * sizeof(float));
    m->out = m->b->alloc(m->b, floats * sizeof(float));
    if (!m->work.data || !m->buffer || !m->x || !m->out) {
        fprintf(stderr, "no memory\n");
        return false;
    }
    /* Small numbers, as f32 and as halves. */
    for (size_t i = 0; i < BUFFER / 4; i++) {
        uint32_t bits = 0x3c003c00u ^ (uint32_t)(i * 2654435761u & 0x80ff80ffu);
        memcpy(m->buffer + i * 4, &bits, 4);
    }
    for (size_t i = 0; i < floats; i++)
        m->x[i] = (float)(i * 2654435761u % 1000) * 1e-3f - 0.5f;
    return true;
}

int main(int argc, char **argv)
{
    struct machine m = {0};
    int rounds = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 5;
    const char *word = argc > 4 ? argv[4] : "";
    if (!machine_open(&m, argc > 1 && strcmp(argv[1], "best") != 0 ? argv[1] : NULL,
                      argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0))
        return 1;
    if (rounds < 1 || rounds > ROUNDS_MAX)
        rounds = 5;
    double peak = 0, bandwidth = 0;
    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < N_LINES; i++) {
            struct line *l = &lines[i];
            if (!strstr(l->name, word))
                continue;
            double limit = limit_measure(&m, l), rate = line_rate(&m, l);
            limit = greater(limit, limit_measure(&m, l));
            *(reads(l) ? &bandwidth : &peak) = greater(reads(l) ? bandwidth : peak, limit);
            l->rate = greater(l->rate, rate);
            l->ratio[round] = rate / limit;
        }
    }
    printf("%s: reads %.1f GB/s, peak %.0f GFLOP/s (best of %d rounds)\n\n%-42s %16s  %s\n",
           m.b->detail, bandwidth * 1e-9, peak * 1e-9, rounds, "", "best",
           "of the limit: median, best");
    for (size_t i = 0; i < N_LINES; i++) {
        struct line *l = &lines[i];
        if (!strstr(l->name, word))
            continue;
        qsort(l->ratio, (size_t)rounds, sizeof *l->ratio, ratio_order);
        printf("%-42s %8.1f %s  %5.1f%%  %5.1f%% of %s\n", l->name, l->rate * 1e-9,
               reads(l) ? "GB/s   " : "GFLOP/s", 100 * l->ratio[rounds / 2],
               100 * l->ratio[rounds - 1], reads(l) ? "reading" : "peak");
    }
    m.b->free(m.b, m.buffer);
    m.b->free(m.b, m.work.data);
    m.b->free(m.b, m.x);
    m.b->free(m.b, m.out);
    backend_close(m.b);
    return 0;
}
