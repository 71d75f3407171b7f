#include "engine/debug/sampler.h"

#include <math.h>

/* xorshift64*: https://doi.org/10.18637/jss.v008.i14 (Marsaglia), Vigna's multiplier. */
static double uniform(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)((*state * 2685821657736338717ull) >> 11) * 0x1p-53;
}

/* The first of the largest; 0 where all are NaN. */
static int best(const float *x, int n)
{
    int at = 0;
    while (at < n - 1 && isnan(x[at]))
        at++;
    float top = x[at];
    for (int i = at + 1; i < n; i++)
        if (x[i] > top)
            top = x[at = i];
    return isnan(top) ? 0 : at;
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

/* One token by its probability among the best that together have top_p. logits are used up. */
static int draw(struct sampler *sampler, float *logits, int n)
{
    double sum = 0;
    float top = logits[best(logits, n)];
    for (int i = 0; i < n; i++) {
        logits[i] = expf((logits[i] - top) / sampler->temperature);
        sum += (double)logits[i];
    }
    float floor_p = sampler->top_p < 1 ? nucleus_floor(logits, n, sum * (double)sampler->top_p) : 0;
    sum = 0;
    for (int i = 0; i < n; i++)
        sum += logits[i] >= floor_p ? (double)logits[i] : 0;
    double left = sum * uniform(&sampler->state);
    int last = 0;
    for (int i = 0; i < n && left >= 0; i++)
        if (logits[i] >= floor_p) {
            last = i;
            left -= (double)logits[i];
        }
    return last;
}

int32_t sampler_draw(struct sampler *s, float *logits, int n)
{
    return s->greedy ? best(logits, n) : draw(s, logits, n);
}
