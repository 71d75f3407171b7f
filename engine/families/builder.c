#include "engine/families/families.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory that grows ---- */

static void *grow(struct builder *b, void *p, int n, int *room, size_t size)
{
    if (n < *room)
        return p;
    int more = *room ? *room * 2 : 32;
    void *q = mem_resize(b->model->ledger, MEM_OTHER, p, (size_t)more * size, b->err);
    if (!q) {
        b->failed = true;
        return NULL;
    }
    *room = more;
    return q;
}

static void fail(struct builder *b, enum error_code code, const char *format, ...)
{
    if (b->failed)
        return;
    b->failed = true;
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    error_set(b->err, code, "%s", text);
}

/* ---- tensors ---- */

/* Names are kept for as long as the model lives; one is counted once. Returns the kept copy. */
static const char *count_tensor(struct builder *b, const char *name, int64_t elements, size_t bytes)
{
    for (int i = b->n_counted - 1; i >= 0; i--) /* latest first: slices of one tensor follow */
        if (strcmp(b->counted[i], name) == 0)
            return b->counted[i];
    char **p = grow(b, b->counted, b->n_counted, &b->room_counted, sizeof *p);
    if (!p)
        return NULL;
    b->counted = p;
    char *copy = mem_strdup(b->model->ledger, MEM_OTHER, name, b->err);
    if (!copy) {
        b->failed = true;
        return NULL;
    }
    b->counted[b->n_counted++] = copy;
    b->model->n_params += elements;
    b->model->weight_bytes += bytes;
    return copy;
}

/* Finds a tensor by name, with the family's prefix and without. */
static const struct tensor *look_up(struct builder *b, const char *name, char full[200])
{
    snprintf(full, 200, "%s%s", b->prefix, name);
    const struct tensor *t = checkpoint_find(b->model->checkpoint, full);
    if (t)
        return t;
    t = checkpoint_find(b->model->checkpoint, name);
    if (t)
        snprintf(full, 200, "%s", name);
    return t;
}

/* A tensor of shape [d0] or [d0, d1] (d1 > 0). In a plan without weights there is no tensor:
 * it is only counted. Returns the kept name, NULL if something is wrong; *t may be NULL. */
static const char *need(struct builder *b, const char *name, int64_t d0, int64_t d1,
                        const struct tensor **t)
{
    *t = NULL;
    if (b->failed)
        return NULL;
    char full[200];
    int64_t elements = d0 * (d1 ? d1 : 1);
    if (!b->model->checkpoint) {
        snprintf(full, sizeof full, "%s%s", b->prefix, name);
        return count_tensor(b, full, elements, (size_t)elements * dtype_size(b->config->dtype));
    }
    *t = look_up(b, name, full);
    if (!*t) {
        fail(b, ERR_FORMAT, "%s: no tensor \"%s%s\" (nor \"%s\"), which a %s model needs",
             b->model->folder, b->prefix, name, name, b->config->model_type);
        return NULL;
    }
    const struct tensor *x = *t;
    bool same = x->n_dims == (d1 ? 2 : 1) && x->dims[0] == d0 && (!d1 || x->dims[1] == d1);
    if (!same) {
        char want[64], got[120] = "";
        snprintf(want, sizeof want, d1 ? "[%lld, %lld]" : "[%lld]", (long long)d0, (long long)d1);
        size_t at = 0;
        for (int i = 0; i < x->n_dims && at < sizeof got; i++)
            at += (size_t)snprintf(got + at, sizeof got - at, "%s%lld", i ? ", " : "",
                                   (long long)x->dims[i]);
        fail(b, ERR_FORMAT, "%s: tensor \"%s\" should be %s by config.json and is [%s]", x->file,
             full, want, got);
        return NULL;
    }
    if (x->dtype == DTYPE_N) {
        fail(b, ERR_UNSUPPORTED, "%s: tensor \"%s\" has type %s; f32, f16 and bf16 are supported",
             x->file, full, x->type);
        return NULL;
    }
    return count_tensor(b, full, elements, x->bytes);
}

static void note_dtype(struct model *m, enum dtype t)
{
    const char *name = dtype_name(t);
    if (strstr(m->dtypes, name) && (t != DTYPE_F16 || strncmp(m->dtypes, "f16", 3) == 0))
        return;
    size_t n = strlen(m->dtypes);
    snprintf(m->dtypes + n, sizeof m->dtypes - n, "%s%s", n ? "/" : "", name);
}

/* n floats of backend memory that the model owns. */
static float *own_vector(struct builder *b, const float *host, int n)
{
    struct model *m = b->model;
    float **p = grow(b, m->vectors, m->n_vectors, &m->room_vectors, sizeof *p);
    if (!p)
        return NULL;
    m->vectors = p;
    /* The CPU backend's memory is the host's, so that the ledger can hold it itself. */
    float *v = mem_alloc_array(m->ledger, MEM_WEIGHTS, (size_t)n, sizeof *v, b->err);
    if (!v) {
        b->failed = true;
        return NULL;
    }
    memcpy(v, host, (size_t)n * sizeof *v);
    m->vectors[m->n_vectors++] = v;
    return v;
}

/* size floats from `first` on of each of `groups` stretches `step` apart, widened. */
static const float *read_vector(struct builder *b, const struct tensor *t, int groups, int step,
                                int first, int size)
{
    if (b->failed || !t)
        return NULL;
    float *host = mem_alloc_array(b->model->ledger, MEM_SCRATCH, (size_t)groups * (size_t)size,
                                  sizeof *host, b->err);
    if (!host) {
        b->failed = true;
        return NULL;
    }
    size_t each = dtype_size(t->dtype);
    for (int g = 0; g < groups; g++)
        for (int i = 0; i < size; i++)
            host[g * size + i] =
                dtype_load(t->dtype, (const char *)t->data +
                                         ((size_t)g * (size_t)step + (size_t)(first + i)) * each);
    const float *v = own_vector(b, host, groups * size);
    mem_free(b->model->ledger, host);
    return v;
}

static const void *element(const struct tensor *t, size_t index)
{
    return (const char *)t->data + index * dtype_size(t->dtype);
}

/* Fills name.weight and name.bias. */
static void names(char weight[180], char bias[180], const char *format, va_list args)
{
    char name[160];
    vsnprintf(name, sizeof name, format, args);
    snprintf(weight, 180, "%s.weight", name);
    snprintf(bias, 180, "%s.bias", name);
}

struct weight weight_rows(struct builder *b, int n_out, int n_in, int first, int rows, bool bias,
                          const char *format, ...)
{
    char name[180], bias_name[180];
    va_list args;
    va_start(args, format);
    names(name, bias_name, format, args);
    va_end(args);
    struct weight w = {
        {.n_out = n_out, .n_in = n_in, .out_stride = n_in, .in_stride = 1}, NULL, NULL};
    const struct tensor *t;
    if (!rows)
        rows = n_out;
    w.name = need(b, name, rows, n_in, &t);
    if (t && w.name) {
        w.w.dtype = t->dtype;
        w.w.data = element(t, (size_t)first * (size_t)n_in);
        note_dtype(b->model, t->dtype);
    }
    if (bias && need(b, bias_name, rows, 0, &t))
        w.bias = read_vector(b, t, 1, 0, first, n_out);
    return w;
}

struct weight weight_columns(struct builder *b, int n_out, int n_in, int first, int columns,
                             bool bias, const char *format, ...)
{
    char name[180], bias_name[180];
    va_list args;
    va_start(args, format);
    names(name, bias_name, format, args);
    va_end(args);
    struct weight w = {
        {.n_out = n_out, .n_in = n_in, .out_stride = 1, .in_stride = columns}, NULL, NULL};
    const struct tensor *t;
    w.name = need(b, name, n_in, columns, &t);
    if (t && w.name) {
        w.w.dtype = t->dtype;
        w.w.data = element(t, (size_t)first);
        note_dtype(b->model, t->dtype);
    }
    if (bias && need(b, bias_name, columns, 0, &t))
        w.bias = read_vector(b, t, 1, 0, first, n_out);
    return w;
}

struct weight weight_interleaved(struct builder *b, int groups, int parts, int part, int size,
                                 int n_in, bool bias, const char *format, ...)
{
    char name[180], bias_name[180];
    va_list args;
    va_start(args, format);
    names(name, bias_name, format, args);
    va_end(args);
    struct weight w = {{.n_out = groups * size,
                        .n_in = n_in,
                        .out_stride = n_in,
                        .in_stride = 1,
                        .group = size,
                        .group_stride = (ptrdiff_t)parts * size * n_in},
                       NULL,
                       NULL};
    const struct tensor *t;
    w.name = need(b, name, (int64_t)groups * parts * size, n_in, &t);
    if (t && w.name) {
        w.w.dtype = t->dtype;
        w.w.data = element(t, (size_t)part * (size_t)size * (size_t)n_in);
        note_dtype(b->model, t->dtype);
    }
    if (bias && need(b, bias_name, (int64_t)groups * parts * size, 0, &t))
        w.bias = read_vector(b, t, groups, parts * size, part * size, size);
    return w;
}

struct weight weight_table(struct builder *b, int rows, int n_in, const char *name)
{
    struct weight w = {
        {.n_out = rows, .n_in = n_in, .out_stride = n_in, .in_stride = 1}, NULL, NULL};
    const struct tensor *t;
    char full[200];
    /* A tied model's file may keep the matrix under the head's name only. */
    if (b->model->checkpoint && b->config->tied && !b->failed && !look_up(b, name, full)) {
        const char *const heads[] = {"lm_head.weight", "embed_out.weight"};
        for (int i = 0; i < 2; i++)
            if (look_up(b, heads[i], full)) {
                name = heads[i];
                break;
            }
    }
    w.name = need(b, name, rows, n_in, &t);
    if (t && w.name) {
        w.w.dtype = t->dtype;
        w.w.data = t->data;
        note_dtype(b->model, t->dtype);
    }
    return w;
}

struct weight weight_head(struct builder *b, const char *tied_name, const char *name, bool bias)
{
    const struct config *c = b->config;
    if (c->tied)
        return weight_table(b, c->n_vocab, c->d_model, tied_name);
    /* GPT-NeoX's own name is embed_out; transformers also writes lm_head. */
    char full[200], own[180];
    snprintf(own, sizeof own, "%s.weight", name);
    if (b->model->checkpoint && !b->failed && !look_up(b, own, full) &&
        look_up(b, "lm_head.weight", full))
        name = "lm_head";
    return weight_rows(b, c->n_vocab, c->d_model, 0, 0, bias, "%s", name);
}

bool builder_has(struct builder *b, const char *format, ...)
{
    char name[180], full[200];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return b->failed || !b->model->checkpoint || look_up(b, name, full);
}

const float *vector(struct builder *b, int n, const char *format, ...)
{
    char name[180];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    const struct tensor *t;
    return need(b, name, n, 0, &t) ? read_vector(b, t, 1, 0, 0, n) : NULL;
}

/* ---- ops ---- */

static int new_slot(struct builder *b, int width, bool wide)
{
    struct program *p = b->program;
    struct slot *s = grow(b, p->slots, p->n_slots, &p->room_slots, sizeof *s);
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
    struct op *ops = b->failed ? NULL : grow(b, p->ops, p->n_ops, &p->room_ops, sizeof *ops);
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
    names(weight, bias, format, args);
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
    names(weight, bias, format, args);
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
    names(weight, bias, format, args);
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

/* ---- RoPE ---- */

/* theta^(-2i/r), each step rounded to float32 as the published models' code does. */
static void plain_frequencies(float *inv, int r, double theta)
{
    for (int i = 0; i < r / 2; i++) {
        float e = (float)(2 * i) / (float)r;
        inv[i] = 1.0f / (float)pow(theta, (double)e);
    }
}

/* Llama 3: long wavelengths are stretched by factor, short ones kept, between a blend. */
static void llama3_frequencies(float *inv, int n, const struct rope_config *c)
{
    const float pi2 = 6.283185307179586f;
    float low = (float)(c->original / c->low_freq_factor);
    float high = (float)(c->original / c->high_freq_factor);
    for (int i = 0; i < n; i++) {
        float length = pi2 / inv[i];
        if (length > low) {
            inv[i] = inv[i] / (float)c->factor;
        } else if (length >= high) {
            float s = ((float)c->original / length - (float)c->low_freq_factor) /
                      (float)(c->high_freq_factor - c->low_freq_factor);
            inv[i] = (1.0f - s) * (inv[i] / (float)c->factor) + s * inv[i];
        }
    }
}

/* YaRN (Peng et al. 2023, eq. 17 to 23): a ramp from extrapolation to interpolation. */
static void yarn_frequencies(float *inv, int r, const struct rope_config *c)
{
    const double pi2 = 6.283185307179586;
    double low = r * log(c->original / (c->beta_fast * pi2)) / (2 * log(c->theta));
    double high = r * log(c->original / (c->beta_slow * pi2)) / (2 * log(c->theta));
    if (c->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, r - 1);
    if (low == high)
        high += 0.001;
    for (int i = 0; i < r / 2; i++) {
        float ramp = (float)fmin(fmax((i - low) / (high - low), 0), 1);
        float keep = 1.0f - ramp;
        inv[i] = inv[i] / (float)c->factor * (1.0f - keep) + inv[i] * keep;
    }
}

/* Phi-3's: 1 / (factor_i theta^(2i/r)) in float32. */
static void long_frequencies(float *inv, int r, double theta, const float *factor)
{
    for (int i = 0; i < r / 2; i++) {
        float e = (float)(2 * i) / (float)r;
        inv[i] = 1.0f / (factor[i] * (float)pow(theta, (double)e));
    }
}

int builder_rope(struct builder *b)
{
    struct model *m = b->model;
    const struct rope_config *c = &b->config->rope;
    if (b->failed || c->kind == ROPE_NONE)
        return -1;
    if (m->n_ropes == MODEL_MAX_ROPES) {
        fail(b, ERR_UNSUPPORTED, "more than %d kinds of RoPE", MODEL_MAX_ROPES);
        return -1;
    }
    struct rope *rope = &m->ropes[m->n_ropes];
    int r = (int)(b->config->d_head * c->partial);
    *rope = (struct rope){.style = c->style, .n_rot = r, .scale = 1.0f};
    if (r % 2) {
        fail(b, ERR_FORMAT, "RoPE rotates %d floats of a head of %d: an even number is needed", r,
             b->config->d_head);
        return -1;
    }
    if (r == 0)
        return m->n_ropes++;
    float *inv = mem_alloc_array(m->ledger, MEM_SCRATCH, (size_t)r, sizeof *inv, b->err);
    if (!inv) {
        b->failed = true;
        return -1;
    }
    plain_frequencies(inv, r, c->theta);
    double attention = 1;
    if (c->kind == ROPE_LINEAR) {
        for (int i = 0; i < r / 2; i++)
            inv[i] = inv[i] / (float)c->factor;
    } else if (c->kind == ROPE_LLAMA3) {
        llama3_frequencies(inv, r / 2, c);
    } else if (c->kind == ROPE_YARN) {
        yarn_frequencies(inv, r, c);
        attention = c->factor > 1 ? 0.1 * log(c->factor) + 1 : 1;
    } else if (c->kind == ROPE_LONG) {
        if (c->n_factors != r / 2) {
            fail(b, ERR_FORMAT,
                 "longrope's factors number %d; %d are needed, half of the %d rotated "
                 "floats of a head",
                 c->n_factors, r / 2, r);
        } else {
            long_frequencies(inv, r, c->theta, c->long_factor);
            rope->inv_freq_long = own_vector(b, inv, r / 2);
            long_frequencies(inv, r, c->theta, c->short_factor);
            rope->original = c->original;
        }
        attention = c->factor > 1 ? sqrt(1 + log(c->factor) / log(c->original)) : 1;
    }
    if (c->attention_factor > 0)
        attention = c->attention_factor;
    rope->scale = (float)attention;
    if (!b->failed)
        rope->inv_freq = own_vector(b, inv, r / 2);
    mem_free(m->ledger, inv);
    return m->n_ropes++;
}
