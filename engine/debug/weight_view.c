#include "engine/debug/weight_view.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* How a weight's axes lie in the op's matrix [N, K], x W^T: */
enum layout {
    HEADS_FIRST, /* [H, D, h]: N is head by head */
    HEADS_LAST,  /* [H, h, D]: K is head by head */
    TRANSPOSED,  /* [K, N] */
    TABLE,       /* [N, K] */
    BIAS_HEADS,  /* [H, h] */
    BIAS,        /* [N] */
    GAIN,        /* of the norm whose site this is */
    GAIN_BIAS,
};

static const struct row {
    const char *name; /* behind "blocks.{l}." */
    bool in_block;
    enum site site; /* whose op has it */
    enum layout layout;
} rows[] = {
    {"embed.W_E", false, SITE_EMBED, TABLE},
    {"pos_embed.W_pos", false, SITE_POS_EMBED, TABLE},
    {"embed.ln.w", false, SITE_EMBED_LN_NORMALIZED, GAIN},
    {"embed.ln.b", false, SITE_EMBED_LN_NORMALIZED, GAIN_BIAS},
    {"ln1.w", true, SITE_LN1_NORMALIZED, GAIN},
    {"ln1.b", true, SITE_LN1_NORMALIZED, GAIN_BIAS},
    {"attn.W_Q", true, SITE_Q, HEADS_FIRST},
    {"attn.W_K", true, SITE_K, HEADS_FIRST},
    {"attn.W_V", true, SITE_V, HEADS_FIRST},
    {"attn.W_O", true, SITE_ATTN_OUT, HEADS_LAST},
    {"attn.b_Q", true, SITE_Q, BIAS_HEADS},
    {"attn.b_K", true, SITE_K, BIAS_HEADS},
    {"attn.b_V", true, SITE_V, BIAS_HEADS},
    {"attn.b_O", true, SITE_ATTN_OUT, BIAS},
    {"attn.q_norm.w", true, SITE_Q_NORM_NORMALIZED, GAIN},
    {"attn.k_norm.w", true, SITE_K_NORM_NORMALIZED, GAIN},
    {"ln1_post.w", true, SITE_LN1_POST_NORMALIZED, GAIN},
    {"ln2.w", true, SITE_LN2_NORMALIZED, GAIN},
    {"ln2.b", true, SITE_LN2_NORMALIZED, GAIN_BIAS},
    {"ln2_post.w", true, SITE_LN2_POST_NORMALIZED, GAIN},
    {"mlp.W_gate", true, SITE_MLP_PRE, TRANSPOSED},
    {"mlp.W_in", true, SITE_MLP_PRE_LINEAR, TRANSPOSED},
    {"mlp.W_out", true, SITE_MLP_OUT, TRANSPOSED},
    {"mlp.b_gate", true, SITE_MLP_PRE, BIAS},
    {"mlp.b_in", true, SITE_MLP_PRE_LINEAR, BIAS},
    {"mlp.b_out", true, SITE_MLP_OUT, BIAS},
    {"ln_final.w", false, SITE_LN_FINAL_NORMALIZED, GAIN},
    {"ln_final.b", false, SITE_LN_FINAL_NORMALIZED, GAIN_BIAS},
    {"unembed.W_U", false, SITE_UNEMBED_OUT, TRANSPOSED},
    {"unembed.b_U", false, SITE_UNEMBED_OUT, BIAS},
};
#define N_ROWS ((int)(sizeof rows / sizeof rows[0]))

/* "W_Q" for "attn.W_Q", but "ln1.w" stays: a part that is all that tells norms apart. */
static const char *bare(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (dot[1] == 'W' || (dot[1] == 'b' && dot[2] == '_')) ? dot + 1 : name;
}

static const struct row *find_row(const char *name, bool in_block)
{
    for (int i = 0; i < N_ROWS; i++)
        if (rows[i].in_block == in_block &&
            (strcmp(name, rows[i].name) == 0 || strcmp(name, bare(rows[i].name)) == 0))
            return &rows[i];
    return NULL;
}

/* Splits "blocks.5.attn.W_O" or "5.W_O". layer is -1 for what is there once. */
static const struct row *parse(const char *name, int n_layers, int *layer, struct error *err)
{
    const char *p = strncmp(name, "blocks.", 7) == 0 ? name + 7 : name;
    *layer = -1;
    if (isdigit((unsigned char)*p)) {
        for (*layer = 0; isdigit((unsigned char)*p); p++)
            *layer = *layer < 1000000 ? *layer * 10 + (*p - '0') : *layer;
        if (*p++ != '.') {
            error_set(err, ERR_USAGE, "a weight of a layer is written as in 5.attn.W_O");
            return NULL;
        }
    }
    const struct row *row = find_row(p, *layer >= 0);
    if (!row) {
        if (find_row(p, *layer < 0))
            error_set(err, ERR_USAGE,
                      *layer < 0 ? "%.40s needs a layer in front, as in 0.%.40s"
                                 : "%.40s is there once, without a layer",
                      p, p);
        else
            error_set(err, ERR_USAGE,
                      "no weight is called \"%.60s\": W_E, W_pos, W_U, b_U, ln_final.w; in a layer "
                      "W_Q, W_K, W_V, W_O, W_in, W_gate, W_out, their b_..., ln1.w, ln2.w",
                      name);
        return NULL;
    }
    if (*layer >= n_layers) {
        error_set(err, ERR_USAGE, "there is no layer %d: the model has layers 0 to %d", *layer,
                  n_layers - 1);
        return NULL;
    }
    return row;
}

/* Fills a view of a product's matrix or bias. */
static void view_of(const struct op *op, const struct op *heads_op, enum layout layout,
                    struct weight_view *w)
{
    size_t n_out = (size_t)op->w.n_out, n_in = (size_t)op->w.n_in;
    size_t H = heads_op && heads_op->heads > 0 ? (size_t)heads_op->heads : 1;
    switch (layout) {
    case HEADS_FIRST: {
        size_t h = n_out / H;
        *w = (struct weight_view){.matrix = &op->w, .n_dims = 3, .dims = {H, n_in, h}};
        w->out[0] = (int64_t)h;
        w->in[1] = 1;
        w->out[2] = 1;
        break;
    }
    case HEADS_LAST: {
        size_t h = n_in / H;
        *w = (struct weight_view){.matrix = &op->w, .n_dims = 3, .dims = {H, h, n_out}};
        w->in[0] = (int64_t)h;
        w->in[1] = 1;
        w->out[2] = 1;
        break;
    }
    case TRANSPOSED:
        *w = (struct weight_view){.matrix = &op->w, .n_dims = 2, .dims = {n_in, n_out}};
        w->in[0] = 1;
        w->out[1] = 1;
        break;
    case TABLE:
        /* Positions may start further down in the table. */
        *w = (struct weight_view){
            .matrix = &op->w, .n_dims = 2, .dims = {n_out - (size_t)op->offset, n_in}};
        w->out0 = op->offset;
        w->out[0] = 1;
        w->in[1] = 1;
        break;
    case BIAS_HEADS:
        *w = (struct weight_view){.vector = op->bias, .n_dims = 2, .dims = {H, n_out / H}};
        w->out[0] = (int64_t)(n_out / H);
        w->out[1] = 1;
        break;
    case BIAS:
        *w = (struct weight_view){.vector = op->bias, .n_dims = 1, .dims = {n_out}};
        w->out[0] = 1;
        break;
    case GAIN:
    case GAIN_BIAS:
        *w = (struct weight_view){.vector = layout == GAIN ? op->gain : op->bias,
                                  .n_dims = 1,
                                  .dims = {(size_t)(op->width / op->groups)}};
        w->out[0] = 1;
        break;
    }
}

bool weight_find(const struct model *m, const char *name, struct weight_view *out,
                 struct error *err)
{
    const struct program *p = &m->program;
    int layer;
    const struct row *row = parse(name, p->n_layers, &layer, err);
    if (!row)
        return false;
    enum site site = row->site;
    int at = program_find(p, site, layer);
    /* In an MLP without a gate the one matrix inwards is W_in. */
    if (at < 0 && site == SITE_MLP_PRE_LINEAR)
        at = program_find(p, SITE_MLP_PRE, layer);
    else if (site == SITE_MLP_PRE && program_find(p, SITE_MLP_PRE_LINEAR, layer) < 0)
        at = -1;
    if (at >= 0 && (row->layout == GAIN || row->layout == GAIN_BIAS))
        at = at + 1 < p->n_ops && p->ops[at + 1].kind == OP_GAIN ? at + 1 : -1;
    else if (at >= 0 && p->ops[at].kind != OP_LINEAR && row->layout != TABLE)
        at = -1;
    if (at >= 0) {
        int z = program_find(p, SITE_Z, layer);
        const struct op *op = &p->ops[at];
        view_of(op, row->layout == HEADS_LAST && z >= 0 ? &p->ops[z] : op, row->layout, out);
    }
    if (at < 0 || (!out->matrix && !out->vector))
        return error_set(err, ERR_USAGE, "%s has no %s", m->name, name);
    return true;
}

static float element(const struct weight_view *w, const int64_t *index)
{
    int64_t o = w->out0, k = 0;
    for (int d = 0; d < w->n_dims; d++) {
        o += index[d] * w->out[d];
        k += index[d] * w->in[d];
    }
    if (w->vector)
        return w->vector[o];
    const struct matrix *m = w->matrix;
    ptrdiff_t at = m->group > 0 ? (o / m->group) * m->group_stride + (o % m->group) * m->out_stride
                                : o * m->out_stride;
    at += k * m->in_stride;
    return dtype_load(m->dtype, (const char *)m->data + at * (ptrdiff_t)dtype_size(m->dtype));
}

void weight_read(const struct weight_view *w, const struct pick *picks, float *out)
{
    size_t n = pick_count(picks, w->n_dims), at[3] = {0};
    for (size_t i = 0; i < n; i++) {
        int64_t index[3];
        for (int d = 0; d < w->n_dims; d++)
            index[d] = picks[d].first + (int64_t)at[d] * picks[d].step;
        out[i] = element(w, index);
        for (int d = w->n_dims - 1; d >= 0 && ++at[d] == picks[d].count; d--)
            at[d] = 0;
    }
}
