/* attention_parts.h - the attention panel's state: attention.c reads it, attention_draw.c draws it,
 * attention_keys.c moves in it. Nobody else includes this. */
#ifndef MIDPASS_PANELS_ATTENTION_PARTS_H
#define MIDPASS_PANELS_ATTENTION_PARTS_H

#include "tui/heatmap.h"
#include "tui/panels/attention_scan.h"
#include "tui/panels/numeric.h"

#define MAPS_MOST 8 /* large ones side by side */

enum attention_mode { ATTENTION_MAP, ATTENTION_FROM /* a query */, ATTENTION_INTO /* a key */ };

/* Where what is drawn, in the panel's contents. */
struct attention_place {
    /* all heads, small: tiles of tile_w x (1 + tile_h); tile_h 0: a line of numbers */
    int tile_w, tile_h, per_row, strip_rows, first_head, n_tiles;
    int strip_h;
    /* the chosen ones, large, or the list */
    int y, h;            /* the body */
    int n_maps, each_w;  /* maps side by side, columns for each */
    int label_w, head_h; /* columns left of a map, lines above it */
    int rows, columns;   /* of cells */
    int map_w, map_h;    /* that the cells take */
    bool info;           /* a last line for the value under the cursor */
};

struct edge {
    int at; /* a key, or a query */
    float weight;
};

struct attention_panel {
    struct panel base;
    enum attention_mode mode;
    int key; /* under the cursor; the query is the selection's position */
    bool zoomed;
    int q0, q1, k0, k1; /* what the large maps show of the prompt */
    int strip_top, edge_at, edge_top;

    /* as of the last refresh */
    char words[300]; /* why there is nothing; "" */
    int n, known;    /* tokens; queries whose pattern is computed */
    int layer, n_layers, head, n_heads, query, position;
    int maps[MAPS_MOST], n_chosen;
    struct attention_place place;
    struct attention_scan strip, large, list;
    bool reading;                /* there is more */
    int read, read_of;           /* queries of the large maps, while there are more; of 0: all */
    char (*labels)[LABEL_BYTES]; /* of rows, then of columns */
    int label_rows, label_columns;
    uint64_t labels_of; /* what they were made for */
    char query_label[LABEL_BYTES], key_label[LABEL_BYTES];
    struct edge *edges; /* by weight */
    int n_edges, n_edge_labels;
    enum attention_mode edges_of;
    char (*edge_labels)[LABEL_BYTES]; /* of the lines that are seen */
};

/* The cell of the large maps that the cursor is in; false: outside of what they show. */
bool attention_cursor_cell(const struct attention_panel *a, int *row, int *column);
enum key_result attention_key(struct panel *p, int key, struct text *line);
enum key_result attention_mouse(struct panel *p, enum mouse_action action, int x, int y,
                                struct text *line);
void attention_draw(const struct panel *p, struct region r, bool focused);
/* The head whose small map, or number, or the cell of which large map is at (x, y). */
int attention_head_at(const struct attention_panel *a, int x, int y);
bool attention_cell_at(const struct attention_panel *a, int x, int y, int *head, int *row,
                       int *column);

#endif
