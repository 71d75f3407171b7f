/* program.c - the forward pass as a listing: blocks, their sites, and what is set there. */
#include "tui/panels/program_parts.h"

#include <stdio.h>
#include <string.h>

#define GUTTER 2 /* what is set there, and where the debugger stands */
#define NAME_W 30

static bool is_shown(const struct program_panel *p, int i)
{
    return p->line[i].op < 0 || !p->folded[p->line[i].section];
}

static void close_panel(struct panel *panel)
{
    struct program_panel *p = (struct program_panel *)panel;
    mem_free(panel->view->ledger, p->line);
    mem_free(panel->view->ledger, p->folded);
    mem_free(panel->view->ledger, p->stop);
}

/* ---- drawing ---- */

static void name_of(const struct program_panel *p, const struct line *l, char out[64])
{
    if (l->op >= 0)
        snprintf(out, 64, "%s", site_suffix(l->site));
    else if (l->section == 0)
        snprintf(out, 64, "before the blocks");
    else if (l->section == p->n_sections - 1)
        snprintf(out, 64, "after the blocks");
    else
        snprintf(out, 64, "blocks.%d", l->layer);
}

static void draw_gutter(const struct program_panel *p, struct region r, int y, int i)
{
    const struct theme *t = p->base.view->theme;
    const struct line *l = &p->line[i];
    struct line sum = *l;
    /* A folded block tells what is in it. */
    for (int k = i + 1; l->op < 0 && p->folded[l->section] && k < p->n && p->line[k].op >= 0; k++) {
        sum.breaks_on += p->line[k].breaks_on;
        sum.breaks_off += p->line[k].breaks_off;
        sum.patches_on += p->line[k].patches_on;
        sum.patches_off += p->line[k].patches_off;
    }
    /* What is in force hides what is switched off. */
    bool patch = !sum.breaks_on && (sum.patches_on || !sum.breaks_off);
    enum sign sign = sum.breaks_on && sum.patches_on ? SIGN_BOTH
                     : sum.breaks_on                 ? SIGN_BREAKPOINT
                     : sum.patches_on                ? SIGN_PATCH
                     : sum.breaks_off                ? SIGN_DISABLED
                                                     : SIGN_PATCH_OFF;
    if (sum.breaks_on || sum.breaks_off || sum.patches_on || sum.patches_off)
        region_put(r, 0, y, theme_sign(t, sign),
                   theme_style(t, patch ? ROLE_PATCH : ROLE_BREAKPOINT));
    bool here = i == p->current || (l->op < 0 && p->folded[l->section] && p->current >= 0 &&
                                    p->line[p->current].section == l->section);
    if (here)
        region_put(r, 1, y, theme_sign(t, SIGN_CURSOR), theme_style(t, ROLE_CURRENT));
}

static void draw_line(const struct program_panel *p, struct region r, int y, int i, bool focused)
{
    const struct theme *t = p->base.view->theme;
    const struct line *l = &p->line[i];
    char name[64];
    struct style s = theme_style(t, l->op < 0                    ? ROLE_TITLE
                                    : i == p->current            ? ROLE_CURRENT
                                    : p->has_prompt && !l->known ? ROLE_DIM
                                                                 : ROLE_TEXT);
    name_of(p, l, name);
    draw_gutter(p, r, y, i);
    int x = GUTTER + (l->op < 0 ? 0 : 2);
    if (l->op < 0)
        region_put(r, x++, y, p->folded[l->section] ? "+" : " ", s);
    region_text_cut(r, x, y, r.w - x, name, theme_sign(t, SIGN_ELLIPSIS), s);
    if (l->op >= 0 && r.w >= GUTTER + 2 + NAME_W + 12)
        region_text(r, GUTTER + 2 + NAME_W, y, 12, site_shape_letters(l->site),
                    theme_style(t, ROLE_DIM));
    if (focused && i == p->at) {
        region_restyle(r, GUTTER, y, r.w - GUTTER, theme_style(t, ROLE_SELECTED));
    }
}

/* The line that row y of h shows, or -1. The selected one is in the middle where it can be. */
static int line_at(const struct program_panel *p, int h, int y)
{
    int at = 0, n = 0;
    for (int i = 0; i < p->n; i++) {
        at += i < p->at && is_shown(p, i);
        n += is_shown(p, i);
    }
    int want = numeric_clamp(at - h / 2, 0, n > h ? n - h : 0) + y, k = 0;
    for (int i = 0; i < p->n; i++)
        if (is_shown(p, i) && k++ == want)
            return i;
    return -1;
}

static void draw(const struct panel *panel, struct region r, bool focused)
{
    const struct program_panel *p = (const struct program_panel *)panel;
    if (p->n == 0) {
        numeric_words(r, "no model yet", theme_style(panel->view->theme, ROLE_DIM));
        return;
    }
    int i = r.h > 0 ? line_at(p, r.h, 0) : -1;
    for (int y = 0; i >= 0 && i < p->n && y < r.h; i++)
        if (is_shown(p, i))
            draw_line(p, r, y++, i, focused);
}

static void title(const struct panel *panel, struct text *out)
{
    const struct program_panel *p = (const struct program_panel *)panel;
    text_add(out, "forward pass");
    if (p->has_prompt)
        text_printf(out, "  tok %d", p->position);
}

/* ---- keys ---- */

/* `by` shown lines on; at the ends it stays. */
static void move(struct program_panel *p, int by)
{
    int step = by < 0 ? -1 : 1, i = p->at;
    while (by != 0 && i + step >= 0 && i + step < p->n) {
        i += step;
        if (is_shown(p, i)) {
            p->at = i;
            by -= step;
        }
    }
}

/* How far a key moves; 0: it does not. */
static int lines_of(const struct program_panel *p, int key)
{
    int page = p->base.h > 1 ? p->base.h - 1 : 1;
    return key == 'j' || key == KEY_DOWN_ARROW ? 1
           : key == 'k' || key == KEY_UP_ARROW ? -1
           : key == KEY_PAGE_DOWN              ? page
           : key == KEY_PAGE_UP                ? -page
           : key == 'g' || key == KEY_HOME_KEY ? -p->n
           : key == 'G' || key == KEY_END_KEY  ? p->n
                                               : 0;
}

static void fold(struct program_panel *p, bool folded)
{
    int section = p->line[p->at].section;
    p->folded[section] = folded;
    while (folded && p->line[p->at].op >= 0)
        p->at--;
}

/* All that stand here go. If one stands elsewhere too, all are switched instead: off if any is on.
 */
static enum key_result toggle(const struct program_panel *p, struct text *line)
{
    const struct line *l = &p->line[p->at];
    char name[64];
    if (l->op < 0)
        return KEY_DONE;
    if (l->breaks_on + l->breaks_off == 0) {
        text_printf(line, "break %s", site_short_name(l->site, l->layer, name));
        return KEY_COMMAND;
    }
    text_add(line, l->wide == 0 ? "delete" : l->breaks_on ? "disable" : "enable");
    for (int i = 0; i < p->n_stops; i++) {
        const struct stop *b = &p->stop[i];
        if (program_covers(l, b->site, b->layer_first, b->layer_last))
            text_printf(line, " %d", b->id);
    }
    return KEY_COMMAND;
}

static enum key_result go(struct program_panel *p, struct text *line)
{
    const struct line *l = &p->line[p->at];
    char name[64];
    if (l->op < 0) {
        fold(p, !p->folded[l->section]);
        return KEY_DONE;
    }
    if (!p->has_prompt) {
        text_add(line, "run ");
        return KEY_PROMPT;
    }
    if (p->op == l->op) /* it stands there */
        return KEY_DONE;
    text_printf(line, "goto %d %s", p->position, site_short_name(l->site, l->layer, name));
    return KEY_COMMAND;
}

static enum key_result edit(const struct program_panel *p, struct text *line)
{
    const struct line *l = &p->line[p->at];
    char name[64];
    if (l->op < 0)
        return KEY_DONE;
    text_printf(line, "patch %s", site_short_name(l->site, l->layer, name));
    if (p->has_prompt)
        text_printf(line, " at %d", p->position);
    text_add(line, " ");
    return KEY_PROMPT;
}

static enum key_result key(struct panel *panel, int k, struct text *line)
{
    struct program_panel *p = (struct program_panel *)panel;
    if (p->n == 0)
        return KEY_IGNORED;
    switch (k) {
    case 'h':
    case 'l':
    case KEY_LEFT_ARROW:
    case KEY_RIGHT_ARROW:
        fold(p, k == 'h' || k == KEY_LEFT_ARROW);
        return KEY_DONE;
    case 'o':
        for (int i = 0, all = !p->folded[p->line[p->at].section]; i < p->n_sections; i++)
            p->folded[i] = all;
        while (p->folded[p->line[p->at].section] && p->line[p->at].op >= 0)
            p->at--;
        return KEY_DONE;
    case '.':
        if (p->current >= 0) {
            p->at = p->current;
            p->folded[p->line[p->at].section] = false;
        }
        return KEY_DONE;
    case ' ':
        return toggle(p, line);
    case KEY_RETURN:
        return go(p, line);
    case 'e':
        return edit(p, line);
    default:
        move(p, lines_of(p, k));
        return lines_of(p, k) ? KEY_DONE : KEY_IGNORED;
    }
}

static enum key_result mouse(struct panel *panel, enum mouse_action a, int x, int y,
                             struct text *line)
{
    struct program_panel *p = (struct program_panel *)panel;
    (void)x;
    if (p->n == 0)
        return KEY_IGNORED;
    if (a == MOUSE_WHEEL_UP || a == MOUSE_WHEEL_DOWN) {
        move(p, a == MOUSE_WHEEL_UP ? -3 : 3);
        return KEY_DONE;
    }
    int target = line_at(p, panel->h, y);
    if (target < 0)
        return KEY_IGNORED;
    p->at = target;
    return a == MOUSE_DOUBLE ? go(p, line) : KEY_DONE;
}

static bool search(struct panel *panel, const char *needle, bool back)
{
    struct program_panel *p = (struct program_panel *)panel;
    char name[64];
    for (int i = 1; i <= p->n; i++) {
        int at = (p->at + (back ? p->n - i : i)) % p->n;
        const struct line *l = &p->line[at];
        if (l->op < 0 || !strstr(site_name(l->site, l->layer, name), needle))
            continue;
        p->folded[l->section] = false;
        p->at = at;
        return true;
    }
    return false;
}

static const struct key_help keys[] = {
    {"j k", "site"},
    {"h l", "fold, unfold"},
    {"o", "fold or unfold all"},
    {"Enter", "go there; on a block: fold it"},
    {"Space", "a breakpoint; where there are any: delete all of them,"},
    {"", "or switch them, if one stands at other sites too"},
    {"e", "patch it"},
    {".", "where the debugger stands"},
    {"B b P p X", "a breakpoint, switched off; a patch, off; both"},
    {NULL, NULL},
};

const struct panel_kind panel_program = {
    .name = "program",
    .size = sizeof(struct program_panel),
    .min_w = 12,
    .min_h = 3,
    .close = close_panel,
    .refresh = program_refresh,
    .draw = draw,
    .title = title,
    .key = key,
    .mouse = mouse,
    .search = search,
    .keys = keys,
};
