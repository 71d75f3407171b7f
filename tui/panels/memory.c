/* memory.c - what the memory is used for, and how that went. */
#include "tui/panels/numeric.h"

#include <stdio.h>
#include <string.h>

#define SAMPLES 256
#define NAME_W  12
#define SIZE_W  10

struct memory_panel {
    struct panel base;
    size_t now[MEM_CATEGORIES], all; /* a file's pages only where no device has a copy; their sum */
    size_t device, mapped;
    size_t total, peak, budget, rss, rss_peak, available;
    struct keep keep; /* what checkpoints hold */
    /* The total at each refresh, in a ring. */
    size_t sample[SAMPLES];
    int n_samples, next;
    int top; /* the first line shown */
};

static bool refresh(struct panel *panel, int w, int h, struct error *err)
{
    struct memory_panel *p = (struct memory_panel *)panel;
    const struct ledger *l = panel->view->ledger;
    (void)w;
    (void)h;
    (void)err;
    p->all = p->device = p->mapped = 0;
    for (int c = 0; c < MEM_CATEGORIES; c++) {
        size_t device = ledger_now(l, c, MEM_DEVICE), mapped = ledger_now(l, c, MEM_MAPPED);
        p->now[c] = ledger_now(l, c, MEM_HOST) + (device > 0 ? device : mapped);
        p->all += p->now[c];
        p->device += device;
        p->mapped += mapped;
    }
    p->total = ledger_total(l);
    p->peak = ledger_total_peak(l);
    p->budget = ledger_budget(l);
    p->rss = mem_resident();
    p->rss_peak = mem_resident_peak();
    p->available = mem_available();
    p->keep = atomic_load(&panel->view->console->session->trace.keep_now);
    p->sample[p->next] = p->total;
    p->next = (p->next + 1) % SAMPLES;
    p->n_samples += p->n_samples < SAMPLES;
    return true;
}

/* ---- drawing ---- */

/* A name, a size, and a bar of what part it is of `whole`. */
static void draw_bar(const struct memory_panel *p, struct region r, int y, const char *name,
                     size_t bytes, size_t whole)
{
    const struct theme *t = p->base.view->theme;
    char size[24];
    region_text(r, 0, y, NAME_W, name, theme_style(t, ROLE_TEXT));
    region_printf(r, NAME_W, y, theme_style(t, ROLE_TEXT), "%*s", SIZE_W, mem_format(bytes, size));
    int x = NAME_W + SIZE_W + 1;
    if (whole > 0)
        numeric_bar(t, r, x, y, r.w - x, (double)bytes / (double)whole, theme_style(t, ROLE_BAR));
}

static void draw_size(const struct memory_panel *p, struct region r, int y, const char *name,
                      size_t bytes, const char *none)
{
    const struct theme *t = p->base.view->theme;
    char size[24];
    region_text(r, 0, y, NAME_W, name, theme_style(t, ROLE_DIM));
    region_printf(r, NAME_W, y, theme_style(t, ROLE_TEXT), "%*s", SIZE_W,
                  bytes > 0 ? mem_format(bytes, size) : none);
}

static void draw_history(const struct memory_panel *p, struct region r, int y)
{
    const struct theme *t = p->base.view->theme;
    int x0 = NAME_W, n = numeric_least(r.w - x0, p->n_samples);
    size_t most = 1, least = SIZE_MAX;
    region_text(r, 0, y, NAME_W, "history", theme_style(t, ROLE_DIM));
    for (int i = 0; i < n; i++) {
        size_t v = p->sample[(p->next - n + i + SAMPLES) % SAMPLES];
        most = v > most ? v : most;
        least = v < least ? v : least;
    }
    /* From the least that was seen, since weights alone would fill each column. */
    for (int i = 0; i < n; i++) {
        size_t v = p->sample[(p->next - n + i + SAMPLES) % SAMPLES];
        double part = most > least ? (double)(v - least) / (double)(most - least) : 0;
        region_put(r, x0 + i, y, theme_spark(t, part), theme_style(t, ROLE_BAR));
    }
}

static void draw_kept(const struct memory_panel *p, struct region r, int y)
{
    const struct theme *t = p->base.view->theme;
    char words[64];
    region_text(r, 0, y, NAME_W, "kept", theme_style(t, ROLE_DIM));
    region_text(r, NAME_W, y, r.w - NAME_W, p->keep.stride ? keep_words(p->keep, words) : "-",
                theme_style(t, ROLE_TEXT));
}

/* One more of the brief line, whole or not at all. */
static void add_brief(char line[500], int w, const char *name, size_t bytes)
{
    char size[24], more[80];
    size_t n = strlen(line);
    snprintf(more, sizeof more, "%s%s %s", n ? "  " : "", name, mem_format(bytes, size));
    if (n + strlen(more) <= (size_t)w && n + strlen(more) < 500)
        strcat(line, more);
}

/* In one line, where there is no room for more: "total 3.0 MiB  peak 3.9 MiB  weights 2.5 MiB". */
static void draw_brief(const struct memory_panel *p, struct region r)
{
    char line[500] = "";
    add_brief(line, r.w, "total", p->total);
    add_brief(line, r.w, "peak", p->peak);
    add_brief(line, r.w, "rss", p->rss);
    for (int c = 0; c < MEM_CATEGORIES; c++)
        add_brief(line, r.w, mem_category_name(c), p->now[c]);
    region_text(r, 0, 0, r.w, line, theme_style(p->base.view->theme, ROLE_TEXT));
}

#define LINES (MEM_CATEGORIES + 9)

static void draw_line(const struct memory_panel *p, struct region r, int y, int i)
{
    switch (i - MEM_CATEGORIES) {
    case 0:
        draw_bar(p, r, y, "total", p->total, p->budget);
        break;
    case 1:
        draw_size(p, r, y, "peak", p->peak, "-");
        break;
    case 2:
        draw_size(p, r, y, "budget", p->budget, "none");
        break;
    case 3:
        draw_size(p, r, y, "mapped", p->mapped, "-");
        break;
    case 4:
        draw_size(p, r, y, "device", p->device, "-");
        break;
    case 5:
        draw_size(p, r, y, "rss", p->rss, "unknown");
        break;
    case 6:
        draw_size(p, r, y, "available", p->available, "unknown");
        break;
    case 7:
        draw_kept(p, r, y);
        break;
    case 8:
        draw_history(p, r, y);
        break;
    default:
        draw_bar(p, r, y, mem_category_name(i), p->now[i], p->all);
    }
}

static void draw(const struct panel *panel, struct region r, bool focused)
{
    const struct memory_panel *p = (const struct memory_panel *)panel;
    int top = numeric_clamp(p->top, 0, LINES > r.h ? LINES - r.h : 0);
    (void)focused;
    if (r.h < 4) {
        draw_brief(p, r);
        return;
    }
    for (int y = 0; y < r.h && top + y < LINES; y++)
        draw_line(p, r, y, top + y);
}

static void title(const struct panel *panel, struct text *out)
{
    const struct memory_panel *p = (const struct memory_panel *)panel;
    char size[24];
    text_printf(out, "memory  %s", mem_format(p->total, size));
}

static enum key_result key(struct panel *panel, int k, struct text *line)
{
    struct memory_panel *p = (struct memory_panel *)panel;
    int most = LINES > panel->h ? LINES - panel->h : 0, by = 0;
    switch (k) {
    case 'j':
    case KEY_DOWN_ARROW:
        by = 1;
        break;
    case 'k':
    case KEY_UP_ARROW:
        by = -1;
        break;
    case 'g':
    case KEY_HOME_KEY:
    case KEY_PAGE_UP:
        by = -LINES;
        break;
    case 'G':
    case KEY_END_KEY:
    case KEY_PAGE_DOWN:
        by = LINES;
        break;
    case KEY_RETURN:
        text_add(line, "info memory");
        return KEY_COMMAND;
    default:
        return KEY_IGNORED;
    }
    p->top = numeric_clamp(numeric_clamp(p->top, 0, most) + by, 0, most);
    return KEY_DONE;
}

static const struct key_help keys[] = {
    {"j k", "scroll"}, {"Enter", "all of it in the console"}, {NULL, NULL}};

const struct panel_kind panel_memory = {
    .name = "memory",
    .size = sizeof(struct memory_panel),
    .min_w = 20,
    .min_h = 1,
    .refresh = refresh,
    .live = true,
    .draw = draw,
    .title = title,
    .key = key,
    .keys = keys,
};
