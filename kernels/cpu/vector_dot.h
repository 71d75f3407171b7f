/* vector_dot.h - products by the dot rule: Linear's weights, whose inputs lie side by side. */
#ifndef MIDPASS_CPU_VECTOR_DOT_H
#define MIDPASS_CPU_VECTOR_DOT_H

#include "kernels/cpu/vector_tile.h"

#define FEW_DOT_ROWS 6
#define ONE_STREAM   6144 /* inputs */
#define STREAM_AHEAD 4096 /* bytes */
#define DOT_PANEL    64   /* weight rows widened at a time, for one run */
#define DOT_SCRATCH  (DOT_PANEL * DOT_RUN)

/* n rows of x against m rows of weights over one run of length. x and w point at the run's
 * beginning; the first `keep` outputs are kept. next: for each row what is to be fetched
 * meanwhile, or NULL: the hardware follows a stream only to the end of its 4 KiB. */
EXPAND void dot_tile(const enum dtype t, const int n, const int m, const float *x, size_t x_stride,
                     const void *const *w, const void *const *next, int length, int keep,
                     struct finish to)
{
    vec sum[DOT_ROWS * 4];
    const void *row[4], *ahead[4];
    UNROLL
    for (int i = 0; i < n; i++)
        __builtin_prefetch(to.out + (size_t)i * to.stride, 1);
    UNROLL
    for (int j = 0; j < m; j++) {
        row[j] = w[j];
        ahead[j] = next ? next[j] : NULL;
    }
    UNROLL
    for (int i = 0; i < n * m; i++)
        sum[i] = vec_set(0);
    int k = 0;
    for (; k + VEC_LANES <= length; k += VEC_LANES) {
        vec weights[4];
        UNROLL
        for (int j = 0; j < m; j++) {
            if (next)
                __builtin_prefetch(weights_at(t, ahead[j], k));
            weights[j] = weights_load(t, weights_at(t, row[j], k));
        }
        UNROLL
        for (int i = 0; i < n; i++) {
            vec v = vec_load(x + (size_t)i * x_stride + k);
            UNROLL
            for (int j = 0; j < m; j++)
                sum[i * m + j] = vec_fma(v, weights[j], sum[i * m + j]);
        }
    }
    if (k < length) {
        int rest = length - k;
        UNROLL
        for (int j = 0; j < m; j++) {
            vec weights = weights_load_n(t, weights_at(t, row[j], k), rest, vec_set(PAD_WEIGHT));
            UNROLL
            for (int i = 0; i < n; i++) {
                vec v = vec_load_n(x + (size_t)i * x_stride + k, rest, vec_set(PAD_X));
                sum[i * m + j] = vec_fma(v, weights, sum[i * m + j]);
            }
        }
    }
    float sums[DOT_ROWS * 4 + 4];
    UNROLL
    for (int i = 0; i < n * m; i += 4) {
        const int top = n * m - 1;
        _mm_storeu_ps(sums + i,
                      vec_sum4(sum[i], sum[i + 1 < top ? i + 1 : top],
                               sum[i + 2 < top ? i + 2 : top], sum[i + 3 < top ? i + 3 : top]));
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        float *out = to.out + (size_t)i * to.stride;
        if (m == 4 && keep == 4) {
            __m128 total = _mm_loadu_ps(sums + i * 4);
            if (!to.first)
                total = _mm_add_ps(_mm_loadu_ps(out), total);
            if (to.bias)
                total = _mm_add_ps(total, _mm_loadu_ps(to.bias));
            _mm_storeu_ps(out, total);
            continue;
        }
        for (int j = 0; j < keep; j++) {
            float total = to.first ? sums[i * m + j] : out[j] + sums[i * m + j];
            out[j] = to.bias ? total + to.bias[j] : total;
        }
    }
}

/* The shapes: any number of rows up to DOT_ROWS. */
EXPAND void dot_tile_rows(const enum dtype t, int n, const int m, const float *x, size_t x_stride,
                          const void *const *w, const void *const *next, int length, int keep,
                          struct finish to)
{
    switch (n) {
    case 1:
        dot_tile(t, 1, m, x, x_stride, w, next, length, keep, to);
        break;
    case 2:
        dot_tile(t, 2, m, x, x_stride, w, next, length, keep, to);
        break;
    case 3:
        dot_tile(t, 3, m, x, x_stride, w, next, length, keep, to);
        break;
#if DOT_ROWS > 3
    case 4:
        dot_tile(t, 4, m, x, x_stride, w, next, length, keep, to);
        break;
    case 5:
        dot_tile(t, 5, m, x, x_stride, w, next, length, keep, to);
        break;
    case 6:
        dot_tile(t, 6, m, x, x_stride, w, next, length, keep, to);
        break;
#endif
    }
}

/* Few rows: m weight rows side by side, straight from the checkpoint. */
EXPAND void dot_few(const enum dtype t, const int m, const float *x, size_t x_stride,
                    const struct matrix *w, const float *bias, float *out, size_t out_stride, int n,
                    int from, int to)
{
    const void *rows[4], *next[4], *ahead[4];
    const int tiles = (n + DOT_ROWS - 1) / DOT_ROWS;
    for (int j = 0; j < m; j++)
        next[j] = matrix_row(w, least(from + j, to - 1));
    for (int o = from; o < to; o += m) {
        int keep = least(m, to - o);
        for (int run = 0; run < w->n_in; run += DOT_RUN) {
            int length = least(DOT_RUN, w->n_in - run);
            bool last = run + DOT_RUN >= w->n_in;
            for (int j = 0; j < m; j++) {
                rows[j] = next[j];
                next[j] = last ? matrix_row(w, least(o + m + j, to - 1))
                               : weights_at(t, rows[j], DOT_RUN);
                ahead[j] = m == 1 ? (const char *)rows[j] + STREAM_AHEAD : next[j];
            }
            struct finish f = {out + o, out_stride, last && bias ? bias + o : NULL, run == 0};
            if (n == 1)
                dot_tile(t, 1, m, x + run, x_stride, rows, ahead, length, keep, f);
            for (int i = 0; n > 1 && i < tiles; i++) {
                int row = tile_begin(n, DOT_ROWS, i);
                f.out = out + (size_t)row * out_stride + o;
                dot_tile_rows(t, tile_begin(n, DOT_ROWS, i + 1) - row, m,
                              x + (size_t)row * x_stride + run, x_stride, rows, ahead, length, keep,
                              f);
            }
        }
    }
}

EXPAND void dot_few_of(const enum dtype t, const float *x, size_t x_stride, const struct matrix *w,
                       const float *bias, float *out, size_t out_stride, int n, int from, int to)
{
    /* One row of x: one row of weights after the other is one stream, and the fastest way to
     * read. It reads x again for each, so x must leave room in the first-level cache. */
    if (n == 1 && w->n_in <= ONE_STREAM)
        dot_few(t, 1, x, x_stride, w, bias, out, out_stride, 1, from, to);
    else if (n == 1)
        dot_few(t, 4, x, x_stride, w, bias, out, out_stride, 1, from, to);
    else
        dot_few(t, DOT_OUTPUTS, x, x_stride, w, bias, out, out_stride, n, from, to);
}

/* Widens one run of one weight row: the end of the last vector is padded. */
EXPAND void widen_row(const enum dtype t, const void *row, int length, float *to)
{
    int k = 0;
    for (; k + VEC_LANES <= length; k += VEC_LANES)
        vec_store(to + k, weights_load(t, weights_at(t, row, k)));
    if (k < length)
        vec_store(to + k,
                  weights_load_n(t, weights_at(t, row, k), length - k, vec_set(PAD_WEIGHT)));
}

static void widen(enum dtype t, const void *row, int length, float *to)
{
    if (t == DTYPE_F32)
        widen_row(DTYPE_F32, row, length, to);
    else if (t == DTYPE_F16)
        widen_row(DTYPE_F16, row, length, to);
    else
        widen_row(DTYPE_BF16, row, length, to);
}

/* Part i of `parts` of what the next panel will be made of is fetched: outputs from o on, the
 * run's `length` inputs. */
static inline void panel_fetch(const struct matrix *w, int o, int outputs, int run, int length,
                               int i, int parts)
{
    for (int j = outputs * i / parts; j < outputs * (i + 1) / parts; j++) {
        const char *row = weights_at(w->dtype, matrix_row(w, o + j), run);
        for (size_t at = 0; at < (size_t)length * dtype_size(w->dtype); at += 64)
            __builtin_prefetch(row + at, 0, 2);
    }
}

/* Many rows. A run of DOT_PANEL weight rows lies widened in the second-level cache; a tile's
 * rows of x stay in the first while all of the panel passes by them. */
static void dot_many(const float *x, size_t x_stride, const struct matrix *w, const float *bias,
                     float *out, size_t out_stride, int n, int from, int to, float *panel)
{
    int tiles = (n + DOT_ROWS - 1) / DOT_ROWS;
    for (int o = from; o < to; o += DOT_PANEL) {
        int outputs = least(DOT_PANEL, to - o);
        for (int run = 0; run < w->n_in; run += DOT_RUN) {
            int length = least(DOT_RUN, w->n_in - run);
            bool last = run + DOT_RUN >= w->n_in;
            for (int j = 0; j < outputs; j++)
                widen(w->dtype, weights_at(w->dtype, matrix_row(w, o + j), run), length,
                      panel + (size_t)j * DOT_RUN);
            int next_o = last ? o + DOT_PANEL : o, next_run = last ? 0 : run + DOT_RUN;
            int next_outputs = least(DOT_PANEL, to - next_o);
            for (int i = 0; i < tiles; i++) {
                int row = tile_begin(n, DOT_ROWS, i), rows = tile_begin(n, DOT_ROWS, i + 1) - row;
                panel_fetch(w, next_o, next_outputs, next_run, least(DOT_RUN, w->n_in - next_run),
                            i, tiles);
                for (int j = 0; j < outputs; j += DOT_OUTPUTS) {
                    const void *p[4];
                    int keep = least(DOT_OUTPUTS, outputs - j);
                    for (int c = 0; c < DOT_OUTPUTS; c++)
                        p[c] = panel + (size_t)(j + (c < keep ? c : keep - 1)) * DOT_RUN;
                    struct finish f = {out + (size_t)row * out_stride + o + j, out_stride,
                                       last && bias ? bias + o + j : NULL, run == 0};
                    dot_tile_rows(DTYPE_F32, rows, DOT_OUTPUTS, x + (size_t)row * x_stride + run,
                                  x_stride, p, NULL, length, keep, f);
                }
            }
        }
    }
}

#endif
