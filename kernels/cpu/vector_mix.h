/* vector_mix.h - products by the mix rule: Conv1D's weights, whose outputs lie side by side. */
#ifndef MIDPASS_CPU_VECTOR_MIX_H
#define MIDPASS_CPU_VECTOR_MIX_H

#include "kernels/cpu/vector_tile.h"

#define STRIP       4096                   /* sums that few rows keep in the first-level cache */
#define MIX_BLOCK   512                    /* rows that are multiplied at a time */
#define MIX_PANEL   (MIX_VECS * VEC_LANES) /* outputs widened at a time, for one run */
#define MIX_SCRATCH (MIX_RUN * MIX_PANEL + MIX_BLOCK * MIX_RUN) /* and the rows' part in it */

/* Outputs o .. o+count-1 (at most a vector) of mix_steps. */
EXPAND void mix_steps_part(const enum dtype t, const int n, const int steps, const float *x,
                           size_t x_stride, const void *w, ptrdiff_t in_stride, int o, int count,
                           float *sums)
{
    for (int s = 0; s < steps; s++) {
        vec weights = weights_load_n(t, weights_at(t, w, s * in_stride + o), count, vec_set(0));
        for (int i = 0; i < n; i++) {
            float *sum = sums + i * (STRIP / n) + o;
            vec v = vec_set(x[(size_t)i * x_stride + (size_t)s]);
            vec_store_n(sum, count, vec_fma(v, weights, vec_load_n(sum, count, vec_set(0))));
        }
    }
}

/* Whole vectors of outputs o .. to-1 of mix_steps. row: the weights of each step; ahead: what is
 * fetched meanwhile. */
EXPAND void mix_steps_vectors(const enum dtype t, const int n, const int steps,
                              vec v[FEW_MIX_ROWS][8], const void *const *row,
                              const void *const *ahead, int o, int to, float *sums)
{
    for (; o < to; o += VEC_LANES) {
        vec sum[FEW_MIX_ROWS];
        UNROLL
        for (int i = 0; i < n; i++)
            sum[i] = vec_load(sums + i * (STRIP / n) + o);
        UNROLL
        for (int s = 0; s < steps; s++) {
            __builtin_prefetch(weights_at(t, ahead[s], o));
            vec weights = weights_load(t, weights_at(t, row[s], o));
            UNROLL
            for (int i = 0; i < n; i++)
                sum[i] = vec_fma(v[i][s], weights, sum[i]);
        }
        UNROLL
        for (int i = 0; i < n; i++)
            vec_store(sums + i * (STRIP / n) + o, sum[i]);
    }
}

/* steps inputs from k on, to the sums [n][STRIP / n] of `count` outputs. w: at (first output, k).
 * Sums pass through the cache once for that many inputs. Weights are read from whole cache lines
 * on: tensors lie anywhere in a file, and loads across lines cost a sixth of the memory's rate.
 * They are fetched STREAM_AHEAD bytes before, which towards the end of these stretches is the
 * beginning of the next inputs'. */
EXPAND void mix_steps(const enum dtype t, const int n, const int steps, const float *x,
                      size_t x_stride, const void *w, ptrdiff_t in_stride, int count, float *sums)
{
    vec v[FEW_MIX_ROWS][8];
    const void *row[8], *ahead[8], *next[8];
    const int size = t == DTYPE_F32 ? 4 : 2, line = VEC_LANES * size, far = STREAM_AHEAD / size;
    UNROLL
    for (int s = 0; s < steps; s++) {
        row[s] = weights_at(t, w, s * in_stride);
        ahead[s] = weights_at(t, row[s], far);
        next[s] = weights_at(t, ahead[s], steps * in_stride - count);
        UNROLL
        for (int i = 0; i < n; i++)
            v[i][s] = vec_set(x[(size_t)i * x_stride + (size_t)s]);
    }
    const int skew = (int)((uintptr_t)w % (uintptr_t)line);
    const int begin = least((line - skew) % line / size, count);
    const int end = begin + (count - begin) / VEC_LANES * VEC_LANES;
    const int turn = end - begin > far ? end - far : begin;
    if (begin > 0)
        mix_steps_part(t, n, steps, x, x_stride, w, in_stride, 0, begin, sums);
    mix_steps_vectors(t, n, steps, v, row, ahead, begin, turn, sums);
    mix_steps_vectors(t, n, steps, v, row, next, turn, end, sums);
    if (end < count)
        mix_steps_part(t, n, steps, x, x_stride, w, in_stride, end, count - end, sums);
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

/* A rectangle of weights to panel[inputs][MIX_PANEL]. */
EXPAND void mix_pack(const enum dtype t, const struct matrix *w, const struct rectangle *r,
                     float *panel)
{
    for (int o = 0, count; o < r->outputs; o += count) {
        count = side_by_side(w, r->output + o, r->output + r->outputs, VEC_LANES);
        const void *row = weights_at(t, matrix_row(w, r->output + o), r->input * w->in_stride);
        float *p = panel + o;
        for (int i = 0; i < r->inputs; i++, p += MIX_PANEL) {
            vec_store_n(p, count, weights_load_n(t, row, count, vec_set(0)));
            row = weights_at(t, row, w->in_stride);
        }
    }
}

static void mix_panel(const struct matrix *w, const struct rectangle *r, float *panel)
{
    if (r->outputs < MIX_PANEL) /* outputs that do not exist are multiplied, too */
        memset(panel, 0, sizeof(float) * MIX_PANEL * (size_t)r->inputs);
    if (w->dtype == DTYPE_F32)
        mix_pack(DTYPE_F32, w, r, panel);
    else if (w->dtype == DTYPE_F16)
        mix_pack(DTYPE_F16, w, r, panel);
    else
        mix_pack(DTYPE_BF16, w, r, panel);
}

/* n rows of x, [n][MIX_RUN], times a panel. */
EXPAND void mix_tile(const int n, const float *x, const float *panel, int length, int keep,
                     struct finish to)
{
    vec sum[MIX_ROWS][MIX_VECS];
    UNROLL
    for (int i = 0; i < n; i++) {
        UNROLL
        for (int c = 0; c < MIX_VECS; c++) {
            fetch_sums(to.out + (size_t)i * to.stride + c * VEC_LANES);
            sum[i][c] = vec_set(0);
        }
    }
    for (int k = 0; k < length; k++, panel += MIX_PANEL) {
        vec w[MIX_VECS];
        UNROLL
        for (int c = 0; c < MIX_VECS; c++)
            w[c] = vec_load(panel + c * VEC_LANES);
        UNROLL
        for (int i = 0; i < n; i++) {
            vec v = vec_set(x[i * MIX_RUN + k]);
            UNROLL
            for (int c = 0; c < MIX_VECS; c++)
                sum[i][c] = vec_fma(v, w[c], sum[i][c]);
        }
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        UNROLL
        for (int c = 0; c < MIX_VECS; c++) {
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

/* The rows' inputs of one run, to part[n][MIX_RUN]. They are too short for calls of memcpy(). */
static void mix_part(const float *x, size_t x_stride, int n, int length, float *part)
{
    for (int i = 0; i < n; i++, x += x_stride, part += MIX_RUN) {
        int k = 0;
        for (; k + VEC_LANES <= length; k += VEC_LANES)
            vec_store(part + k, vec_load(x + k));
        for (; k < length; k++)
            part[k] = x[k];
    }
}

/* Many rows. The rows' part in a run is brought together, so that no stride of theirs can
 * throw them out of the cache; a panel stays in the first-level cache while they pass by. */
static void mix_many(const float *x, size_t x_stride, const struct matrix *w, const float *bias,
                     float *out, size_t out_stride, int n, int from, int to, float *scratch)
{
    float *panel = scratch, *part = scratch + MIX_RUN * MIX_PANEL;
    const int tiles = (n + MIX_ROWS - 1) / MIX_ROWS;
    struct rectangle r = {from, least(MIX_PANEL, to - from), 0, least(MIX_RUN, w->n_in)};
    while (r.inputs > 0) {
        const struct rectangle next = rectangle_next(w, r, MIX_PANEL, MIX_RUN, from, to);
        const bool last = r.input + r.inputs == w->n_in;
        struct errand errand = errand_weights(w, &next, tiles);
        if (r.output == from)
            mix_part(x + r.input, x_stride, n, r.inputs, part);
        mix_panel(w, &r, panel);
        for (int i = 0; i < tiles; i++) {
            int row = tile_begin(n, MIX_ROWS, i), rows = tile_begin(n, MIX_ROWS, i + 1) - row;
            struct finish f = {out + (size_t)row * out_stride + r.output, out_stride,
                               last && bias ? bias + r.output : NULL, r.input == 0};
            errand_go(&errand);
            mix_tile_rows(rows, part + (size_t)row * MIX_RUN, panel, r.inputs, r.outputs, f);
        }
        r = next;
    }
}

#endif
