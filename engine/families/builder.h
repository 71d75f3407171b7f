/* builder.h - what a family writes its program with.
 *
 * Calls add ops in order and return the slot of the result. The first thing that is wrong (a
 * missing tensor, a wrong shape) is kept and every later call does nothing, so a family reads
 * as a straight list. Tensor names are given without the family's prefix ("model.").
 */
#ifndef MIDPASS_BUILDER_H
#define MIDPASS_BUILDER_H

#include "engine/model/model.h"

struct builder {
    struct model *model;
    const struct config *config;
    struct program *program;
    const char *prefix;          /* tried in front of each name, then the name alone */
    int layer;                   /* of the ops that are added; -1 outside the blocks */
    int angles[MODEL_MAX_ROPES]; /* slots */
    bool failed;
    struct error *err;
    char **counted; /* tensors that the plan has counted already */
    int n_counted, room_counted;
};

/* A weight and its optional bias, as an op takes it. */
struct weight {
    struct matrix w;
    const float *bias;
    const char *name;
};

/* [n_out, n_in] as Linear stores it, rows first .. first + n_out - 1 of a tensor with `rows`
 * rows (0: n_out, the whole). format gives the name; ".weight" and, with bias, ".bias" are added.
 */
struct weight weight_rows(struct builder *b, int n_out, int n_in, int first, int rows, bool bias,
                          const char *format, ...) __attribute__((format(printf, 7, 8)));
/* The same of a Conv1D tensor [n_in, columns]: columns first .. first + n_out - 1. */
struct weight weight_columns(struct builder *b, int n_out, int n_in, int first, int columns,
                             bool bias, const char *format, ...)
    __attribute__((format(printf, 7, 8)));
/* Rows interleaved per head, as NeoX's query_key_value: of each of `groups` groups of
 * `parts * size` rows, the `part`-th `size` rows. */
struct weight weight_interleaved(struct builder *b, int groups, int parts, int part, int size,
                                 int n_in, bool bias, const char *format, ...)
    __attribute__((format(printf, 8, 9)));
/* A table [rows, n_in] for embed. */
struct weight weight_table(struct builder *b, int rows, int n_in, const char *name);
/* The unembedding [V, D]: the embedding `tied_name` if config.tied (or the head alone, where a
 * file keeps only that), else `name`. `tied_name` is with, `name` without the prefix. */
struct weight weight_head(struct builder *b, const char *tied_name, const char *name, bool bias);
/* Whether the checkpoint has a tensor of this name (yes in a plan without weights). */
bool builder_has(struct builder *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One vector of n floats, widened. */
const float *vector(struct builder *b, int n, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The sections. begin_blocks ends the prelude; each block starts with emit_block, which names
 * resid_pre; begin_tail ends the blocks. */
int emit_embed(struct builder *b, struct weight table, float scale);
int emit_positions(struct builder *b, struct weight table, int offset);
void emit_angles(struct builder *b, int rope); /* for ropes[rope] of the model */
int emit_block(struct builder *b, int layer, int x);
int emit_tail(struct builder *b, int x);

int emit_add(struct builder *b, enum site site, int x, int y);
/* Centre, scale, divide, gain and bias. scale_site's successor is the normalized site.
 * Layer norm and RMS norm over the row. */
int emit_layer_norm(struct builder *b, enum site scale_site, int x, float eps, const char *format,
                    ...) __attribute__((format(printf, 5, 6)));
int emit_rms_norm(struct builder *b, enum site scale_site, int x, float eps, const char *format,
                  ...) __attribute__((format(printf, 5, 6)));
/* RMS norm of each head alone, one gain [d_head] for all. */
int emit_head_norm(struct builder *b, enum site scale_site, int x, int heads, float eps,
                   const char *format, ...) __attribute__((format(printf, 6, 7)));
/* heads 0: [T, N]; else [T, heads, N / heads]. */
int emit_linear(struct builder *b, enum site site, int x, struct weight w, int heads);
/* RoPE (if rope >= 0) on q and k, store, scores, softmax, mix, result, output projection.
 * Returns attn_out. */
int emit_attention(struct builder *b, int q, int k, int v, int rope, float scale, struct weight o);
int emit_activate(struct builder *b, int x);
int emit_gate(struct builder *b, int pre, int linear);
/* Names a slot. */
int emit_hook(struct builder *b, enum site site, int x);
/* unembed.hook_in on x, unembed.hook_out, logits. */
void emit_unembed(struct builder *b, int x, struct weight head);

/* Adds RoPE frequencies from config.rope for heads of d_head floats; returns its index. */
int builder_rope(struct builder *b);

#endif
