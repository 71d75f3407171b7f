/* vector_dot.h - few rows by the dot rule: Linear's weights, whose inputs lie side by side. */
#ifndef MIDPASS_CPU_VECTOR_DOT_H
#define MIDPASS_CPU_VECTOR_DOT_H

#include "kernels/cpu/vector_tile.h"

#define FEW_DOT_ROWS 6
#define DOT_WIDE     (DOT_ROWS * DOT_OUTPUTS > DOT_STREAMS ? DOT_ROWS * DOT_OUTPUTS : DOT_STREAMS)

/* Where a run's sums go: set by the first run, added to by the others, bias after the last. */
struct finish {
    float *out; /* of the tile's first row and output */
    size_t stride;
    const float *bias; /* of the tile's first output; NULL: none, or not the last run */
    bool first;
};

/* The sums of n rows by m outputs, `apart` from each other, of which `keep` are kept. */
EXPAND void dot_finish(const int n, const int m, const vec *sum, int keep, int apart,
                       struct finish to)
{
    float sums[DOT_WIDE + 4];
    if (m == 4 && keep == 4 && apart == 1) {
        UNROLL
        for (int i = 0; i < n; i++, sum += 4) {
            float *out = to.out + (size_t)i * to.stride;
            __m128 total = vec_sum4(sum[0], sum[1], sum[2], sum[3]);
            if (!to.first)
                total = _mm_add_ps(_mm_loadu_ps(out), total);
            if (to.bias)
                total = _mm_add_ps(total, _mm_loadu_ps(to.bias));
            _mm_storeu_ps(out, total);
        }
        return;
    }
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
        for (int j = 0; j < keep; j++) {
            int o = j * apart;
            float total = to.first ? sums[i * m + j] : out[o] + sums[i * m + j];
            out[o] = to.bias ? total + to.bias[o] : total;
        }
    }
}

/* n rows of x against m rows of weights over one run of length. x and w point at the run's
 * beginning; the first `keep` outputs are kept, `apart` from each other. */
EXPAND void dot_tile(const enum dtype t, const int n, const int m, const float *x, size_t x_stride,
                     const void *const *w, int length, int keep, int apart, struct finish to)
{
    vec sum[DOT_WIDE];
    const void *row[DOT_STREAMS];
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
            const void *at = weights_at(t, row[j], k);
            fetch_stream(at);
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
    dot_finish(n, m, sum, keep, apart, to);
}

/* The shapes: any number of rows up to DOT_ROWS. */
EXPAND void dot_tile_rows(const enum dtype t, int n, const int m, const float *x, size_t x_stride,
                          const void *const *w, int length, int keep, int apart, struct finish to)
{
    switch (n) {
    case 1:
        dot_tile(t, 1, m, x, x_stride, w, length, keep, apart, to);
        break;
    case 2:
        dot_tile(t, 2, m, x, x_stride, w, length, keep, apart, to);
        break;
    case 3:
        dot_tile(t, 3, m, x, x_stride, w, length, keep, apart, to);
        break;
#if DOT_ROWS > 3
    case 4:
        dot_tile(t, 4, m, x, x_stride, w, length, keep, apart, to);
        break;
    case 5:
        dot_tile(t, 5, m, x, x_stride, w, length, keep, apart, to);
        break;
    case 6:
        dot_tile(t, 6, m, x, x_stride, w, length, keep, apart, to);
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
            dot_tile(t, 1, m, x + run, x_stride, rows, length, keep, apart, f);
        for (int i = 0; n > 1 && i < tiles; i++) {
            int row = tile_begin(n, DOT_ROWS, i);
            f.out = out + (size_t)row * out_stride + o;
            dot_tile_rows(t, tile_begin(n, DOT_ROWS, i + 1) - row, m,
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

#endif
