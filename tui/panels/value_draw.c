#include "tui/panels/value_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void put_index(char *out, size_t n, int index)
{
    if (index < 0)
        snprintf(out, n, ":");
    else
        snprintf(out, n, "%d", index);
}

/* "1.z[5,3,:]  was", the axis that < and > act on underlined. */
static void draw_slice(const struct value_panel *v, struct region r)
{
    const struct theme *t = v->base.view->theme;
    struct style plain = theme_style(t, ROLE_TITLE), chosen = theme_style(t, ROLE_SELECTED);
    char name[64], index[3][16];
    int axes[3], n = 0;
    put_index(index[0], sizeof index[0], v->position);
    put_index(index[1], sizeof index[1], v->row);
    put_index(index[2], sizeof index[2], v->column);
    /* Of patterns the head comes before the position. */
    if (v->wide)
        axes[n++] = 1;
    axes[n++] = 0;
    if (v->n_axes == 2 && !v->wide)
        axes[n++] = 1;
    axes[n++] = 2;
    int last = v->n_axes; /* the number of the last axis, in v->axis */
    int x = region_text(r, 0, 0, r.w, site_short_name(v->site, v->layer, name), plain);
    for (int i = 0; i < n; i++) {
        int number = axes[i] == 2 ? last : axes[i];
        x += region_text(r, x, 0, r.w - x, i ? "," : "[", plain);
        x += region_text(r, x, 0, r.w - x, index[axes[i]], v->axis == number ? chosen : plain);
    }
    x += region_text(r, x, 0, r.w - x, "]  ", plain);
    region_text_cut(r, x, 0, r.w - x, v->label, theme_sign(t, SIGN_ELLIPSIS),
                    theme_style(t, ROLE_DIM));
}

/* The element under the cursor. */
static void draw_cursor(const struct value_panel *v, struct region r)
{
    const struct theme *t = v->base.view->theme;
    char number[NUMBER_BYTES], at[64];
    int row = v->row >= 0 ? v->row : v->at / v->slice_columns;
    int column = v->column >= 0 ? v->column : v->at % v->slice_columns;
    if (v->n_axes == 1)
        snprintf(at, sizeof at, "[%d,%d]", v->position, column);
    else if (v->wide)
        snprintf(at, sizeof at, "[%d,%d,%d]", row, v->position, column);
    else
        snprintf(at, sizeof at, "[%d,%d,%d]", v->position, row, column);
    int x = region_text(r, 0, 0, r.w, at, theme_style(t, ROLE_DIM));
    snprintf(number, sizeof number, " = %.9g", (double)v->data[v->at]);
    region_text(r, x, 0, r.w - x, number, theme_style(t, ROLE_TITLE));
}

static struct style style_of(const struct theme *t, float x)
{
    return theme_style(t, isnan(x) || isinf(x) ? ROLE_ERROR : x < 0 ? ROLE_NEGATIVE : ROLE_TEXT);
}

static void draw_numbers(const struct value_panel *v, struct region r)
{
    const struct theme *t = v->base.view->theme;
    char number[NUMBER_BYTES];
    int width = r.w > VALUE_INDEX_W + 3 ? VALUE_INDEX_W : 0;
    for (int y = 0; y < r.h && v->top + y < v->lines; y++) {
        int first = (v->top + y) * v->stride + v->left, end = (v->top + y + 1) * v->stride;
        bool matrix = v->stride == v->slice_columns && v->slice_rows > 1;
        if (width)
            region_printf(r, 0, y, theme_style(t, ROLE_DIM), "%5d", matrix ? v->top + y : first);
        for (int i = 0; i < v->per_line && first + i < end && first + i < v->count; i++) {
            float x = v->data[first + i];
            bool here = first + i == v->at;
            struct style s = here ? theme_style(t, ROLE_SELECTED) : style_of(t, x);
            numeric_format((double)x, VALUE_NUMBER_W - 2, number);
            int at = width + i * VALUE_NUMBER_W;
            region_printf(r, at, y, s, "%s%*s", here ? theme_sign(t, SIGN_CURSOR) : " ",
                          VALUE_NUMBER_W - 2, number);
        }
    }
}

static void draw_statistics(const struct value_panel *v, struct region r)
{
    const struct theme *t = v->base.view->theme;
    struct style name = theme_style(t, ROLE_DIM), text = theme_style(t, ROLE_TEXT);
    double mean = v->summary.mean, sum = 0;
    size_t zeros = 0, n = 0;
    for (int i = 0; i < v->count; i++) {
        double x = (double)v->data[i];
        zeros += x == 0;
        n += isfinite(x);
        sum += isfinite(x) ? (x - mean) * (x - mean) : 0;
    }
    struct {
        const char *name;
        char value[64];
    } line[9];
    int k = 0;
#define LINE(what, ...)                                                                            \
    (line[k].name = (what), snprintf(line[k].value, sizeof line[k].value, __VA_ARGS__), k++)
    if (v->n_axes == 2)
        LINE("shape", "[%d, %d]", v->slice_rows, v->slice_columns);
    else
        LINE("shape", "[%d]", v->slice_columns);
    if (v->min_at >= 0) {
        LINE("min", "%.6g at %d", v->low, v->min_at);
        LINE("max", "%.6g at %d", v->high, v->max_at);
        LINE("mean", "%.6g", mean);
        LINE("std", "%.6g", n ? sqrt(sum / (double)n) : 0.0);
        LINE("norm", "%.6g", v->summary.norm);
    }
    LINE("NaN", "%zu", v->summary.n_nan);
    LINE("inf", "%zu", v->summary.n_inf);
    LINE("zeros", "%zu", zeros);
#undef LINE
    for (int i = 0; i < k && i < r.h; i++) {
        bool bad = (strcmp(line[i].name, "NaN") == 0 && v->summary.n_nan) ||
                   (strcmp(line[i].name, "inf") == 0 && v->summary.n_inf);
        region_text(r, 0, i, r.w, line[i].name, name);
        region_text(r, 7, i, r.w - 7, line[i].value, bad ? theme_style(t, ROLE_ERROR) : text);
    }
}

static void draw_histogram(const struct value_panel *v, struct region r)
{
    const struct theme *t = v->base.view->theme;
    char number[NUMBER_BYTES];
    if (v->min_at < 0) {
        numeric_words(r, "no finite number", theme_style(t, ROLE_DIM));
        return;
    }
    for (int i = 0; i < v->n_bins && i < r.h; i++) {
        double from = v->low + (v->high - v->low) * i / v->n_bins;
        region_printf(r, 0, i, theme_style(t, ROLE_DIM), "%9s", numeric_format(from, 9, number));
        region_printf(r, 10, i, theme_style(t, ROLE_TEXT), "%6ld", v->bins[i]);
        numeric_bar(t, r, 17, i, r.w - 17, (double)v->bins[i] / (double)(v->most ? v->most : 1),
                    theme_style(t, from < 0 ? ROLE_NEGATIVE : ROLE_POSITIVE));
    }
}

static void draw_heatmap(const struct value_panel *v, struct region r)
{
    struct heatmap m = {.rows = v->map_rows,
                        .columns = v->map_columns,
                        .values = v->cells,
                        .cursor_row = -1,
                        .cursor_column = -1};
    if (!v->cells)
        return;
    m.scale = v->site == SITE_PATTERN        ? HEAT_UNIT
              : v->min_at >= 0 && v->low < 0 ? HEAT_SIGNED
                                             : HEAT_POSITIVE;
    if (v->wrapped) {
        int cell = heatmap_cell(v->at, v->count, v->pooled);
        m.cursor_row = cell / v->map_columns;
        m.cursor_column = cell % v->map_columns;
    } else {
        m.cursor_row = heatmap_cell(v->at / v->slice_columns, v->slice_rows, v->map_rows);
        m.cursor_column = heatmap_cell(v->at % v->slice_columns, v->slice_columns, v->map_columns);
    }
    heatmap_draw(v->base.view->theme, &m, r);
}

void value_draw(const struct panel *p, struct region r, bool focused)
{
    const struct value_panel *v = (const struct value_panel *)p;
    const struct theme *t = p->view->theme;
    (void)focused;
    region_fill(r, theme_style(t, ROLE_TEXT));
    if (v->count == 0) {
        numeric_words(r, v->words[0] ? v->words : "nothing read yet", theme_style(t, ROLE_DIM));
        return;
    }
    struct region body = region_part(r, 0, 0, r.w, v->body_h);
    if (r.h > 4) {
        draw_slice(v, region_part(r, 0, 0, r.w, 1));
        body = region_part(r, 0, 1, r.w, r.h - 2);
    }
    if (r.h > 1)
        draw_cursor(v, region_part(r, 0, r.h - 1, r.w, 1));
    switch (v->mode) {
    case VALUE_STATISTICS:
        draw_statistics(v, body);
        break;
    case VALUE_HISTOGRAM:
        draw_histogram(v, body);
        break;
    case VALUE_HEATMAP:
        draw_heatmap(v, body);
        break;
    default:
        draw_numbers(v, body);
        break;
    }
}
