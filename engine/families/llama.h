/* llama.h - what Llama's descendants share: names of keys and tensors, the shape of a block. */
#ifndef MIDPASS_LLAMA_H
#define MIDPASS_LLAMA_H

#include "engine/families/families.h"

/* hidden_size, heads, head_dim, rms_norm_eps, hidden_act, ... Not biases, RoPE or windows. */
bool llama_sizes(struct config *c, const struct json *j, struct error *err);

/* Embedding, blocks with separate q, k, v and gated MLP, head. With qk_norm q and k are normed
 * per head before RoPE. */
void llama_emit(struct builder *b, bool qk_norm);

/* The gated MLP's weights: gate and up. */
void llama_mlp(struct builder *b, int l, int *x, struct weight gate, struct weight up);

#endif
