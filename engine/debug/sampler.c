#include "engine/debug/sampler.h"

#include "engine/analysis/top.h"

#include <math.h>

/* xorshift64*: https://doi.org/10.18637/jss.v008.i14 (Marsaglia), Vigna's multiplier. */
static double uniform(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)((*state * 2685821657736338717ull) >> 11) * 0x1p-53;
}

/* The least probability inside the nucleus: the fewest best tokens whose weights reach
 * `limit`. By bisection, since the vocabulary is not sorted. */
static float nucleus_floor(const float *p, int n, double limit)
{
    double low = 0, high = 1;
    for (int k = 0; k < 40; k++) {
        double mid = (low + high) / 2, sum = 0;
        for (int i = 0; i < n; i++)
            if ((double)p[i] >= mid)
                sum += (double)p[i];
        if (sum >= limit)
            low = mid;
        else
            high = mid;
    }
    return (float)low;
}

int32_t sampler_draw(struct sampler *s, float *logits, int n)
{
    double sum = 0;
    float top = logits[top_first(logits, n)];
    for (int i = 0; i < n; i++) {
        logits[i] = expf((logits[i] - top) / s->temperature);
        sum += (double)logits[i];
    }
    float floor_p = s->top_p < 1 ? nucleus_floor(logits, n, sum * (double)s->top_p) : 0;
    sum = 0;
    for (int i = 0; i < n; i++)
        sum += logits[i] >= floor_p ? (double)logits[i] : 0;
    double left = sum * uniform(&s->state);
    int last = 0;
    for (int i = 0; i < n && left >= 0; i++)
        if (logits[i] >= floor_p) {
            last = i;
            left -= (double)logits[i];
        }
    return last;
}
