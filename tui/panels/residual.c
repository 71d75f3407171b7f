/* residual.c - what the residual stream is made of: layer by layer, or layers by positions. */
#include "tui/panels/residual_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool open_panel(struct panel *p, struct error *err)
{
    (void)err;
    ((struct residual_panel *)p)->rows_of = -1;
    return true;
}

static void close_panel(struct panel *panel)
{
    struct residual_panel *p = (struct residual_panel *)panel;
    struct ledger *l = panel->view->ledger;
    mem_free(l, p->row);
    mem_free(l, p->direction);
    mem_free(l, p->cells);
}

int residual_op(const struct session *s, int row, int position)
{
    return row == 0 ? program_find(&s->model.program, SITE_RESID_PRE, 0)
                    : numeric_residual_after(s, row - 1, position);
}

/* ---- the bars ---- */

static double norm_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static double along(const float *x, const float *direction, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)direction[i];
    return sum;
}

/* The last residual, as a unit vector, if it is computed. */
static bool read_direction(struct residual_panel *p, struct session *s, struct error *err)
{
    size_t d = (size_t)s->model.config.d_model;
    int op = residual_op(s, p->n_layers, p->position);
    p->has_direction = false;
    if (op < 0 || !trace_has(&s->trace, p->position, op))
        return true;
    if (!trace_read(&s->trace, op, p->position, 1, 0, 0, 0, p->direction, err))
        return false;
    p->last_norm = norm_of(p->direction, d);
    for (size_t i = 0; i < d && p->last_norm > 0; i++)
        p->direction[i] = (float)((double)p->direction[i] / p->last_norm);
    p->has_direction = true;
    return true;
}

/* One op's row: its norm, and its part along the direction. *has stays where it is not computed. */
static bool read_one(struct residual_panel *p, struct session *s, int op, float *x, bool *has,
                     double *norm, double *part, struct error *err)
{
    size_t d = (size_t)s->model.config.d_model;
    if (*has || op < 0 || !trace_has(&s->trace, p->position, op))
        return true;
    if (!trace_read(&s->trace, op, p->position, 1, 0, 0, 0, x, err))
        return false;
    *norm = norm_of(x, d);
    *part = p->has_direction ? along(x, p->direction, d) : NAN;
    *has = true;
    return true;
}

static bool read_row(struct residual_panel *p, struct session *s, int i, float *x,
                     struct error *err)
{
    const struct program *program = &s->model.program;
    struct residual_row *r = &p->row[i];
    bool had = r->has_norm;
    bool ok =
        read_one(p, s, residual_op(s, i, p->position), x, &r->has_norm, &r->norm, &r->cosine, err);
    if (ok && r->has_norm && !had)
        r->cosine = r->norm > 0 ? r->cosine / r->norm : NAN;
    if (!ok || i == 0)
        return ok;
    return read_one(p, s, program_find(program, SITE_ATTN_OUT, i - 1), x, &r->has_attn, &r->attn,
                    &r->attn_along, err) &&
           read_one(p, s, program_find(program, SITE_MLP_OUT, i - 1), x, &r->has_mlp, &r->mlp,
                    &r->mlp_along, err);
}

static bool read_bars(struct residual_panel *p, struct session *s, double deadline,
                      struct error *err)
{
    size_t d = (size_t)s->model.config.d_model;
    uint64_t stamp = numeric_stamp(p->base.view);
    bool had = p->has_direction, ok = true, same = p->rows_of == p->position && p->stamp == stamp;
    if (!p->row || !p->direction) {
        mem_free(s->ledger, p->row);
        mem_free(s->ledger, p->direction);
        p->n_rows = 0;
        p->row =
            mem_alloc_array(s->ledger, MEM_VIEWS, (size_t)p->n_layers + 1, sizeof *p->row, err);
        p->direction = mem_alloc_array(s->ledger, MEM_VIEWS, d, sizeof *p->direction, err);
        if (!p->row || !p->direction)
            return false;
        p->n_rows = p->n_layers + 1;
    }
    if (!same || !p->has_direction)
        ok = read_direction(p, s, err);
    /* All is measured along the direction, so that with another one all is read again. */
    if (!same || had != p->has_direction)
        memset(p->row, 0, (size_t)p->n_rows * sizeof *p->row);
    p->rows_of = ok ? p->position : -1;
    p->stamp = stamp;
    float *x = mem_alloc_array(s->ledger, MEM_VIEWS, d, sizeof *x, err);
    ok = ok && x;
    for (int i = 0; ok && i < p->body; i++) {
        ok = read_row(p, s, p->top + i, x, err);
        if (ok && i + 1 < p->body && !numeric_go_on(s, deadline, &p->reading, &ok, err))
            break;
    }
    mem_free(s->ledger, x);
    return ok;
}

/* ---- refreshing ---- */

static bool refresh(struct panel *panel, int w, int h, struct error *err)
{
    struct residual_panel *p = (struct residual_panel *)panel;
    struct selection *sel = &panel->view->selection;
    double deadline = numeric_seconds() + REFRESH_SECONDS;
    struct error why;
    int32_t target = -1;
    panel->more = p->reading = false;
    struct session *s = numeric_session(panel->view, p->words);
    p->n = 0;
    if (!s)
        return true;
    p->n_layers = s->model.program.n_layers;
    p->n_vocab = s->model.config.n_vocab;
    p->position = numeric_clamp(sel->position, 0, s->trace.n_ids - 1);
    int first = program_find(&s->model.program, SITE_RESID_PRE, 0);
    bool map = p->mode != RESIDUAL_BARS;
    int known = map ? 0 : p->position;
    if (!session_has(s, known, first, &why)) {
        snprintf(p->words, sizeof p->words, "%.290s", why.text);
        return true;
    }
    p->n = s->trace.n_ids;
    sel->layer = numeric_clamp(sel->layer, 0, p->n_layers - 1);
    p->embedded = p->embedded && sel->layer == 0;
    p->line = p->embedded ? 0 : sel->layer + 1;
    int room = h > 2 ? map ? heatmap_rows(panel->view->theme, h - 2) : h - 2 : h > 1 ? h - 1 : 1;
    p->body = numeric_least(p->n_layers + 1, room);
    p->top = numeric_scroll(p->top, p->line, p->n_layers + 1, p->body);
    bool ok = numeric_label(s, s->trace.ids[p->position], p->label, err);
    p->target[0] = '\0';
    if (ok && (p->mode == RESIDUAL_RANK || p->mode == RESIDUAL_PROBABILITY)) {
        ok = residual_target(s, sel->chosen ? sel->token : -1, p->position, &target, err);
        if (ok && target >= 0)
            ok = numeric_label(s, target, p->target, err);
    }
    if (ok && map)
        ok = residual_map_read(p, s, numeric_least(p->n, w - RESIDUAL_LABEL_W), deadline, err);
    else if (ok)
        ok = read_bars(p, s, deadline, err);
    panel->more = ok && p->reading;
    return ok;
}

/* ---- keys ---- */

static enum key_result move(struct residual_panel *p, int lines, int positions)
{
    struct selection *sel = &p->base.view->selection;
    int columns = p->mode == RESIDUAL_BARS ? p->n : p->spec.columns;
    p->line = numeric_clamp(p->line + lines, 0, p->n_layers);
    p->embedded = p->line == 0;
    if (lines)
        sel->layer = p->line > 0 ? p->line - 1 : 0;
    if (positions && columns > 0) {
        int cell = heatmap_cell(p->position, p->n, columns) + positions;
        sel->position = heatmap_first(numeric_clamp(cell, 0, columns - 1), p->n, columns);
    }
    sel->follow = false;
    return KEY_SHARED;
}

static enum key_result key_pressed(struct panel *panel, int key, struct text *line)
{
    struct residual_panel *p = (struct residual_panel *)panel;
    struct selection *sel = &panel->view->selection;
    if (key == 'm') {
        p->mode = (enum residual_mode)((p->mode + 1) % RESIDUAL_MODES);
        return KEY_REFRESH;
    }
    if (p->n == 0)
        return KEY_IGNORED;
    switch (key) {
    case 'k':
    case KEY_UP_ARROW:
        return move(p, -1, 0);
    case 'j':
    case KEY_DOWN_ARROW:
        return move(p, 1, 0);
    case 'h':
    case KEY_LEFT_ARROW:
        return move(p, 0, -1);
    case 'l':
    case KEY_RIGHT_ARROW:
        return move(p, 0, 1);
    case KEY_PAGE_UP:
        return move(p, -p->body, 0);
    case KEY_PAGE_DOWN:
        return move(p, p->body, 0);
    case KEY_HOME_KEY:
        return move(p, -p->n_layers, 0);
    case KEY_END_KEY:
        return move(p, p->n_layers, 0);
    case 'f':
        sel->follow = true;
        return KEY_SHARED;
    case 'x':
        sel->chosen = false;
        return KEY_SHARED;
    case KEY_RETURN:
        if (p->line == 0)
            text_printf(line, "goto %d 0.resid_pre", p->position);
        else
            text_printf(line, "goto %d %d.resid_post", p->position, p->line - 1);
        return KEY_COMMAND;
    case 'e':
        text_printf(line, "patch %d.%s at %d ", p->line > 0 ? p->line - 1 : 0,
                    p->line > 0 ? "resid_post" : "resid_pre", p->position);
        return KEY_PROMPT;
    default:
        return KEY_IGNORED;
    }
}

static enum key_result mouse(struct panel *panel, enum mouse_action action, int x, int y,
                             struct text *line)
{
    struct residual_panel *p = (struct residual_panel *)panel;
    struct selection *sel = &panel->view->selection;
    (void)line;
    if (p->n == 0)
        return KEY_IGNORED;
    if (action == MOUSE_WHEEL_UP || action == MOUSE_WHEEL_DOWN)
        return move(p, action == MOUSE_WHEEL_UP ? -1 : 1, 0);
    int row = y - 1, column;
    if (p->mode != RESIDUAL_BARS) {
        struct heatmap m = {.rows = p->spec.rows, .columns = p->spec.columns};
        int lines = (p->spec.rows + 1) / 2;
        if (heatmap_rows(panel->view->theme, 1) == 1 || panel->h - 2 >= p->spec.rows)
            lines = p->spec.rows;
        if (!heatmap_at(panel->view->theme, &m, panel->w - RESIDUAL_LABEL_W, lines,
                        x - RESIDUAL_LABEL_W, y - 1, &row, &column))
            return KEY_DONE;
        sel->position = heatmap_first(column, p->n, p->spec.columns);
    }
    if (row < 0 || row >= p->body)
        return KEY_DONE;
    return move(p, p->top + row - p->line, 0);
}

static void title(const struct panel *panel, struct text *out)
{
    static const char *const what[] = {"", "  norm (log)", "  lens rank", "  lens probability"};
    const struct residual_panel *p = (const struct residual_panel *)panel;
    text_printf(out, "residual%s", what[p->mode]);
    if (p->mode == RESIDUAL_BARS && p->n > 0)
        text_printf(out, "  tok %d", p->position);
    if (p->reading)
        text_add(out, "  reading");
}

static const struct key_help keys[] = {
    {"j k", "layer"},
    {"h l", "token"},
    {"m", "bars / map of norms / lens ranks / lens probabilities"},
    {"x", "the token that came, instead of the chosen one"},
    {"f", "follow the debugger's cursor"},
    {"Enter", "go there"},
    {"e", "patch it"},
    {NULL, NULL},
};

const struct panel_kind panel_residual = {
    .name = "residual",
    .size = sizeof(struct residual_panel),
    .min_w = 14,
    .min_h = 3,
    .open = open_panel,
    .close = close_panel,
    .refresh = refresh,
    .draw = residual_draw,
    .title = title,
    .key = key_pressed,
    .mouse = mouse,
    .keys = keys,
};
