/* program.c - the forward pass as a listing: blocks, their sites, and what is set there. */
#include "tui/panels/numeric.h"

#include <stdio.h>
#include <string.h>

#define GUTTER 2 /* what is set there, and where the debugger stands */
#define NAME_W 30

struct line {
    int op; /* -1: the title of a section */
    int section;
    enum site site;
    int layer;
    bool known; /* its value can be read at the cursor's position */
    bool breakpoint, disabled, patch;
    int id;     /* of the breakpoint */
    bool alone; /* which stands here and nowhere else */
};

struct program_panel {
    struct panel base;
    struct line *line; /* the whole program */
    int n, n_sections;
    bool *folded; /* [n_sections]: prelude, blocks, tail */
    int at;       /* the selected line */
    int current;  /* where the debugger stands; -1: nowhere */
    bool has_prompt;
    int position, op; /* the cursor, as it was */
};

static bool is_shown(const struct program_panel *p, int i)
{
    return p->line[i].op < 0 || !p->folded[p->line[i].section];
}

/* ---- reading ---- */

static bool list_program(struct program_panel *p, const struct session *s, struct error *err)
{
    const struct program *g = &s->model.program;
    struct ledger *l = p->base.view->ledger;
    int sections = g->n_layers + 2;
    size_t most = (size_t)g->n_ops + (size_t)sections;
    struct line *lines = mem_alloc_array(l, MEM_VIEWS, most, sizeof *lines, err);
    bool *folded = lines ? mem_alloc_array(l, MEM_VIEWS, (size_t)sections, 1, err) : NULL;
    if (!folded) {
        mem_free(l, lines);
        return false;
    }
    int n = 0, last = -1;
    for (int i = 0; i < g->n_ops; i++) {
        int section = program_section(g, i) + 1;
        if (g->ops[i].site == SITE_NONE)
            continue;
        if (section != last)
            lines[n++] = (struct line){.op = -1, .section = section, .layer = section - 1};
        last = section;
        lines[n++] = (struct line){
            .op = i, .section = section, .site = g->ops[i].site, .layer = g->ops[i].layer};
    }
    p->line = lines;
    p->folded = folded;
    p->n = n;
    p->n_sections = sections;
    p->op = -2;
    return true;
}

static void look_at(struct line *l, const struct session *s)
{
    l->breakpoint = l->disabled = l->patch = l->alone = false;
    for (int i = 0; i < s->breakpoints.n; i++) {
        const struct breakpoint *b = &s->breakpoints.list[i];
        bool here =
            b->site == l->site &&
            (!site_in_block(l->site) || (b->layer_first <= l->layer && l->layer <= b->layer_last));
        if (!here || (l->breakpoint && !l->disabled))
            continue;
        l->breakpoint = true;
        l->disabled = !b->enabled;
        l->id = b->id;
        l->alone = b->layer_first == b->layer_last;
    }
    for (int i = 0; i < s->patches.n; i++) {
        const struct patch *e = &s->patches.list[i];
        l->patch |=
            e->enabled && e->kind != PATCH_TOKEN && e->site == l->site &&
            (!site_in_block(l->site) || (e->layer_first <= l->layer && l->layer <= e->layer_last));
    }
    l->known = s->has_prompt && session_has(s, s->position, l->op, NULL);
}

static bool refresh(struct panel *panel, int w, int h, struct error *err)
{
    struct program_panel *p = (struct program_panel *)panel;
    const struct session *s = panel->view->console ? panel->view->console->session : NULL;
    (void)w;
    (void)h;
    if (!s)
        return true;
    if (!p->line && !list_program(p, s, err))
        return false;
    for (int i = 0; i < p->n; i++)
        if (p->line[i].op >= 0)
            look_at(&p->line[i], s);
    bool moved = p->op != s->op || p->position != s->position || p->has_prompt != s->has_prompt;
    p->has_prompt = s->has_prompt;
    p->position = s->position;
    p->op = s->op;
    p->current = -1;
    for (int i = 0; s->has_prompt && i < p->n && p->line[i].op <= s->op; i++)
        if (p->line[i].op >= 0)
            p->current = i;
    if (moved && p->current >= 0) {
        p->at = p->current;
        p->folded[p->line[p->at].section] = false;
    }
    return true;
}

static void close_panel(struct panel *panel)
{
    struct program_panel *p = (struct program_panel *)panel;
    mem_free(panel->view->ledger, p->line);
    mem_free(panel->view->ledger, p->folded);
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
        sum.breakpoint |= p->line[k].breakpoint;
        sum.patch |= p->line[k].patch;
    }
    if (sum.breakpoint && sum.patch)
        region_put(r, 0, y, theme_sign(t, SIGN_BOTH), theme_style(t, ROLE_BREAKPOINT));
    else if (sum.breakpoint)
        region_put(r, 0, y, theme_sign(t, sum.disabled ? SIGN_DISABLED : SIGN_BREAKPOINT),
                   theme_style(t, ROLE_BREAKPOINT));
    else if (sum.patch)
        region_put(r, 0, y, theme_sign(t, SIGN_PATCH), theme_style(t, ROLE_PATCH));
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

/* A breakpoint of this site alone goes; one for several layers is switched. */
static enum key_result toggle(const struct program_panel *p, struct text *line)
{
    const struct line *l = &p->line[p->at];
    char name[64];
    if (l->op < 0)
        return KEY_DONE;
    if (!l->breakpoint)
        text_printf(line, "break %s", site_short_name(l->site, l->layer, name));
    else if (l->alone)
        text_printf(line, "delete %d", l->id);
    else
        text_printf(line, "%s %d", l->disabled ? "enable" : "disable", l->id);
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
    {"Space", "a breakpoint, or none"},
    {"e", "patch it"},
    {".", "where the debugger stands"},
    {NULL, NULL},
};

const struct panel_kind panel_program = {
    .name = "program",
    .size = sizeof(struct program_panel),
    .min_w = 12,
    .min_h = 3,
    .close = close_panel,
    .refresh = refresh,
    .draw = draw,
    .title = title,
    .key = key,
    .mouse = mouse,
    .search = search,
    .keys = keys,
};
