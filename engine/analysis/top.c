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

#define BLOCK 64 /* numbers that are looked at without branches */

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

int32_t top_first(const float *logits, int n_vocab)
{
    int at = 0;
    while (at < n_vocab - 1 && isnan(logits[at]))
        at++;
    for (int i = at + 1; i < n_vocab; i++) {
        /* Few blocks have a larger one: the others are passed over. */
        while (i + BLOCK <= n_vocab && block_top(logits + i) <= ordered(logits[at]))
            i += BLOCK;
        int end = i + BLOCK < n_vocab ? i + BLOCK : n_vocab;
        for (; i < end; i++)
            if (logits[i] > logits[at])
                at = i;
        i--;
    }
    return isnan(logits[at]) ? 0 : at;
}

/* As top_tokens, without probabilities. */
static int pick(const float *logits, int n_vocab, int n, struct top_entry *out)
{
    if (n > n_vocab)
        n = n_vocab;
    if (n <= 0)
        return 0;
    if (n == 1) {
        int32_t id = top_first(logits, n_vocab);
        out[0] = (struct top_entry){.id = id, .logit = logits[id]};
        return 1;
    }
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
    return n;
}

void top_row_weigh(struct top_row *row, double log_sum, struct top_entry *best)
{
    row->log_sum = log_sum;
    if (row->target.id >= 0)
        row->target.probability = exp((double)row->target.logit - log_sum);
    for (int i = 0; i < row->n_best; i++)
        best[i].probability = exp((double)best[i].logit - log_sum);
}

int top_tokens(const float *logits, int n_vocab, int n, struct top_entry *out)
{
    struct top_row row = {.n_best = pick(logits, n_vocab, n, out), .target.id = -1};
    top_row_weigh(&row, top_log_sum(logits, n_vocab), out);
    return row.n_best;
}

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

/* What is no number, into *out. */
static void count_odd(const float *logits, int n_vocab, struct top_row *out)
{
    if (all_finite(logits, n_vocab))
        return;
    for (int i = 0; i < n_vocab; i++) {
        out->n_nan += isnan(logits[i]);
        out->n_above += isinf(logits[i]) && logits[i] > 0;
        out->n_below += isinf(logits[i]) && logits[i] < 0;
    }
}

const char *top_row_trouble(const struct top_row *r, int n_vocab, char out[80])
{
    if (r->n_nan == 0 && r->n_above == 0 && r->n_below < n_vocab)
        return NULL;
    int n = r->n_nan > 0 ? r->n_nan : r->n_above > 0 ? r->n_above : r->n_below;
    snprintf(out, 80, "%d of %d logits %s %s", n, n_vocab, n == 1 ? "is" : "are",
             r->n_nan > 0     ? "NaN"
             : r->n_above > 0 ? "inf"
                              : "-inf");
    return out;
}

const char *top_trouble(const float *logits, int n_vocab, char out[80])
{
    struct top_row row = {0};
    count_odd(logits, n_vocab, &row);
    return top_row_trouble(&row, n_vocab, out);
}

int top_rank(const float *logits, int n_vocab, int32_t id)
{
    int rank = 0;
    for (int i = 0; i < n_vocab; i++)
        rank += i != id && better(logits[i], i, logits[id], id);
    return rank;
}

void top_of_row(const float *logits, int n_vocab, const struct top_ask *ask, int i,
                struct top_row *out, struct top_entry *best)
{
    int32_t target = ask->targets ? ask->targets[i] : -1;
    *out = (struct top_row){.target.id = target};
    count_odd(logits, n_vocab, out);
    if (target >= 0) {
        out->target.logit = logits[target];
        out->rank = top_rank(logits, n_vocab, target);
    }
    out->n_best = pick(logits, n_vocab, ask->n_best, best);
    if (ask->probabilities)
        top_row_weigh(out, top_log_sum(logits, n_vocab), best);
}
