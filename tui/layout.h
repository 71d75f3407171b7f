/* layout.h - which panels stand where.
 *
 * A layout is a line of text, as `layout custom SPEC` and the file of remembered layouts have it:
 *
 *     1! tokens | 60 22 program, 48 attention, 30 residual:50/lens:50 | 1! memory | 30 console
 *
 * Rows are split by |; each begins with its share of the height, or with its lines and "!".
 * Columns of a row are split by commas, with a share of the width in front; panels of a column by
 * slashes, with a share of its height behind a colon. Neighbours share a line as their frame.
 */
#ifndef MIDPASS_LAYOUT_H
#define MIDPASS_LAYOUT_H

#include "tui/panel.h"

#define LAYOUT_PLACES  16
#define LAYOUT_SMALL_W 20 /* below this size there is one line and q */
#define LAYOUT_SMALL_H 5

struct layout_place {
    int kind; /* index in the table of panels */
    int row, column;
    int share; /* of its column's height */
    bool dropped;
    int x, y, w, h; /* of what the panel draws in; the frame is around it */
};

struct layout {
    char name[16];
    struct layout_place place[LAYOUT_PLACES];
    int n;
    int n_rows;
    struct {
        int share;
        bool fixed; /* share is lines */
        int n_columns;
        int column_share[LAYOUT_PLACES];
    } row[LAYOUT_PLACES];
};

/* Reads a spec; panels that this build lacks are left out. False: what is wrong, and where. */
bool layout_parse(struct layout *l, const char *name, const char *spec, struct error *err);
void layout_add_spec(const struct layout *l, struct text *out);

/* Gives every panel its place within w x h cells at (0, y). What is too small to be useful is
 * dropped, the first of these that is there: points, top, memory, value, lens, residual, tokens,
 * attention, program, console; never `keep` (a place, or -1), and the console only last. Dropped
 * places have w 0. With zoom `keep` is alone. */
void layout_arrange(struct layout *l, int y, int w, int h, int keep, bool zoom);
/* The lines between the panels of an arranged layout, and around them. */
void layout_draw_frames(const struct layout *l, const struct theme *t, struct region r, int y,
                        int focus);
/* Makes a place wider or higher by about dw columns and dh lines. */
void layout_grow(struct layout *l, int place, int dw, int dh);

/* The layouts that there are: their names and what they are at first. */
struct layout_default {
    const char *name, *spec, *about;
};
extern const struct layout_default layout_defaults[]; /* ends with name NULL */

#endif
