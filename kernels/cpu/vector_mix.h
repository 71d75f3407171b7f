/* vector_mix.h - few rows by the mix rule: Conv1D's weights, whose outputs lie side by side. */
#ifndef MIDPASS_CPU_VECTOR_MIX_H
#define MIDPASS_CPU_VECTOR_MIX_H

#include "kernels/cpu/vector_tile.h"

#define FEW_MIX_ROWS 4
#define STRIP        4096 /* sums that few rows keep in the first-level cache */

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

#endif
