#include "tui/panels/residual_parts.h"

#include <math.h>
#include <stdio.h>

static void draw_name(const struct residual_panel *p, struct region r, int y, int row)
{
    const struct theme *t = p->base.view->theme;
    bool here = row == p->line;
    struct style s = theme_style(t, here ? ROLE_SELECTED : ROLE_DIM);
    if (row == 0)
        region_text(r, 0, y, RESIDUAL_LABEL_W - 1, "emb", s);
    else
        region_printf(r, 0, y, s, "%d", row - 1);
    if (here)
        region_put(r, RESIDUAL_LABEL_W - 2, y, theme_sign(t, SIGN_CURSOR), s);
}

/* ---- the bars ---- */

/* Columns by what there is room for; 0: not shown. */
struct columns {
    int norm, bar, attn, attn_along, mlp, mlp_along, cosine; /* where they begin */
    int bar_w;
};

#define NUMBER_W 7

static struct columns choose_columns(int w)
{
    struct columns c = {.norm = RESIDUAL_LABEL_W};
    int fields = w >= 60 ? 5 : w >= 36 ? 3 : w >= 25 ? 2 : 0;
    int at = w - fields * NUMBER_W;
    c.bar = c.norm + NUMBER_W;
    c.bar_w = at - c.bar > 0 ? at - c.bar : 0;
    if (fields == 5) {
        c.attn = at;
        c.mlp = at + 2 * NUMBER_W;
        c.attn_along = c.attn + NUMBER_W;
        c.mlp_along = c.mlp + NUMBER_W;
    } else if (fields) {
        c.attn_along = at;
        c.mlp_along = at + NUMBER_W;
    }
    if (fields == 5 || fields == 3)
        c.cosine = w - NUMBER_W;
    return c;
}

static void put(const struct theme *t, struct region r, int x, int y, bool has, double v, bool sign)
{
    char number[NUMBER_BYTES], out[NUMBER_BYTES + 1];
    if (x == 0)
        return;
    if (!has || isnan(v)) {
        region_printf(r, x, y, theme_style(t, ROLE_DIM), "%*s", NUMBER_W - 1,
                      has && !sign ? "NaN" : ".");
        return;
    }
    numeric_format(v, NUMBER_W - 2, number);
    snprintf(out, sizeof out, "%s%s", sign && v > 0 ? "+" : "", number);
    region_printf(r, x, y,
                  theme_style(t, !sign   ? ROLE_TEXT
                                 : v < 0 ? ROLE_NEGATIVE
                                         : ROLE_POSITIVE),
                  "%*s", NUMBER_W - 1, out);
}

static void head(const struct theme *t, struct region r, int x, const char *what)
{
    if (x > 0)
        region_printf(r, x, 0, theme_style(t, ROLE_DIM), "%*s", NUMBER_W - 1, what);
}

static void draw_bars(const struct residual_panel *p, struct region r)
{
    const struct theme *t = p->base.view->theme;
    struct columns c = choose_columns(r.w);
    double most = 0;
    int y0 = r.h > 1;
    for (int i = 0; i < p->n_rows; i++)
        if (p->row[i].has_norm && isfinite(p->row[i].norm))
            most = fmax(most, p->row[i].norm);
    if (y0) {
        head(t, r, c.norm, "norm");
        head(t, r, c.attn, "|attn|");
        head(t, r, c.mlp, "|mlp|");
        head(t, r, c.attn_along, "attn");
        head(t, r, c.mlp_along, "mlp");
        head(t, r, c.cosine, "cos");
    }
    for (int i = 0; i < p->body && p->top + i < p->n_rows; i++) {
        const struct residual_row *row = &p->row[p->top + i];
        int y = y0 + i;
        draw_name(p, r, y, p->top + i);
        put(t, r, c.norm, y, row->has_norm, row->norm, false);
        if (row->has_norm && most > 0 && c.bar_w > 1)
            numeric_bar(t, r, c.bar, y, c.bar_w - 1, row->norm / most,
                        theme_style(t, p->top + i == p->line ? ROLE_SELECTED : ROLE_TEXT));
        if (p->top + i > 0) {
            put(t, r, c.attn, y, row->has_attn, row->attn, false);
            put(t, r, c.attn_along, y, row->has_attn, row->attn_along, true);
            put(t, r, c.mlp, y, row->has_mlp, row->mlp, false);
            put(t, r, c.mlp_along, y, row->has_mlp, row->mlp_along, true);
        }
        put(t, r, c.cosine, y, row->has_norm, row->cosine, true);
    }
    const char *legend = p->has_direction ? "attn, mlp: along the last residual"
                                          : "attn, mlp: the last residual is to come";
    char line[64 + LABEL_BYTES];
    snprintf(line, sizeof line, "%d %s  %s", p->position, p->label, legend);
    /* The title tells the position, too. */
    bool fits = text_columns(line) <= r.w;
    if (r.h > 2)
        region_text_cut(r, 0, r.h - 1, r.w, fits ? line : legend, theme_sign(t, SIGN_ELLIPSIS),
                        theme_style(t, ROLE_DIM));
}

/* ---- the map ---- */

/* "3 was  after 1  norm 9.03", "rank 3 of one". */
static void draw_info(const struct residual_panel *p, struct region r, float value)
{
    const struct theme *t = p->base.view->theme;
    char what[120], number[NUMBER_BYTES];
    int cell = heatmap_cell(p->position, p->n, p->spec.columns);
    int first = heatmap_first(cell, p->n, p->spec.columns);
    int last = heatmap_first(cell + 1, p->n, p->spec.columns) - 1;
    bool none = isinf(value) && value < 0;
    if (none)
        snprintf(what, sizeof what, "%s",
                 first >= p->next_position && p->reading ? "not read yet" : "not computed");
    else if (p->mode == RESIDUAL_NORM)
        snprintf(what, sizeof what, "norm %s", numeric_format((double)value, 8, number));
    else if (p->mode == RESIDUAL_RANK)
        snprintf(what, sizeof what, "rank %.0f", residual_rank_of((double)value));
    else
        snprintf(what, sizeof what, "p %s", numeric_probability((double)value, number));
    int x = region_text(r, 0, 0, r.w, what, theme_style(t, ROLE_TITLE));
    if (last > first)
        snprintf(what, sizeof what, "  %s of %d-%d", p->mode == RESIDUAL_RANK ? "best" : "max",
                 first, last);
    else if (p->mode == RESIDUAL_NORM || !p->target[0])
        snprintf(what, sizeof what, "  %d %s", p->position, p->label);
    else
        snprintf(what, sizeof what, " of %s  %d %s", p->target, p->position, p->label);
    x += region_text(r, x, 0, r.w - x, what, theme_style(t, ROLE_TEXT));
    if (p->line == 0)
        region_text(r, x, 0, r.w - x, "  embedded", theme_style(t, ROLE_TEXT));
    else
        region_printf(r, x, 0, theme_style(t, ROLE_TEXT), "  after %d", p->line - 1);
}

static void draw_map(const struct residual_panel *p, struct region r)
{
    const struct theme *t = p->base.view->theme;
    const struct residual_map_spec *s = &p->spec;
    int y0 = r.h > 2, room = r.h > 2 ? r.h - 2 : r.h > 1 ? r.h - 1 : 1;
    if (!p->cells || s->columns < 1 || s->mode != p->mode)
        return;
    int per_line = s->rows > room ? 2 : 1, lines = (s->rows + per_line - 1) / per_line;
    int row = p->line - s->top, column = heatmap_cell(p->position, p->n, s->columns);
    struct heatmap m = {.rows = s->rows,
                        .columns = s->columns,
                        .values = p->shown,
                        .scale = HEAT_UNIT,
                        .cursor_row = row,
                        .cursor_column = column};
    if (y0)
        region_printf(r, RESIDUAL_LABEL_W, 0, theme_style(t, ROLE_DIM), "0 .. %d", p->n - 1);
    for (int i = 0; i < s->rows; i += per_line)
        draw_name(p, r, y0 + i / per_line,
                  per_line == 2 && row == i + 1 ? s->top + i + 1 : s->top + i);
    heatmap_draw(t, &m, region_part(r, RESIDUAL_LABEL_W, y0, r.w - RESIDUAL_LABEL_W, lines));
    if (r.h > 1 && row >= 0 && row < s->rows)
        draw_info(p, region_part(r, 0, r.h - 1, r.w, 1), p->cells[row * s->columns + column]);
}

void residual_draw(const struct panel *panel, struct region r, bool focused)
{
    const struct residual_panel *p = (const struct residual_panel *)panel;
    const struct theme *t = panel->view->theme;
    (void)focused;
    region_fill(r, theme_style(t, ROLE_TEXT));
    if (p->n == 0)
        numeric_words(r, p->words[0] ? p->words : "nothing read yet", theme_style(t, ROLE_DIM));
    else if (p->mode == RESIDUAL_BARS)
        draw_bars(p, r);
    else
        draw_map(p, r);
}
