/* sampler.h - the next token from its logits. */
#ifndef MIDPASS_SAMPLER_H
#define MIDPASS_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

struct sampler {
    bool greedy; /* nothing is drawn: the best it is */
    float temperature, top_p;
    uint64_t seed, state;
};

/* An id drawn by its probability at the temperature among the fewest best that together have top_p.
 * The logits are used up. */
int32_t sampler_draw(struct sampler *s, float *logits, int n);

#endif
