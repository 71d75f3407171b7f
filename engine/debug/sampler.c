#include "engine/debug/sampler.h"

#include <math.h>
#include <string.h>

/* xorshift64*: https://doi.org/10.18637/jss.v008.i14 (Marsaglia), Vigna's multiplier. */
static double uniform(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)((*state * 2685821657736338717ull) >> 11) * 0x1p-53;
}

#define BLOCK 64 /* numbers whose largest is found without branches */

/* A float's bits as an int that is ordered as the float is. NaN is beyond infinity. */
static int32_t ordered(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits ^ ((bits >> 31) & INT32_MAX);
}

static int32_t block_top(const float *x)
{
    int32_t top = INT32_MIN;
    for (int i = 0; i < BLOCK; i++) {
        int32_t o = ordered(x[i]);
        top = o > top ? o : top;
    }
    return top;
}

/* The first of the largest; 0 where all are NaN. */
static int best(const float *x, int n)
{
    int at = 0;
    while (at < n - 1 && isnan(x[at]))
        at++;
    for (int i = at + 1; i < n; i++) {
        /* Few blocks have a larger one: the others are passed over. */
        while (i + BLOCK <= n && block_top(x + i) <= ordered(x[at]))
            i += BLOCK;
        int end = i + BLOCK < n ? i + BLOCK : n;
        for (; i < end; i++)
            if (x[i] > x[at])
                at = i;
        i--;
    }
    return isnan(x[at]) ? 0 : at;
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
