/* angles.c - cosines and sines for rotary positions.
 *
 * Angles reach hundreds of thousands of radians, and a quarter turn cut off in float32 would
 * leave nothing there: so the reduction and the polynomials are in double, in plain
 * operations that every machine rounds alike, and the result is rounded to float32 once. */
#include "kernels/cpu/angles.h"

#include <stdint.h>
#include <string.h>

/* pi / 2 in three parts, the first two of 28 bits: times a quarter count below 2^25 exact. */
static const double PI_2_HIGH = 0x1.921fb54p+0, PI_2_MIDDLE = 0x1.10b461p-30,
                    PI_2_LOW = 0x1.a62633145c06ep-58;

static void sincos_of(float angle, float *cosine, float *sine)
{
    const double rounder = 0x1.8p52; /* x + rounder: the nearest integer in the low bits */
    double x = (double)angle;
    double t = x * 0x1.45f306dc9c883p-1 + rounder, n = t - rounder;
    uint64_t quarter;
    memcpy(&quarter, &t, sizeof quarter);
    double r = ((x - n * PI_2_HIGH) - n * PI_2_MIDDLE) - n * PI_2_LOW;

    /* |r| <= pi/4: Taylor's terms end below 2^-45. */
    double s = r * r;
    double c = 1.0 / 87178291200.0;
    c = 1.0 / 479001600.0 - s * c;
    c = -1.0 / 3628800.0 + s * c;
    c = 1.0 / 40320.0 + s * c;
    c = -1.0 / 720.0 + s * c;
    c = 1.0 / 24.0 + s * c;
    c = -0.5 + s * c;
    c = 1.0 + s * c;
    double z = 1.0 / 6227020800.0;
    z = -1.0 / 39916800.0 + s * z;
    z = 1.0 / 362880.0 + s * z;
    z = -1.0 / 5040.0 + s * z;
    z = 1.0 / 120.0 + s * z;
    z = -1.0 / 6.0 + s * z;
    z = r + r * (s * z);
    if (r == 0)
        z = r; /* keeps -0 */

    double cos_value = quarter & 1 ? z : c, sin_value = quarter & 1 ? c : z;
    *cosine = (float)((quarter + 1) & 2 ? -cos_value : cos_value);
    *sine = (float)(quarter & 2 ? -sin_value : sin_value);
}

void angles_fill(const float *inv_freq, int r, float scale, int pos0, int n, float *out)
{
    int half = r / 2;
    for (int row = 0; row < n; row++, out += r) {
        for (int i = 0; i < half; i++) {
            float c, s;
            sincos_of((float)(pos0 + row) * inv_freq[i], &c, &s);
            out[i] = scale * c;
            out[half + i] = scale * s;
        }
    }
}
