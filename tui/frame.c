/* frame.c - one frame: header, panels with their frames, the bar of keys. */
#include "tui/app_parts.h"

#include "tui/typed.h"

#include <stdio.h>
#include <string.h>

struct layout *app_layout(struct app *a)
{
    return &a->layouts[a->layout];
}

struct panel *app_focused(struct app *a)
{
    const struct layout *l = app_layout(a);
    return a->focus >= 0 && a->focus < l->n ? a->panel[l->place[a->focus].kind] : NULL;
}

bool app_panel_seen(struct app *a, const char *name)
{
    const struct layout *l = app_layout(a);
    for (int i = 0; i < l->n; i++)
        if (strcmp(panels_kind(l->place[i].kind)->name, name) == 0)
            return !l->place[i].dropped && l->place[i].w > 0;
    return false;
}

static bool is_small(const struct app *a)
{
    return a->w < LAYOUT_SMALL_W || a->h < LAYOUT_SMALL_H;
}

void frame_arrange(struct app *a)
{
    struct layout *l = app_layout(a);
    if (a->focus >= l->n)
        a->focus = 0;
    layout_arrange(l, 1, a->w, a->h - 2, a->focus, a->zoom);
    a->arranged = true;
    a->dirty = true;
}

/* ---- header ---- */

static void add_rate(struct text *t, double x)
{
    if (x >= 10000)
        text_printf(t, "%.0fk tok/s", x / 1000);
    else
        text_printf(t, x >= 100 ? "%.0f tok/s" : "%.1f tok/s", x);
}

static void add_seconds(struct text *t, double s)
{
    if (s >= 3600)
        text_printf(t, "%d h %02d min", (int)(s / 3600), (int)(s / 60) % 60);
    else if (s >= 60)
        text_printf(t, "%d min %02d s", (int)(s / 60), (int)s % 60);
    else
        text_printf(t, "%.0f s", s);
}

/* "running continue  43%  1200 tok/s  12 s left  Ctrl-C stops" */
static void add_progress(struct app *a, struct text *t)
{
    double since = app_now() - a->job_since;
    if (a->job == JOB_REFRESH) {
        text_printf(t, "reading %s", a->refreshing->kind->name);
        return;
    }
    text_add(t, "running ");
    if (a->job == JOB_COMMAND)
        text_add_shown(t, a->line.data ? a->line.data : "", a->line.n < 30 ? a->line.n : 30, false);
    else
        text_add(t, a->job == JOB_FILE ? "a file" : "the prompt");
    const struct trace *trace = &a->session.trace;
    int layers = a->session.model.config.n_layers;
    long goal = (long)atomic_load(&a->session.trace.work_goal) * layers;
    long done = atomic_load(&trace->work_done);
    if (since > 0.3 && goal > a->work_before && done > a->work_before) {
        double part = (double)(done - a->work_before) / (double)(goal - a->work_before);
        text_printf(t, "  %d%%  ", (int)(100 * (part > 1 ? 1 : part)));
        add_rate(t, (double)(done - a->work_before) / layers / since);
        if (part < 1) {
            text_add(t, "  ");
            add_seconds(t, since / part - since);
            text_add(t, " left");
        }
    }
    text_add(t, a->stopped ? "  stopping" : "  Ctrl-C stops");
}

static void add_model(struct app *a, struct text *t)
{
    const struct model *m = &a->session.model;
    const struct config *c = &m->config;
    text_add(t, " midpass  ");
    text_add_shown(t, m->name, strlen(m->name), false);
    text_add(t, "  ");
    text_add_shown(t, c->model_type, strlen(c->model_type), false);
    text_printf(t, " %dL %dH", c->n_layers, c->n_heads);
    if (c->n_kv_heads != c->n_heads)
        text_printf(t, "/%dKV", c->n_kv_heads);
    text_printf(t, " d%d %s   ", c->d_model, m->dtypes);
    text_printf(t, "%s", a->session.backend->name);
    if (a->options->session.n_threads > 0)
        text_printf(t, " %dt", a->options->session.n_threads);
}

static void add_loading(struct app *a, struct text *t)
{
    char size[24], all[24];
    size_t bytes = 0, total = atomic_load(&a->load.total);
    for (int p = 0; p < MEM_PLACES; p++)
        bytes += ledger_now(a->ledger, MEM_WEIGHTS, (enum mem_place)p);
    text_add(t, " midpass  loading ");
    text_add_shown(t, a->options->model, strlen(a->options->model), false);
    if (total > 0)
        text_printf(t, "  %s of %s", mem_format(atomic_load(&a->load.done), size),
                    mem_format(total, all));
    else if (bytes > 0)
        text_printf(t, "  weights %s", mem_format(bytes, size));
    double since = app_now() - a->job_since;
    if (since >= 1)
        text_printf(t, "  %.0f s", since);
}

static void add_place(struct app *a, struct text *t)
{
    const struct here *h = &a->here;
    if (!h->has_prompt) {
        text_add(t, "no prompt yet: run TEXT ");
        return;
    }
    text_printf(t, "tok %d/%d ", h->position, h->n_ids);
    text_add(t, h->token.data ? h->token.data : "");
    text_printf(t, "  %s ", theme_sign(&a->theme, SIGN_CURSOR));
    text_add(t, h->site[0] ? h->site : "start");
    text_add(t, " ");
}

static void draw_header(struct app *a, struct region r)
{
    struct text left, right;
    struct style bar = theme_style(&a->theme, ROLE_BAR);
    const char *dots = theme_sign(&a->theme, SIGN_ELLIPSIS);
    text_init(&left, a->ledger, MEM_VIEWS);
    text_init(&right, a->ledger, MEM_VIEWS);
    region_fill(region_part(r, 0, 0, r.w, 1), bar);
    if (!a->opened) {
        add_loading(a, &left);
    } else {
        add_model(a, &left);
        bool slow = a->job != JOB_NONE && app_now() - a->job_since > 0.1;
        if (slow) {
            text_add(&right, " ");
            add_progress(a, &right);
            text_add(&right, " ");
        } else {
            add_place(a, &right);
        }
    }
    const char *l = text_ok(&left, NULL) && left.data ? left.data : "";
    const char *e = text_ok(&right, NULL) && right.data ? right.data : "";
    int n = text_columns(e);
    /* Where it stands matters more than which model it is. */
    if (n > 0 && n >= r.w - 8) {
        region_text_cut(r, 0, 0, r.w, e, dots, bar);
    } else {
        region_text_cut(r, 0, 0, r.w - n - (n > 0), l, dots, bar);
        region_text(r, r.w - n, 0, n, e, bar);
    }
    text_fini(&left);
    text_fini(&right);
}

/* ---- the bar ---- */

static const struct key_help bar_keys[] = {
    {"F1", "help"},    {"s", "step"},     {"n", "next"},  {"t", "token"},
    {"c", "continue"}, {"r", "reverse"},  {"b", "break"}, {"e", "edit"},
    {"Tab", "panel"},  {":", "command"},  {"z", "zoom"},  {"=", "layout"},
    {"/", "search"},   {"^P", "palette"}, {"q", "quit"},  {NULL, NULL}};
static const struct key_help reverse_keys[] = {
    {"r then s", "step back"}, {"n", "next back"}, {"t", "token back"}, {"c", "continue back"},
    {"i", "one op back"},      {"Esc", "no"},      {NULL, NULL}};
static const struct key_help prompt_keys[] = {
    {"Enter", "run"},         {"Tab", "complete"},           {"Up", "history"},
    {"^R", "search history"}, {"Esc", "back to the panels"}, {NULL, NULL}};

static void draw_keys(struct app *a, struct region r, const struct key_help *k)
{
    struct style key = theme_style(&a->theme, ROLE_KEY), bar = theme_style(&a->theme, ROLE_BAR);
    int x = 0;
    for (; k->keys; k++) {
        int need = 1 + text_columns(k->keys) + 1 + text_columns(k->what) + 1;
        if (x + need > r.w)
            break;
        x++;
        x += region_text(r, x, r.h - 1, r.w - x, k->keys, key);
        x++;
        x += region_text(r, x, r.h - 1, r.w - x, k->what, bar);
        x++;
    }
}

static void draw_prompt(struct app *a, struct region r)
{
    const struct prompt_view *p = &a->view.prompt;
    struct style s = theme_style(&a->theme, ROLE_TEXT);
    int y = r.h - 1;
    region_fill(region_part(r, 0, y, r.w, 1), s);
    a->cursor_x = typed_draw(r, y, p, s);
    a->cursor_y = r.y + y;
}

static void draw_bar(struct app *a, struct region r)
{
    struct style bar = theme_style(&a->theme, ROLE_BAR);
    region_fill(region_part(r, 0, r.h - 1, r.w, 1), bar);
    if (a->asking != ASK_NOTHING && (a->asking == ASK_SEARCH || !app_panel_seen(a, "console")))
        draw_prompt(a, r);
    else if (a->message[0])
        region_text_cut(r, 1, r.h - 1, r.w - 1, a->message, theme_sign(&a->theme, SIGN_ELLIPSIS),
                        theme_style(&a->theme, ROLE_WARNING));
    else
        draw_keys(a, r,
                  a->reverse                 ? reverse_keys
                  : a->asking != ASK_NOTHING ? prompt_keys
                                             : bar_keys);
}

/* ---- panels ---- */

/* A panel that is being read on the other thread stands as it was in the last frame. */
static void copy_last(struct app *a, const struct layout_place *p)
{
    if (a->last.w != a->frame.w || a->last.h != a->frame.h)
        return;
    for (int y = p->y; y < p->y + p->h && y < a->frame.h; y++)
        for (int x = p->x; x < p->x + p->w && x < a->frame.w; x++)
            a->frame.cell[y * a->frame.w + x] = a->last.cell[y * a->last.w + x];
}

static void draw_title(struct app *a, struct region r, const struct layout_place *p, bool focused,
                       bool held)
{
    struct text t;
    struct panel *panel = a->panel[p->kind];
    text_init(&t, a->ledger, MEM_VIEWS);
    if (focused)
        text_printf(&t, "%s ", theme_sign(&a->theme, SIGN_CURSOR));
    if (held || !panel->kind->title)
        text_add(&t, panel->kind->name);
    else
        panel->kind->title(panel, &t);
    if (text_ok(&t, NULL) && t.data) {
        struct style s = theme_style(&a->theme, focused ? ROLE_FOCUS : ROLE_TITLE);
        region_text_cut(r, p->x, p->y - 1, p->w, t.data, theme_sign(&a->theme, SIGN_ELLIPSIS), s);
    }
    text_fini(&t);
}

static void draw_panels(struct app *a, struct region r)
{
    const struct layout *l = app_layout(a);
    for (int i = 0; i < l->n; i++) {
        const struct layout_place *p = &l->place[i];
        struct panel *panel = a->panel[p->kind];
        if (p->dropped || p->w < 1 || p->h < 1 || !panel)
            continue;
        bool held = panel == a->refreshing;
        if (held)
            copy_last(a, p);
        else if (panel->kind->refresh == NULL || panel->w > 0)
            panel->kind->draw(panel, region_part(r, p->x, p->y, p->w, p->h), i == a->focus);
        draw_title(a, r, p, i == a->focus, held);
    }
}

/* The cursor of the line being typed, which the console has as its last. */
static void place_cursor(struct app *a, struct region r)
{
    const struct layout *l = app_layout(a);
    for (int i = 0; i < l->n && a->asking == ASK_COMMAND; i++) {
        const struct layout_place *p = &l->place[i];
        if (p->dropped || p->w < 1 || strcmp(panels_kind(p->kind)->name, "console") != 0)
            continue;
        struct region line = region_part(r, p->x, p->y + p->h - 1, p->w, 1);
        a->cursor_x =
            p->x + typed_draw(line, 0, &a->view.prompt, theme_style(&a->theme, ROLE_TEXT));
        a->cursor_y = p->y + p->h - 1;
    }
}

bool frame_draw(struct app *a, struct error *err)
{
    struct cells old = a->last;
    a->last = a->frame;
    a->frame = old;
    if ((a->frame.w != a->w || a->frame.h != a->h) && !cells_resize(&a->frame, a->w, a->h, err))
        return false;
    cells_clear(&a->frame);
    struct region r = region_whole(&a->frame);
    a->cursor_x = a->cursor_y = -1;
    a->dirty = false;
    prompt_look(&a->view.prompt);
    if (is_small(a)) {
        region_text(r, 0, 0, r.w, "midpass: too small; q quits", theme_style(&a->theme, ROLE_TEXT));
    } else {
        if (!a->arranged)
            frame_arrange(a);
        draw_header(a, r);
        if (a->opened) {
            struct region inner = region_part(r, 0, 0, r.w, r.h - 1);
            layout_draw_frames(app_layout(a), &a->theme, inner, 1, a->focus);
            draw_panels(a, r);
            place_cursor(a, r);
        }
        draw_bar(a, r);
        if (a->overlay != OVERLAY_NONE)
            overlay_draw(a, r);
    }
    return terminal_show(&a->frame, a->cursor_x, a->cursor_y, err);
}
