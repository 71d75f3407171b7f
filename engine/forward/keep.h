/* keep.h - what a run keeps of each position beside keys and values.
 *
 * Residuals before some layers, so that a value is recomputed from the nearest one below. To come
 * from one to a layer above, the layers between are run again, and what that costs is attention,
 * which goes through all keys. Where z, attention's output, is kept of them too, it is loaded in
 * its place, and no key is looked at.
 *
 * On a device also the logarithm of each attention row's sum, of every layer: a map of the pattern
 * is then one look at the keys.
 *
 * A page of KV_PAGE positions holds those sums and the kept residuals, each in the layers' order,
 * float32, then the kept z. A bfloat16 device keeps z as bfloat16, which is what W_O is multiplied
 * with there: attn_out, and all behind it, has the run's bits. hook_z itself was float32.
 */
#ifndef MIDPASS_KEEP_H
#define MIDPASS_KEEP_H

#include "kernels/kernels.h"

struct model;

struct keep {
    int stride;     /* the residual before every stride-th layer, and behind the last */
    bool attention; /* z of every layer whose next residual is not kept */
};

struct keep_sizes {
    int n_layers;
    int d, z; /* floats a row of the residual, and of z */
    enum dtype z_dtype;
    int sums; /* floats a row of a layer's: its heads, or 0 */
};

struct keep_sizes keep_sizes(const struct model *m);
/* Whether the residual before a layer is kept. Before layer 0 it never is, as the prelude gives it;
 * behind the last one, L, it always is: the logits are computed from it. */
bool keep_residual(const struct keep_sizes *s, struct keep k, int layer);
/* Whether z of a layer is. */
bool keep_attention(const struct keep_sizes *s, struct keep k, int layer);
/* Where they are in a page, of a layer that is kept. */
size_t keep_sums_at(const struct keep_sizes *s, int layer);
size_t keep_residual_at(const struct keep_sizes *s, struct keep k, int layer);
size_t keep_attention_at(const struct keep_sizes *s, struct keep k, int layer);
/* Bytes of a page. */
size_t keep_bytes(const struct keep_sizes *s, struct keep k);

/* Where memory is short less is kept: every layer; every second, with z between if that takes less;
 * every second; every fourth; ... and in the end the last residual alone. False: that is *k. */
bool keep_less(const struct keep_sizes *s, struct keep *k);
/* The first of these with a stride. */
struct keep keep_from(const struct keep_sizes *s, int stride);
/* The last of these. */
struct keep keep_least(const struct keep_sizes *s);
/* "every 2 layers, attention between" */
char *keep_words(struct keep k, char out[64]);

#endif
