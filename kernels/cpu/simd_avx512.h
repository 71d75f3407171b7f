/* simd_avx512.h - 16 lanes in one register of 512 bits. */
#ifndef MIDPASS_CPU_SIMD_AVX512_H
#define MIDPASS_CPU_SIMD_AVX512_H

#include "kernels/kernels.h"

#include <immintrin.h>

#define VEC_LANES 16

typedef __m512 vec;
typedef __m512i ivec;
typedef __mmask16 vmask;

/* Shapes of the tiles, for 32 registers. */
#define DOT_ROWS      6 /* rows of x times weight rows: 24 sums, 10 operands */
#define DOT_OUTPUTS   4
#define DOT_STREAMS   8 /* of weights, where one row of x is multiplied */
#define MANY_ROWS     8 /* rows of x times vectors of outputs: 24 sums, 4 operands */
#define MANY_VECS     3
#define SCORE_QUERIES 4 /* queries times pages of keys: 16 sums */
#define SCORE_PAGES   4
#define VALUE_QUERIES 4 /* queries times vectors of a value: 16 sums */
#define VALUE_VECS    4

static inline vmask vec_first(int n)
{
    return (vmask)((1u << n) - 1);
}

static inline vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

/* The first n lanes, the rest from fill. */
static inline vec vec_load_n(const float *p, int n, vec fill)
{
    return _mm512_mask_loadu_ps(fill, vec_first(n), p);
}

/* Lanes from .. to-1, the rest from fill: nothing outside is read. */
static inline vec vec_load_span(const float *p, int from, int to, vec fill)
{
    return _mm512_mask_loadu_ps(fill, (vmask)(vec_first(to) & ~vec_first(from)), p);
}

static inline void vec_store(float *p, vec x)
{
    _mm512_storeu_ps(p, x);
}

static inline void vec_store_n(float *p, int n, vec x)
{
    _mm512_mask_storeu_ps(p, vec_first(n), x);
}

static inline void vec_store_span(float *p, int from, int to, vec x)
{
    _mm512_mask_storeu_ps(p, (vmask)(vec_first(to) & ~vec_first(from)), x);
}

static inline vec vec_load_f16(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}

static inline vec vec_load_bf16(const void *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

static inline vec vec_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

static inline vec vec_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}

static inline vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

static inline vec vec_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

static inline vec vec_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}

static inline vmask vec_less(vec a, vec b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

static inline vec vec_pick(vmask m, vec yes, vec no)
{
    return _mm512_mask_blend_ps(m, no, yes);
}

static inline ivec vec_bits(vec x)
{
    return _mm512_castps_si512(x);
}

static inline vec vec_of_bits(ivec x)
{
    return _mm512_castsi512_ps(x);
}

static inline ivec ivec_set(uint32_t x)
{
    return _mm512_set1_epi32((int)x);
}

static inline ivec ivec_add(ivec a, ivec b)
{
    return _mm512_add_epi32(a, b);
}

static inline ivec ivec_sub(ivec a, ivec b)
{
    return _mm512_sub_epi32(a, b);
}

static inline ivec ivec_and(ivec a, ivec b)
{
    return _mm512_and_si512(a, b);
}

static inline ivec ivec_or(ivec a, ivec b)
{
    return _mm512_or_si512(a, b);
}

static inline ivec ivec_halve(ivec a)
{
    return _mm512_srai_epi32(a, 1);
}

static inline ivec ivec_exponent(ivec a)
{
    return _mm512_slli_epi32(a, 23);
}

/* Lane i + lane i+8 of a, then the same of b: 8 lanes each. */
static inline vec vec_fold8(vec a, vec b)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
}

/* The tree of kernels.h over the lanes of four vectors at once. */
static inline __m128 vec_sum4(vec a, vec b, vec c, vec d)
{
    vec ab = vec_fold8(a, b), cd = vec_fold8(c, d);
    /* i + i+4: a quarter of the register for each */
    vec x = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    x = _mm512_add_ps(x, _mm512_permute_ps(x, 0x4e)); /* i + i+2 */
    x = _mm512_add_ps(x, _mm512_permute_ps(x, 0xb1)); /* i + i+1 */
    const __m512i heads = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    return _mm512_castps512_ps128(_mm512_permutexvar_ps(heads, x));
}

/* Lane j of vector i becomes lane i of vector j. */
static inline void vec_turn(vec v[16])
{
    vec t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) { /* pairs of lanes of two vectors */
        t[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) { /* quarters of a register of four */
        v[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
        v[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
        v[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        v[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* halves of eight, then all of sixteen */
        t[i] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0xdd);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        v[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        v[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
        v[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
        v[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

#endif
