/* trace_pages.c - memory that grows with the sequence: keys and values, checkpoints. */
#include "engine/forward/room.h"
#include "engine/forward/trace_parts.h"
#include "engine/model/plan.h"

void trace_set_keep(struct trace *t, struct keep keep)
{
    t->keep = keep;
    atomic_store(&t->keep_now, keep);
}

bool trace_kept(const struct trace *t, int layer)
{
    return keep_residual(&t->sizes, t->keep, layer);
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
    return keep_bytes(&t->sizes, t->keep);
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
    if (t->z_from > t->n_pages)
        t->z_from = t->n_pages;
}

/* Keeps less; what goes is given back. The pages that there are have no z afterwards: it is what
 * goes, or was not kept while they were filled. */
static bool thin(struct trace *t)
{
    struct keep old = t->keep, less = old;
    if (!keep_less(&t->sizes, &less))
        return false;
    size_t each = KV_PAGE * (size_t)t->sizes.d * sizeof(float);
    size_t bytes = keep_bytes(&t->sizes, (struct keep){.stride = less.stride});
    for (int i = 0; i < t->n_pages; i++) {
        char *page = t->checkpoint_pages[i];
        for (int l = 1; l <= t->sizes.n_layers; l++) {
            if (!keep_residual(&t->sizes, less, l))
                continue;
            size_t from = keep_residual_at(&t->sizes, old, l);
            size_t to = keep_residual_at(&t->sizes, less, l);
            if (to != from)
                t->backend->copy(t->backend, page + to, page + from, each);
        }
        /* A block that cannot shrink is still large enough. */
        if (bytes < t->checkpoint_bytes[i] &&
            room_shrink(t->ledger, t->backend, MEM_CHECKPOINTS, &t->checkpoint_pages[i],
                        t->checkpoint_bytes[i], bytes))
            t->checkpoint_bytes[i] = bytes;
    }
    trace_set_keep(t, less);
    t->z_from = t->n_pages;
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

/* What is held already of that room: the ids and the lists of pages. */
static size_t lists_bytes(const struct trace *t)
{
    size_t page = sizeof *t->kv_pages + sizeof *t->checkpoint_pages + sizeof *t->checkpoint_bytes;
    return (size_t)t->room_ids * sizeof *t->ids + (size_t)t->room_pages * page;
}

/* Whether a page more leaves the room that looking at the sequence takes. */
static bool has_room(const struct trace *t, int n)
{
    size_t budget = ledger_budget(t->ledger), held = ledger_total(t->ledger) - lists_bytes(t);
    return budget == 0 || held + trace_kv_page_bytes(t) + trace_checkpoint_page_bytes(t) +
                                  vm_room_bytes(t->model, n) <=
                              budget;
}

/* What PLAN_CHECKPOINTS_PART says, of the whole sequence: what is kept of its first positions is
 * then the same as of its last. */
static bool has_too_many(const struct trace *t)
{
    size_t budget = ledger_budget(t->ledger);
    size_t weights = ledger_now(t->ledger, MEM_WEIGHTS, MEM_DEVICE);
    size_t pages = ((size_t)t->n_ids + KV_PAGE - 1) / KV_PAGE;
    return budget > weights &&
           pages * trace_checkpoint_page_bytes(t) > (budget - weights) / PLAN_CHECKPOINTS_PART;
}

bool trace_reserve_pages(struct trace *t, int n, struct error *err)
{
    int before = t->n_pages;
    while (has_too_many(t) && thin(t))
        ;
    while (t->n_pages * KV_PAGE < n) {
        struct error refused = {0};
        if (has_room(t, n) && add_page(t, &refused))
            continue;
        if (thin(t))
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

bool trace_fit_pages(struct trace *t, int n)
{
    while (t->n_pages * KV_PAGE < n)
        if (has_too_many(t) || !has_room(t, n) || !add_page(t, NULL))
            return false;
    return true;
}

void trace_move_checkpoint(struct trace *t, int layer, int pos0, int n, float *rows, bool save)
{
    struct backend *b = t->backend;
    size_t offset = keep_residual_at(&t->sizes, t->keep, layer);
    if (save)
        b->rows_save(b, t->checkpoint_pages, offset, DTYPE_F32, t->sizes.d, pos0, n, rows);
    else
        b->rows_load(b, t->checkpoint_pages, offset, DTYPE_F32, t->sizes.d, pos0, n, rows);
}

static void save_z(void *context, int layer, int pos0, int n, const float *z)
{
    const struct trace *t = context;
    struct backend *b = t->backend;
    int without = t->z_from * KV_PAGE - pos0; /* rows in older pages */
    without = without < 0 ? 0 : without;
    if (without < n && keep_attention(&t->sizes, t->keep, layer))
        b->rows_save(b, t->checkpoint_pages, keep_attention_at(&t->sizes, t->keep, layer),
                     t->sizes.z_dtype, t->sizes.z, pos0 + without, n - without,
                     z + (size_t)without * (size_t)t->sizes.z);
}

static void save_sums(void *context, int layer, int pos0, int n, const float *sums)
{
    const struct trace *t = context;
    t->backend->rows_save(t->backend, t->checkpoint_pages, keep_sums_at(&t->sizes, layer),
                          DTYPE_F32, t->sizes.sums, pos0, n, sums);
}

void trace_save_attention(struct trace *t, struct vm_call *c)
{
    c->save = save_z;
    c->sums = t->sizes.sums > 0 ? save_sums : NULL;
    c->context = t;
}

void trace_load_z(void *context, int layer, int pos0, int n, float *z)
{
    const struct trace *t = context;
    struct backend *b = t->backend;
    b->rows_load(b, t->checkpoint_pages, keep_attention_at(&t->sizes, t->keep, layer),
                 t->sizes.z_dtype, t->sizes.z, pos0, n, z);
}
