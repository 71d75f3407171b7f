#include "tui/panels/lens_parts.h"

#include <stdio.h>

/* "*one      .520 < the     .310": the mark of a change, and what was there. */
static void draw_cell(const struct lens_panel *p, struct region r, int index, int cell, bool here)
{
    const struct theme *t = p->base.view->theme;
    const struct lens_cell *now = &p->now[index].cell[cell];
    const char *cut = theme_sign(t, SIGN_ELLIPSIS);
    char number[NUMBER_BYTES];
    bool changed = lens_changed(p, index, cell);
    struct style s = theme_style(t, here ? ROLE_SELECTED : changed ? ROLE_CHANGED : ROLE_TEXT);
    region_put(r, 0, 0, here ? theme_sign(t, SIGN_CURSOR) : changed ? "*" : " ", s);
    region_text_cut(r, 1, 0, 7, now->label, cut, s);
    region_text(r, 9, 0, 4, numeric_probability((double)now->p, number), s);
    if (!changed)
        return;
    const struct lens_cell *old = &p->before[index].cell[cell];
    struct style dim = theme_style(t, ROLE_DIM);
    region_text(r, 13, 0, 1, "<", dim);
    if (old->id != now->id)
        region_text_cut(r, 14, 0, 6, old->label, cut, dim);
    region_text(r, 20, 0, 4, numeric_probability((double)old->p, number), dim);
}

static void draw_line(const struct lens_panel *p, struct region r, int line)
{
    const struct theme *t = p->base.view->theme;
    int index = lens_index(p, line);
    const struct lens_row *row = &p->now[index];
    bool here = line == p->line;
    char number[NUMBER_BYTES];
    region_printf(r, 0, 0, theme_style(t, here ? ROLE_SELECTED : ROLE_DIM), "%d%s", index / 2,
                  index % 2 ? "" : " mid");
    if (here)
        region_put(r, LENS_NAME_W - 1, 0, theme_sign(t, SIGN_CURSOR),
                   theme_style(t, ROLE_SELECTED));
    if (!row->known) {
        region_text(r, LENS_NAME_W, 0, r.w - LENS_NAME_W,
                    p->reading ? "not read yet" : "not computed", theme_style(t, ROLE_DIM));
        return;
    }
    int x = LENS_NAME_W;
    if (lens_rank_width(p, r.w) > 0) {
        if (row->rank >= 0)
            region_printf(r, x, 0, theme_style(t, row->rank == 0 ? ROLE_TITLE : ROLE_TEXT), "%6s%d",
                          "#", row->rank);
        if (row->rank >= 0)
            region_text(r, x, 0, 4, numeric_probability((double)row->p, number),
                        theme_style(t, row->rank == 0 ? ROLE_TITLE : ROLE_TEXT));
        x += LENS_RANK_W;
    }
    int w = lens_cell_width(p);
    for (int i = 0; i < p->n_cells && i < row->n; i++)
        draw_cell(p, region_part(r, x + i * w, 0, w, 1), index, i, here && i == p->column);
}

void lens_draw(const struct panel *panel, struct region r, bool focused)
{
    const struct lens_panel *p = (const struct lens_panel *)panel;
    const struct theme *t = panel->view->theme;
    (void)focused;
    region_fill(r, theme_style(t, ROLE_TEXT));
    if (p->n_lines == 0) {
        numeric_words(r, p->words[0] ? p->words : "nothing read yet", theme_style(t, ROLE_DIM));
        return;
    }
    int y0 = r.h > 1;
    char line[64 + 2 * LABEL_BYTES];
    if (p->target_label[0] && lens_rank_width(p, r.w) > 0)
        snprintf(line, sizeof line, "p and rank of %s %s  behind %s",
                 p->chosen ? "the chosen" : "the next,", p->target_label, p->label);
    else
        snprintf(line, sizeof line, "best%s behind %s",
                 p->has_before ? ", * now < before," : " tokens", p->label);
    if (y0)
        region_text_cut(r, 0, 0, r.w, line, theme_sign(t, SIGN_ELLIPSIS), theme_style(t, ROLE_DIM));
    for (int i = 0; i < p->body; i++)
        draw_line(p, region_part(r, 0, y0 + i, r.w, 1), p->top + i);
}
