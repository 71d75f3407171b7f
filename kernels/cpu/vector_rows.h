/* vector_rows.h - ops on rows and plain arrays, over vectors of 16. */
#ifndef MIDPASS_CPU_VECTOR_ROWS_H
#define MIDPASS_CPU_VECTOR_ROWS_H

#include "kernels/cpu/vector_load.h"

#include <math.h>

static inline int run_end(int run, int length, int count)
{
    return count - run < length ? count : run + length;
}

/* The sum of x * x, or of x. */
EXPAND float row_sum(const float *x, int d, bool squares)
{
    float total = 0;
    for (int run = 0; run < d; run += DOT_RUN) {
        vec sum = vec_set(0), pad = vec_set(squares ? PAD_X : PAD_WEIGHT);
        int i = run, end = run_end(run, DOT_RUN, d);
        for (; i + VEC_LANES <= end; i += VEC_LANES) {
            vec v = vec_load(x + i);
            sum = squares ? vec_fma(v, v, sum) : vec_add(v, sum);
        }
        if (i < end) {
            vec v = vec_load_n(x + i, end - i, pad);
            sum = squares ? vec_fma(v, v, sum) : vec_add(v, sum);
        }
        total = run == 0 ? vec_sum(sum) : total + vec_sum(sum);
    }
    return total;
}

static void embed(enum dtype t, const void *row, float scale, float *out, int d)
{
    for (int i = 0; i < d; i += VEC_LANES) {
        int n = run_end(i, VEC_LANES, d) - i;
        vec x = weights_load_n(t, weights_at(t, row, i), n, vec_set(0));
        vec_store_n(out + i, n, vec_mul(vec_set(scale), x));
    }
}

static void add(const float *x, const float *y, float *out, size_t count)
{
    size_t i = 0;
    for (; i + VEC_LANES <= count; i += VEC_LANES)
        vec_store(out + i, vec_add(vec_load(x + i), vec_load(y + i)));
    for (; i < count; i++)
        out[i] = x[i] + y[i];
}

static void center(const float *x, float *out, int n, int d)
{
    for (int row = 0; row < n; row++, x += d, out += d) {
        float mean = row_sum(x, d, false) / (float)d;
        for (int i = 0; i < d; i++)
            out[i] = x[i] - mean;
    }
}

static void rms(const float *x, float eps, float *scale, int n, int d)
{
    for (int row = 0; row < n; row++, x += d)
        scale[row] = sqrtf(row_sum(x, d, true) / (float)d + eps);
}

static void divide(const float *x, const float *scale, float *out, int n, int d)
{
    for (int row = 0; row < n; row++, x += d, out += d)
        for (int i = 0; i < d; i++)
            out[i] = x[i] / scale[row];
}

static void gain(const float *x, const float *gains, const float *bias, float *out, int n, int d)
{
    for (int row = 0; row < n; row++, x += d, out += d) {
        if (gains && bias)
            for (int i = 0; i < d; i++)
                out[i] = fmaf(x[i], gains[i], bias[i]);
        else if (gains)
            for (int i = 0; i < d; i++)
                out[i] = x[i] * gains[i];
        else if (bias)
            for (int i = 0; i < d; i++)
                out[i] = x[i] + bias[i];
        else
            memmove(out, x, (size_t)d * sizeof *x);
    }
}

/* out = f(x), times y unless y is NULL */
EXPAND void activate_each(enum activation f, const float *x, const float *y, float *out,
                          size_t count)
{
    size_t i = 0;
    for (; i + VEC_LANES <= count; i += VEC_LANES) {
        vec v = vec_activate(f, vec_load(x + i));
        vec_store(out + i, y ? vec_mul(v, vec_load(y + i)) : v);
    }
    if (i < count) {
        int n = (int)(count - i);
        vec v = vec_activate(f, vec_load_n(x + i, n, vec_set(0)));
        if (y)
            v = vec_mul(v, vec_load_n(y + i, n, vec_set(0)));
        vec_store_n(out + i, n, v);
    }
}

static void activate(enum activation f, const float *x, float *out, size_t count)
{
    if (f == ACT_SILU)
        activate_each(ACT_SILU, x, NULL, out, count);
    else if (f == ACT_GELU)
        activate_each(ACT_GELU, x, NULL, out, count);
    else if (f == ACT_GELU_TANH)
        activate_each(ACT_GELU_TANH, x, NULL, out, count);
    else
        activate_each(f, x, NULL, out, count);
}

static void gate(enum activation f, const float *x, const float *y, float *out, size_t count)
{
    if (f == ACT_SILU)
        activate_each(ACT_SILU, x, y, out, count);
    else if (f == ACT_GELU)
        activate_each(ACT_GELU, x, y, out, count);
    else if (f == ACT_GELU_TANH)
        activate_each(ACT_GELU_TANH, x, y, out, count);
    else
        activate_each(f, x, y, out, count);
}

/* The lanes of the vector at s that lie in first .. last. */
EXPAND vec softmax_load(const float *x, int s, int first, int last, vec fill)
{
    int from = first > s ? first - s : 0, to = last - s < VEC_LANES ? last - s + 1 : VEC_LANES;
    if (from == 0 && to == VEC_LANES)
        return vec_load(x + s);
    return vec_load_span(x + s, from, to, fill);
}

EXPAND void softmax_store(float *p, int s, int first, int last, vec x)
{
    int from = first > s ? first - s : 0, to = last - s < VEC_LANES ? last - s + 1 : VEC_LANES;
    if (from == 0 && to == VEC_LANES)
        vec_store(p + s, x);
    else
        vec_store_span(p + s, from, to, x);
}

/* Vectors begin at multiples of 16, since lanes belong to absolute positions. Lanes of keys
 * not visible are -inf, whose exp is 0; if the greatest is not finite that may be a NaN, but
 * then so is the sum without them. */
static void softmax(const float *s, float *p, int first, int last, int limit)
{
    (void)limit;
    const int start = first - first % VEC_LANES;
    const vec none = vec_set(-INFINITY);
    vec most = none;
    for (int i = start; i <= last; i += VEC_LANES)
        most = vec_max(softmax_load(s, i, first, last, none), most);
    float lanes[VEC_LANES];
    vec_store(lanes, most);
    float max = lanes[0];
    for (int i = 1; i < VEC_LANES; i++)
        max = lanes[i] > max ? lanes[i] : max;

    float total = 0;
    for (int run = first - first % DOT_RUN; run <= last; run += DOT_RUN) {
        vec sum = vec_set(0);
        int end = last < run + DOT_RUN ? last : run + DOT_RUN - 1;
        for (int i = run < start ? start : run; i <= end; i += VEC_LANES) {
            vec e = vec_exp(vec_sub(softmax_load(s, i, first, last, none), vec_set(max)));
            softmax_store(p, i, first, last, e);
            sum = vec_add(sum, e);
        }
        total += vec_sum(sum);
    }
    for (int i = start; i <= last; i += VEC_LANES) {
        vec e = softmax_load(p, i, first, last, vec_set(0));
        softmax_store(p, i, first, last, vec_div(e, vec_set(total)));
    }
}

#endif
