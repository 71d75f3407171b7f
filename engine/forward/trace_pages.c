/* trace_pages.c - memory that grows with the sequence: keys and values, checkpoints. */
#include "engine/forward/room.h"
#include "engine/forward/trace_parts.h"
#include "engine/model/plan.h"

/* The last one is what the logits are computed from. */
bool trace_kept(const struct trace *t, int layer)
{
    return layer > 0 && (layer % t->stride == 0 || layer == trace_layers(t));
}

/* A kept layer's place among the kept ones. */
static int kept_index(const struct trace *t, int layer)
{
    return layer == trace_layers(t) ? (trace_layers(t) - 1) / t->stride : layer / t->stride - 1;
}

static int kept_count(const struct trace *t)
{
    return (trace_layers(t) - 1) / t->stride + 1;
}

int trace_nearest_kept(const struct trace *t, int layer)
{
    while (layer > 0 && !trace_kept(t, layer))
        layer--;
    return layer;
}

size_t trace_kv_page_bytes(const struct trace *t)
{
    return vm_kv_page_bytes(t->model, t->backend);
}

size_t trace_checkpoint_page_bytes(const struct trace *t)
{
    return (size_t)kept_count(t) * KV_PAGE * (size_t)t->model->config.d_model * sizeof(float);
}

void trace_drop_pages(struct trace *t, int keep)
{
    for (int i = keep; i < t->n_pages; i++) {
        room_free(t->ledger, t->backend, MEM_KV, t->kv_pages[i], trace_kv_page_bytes(t));
        room_free(t->ledger, t->backend, MEM_CHECKPOINTS, t->checkpoint_pages[i],
                  t->checkpoint_bytes[i]);
    }
    if (keep < t->n_pages)
        t->n_pages = keep;
}

/* Keeps checkpoints of half as many layers; what goes is given back. */
static bool widen_stride(struct trace *t)
{
    if (t->stride >= trace_layers(t))
        return false;
    int old = t->stride;
    size_t each = KV_PAGE * (size_t)t->model->config.d_model * sizeof(float);
    for (int i = 0; i < t->n_pages; i++) {
        char *page = t->checkpoint_pages[i];
        size_t to = 0;
        for (int l = 1; l <= trace_layers(t); l++) {
            t->stride = old;
            if (!trace_kept(t, l))
                continue;
            size_t from = (size_t)kept_index(t, l);
            t->stride = 2 * old;
            if (!trace_kept(t, l))
                continue;
            if (to != from)
                t->backend->copy(t->backend, page + to * each, page + from * each, each);
            to++;
        }
        /* A block that cannot shrink is still large enough. */
        if (room_shrink(t->ledger, t->backend, MEM_CHECKPOINTS, &t->checkpoint_pages[i],
                        t->checkpoint_bytes[i], to * each))
            t->checkpoint_bytes[i] = to * each;
    }
    t->stride = 2 * old;
    return true;
}

/* The lists of the pages, with room for more of them. */
static bool grow_lists(struct trace *t, struct error *err)
{
    size_t room = t->room_pages ? 2 * (size_t)t->room_pages : 16;
    void *p = mem_resize(t->ledger, MEM_OTHER, t->kv_pages, room * sizeof *t->kv_pages, err);
    if (!p)
        return false;
    t->kv_pages = p;
    p = mem_resize(t->ledger, MEM_OTHER, t->checkpoint_pages, room * sizeof *t->checkpoint_pages,
                   err);
    if (!p)
        return false;
    t->checkpoint_pages = p;
    p = mem_resize(t->ledger, MEM_OTHER, t->checkpoint_bytes, room * sizeof *t->checkpoint_bytes,
                   err);
    if (!p)
        return false;
    t->checkpoint_bytes = p;
    t->room_pages = (int)room;
    return true;
}

static bool add_page(struct trace *t, struct error *err)
{
    if (t->n_pages == t->room_pages && !grow_lists(t, err))
        return false;
    size_t kv_bytes = trace_kv_page_bytes(t), bytes = trace_checkpoint_page_bytes(t);
    void *kv = room_alloc(t->ledger, t->backend, MEM_KV, kv_bytes, err);
    if (!kv)
        return false;
    void *checkpoints = room_alloc(t->ledger, t->backend, MEM_CHECKPOINTS, bytes, err);
    if (!checkpoints) {
        room_free(t->ledger, t->backend, MEM_KV, kv, kv_bytes);
        return false;
    }
    t->kv_pages[t->n_pages] = kv;
    t->checkpoint_pages[t->n_pages] = checkpoints;
    t->checkpoint_bytes[t->n_pages++] = bytes;
    return true;
}

/* Whether a page more leaves the room that looking at the sequence takes. */
static bool has_room(const struct trace *t, int n)
{
    size_t budget = ledger_budget(t->ledger), held = ledger_total(t->ledger);
    return budget == 0 || held + trace_kv_page_bytes(t) + trace_checkpoint_page_bytes(t) +
                                  vm_room_bytes(t->model, n) <=
                              budget;
}

/* What PLAN_CHECKPOINTS_PART says, as pages are taken. */
static bool has_too_many(const struct trace *t, int n)
{
    size_t budget = ledger_budget(t->ledger);
    size_t weights = ledger_now(t->ledger, MEM_WEIGHTS, MEM_DEVICE);
    size_t pages = ((size_t)n + KV_PAGE - 1) / KV_PAGE;
    return budget > weights &&
           pages * trace_checkpoint_page_bytes(t) > (budget - weights) / PLAN_CHECKPOINTS_PART;
}

bool trace_reserve_pages(struct trace *t, int n, struct error *err)
{
    int before = t->n_pages;
    while (has_too_many(t, n) && widen_stride(t))
        ;
    while (t->n_pages * KV_PAGE < n) {
        struct error refused = {0};
        if (has_room(t, n) && add_page(t, &refused))
            continue;
        if (widen_stride(t))
            continue;
        int fit = t->n_pages * KV_PAGE;
        char budget[24];
        trace_drop_pages(t, before); /* what cannot be used is not kept */
        if (ledger_budget(t->ledger) == 0) {
            if (err)
                *err = refused;
            return false;
        }
        return error_set(err, ERR_MEMORY,
                         "%d positions do not fit into the %s that are left beside the weights, "
                         "with checkpoints of as few layers as can be; %d do: --ctx %d",
                         n, mem_format(ledger_budget(t->ledger), budget), fit, fit);
    }
    return true;
}

void trace_move_checkpoint(struct trace *t, int layer, int pos0, int n, float *rows, bool save)
{
    int d = t->model->config.d_model;
    size_t offset = (size_t)kept_index(t, layer) * KV_PAGE * (size_t)d * sizeof(float);
    if (save)
        t->backend->rows_save(t->backend, t->checkpoint_pages, offset, DTYPE_F32, d, pos0, n, rows);
    else
        t->backend->rows_load(t->backend, t->checkpoint_pages, offset, DTYPE_F32, d, pos0, n, rows);
}
