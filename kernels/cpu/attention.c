/* attention.c - tiles of queries for the threads, and the pages of keys and values.
 *
 * A tile holds up to ATTEND_ROWS queries that read the same key/value head: neighbouring
 * positions, and with grouped queries the heads that share it. attend() keeps one tile's
 * scores a thread and nothing else, so its scratch grows with S and not with n * S.
 * The three steps and attend() call the same functions on the same tiles. */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <omp.h>
#include <string.h>

/* The first key that the query at t sees; the last is t itself. */
static int first_visible(const struct attention *a, int t)
{
    return a->window > 0 && t >= a->window ? t - a->window + 1 : 0;
}

/* Floats of a row of scores in scratch: whole pages. */
static size_t row_pitch(int n_keys)
{
    return ((size_t)n_keys + KV_PAGE - 1) / KV_PAGE * KV_PAGE;
}

size_t cpu_attend_workspace(const struct backend *b, int n_keys)
{
    return (size_t)b->n_threads * ATTEND_ROWS * row_pitch(n_keys) * sizeof(float);
}

size_t cpu_kv_bytes(struct backend *b, int n_kv_heads, int d_head)
{
    (void)b;
    return (size_t)n_kv_heads * (size_t)d_head * KV_PAGE * sizeof(float);
}

/* ---- storing --------------------------------------------------------------------------------- */

/* Rows [from, to) of positions in one page. keys, values: the first of those rows, [.., G, h]. */
static void store_page(const struct kv_view *kv, int page, int from, int to, const float *keys,
                       const float *values)
{
    size_t h = (size_t)kv->d_head, row = (size_t)kv->n_kv_heads * h;
    for (int g = 0; g < kv->n_kv_heads; g++) {
        if (keys) {
            float *to_keys = (float *)kv_keys(kv, page, g);
            for (size_t i = 0; i < h; i++)
                for (int s = from; s < to; s++)
                    to_keys[i * KV_PAGE + (size_t)s] =
                        keys[(size_t)(s - from) * row + (size_t)g * h + i];
        }
        if (values) {
            float *to_values = (float *)kv_values(kv, page, g);
            for (int s = from; s < to; s++)
                memcpy(to_values + (size_t)s * h, values + (size_t)(s - from) * row + (size_t)g * h,
                       h * sizeof(float));
        }
    }
}

void cpu_kv_store(struct backend *b, const struct kv_view *kv, int pos0, int n, const float *keys,
                  const float *values)
{
    size_t row = (size_t)kv->n_kv_heads * (size_t)kv->d_head;
    int pages = n > 0 ? (pos0 + n - 1) / KV_PAGE - pos0 / KV_PAGE + 1 : 0;
    int pieces = cpu_pieces(b, (size_t)pages, row * KV_PAGE);
#pragma omp parallel for num_threads(pieces) if (pieces > 1) schedule(static)
    for (int i = 0; i < pages; i++) {
        int page = pos0 / KV_PAGE + i, start = page * KV_PAGE;
        int from = pos0 > start ? pos0 - start : 0;
        int to = pos0 + n < start + KV_PAGE ? pos0 + n - start : KV_PAGE;
        size_t skip = (size_t)(start + from - pos0) * row;
        store_page(kv, page, from, to, keys ? keys + skip : NULL, values ? values + skip : NULL);
    }
}

/* ---- tiles ----------------------------------------------------------------------------------- */

/* A tile of one head: rows row .. row+n-1. */
static struct attend_tile tile_of_head(const struct attention *a, const struct kv_view *kv,
                                       int head, int pos0, int row, int n)
{
    struct attend_tile tile = {
        .kv = kv,
        .g = head / (a->n_heads / a->n_kv_heads),
        .n = n,
        .scale = a->scale,
        .limit = 0,
    };
    for (int j = 0; j < n; j++) {
        tile.last[j] = pos0 + row + j;
        tile.first[j] = first_visible(a, tile.last[j]);
    }
    return tile;
}

/* Tiles of one head that n rows make, and how many rows are in tile i. */
static int tiles_of(int n)
{
    return (n + ATTEND_ROWS - 1) / ATTEND_ROWS;
}

static int tile_rows(int n, int i)
{
    int rest = n - i * ATTEND_ROWS;
    return rest < ATTEND_ROWS ? rest : ATTEND_ROWS;
}

/* ---- the three steps ------------------------------------------------------------------------- */

static void fill(float *row, size_t from, size_t to, float x)
{
    for (size_t i = from; i < to; i++)
        row[i] = x;
}

void cpu_scores(struct backend *b, const struct attention *a, const struct kv_view *kv,
                const float *q, int pos0, int n, int head0, int heads, float *out)
{
    const struct cpu_ops *ops = cpu_ops_of(b);
    size_t keys = (size_t)pos0 + (size_t)n, h = (size_t)a->d_head;
    int tiles = tiles_of(n), total = tiles * heads;
    int pieces = cpu_pieces(b, (size_t)total, ATTEND_ROWS * keys * h / 8 + 1);
#pragma omp parallel for num_threads(pieces) if (pieces > 1) schedule(dynamic)
    for (int i = 0; i < total; i++) {
        int head = head0 + i / tiles, row = i % tiles * ATTEND_ROWS;
        struct attend_tile tile = tile_of_head(a, kv, head, pos0, row, tile_rows(n, i % tiles));
        tile.limit = (int)keys;
        for (int j = 0; j < tile.n; j++) {
            size_t place = (size_t)(row + j);
            tile.q[j] = q + (place * (size_t)a->n_heads + (size_t)head) * h;
            tile.scores[j] = out + ((size_t)(head - head0) * (size_t)n + place) * keys;
        }
        ops->scores(&tile);
        for (int j = 0; j < tile.n; j++) {
            fill(tile.scores[j], 0, (size_t)tile.first[j], -INFINITY);
            fill(tile.scores[j], (size_t)tile.last[j] + 1, keys, -INFINITY);
        }
    }
}

void cpu_softmax(struct backend *b, const struct attention *a, const float *scores, int pos0, int n,
                 int heads, float *out, float *sums)
{
    (void)sums;
    const struct cpu_ops *ops = cpu_ops_of(b);
    size_t keys = (size_t)pos0 + (size_t)n, rows = (size_t)heads * (size_t)n;
    int pieces = cpu_pieces(b, rows, keys * 4);
#pragma omp parallel for num_threads(pieces) if (pieces > 1) schedule(dynamic, 8)
    for (size_t i = 0; i < rows; i++) {
        int last = pos0 + (int)(i % (size_t)n), first = first_visible(a, last);
        float *p = out + i * keys;
        ops->softmax(scores + i * keys, p, first, last, (int)keys);
        fill(p, 0, (size_t)first, 0);
        fill(p, (size_t)last + 1, keys, 0);
    }
}

void cpu_mix(struct backend *b, const struct attention *a, const struct kv_view *kv,
             const float *pattern, int pos0, int n, int head0, int heads, float *z, size_t z_stride)
{
    const struct cpu_ops *ops = cpu_ops_of(b);
    size_t keys = (size_t)pos0 + (size_t)n, h = (size_t)a->d_head;
    int tiles = tiles_of(n), total = tiles * heads;
    int pieces = cpu_pieces(b, (size_t)total, ATTEND_ROWS * keys * h / 8 + 1);
#pragma omp parallel for num_threads(pieces) if (pieces > 1) schedule(dynamic)
    for (int i = 0; i < total; i++) {
        int head = i / tiles, row = i % tiles * ATTEND_ROWS;
        struct attend_tile tile =
            tile_of_head(a, kv, head0 + head, pos0, row, tile_rows(n, i % tiles));
        for (int j = 0; j < tile.n; j++) {
            size_t place = (size_t)(row + j);
            tile.patterns[j] = pattern + ((size_t)head * (size_t)n + place) * keys;
            tile.z[j] = z + place * z_stride + (size_t)head * h;
        }
        ops->mix(&tile);
    }
}

/* ---- all three at once ----------------------------------------------------------------------- */

/* Queries are numbered row by row, in a row by the heads that share g. */
static struct attend_tile tile_of_group(const struct attention *a, const struct kv_view *kv, int g,
                                        const float *q, int pos0, int from, int n, float *scores,
                                        size_t pitch, float *z)
{
    size_t h = (size_t)a->d_head;
    int shared = a->n_heads / a->n_kv_heads;
    struct attend_tile tile = {.kv = kv, .g = g, .n = n, .scale = a->scale, .limit = (int)pitch};
    for (int j = 0; j < n; j++) {
        int row = (from + j) / shared, head = g * shared + (from + j) % shared;
        size_t place = ((size_t)row * (size_t)a->n_heads + (size_t)head) * h;
        tile.last[j] = pos0 + row;
        tile.first[j] = first_visible(a, tile.last[j]);
        tile.q[j] = q + place;
        tile.z[j] = z + place;
        tile.scores[j] = scores + (size_t)j * pitch;
        tile.patterns[j] = tile.scores[j];
    }
    return tile;
}

void cpu_attend(struct backend *b, const struct attention *a, const struct kv_view *kv,
                const float *q, int pos0, int n, float *z, float *sums, struct workspace work)
{
    (void)sums;
    const struct cpu_ops *ops = cpu_ops_of(b);
    if (n <= 0)
        return;
    int queries = n * (a->n_heads / a->n_kv_heads), tiles = tiles_of(queries);
    int total = tiles * a->n_kv_heads;
    size_t pitch = row_pitch(pos0 + n), cost = ATTEND_ROWS * pitch * (size_t)a->d_head / 8;
    int pieces = cpu_pieces(b, (size_t)total, cost + 1);
    /* The last rows see most: they are begun first, so that no thread is left with them. */
#pragma omp parallel for num_threads(pieces) if (pieces > 1) schedule(dynamic)
    for (int i = 0; i < total; i++) {
        int g = i % a->n_kv_heads, t = tiles - 1 - i / a->n_kv_heads;
        float *scores = (float *)work.data + (size_t)omp_get_thread_num() * ATTEND_ROWS * pitch;
        struct attend_tile tile = tile_of_group(a, kv, g, q, pos0, t * ATTEND_ROWS,
                                                tile_rows(queries, t), scores, pitch, z);
        ops->scores(&tile);
        for (int j = 0; j < tile.n; j++)
            ops->softmax(tile.scores[j], tile.scores[j], tile.first[j], tile.last[j], tile.limit);
        ops->mix(&tile);
    }
}

/* ---- patterns pooled ------------------------------------------------------------------------- */

size_t cpu_map_workspace(struct backend *b, const struct attention *a, int n, int n_keys, int heads)
{
    (void)a, (void)n, (void)heads;
    return cpu_attend_workspace(b, n_keys);
}

static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

/* The largest of n weights, which are no less than 0 or are NaN: in that order their bits grow. */
static float largest(const float *x, int n)
{
    uint32_t most = 0;
    float out;
    for (int i = 0; i < n; i++)
        most = bits_of(x[i]) > most ? bits_of(x[i]) : most;
    memcpy(&out, &most, sizeof out);
    return out;
}

/* The columns of m that a query which sees keys first .. last has weights in. */
static void seen_columns(const struct map_region *m, int first, int last, int *from, int *to)
{
    int a = first > m->k0 ? first : m->k0, b = last < m->k1 - 1 ? last : m->k1 - 1;
    *from = a <= b ? cell_of(a - m->k0, m->k1 - m->k0, m->columns) : 0;
    *to = a <= b ? cell_of(b - m->k0, m->k1 - m->k0, m->columns) + 1 : 0;
}

/* A row's cells, to its own beginning: cell c begins at key c or later. */
static void pool_row(const struct map_region *m, float *p, int first, int last)
{
    int from, to;
    seen_columns(m, first, last, &from, &to);
    for (int c = from; c < to; c++) {
        int a = m->k0 + cell_first(c, m->k1 - m->k0, m->columns);
        int b = m->k0 + cell_first(c + 1, m->k1 - m->k0, m->columns);
        a = a > first ? a : first;
        b = b < last + 1 ? b : last + 1;
        p[c] = largest(p + a, b - a);
    }
}

static void merge_row(const struct map_region *m, const float *p, int first, int last, float *cells)
{
    int from, to;
    seen_columns(m, first, last, &from, &to);
    for (int c = from; c < to; c++)
        if (cells[c] == -INFINITY || bits_of(p[c]) > bits_of(cells[c]))
            cells[c] = p[c];
}

void cpu_map(struct backend *b, const struct attention *a, const struct kv_view *kv, const float *q,
             const float *sums, int pos0, int n, int head0, int heads, const struct map_region *m,
             float *cells, struct workspace work)
{
    (void)sums;
    const struct cpu_ops *ops = cpu_ops_of(b);
    size_t pitch = row_pitch(pos0 + n), h = (size_t)a->d_head;
    size_t columns = (size_t)m->columns;
    int tiles = tiles_of(n), total = tiles * heads;
    int pieces = cpu_pieces(b, (size_t)total, ATTEND_ROWS * pitch * h / 8 + 1);
#pragma omp parallel for num_threads(pieces) if (pieces > 1) schedule(dynamic)
    for (int i = 0; i < total; i++) {
        int head = i % heads, t = tiles - 1 - i / heads, row = t * ATTEND_ROWS;
        float *scores = (float *)work.data + (size_t)omp_get_thread_num() * ATTEND_ROWS * pitch;
        struct attend_tile tile = tile_of_head(a, kv, head0 + head, pos0, row, tile_rows(n, t));
        tile.limit = (int)pitch;
        for (int j = 0; j < tile.n; j++) {
            tile.q[j] = q + ((size_t)(row + j) * (size_t)a->n_heads + (size_t)(head0 + head)) * h;
            tile.scores[j] = scores + (size_t)j * pitch;
        }
        ops->scores(&tile);
        for (int j = 0; j < tile.n; j++) {
            ops->softmax(tile.scores[j], tile.scores[j], tile.first[j], tile.last[j], tile.limit);
            pool_row(m, tile.scores[j], tile.first[j], tile.last[j]);
        }
        /* Which of two comes first does not show: the larger one stays. */
#pragma omp critical(midpass_map)
        for (int j = 0; j < tile.n; j++) {
            int cell = cell_of(pos0 + row + j - m->q0, m->q1 - m->q0, m->rows);
            merge_row(m, tile.scores[j], tile.first[j], tile.last[j],
                      cells + ((size_t)head * (size_t)m->rows + (size_t)cell) * columns);
        }
    }
}
