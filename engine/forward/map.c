#include "engine/forward/map.h"

#include "engine/forward/room.h"
#include "engine/forward/trace_parts.h"

#include <math.h>
#include <string.h>

/* Of patterns that are held where a patch is shown. */
#define ROW_FLOATS ((size_t)1 << 20)
/* Products and sums between two looks at whether the user wants it to stop, on the CPU: about a
 * tenth of a second. */
#define WORK_MOST 4e9

static size_t cells_each(const struct map *m)
{
    return (size_t)m->region.rows * (size_t)m->region.columns;
}

static size_t cells_bytes(const struct map *m)
{
    return (size_t)m->n_heads * cells_each(m) * sizeof(float);
}

static bool region_fits(const struct map_region *r, int n_ids, struct error *err)
{
    if (r->q0 < 0 || r->q0 >= r->q1 || r->q1 > n_ids || r->k0 < 0 || r->k0 >= r->k1 ||
        r->k1 > n_ids)
        return error_set(err, ERR_USAGE,
                         "queries %d to %d by keys %d to %d are no part of the %d positions", r->q0,
                         r->q1 - 1, r->k0, r->k1 - 1, n_ids);
    if (r->rows < 1 || r->rows > r->q1 - r->q0 || r->columns < 1 || r->columns > r->k1 - r->k0)
        return error_set(err, ERR_USAGE,
                         "%d x %d cells of %d queries by %d keys: at least 1 x 1, at most one for "
                         "each",
                         r->rows, r->columns, r->q1 - r->q0, r->k1 - r->k0);
    return true;
}

bool map_open(struct map *m, struct trace *t, int layer, const int *heads, int n_heads,
              const struct map_region *region, struct error *err)
{
    const struct program *p = &t->model->program;
    *m = (struct map){.trace = t, .layer = layer, .n_heads = n_heads, .region = *region};
    m->op = layer >= 0 && layer < p->n_layers ? program_find(p, SITE_PATTERN, layer) : -1;
    if (m->op < 0)
        return error_set(err, ERR_USAGE, "layer %d has no attention pattern", layer);
    for (int i = 0; i < n_heads; i++)
        if (heads[i] < (i ? heads[i - 1] + 1 : 0) || heads[i] >= t->model->config.n_heads)
            return error_set(err, ERR_USAGE, "there is no head %d", heads[i]);
    if (!region_fits(region, t->n_ids, err))
        return false;
    m->heads = mem_alloc_array(t->ledger, MEM_VIEWS, (size_t)n_heads, sizeof *m->heads, err);
    m->cells = m->heads ? mem_alloc(t->ledger, MEM_VIEWS, cells_bytes(m), err) : NULL;
    if (!m->cells) {
        map_close(m);
        return false;
    }
    memcpy(m->heads, heads, (size_t)n_heads * sizeof *heads);
    for (size_t i = 0; i < cells_bytes(m) / sizeof(float); i++)
        m->cells[i] = -INFINITY;
    /* Queries before the first key see nothing of it. */
    m->next = region->q0 < region->k0 ? region->k0 : region->q0;
    m->next = m->next < region->q1 ? m->next : region->q1;
    m->first = m->next;
    return true;
}

void map_close(struct map *m)
{
    struct trace *t = m->trace;
    if (!t)
        return;
    room_free(t->ledger, t->backend, MEM_VIEWS, m->far, cells_bytes(m));
    room_free(t->ledger, t->backend, MEM_VIEWS, m->work.data, m->work.bytes);
    mem_free(t->ledger, m->rows);
    mem_free(t->ledger, m->heads);
    mem_free(t->ledger, m->cells);
    *m = (struct map){0};
}

/* One behind the last query that can be read. */
static int known_end(const struct map *m)
{
    const struct trace *t = m->trace;
    int n = trace_rows(t);
    while (n < t->n_ids && trace_has(t, n, m->op))
        n++;
    return n < m->region.q1 ? n : m->region.q1;
}

bool map_done(const struct map *m)
{
    return m->n_heads == 0 || m->next >= known_end(m);
}

/* ---- where a patch is shown: exact rows ------------------------------------------------------ */

/* Whether x has to be seen rather than y. */
static bool stands_out(float x, float y)
{
    if (isnan(y) || (isinf(x) && x < 0))
        return false;
    return isnan(x) || (isinf(y) && y < 0) || fabsf(x) > fabsf(y);
}

static void pool_row(const struct map *m, const float *row, int query, float *cells)
{
    const struct map_region *r = &m->region;
    int n = r->k1 - r->k0, end = query + 1 < r->k1 ? query + 1 : r->k1;
    for (int c = 0; c < r->columns; c++) {
        int to = r->k0 + cell_first(c + 1, n, r->columns);
        for (int k = r->k0 + cell_first(c, n, r->columns); k < to && k < end; k++)
            if (stands_out(row[k], cells[c]))
                cells[c] = row[k];
    }
}

static float *cells_of(const struct map *m, float *cells, int i, int query)
{
    const struct map_region *r = &m->region;
    int row = cell_of(query - r->q0, r->q1 - r->q0, r->rows);
    return cells + (size_t)i * cells_each(m) + (size_t)row * (size_t)r->columns;
}

/* Rows next .. next + n of the heads i .. i + heads, which are neighbours. */
static bool read_rows(struct map *m, int i, int heads, int n, struct error *err)
{
    int keys = m->next + n;
    if (!trace_read(m->trace, m->op, m->next, n, m->heads[i], heads, keys, m->rows, err))
        return false;
    for (int h = 0; h < heads; h++)
        for (int r = 0; r < n; r++)
            pool_row(m, m->rows + ((size_t)h * (size_t)n + (size_t)r) * (size_t)keys, m->next + r,
                     cells_of(m, m->cells, i + h, m->next + r));
    return true;
}

static bool reserve_rows(struct map *m, size_t floats, struct error *err)
{
    if (floats <= m->rows_room)
        return true;
    mem_free(m->trace->ledger, m->rows);
    m->rows_room = 0;
    m->rows = mem_alloc_array(m->trace->ledger, MEM_VIEWS, floats, sizeof *m->rows, err);
    m->rows_room = m->rows ? floats : 0;
    return m->rows != NULL;
}

/* ---- else: from the queries, by the backend -------------------------------------------------- */

static bool reserve_work(struct map *m, size_t bytes, struct error *err)
{
    struct trace *t = m->trace;
    if (bytes <= m->work.bytes)
        return true;
    room_free(t->ledger, t->backend, MEM_VIEWS, m->work.data, m->work.bytes);
    m->work.bytes = 0;
    m->work.data = room_alloc(t->ledger, t->backend, MEM_VIEWS, bytes, err);
    m->work.bytes = m->work.data ? bytes : 0;
    return m->work.data != NULL;
}

/* The cells where the backend fills them: what was read so far, from the host. */
static bool reserve_far(struct map *m, struct error *err)
{
    struct trace *t = m->trace;
    if (!t->backend->device || m->far)
        return true;
    m->far = room_alloc(t->ledger, t->backend, MEM_VIEWS, cells_bytes(m), err);
    if (m->far)
        t->backend->write(t->backend, m->far, m->cells, cells_bytes(m));
    return m->far != NULL;
}

/* Brings the frame to where the scores of rows pos0 .. would be computed: the queries are read
 * behind the run. */
static bool bring_queries(struct map *m, int pos0, int n, bool *need, struct vm_call *c,
                          struct error *err)
{
    int scores = program_find(&m->trace->model->program, SITE_ATTN_SCORES, m->layer);
    if (!trace_prepare(m->trace, scores, pos0, n, need, c, err))
        return false;
    need[scores] = false;
    c->to = scores - 1;
    return vm_run(m->trace->vm, c, err);
}

/* Of n rows' sums of all heads, as a device keeps them; the scratch behind them is aligned. */
static size_t sums_bytes(const struct map *m, int n)
{
    size_t bytes = (size_t)n * (size_t)m->trace->sizes.sums * sizeof(float);
    return (bytes + 63) / 64 * 64;
}

/* Queries next .. next + n, all heads. */
static bool pool_queries(struct map *m, int n, struct error *err)
{
    struct trace *t = m->trace;
    struct backend *b = t->backend;
    const struct program *p = &t->model->program;
    const struct op *op = &p->ops[program_find(p, SITE_ATTN_SCORES, m->layer)];
    struct vm_call c;
    bool *need = mem_alloc_array(t->ledger, MEM_SCRATCH, (size_t)p->n_ops, sizeof *need, err);
    size_t scratch = b->map_workspace(b, &op->attention, n, m->next + n, m->n_heads);
    bool ok = need && bring_queries(m, m->next, n, need, &c, err) &&
              reserve_work(m, sums_bytes(m, n) + scratch, err) && reserve_far(m, err);
    mem_free(t->ledger, need);
    if (!ok)
        return false;
    struct kv_view kv = vm_kv(t->model, b, t->kv_pages, m->layer);
    const float *q = vm_slot(t->vm, c.frame, op->in[0]);
    struct workspace work = {(char *)m->work.data + sums_bytes(m, n), scratch};
    float *sums = t->sizes.sums > 0 ? m->work.data : NULL;
    if (sums)
        b->rows_load(b, t->checkpoint_pages, keep_sums_at(&t->sizes, m->layer), DTYPE_F32,
                     t->sizes.sums, m->next, n, sums);
    for (int i = 0, run; i < m->n_heads; i += run) {
        run = 1;
        while (i + run < m->n_heads && m->heads[i + run] == m->heads[i] + run)
            run++;
        b->map(b, &op->attention, &kv, q, sums, m->next, n, m->heads[i], run, &m->region,
               (m->far ? m->far : m->cells) + (size_t)i * cells_each(m), work);
    }
    return true;
}

/* What a query does not see of the keys before its own (a window leaves them out) weighs 0. */
static void fill_unseen(struct map *m, int from, int to)
{
    const struct map_region *r = &m->region;
    int n = r->k1 - r->k0;
    for (int query = from; query < to; query++) {
        int row = cell_of(query - r->q0, r->q1 - r->q0, r->rows);
        int last = r->q0 + cell_first(row + 1, r->q1 - r->q0, r->rows) - 1;
        query = last < to - 1 ? last : to - 1; /* the last that was read sees most */
        for (int i = 0; i < m->n_heads; i++)
            for (int c = 0; c < r->columns && r->k0 + cell_first(c, n, r->columns) <= query; c++) {
                float *cell = cells_of(m, m->cells, i, query) + c;
                *cell = *cell == -INFINITY ? 0.0f : *cell;
            }
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool shows_patch(const struct map *m)
{
    const struct trace *t = m->trace;
    const struct program *p = &t->model->program;
    return t->hooks.watch &&
           (t->hooks.watch[m->op] || t->hooks.watch[program_find(p, SITE_ATTN_SCORES, m->layer)]);
}

/* How many queries may go at once: as a chunk, and on the CPU so few that it can be stopped. */
static int block_rows(const struct map *m, int left, bool patched)
{
    const struct trace *t = m->trace;
    int n = left < t->chunk ? left : t->chunk;
    double row = (double)m->n_heads * (double)(m->next + n);
    double most =
        patched ? (double)ROW_FLOATS / row : WORK_MOST / (row * (double)t->model->config.d_head);
    if ((patched || !t->backend->device) && most < n)
        n = most < 1 ? 1 : (int)most;
    return n;
}

static bool read_block(struct map *m, int n, bool patched, struct error *err)
{
    if (!patched)
        return pool_queries(m, n, err);
    if (!reserve_rows(m, (size_t)m->n_heads * (size_t)n * (size_t)(m->next + n), err))
        return false;
    for (int i = 0, run; i < m->n_heads; i += run) {
        run = 1;
        while (i + run < m->n_heads && m->heads[i + run] == m->heads[i] + run)
            run++;
        if (!read_rows(m, i, run, n, err))
            return false;
    }
    return true;
}

bool map_read(struct map *m, int most, struct error *err)
{
    struct trace *t = m->trace;
    bool patched = shows_patch(m), ok = true;
    int from = m->next, end = known_end(m);
    end = most < end - from ? from + most : end;
    while (ok && m->n_heads > 0 && m->next < end) {
        int n = block_rows(m, end - m->next, patched);
        if (t->interrupt && *t->interrupt)
            ok = error_set(err, ERR_INTERRUPTED, "stopped");
        ok = ok && read_block(m, n, patched, err);
        m->next += ok ? n : 0;
    }
    if (m->far) {
        struct error lost = {0};
        ok = vm_sync(t->vm, ok ? err : &lost) && ok;
        t->backend->read(t->backend, m->cells, m->far, cells_bytes(m));
    }
    fill_unseen(m, m->far ? m->first : from, m->next);
    return ok;
}
