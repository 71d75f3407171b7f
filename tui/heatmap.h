/* heatmap.h - a matrix of numbers as coloured cells, two values a character where that works.
 *
 * The matrix may be larger than the cells: the caller pools it first (heatmap_pool), by the
 * largest magnitude, so that a spike is never lost.
 */
#ifndef MIDPASS_HEATMAP_H
#define MIDPASS_HEATMAP_H

#include "tui/theme.h"

enum heat_scale { HEAT_UNIT /* [0, 1] */, HEAT_POSITIVE /* [0, max] */, HEAT_SIGNED /* [-m, m] */ };

struct heatmap {
    int rows, columns;   /* of values */
    const float *values; /* [rows, columns]; NaN is shown as such, -inf as empty */
    enum heat_scale scale;
    double limit;                  /* what the ends of the scale are; 0: found in the values */
    int cursor_row, cursor_column; /* -1: none */
};

/* Rows of values that fit into h lines: h, or 2h with half blocks. Columns: as many as there are.
 */
int heatmap_rows(const struct theme *t, int h);
/* Each value becomes as many whole columns and lines as fit (w / columns; half a line where they
 * would not fit else), from the upper left; what does not fit is cut off. */
void heatmap_draw(const struct theme *t, const struct heatmap *m, struct region r);

/* Pools one row of n values into `cells` cells, cell i holding the value of largest magnitude (of
 * those over [i * n / cells, (i + 1) * n / cells)), into what is there already if `merge`. Values
 * of -inf count as absent. */
void heatmap_pool(const float *values, int n, float *cells, int n_cells, bool merge);
/* The first of n values that cell i shows (i = n_cells: n), and the cell that shows value i. */
int heatmap_first(int i, int n, int n_cells);
int heatmap_cell(int i, int n, int n_cells);
/* The value drawn at (x, y) of a region of w x h; false where there is none. */
bool heatmap_at(const struct theme *t, const struct heatmap *m, int w, int h, int x, int y,
                int *row, int *column);

#endif
