#include "engine/model/place.h"

#include "engine/forward/room.h"

#include <stdint.h>
#include <string.h>
#include <time.h>

#define TOGETHER 16 /* floats: vectors start at multiples of these */

/* A block of device memory: a tensor's, or that of all the vectors (tensor NULL). */
struct placed {
    void *p;
    size_t bytes;
    const struct tensor *tensor;
    enum dtype dtype; /* of the tensor, there */
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

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

static struct placed *find(const struct model *m, const struct tensor *t)
{
    for (int i = 0; i < m->n_placed; i++)
        if (m->placed[i].tensor == t)
            return &m->placed[i];
    return NULL;
}

static struct placed *add(struct model *m, const struct tensor *t, size_t bytes, struct error *err)
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
    *x = (struct placed){.bytes = bytes, .tensor = t};
    x->p = room_alloc(m->ledger, m->backend, MEM_WEIGHTS, bytes, err);
    if (!x->p)
        return NULL;
    m->n_placed++;
    return x;
}

/* The matrix where its tensor is on the device, or will be once it is loaded. */
static bool place_matrix(struct model *m, const struct matrix *from, struct matrix *to,
                         struct error *err)
{
    *to = *from;
    const struct tensor *t = tensor_of(m, from->data);
    if (!t)
        return !from->data || error_set(err, ERR_STATE, "%s: a matrix is of no tensor", m->folder);
    struct placed *x = find(m, t);
    if (!x) {
        enum dtype dtype = device_dtype(m, t->dtype);
        x = add(m, t, t->bytes / dtype_size(t->dtype) * dtype_size(dtype), err);
        if (!x)
            return false;
        x->dtype = dtype;
    }
    size_t byte = (size_t)((const char *)from->data - (const char *)t->data);
    to->dtype = x->dtype;
    to->data = (const char *)x->p + byte / dtype_size(t->dtype) * dtype_size(x->dtype);
    return true;
}

static bool load(struct model *m, struct load_watch *watch, struct error *err)
{
    struct load_job *jobs =
        mem_alloc_array(m->ledger, MEM_OTHER, (size_t)m->n_placed, sizeof *jobs, err);
    int n = 0;
    double start = now();
    for (int i = 0; jobs && i < m->n_placed; i++) {
        const struct placed *x = &m->placed[i];
        if (!x->tensor)
            continue;
        jobs[n++] = (struct load_job){x->tensor, x->p, x->dtype};
        m->load_bytes += x->tensor->bytes;
    }
    bool ok = jobs && load_tensors(m->ledger, m->backend, jobs, n, watch, err);
    m->load_seconds = now() - start;
    mem_free(m->ledger, jobs);
    return ok;
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
    *block = add(m, NULL, bytes, err);
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

static bool place_on_device(struct model *m, struct load_watch *watch, struct error *err)
{
    struct placed *block;
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
    return load(m, watch, err);
}

bool model_place(struct model *m, struct load_watch *watch, struct error *err)
{
    if (m->backend->device)
        return place_on_device(m, watch, err);
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
