/* heads.h - what every head does on this prompt: how much of its attention goes where.
 *
 * Means over the queries that have such a key:
 *   previous    to the token before
 *   duplicate   to earlier occurrences of the same token
 *   induction   to tokens behind earlier occurrences of the same token (Olsson et al. 2022,
 *               "In-context Learning and Induction Heads")
 */
#ifndef MIDPASS_HEADS_H
#define MIDPASS_HEADS_H

#include "engine/forward/trace.h"

struct head_scores {
    double previous, duplicate, induction; /* 0 where no query has such a key */
};

/* All heads of all layers over the first n positions (computed), out[L * H]. Memory: the
 * patterns of a few rows at a time. */
bool heads_score(struct trace *t, int n, struct head_scores *out, struct error *err);

#endif
