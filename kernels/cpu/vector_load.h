/* vector_load.h - weights widened in registers, and sums finished, over vectors of 16. */
#ifndef MIDPASS_CPU_VECTOR_LOAD_H
#define MIDPASS_CPU_VECTOR_LOAD_H

#include "kernels/kernels.h"

#include <string.h>

/* Kernels are written once with their tile's shape as arguments and must be expanded for
 * each, or the sums would not stay in registers. */
#define EXPAND static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

/* A sum with nothing added is unchanged by +0 * -0 = -0, whatever its sign: so what pads x is
 * +0 and what pads weights is -0. */
#define PAD_X      0.0f
#define PAD_WEIGHT (-0.0f)

EXPAND const void *weights_at(enum dtype t, const void *p, ptrdiff_t i)
{
    return (const char *)p + i * (ptrdiff_t)(t == DTYPE_F32 ? 4 : 2);
}

EXPAND vec weights_load(enum dtype t, const void *p)
{
    if (t == DTYPE_F32)
        return vec_load(p);
    return t == DTYPE_F16 ? vec_load_f16(p) : vec_load_bf16(p);
}

/* n weights, the lanes after them from fill. */
static inline vec weights_load_n(enum dtype t, const void *p, int n, vec fill)
{
    if (n == VEC_LANES)
        return weights_load(t, p);
    if (t == DTYPE_F32)
        return vec_load_n(p, n, fill);
    uint16_t half[VEC_LANES] = {0};
    float wide[VEC_LANES];
    memcpy(half, p, (size_t)n * sizeof *half);
    vec_store(wide, weights_load(t, half));
    return vec_load_n(wide, n, fill);
}

static inline float vec_sum(vec x)
{
    return _mm_cvtss_f32(vec_sum4(x, x, x, x));
}

#endif
