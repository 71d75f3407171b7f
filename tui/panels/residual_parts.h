/* residual_parts.h - the residual panel's state: residual.c reads the bars of one token,
 * residual_map.c the map of all, residual_draw.c draws both. Nobody else includes this. */
#ifndef MIDPASS_PANELS_RESIDUAL_PARTS_H
#define MIDPASS_PANELS_RESIDUAL_PARTS_H

#include "tui/heatmap.h"
#include "tui/panels/numeric.h"

enum residual_mode {
    RESIDUAL_BARS,
    RESIDUAL_NORM,
    RESIDUAL_RANK,
    RESIDUAL_PROBABILITY,
    RESIDUAL_MODES
};

/* One layer of one token. Row 0 is what enters the first block, row l + 1 what leaves block l. */
struct residual_row {
    bool has_norm, has_attn, has_mlp;
    double norm, cosine;     /* of the residual, with the last one */
    double attn, attn_along; /* what attention added: norm, and along the last residual */
    double mlp, mlp_along;
};

/* What a map's cells were read for. */
struct residual_map_spec {
    uint64_t stamp;
    enum residual_mode mode;
    int32_t target; /* -1: the token that came */
    int n, top, rows, columns;
};

struct residual_panel {
    struct panel base;
    enum residual_mode mode;
    int top;       /* first row shown */
    bool embedded; /* the cursor is above layer 0 */

    /* as of the last refresh */
    char words[300];                          /* why there is nothing; "" */
    bool reading;                             /* there is more */
    int n, n_layers, n_vocab, position, line; /* line: the row under the cursor */
    int body;                                 /* rows shown */
    char label[LABEL_BYTES];

    /* the bars */
    struct residual_row *row; /* [n_layers + 1] */
    int n_rows;
    uint64_t stamp;
    int rows_of;      /* the position they are of; -1: of none */
    float *direction; /* [D] the last residual, a unit vector */
    double last_norm;
    bool has_direction;

    /* the map */
    struct residual_map_spec spec;
    float *cells, *shown; /* [rows, columns]: pooled values; the same scaled to [0, 1] */
    int next_position, next_row;
    char target[LABEL_BYTES]; /* the token whose rank is told at the cursor; "" if none is */
};

/* The residual of a row, or -1. */
int residual_op(const struct session *s, int row, int position);
/* The token that a position's lens is asked for: chosen, or the one that came, or the best of its
 * logits. -1: not known yet. */
bool residual_target(const struct session *s, int32_t chosen, int position, int32_t *target,
                     struct error *err);
bool residual_map_read(struct residual_panel *p, struct session *s, int columns, double deadline,
                       struct error *err);
/* What a cell holds, in the unit of the mode (a rank as 1 / (1 + rank), so that the best of a
 * cell's tokens stands out). */
double residual_rank_of(double cell);
void residual_draw(const struct panel *p, struct region r, bool focused);

#define RESIDUAL_LABEL_W 5 /* "emb", "12 >" */

#endif
