/* top.h - the best next tokens of a row of logits. */
#ifndef MIDPASS_TOP_H
#define MIDPASS_TOP_H

#include <stdint.h>

struct top_entry {
    int32_t id;
    float logit;
    double probability;
};

/* The n best of logits[n_vocab] (at most n_vocab), best first, of equals the lower id first; NaN
 * is worse than anything. Returns how many were written. */
int top_tokens(const float *logits, int n_vocab, int n, struct top_entry *out);
/* log(sum(exp(logits))): a token's probability is exp(logit - this). */
double top_log_sum(const float *logits, int n_vocab);
/* Why no token has a probability: "3 of 52 logits are NaN". NULL where each has one. */
const char *top_trouble(const float *logits, int n_vocab, char out[80]);
/* How many tokens are better than this one: 0 for the best. */
int top_rank(const float *logits, int n_vocab, int32_t id);

#endif
