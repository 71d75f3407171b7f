#include "tui/panels/attention_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- all heads ---- */

static void tile_place(const struct attention_panel *a, int i, int *x, int *y)
{
    const struct attention_place *p = &a->place;
    *x = i % p->per_row * (p->tile_w + (p->tile_h > 0));
    *y = i / p->per_row * (p->tile_h + 1);
}

int attention_head_at(const struct attention_panel *a, int x, int y)
{
    const struct attention_place *p = &a->place;
    for (int i = 0; i < p->n_tiles; i++) {
        int tx, ty;
        tile_place(a, i, &tx, &ty);
        if (x >= tx && x < tx + p->tile_w && y >= ty && y < ty + p->tile_h + 1)
            return p->first_head + i;
    }
    return -1;
}

/* "[3]" under the cursor, "3*" where it is shown large. */
static void draw_name(const struct attention_panel *a, struct region r, int i)
{
    const struct view *v = a->base.view;
    int head = a->place.first_head + i, x, y;
    char name[24];
    bool large = v->selection.large && v->selection.large[head];
    tile_place(a, i, &x, &y);
    snprintf(name, sizeof name, head == a->head ? "[%d]%s" : " %d%s", head, large ? "*" : "");
    region_text(r, x, y, a->place.tile_w, name,
                theme_style(v->theme, head == a->head ? ROLE_SELECTED
                                      : large         ? ROLE_TITLE
                                                      : ROLE_DIM));
}

static void draw_strip(const struct attention_panel *a, struct region r)
{
    const struct attention_place *p = &a->place;
    const struct attention_scan *s = &a->strip;
    for (int i = 0; i < p->n_tiles; i++) {
        const float *cells = p->tile_h > 0 ? scan_head(s, p->first_head + i) : NULL;
        int x, y;
        tile_place(a, i, &x, &y);
        draw_name(a, r, i);
        if (!cells)
            continue;
        struct heatmap m = {.rows = s->spec.region.rows,
                            .columns = s->spec.region.columns,
                            .values = cells,
                            .scale = HEAT_UNIT,
                            .cursor_row = -1,
                            .cursor_column = -1};
        heatmap_draw(a->base.view->theme, &m, region_part(r, x, y + 1, p->tile_w, p->tile_h));
    }
}

/* ---- the chosen ones ---- */

static struct region map_region(const struct attention_panel *a, struct region r, int i)
{
    const struct attention_place *p = &a->place;
    return region_part(r, i * p->each_w + p->label_w, p->y + p->head_h, p->map_w, p->map_h);
}

bool attention_cell_at(const struct attention_panel *a, int x, int y, int *head, int *row,
                       int *column)
{
    const struct attention_place *p = &a->place;
    struct heatmap m = {.rows = p->rows, .columns = p->columns};
    for (int i = 0; i < p->n_maps && p->columns > 0; i++) {
        *head = a->maps[i];
        if (heatmap_at(a->base.view->theme, &m, p->map_w, p->map_h, x - i * p->each_w - p->label_w,
                       y - p->y - p->head_h, row, column))
            return true;
    }
    return false;
}

/* Labels of the queries left of a map, and of the keys above it, as many as there is room for. */
static void draw_labels(const struct attention_panel *a, struct region r, int i, int row,
                        int column)
{
    const struct attention_place *p = &a->place;
    const struct theme *t = a->base.view->theme;
    const char *cut = theme_sign(t, SIGN_ELLIPSIS);
    struct style dim = theme_style(t, ROLE_DIM), here = theme_style(t, ROLE_SELECTED);
    int x0 = i * p->each_w, y0 = p->y + p->head_h;
    int per_value = p->rows > p->map_h ? 2 : 1, lines = p->rows > p->map_h ? 1 : p->map_h / p->rows;
    for (int k = 0; p->label_w > 1 && k < p->rows; k += per_value)
        region_text_cut(r, x0, y0 + k / per_value * lines, p->label_w - 1, a->labels[k], cut,
                        row / per_value == k / per_value ? here : dim);
    if (p->head_h < 2)
        return;
    int cell_w = p->map_w / p->columns, every = cell_w >= 3 ? 1 : (5 + cell_w) / cell_w;
    for (int k = 0; k < p->columns; k += every) {
        bool under = column >= k && column < k + every;
        int left = (p->columns - k) * cell_w, room = every * cell_w - 1;
        region_text_cut(r, x0 + p->label_w + k * cell_w, y0 - 1, room < left ? room : left,
                        a->labels[p->rows + (under ? column : k)], cut, under ? here : dim);
    }
}

static void draw_maps(const struct attention_panel *a, struct region r)
{
    const struct attention_place *p = &a->place;
    const struct theme *t = a->base.view->theme;
    int row = -1, column = -1;
    attention_cursor_cell(a, &row, &column);
    for (int i = 0; i < p->n_maps && p->columns > 0; i++) {
        const float *cells = scan_head(&a->large, a->maps[i]);
        struct heatmap m = {.rows = p->rows,
                            .columns = p->columns,
                            .values = cells,
                            .scale = HEAT_UNIT,
                            .cursor_row = row,
                            .cursor_column = column};
        if (!cells || a->large.spec.region.rows != p->rows ||
            a->large.spec.region.columns != p->columns)
            continue;
        if (p->head_h > 0)
            region_printf(r, i * p->each_w, p->y,
                          theme_style(t, a->maps[i] == a->head ? ROLE_SELECTED : ROLE_TITLE), "H%d",
                          a->maps[i]);
        if (a->label_rows == p->rows && a->label_columns == p->columns)
            draw_labels(a, r, i, row, column);
        heatmap_draw(t, &m, map_region(a, r, i));
    }
}

/* ---- edges ---- */

static void draw_edges(const struct attention_panel *a, struct region r)
{
    const struct attention_place *p = &a->place;
    const struct theme *t = a->base.view->theme;
    bool from = a->mode == ATTENTION_FROM;
    char number[NUMBER_BYTES];
    region_printf(r, 0, p->y, theme_style(t, ROLE_TITLE),
                  from ? "H%d  from %d %s" : "H%d  into %d %s", a->head, from ? a->query : a->key,
                  from ? a->query_label : a->key_label);
    if (a->n_edges == 0 || a->edges_of != a->mode) {
        numeric_words(region_part(r, 0, p->y + 1, r.w, p->h - 1), "nothing read yet",
                      theme_style(t, ROLE_DIM));
        return;
    }
    for (int i = 0; i < p->h - 1 && i < a->n_edge_labels; i++) {
        const struct edge *e = &a->edges[a->edge_top + i];
        bool here = a->edge_top + i == a->edge_at;
        struct style s = theme_style(t, here ? ROLE_SELECTED : ROLE_TEXT);
        int y = p->y + 1 + i;
        region_put(r, 0, y, here ? theme_sign(t, SIGN_CURSOR) : " ", s);
        region_text(r, 1, y, 5, numeric_probability((double)e->weight, number), s);
        int x = 6 + region_printf(r, 6, y, s, "%s %-5d", from ? "k" : "q", e->at) + 1;
        x += region_text_cut(r, x, y, 14, a->edge_labels[i], theme_sign(t, SIGN_ELLIPSIS), s);
        x = x < 28 ? 28 : x + 1;
        if (r.w - x > 3 && isfinite(e->weight))
            numeric_bar(t, r, x, y, r.w - x, (double)e->weight, theme_style(t, ROLE_POSITIVE));
    }
}

/* ---- the value under the cursor ---- */

static void draw_info(const struct attention_panel *a, struct region r)
{
    const struct attention_place *p = &a->place;
    const struct view *v = a->base.view;
    char what[200], q[64], k[64], number[NUMBER_BYTES];
    int row, column;
    const float *cells = scan_head(&a->large, a->head);
    bool inside = attention_cursor_cell(a, &row, &column);
    snprintf(q, sizeof q, "%d %s", a->query, a->query_label);
    snprintf(k, sizeof k, "%d %s", a->key, a->key_label);
    if (inside) {
        int nq = a->q1 - a->q0, nk = a->k1 - a->k0;
        int qa = a->q0 + heatmap_first(row, nq, p->rows);
        int qb = a->q0 + heatmap_first(row + 1, nq, p->rows) - 1;
        int ka = a->k0 + heatmap_first(column, nk, p->columns);
        int kb = a->k0 + heatmap_first(column + 1, nk, p->columns) - 1;
        if (qb > qa)
            snprintf(q, sizeof q, "%d-%d", qa, qb);
        if (kb > ka)
            snprintf(k, sizeof k, "%d-%d", ka, kb);
        bool there = cells && a->large.spec.region.rows == p->rows &&
                     a->large.spec.region.columns == p->columns;
        float value = there ? cells[row * p->columns + column] : -INFINITY;
        if (isinf(value) && value < 0)
            snprintf(number, sizeof number, "%s",
                     ka > qb                   ? "not seen"
                     : qa >= a->known          ? "not computed"
                     : qa >= a->large.map.next ? "not read yet"
                                               : "none");
        else
            numeric_format((double)value, 7, number);
        snprintf(what, sizeof what, "%sH%d  q %s  k %s", qb > qa || kb > ka ? "max  " : "", a->head,
                 q, k);
    } else {
        snprintf(number, sizeof number, "outside");
        snprintf(what, sizeof what, "H%d  q %s  k %s", a->head, q, k);
    }
    struct style s = theme_style(v->theme, ROLE_TEXT);
    int x = region_text(r, 0, 0, r.w, number, theme_style(v->theme, ROLE_TITLE));
    region_text_cut(r, x + 2, 0, r.w - x - 2, what, theme_sign(v->theme, SIGN_ELLIPSIS), s);
}

void attention_draw(const struct panel *panel, struct region r, bool focused)
{
    const struct attention_panel *a = (const struct attention_panel *)panel;
    const struct theme *t = panel->view->theme;
    (void)focused;
    region_fill(r, theme_style(t, ROLE_TEXT));
    if (a->words[0] || a->n == 0) {
        numeric_words(r, a->words[0] ? a->words : "nothing read yet", theme_style(t, ROLE_DIM));
        return;
    }
    draw_strip(a, r);
    if (a->mode == ATTENTION_MAP)
        draw_maps(a, r);
    else
        draw_edges(a, r);
    if (a->place.info && a->mode == ATTENTION_MAP)
        draw_info(a, region_part(r, 0, r.h - 1, r.w, 1));
    else if (a->place.info && a->reading)
        region_printf(r, 0, r.h - 1, theme_style(t, ROLE_DIM), "read %d of %d", a->list.map.next,
                      a->list.spec.region.q1);
}
