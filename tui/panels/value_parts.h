/* value_parts.h - the value browser's state: value.c reads it, value_draw.c draws it. Nobody else
 * includes this. */
#ifndef MIDPASS_PANELS_VALUE_PARTS_H
#define MIDPASS_PANELS_VALUE_PARTS_H

#include "tui/heatmap.h"
#include "tui/panels/numeric.h"

#define VALUE_BINS     200
#define VALUE_INDEX_W  7 /* columns of the index in front of a line */
#define VALUE_NUMBER_W 9 /* of a number and the blank behind it */

enum value_mode { VALUE_NUMBERS, VALUE_STATISTICS, VALUE_HISTOGRAM, VALUE_HEATMAP, VALUE_MODES };

struct value_panel {
    struct panel base;
    enum value_mode mode;
    bool pinned;
    int axis;        /* that < and > act on: 0 the position, then the value's own */
    int row, column; /* the slice: an index, or -1 for all */
    int at;          /* the cursor, in the slice */
    int top, left;   /* first line and column of numbers shown */

    /* as of the last refresh */
    char words[300]; /* why there is nothing; "" */
    const struct program *program;
    int n_ops, op, layer, position, here;
    enum site site;
    char label[LABEL_BYTES]; /* the position's token */
    int n_axes, rows, columns;
    bool wide; /* its last axis are keys */
    float *data;
    int slice_rows, slice_columns, count; /* of data; count 0: nothing is there */
    struct value_summary summary;
    int min_at, max_at; /* -1: no finite number */
    double low, high;
    long bins[VALUE_BINS], most;
    int n_bins;
    int body_w, body_h;
    int per_line, stride, lines; /* of numbers */
    float *cells;                /* [map_rows, map_columns], of the heatmap */
    int map_rows, map_columns, pooled;
    bool wrapped; /* a vector, in lines */
};

void value_draw(const struct panel *p, struct region r, bool focused);

#endif
