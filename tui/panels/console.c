/* console.c - what the console said, wrapped, and the line being typed below it. */
#include "tui/panels/console.h"

#include "tui/typed.h"

#include <string.h>

/* ---- the lines ---- */

struct said_line {
    char *text;
    enum said what;
};

/* A ring: line i is at [(first + i) % SCROLLBACK_LINES]. */
struct scrollback {
    struct ledger *ledger;
    struct said_line line[SCROLLBACK_LINES];
    int first, n;
    uint64_t gone; /* lines that were dropped: who remembers a line's number can tell */
};

struct scrollback *scrollback_open(struct ledger *l, struct error *err)
{
    struct scrollback *s = mem_alloc(l, MEM_VIEWS, sizeof *s, err);
    if (s)
        s->ledger = l;
    return s;
}

static struct said_line *line_at(struct scrollback *s, int i)
{
    return &s->line[(s->first + i) % SCROLLBACK_LINES];
}

static void drop_oldest(struct scrollback *s)
{
    mem_free(s->ledger, line_at(s, 0)->text);
    line_at(s, 0)->text = NULL;
    s->first = (s->first + 1) % SCROLLBACK_LINES;
    s->n--;
    s->gone++;
}

void scrollback_close(struct scrollback *s)
{
    if (!s)
        return;
    while (s->n > 0)
        drop_oldest(s);
    mem_free(s->ledger, s);
}

static char *safe_copy(struct scrollback *s, const char *text, size_t n)
{
    struct text t;
    char *copy = NULL;
    text_init(&t, s->ledger, MEM_VIEWS);
    text_add_shown(&t, text, n, false);
    if (text_ok(&t, NULL))
        copy = mem_strdup(s->ledger, MEM_VIEWS, t.data ? t.data : "", NULL);
    text_fini(&t);
    return copy;
}

static void add_line(struct scrollback *s, enum said what, const char *text, size_t n)
{
    char *copy = safe_copy(s, text, n);
    while (!copy && s->n > 0) {
        /* Half of them at once: one alone would hardly make room. */
        for (int i = (s->n + 1) / 2; i > 0; i--)
            drop_oldest(s);
        copy = safe_copy(s, text, n);
    }
    if (!copy)
        return;
    if (s->n == SCROLLBACK_LINES)
        drop_oldest(s);
    *line_at(s, s->n++) = (struct said_line){.text = copy, .what = what};
}

void scrollback_add(struct scrollback *s, enum said what, const char *text, size_t n)
{
    while (n > 0) {
        const char *end = memchr(text, '\n', n);
        size_t length = end ? (size_t)(end - text) : n;
        add_line(s, what, text, length);
        text += length;
        n -= length;
        if (end) {
            text++;
            n--;
        }
    }
}

const char *scrollback_line(const struct scrollback *s, int i, enum said *what)
{
    const struct said_line *line = &s->line[(s->first + i) % SCROLLBACK_LINES];
    if (what)
        *what = line->what;
    return line->text;
}

/* ---- the panel ---- */

#define PROMPT_LEAD "(midpass) "

struct console_panel {
    struct panel base;
    /* The line at the bottom while it does not follow: counted from the first ever said, so that
     * it stays in place while more is said. */
    bool held;
    uint64_t bottom;
    bool found; /* the line at the bottom is what a search found */
};

/* The bottom line's number among those that are there, or -1: none. */
static int bottom_of(const struct console_panel *p)
{
    const struct scrollback *s = p->base.view->scrollback;
    if (!s || s->n == 0)
        return -1;
    if (!p->held)
        return s->n - 1;
    if (p->bottom < s->gone)
        return 0;
    return p->bottom - s->gone < (uint64_t)s->n ? (int)(p->bottom - s->gone) : s->n - 1;
}

static void hold(struct console_panel *p, int line)
{
    const struct scrollback *s = p->base.view->scrollback;
    line = line < 0 ? 0 : line;
    p->held = line < s->n - 1;
    p->bottom = s->gone + (uint64_t)line;
}

static int rows_of(const char *s, int w)
{
    int rows = 0;
    do {
        text_take_line(&s, w);
        rows++;
    } while (*s);
    return rows;
}

static struct style style_of(const struct theme *t, enum said what)
{
    switch (what) {
    case SAID_COMMAND:
        return theme_style(t, ROLE_TITLE);
    case SAID_ERROR:
        return theme_style(t, ROLE_ERROR);
    case SAID_NOTICE:
        return theme_style(t, ROLE_WARNING);
    case SAID_LOG:
        return theme_style(t, ROLE_DIM);
    default:
        return theme_style(t, ROLE_TEXT);
    }
}

/* Draws a wrapped line so that it ends above row y; returns the row of its first line, which may
 * lie above the region. */
static int draw_line(struct region r, int y, const char *s, struct style st)
{
    int top = y - rows_of(s, r.w);
    for (int at = top; at < y; at++) {
        const char *row = s;
        size_t n = text_take_line(&s, r.w);
        if (at >= 0)
            region_text_bytes(r, 0, at, r.w, row, n, st);
    }
    return top;
}

static void draw_prompt(const struct console_panel *p, struct region r, int y)
{
    const struct prompt_view *v = &p->base.view->prompt;
    const struct theme *t = p->base.view->theme;
    if (v->active)
        typed_draw(r, y, v, theme_style(t, ROLE_TEXT));
    else
        region_text(r, 0, y, r.w, PROMPT_LEAD, theme_style(t, ROLE_DIM));
}

static void draw(const struct panel *panel, struct region r, bool focused)
{
    const struct console_panel *p = (const struct console_panel *)panel;
    const struct theme *t = panel->view->theme;
    const struct scrollback *s = panel->view->scrollback;
    int y = r.h - 1, line = bottom_of(p);
    (void)focused;
    if (r.w < 1 || r.h < 1)
        return;
    draw_prompt(p, r, y);
    if (p->held && r.h > 2) {
        y--;
        region_printf(r, 0, y, theme_style(t, ROLE_DIM), "%s %d more, End shows them",
                      theme_sign(t, SIGN_DOWN), s->n - 1 - line);
    }
    for (bool found = p->found; line >= 0 && y > 0; line--, found = false) {
        enum said what;
        const char *text = scrollback_line(s, line, &what);
        int end = y;
        y = draw_line(r, y, text, style_of(t, what));
        for (int i = y < 0 ? 0 : y; found && i < end; i++)
            region_restyle(r, 0, i, r.w, theme_style(t, ROLE_SELECTED));
    }
}

static void title(const struct panel *panel, struct text *out)
{
    const struct console_panel *p = (const struct console_panel *)panel;
    text_add(out, "console");
    if (p->held)
        text_printf(out, "  line %d of %d", bottom_of(p) + 1, panel->view->scrollback->n);
}

static enum key_result key(struct panel *panel, int k, struct text *line)
{
    struct console_panel *p = (struct console_panel *)panel;
    const struct scrollback *s = panel->view->scrollback;
    int at = bottom_of(p), page = panel->h > 3 ? panel->h - 2 : 1;
    (void)line;
    if (!s || s->n == 0)
        return k == KEY_RETURN ? KEY_PROMPT : KEY_IGNORED;
    switch (k) {
    case 'k':
    case KEY_UP_ARROW:
        hold(p, at - 1);
        break;
    case 'j':
    case KEY_DOWN_ARROW:
        hold(p, at + 1);
        break;
    case KEY_PAGE_UP:
        hold(p, at - page);
        break;
    case KEY_PAGE_DOWN:
        hold(p, at + page);
        break;
    case 'g':
    case KEY_HOME_KEY:
        /* The oldest at the top of the panel. */
        hold(p, page - 1);
        break;
    case 'G':
    case KEY_END_KEY:
        hold(p, s->n);
        break;
    case KEY_RETURN:
        return KEY_PROMPT;
    default:
        return KEY_IGNORED;
    }
    p->found = false;
    return KEY_DONE;
}

static enum key_result mouse(struct panel *panel, enum mouse_action a, int x, int y,
                             struct text *line)
{
    struct console_panel *p = (struct console_panel *)panel;
    (void)x;
    (void)y;
    (void)line;
    if (bottom_of(p) < 0 || (a != MOUSE_WHEEL_UP && a != MOUSE_WHEEL_DOWN))
        return KEY_IGNORED;
    hold(p, bottom_of(p) + (a == MOUSE_WHEEL_UP ? -3 : 3));
    p->found = false;
    return KEY_DONE;
}

/* From the newest up: what is looked for was mostly said a while ago. So `back` goes down. */
static bool search(struct panel *panel, const char *needle, bool back)
{
    struct console_panel *p = (struct console_panel *)panel;
    const struct scrollback *s = panel->view->scrollback;
    int n = s ? s->n : 0, at = bottom_of(p);
    int from = p->found || back ? at + (back ? 1 : -1) : at;
    for (int i = 0; i < n; i++) {
        int line = ((from + (back ? i : -i)) % n + n) % n;
        if (!strstr(scrollback_line(s, line, NULL), needle))
            continue;
        hold(p, line);
        p->found = true;
        return true;
    }
    return false;
}

static const struct key_help keys[] = {
    {"k j", "older, newer"},       {"PgUp PgDn", "a page"},       {"g G", "the oldest, the newest"},
    {"/", "search what was said"}, {"Enter :", "type a command"}, {NULL, NULL}};

const struct panel_kind panel_console = {
    .name = "console",
    .size = sizeof(struct console_panel),
    .min_w = 10,
    .min_h = 1,
    .draw = draw,
    .title = title,
    .key = key,
    .mouse = mouse,
    .search = search,
    .keys = keys,
};
