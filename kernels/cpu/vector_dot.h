/* vector_dot.h - products by the dot rule: Linear's weights, whose inputs lie side by side. */
#ifndef MIDPASS_CPU_VECTOR_DOT_H
#define MIDPASS_CPU_VECTOR_DOT_H

#include "kernels/cpu/vector_tile.h"

#define FEW_DOT_ROWS 6
#define DOT_PANEL    64 /* weight rows widened at a time, for one run */
#define DOT_SCRATCH  (DOT_PANEL * DOT_RUN)
#define DOT_WIDE     (DOT_ROWS * DOT_OUTPUTS > DOT_STREAMS ? DOT_ROWS * DOT_OUTPUTS : DOT_STREAMS)

/* n rows of x against m rows of weights over one run of length. x and w point at the run's
 * beginning; the first `keep` outputs are kept, `apart` from each other. fetch: what comes
 * STREAM_AHEAD bytes later is fetched, where w is memory that is read once. */
EXPAND void dot_tile(const enum dtype t, const int n, const int m, const bool fetch, const float *x,
                     size_t x_stride, const void *const *w, int length, int keep, int apart,
                     struct finish to)
{
    vec sum[DOT_WIDE];
    const void *row[DOT_STREAMS];
    UNROLL
    for (int i = 0; i < n; i++)
        __builtin_prefetch(to.out + (size_t)i * to.stride, 1);
    UNROLL
    for (int j = 0; j < m; j++)
        row[j] = w[j];
    UNROLL
    for (int i = 0; i < n * m; i++)
        sum[i] = vec_set(0);
    int k = 0;
    for (; k + VEC_LANES <= length; k += VEC_LANES) {
        vec weights[DOT_STREAMS];
        UNROLL
        for (int j = 0; j < m; j++) {
            const char *at = weights_at(t, row[j], k);
            if (fetch)
                __builtin_prefetch(at + STREAM_AHEAD);
            weights[j] = weights_load(t, at);
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
    float sums[DOT_WIDE + 4];
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
        if (m == 4 && keep == 4 && apart == 1) {
            __m128 total = _mm_loadu_ps(sums + i * 4);
            if (!to.first)
                total = _mm_add_ps(_mm_loadu_ps(out), total);
            if (to.bias)
                total = _mm_add_ps(total, _mm_loadu_ps(to.bias));
            _mm_storeu_ps(out, total);
            continue;
        }
        for (int j = 0; j < keep; j++) {
            int o = j * apart;
            float total = to.first ? sums[i * m + j] : out[o] + sums[i * m + j];
            out[o] = to.bias ? total + to.bias[o] : total;
        }
    }
}

/* The shapes: any number of rows up to DOT_ROWS. */
EXPAND void dot_tile_rows(const enum dtype t, int n, const int m, const bool fetch, const float *x,
                          size_t x_stride, const void *const *w, int length, int keep, int apart,
                          struct finish to)
{
    switch (n) {
    case 1:
        dot_tile(t, 1, m, fetch, x, x_stride, w, length, keep, apart, to);
        break;
    case 2:
        dot_tile(t, 2, m, fetch, x, x_stride, w, length, keep, apart, to);
        break;
    case 3:
        dot_tile(t, 3, m, fetch, x, x_stride, w, length, keep, apart, to);
        break;
#if DOT_ROWS > 3
    case 4:
        dot_tile(t, 4, m, fetch, x, x_stride, w, length, keep, apart, to);
        break;
    case 5:
        dot_tile(t, 5, m, fetch, x, x_stride, w, length, keep, apart, to);
        break;
    case 6:
        dot_tile(t, 6, m, fetch, x, x_stride, w, length, keep, apart, to);
        break;
#endif
    }
}

/* Outputs o, o + apart, ... of few rows, the first `keep` of m. */
EXPAND void dot_few_outputs(const enum dtype t, const int m, const float *x, size_t x_stride,
                            const struct matrix *w, const float *bias, float *out,
                            size_t out_stride, int n, int o, int apart, int keep)
{
    const void *rows[DOT_STREAMS];
    const int tiles = (n + DOT_ROWS - 1) / DOT_ROWS;
    for (int j = 0; j < m; j++)
        rows[j] = matrix_row(w, o + least(j, keep - 1) * apart);
    for (int run = 0; run < w->n_in; run += DOT_RUN) {
        int length = least(DOT_RUN, w->n_in - run);
        bool last = run + DOT_RUN >= w->n_in;
        struct finish f = {out + o, out_stride, last && bias ? bias + o : NULL, run == 0};
        if (n == 1)
            dot_tile(t, 1, m, true, x + run, x_stride, rows, length, keep, apart, f);
        for (int i = 0; n > 1 && i < tiles; i++) {
            int row = tile_begin(n, DOT_ROWS, i);
            f.out = out + (size_t)row * out_stride + o;
            dot_tile_rows(t, tile_begin(n, DOT_ROWS, i + 1) - row, m, true,
                          x + (size_t)row * x_stride + run, x_stride, rows, length, keep, apart, f);
        }
        for (int j = 0; j < m; j++)
            rows[j] = weights_at(t, rows[j], length);
    }
}

/* Few rows, straight from the checkpoint. The weight rows are cut into m stretches that are read
 * side by side, each from its beginning to its end: memory answers several streams faster than
 * one, and rows that lie one behind the other are one stream to the hardware's prefetcher, which
 * finds a new one at each row otherwise, too late. */
EXPAND void dot_few(const enum dtype t, const int m, const float *x, size_t x_stride,
                    const struct matrix *w, const float *bias, float *out, size_t out_stride, int n,
                    int from, int to)
{
    const int each = (to - from) / m;
    for (int o = from; o < from + each; o++)
        dot_few_outputs(t, m, x, x_stride, w, bias, out, out_stride, n, o, each, m);
    if (from + each * m < to)
        dot_few_outputs(t, m, x, x_stride, w, bias, out, out_stride, n, from + each * m, 1,
                        to - from - each * m);
}

EXPAND void dot_few_of(const enum dtype t, const float *x, size_t x_stride, const struct matrix *w,
                       const float *bias, float *out, size_t out_stride, int n, int from, int to)
{
    if (n == 1)
        dot_few(t, DOT_STREAMS, x, x_stride, w, bias, out, out_stride, 1, from, to);
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
                    dot_tile_rows(DTYPE_F32, rows, DOT_OUTPUTS, false,
                                  x + (size_t)row * x_stride + run, x_stride, p, length, keep, 1,
                                  f);
                }
            }
        }
    }
}

#endif
