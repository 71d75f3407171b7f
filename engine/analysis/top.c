#include "engine/analysis/top.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool better(float x, int32_t i, float y, int32_t k)
{
    if (isnan(x) || isnan(y))
        return isnan(x) && isnan(y) ? i < k : isnan(y);
    return x != y ? x > y : i < k;
}

static bool entry_better(const struct top_entry *a, const struct top_entry *b)
{
    return better(a->logit, a->id, b->logit, b->id);
}

/* Restores a heap whose root is the worst of the n best. */
static void sift_down(struct top_entry *heap, int n, int i)
{
    for (;;) {
        int worst = i, left = 2 * i + 1;
        for (int k = left; k < n && k <= left + 1; k++)
            if (entry_better(&heap[worst], &heap[k]))
                worst = k;
        if (worst == i)
            return;
        struct top_entry t = heap[i];
        heap[i] = heap[worst];
        heap[worst] = t;
        i = worst;
    }
}

static int best_first(const void *a, const void *b)
{
    return entry_better(a, b) ? -1 : entry_better(b, a);
}

double top_log_sum(const float *logits, int n_vocab)
{
    double sum = 0, top = -INFINITY;
    for (int i = 0; i < n_vocab; i++)
        if ((double)logits[i] > top)
            top = (double)logits[i];
    if (isinf(top)) /* nothing finite, or something infinite */
        return top;
    for (int i = 0; i < n_vocab; i++)
        sum += exp((double)logits[i] - top);
    return top + log(sum);
}

int top_tokens(const float *logits, int n_vocab, int n, struct top_entry *out)
{
    double log_sum = top_log_sum(logits, n_vocab);
    if (n > n_vocab)
        n = n_vocab;
    if (n <= 0)
        return 0;
    for (int i = 0; i < n; i++)
        out[i] = (struct top_entry){.id = i, .logit = logits[i]};
    for (int i = n / 2; i-- > 0;)
        sift_down(out, n, i);
    for (int i = n; i < n_vocab; i++)
        if (better(logits[i], i, out[0].logit, out[0].id)) {
            out[0] = (struct top_entry){.id = i, .logit = logits[i]};
            sift_down(out, n, 0);
        }
    qsort(out, (size_t)n, sizeof *out, best_first);
    for (int i = 0; i < n; i++)
        out[i].probability = exp((double)out[i].logit - log_sum);
    return n;
}

#define BLOCK 64 /* numbers that are looked at without branches */

/* The largest of a block's magnitudes, as bits. */
static int32_t block_magnitude(const float *x)
{
    int32_t most = 0;
    for (int i = 0; i < BLOCK; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= INT32_MAX;
        most = bits > most ? bits : most;
    }
    return most;
}

/* Whether all are finite: no exponent is all ones. */
static bool all_finite(const float *x, int n)
{
    int i = 0;
    for (; i + BLOCK <= n; i += BLOCK)
        if (block_magnitude(x + i) >= 0x7f800000)
            return false;
    while (i < n && isfinite(x[i]))
        i++;
    return i == n;
}

const char *top_trouble(const float *logits, int n_vocab, char out[80])
{
    if (n_vocab > 0 && all_finite(logits, n_vocab))
        return NULL;
    int n_nan = 0, n_above = 0, n_below = 0;
    for (int i = 0; i < n_vocab; i++) {
        n_nan += isnan(logits[i]);
        n_above += isinf(logits[i]) && logits[i] > 0;
        n_below += isinf(logits[i]) && logits[i] < 0;
    }
    if (n_nan == 0 && n_above == 0 && n_below < n_vocab)
        return NULL;
    int n = n_nan > 0 ? n_nan : n_above > 0 ? n_above : n_below;
    snprintf(out, 80, "%d of %d logits %s %s", n, n_vocab, n == 1 ? "is" : "are",
             n_nan > 0     ? "NaN"
             : n_above > 0 ? "inf"
                           : "-inf");
    return out;
}

int top_rank(const float *logits, int n_vocab, int32_t id)
{
    int rank = 0;
    for (int i = 0; i < n_vocab; i++)
        rank += i != id && better(logits[i], i, logits[id], id);
    return rank;
}
