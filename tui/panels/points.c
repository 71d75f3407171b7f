/* points.c - breakpoints and patches, with what they have done so far. */
#include "tui/panels/numeric.h"

#include <stdio.h>
#include <string.h>

struct point {
    int id;
    bool patch, token, enabled, temporary;
    long hits;  /* or rows that a patch changed */
    int ignore; /* hits to pass by */
    double before, after;
    size_t text, condition; /* where they begin in strings; a condition as it was typed */
};

struct points_panel {
    struct panel base;
    struct point *point;
    int n, room, at, top;
    struct text strings; /* safe to show, each with its NUL */
    char words[300];
};

static bool open_panel(struct panel *panel, struct error *err)
{
    struct points_panel *p = (struct points_panel *)panel;
    (void)err;
    text_init(&p->strings, panel->view->ledger, MEM_VIEWS);
    return true;
}

static void close_panel(struct panel *panel)
{
    struct points_panel *p = (struct points_panel *)panel;
    text_fini(&p->strings);
    mem_free(panel->view->ledger, p->point);
}

/* ---- reading ---- */

static size_t keep_string(struct points_panel *p, const char *s)
{
    size_t at = p->strings.n;
    text_add_shown(&p->strings, s ? s : "", s ? strlen(s) : 0, false);
    text_add_bytes(&p->strings, "", 1);
    return at;
}

static bool refresh(struct panel *panel, int w, int h, struct error *err)
{
    struct points_panel *p = (struct points_panel *)panel;
    const struct session *s = panel->view->console ? panel->view->console->session : NULL;
    int n = s ? s->breakpoints.n + s->patches.n : 0;
    (void)w;
    (void)h;
    p->n = 0;
    text_fini(&p->strings);
    text_init(&p->strings, panel->view->ledger, MEM_VIEWS);
    if (n > p->room) {
        struct point *more =
            mem_resize(panel->view->ledger, MEM_VIEWS, p->point, 2 * (size_t)n * sizeof *more, err);
        if (!more)
            return false;
        p->point = more;
        p->room = 2 * n;
    }
    for (int i = 0; i < n; i++) {
        struct point *o = &p->point[i];
        if (i < s->breakpoints.n) {
            const struct breakpoint *b = &s->breakpoints.list[i];
            *o = (struct point){.id = b->id,
                                .enabled = b->enabled,
                                .temporary = b->temporary,
                                .hits = b->hits,
                                .ignore = b->ignore,
                                .text = keep_string(p, b->text),
                                .condition = keep_string(p, b->condition)};
        } else {
            const struct patch *e = &s->patches.list[i - s->breakpoints.n];
            *o = (struct point){.id = e->id,
                                .patch = true,
                                .token = e->kind == PATCH_TOKEN,
                                .enabled = e->enabled,
                                .hits = e->fired,
                                .before = e->norm_before,
                                .after = e->norm_after,
                                .text = keep_string(p, e->text)};
        }
    }
    if (!text_ok(&p->strings, err))
        return false;
    p->n = n;
    p->at = numeric_clamp(p->at, 0, n - 1);
    p->top = numeric_scroll(p->top, p->at, n, h);
    return true;
}

/* ---- drawing ---- */

/* "hit 3 times", "changed 4 rows, norm 3.1 -> 0". */
static void add_receipt(const struct point *o, int width, char *out, size_t n)
{
    char before[NUMBER_BYTES], after[NUMBER_BYTES];
    if (o->token)
        snprintf(out, n, "another token");
    else if (o->patch && o->hits > 0)
        snprintf(out, n, "%ld row%s, norm %s to %s", o->hits, o->hits == 1 ? "" : "s",
                 numeric_format(o->before, width, before), numeric_format(o->after, width, after));
    else if (o->patch)
        snprintf(out, n, "not used yet");
    else if (o->ignore > 0)
        snprintf(out, n, "hit %ld, passes by %d", o->hits, o->ignore);
    else
        snprintf(out, n, "hit %ld%s", o->hits, o->temporary ? ", once" : "");
}

static void draw_point(const struct points_panel *p, struct region r, int y, int i, bool focused)
{
    const struct theme *t = p->base.view->theme;
    const struct point *o = &p->point[i];
    struct style s = theme_style(t, o->enabled ? ROLE_TEXT : ROLE_DIM);
    enum sign on = o->patch ? SIGN_PATCH : SIGN_BREAKPOINT;
    enum sign off = o->patch ? SIGN_PATCH_OFF : SIGN_DISABLED;
    char receipt[120];
    region_put(r, 0, y, theme_sign(t, o->enabled ? on : off),
               theme_style(t, o->patch ? ROLE_PATCH : ROLE_BREAKPOINT));
    int x = 2 + region_printf(r, 2, y, s, "%d ", o->id);
    /* The receipt gets what is left, in fewer digits where all of the text then has room too. */
    int text = text_columns(p->strings.data + o->text), left = r.w - x, room = 0;
    bool both = false;
    for (int digits = 6; !both && digits >= 4; digits -= 2) {
        add_receipt(o, digits, receipt, sizeof receipt);
        room = text_columns(receipt) + 2;
        both = left >= room + (digits == 6 ? numeric_least(text, 12) : text);
    }
    text = numeric_least(text, both ? left - room : left);
    region_text_cut(r, x, y, text, p->strings.data + o->text, theme_sign(t, SIGN_ELLIPSIS), s);
    if (both)
        region_text(r, x + text + 2, y, room, receipt, theme_style(t, ROLE_DIM));
    if (focused && i == p->at)
        region_restyle(r, 0, y, r.w, theme_style(t, ROLE_SELECTED));
}

static void draw(const struct panel *panel, struct region r, bool focused)
{
    const struct points_panel *p = (const struct points_panel *)panel;
    struct style dim = theme_style(panel->view->theme, ROLE_DIM);
    int top = numeric_scroll(p->top, p->at, p->n, r.h);
    if (p->n == 0)
        numeric_words(r, "no breakpoints, no patches: break SITE, patch SITE OP", dim);
    for (int y = 0; y < r.h && top + y < p->n; y++)
        draw_point(p, r, y, top + y, focused);
}

static void title(const struct panel *panel, struct text *out)
{
    const struct points_panel *p = (const struct points_panel *)panel;
    text_add(out, "breakpoints and patches");
    if (p->n > 0)
        text_printf(out, "  %d", p->n);
}

/* ---- keys ---- */

static enum key_result move(struct points_panel *p, int by)
{
    p->at = numeric_clamp(p->at + by, 0, p->n - 1);
    p->top = numeric_scroll(p->top, p->at, p->n, p->base.h);
    return KEY_DONE;
}

/* A patch has no condition: Enter writes a new one of the same words. */
static enum key_result edit(const struct points_panel *p, struct text *line)
{
    const struct point *o = &p->point[p->at];
    if (o->patch)
        text_printf(line, "patch %s", p->strings.data + o->text);
    else
        text_printf(line, "condition %d %s", o->id, p->strings.data + o->condition);
    return KEY_PROMPT;
}

static enum key_result key(struct panel *panel, int k, struct text *line)
{
    struct points_panel *p = (struct points_panel *)panel;
    int page = panel->h > 1 ? panel->h - 1 : 1;
    if (p->n == 0)
        return KEY_IGNORED;
    const struct point *o = &p->point[p->at];
    const char *what = o->patch ? "patch " : "";
    switch (k) {
    case 'j':
    case KEY_DOWN_ARROW:
        return move(p, 1);
    case 'k':
    case KEY_UP_ARROW:
        return move(p, -1);
    case KEY_PAGE_DOWN:
        return move(p, page);
    case KEY_PAGE_UP:
        return move(p, -page);
    case 'g':
    case KEY_HOME_KEY:
        return move(p, -p->n);
    case 'G':
    case KEY_END_KEY:
        return move(p, p->n);
    case ' ':
        text_printf(line, "%s %s%d", o->enabled ? "disable" : "enable", what, o->id);
        return KEY_COMMAND;
    case 'd':
    case KEY_DELETE_KEY:
        text_printf(line, "delete %s%d", what, o->id);
        return KEY_COMMAND;
    case KEY_RETURN:
        return edit(p, line);
    default:
        return KEY_IGNORED;
    }
}

static bool search(struct panel *panel, const char *needle, bool back)
{
    struct points_panel *p = (struct points_panel *)panel;
    for (int i = 1; i <= p->n; i++) {
        int k = (p->at + (back ? p->n - i : i)) % p->n;
        if (!strstr(p->strings.data + p->point[k].text, needle))
            continue;
        move(p, k - p->at);
        return true;
    }
    return false;
}

static const struct key_help keys[] = {
    {"j k", "one of them"}, {"Space", "switch it on, off"},
    {"d", "delete it"},     {"Enter", "its condition; a patch: write another like it"},
    {NULL, NULL},
};

const struct panel_kind panel_points = {
    .name = "points",
    .size = sizeof(struct points_panel),
    .min_w = 16,
    .min_h = 2,
    .open = open_panel,
    .close = close_panel,
    .refresh = refresh,
    .draw = draw,
    .title = title,
    .key = key,
    .search = search,
    .keys = keys,
};
