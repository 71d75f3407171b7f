/* trace_pages.c - memory that grows with the sequence: keys and values, checkpoints. */
#include "engine/forward/trace_parts.h"

#include <string.h>

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
        mem_free(t->ledger, t->pages[i].kv);
        mem_free(t->ledger, t->pages[i].checkpoints);
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
    size_t floats = KV_PAGE * (size_t)t->model->config.d_model;
    for (int i = 0; i < t->n_pages; i++) {
        int to = 0;
        for (int l = 1; l <= trace_layers(t); l++) {
            t->stride = old;
            if (!trace_kept(t, l))
                continue;
            size_t from = (size_t)kept_index(t, l);
            t->stride = 2 * old;
            if (trace_kept(t, l))
                memmove(t->pages[i].checkpoints + (size_t)to++ * floats,
                        t->pages[i].checkpoints + from * floats, floats * sizeof(float));
        }
        /* A block that cannot shrink is still large enough. */
        float *p = mem_resize(t->ledger, MEM_CHECKPOINTS, t->pages[i].checkpoints,
                              (size_t)to * floats * sizeof(float), NULL);
        if (p)
            t->pages[i].checkpoints = p;
    }
    t->stride = 2 * old;
    return true;
}

static bool add_page(struct trace *t, struct error *err)
{
    if (t->n_pages == t->room_pages) {
        int room = t->room_pages ? 2 * t->room_pages : 16;
        struct trace_page *p =
            mem_resize(t->ledger, MEM_OTHER, t->pages, (size_t)room * sizeof *p, err);
        if (!p)
            return false;
        t->pages = p;
        void **kv = mem_resize(t->ledger, MEM_OTHER, t->kv_pages, (size_t)room * sizeof *kv, err);
        if (!kv)
            return false;
        t->kv_pages = kv;
        t->room_pages = room;
    }
    struct trace_page page;
    page.kv = mem_alloc(t->ledger, MEM_KV, trace_kv_page_bytes(t), err);
    if (!page.kv)
        return false;
    page.checkpoints = mem_alloc(t->ledger, MEM_CHECKPOINTS, trace_checkpoint_page_bytes(t), err);
    if (!page.checkpoints) {
        mem_free(t->ledger, page.kv);
        return false;
    }
    t->kv_pages[t->n_pages] = page.kv;
    t->pages[t->n_pages++] = page;
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

bool trace_reserve_pages(struct trace *t, int n, struct error *err)
{
    int before = t->n_pages;
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
    size_t d = (size_t)t->model->config.d_model;
    for (int r = 0; r < n; r++) {
        int pos = pos0 + r;
        float *kept_row = t->pages[pos / KV_PAGE].checkpoints +
                          ((size_t)kept_index(t, layer) * KV_PAGE + (size_t)(pos % KV_PAGE)) * d;
        if (save)
            memcpy(kept_row, rows + (size_t)r * d, d * sizeof(float));
        else
            memcpy(rows + (size_t)r * d, kept_row, d * sizeof(float));
    }
}
