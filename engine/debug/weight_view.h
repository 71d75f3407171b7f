/* weight_view.h - the model's weights under TransformerLens's names and shapes, where they lie.
 *
 *     blocks.5.attn.W_O [H, h, D]   5.W_in [D, M]   W_E [V, D]   unembed.W_U [D, V]   5.ln1.w [D]
 *
 * Nothing is copied or folded: an element is found in the checkpoint's own matrix. Keys and
 * values have as many heads as the checkpoint stores.
 */
#ifndef MIDPASS_WEIGHT_VIEW_H
#define MIDPASS_WEIGHT_VIEW_H

#include "engine/debug/value.h"
#include "engine/model/model.h"

/* Element (i, j, k) is output row out0 + i * out[0] + ..., input column i * in[0] + ... of the
 * matrix, or that row of the vector. */
struct weight_view {
    const struct matrix *matrix; /* or NULL: */
    const float *vector;
    int n_dims;
    size_t dims[3];
    int64_t out0, out[3], in[3];
};

/* Finds a weight by its name, full or short ("5.W_O"). */
bool weight_find(const struct model *m, const char *name, struct weight_view *out,
                 struct error *err);
/* The elements that picks[n_dims] take, in row major order. */
void weight_read(const struct weight_view *w, const struct pick *picks, float *out);

#endif
