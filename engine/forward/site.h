/* site.h - the named places of a forward pass. Names are TransformerLens's.
 *
 * A site is written in full (blocks.5.attn.hook_pattern) or short: "blocks.", "attn.",
 * "mlp." and "hook_" may be left out (5.pattern, 5.attn.pattern, 5.ln1.scale, embed).
 */
#ifndef MIDPASS_SITE_H
#define MIDPASS_SITE_H

#include "engine/base/error.h"

#include <stddef.h>

enum site {
    SITE_NONE,
    /* once */
    SITE_EMBED,
    SITE_POS_EMBED,
    SITE_EMBED_LN_SCALE,
    SITE_EMBED_LN_NORMALIZED,
    /* in each block */
    SITE_RESID_PRE,
    SITE_LN1_SCALE,
    SITE_LN1_NORMALIZED,
    SITE_Q,
    SITE_K,
    SITE_V,
    SITE_Q_NORM_SCALE,
    SITE_Q_NORM_NORMALIZED,
    SITE_K_NORM_SCALE,
    SITE_K_NORM_NORMALIZED,
    SITE_ROT_Q,
    SITE_ROT_K,
    SITE_ATTN_SCORES,
    SITE_PATTERN,
    SITE_Z,
    SITE_RESULT,
    SITE_ATTN_OUT,
    SITE_LN1_POST_SCALE,
    SITE_LN1_POST_NORMALIZED,
    SITE_RESID_MID,
    SITE_LN2_SCALE,
    SITE_LN2_NORMALIZED,
    SITE_MLP_PRE,
    SITE_MLP_PRE_LINEAR,
    SITE_MLP_POST,
    SITE_MLP_OUT,
    SITE_LN2_POST_SCALE,
    SITE_LN2_POST_NORMALIZED,
    SITE_RESID_POST,
    /* once, after the blocks */
    SITE_LN_FINAL_SCALE,
    SITE_LN_FINAL_NORMALIZED,
    SITE_UNEMBED_IN,
    SITE_UNEMBED_OUT,
    SITE_LOGITS,
    SITES
};

/* Which axes a site's value has, in the letters of kernels.h; T is the position. */
enum site_axes {
    AXES_T1,  /* [T, 1] */
    AXES_TD,  /* [T, width] */
    AXES_THX, /* [T, heads, width of a head] */
    AXES_HTS, /* [heads, T, S] */
};

/* The part of the name behind "blocks.{l}." (or all of it for a site that is there once):
 * "attn.hook_pattern". */
const char *site_suffix(enum site s);
/* Its shortest spelling: "pattern", "mlp.pre" stays "pre", "ln1.scale". */
const char *site_short(enum site s);
bool site_in_block(enum site s);
enum site_axes site_axes(enum site s);
/* "[T, H, h]", for listings; letters as in reference tables of TransformerLens. */
const char *site_shape_letters(enum site s);

/* The full name into out, e.g. "blocks.5.attn.hook_pattern"; layer is ignored for sites
 * that are there once. Returns out. */
char *site_name(enum site s, int layer, char out[64]);
/* The short name: "5.pattern", "logits". */
char *site_short_name(enum site s, int layer, char out[64]);

#define SITE_ALL_LAYERS (-1)

/* Reads one site at the start of text. On success *used is the length read, *layer the layer
 * (SITE_ALL_LAYERS for "*", 0 for sites that are there once) and, where the text says "3-5",
 * *layer_last the last one (else the same as *layer). */
bool site_parse(const char *text, enum site *s, int *layer, int *layer_last, size_t *used,
                struct error *err);

#endif
