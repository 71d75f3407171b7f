/* dtype.c - one stored element at a time. The fast ways to widen are in cpu/. */
#include "kernels/kernels.h"

#include <string.h>

size_t dtype_size(enum dtype t)
{
    return t == DTYPE_F32 ? 4 : 2;
}

const char *dtype_name(enum dtype t)
{
    static const char *const names[DTYPE_N] = {"f32", "f16", "bf16"};
    return (unsigned)t < DTYPE_N ? names[t] : "?";
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float half_load(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = (half >> 10) & 31, fraction = half & 0x3ff;
    if (exponent == 31) /* infinity, or a NaN, made quiet as the hardware does */
        return float_of(sign | 0x7f800000 | fraction << 13 | (fraction ? 0x400000 : 0));
    if (exponent == 0) { /* zero, or fraction * 2^-24, which float32 holds exactly */
        float x = (float)fraction * 0x1p-24f;
        return sign ? -x : x;
    }
    return float_of(sign | (exponent + 127 - 15) << 23 | fraction << 13);
}

uint16_t dtype_to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) /* a NaN stays one */
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float dtype_load(enum dtype t, const void *p)
{
    uint16_t half;
    float x;
    if (t == DTYPE_F32) {
        memcpy(&x, p, sizeof x);
        return x;
    }
    memcpy(&half, p, sizeof half);
    return t == DTYPE_F16 ? half_load(half) : float_of((uint32_t)half << 16);
}
