/* program_parts.h - the panel of the program: what it read, and what shows it. */
#ifndef MIDPASS_PANELS_PROGRAM_PARTS_H
#define MIDPASS_PANELS_PROGRAM_PARTS_H

#include "tui/panels/numeric.h"

struct line {
    int op; /* -1: the title of a section */
    int section;
    enum site site;
    int layer;
    bool known; /* its value can be read at the cursor's position */
    /* What is set here, in force or switched off; wide: breakpoints that stand elsewhere, too. */
    int breaks_on, breaks_off, wide, patches_on, patches_off;
};

/* A breakpoint at a site, as it was when the panel was read. */
struct stop {
    int id, layer_first, layer_last;
    enum site site;
};

struct program_panel {
    struct panel base;
    struct line *line; /* the whole program */
    int n, n_sections;
    bool *folded; /* [n_sections]: prelude, blocks, tail */
    int at;       /* the selected line */
    int current;  /* where the debugger stands; -1: nowhere */
    struct stop *stop;
    int n_stops, room_stops;
    bool has_prompt;
    int position, op; /* the cursor, as it was */
};

bool program_refresh(struct panel *p, int w, int h, struct error *err);
/* Whether what is set at a site of layers first to last is set on this line. */
bool program_covers(const struct line *l, enum site site, int first, int last);

#endif
