#include "tui/panels/residual_parts.h"

#include "engine/analysis/lens.h"
#include "engine/analysis/top_read.h"

#include <math.h>
#include <string.h>

#define TILE_POSITIONS 64 /* read at once */

double residual_rank_of(double cell)
{
    return round(1 / cell - 1);
}

bool residual_target(const struct session *s, int32_t chosen, int position, int32_t *target,
                     struct error *err)
{
    struct trace *t = (struct trace *)&s->trace;
    *target = chosen;
    if (chosen >= 0)
        return true;
    if (position + 1 < t->n_ids) {
        *target = t->ids[position + 1];
        return true;
    }
    int op = program_find(&s->model.program, SITE_LOGITS, 0);
    if (op < 0 || !trace_has(t, position, op))
        return true;
    struct top_ask ask = {.n_best = 1};
    struct top_row row;
    struct top_entry best;
    if (!top_read(t, op, position, 1, &ask, &row, &best, err))
        return false;
    *target = best.id;
    return true;
}

/* What the lens says of each row's target, into out[n]. */
static bool lens_values(struct residual_panel *p, struct session *s, const float *rows, int first,
                        int n, float *out, struct error *err)
{
    bool rank = p->spec.mode == RESIDUAL_RANK, ok = true;
    int32_t targets[TILE_POSITIONS];
    struct top_row found[TILE_POSITIONS];
    struct top_entry none;
    struct top_ask ask = {.probabilities = !rank, .targets = targets};
    for (int i = 0; ok && i < n; i++)
        ok = residual_target(s, p->spec.target, first + i, &targets[i], err);
    ok = ok && lens_top(&s->trace, rows, (size_t)n, &ask, found, &none, err);
    for (int i = 0; ok && i < n; i++)
        out[i] = targets[i] < 0 ? -INFINITY
                 : rank         ? 1.0f / (1.0f + (float)found[i].rank)
                                : (float)found[i].target.probability;
    return ok;
}

static void norms(const float *rows, int n, size_t d, float *out)
{
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (size_t k = 0; k < d; k++)
            sum += (double)rows[(size_t)i * d + k] * (double)rows[(size_t)i * d + k];
        out[i] = (float)sqrt(sum);
    }
}

/* Positions first .. first + n of one row, into their cells. */
static bool read_part(struct residual_panel *p, struct session *s, int row, int first, int n,
                      struct error *err)
{
    size_t d = (size_t)s->model.config.d_model;
    int op = residual_op(s, p->spec.top + row, first + n - 1);
    if (op < 0 || !trace_has(&s->trace, first + n - 1, op))
        return true;
    float *rows = mem_alloc_array(s->ledger, MEM_VIEWS, (size_t)n * (d + 1), sizeof *rows, err);
    float *out = rows ? rows + (size_t)n * d : NULL;
    bool ok = rows && trace_read(&s->trace, op, first, n, 0, 0, 0, rows, err);
    if (ok && p->spec.mode == RESIDUAL_NORM)
        norms(rows, n, d, out);
    else if (ok)
        ok = lens_values(p, s, rows, first, n, out, err);
    for (int i = 0; ok && i < n; i++)
        heatmap_pool(out + i, 1,
                     p->cells + row * p->spec.columns +
                         heatmap_cell(first + i, p->spec.n, p->spec.columns),
                     1, true);
    mem_free(s->ledger, rows);
    return ok;
}

/* Cells as parts of [0, 1], for the eye: norms and ranks span too much for a straight scale. */
static void scale(struct residual_panel *p)
{
    int n = p->spec.rows * p->spec.columns;
    double low = INFINITY, high = 0;
    for (int i = 0; i < n; i++)
        if (isfinite(p->cells[i]) && p->cells[i] > 0) {
            low = fmin(low, (double)p->cells[i]);
            high = fmax(high, (double)p->cells[i]);
        }
    for (int i = 0; i < n; i++) {
        double x = (double)p->cells[i];
        p->shown[i] = p->cells[i];
        if (!isfinite(x) || p->spec.mode == RESIDUAL_PROBABILITY)
            continue;
        if (p->spec.mode == RESIDUAL_RANK)
            x = 1 + log(x) / log((double)p->n_vocab + 1);
        else
            x = x <= 0 ? 0 : high > low ? log(x / low) / log(high / low) : 1;
        p->shown[i] = (float)x;
    }
}

static bool start(struct residual_panel *p, const struct residual_map_spec *want, struct error *err)
{
    struct ledger *l = p->base.view->ledger;
    const struct residual_map_spec *o = &p->spec;
    if (p->cells && o->stamp == want->stamp && o->mode == want->mode && o->target == want->target &&
        o->n == want->n && o->top == want->top && o->rows == want->rows &&
        o->columns == want->columns)
        return true;
    size_t n = (size_t)want->rows * (size_t)want->columns;
    mem_free(l, p->cells);
    p->shown = NULL;
    p->cells = mem_alloc_array(l, MEM_VIEWS, 2 * n, sizeof *p->cells, err);
    if (!p->cells)
        return false;
    p->shown = p->cells + n;
    for (size_t i = 0; i < 2 * n; i++)
        p->cells[i] = -INFINITY;
    p->spec = *want;
    p->next_position = p->next_row = 0;
    return true;
}

bool residual_map_read(struct residual_panel *p, struct session *s, int columns, double deadline,
                       struct error *err)
{
    const struct selection *sel = &p->base.view->selection;
    bool lens = p->mode != RESIDUAL_NORM;
    struct residual_map_spec want = {.stamp = numeric_stamp(p->base.view),
                                     .mode = p->mode,
                                     .target = lens && sel->chosen ? sel->token : -1,
                                     .n = p->n,
                                     .top = p->top,
                                     .rows = p->body,
                                     .columns = columns};
    if (want.rows < 1 || want.columns < 1)
        return true;
    if (!start(p, &want, err))
        return false;
    int done = trace_rows(&s->trace);
    bool ok = true, more = false;
    while (ok && p->next_position < done) {
        int n = numeric_least(TILE_POSITIONS, done - p->next_position);
        /* The last position's token is not known until its logits are. */
        ok = read_part(p, s, p->next_row, p->next_position, n, err);
        if (!ok)
            break;
        if (++p->next_row == p->spec.rows) {
            p->next_row = 0;
            p->next_position += n;
        }
        if (p->next_position < done && !numeric_go_on(s, deadline, &more, &ok, err))
            break;
    }
    /* The position that is being stepped: what of it there is, each time. */
    for (int i = 0; ok && !more && done < p->n && i < p->spec.rows; i++)
        ok = read_part(p, s, i, done, 1, err);
    p->reading = more;
    scale(p);
    return ok;
}
