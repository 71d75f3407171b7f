#include "tui/heatmap.h"

#include "kernels/kernels.h"

#include <math.h>

#define LOWER_HALF "\xe2\x96\x84"

/* ---- from many values to few cells ---- */

int heatmap_first(int i, int n, int n_cells)
{
    return cell_first(i, n, n_cells);
}

int heatmap_cell(int i, int n, int n_cells)
{
    return cell_of(i, n, n_cells);
}

/* Whether x has to be seen rather than y. A NaN before all, an absent value after all. */
static bool stands_out(float x, float y)
{
    if (isnan(y) || (isinf(x) && x < 0))
        return false;
    return isnan(x) || (isinf(y) && y < 0) || fabsf(x) > fabsf(y);
}

void heatmap_pool(const float *values, int n, float *cells, int n_cells, bool merge)
{
    for (int i = 0; i < n_cells; i++) {
        int first = heatmap_first(i, n, n_cells), end = heatmap_first(i + 1, n, n_cells);
        float best = merge ? cells[i] : -INFINITY;
        /* Fewer values than cells: some values are shown twice. */
        for (int k = first; k < n && (k < end || k == first); k++)
            if (stands_out(values[k], best))
                best = values[k];
        cells[i] = best;
    }
}

/* ---- drawing ---- */

static bool has_halves(const struct theme *t)
{
    return t->colours > 0 && theme_sign(t, SIGN_HALF)[0];
}

int heatmap_rows(const struct theme *t, int h)
{
    return has_halves(t) ? 2 * h : h;
}

/* How large one value is: columns, and lines or half lines. */
struct extent {
    int columns, lines;
    bool half; /* lines counts halves, and is 1 */
};

static struct extent extent_of(const struct theme *t, const struct heatmap *m, int w, int h)
{
    struct extent e = {.columns = 1, .lines = 1};
    if (m->columns > 0 && w > m->columns)
        e.columns = w / m->columns;
    if (m->rows > 0 && h >= m->rows)
        e.lines = h / m->rows;
    else
        e.half = has_halves(t);
    return e;
}

static double limit_of(const struct heatmap *m)
{
    double most = 0;
    if (m->limit > 0)
        return m->limit;
    if (m->scale == HEAT_UNIT)
        return 1;
    for (size_t i = 0; i < (size_t)m->rows * (size_t)m->columns; i++)
        if (isfinite(m->values[i]) && fabs((double)m->values[i]) > most)
            most = fabs((double)m->values[i]);
    return most > 0 ? most : 1;
}

static bool absent(float x)
{
    return isinf(x) && x < 0;
}

/* Within what the maps take: [0, 1] or [-1, 1]; a NaN stays one. */
static double scaled(const struct heatmap *m, double limit, float x)
{
    double low = m->scale == HEAT_SIGNED ? -1 : 0, v = (double)x / limit;
    return v < low ? low : v > 1 ? 1 : v;
}

static int16_t colour_of(const struct theme *t, const struct heatmap *m, double limit, float x)
{
    if (absent(x) || t->colours == 0)
        return COLOUR_DEFAULT;
    double v = scaled(m, limit, x);
    return m->scale == HEAT_SIGNED ? theme_signed(t, v) : theme_heat(t, v);
}

static const char *glyph_of(const struct theme *t, const struct heatmap *m, double limit, float x)
{
    if (absent(x))
        return " ";
    double v = scaled(m, limit, x);
    return m->scale == HEAT_SIGNED ? theme_signed_glyph(t, v) : theme_heat_glyph(t, v);
}

/* The cursor's character, legible on the colour of its value. */
static void mark(const struct theme *t, const struct heatmap *m, double limit, struct region r,
                 int x, int y, float value)
{
    struct style s = theme_style(t, ROLE_SELECTED);
    if (t->colours > 0 && !absent(value)) {
        int16_t ground = colour_of(t, m, limit, value);
        s = (struct style){.fg = theme_ink(t, ground), .bg = ground, .attr = ATTR_BOLD};
    } else {
        s.attr |= ATTR_REVERSE;
    }
    region_put(r, x, y, "+", s);
}

/* One value over whole characters. */
static void draw_whole(const struct theme *t, const struct heatmap *m, double limit,
                       struct region r, struct extent e, int row, int column)
{
    float v = m->values[(size_t)row * (size_t)m->columns + (size_t)column];
    struct style s = {.fg = COLOUR_DEFAULT, .bg = colour_of(t, m, limit, v)};
    /* Without colours it is the glyph that tells; where NaN is, it tells in colours, too. */
    const char *glyph = t->colours == 0 || isnan(v) ? glyph_of(t, m, limit, v) : " ";
    int x0 = column * e.columns, y0 = row * e.lines;
    for (int y = y0; y < y0 + e.lines; y++)
        for (int x = x0; x < x0 + e.columns; x++)
            region_put(r, x, y, glyph, s);
    if (row == m->cursor_row && column == m->cursor_column)
        mark(t, m, limit, r, x0, y0, v);
}

/* Two values, one above the other, in one character (e.columns times). */
static void draw_pair(const struct theme *t, const struct heatmap *m, double limit, struct region r,
                      struct extent e, int row, int column)
{
    const float *at = m->values + (size_t)row * (size_t)m->columns + (size_t)column;
    float up = at[0], down = row + 1 < m->rows ? at[m->columns] : -INFINITY;
    struct style s = {.fg = colour_of(t, m, limit, up), .bg = colour_of(t, m, limit, down)};
    const char *glyph = theme_sign(t, SIGN_HALF);
    if (absent(up)) {
        s = (struct style){.fg = s.bg, .bg = COLOUR_DEFAULT};
        glyph = absent(down) ? " " : LOWER_HALF;
    }
    int x0 = column * e.columns, y = row / 2;
    for (int x = x0; x < x0 + e.columns; x++)
        region_put(r, x, y, glyph, s);
    if (column == m->cursor_column && (row == m->cursor_row || row + 1 == m->cursor_row))
        mark(t, m, limit, r, x0, y, row == m->cursor_row ? up : down);
}

void heatmap_draw(const struct theme *t, const struct heatmap *m, struct region r)
{
    struct extent e = extent_of(t, m, r.w, r.h);
    double limit = limit_of(m);
    for (int row = 0; row < m->rows; row += e.half ? 2 : 1)
        for (int column = 0; column < m->columns; column++)
            if (e.half)
                draw_pair(t, m, limit, r, e, row, column);
            else
                draw_whole(t, m, limit, r, e, row, column);
}

bool heatmap_at(const struct theme *t, const struct heatmap *m, int w, int h, int x, int y,
                int *row, int *column)
{
    struct extent e = extent_of(t, m, w, h);
    if (x < 0 || y < 0 || x >= w || y >= h)
        return false;
    *column = x / e.columns;
    *row = e.half ? 2 * y : y / e.lines;
    return *row < m->rows && *column < m->columns;
}
