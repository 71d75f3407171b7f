/* attribution.h - direct logit attribution: what each part wrote towards a token's logit.
 *
 * The final residual is a sum: embeddings, each head's write, each attention's bias, each MLP's
 * output. With the final norm's scale taken as it was, norm and unembedding are linear, so the
 * logit is the sum of the parts' logits and a constant (the norm's bias). See Elhage et al. 2021,
 * "A Mathematical Framework for Transformer Circuits", and TransformerLens's
 * logit_attrs. Parts are computed in double; they add up to the logit within its rounding.
 */
#ifndef MIDPASS_ATTRIBUTION_H
#define MIDPASS_ATTRIBUTION_H

#include "engine/forward/trace.h"

enum part_kind {
    PART_EMBED,
    PART_POS_EMBED,
    PART_HEAD,
    PART_ATTN_BIAS, /* and what patches put into attn_out or the residual besides */
    PART_MLP,
    PART_CONSTANT
};

struct part {
    enum part_kind kind;
    int layer, head; /* -1 where there is none */
    double logit;
};

/* How many parts a model has. */
int attribution_count(const struct model *m);
/* The parts of logit(a), or with b >= 0 of logit(a) - logit(b), at a computed position, into
 * parts[attribution_count]. *total is the logit (or the difference) itself, as the model has it. */
bool attribution_compute(struct trace *t, int position, int32_t a, int32_t b, struct part *parts,
                         double *total, struct error *err);

#endif
