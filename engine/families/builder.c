/* builder.c - ops and their slots. */
#include "engine/families/builder_parts.h"

#include <math.h>

static int new_slot(struct builder *b, int width, bool wide)
{
    struct program *p = b->program;
    struct slot *s = builder_grow(b, p->slots, p->n_slots, &p->room_slots, sizeof *s);
    if (!s)
        return -1;
    p->slots = s;
    p->slots[p->n_slots] = (struct slot){.width = width, .offset = wide ? SLOT_WIDE : 0};
    return p->n_slots++;
}

static struct op *add_op(struct builder *b, enum op_kind kind, enum site site, int in0, int in1)
{
    static struct op dropped; /* what is written after a failure */
    struct program *p = b->program;
    struct op *op = &dropped;
    struct op *ops =
        b->failed ? NULL : builder_grow(b, p->ops, p->n_ops, &p->room_ops, sizeof *ops);
    if (ops) {
        p->ops = ops;
        op = &p->ops[p->n_ops++];
    }
    *op = (struct op){
        .kind = kind, .site = site, .layer = b->layer, .in = {in0, in1}, .out = -1, .groups = 1};
    return op;
}

/* Gives the op a fresh slot. */
static int put(struct builder *b, struct op *op, int width, int heads, bool wide)
{
    op->width = width;
    op->heads = heads;
    op->out = b->failed ? -1 : new_slot(b, width, wide);
    return op->out;
}

static int width_of(const struct builder *b, int slot)
{
    return slot < 0 ? 0 : b->program->slots[slot].width;
}

int emit_embed(struct builder *b, struct weight table, float scale)
{
    struct op *op = add_op(b, OP_EMBED, SITE_EMBED, -1, -1);
    op->w = table.w;
    op->weight_name = table.name;
    op->f = scale;
    return put(b, op, table.w.n_in, 0, false);
}

int emit_positions(struct builder *b, struct weight table, int offset)
{
    struct op *op = add_op(b, OP_POSITIONS, SITE_POS_EMBED, -1, -1);
    op->w = table.w;
    op->weight_name = table.name;
    op->offset = offset;
    op->f = 1.0f;
    return put(b, op, table.w.n_in, 0, false);
}

void emit_angles(struct builder *b, int rope)
{
    if (b->failed || rope < 0 || b->model->ropes[rope].n_rot == 0)
        return;
    struct op *op = add_op(b, OP_ANGLES, SITE_NONE, -1, -1);
    op->rope = &b->model->ropes[rope];
    b->angles[rope] = put(b, op, op->rope->n_rot, 0, false);
}

int emit_block(struct builder *b, int layer, int x)
{
    b->layer = layer;
    if (b->failed)
        return -1;
    b->program->block_op[layer] = b->program->n_ops;
    b->program->block_slot[layer] = x;
    return emit_hook(b, SITE_RESID_PRE, x);
}

int emit_tail(struct builder *b, int x)
{
    b->layer = -1;
    if (b->failed)
        return -1;
    b->program->block_op[b->program->n_layers] = b->program->n_ops;
    b->program->block_slot[b->program->n_layers] = x;
    return x;
}

int emit_hook(struct builder *b, enum site site, int x)
{
    struct op *op = add_op(b, OP_HOOK, site, x, -1);
    op->width = width_of(b, x);
    op->out = x;
    return x;
}

int emit_add(struct builder *b, enum site site, int x, int y)
{
    return put(b, add_op(b, OP_ADD, site, x, y), width_of(b, x), 0, false);
}

/* scale, normalized, gain on x, whose row is `groups` vectors; the gain's vector is one
 * vector's length. gain NULL in a plan. */
static int norm(struct builder *b, enum site scale_site, int x, int heads, float eps,
                const float *gain, const float *bias, const char *name)
{
    int width = width_of(b, x), groups = heads ? heads : 1;
    struct op *op = add_op(b, OP_RMS, scale_site, x, -1);
    op->f = eps;
    op->groups = groups;
    int scale = put(b, op, groups, heads, false);
    op = add_op(b, OP_DIVIDE, (enum site)(scale_site + 1), x, scale);
    op->groups = groups;
    int normalized = put(b, op, width, heads, false);
    op = add_op(b, OP_GAIN, SITE_NONE, normalized, -1);
    op->groups = groups;
    op->gain = gain;
    op->bias = bias;
    op->weight_name = name;
    return put(b, op, width, heads, false);
}

/* The kept name of a tensor that was needed just now. */
static const char *last_name(const struct builder *b)
{
    return b->failed || !b->n_counted ? NULL : b->counted[b->n_counted - 1];
}

int emit_layer_norm(struct builder *b, enum site scale_site, int x, float eps, const char *format,
                    ...)
{
    char weight[180], bias[180];
    va_list args;
    va_start(args, format);
    builder_names(weight, bias, format, args);
    va_end(args);
    int n = width_of(b, x);
    const float *g = vector(b, n, "%s", weight);
    const char *name = last_name(b);
    const float *c = vector(b, n, "%s", bias);
    int centred = put(b, add_op(b, OP_CENTER, SITE_NONE, x, -1), n, 0, false);
    return norm(b, scale_site, centred, 0, eps, g, c, name);
}

int emit_rms_norm(struct builder *b, enum site scale_site, int x, float eps, const char *format,
                  ...)
{
    char weight[180], bias[180];
    va_list args;
    va_start(args, format);
    builder_names(weight, bias, format, args);
    va_end(args);
    const float *g = vector(b, width_of(b, x), "%s", weight);
    return norm(b, scale_site, x, 0, eps, g, NULL, last_name(b));
}

int emit_head_norm(struct builder *b, enum site scale_site, int x, int heads, float eps,
                   const char *format, ...)
{
    char weight[180], bias[180];
    va_list args;
    va_start(args, format);
    builder_names(weight, bias, format, args);
    va_end(args);
    const float *g = vector(b, width_of(b, x) / heads, "%s", weight);
    return norm(b, scale_site, x, heads, eps, g, NULL, last_name(b));
}

int emit_linear(struct builder *b, enum site site, int x, struct weight w, int heads)
{
    struct op *op = add_op(b, OP_LINEAR, site, x, -1);
    op->w = w.w;
    op->bias = w.bias;
    op->weight_name = w.name;
    return put(b, op, w.w.n_out, heads, false);
}

int emit_attention(struct builder *b, int q, int k, int v, int rope, float scale, struct weight o)
{
    const struct config *c = b->config;
    if (b->failed)
        return -1;
    struct attention a = {.n_heads = c->n_heads,
                          .n_kv_heads = c->n_kv_heads,
                          .d_head = c->d_head,
                          .scale = scale != 0.0f ? scale : (float)(1.0 / sqrt(c->d_head)),
                          .window = c->window[b->layer]};
    if (rope >= 0 && b->model->ropes[rope].n_rot > 0) {
        struct op *op = add_op(b, OP_ROPE, SITE_ROT_Q, q, b->angles[rope]);
        op->rope = &b->model->ropes[rope];
        q = put(b, op, a.n_heads * a.d_head, a.n_heads, false);
        op = add_op(b, OP_ROPE, SITE_ROT_K, k, b->angles[rope]);
        op->rope = &b->model->ropes[rope];
        k = put(b, op, a.n_kv_heads * a.d_head, a.n_kv_heads, false);
    }
    add_op(b, OP_STORE, SITE_NONE, k, v)->attention = a;
    struct op *op = add_op(b, OP_SCORES, SITE_ATTN_SCORES, q, -1);
    op->attention = a;
    int scores = put(b, op, a.n_heads, a.n_heads, true);
    op = add_op(b, OP_SOFTMAX, SITE_PATTERN, scores, -1);
    op->attention = a;
    int pattern = put(b, op, a.n_heads, a.n_heads, true);
    op = add_op(b, OP_MIX, SITE_Z, pattern, -1);
    op->attention = a;
    int z = put(b, op, a.n_heads * a.d_head, a.n_heads, false);
    op = add_op(b, OP_RESULT, SITE_RESULT, z, -1);
    op->attention = a;
    op->lazy = true;
    op->w = o.w;
    op->weight_name = o.name;
    put(b, op, a.n_heads * o.w.n_out, a.n_heads, true);
    int out = emit_linear(b, SITE_ATTN_OUT, z, o, 0); /* right behind the result: see vm.c */
    if (!b->failed)
        b->program->ops[b->program->n_ops - 1].attention = a;
    return out;
}

int emit_activate(struct builder *b, int x)
{
    struct op *op = add_op(b, OP_ACTIVATE, SITE_MLP_POST, x, -1);
    op->act = b->config->act;
    return put(b, op, width_of(b, x), 0, false);
}

int emit_gate(struct builder *b, int pre, int linear)
{
    struct op *op = add_op(b, OP_GATE, SITE_MLP_POST, pre, linear);
    op->act = b->config->act;
    return put(b, op, width_of(b, pre), 0, false);
}

void emit_unembed(struct builder *b, int x, struct weight head)
{
    x = emit_hook(b, SITE_UNEMBED_IN, x);
    x = emit_linear(b, SITE_UNEMBED_OUT, x, head, 0);
    emit_hook(b, SITE_LOGITS, x);
}
