/* vector_matmul.h - products over vectors of 16.
 *
 * Few rows: the weights are read once, straight from where they lie, and that is all the
 * time there is. Many rows: see vector_many.h. */
#ifndef MIDPASS_CPU_VECTOR_MATMUL_H
#define MIDPASS_CPU_VECTOR_MATMUL_H

#include "kernels/cpu/vector_dot.h"
#include "kernels/cpu/vector_many.h"
#include "kernels/cpu/vector_mix.h"

EXPAND void matmul_of(const enum dtype t, const float *x, size_t x_stride, const struct matrix *w,
                      const float *bias, float *out, size_t out_stride, int n, int from, int to)
{
    if (w->in_stride == 1)
        dot_few_of(t, x, x_stride, w, bias, out, out_stride, n, from, to);
    else
        mix_few(t, x, x_stride, w, bias, out, out_stride, n, from, to);
}

static void matmul(const float *x, size_t x_stride, const struct matrix *w, const float *bias,
                   float *out, size_t out_stride, int n, int from, int to)
{
    if (w->dtype == DTYPE_F32)
        matmul_of(DTYPE_F32, x, x_stride, w, bias, out, out_stride, n, from, to);
    else if (w->dtype == DTYPE_F16)
        matmul_of(DTYPE_F16, x, x_stride, w, bias, out, out_stride, n, from, to);
    else
        matmul_of(DTYPE_BF16, x, x_stride, w, bias, out, out_stride, n, from, to);
}

#endif
