/* vector_dot.h - products by the dot rule: Linear's weights, whose inputs lie side by side. */
#ifndef MIDPASS_CPU_VECTOR_DOT_H
#define MIDPASS_CPU_VECTOR_DOT_H

#include "kernels/cpu/vector_tile.h"

#define FEW_DOT_ROWS 6
#define DOT_BLOCK    192 /* rows of x that are multiplied at a time */
#define DOT_PANEL    64  /* weight rows widened at a time, for one run */
#define DOT_SCRATCH  (DOT_PANEL * DOT_RUN)
#define DOT_WIDE     (DOT_ROWS * DOT_OUTPUTS > DOT_STREAMS ? DOT_ROWS * DOT_OUTPUTS : DOT_STREAMS)

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

/* ---- many rows ------------------------------------------------------------------------------- */

/* Widens one run of one weight row into a panel, where the vectors of DOT_OUTPUTS rows alternate:
 * a tile reads one stream. The end of the last vector is padded. */
EXPAND void widen_row(const enum dtype t, const void *row, int length, float *to)
{
    int k = 0;
    for (; k + VEC_LANES <= length; k += VEC_LANES, to += DOT_OUTPUTS * VEC_LANES)
        vec_store(to, weights_load(t, weights_at(t, row, k)));
    if (k < length)
        vec_store(to, weights_load_n(t, weights_at(t, row, k), length - k, vec_set(PAD_WEIGHT)));
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

static void widen_panel(const struct matrix *w, const struct rectangle *r, float *panel)
{
    for (int j = 0; j < r->outputs; j++) {
        int first = j - j % DOT_OUTPUTS;
        widen(w->dtype, weights_at(w->dtype, matrix_row(w, r->output + j), r->input), r->inputs,
              panel + (size_t)first * DOT_RUN + (size_t)(j - first) * VEC_LANES);
    }
}

/* `count` inputs of n rows, at most a vector, by a step of a panel. */
EXPAND void dot_step(const int n, const float *x, size_t x_stride, const int count,
                     const float *panel, vec *sum)
{
    vec weights[DOT_OUTPUTS];
    UNROLL
    for (int j = 0; j < DOT_OUTPUTS; j++)
        weights[j] = vec_load(panel + j * VEC_LANES);
    UNROLL
    for (int i = 0; i < n; i++, x += x_stride) {
        vec v = count == VEC_LANES ? vec_load(x) : vec_load_n(x, count, vec_set(PAD_X));
        UNROLL
        for (int j = 0; j < DOT_OUTPUTS; j++)
            sum[i * DOT_OUTPUTS + j] = vec_fma(v, weights[j], sum[i * DOT_OUTPUTS + j]);
    }
}

/* n rows of x by DOT_OUTPUTS rows of a panel: nothing is left to fetch or to choose. The first
 * `keep` outputs are kept. */
EXPAND void dot_stripe(const int n, const float *x, size_t x_stride, const float *panel, int length,
                       int keep, struct finish to)
{
    const int whole = length - length % VEC_LANES;
    vec sum[DOT_ROWS * DOT_OUTPUTS];
    UNROLL
    for (int i = 0; i < n; i++)
        fetch_sums(to.out + (size_t)i * to.stride);
    UNROLL
    for (int i = 0; i < n * DOT_OUTPUTS; i++)
        sum[i] = vec_set(0);
    for (int k = 0; k < whole; k += VEC_LANES, panel += DOT_OUTPUTS * VEC_LANES)
        dot_step(n, x + k, x_stride, VEC_LANES, panel, sum);
    if (whole < length)
        dot_step(n, x + whole, x_stride, length - whole, panel, sum);
    dot_finish(n, DOT_OUTPUTS, sum, keep, 1, to);
}

EXPAND void dot_stripe_rows(int n, const float *x, size_t x_stride, const float *panel, int length,
                            int keep, struct finish to)
{
    switch (n) {
    case 1:
        dot_stripe(1, x, x_stride, panel, length, keep, to);
        break;
    case 2:
        dot_stripe(2, x, x_stride, panel, length, keep, to);
        break;
    case 3:
        dot_stripe(3, x, x_stride, panel, length, keep, to);
        break;
#if DOT_ROWS > 3
    case 4:
        dot_stripe(4, x, x_stride, panel, length, keep, to);
        break;
    case 5:
        dot_stripe(5, x, x_stride, panel, length, keep, to);
        break;
    case 6:
        dot_stripe(6, x, x_stride, panel, length, keep, to);
        break;
#endif
    }
}

/* n rows of x by a panel, forth and back: when the next rows come to the first-level cache, the
 * weights that they meet first are there still. */
static void dot_panel(const float *x, size_t x_stride, const float *panel, const struct matrix *w,
                      const struct rectangle *r, const struct rectangle *next, int n,
                      struct finish to)
{
    const int tiles = (n + DOT_ROWS - 1) / DOT_ROWS;
    const int across = (r->outputs + DOT_OUTPUTS - 1) / DOT_OUTPUTS;
    struct errand errand = errand_weights(w, next, tiles * across);
    for (int i = 0; i < tiles; i++) {
        int row = tile_begin(n, DOT_ROWS, i), rows = tile_begin(n, DOT_ROWS, i + 1) - row;
        for (int j = 0; j < across; j++) {
            int o = (i % 2 ? across - 1 - j : j) * DOT_OUTPUTS;
            struct finish f = {to.out + (size_t)row * to.stride + o, to.stride,
                               to.bias ? to.bias + o : NULL, to.first};
            errand_go(&errand);
            dot_stripe_rows(rows, x + (size_t)row * x_stride, x_stride, panel + (size_t)o * DOT_RUN,
                            r->inputs, least(DOT_OUTPUTS, r->outputs - o), f);
        }
    }
}

/* Many rows. A panel of widened weights and the rows' part in the same run lie in the second-level
 * cache; a tile's rows of x stay in the first while all of the panel passes by them. */
static void dot_many(const float *x, size_t x_stride, const struct matrix *w, const float *bias,
                     float *out, size_t out_stride, int n, int from, int to, float *panel)
{
    struct rectangle r = {from, least(DOT_PANEL, to - from), 0, least(DOT_RUN, w->n_in)};
    while (r.inputs > 0) {
        struct rectangle next = rectangle_next(w, r, DOT_PANEL, DOT_RUN, from, to);
        bool last = r.input + r.inputs == w->n_in;
        struct finish f = {out + r.output, out_stride, last && bias ? bias + r.output : NULL,
                           r.input == 0};
        widen_panel(w, &r, panel);
        dot_panel(x + r.input, x_stride, panel, w, &r, &next, n, f);
        r = next;
    }
}

#endif
