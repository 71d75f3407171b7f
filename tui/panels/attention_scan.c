#include "tui/panels/attention_scan.h"

#include "tui/heatmap.h"
#include "tui/panels/numeric.h"

#include <math.h>
#include <string.h>

#define TILE_FLOATS ((size_t)1 << 20) /* of patterns held at a time */
#define TILE_MOST   128               /* rows */

void scan_init(struct attention_scan *s, struct ledger *l)
{
    memset(s, 0, sizeof *s);
    s->ledger = l;
}

void scan_fini(struct attention_scan *s)
{
    mem_free(s->ledger, s->heads);
    mem_free(s->ledger, s->cells);
    mem_free(s->ledger, s->tile);
    scan_init(s, s->ledger);
}

static size_t cell_count(const struct scan_spec *p)
{
    return (size_t)p->n_heads * (size_t)p->rows * (size_t)p->columns;
}

bool scan_set(struct attention_scan *s, const struct scan_spec *p, const int *heads,
              struct error *err)
{
    const struct scan_spec *o = &s->spec;
    size_t bytes = (size_t)p->n_heads * sizeof *heads;
    if (s->cells && o->stamp == p->stamp && o->layer == p->layer && o->q0 == p->q0 &&
        o->q1 == p->q1 && o->k0 == p->k0 && o->k1 == p->k1 && o->rows == p->rows &&
        o->columns == p->columns && o->n_heads == p->n_heads && memcmp(s->heads, heads, bytes) == 0)
        return true;
    scan_fini(s);
    s->heads = mem_alloc(s->ledger, MEM_VIEWS, bytes, err);
    s->cells = s->heads
                   ? mem_alloc_array(s->ledger, MEM_VIEWS, cell_count(p), sizeof *s->cells, err)
                   : NULL;
    if (!s->cells) {
        scan_fini(s);
        return false;
    }
    s->spec = *p;
    memcpy(s->heads, heads, bytes);
    for (size_t i = 0; i < cell_count(p); i++)
        s->cells[i] = -INFINITY;
    s->next = p->q0;
    s->tile_rows = 8;
    return true;
}

/* Rows next .. next + n of the heads i .. i + n_heads, which are neighbours, into their cells. */
static bool read_heads(struct attention_scan *s, struct session *session, int op, int i,
                       int n_heads, int n, struct error *err)
{
    const struct scan_spec *p = &s->spec;
    int keys = s->next + n;
    if (!trace_read(&session->trace, op, s->next, n, s->heads[i], n_heads, keys, s->tile, err))
        return false;
    for (int h = 0; h < n_heads; h++)
        for (int r = 0; r < n; r++) {
            int q = s->next + r, end = q + 1 < p->k1 ? q + 1 : p->k1;
            float *row = s->tile + ((size_t)h * (size_t)n + (size_t)r) * (size_t)keys;
            float *cells = s->cells + ((size_t)(i + h) * (size_t)p->rows +
                                       (size_t)heatmap_cell(q - p->q0, p->q1 - p->q0, p->rows)) *
                                          (size_t)p->columns;
            /* What a query cannot see is absent, not 0: the part behind its own key. */
            for (int c = 0; c < p->columns; c++) {
                int a = p->k0 + heatmap_first(c, p->k1 - p->k0, p->columns);
                int b = p->k0 + heatmap_first(c + 1, p->k1 - p->k0, p->columns);
                b = b < end ? b : end;
                if (a < b)
                    heatmap_pool(row + a, b - a, &cells[c], 1, true);
            }
        }
    return true;
}

static bool read_tile(struct attention_scan *s, struct session *session, int op, int n,
                      struct error *err)
{
    for (int i = 0, run; i < s->spec.n_heads; i += run) {
        run = 1;
        while (i + run < s->spec.n_heads && s->heads[i + run] == s->heads[i] + run)
            run++;
        if (!read_heads(s, session, op, i, run, n, err))
            return false;
    }
    return true;
}

bool scan_run(struct attention_scan *s, struct session *session, double deadline, bool *more,
              struct error *err)
{
    const struct scan_spec *p = &s->spec;
    int op = program_find(&session->model.program, SITE_PATTERN, p->layer);
    bool ok = true;
    if (op < 0 || p->n_heads == 0)
        return true;
    int end = session_known(session, op);
    end = end < p->q1 ? end : p->q1;
    /* Queries before the first key see nothing of it. */
    s->next = s->next < p->k0 ? (p->k0 < p->q1 ? p->k0 : p->q1) : s->next;
    while (ok && s->next < end) {
        size_t row = (size_t)p->n_heads * (size_t)end, most = TILE_FLOATS / row + 1;
        int n = s->tile_rows;
        n = (size_t)n < most ? n : (int)most;
        n = n < end - s->next ? n : end - s->next;
        double start = numeric_seconds();
        float *tile =
            mem_resize(s->ledger, MEM_VIEWS, s->tile, row * (size_t)n * sizeof *tile, err);
        if (!tile)
            return false;
        s->tile = tile;
        ok = read_tile(s, session, op, n, err);
        if (!ok)
            break;
        s->next += n;
        if (numeric_seconds() - start < REFRESH_SECONDS / 4 && s->tile_rows < TILE_MOST)
            s->tile_rows *= 2;
        if (s->next < end && !numeric_go_on(session, deadline, more, &ok, err))
            break;
    }
    if (s->next >= end || !ok) {
        mem_free(s->ledger, s->tile);
        s->tile = NULL;
    }
    return ok;
}

const float *scan_head(const struct attention_scan *s, int head)
{
    size_t each = (size_t)s->spec.rows * (size_t)s->spec.columns;
    for (int i = 0; s->cells && i < s->spec.n_heads; i++)
        if (s->heads[i] == head)
            return s->cells + (size_t)i * each;
    return NULL;
}
