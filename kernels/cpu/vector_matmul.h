/* vector_matmul.h - the two rules of products over vectors of 16.
 *
 * Few rows: the weights are read once, straight from where they lie, and that is all the
 * time there is. Many rows: a panel of weights is widened into scratch that fits a cache and
 * used by every row, in tiles whose sums fill the registers. */
#ifndef MIDPASS_CPU_VECTOR_MATMUL_H
#define MIDPASS_CPU_VECTOR_MATMUL_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector_load.h"

#define DOT_PANEL    64   /* weight rows widened at a time, for one run */
#define MIX_PANEL    (MIX_VECS * VEC_LANES)
#define STRIP        4096 /* sums that few rows keep in the first-level cache by the mix rule */
#define MATMUL_ROWS  512
#define ONE_STREAM   6144 /* inputs */
#define STREAM_AHEAD 4096 /* bytes */
#define FEW_DOT_ROWS DOT_ROWS
#define FEW_MIX_ROWS 4

/* Floats of scratch: a panel of weights, and for the mix rule the rows' part in a run. */
#define DOT_SCRATCH    (DOT_PANEL * DOT_RUN)
#define MIX_SCRATCH    (MIX_RUN * MIX_PANEL + MATMUL_ROWS * MIX_RUN)
#define MATMUL_SCRATCH (DOT_SCRATCH > MIX_SCRATCH ? DOT_SCRATCH : MIX_SCRATCH)

static inline int least(int a, int b)
{
    return a < b ? a : b;
}

/* Where a run's sums go: set by the first run, added to by the others, bias after the last. */
struct finish {
    float *out; /* of the tile's first row and output */
    size_t stride;
    const float *bias; /* of the tile's first output; NULL: none, or not the last run */
    bool first;
};

/* ---- dot ------------------------------------------------------------------------------------- */

/* n rows of x against m rows of weights over one run of length. x and w point at the run's
 * beginning; the first `keep` outputs are kept. next: for each row what is to be fetched
 * meanwhile, or NULL: the hardware follows a stream only to the end of its 4 KiB. */
EXPAND void dot_tile(const enum dtype t, const int n, const int m, const float *x, size_t x_stride,
                     const void *const *w, const void *const *next, int length, int keep,
                     struct finish to)
{
    vec sum[DOT_ROWS * 4];
    const void *row[4], *ahead[4];
    UNROLL for (int i = 0; i < n; i++)
        __builtin_prefetch(to.out + (size_t)i * to.stride, 1);
    UNROLL for (int j = 0; j < m; j++) {
        row[j] = w[j];
        ahead[j] = next ? next[j] : NULL;
    }
    UNROLL for (int i = 0; i < n * m; i++)
        sum[i] = vec_set(0);
    int k = 0;
    for (; k + VEC_LANES <= length; k += VEC_LANES) {
        vec weights[4];
        UNROLL for (int j = 0; j < m; j++) {
            if (next)
                __builtin_prefetch(weights_at(t, ahead[j], k));
            weights[j] = weights_load(t, weights_at(t, row[j], k));
        }
        UNROLL for (int i = 0; i < n; i++) {
            vec v = vec_load(x + (size_t)i * x_stride + k);
            UNROLL for (int j = 0; j < m; j++)
                sum[i * m + j] = vec_fma(v, weights[j], sum[i * m + j]);
        }
    }
    if (k < length) {
        int rest = length - k;
        UNROLL for (int j = 0; j < m; j++) {
            vec weights =
                weights_load_n(t, weights_at(t, row[j], k), rest, vec_set(PAD_WEIGHT));
            UNROLL for (int i = 0; i < n; i++) {
                vec v = vec_load_n(x + (size_t)i * x_stride + k, rest, vec_set(PAD_X));
                sum[i * m + j] = vec_fma(v, weights, sum[i * m + j]);
            }
        }
    }
    float sums[DOT_ROWS * 4 + 4];
    UNROLL for (int i = 0; i < n * m; i += 4) {
        const int top = n * m - 1;
        _mm_storeu_ps(sums + i, vec_sum4(sum[i], sum[i + 1 < top ? i + 1 : top],
                                         sum[i + 2 < top ? i + 2 : top],
                                         sum[i + 3 < top ? i + 3 : top]));
    }
    UNROLL for (int i = 0; i < n; i++) {
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
            else
                dot_tile_rows(t, n, m, x + run, x_stride, rows, ahead, length, keep, f);
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
        vec_store(to + k, weights_load_n(t, weights_at(t, row, k), length - k,
                                         vec_set(PAD_WEIGHT)));
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

/* Rows are cut into tiles of nearly equal height: 7 are 4 and 3, not 6 and 1. */
static inline int tile_begin(int n, int most, int i)
{
    int tiles = (n + most - 1) / most;
    return (int)((long)n * i / tiles);
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

/* ---- mix ------------------------------------------------------------------------------------- */

/* steps inputs from k on, to the sums [n][STRIP / n] of `count` outputs. w: at (first output, k).
 * Sums pass through the cache once for that many inputs; the next as many are fetched. */
EXPAND void mix_steps(const enum dtype t, const int n, const int steps, const float *x,
                      size_t x_stride, const void *w, ptrdiff_t in_stride, int count,
                      float *sums)
{
    vec v[FEW_MIX_ROWS][8];
    const void *row[8];
    UNROLL for (int s = 0; s < steps; s++) {
        row[s] = weights_at(t, w, s * in_stride);
        UNROLL for (int i = 0; i < n; i++)
            v[i][s] = vec_set(x[(size_t)i * x_stride + (size_t)s]);
    }
    int o = 0;
    for (; o + VEC_LANES <= count; o += VEC_LANES) {
        vec sum[FEW_MIX_ROWS];
        UNROLL for (int i = 0; i < n; i++)
            sum[i] = vec_load(sums + i * (STRIP / n) + o);
        UNROLL for (int s = 0; s < steps; s++) {
            __builtin_prefetch(weights_at(t, row[s], o + steps * in_stride), 0, 2);
            vec weights = weights_load(t, weights_at(t, row[s], o));
            UNROLL for (int i = 0; i < n; i++)
                sum[i] = vec_fma(v[i][s], weights, sum[i]);
        }
        UNROLL for (int i = 0; i < n; i++)
            vec_store(sums + i * (STRIP / n) + o, sum[i]);
    }
    if (o < count) {
        for (int s = 0; s < steps; s++) {
            vec weights = weights_load_n(t, weights_at(t, row[s], o), count - o, vec_set(0));
            for (int i = 0; i < n; i++)
                vec_store(sums + i * (STRIP / n) + o, vec_fma(v[i][s], weights, vec_load(sums + i * (STRIP / n) + o)));
        }
    }
}

/* n rows, a strip of outputs that lie side by side. w: at (first output, 0). */
EXPAND void mix_strip(const enum dtype t, const int n, const int steps, const float *x,
                      size_t x_stride, const void *w, ptrdiff_t in_stride, int n_in,
                      const float *bias, float *out, size_t out_stride, int count)
{
    float sums[STRIP];
    for (int run = 0; run < n_in; run += MIX_RUN) {
        int k = run, end = run + least(MIX_RUN, n_in - run);
        for (int i = 0; i < n; i++)
            memset(sums + i * (STRIP / n), 0, sizeof(float) * (size_t)((count + 15) / 16 * 16));
        for (; k + steps <= end; k += steps)
            mix_steps(t, n, steps, x + k, x_stride, weights_at(t, w, k * in_stride), in_stride,
                      count, sums);
        for (; k < end; k++)
            mix_steps(t, n, 1, x + k, x_stride, weights_at(t, w, k * in_stride), in_stride, count,
                      sums);
        for (int i = 0; i < n; i++) {
            float *to = out + (size_t)i * out_stride;
            const float *sum = sums + i * (STRIP / n);
            for (int o = 0; o < count; o++) {
                float total = run == 0 ? sum[o] : to[o] + sum[o];
                to[o] = bias && end == n_in ? total + bias[o] : total;
            }
        }
    }
}

/* Outputs from .. that lie side by side, at most `most`. */
static inline int side_by_side(const struct matrix *w, int from, int to, int most)
{
    int group = w->group > 0 ? w->group : w->n_out;
    return least(least(to - from, group - from % group), most);
}

EXPAND void mix_few(const enum dtype t, const float *x, size_t x_stride, const struct matrix *w,
                    const float *bias, float *out, size_t out_stride, int n, int from, int to)
{
    for (int o = from, count; o < to; o += count) {
        const void *row = matrix_row(w, o);
        const float *b = bias ? bias + o : NULL;
        count = side_by_side(w, o, to, STRIP / n / VEC_LANES * VEC_LANES);
        if (n == 1)
            mix_strip(t, 1, 8, x, x_stride, row, w->in_stride, w->n_in, b, out + o, out_stride,
                      count);
        else if (n == 2)
            mix_strip(t, 2, 4, x, x_stride, row, w->in_stride, w->n_in, b, out + o, out_stride,
                      count);
        else if (n == 3)
            mix_strip(t, 3, 4, x, x_stride, row, w->in_stride, w->n_in, b, out + o, out_stride,
                      count);
        else
            mix_strip(t, 4, 4, x, x_stride, row, w->in_stride, w->n_in, b, out + o, out_stride,
                      count);
    }
}

/* Inputs k .. k+length-1 of outputs from .. to-1, to panel[length][MIX_PANEL]. */
EXPAND void mix_pack(const enum dtype t, const struct matrix *w, int k, int length, int from,
                     int to, float *panel)
{
    for (int o = from, count; o < to; o += count) {
        count = side_by_side(w, o, to, VEC_LANES);
        const void *row = weights_at(t, matrix_row(w, o), k * w->in_stride);
        float *p = panel + (o - from);
        for (int i = 0; i < length; i++, p += MIX_PANEL) {
            vec_store_n(p, count, weights_load_n(t, row, count, vec_set(0)));
            row = weights_at(t, row, w->in_stride);
        }
    }
}

static void mix_panel(const struct matrix *w, int k, int length, int from, int to, float *panel)
{
    if (to - from < MIX_PANEL) /* outputs that do not exist are multiplied, too */
        memset(panel, 0, sizeof(float) * MIX_PANEL * (size_t)length);
    if (w->dtype == DTYPE_F32)
        mix_pack(DTYPE_F32, w, k, length, from, to, panel);
    else if (w->dtype == DTYPE_F16)
        mix_pack(DTYPE_F16, w, k, length, from, to, panel);
    else
        mix_pack(DTYPE_BF16, w, k, length, from, to, panel);
}

/* n rows of x, [n][MIX_RUN], times a panel. */
EXPAND void mix_tile(const int n, const float *x, const float *panel, int length, int keep,
                     struct finish to)
{
    vec sum[MIX_ROWS][MIX_VECS];
    UNROLL for (int i = 0; i < n; i++) {
        UNROLL for (int c = 0; c < MIX_VECS; c++) {
            __builtin_prefetch(to.out + (size_t)i * to.stride + c * VEC_LANES, 1);
            sum[i][c] = vec_set(0);
        }
    }
    for (int k = 0; k < length; k++, panel += MIX_PANEL) {
        vec w[MIX_VECS];
        UNROLL for (int c = 0; c < MIX_VECS; c++)
            w[c] = vec_load(panel + c * VEC_LANES);
        UNROLL for (int i = 0; i < n; i++) {
            vec v = vec_set(x[i * MIX_RUN + k]);
            UNROLL for (int c = 0; c < MIX_VECS; c++)
                sum[i][c] = vec_fma(v, w[c], sum[i][c]);
        }
    }
    UNROLL for (int i = 0; i < n; i++) {
        UNROLL for (int c = 0; c < MIX_VECS; c++) {
            float *out = to.out + (size_t)i * to.stride + c * VEC_LANES;
            int width = least(VEC_LANES, keep - c * VEC_LANES);
            if (width <= 0)
                continue;
            vec total = sum[i][c];
            if (!to.first)
                total = vec_add(vec_load_n(out, width, vec_set(0)), total);
            if (to.bias)
                total = vec_add(total, vec_load_n(to.bias + c * VEC_LANES, width, vec_set(0)));
            vec_store_n(out, width, total);
        }
    }
}

EXPAND void mix_tile_rows(int n, const float *x, const float *panel, int length, int keep,
                          struct finish to)
{
    switch (n) {
    case 1:
        mix_tile(1, x, panel, length, keep, to);
        break;
    case 2:
        mix_tile(2, x, panel, length, keep, to);
        break;
    case 3:
        mix_tile(3, x, panel, length, keep, to);
        break;
    case 4:
        mix_tile(4, x, panel, length, keep, to);
        break;
    case 5:
        mix_tile(5, x, panel, length, keep, to);
        break;
    case 6:
        mix_tile(6, x, panel, length, keep, to);
        break;
#if MIX_ROWS > 6
    case 7:
        mix_tile(7, x, panel, length, keep, to);
        break;
    case 8:
        mix_tile(8, x, panel, length, keep, to);
        break;
#endif
    }
}

/* Many rows. The rows' part in a run is brought together, so that no stride of theirs can
 * throw them out of the cache; a panel stays in the first-level cache while they pass by. */
static void mix_many(const float *x, size_t x_stride, const struct matrix *w, const float *bias,
                     float *out, size_t out_stride, int n, int from, int to, float *scratch)
{
    float *panel = scratch, *part = scratch + MIX_RUN * MIX_PANEL;
    int tiles = (n + MIX_ROWS - 1) / MIX_ROWS;
    for (int run = 0; run < w->n_in; run += MIX_RUN) {
        int length = least(MIX_RUN, w->n_in - run);
        bool last = run + MIX_RUN >= w->n_in;
        for (int i = 0; i < n; i++)
            memcpy(part + (size_t)i * MIX_RUN, x + (size_t)i * x_stride + run,
                   (size_t)length * sizeof *x);
        for (int o = from; o < to; o += MIX_PANEL) {
            int keep = least(MIX_PANEL, to - o);
            mix_panel(w, run, length, o, o + keep, panel);
            for (int i = 0; i < tiles; i++) {
                int row = tile_begin(n, MIX_ROWS, i), rows = tile_begin(n, MIX_ROWS, i + 1) - row;
                struct finish f = {out + (size_t)row * out_stride + o, out_stride,
                                   last && bias ? bias + o : NULL, run == 0};
                mix_tile_rows(rows, part + (size_t)row * MIX_RUN, panel, length, keep, f);
            }
        }
    }
}

/* ---- which of them --------------------------------------------------------------------------- */

EXPAND void matmul_few(const enum dtype t, const float *x, size_t x_stride, const struct matrix *w,
                       const float *bias, float *out, size_t out_stride, int n, int from, int to)
{
    if (w->in_stride == 1)
        dot_few_of(t, x, x_stride, w, bias, out, out_stride, n, from, to);
    else
        mix_few(t, x, x_stride, w, bias, out, out_stride, n, from, to);
}

static void matmul(const float *x, size_t x_stride, const struct matrix *w, const float *bias,
                   float *out, size_t out_stride, int n, int from, int to, float *scratch)
{
    if (n > (w->in_stride == 1 ? FEW_DOT_ROWS : FEW_MIX_ROWS)) {
        if (w->in_stride == 1)
            dot_many(x, x_stride, w, bias, out, out_stride, n, from, to, scratch);
        else
            mix_many(x, x_stride, w, bias, out, out_stride, n, from, to, scratch);
        return;
    }
    if (w->dtype == DTYPE_F32)
        matmul_few(DTYPE_F32, x, x_stride, w, bias, out, out_stride, n, from, to);
    else if (w->dtype == DTYPE_F16)
        matmul_few(DTYPE_F16, x, x_stride, w, bias, out, out_stride, n, from, to);
    else
        matmul_few(DTYPE_BF16, x, x_stride, w, bias, out, out_stride, n, from, to);
}

#endif
