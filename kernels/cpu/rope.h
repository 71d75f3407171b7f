/* rope.h - the rotation, compiled once for each instruction set. fmaf is rounded once in all
 * of them, so that plain C gives the same bits and the compiler may widen it. */
#ifndef MIDPASS_CPU_ROPE_H
#define MIDPASS_CPU_ROPE_H

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

/* x, out: [h]; cosines, sines: [r/2]. first and step place the pairs: a at i * step, b at
 * i * step + other. */
static inline void rope_head(const float *restrict x, const float *restrict cosines,
                             const float *restrict sines, int half, int step, int other,
                             float *restrict out)
{
    for (int i = 0; i < half; i++) {
        float a = x[i * step], b = x[i * step + other];
        float c = cosines[i], s = sines[i];
        out[i * step] = fmaf(a, c, -(b * s));
        out[i * step + other] = fmaf(b, c, a * s);
    }
}

/* x, out: [n, heads, h]; angles: [n, r], cosines before sines. */
static void rope_rows(const float *x, const float *angles, int r, enum rope_style style, float *out,
                      int n, int heads, int d_head)
{
    int half = r / 2;
    for (int row = 0; row < n; row++, angles += r) {
        for (int head = 0; head < heads; head++, x += d_head, out += d_head) {
            if (style == ROPE_HALVES)
                rope_head(x, angles, angles + half, half, 1, half, out);
            else
                rope_head(x, angles, angles + half, half, 2, 1, out);
            if (r < d_head)
                memcpy(out + r, x + r, (size_t)(d_head - r) * sizeof *x);
        }
    }
}

#endif
