/* vector_matmul.h - products over vectors of 16.
 *
 * Few rows: the weights are read once, straight from where they lie, and that is all the
 * time there is. Many rows: a panel of weights is widened into scratch that fits a cache and
 * used by every row, in tiles whose sums fill the registers. */
#ifndef MIDPASS_CPU_VECTOR_MATMUL_H
#define MIDPASS_CPU_VECTOR_MATMUL_H

#include "kernels/cpu/vector_dot.h"
#include "kernels/cpu/vector_mix.h"

/* Floats of scratch for a thread. */
#define MATMUL_SCRATCH (DOT_SCRATCH > MIX_SCRATCH ? DOT_SCRATCH : MIX_SCRATCH)

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
