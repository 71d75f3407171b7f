/* top.h - the best next tokens of a row of logits, as the host has it. */
#ifndef MIDPASS_TOP_H
#define MIDPASS_TOP_H

#include <stdbool.h>
#include <stdint.h>

struct top_entry {
    int32_t id;
    float logit;
    double probability;
};

/* What is asked of rows of logits. */
struct top_ask {
    int n_best;         /* best tokens of each row */
    bool probabilities; /* theirs, too: a look at all logits */
    const int32_t
        *targets; /* [rows] or NULL: a token of each row, of which more is told; -1: none */
};

/* What is told of a row; the best tokens lie beside it. */
struct top_row {
    int n_best;                  /* as many as were asked for, or the whole vocabulary */
    int n_nan, n_above, n_below; /* NaN, inf, -inf */
    double log_sum;              /* where probabilities are asked for */
    struct top_entry target;     /* id -1: none was asked for */
    int rank;                    /* of the target: how many tokens are better */
};

/* The n best of logits[n_vocab] (at most n_vocab), best first, of equals the lower id first; NaN
 * is worse than anything. Returns how many were written. */
int top_tokens(const float *logits, int n_vocab, int n, struct top_entry *out);
/* The id of the best alone, faster. */
int32_t top_first(const float *logits, int n_vocab);
/* log(sum(exp(logits))): a token's probability is exp(logit - this). */
double top_log_sum(const float *logits, int n_vocab);
/* Why no token has a probability: "3 of 52 logits are NaN". NULL where each has one. */
const char *top_trouble(const float *logits, int n_vocab, char out[80]);
/* How many tokens are better than this one: 0 for the best. */
int top_rank(const float *logits, int n_vocab, int32_t id);

/* All that is asked of row `i` of those that the ask is of; best: [ask->n_best]. */
void top_of_row(const float *logits, int n_vocab, const struct top_ask *ask, int i,
                struct top_row *out, struct top_entry *best);
/* Sets the probabilities of the row's best and of its target. */
void top_row_weigh(struct top_row *row, double log_sum, struct top_entry *best);
/* As top_trouble. */
const char *top_row_trouble(const struct top_row *row, int n_vocab, char out[80]);

#endif
