/* builder_tensors.c - weights and vectors of the checkpoint, found by name and checked by shape. */
#include "engine/families/builder_parts.h"

#include <stdio.h>
#include <string.h>

void *builder_grow(struct builder *b, void *p, int n, int *room, size_t size)
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

void builder_fail(struct builder *b, enum error_code code, const char *format, ...)
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

/* Names are kept for as long as the model lives; one is counted once. Returns the kept copy. */
static const char *count_tensor(struct builder *b, const char *name, int64_t elements, size_t bytes)
{
    for (int i = b->n_counted - 1; i >= 0; i--) /* latest first: slices of one tensor follow */
        if (strcmp(b->counted[i], name) == 0)
            return b->counted[i];
    char **p = builder_grow(b, b->counted, b->n_counted, &b->room_counted, sizeof *p);
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
        builder_fail(b, ERR_FORMAT, "%s: no tensor \"%s%s\" (nor \"%s\"), which a %s model needs",
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
        builder_fail(b, ERR_FORMAT, "%s: tensor \"%s\" should be %s by config.json and is [%s]",
                     x->file, full, want, got);
        return NULL;
    }
    if (x->dtype == DTYPE_N) {
        builder_fail(b, ERR_UNSUPPORTED,
                     "%s: tensor \"%s\" has type %s; f32, f16 and bf16 are supported", x->file,
                     full, x->type);
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

const float *builder_own(struct builder *b, const float *host, int n)
{
    struct model *m = b->model;
    struct model_vector *p = builder_grow(b, m->vectors, m->n_vectors, &m->room_vectors, sizeof *p);
    if (!p)
        return NULL;
    m->vectors = p;
    float *v = mem_alloc_array(m->ledger, MEM_WEIGHTS, (size_t)n, sizeof *v, b->err);
    if (!v) {
        b->failed = true;
        return NULL;
    }
    memcpy(v, host, (size_t)n * sizeof *v);
    m->vectors[m->n_vectors++] = (struct model_vector){v, n};
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
    const float *v = builder_own(b, host, groups * size);
    mem_free(b->model->ledger, host);
    return v;
}

static const void *element(const struct tensor *t, size_t index)
{
    return (const char *)t->data + index * dtype_size(t->dtype);
}

void builder_names(char weight[180], char bias[180], const char *format, va_list args)
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
    builder_names(name, bias_name, format, args);
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
    builder_names(name, bias_name, format, args);
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
    builder_names(name, bias_name, format, args);
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
