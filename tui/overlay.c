/* overlay.c - help and the palette of commands, over the panels. */
#include "tui/app_parts.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define PALETTE_MOST 120

/* ---- what there is to show ---- */

struct entry {
    const char *name, *usage, *brief;
    bool alone; /* runs as it stands: nothing need follow */
};

/* Whether the letters of the filter stand in the text, whatever their case. */
static bool holds(const char *text, const char *filter)
{
    size_t n = strlen(filter);
    for (; *text; text++)
        if (strncasecmp(text, filter, n) == 0)
            return true;
    return n == 0;
}

static int list_palette(const struct app *a, struct entry *out)
{
    int n = 0;
    /* Those whose name begins so come first. */
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; command_at(i) || screen_words[0].name; i++) {
            struct entry e;
            const struct command *k = command_at(i);
            if (!k)
                break;
            e = (struct entry){k->name, k->usage, k->brief, strcmp(k->usage, k->name) == 0};
            bool first = strncasecmp(e.name, a->filter, strlen(a->filter)) == 0;
            if (n < PALETTE_MOST && first == (pass == 0) &&
                (first || holds(e.usage, a->filter) || holds(e.brief, a->filter)))
                out[n++] = e;
        }
        for (int i = 0; screen_words[i].name; i++) {
            const struct word *w = &screen_words[i];
            struct entry e = {w->name, w->usage, w->brief, strcmp(w->usage, w->name) == 0};
            bool first = strncasecmp(e.name, a->filter, strlen(a->filter)) == 0;
            if (n < PALETTE_MOST && first == (pass == 0) &&
                (first || holds(e.usage, a->filter) || holds(e.brief, a->filter)))
                out[n++] = e;
        }
    }
    return n;
}

static void add_keys(struct text *t, const struct key_help *k)
{
    for (; k && k->keys; k++)
        text_printf(t, "  %-20s %s\n", k->keys, k->what);
}

static void add_help(struct app *a, struct text *t)
{
    struct panel *p = app_focused(a);
    if (p && p->kind->keys && p->kind->keys->keys) {
        text_printf(t, "In the panel %s\n", p->kind->name);
        add_keys(t, p->kind->keys);
        text_add(t, "\n");
    }
    text_add(t, "Everywhere\n");
    add_keys(t, app_keys);
    text_add(t, "\nOf the screen (the others: help, or Ctrl-P)\n");
    for (int i = 0; screen_words[i].name; i++)
        text_printf(t, "  %-20s %s\n", screen_words[i].usage, screen_words[i].brief);
    text_add(t, "\nPanels\n ");
    for (int i = 0; i < panels_count(); i++)
        text_printf(t, " %s", panels_kind(i)->name);
    text_add(t, "\nWhere there is little room, panels go in this order: points top memory value "
                "lens\n  residual tokens attention program. Tab and focus bring one back.\n");
}

/* ---- keys ---- */

void overlay_open(struct app *a, enum overlay which)
{
    a->overlay = which;
    a->overlay_at = a->overlay_top = 0;
    a->filter[0] = '\0';
    a->dirty = true;
}

static void choose(struct app *a)
{
    struct entry list[PALETTE_MOST];
    char line[64];
    int n = list_palette(a, list);
    a->overlay = OVERLAY_NONE;
    if (a->overlay_at >= n)
        return;
    const struct entry *e = &list[a->overlay_at];
    if (a->asking != ASK_NOTHING)
        prompt_close();
    a->asking = ASK_NOTHING;
    if (e->alone) {
        jobs_add(a, JOB_COMMAND, e->name);
        return;
    }
    snprintf(line, sizeof line, "%s ", e->name);
    ask_open(a, ASK_COMMAND, line);
}

static void filter_key(struct app *a, int key)
{
    size_t n = strlen(a->filter);
    if (key == KEY_RUBOUT && n > 0)
        a->filter[n - 1] = '\0';
    else if (key > ' ' && key < 127 && n + 1 < sizeof a->filter)
        a->filter[n] = (char)key, a->filter[n + 1] = '\0';
    else
        return;
    a->overlay_at = 0;
}

void overlay_key(struct app *a, int key)
{
    struct entry list[PALETTE_MOST];
    bool palette = a->overlay == OVERLAY_PALETTE;
    int page = a->h > 8 ? a->h - 8 : 1;
    int *at = palette ? &a->overlay_at : &a->overlay_top;
    a->dirty = true;
    switch (key) {
    case KEY_ESCAPE:
    case KEY_CTRL_C:
    case 16:
        a->overlay = OVERLAY_NONE;
        return;
    case KEY_UP_ARROW:
        (*at)--;
        break;
    case KEY_DOWN_ARROW:
        (*at)++;
        break;
    case KEY_PAGE_UP:
        *at -= page;
        break;
    case KEY_PAGE_DOWN:
        *at += page;
        break;
    case KEY_HOME_KEY:
        *at = 0;
        break;
    case KEY_RETURN:
        if (palette)
            choose(a);
        else
            a->overlay = OVERLAY_NONE;
        return;
    case 12:
        terminal_redraw();
        break;
    default:
        if (palette) {
            filter_key(a, key);
        } else if (key == 'j' || key == 'k') {
            *at += key == 'j' ? 1 : -1;
        } else if (key == ' ') {
            *at += page;
        } else if (key == 'q' || key == '?' || key == KEY_FUNCTION_1) {
            a->overlay = OVERLAY_NONE;
            return;
        }
    }
    int n = palette ? list_palette(a, list) : 1000;
    if (*at >= n)
        *at = n - 1;
    if (*at < 0)
        *at = 0;
}

/* ---- drawing ---- */

static struct region box(struct app *a, struct region r, int w, int h, const char *title)
{
    const struct theme *t = &a->theme;
    struct style frame = theme_style(t, ROLE_FOCUS);
    w = w > r.w ? r.w : w;
    h = h > r.h ? r.h : h;
    struct region b = region_part(r, (r.w - w) / 2, (r.h - h) / 2, w, h);
    region_fill(b, theme_style(t, ROLE_TEXT));
    for (int x = 1; x < w - 1; x++) {
        region_put(b, x, 0, theme_sign(t, SIGN_HORIZONTAL), frame);
        region_put(b, x, h - 1, theme_sign(t, SIGN_HORIZONTAL), frame);
    }
    for (int y = 1; y < h - 1; y++) {
        region_put(b, 0, y, theme_sign(t, SIGN_VERTICAL), frame);
        region_put(b, w - 1, y, theme_sign(t, SIGN_VERTICAL), frame);
    }
    region_put(b, 0, 0, theme_sign(t, SIGN_CORNER_UL), frame);
    region_put(b, w - 1, 0, theme_sign(t, SIGN_CORNER_UR), frame);
    region_put(b, 0, h - 1, theme_sign(t, SIGN_CORNER_LL), frame);
    region_put(b, w - 1, h - 1, theme_sign(t, SIGN_CORNER_LR), frame);
    region_text(b, 2, 0, w - 4, title, frame);
    return region_part(b, 2, 1, w - 4, h - 2);
}

static void draw_help(struct app *a, struct region r)
{
    struct text t;
    int lines = 0, top = a->overlay_top;
    text_init(&t, a->ledger, MEM_VIEWS);
    add_help(a, &t);
    if (text_ok(&t, NULL)) {
        for (const char *s = t.data; *s; s++)
            lines += *s == '\n';
        struct region b =
            box(a, r, 88, lines + 2, "help: arrows scroll, Esc leaves, help COMMAND tells more");
        if (top > lines - b.h)
            top = lines > b.h ? lines - b.h : 0;
        a->overlay_top = top;
        int y = -top;
        for (char *s = t.data; *s; y++) {
            char *end = strchr(s, '\n');
            *end = '\0';
            bool heading = *s && *s != ' ';
            if (y >= 0)
                region_text(b, 0, y, b.w, s,
                            theme_style(&a->theme, heading ? ROLE_TITLE : ROLE_TEXT));
            s = end + 1;
        }
    }
    text_fini(&t);
}

static void draw_palette(struct app *a, struct region r)
{
    struct entry list[PALETTE_MOST];
    int n = list_palette(a, list);
    struct region b =
        box(a, r, 96, r.h > 28 ? 26 : r.h - 2, "commands: type to find, Enter, Esc leaves");
    struct style plain = theme_style(&a->theme, ROLE_TEXT);
    int rows = b.h - 1;
    a->cursor_x = b.x + 2 + region_printf(b, 0, 0, plain, "> %s", a->filter) - 2;
    a->cursor_y = b.y;
    if (a->overlay_top > a->overlay_at)
        a->overlay_top = a->overlay_at;
    if (rows > 0 && a->overlay_at >= a->overlay_top + rows)
        a->overlay_top = a->overlay_at - rows + 1;
    for (int i = 0; i < rows && a->overlay_top + i < n; i++) {
        const struct entry *e = &list[a->overlay_top + i];
        bool on = a->overlay_top + i == a->overlay_at;
        struct style s = theme_style(&a->theme, on ? ROLE_SELECTED : ROLE_TEXT);
        if (on)
            region_fill(region_part(b, 0, i + 1, b.w, 1), s);
        region_put(b, 0, i + 1, on ? theme_sign(&a->theme, SIGN_CURSOR) : " ", s);
        int w = b.w > 60 ? 30 : b.w / 2;
        region_text_cut(b, 2, i + 1, w - 1, e->usage, theme_sign(&a->theme, SIGN_ELLIPSIS), s);
        region_text_cut(b, 2 + w, i + 1, b.w - w - 2, e->brief,
                        theme_sign(&a->theme, SIGN_ELLIPSIS), s);
    }
    if (n == 0)
        region_text(b, 2, 1, b.w - 2, "no command has this in it",
                    theme_style(&a->theme, ROLE_DIM));
}

void overlay_draw(struct app *a, struct region r)
{
    a->cursor_x = a->cursor_y = -1;
    if (a->overlay == OVERLAY_HELP)
        draw_help(a, r);
    else
        draw_palette(a, r);
}
