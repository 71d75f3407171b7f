/* lens_parts.h - the lens panel's state: lens.c reads it, lens_draw.c draws it. Nobody else
 * includes this. */
#ifndef MIDPASS_PANELS_LENS_PARTS_H
#define MIDPASS_PANELS_LENS_PARTS_H

#include "tui/panels/numeric.h"

#define LENS_CELLS  8 /* best tokens kept of a row */
#define LENS_NAME_W 7
#define LENS_RANK_W 12 /* ".081 #12" */
#define LENS_CELL_W 13 /* " was     .520", */
#define LENS_PAIR_W 24 /* and "< the     .310" */

struct lens_cell {
    int32_t id;
    float p;
    char label[LABEL_BYTES];
};

/* What one residual says. */
struct lens_row {
    bool known;
    int n, rank; /* cells; the target's rank, -1: there is no target */
    float p;     /* the target's probability */
    struct lens_cell cell[LENS_CELLS];
};

struct lens_panel {
    struct panel base;
    bool wants_middle; /* after attention, too: asked for */
    bool middle;       /* and shown */
    int top, line, column;

    /* as of the last refresh */
    char words[300]; /* why there is nothing; "" */
    bool reading;
    int n_layers, n_lines, body, position, n_cells;
    char label[LABEL_BYTES];        /* the position's token */
    char target_label[LABEL_BYTES]; /* "" without a target */
    int32_t target;                 /* -1: none */
    bool chosen;                    /* by the user */
    int32_t best;                   /* of the logits at the last position, */
    uint64_t best_of;               /* as they were with this stamp */
    struct lens_row *now, *before;  /* [2 * n_layers]: after attention, after the block, ... */
    bool has_before;                /* of the same tokens, with other edits */
    uint64_t stamp, sequence;       /* of now: what all depends on; the ids alone */
};

/* Where a line's row lies in now and before. */
int lens_index(const struct lens_panel *p, int line);
/* Columns of a cell, and how many cells fit. */
int lens_cell_width(const struct lens_panel *p);
int lens_cells_fit(const struct lens_panel *p, int w);
/* Columns for the rank; 0 where they would take the room of before and after. */
int lens_rank_width(const struct lens_panel *p, int w);
/* Whether a cell's text differs from before. */
bool lens_changed(const struct lens_panel *p, int index, int cell);
void lens_draw(const struct panel *p, struct region r, bool focused);

#endif
