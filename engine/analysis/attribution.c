#include "engine/analysis/attribution.h"

#include <math.h>
#include <string.h>

/* Embedding, positions, constant; and for each layer its heads, the rest of attention, the MLP. */
int attribution_count(const struct model *m)
{
    return 3 + m->config.n_layers * (m->config.n_heads + 2);
}

/* The tail as a linear map: logit = direction . residual + constant. */
struct tail {
    double *direction; /* [D] */
    double constant;
};

static double weight_at(const struct matrix *w, int out, int in)
{
    ptrdiff_t i = (ptrdiff_t)out * w->out_stride + (ptrdiff_t)in * w->in_stride;
    return (double)dtype_load(w->dtype,
                              (const char *)w->data + i * (ptrdiff_t)dtype_size(w->dtype));
}

/* direction += sign * (unembedding row of id), through gain, scale and centring. */
static void add_token(const struct program *p, int32_t id, double sign, double scale,
                      struct tail *tail)
{
    const float *gain = NULL, *bias = NULL;
    bool centred = false;
    const struct op *unembed = NULL;
    for (int i = p->block_op[p->n_layers]; i < p->n_ops; i++) {
        const struct op *op = &p->ops[i];
        centred = centred || op->kind == OP_CENTER;
        if (op->kind == OP_GAIN) {
            gain = op->gain;
            bias = op->bias;
        }
        if (op->kind == OP_LINEAR)
            unembed = op;
    }
    if (!unembed) /* a model that says nothing has no logits to attribute */
        return;
    int d = unembed->w.n_in;
    double mean = 0;
    for (int i = 0; centred && i < d; i++)
        mean += weight_at(&unembed->w, id, i) * (gain ? (double)gain[i] : 1) / d;
    for (int i = 0; i < d; i++) {
        double w = weight_at(&unembed->w, id, i);
        tail->direction[i] += sign * (w * (gain ? (double)gain[i] : 1) - mean) / scale;
        tail->constant += bias ? sign * w * (double)bias[i] : 0;
    }
    tail->constant += unembed->bias ? sign * (double)unembed->bias[id] : 0;
}

static double dot(const double *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * (double)b[i];
    return sum;
}

/* Reads one row of a site; *there is false where the model has none such. */
static bool read_site(struct trace *t, enum site site, int layer, int position, float *out,
                      bool *there, struct error *err)
{
    int op = program_find(&t->model->program, site, layer);
    *there = op >= 0;
    return !*there || trace_read(t, op, position, 1, 0, 0, 0, out, err);
}

static bool layer_parts(struct trace *t, int layer, int position, const struct tail *tail,
                        float *row, struct part **parts, struct error *err)
{
    int H = t->model->config.n_heads, D = t->model->config.d_model;
    bool there;
    double heads = 0;
    if (!read_site(t, SITE_RESULT, layer, position, row, &there, err))
        return false;
    for (int h = 0; h < H; h++) {
        double x = there ? dot(tail->direction, row + (size_t)h * (size_t)D, D) : 0;
        *(*parts)++ = (struct part){PART_HEAD, layer, h, x};
        heads += x;
    }
    if (!read_site(t, SITE_ATTN_OUT, layer, position, row, &there, err))
        return false;
    *(*parts)++ =
        (struct part){PART_ATTN_BIAS, layer, -1, there ? dot(tail->direction, row, D) - heads : 0};
    if (!read_site(t, SITE_MLP_OUT, layer, position, row, &there, err))
        return false;
    *(*parts)++ = (struct part){PART_MLP, layer, -1, there ? dot(tail->direction, row, D) : 0};
    return true;
}

static bool fill(struct trace *t, int position, int32_t a, int32_t b, struct tail *tail, float *row,
                 struct part *parts, double *total, struct error *err)
{
    const struct model *m = t->model;
    bool there;
    float scale;
    if (!read_site(t, SITE_LN_FINAL_SCALE, 0, position, &scale, &there, err))
        return false;
    add_token(&m->program, a, 1, there ? (double)scale : 1, tail);
    if (b >= 0)
        add_token(&m->program, b, -1, there ? (double)scale : 1, tail);
    if (!read_site(t, SITE_EMBED, 0, position, row, &there, err))
        return false;
    *parts++ = (struct part){PART_EMBED, -1, -1, dot(tail->direction, row, m->config.d_model)};
    if (!read_site(t, SITE_POS_EMBED, 0, position, row, &there, err))
        return false;
    *parts++ = (struct part){PART_POS_EMBED, -1, -1,
                             there ? dot(tail->direction, row, m->config.d_model) : 0};
    for (int l = 0; l < m->config.n_layers; l++)
        if (!layer_parts(t, l, position, tail, row, &parts, err))
            return false;
    *parts = (struct part){PART_CONSTANT, -1, -1, tail->constant};
    if (!read_site(t, SITE_LOGITS, 0, position, row, &there, err))
        return false;
    *total = (double)row[a] - (b >= 0 ? (double)row[b] : 0);
    return true;
}

bool attribution_compute(struct trace *t, int position, int32_t a, int32_t b, struct part *parts,
                         double *total, struct error *err)
{
    const struct config *c = &t->model->config;
    size_t widest = (size_t)c->n_heads * (size_t)c->d_model;
    if (widest < (size_t)c->n_vocab)
        widest = (size_t)c->n_vocab;
    struct tail tail = {0};
    tail.direction =
        mem_alloc_array(t->ledger, MEM_VIEWS, (size_t)c->d_model, sizeof *tail.direction, err);
    float *row =
        tail.direction ? mem_alloc_array(t->ledger, MEM_VIEWS, widest, sizeof *row, err) : NULL;
    bool ok = row && fill(t, position, a, b, &tail, row, parts, total, err);
    mem_free(t->ledger, tail.direction);
    mem_free(t->ledger, row);
    return ok;
}
