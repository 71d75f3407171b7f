#include "engine/model/place.h"

#include "engine/forward/room.h"

#include <stdint.h>
#include <string.h>

#define CONVERT  ((size_t)1 << 20) /* elements rounded at a time */
#define TOGETHER 16                /* floats: vectors start at multiples of these */

/* A block of device memory. For a tensor `host` is where its data is mapped, for a vector where
 * the model holds it. */
struct placed {
    void *p;
    size_t bytes;
    const char *host;
    size_t host_bytes;
    enum dtype from, to;
};

static enum dtype device_dtype(const struct model *m, enum dtype stored)
{
    return m->backend->dtype == DTYPE_BF16 ? DTYPE_BF16 : stored;
}

/* The tensor that an op's matrix is a part of; NULL: it is of none. */
static const struct tensor *tensor_of(const struct model *m, const void *data)
{
    uintptr_t at = (uintptr_t)data;
    for (int i = 0; data && m->checkpoint && i < checkpoint_count(m->checkpoint); i++) {
        const struct tensor *t = checkpoint_tensor(m->checkpoint, i);
        uintptr_t first = (uintptr_t)t->data;
        if (at >= first && at < first + t->bytes)
            return t;
    }
    return NULL;
}

static struct placed *find(const struct model *m, const void *host)
{
    for (int i = 0; i < m->n_placed; i++)
        if (m->placed[i].host == host)
            return &m->placed[i];
    return NULL;
}

static struct placed *add(struct model *m, const void *host, size_t host_bytes, size_t bytes,
                          struct error *err)
{
    if (m->n_placed == m->room_placed) {
        int room = m->room_placed ? 2 * m->room_placed : 64;
        struct placed *list =
            mem_resize(m->ledger, MEM_OTHER, m->placed, (size_t)room * sizeof *list, err);
        if (!list)
            return NULL;
        m->placed = list;
        m->room_placed = room;
    }
    struct placed *x = &m->placed[m->n_placed];
    *x = (struct placed){.bytes = bytes, .host = host, .host_bytes = host_bytes};
    x->p = room_alloc(m->ledger, m->backend, MEM_WEIGHTS, bytes, err);
    if (!x->p)
        return NULL;
    m->n_placed++;
    return x;
}

/* Writes a tensor's elements as bfloat16. */
static bool write_rounded(struct model *m, const struct placed *x, struct error *err)
{
    size_t each = dtype_size(x->from), n = x->host_bytes / each;
    uint16_t *part = mem_alloc_array(m->ledger, MEM_SCRATCH, CONVERT, sizeof *part, err);
    if (!part)
        return false;
    for (size_t i = 0; i < n; i += CONVERT) {
        size_t some = n - i < CONVERT ? n - i : CONVERT;
        for (size_t k = 0; k < some; k++)
            part[k] = dtype_to_bf16(dtype_load(x->from, x->host + (i + k) * each));
        m->backend->write(m->backend, (uint16_t *)x->p + i, part, some * sizeof *part);
    }
    mem_free(m->ledger, part);
    return true;
}

static bool place_matrix(struct model *m, const struct matrix *from, struct matrix *to,
                         struct error *err)
{
    *to = *from;
    const struct tensor *t = tensor_of(m, from->data);
    if (!t)
        return !from->data || error_set(err, ERR_STATE, "%s: a matrix is of no tensor", m->folder);
    struct placed *x = find(m, t->data);
    if (!x) {
        enum dtype dtype = device_dtype(m, t->dtype);
        size_t n = t->bytes / dtype_size(t->dtype);
        x = add(m, t->data, t->bytes, n * dtype_size(dtype), err);
        if (!x)
            return false;
        x->from = t->dtype;
        x->to = dtype;
        if (x->from == x->to)
            m->backend->write(m->backend, x->p, x->host, x->host_bytes);
        else if (!write_rounded(m, x, err))
            return false;
    }
    size_t element = (size_t)((const char *)from->data - x->host) / dtype_size(x->from);
    to->dtype = x->to;
    to->data = (const char *)x->p + element * dtype_size(x->to);
    return true;
}

static size_t vectors_floats(const struct model *m)
{
    size_t floats = 0;
    for (int i = 0; i < m->n_vectors; i++)
        floats += ((size_t)m->vectors[i].n + TOGETHER - 1) / TOGETHER * TOGETHER;
    return floats;
}

/* All vectors in one block, in their order. */
static bool place_vectors(struct model *m, struct placed **block, struct error *err)
{
    size_t bytes = vectors_floats(m) * sizeof(float), at = 0;
    *block = add(m, m->vectors, 0, bytes, err);
    for (int i = 0; *block && i < m->n_vectors; i++) {
        size_t n = (size_t)m->vectors[i].n;
        m->backend->write(m->backend, (float *)(*block)->p + at, m->vectors[i].data,
                          n * sizeof(float));
        at += (n + TOGETHER - 1) / TOGETHER * TOGETHER;
    }
    return *block != NULL;
}

/* Where a vector of the model's lies in the block. */
static const float *placed_vector(const struct model *m, const float *block, const float *host)
{
    size_t at = 0;
    for (int i = 0; host && i < m->n_vectors; i++) {
        if (m->vectors[i].data == host)
            return block + at;
        at += ((size_t)m->vectors[i].n + TOGETHER - 1) / TOGETHER * TOGETHER;
    }
    return NULL;
}

static bool place_on_device(struct model *m, struct error *err)
{
    struct placed *block;
    char why[256];
    if (!place_vectors(m, &block, err))
        return false;
    const float *vectors = block->p;
    for (int i = 0; i < m->program.n_ops; i++) {
        struct op *op = &m->program.ops[i];
        op->run.gain = placed_vector(m, vectors, op->gain);
        op->run.bias = placed_vector(m, vectors, op->bias);
        if (!place_matrix(m, &op->w, &op->run.w, err))
            return false;
    }
    for (int i = 0; i < m->n_ropes; i++) {
        m->ropes[i].inv_freq = placed_vector(m, vectors, m->ropes[i].inv_freq);
        m->ropes[i].inv_freq_long = placed_vector(m, vectors, m->ropes[i].inv_freq_long);
    }
    return m->backend->sync(m->backend, why) || error_set(err, ERR_DEVICE, "%s", why);
}

bool model_place(struct model *m, struct error *err)
{
    if (m->backend->device)
        return place_on_device(m, err);
    for (int i = 0; i < m->program.n_ops; i++) {
        struct op *op = &m->program.ops[i];
        op->run = (struct op_weights){op->w, op->gain, op->bias};
    }
    return true;
}

void model_unplace(struct model *m)
{
    for (int i = 0; i < m->n_placed; i++)
        room_free(m->ledger, m->backend, MEM_WEIGHTS, m->placed[i].p, m->placed[i].bytes);
    mem_free(m->ledger, m->placed);
    m->placed = NULL;
    m->n_placed = m->room_placed = 0;
}

size_t model_place_bytes(const struct model *m)
{
    if (!m->backend->device || !m->checkpoint)
        return m->weight_bytes;
    size_t bytes = vectors_floats(m) * sizeof(float);
    for (int i = 0; i < checkpoint_count(m->checkpoint); i++) {
        const struct tensor *t = checkpoint_tensor(m->checkpoint, i);
        for (int k = 0; k < m->program.n_ops; k++)
            if (t && tensor_of(m, m->program.ops[k].w.data) == t) {
                bytes += t->bytes / dtype_size(t->dtype) * dtype_size(device_dtype(m, t->dtype));
                break;
            }
    }
    return bytes;
}
