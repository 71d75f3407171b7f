/* simd_scalar.h - the vocabulary of vector_math.h with vectors of one lane. */
#ifndef MIDPASS_CPU_SIMD_SCALAR_H
#define MIDPASS_CPU_SIMD_SCALAR_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef float vec;
typedef uint32_t ivec;
typedef bool vmask;

static inline vec vec_set(float x)
{
    return x;
}

static inline vec vec_add(vec a, vec b)
{
    return a + b;
}

static inline vec vec_sub(vec a, vec b)
{
    return a - b;
}

static inline vec vec_mul(vec a, vec b)
{
    return a * b;
}

static inline vec vec_div(vec a, vec b)
{
    return a / b;
}

/* a * b + c */
static inline vec vec_fma(vec a, vec b, vec c)
{
    return fmaf(a, b, c);
}

/* As the instruction: b, if either is a NaN. */
static inline vec vec_max(vec a, vec b)
{
    return a > b ? a : b;
}

static inline vec vec_min(vec a, vec b)
{
    return a < b ? a : b;
}

static inline vmask vec_less(vec a, vec b)
{
    return a < b;
}

static inline vec vec_pick(vmask m, vec yes, vec no)
{
    return m ? yes : no;
}

static inline ivec vec_bits(vec x)
{
    ivec bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline vec vec_of_bits(ivec bits)
{
    vec x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline ivec ivec_set(uint32_t x)
{
    return x;
}

static inline ivec ivec_add(ivec a, ivec b)
{
    return a + b;
}

static inline ivec ivec_sub(ivec a, ivec b)
{
    return a - b;
}

static inline ivec ivec_and(ivec a, ivec b)
{
    return a & b;
}

static inline ivec ivec_or(ivec a, ivec b)
{
    return a | b;
}

/* Half of a signed number, rounded down. */
static inline ivec ivec_halve(ivec a)
{
    return a >> 1 | (a & 0x80000000u);
}

/* a * 2^23: from an exponent to its place in a float */
static inline ivec ivec_exponent(ivec a)
{
    return a << 23;
}

#endif
