/* vector_math.h - exp, tanh, erf and what is made of them, over any kind of vector.
 *
 * Included after one of simd_*.h. Each lane goes through the same operations, each rounded
 * once, and both sides of every choice are computed: so one lane or sixteen, the bits are
 * the same, and they do not depend on the C library. Errors are below 2 units in the last
 * place. The coefficients are minimax fits, each rounded to float32 before the next was
 * fitted. */
#ifndef MIDPASS_CPU_VECTOR_MATH_H
#define MIDPASS_CPU_VECTOR_MATH_H

#include "kernels/kernels.h"

#define ROUNDER 0x1.8p23f /* x + ROUNDER: the nearest integer lies in the low bits */

static inline vec vec_abs(vec x)
{
    return vec_of_bits(ivec_and(vec_bits(x), ivec_set(0x7fffffffu)));
}

static inline vec vec_negate(vec x)
{
    return vec_sub(vec_set(-0.0f), x);
}

/* The size of the first, which has no sign, with the sign of the second. */
static inline vec vec_with_sign(vec size, vec sign)
{
    return vec_of_bits(ivec_or(vec_bits(size), ivec_and(vec_bits(sign), ivec_set(0x80000000u))));
}

/* e^x = 2^n e^r, |r| <= ln 2 / 2, e^r = 1 + r + r^2 q(r). 2^n is multiplied in two halves,
 * each a normal number, so that results below the normal range are rounded once. */
static inline vec vec_exp(vec x)
{
    x = vec_max(vec_set(-104.0f), x); /* a NaN passes */
    x = vec_min(vec_set(89.0f), x);
    vec t = vec_fma(x, vec_set(0x1.715476p+0f), vec_set(ROUNDER));
    vec n = vec_sub(t, vec_set(ROUNDER));
    vec r = vec_fma(n, vec_set(-0x1.62e4p-1f), x);
    r = vec_fma(n, vec_set(-0x1.7f7d1cp-20f), r);
    vec q = vec_set(0x1.9e08c0p-13f);
    q = vec_fma(q, r, vec_set(0x1.6d5278p-10f));
    q = vec_fma(q, r, vec_set(0x1.11130cp-7f));
    q = vec_fma(q, r, vec_set(0x1.5554e4p-5f));
    q = vec_fma(q, r, vec_set(0x1.555554p-3f));
    q = vec_fma(q, r, vec_set(0.5f));
    vec p = vec_add(vec_fma(vec_mul(r, r), q, r), vec_set(1.0f));
    ivec whole = ivec_sub(vec_bits(t), vec_bits(vec_set(ROUNDER)));
    ivec half = ivec_halve(whole), bias = ivec_set(127);
    vec a = vec_of_bits(ivec_exponent(ivec_add(half, bias)));
    vec b = vec_of_bits(ivec_exponent(ivec_add(ivec_sub(whole, half), bias)));
    return vec_mul(vec_mul(p, a), b);
}

/* Below 0.625 an odd polynomial; above, 1 - 2 / (e^2x + 1). */
static inline vec vec_tanh(vec x)
{
    vec size = vec_abs(x), s = vec_mul(x, x);
    vec p = vec_set(0x1.1a4658p-9f);
    p = vec_fma(p, s, vec_set(-0x1.0c64eap-7f));
    p = vec_fma(p, s, vec_set(0x1.63a618p-6f));
    p = vec_fma(p, s, vec_set(-0x1.b9f190p-5f));
    p = vec_fma(p, s, vec_set(0x1.11107ap-3f));
    p = vec_fma(p, s, vec_set(-0x1.555554p-2f));
    vec low = vec_fma(vec_mul(p, s), size, size);
    vec e = vec_exp(vec_add(size, size));
    vec high = vec_sub(vec_set(1.0f), vec_div(vec_set(2.0f), vec_add(e, vec_set(1.0f))));
    return vec_with_sign(vec_pick(vec_less(size, vec_set(0.625f)), low, high), x);
}

/* Below 0.925 x + x p(x^2); above, 1 - e^-g(x), which is 1 from 4 on. */
static inline vec vec_erf(vec x)
{
    vec size = vec_abs(x), s = vec_mul(x, x);
    vec p = vec_set(0x1.4f6760p-14f);
    p = vec_fma(p, s, vec_set(-0x1.a60a2ep-11f));
    p = vec_fma(p, s, vec_set(0x1.544a1ap-8f));
    p = vec_fma(p, s, vec_set(-0x1.b8011ap-6f));
    p = vec_fma(p, s, vec_set(0x1.ce2d64p-4f));
    p = vec_fma(p, s, vec_set(-0x1.812740p-2f));
    p = vec_fma(p, s, vec_set(0x1.06eba8p-3f));
    vec low = vec_fma(p, size, size);
    vec t = vec_min(vec_set(4.0f), size); /* a NaN passes */
    vec g = vec_set(0x1.61dbdcp-16f);
    g = vec_fma(g, t, vec_set(-0x1.c78906p-12f));
    g = vec_fma(g, t, vec_set(0x1.115906p-8f));
    g = vec_fma(g, t, vec_set(-0x1.9b8db6p-6f));
    g = vec_fma(g, t, vec_set(0x1.bb83b8p-4f));
    g = vec_fma(g, t, vec_set(0x1.44460ep-1f));
    g = vec_fma(g, t, vec_set(0x1.2127e4p+0f));
    g = vec_fma(g, t, vec_set(-0x1.6e5a46p-13f));
    vec high = vec_sub(vec_set(1.0f), vec_exp(vec_negate(g)));
    return vec_with_sign(vec_pick(vec_less(size, vec_set(0.925f)), low, high), x);
}

/* x / (1 + e^-x) */
static inline vec vec_silu(vec x)
{
    return vec_div(x, vec_add(vec_set(1.0f), vec_exp(vec_negate(x))));
}

/* x/2 (1 + erf(x / sqrt 2)) */
static inline vec vec_gelu(vec x)
{
    vec e = vec_erf(vec_mul(x, vec_set(0x1.6a09e6p-1f)));
    return vec_mul(vec_mul(x, vec_set(0.5f)), vec_add(vec_set(1.0f), e));
}

/* x/2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
static inline vec vec_gelu_tanh(vec x)
{
    vec cube = vec_mul(vec_mul(x, x), x);
    vec inner = vec_mul(vec_set(0x1.988454p-1f), vec_fma(vec_set(0.044715f), cube, x));
    return vec_mul(vec_mul(x, vec_set(0.5f)), vec_add(vec_set(1.0f), vec_tanh(inner)));
}

/* A NaN stays one. */
static inline vec vec_relu(vec x)
{
    return vec_pick(vec_less(x, vec_set(0.0f)), vec_set(0.0f), x);
}

static inline vec vec_activate(enum activation f, vec x)
{
    switch (f) {
    case ACT_SILU:
        return vec_silu(x);
    case ACT_GELU:
        return vec_gelu(x);
    case ACT_GELU_TANH:
        return vec_gelu_tanh(x);
    case ACT_RELU:
        return vec_relu(x);
    default:
        return x;
    }
}

#endif
