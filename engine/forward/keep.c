#include "engine/forward/keep.h"

#include "engine/model/model.h"

#include <stdio.h>

struct keep_sizes keep_sizes(const struct model *m)
{
    bool low = m->backend->dtype == DTYPE_BF16;
    return (struct keep_sizes){.n_layers = m->config.n_layers,
                               .d = m->config.d_model,
                               .z = m->config.n_heads * m->config.d_head,
                               .sums = m->backend->device ? m->config.n_heads : 0,
                               .z_dtype = low ? DTYPE_BF16 : DTYPE_F32};
}

bool keep_residual(const struct keep_sizes *s, struct keep k, int layer)
{
    return layer > 0 && (layer % k.stride == 0 || layer == s->n_layers);
}

bool keep_attention(const struct keep_sizes *s, struct keep k, int layer)
{
    return k.attention && layer < s->n_layers && !keep_residual(s, k, layer + 1);
}

/* ---- a page ---- */

static size_t residual_bytes(const struct keep_sizes *s)
{
    return KV_PAGE * (size_t)s->d * sizeof(float);
}

static size_t attention_bytes(const struct keep_sizes *s)
{
    return KV_PAGE * (size_t)s->z * dtype_size(s->z_dtype);
}

/* Of a layer. */
static size_t sums_bytes(const struct keep_sizes *s)
{
    return KV_PAGE * (size_t)s->sums * sizeof(float);
}

size_t keep_sums_at(const struct keep_sizes *s, int layer)
{
    return (size_t)layer * sums_bytes(s);
}

static size_t residuals(const struct keep_sizes *s, struct keep k)
{
    return (size_t)((s->n_layers - 1) / k.stride + 1);
}

size_t keep_residual_at(const struct keep_sizes *s, struct keep k, int layer)
{
    size_t before = layer == s->n_layers ? residuals(s, k) - 1 : (size_t)(layer / k.stride - 1);
    return keep_sums_at(s, s->n_layers) + before * residual_bytes(s);
}

size_t keep_attention_at(const struct keep_sizes *s, struct keep k, int layer)
{
    /* Of the layers below, those that have a residual in front of the next one have no z. */
    size_t before = (size_t)(layer - layer / k.stride);
    return keep_sums_at(s, s->n_layers) + residuals(s, k) * residual_bytes(s) +
           before * attention_bytes(s);
}

size_t keep_bytes(const struct keep_sizes *s, struct keep k)
{
    size_t kept = residuals(s, k), between = (size_t)s->n_layers - kept;
    return keep_sums_at(s, s->n_layers) + kept * residual_bytes(s) +
           (k.attention ? between * attention_bytes(s) : 0);
}

/* ---- less of it ---- */

bool keep_less(const struct keep_sizes *s, struct keep *k)
{
    struct keep less = *k;
    less.attention = false;
    if (!k->attention) {
        if (k->stride >= s->n_layers)
            return false;
        less.stride = 2 * k->stride < s->n_layers ? 2 * k->stride : s->n_layers;
        struct keep with = {less.stride, true};
        less.attention = k->stride == 1 && keep_bytes(s, with) < keep_bytes(s, *k);
    }
    *k = less;
    return true;
}

struct keep keep_from(const struct keep_sizes *s, int stride)
{
    struct keep k = {.stride = 1};
    if (stride == 2)
        keep_less(s, &k);
    else if (stride > 2)
        k.stride = stride < s->n_layers ? stride : s->n_layers;
    return k;
}

struct keep keep_least(const struct keep_sizes *s)
{
    return (struct keep){.stride = s->n_layers};
}

char *keep_words(struct keep k, char out[64])
{
    if (k.stride == 1)
        snprintf(out, 64, "every layer");
    else
        snprintf(out, 64, "every %d layers%s", k.stride, k.attention ? ", attention between" : "");
    return out;
}
