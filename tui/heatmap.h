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
    double limit; /* what the ends of the scale are; 0: found in the values */
    int cursor_row, cursor_column; /* -1: none */
};

/* Values that fit into w x h cells: columns w (each value `columns_per_value` wide), rows h or 2h
 * with half blocks. */
int heatmap_rows(const struct theme *t, int h);
void heatmap_draw(const struct theme *t, const struct heatmap *m, struct region r);

/* Pools one row of n values into `cells` cells, cell i holding the value of largest magnitude (of
 * those over [i * n / cells, (i + 1) * n / cells)), into what is there already if `merge`. Values
 * of -inf count as absent. */
void heatmap_pool(const float *values, int n, float *cells, int n_cells, bool merge);

#endif
