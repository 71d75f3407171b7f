/* simd_avx2.h - 16 lanes in two registers of 256 bits. */
#ifndef MIDPASS_CPU_SIMD_AVX2_H
#define MIDPASS_CPU_SIMD_AVX2_H

#include "kernels/kernels.h"

#include <immintrin.h>

#define VEC_LANES 16

/* Lanes 0-7 and 8-15. A typedef: to everything above these are numbers. */
typedef struct {
    __m256 lo, hi;
} vec;
typedef struct {
    __m256i lo, hi;
} ivec;
typedef vec vmask;

/* Shapes of the tiles, for 16 registers, of which a vec takes two. */
#define DOT_ROWS      3 /* rows of x times weight rows: 12 registers of sums */
#define DOT_OUTPUTS   2
#define DOT_STREAMS   4 /* of weights, where one row of x is multiplied */
#define MANY_ROWS     6 /* rows of x times vectors of outputs: 12 */
#define MANY_VECS     1
#define SCORE_QUERIES 4 /* queries times pages of keys: 8 */
#define SCORE_PAGES   1
#define VALUE_QUERIES 4 /* queries times vectors of a value: 8 */
#define VALUE_VECS    1

#define EACH(op, a, b)                                                                             \
    {                                                                                              \
        op((a).lo, (b).lo), op((a).hi, (b).hi)                                                     \
    }

/* Lanes from .. to-1 of a half that begins at lane base. */
static inline __m256i half_span(int base, int from, int to)
{
    __m256i lane =
        _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(base));
    return _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(from), lane),
                               _mm256_cmpgt_epi32(_mm256_set1_epi32(to), lane));
}

static inline vec vec_load(const float *p)
{
    return (vec){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

static inline vec vec_load_span(const float *p, int from, int to, vec fill)
{
    __m256i lo = half_span(0, from, to), hi = half_span(8, from, to);
    return (vec){
        _mm256_blendv_ps(fill.lo, _mm256_maskload_ps(p, lo), _mm256_castsi256_ps(lo)),
        _mm256_blendv_ps(fill.hi, _mm256_maskload_ps(p + 8, hi), _mm256_castsi256_ps(hi)),
    };
}

static inline vec vec_load_n(const float *p, int n, vec fill)
{
    return vec_load_span(p, 0, n, fill);
}

static inline void vec_store(float *p, vec x)
{
    _mm256_storeu_ps(p, x.lo);
    _mm256_storeu_ps(p + 8, x.hi);
}

static inline void vec_store_span(float *p, int from, int to, vec x)
{
    _mm256_maskstore_ps(p, half_span(0, from, to), x.lo);
    _mm256_maskstore_ps(p + 8, half_span(8, from, to), x.hi);
}

static inline void vec_store_n(float *p, int n, vec x)
{
    vec_store_span(p, 0, n, x);
}

static inline vec vec_load_f16(const void *p)
{
    const __m128i *half = p;
    return (vec){_mm256_cvtph_ps(_mm_loadu_si128(half)),
                 _mm256_cvtph_ps(_mm_loadu_si128(half + 1))};
}

static inline vec vec_load_bf16(const void *p)
{
    const __m128i *half = p;
    __m256i lo = _mm256_cvtepu16_epi32(_mm_loadu_si128(half));
    __m256i hi = _mm256_cvtepu16_epi32(_mm_loadu_si128(half + 1));
    return (vec){_mm256_castsi256_ps(_mm256_slli_epi32(lo, 16)),
                 _mm256_castsi256_ps(_mm256_slli_epi32(hi, 16))};
}

static inline vec vec_set(float x)
{
    return (vec){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

static inline vec vec_add(vec a, vec b)
{
    return (vec)EACH(_mm256_add_ps, a, b);
}

static inline vec vec_sub(vec a, vec b)
{
    return (vec)EACH(_mm256_sub_ps, a, b);
}

static inline vec vec_mul(vec a, vec b)
{
    return (vec)EACH(_mm256_mul_ps, a, b);
}

static inline vec vec_div(vec a, vec b)
{
    return (vec)EACH(_mm256_div_ps, a, b);
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return (vec){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

static inline vec vec_max(vec a, vec b)
{
    return (vec)EACH(_mm256_max_ps, a, b);
}

static inline vec vec_min(vec a, vec b)
{
    return (vec)EACH(_mm256_min_ps, a, b);
}

static inline vmask vec_less(vec a, vec b)
{
    return (vmask){_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}

static inline vec vec_pick(vmask m, vec yes, vec no)
{
    return (vec){_mm256_blendv_ps(no.lo, yes.lo, m.lo), _mm256_blendv_ps(no.hi, yes.hi, m.hi)};
}

static inline ivec vec_bits(vec x)
{
    return (ivec){_mm256_castps_si256(x.lo), _mm256_castps_si256(x.hi)};
}

static inline vec vec_of_bits(ivec x)
{
    return (vec){_mm256_castsi256_ps(x.lo), _mm256_castsi256_ps(x.hi)};
}

static inline ivec ivec_set(uint32_t x)
{
    return (ivec){_mm256_set1_epi32((int)x), _mm256_set1_epi32((int)x)};
}

static inline ivec ivec_add(ivec a, ivec b)
{
    return (ivec)EACH(_mm256_add_epi32, a, b);
}

static inline ivec ivec_sub(ivec a, ivec b)
{
    return (ivec)EACH(_mm256_sub_epi32, a, b);
}

static inline ivec ivec_and(ivec a, ivec b)
{
    return (ivec)EACH(_mm256_and_si256, a, b);
}

static inline ivec ivec_or(ivec a, ivec b)
{
    return (ivec)EACH(_mm256_or_si256, a, b);
}

static inline ivec ivec_halve(ivec a)
{
    return (ivec){_mm256_srai_epi32(a.lo, 1), _mm256_srai_epi32(a.hi, 1)};
}

static inline ivec ivec_exponent(ivec a)
{
    return (ivec){_mm256_slli_epi32(a.lo, 23), _mm256_slli_epi32(a.hi, 23)};
}

/* The tree of kernels.h over the lanes of four vectors at once. */
static inline __m128 vec_sum4(vec a, vec b, vec c, vec d)
{
    __m256 a8 = _mm256_add_ps(a.lo, a.hi), b8 = _mm256_add_ps(b.lo, b.hi); /* i + i+8 */
    __m256 c8 = _mm256_add_ps(c.lo, c.hi), d8 = _mm256_add_ps(d.lo, d.hi);
    __m256 ab = _mm256_add_ps(_mm256_permute2f128_ps(a8, b8, 0x20), /* i + i+4 */
                              _mm256_permute2f128_ps(a8, b8, 0x31));
    __m256 cd =
        _mm256_add_ps(_mm256_permute2f128_ps(c8, d8, 0x20), _mm256_permute2f128_ps(c8, d8, 0x31));
    ab = _mm256_add_ps(ab, _mm256_permute_ps(ab, 0x4e)); /* i + i+2 */
    cd = _mm256_add_ps(cd, _mm256_permute_ps(cd, 0x4e));
    ab = _mm256_add_ps(ab, _mm256_permute_ps(ab, 0xb1)); /* i + i+1 */
    cd = _mm256_add_ps(cd, _mm256_permute_ps(cd, 0xb1));
    __m128 first = _mm_unpacklo_ps(_mm256_castps256_ps128(ab), _mm256_extractf128_ps(ab, 1));
    __m128 second = _mm_unpacklo_ps(_mm256_castps256_ps128(cd), _mm256_extractf128_ps(cd, 1));
    return _mm_movelh_ps(first, second);
}

/* Lane j of vector i becomes lane i of vector j: the same of 8 x 8. */
static inline void half_turn(__m256 v[8])
{
    __m256 t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) { /* pairs of lanes of two vectors */
        t[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) { /* halves of a register of four */
        v[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        v[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        v[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        v[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m256 low = v[i], high = v[i + 4];
        v[i] = _mm256_permute2f128_ps(low, high, 0x20);
        v[i + 4] = _mm256_permute2f128_ps(low, high, 0x31);
    }
}

static inline void vec_turn(vec v[16])
{
    __m256 t[4][8]; /* quarters: upper left, upper right, lower left, lower right */
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        t[0][i] = v[i].lo;
        t[1][i] = v[i].hi;
        t[2][i] = v[i + 8].lo;
        t[3][i] = v[i + 8].hi;
    }
    for (int i = 0; i < 4; i++)
        half_turn(t[i]);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        v[i] = (vec){t[0][i], t[2][i]};
        v[i + 8] = (vec){t[1][i], t[3][i]};
    }
}

#endif
