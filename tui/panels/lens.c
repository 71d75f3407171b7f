/* lens.c - the logit lens: what the model would say after each layer. */
#include "tui/panels/lens_parts.h"

#include "engine/analysis/lens.h"
#include "engine/analysis/top_read.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define BATCH_LOGITS ((size_t)1 << 20) /* floats of logits computed at a time */
#define BATCH_ROWS   16

static void close_panel(struct panel *panel)
{
    struct lens_panel *p = (struct lens_panel *)panel;
    mem_free(panel->view->ledger, p->now);
    mem_free(panel->view->ledger, p->before);
}

int lens_index(const struct lens_panel *p, int line)
{
    return p->middle ? line : 2 * line + 1;
}

int lens_cell_width(const struct lens_panel *p)
{
    return (p->has_before ? LENS_PAIR_W : LENS_CELL_W) + 1;
}

int lens_rank_width(const struct lens_panel *p, int w)
{
    int cell = p->has_before ? LENS_PAIR_W : LENS_CELL_W;
    return w >= LENS_NAME_W + LENS_RANK_W + cell ? LENS_RANK_W : 0;
}

int lens_cells_fit(const struct lens_panel *p, int w)
{
    int room = w - LENS_NAME_W - lens_rank_width(p, w);
    return numeric_clamp((room + 1) / lens_cell_width(p), 1, LENS_CELLS);
}

bool lens_changed(const struct lens_panel *p, int index, int cell)
{
    const struct lens_row *now = &p->now[index], *old = &p->before[index];
    if (!p->has_before || !now->known || !old->known || cell >= now->n || cell >= old->n)
        return false;
    /* By what is shown: three digits. */
    return now->cell[cell].id != old->cell[cell].id ||
           lrint(1000 * (double)now->cell[cell].p) != lrint(1000 * (double)old->cell[cell].p);
}

/* ---- reading ---- */

static int op_of(const struct lens_panel *p, const struct session *s, int index)
{
    int layer = index / 2;
    return index % 2 ? numeric_residual_after(s, layer, p->position)
                     : program_find(&s->model.program, SITE_RESID_MID, layer);
}

static bool fill(struct lens_panel *p, const struct session *s, const struct top_row *found,
                 const struct top_entry *best, struct lens_row *row, struct error *err)
{
    row->n = found->n_best;
    for (int i = 0; i < row->n; i++) {
        row->cell[i].id = best[i].id;
        row->cell[i].p = (float)best[i].probability;
        if (!numeric_label(s, best[i].id, row->cell[i].label, err))
            return false;
    }
    row->rank = -1;
    if (p->target >= 0) {
        row->rank = found->rank;
        row->p = (float)found->target.probability;
    }
    row->known = true;
    return true;
}

/* The lens of residuals [n, D] into the lines that they are of. */
static bool read_batch(struct lens_panel *p, struct session *s, const float *rows, const int *lines,
                       size_t n, struct error *err)
{
    int32_t targets[BATCH_ROWS];
    struct top_row found[BATCH_ROWS];
    struct top_entry best[BATCH_ROWS * LENS_CELLS];
    struct top_ask ask = {.n_best = LENS_CELLS, .probabilities = true, .targets = targets};
    for (size_t i = 0; i < n; i++)
        targets[i] = p->target;
    bool ok = n == 0 || lens_top(&s->trace, rows, n, &ask, found, best, err);
    for (size_t i = 0; ok && i < n; i++)
        ok = fill(p, s, &found[i], best + i * LENS_CELLS, &p->now[lines[i]], err);
    return ok;
}

/* The lines that are seen, a few at a time. */
static bool read_lines(struct lens_panel *p, struct session *s, double deadline, struct error *err)
{
    size_t d = (size_t)s->model.config.d_model, vocab = (size_t)s->model.config.n_vocab;
    size_t batch = BATCH_LOGITS / vocab + 1;
    batch = batch < BATCH_ROWS ? batch : BATCH_ROWS;
    float *rows = mem_alloc_array(s->ledger, MEM_VIEWS, batch * d, sizeof *rows, err);
    if (!rows)
        return false;
    bool ok = true;
    int lines[BATCH_ROWS];
    for (int line = p->top; ok && line < p->top + p->body;) {
        size_t n = 0;
        for (; ok && n < batch && line < p->top + p->body; line++) {
            int index = lens_index(p, line), op = op_of(p, s, index);
            if (p->now[index].known || op < 0 || !trace_has(&s->trace, p->position, op))
                continue;
            ok = trace_read(&s->trace, op, p->position, 1, 0, 0, 0, rows + n * d, err);
            lines[n++] = index;
        }
        ok = ok && read_batch(p, s, rows, lines, n, err);
        if (ok && line < p->top + p->body && !numeric_go_on(s, deadline, &p->reading, &ok, err))
            break;
    }
    mem_free(s->ledger, rows);
    return ok;
}

static bool read_best(struct lens_panel *p, struct session *s, int op, struct error *err)
{
    struct top_ask ask = {.n_best = 1};
    struct top_row row;
    struct top_entry best = {.id = -1};
    bool ok = top_read(&s->trace, op, p->position, 1, &ask, &row, &best, err);
    p->best = best.id;
    return ok;
}

/* The token whose rank is told: the chosen one, the one that came, or the best of the logits. */
static bool find_target(struct lens_panel *p, struct session *s, struct error *err)
{
    const struct selection *sel = &p->base.view->selection;
    int logits_op = program_find(&s->model.program, SITE_LOGITS, 0);
    int vocab = s->model.config.n_vocab;
    p->chosen = sel->chosen && sel->token >= 0 && sel->token < vocab;
    p->target = -1;
    if (p->chosen) {
        p->target = sel->token;
    } else if (p->position + 1 < s->trace.n_ids) {
        p->target = s->trace.ids[p->position + 1];
    } else if (logits_op >= 0 && trace_has(&s->trace, p->position, logits_op)) {
        if (p->best_of != p->stamp && !read_best(p, s, logits_op, err))
            return false;
        p->best_of = p->stamp;
        p->target = p->best;
    }
    p->target_label[0] = '\0';
    return p->target < 0 || numeric_label(s, p->target, p->target_label, err);
}

/* The ids up to the position, and which it is. */
static uint64_t sequence_of(const struct session *s, int position)
{
    uint64_t x = (uint64_t)position + 1;
    for (int i = 0; i <= position; i++)
        x = (x ^ (uint32_t)s->trace.ids[i]) * 1099511628211u;
    return x;
}

/* What was read before an edit becomes what the new is compared with. */
static bool turn_over(struct lens_panel *p, struct session *s, struct error *err)
{
    size_t n = 2 * (size_t)p->n_layers;
    uint64_t stamp = numeric_stamp(p->base.view), sequence = sequence_of(s, p->position);
    if (!p->now || !p->before) {
        mem_free(s->ledger, p->now);
        mem_free(s->ledger, p->before);
        p->now = mem_alloc_array(s->ledger, MEM_VIEWS, n, sizeof *p->now, err);
        p->before = mem_alloc_array(s->ledger, MEM_VIEWS, n, sizeof *p->before, err);
        if (!p->now || !p->before)
            return false;
    } else if (p->stamp == stamp && p->sequence == sequence) {
        return true;
    } else if (p->sequence != sequence) {
        p->has_before = false;
    } else {
        bool any = false;
        for (size_t i = 0; i < n; i++)
            any = any || p->now[i].known;
        if (any) { /* not while an edit is not yet read: the one before it counts */
            struct lens_row *now = p->before;
            p->before = p->now;
            p->now = now;
            p->has_before = true;
        }
    }
    memset(p->now, 0, n * sizeof *p->now);
    p->stamp = stamp;
    p->sequence = sequence;
    return true;
}

static bool refresh(struct panel *panel, int w, int h, struct error *err)
{
    struct lens_panel *p = (struct lens_panel *)panel;
    struct selection *sel = &panel->view->selection;
    double deadline = numeric_seconds() + REFRESH_SECONDS;
    struct error why;
    int32_t target = p->target;
    panel->more = p->reading = false;
    struct session *s = numeric_session(panel->view, p->words);
    p->n_lines = 0;
    if (!s)
        return true;
    p->n_layers = s->model.program.n_layers;
    p->position = numeric_clamp(sel->position, 0, s->trace.n_ids - 1);
    /* Where attention and MLP stand side by side there is nothing between them. */
    bool middle = p->wants_middle && program_find(&s->model.program, SITE_RESID_MID, 0) >= 0;
    if (middle != p->middle)
        p->line = middle ? 2 * p->line + 1 : p->line / 2;
    p->middle = middle;
    int first = op_of(p, s, p->middle ? 0 : 1);
    if (!session_has(s, p->position, first, &why)) {
        snprintf(p->words, sizeof p->words, "%.290s", why.text);
        return true;
    }
    if (!turn_over(p, s, err) || !find_target(p, s, err) ||
        !numeric_label(s, s->trace.ids[p->position], p->label, err))
        return false;
    if (target != p->target) /* ranks are of another token */
        for (int i = 0; i < 2 * p->n_layers; i++)
            p->now[i].known = false;
    p->n_lines = p->middle ? 2 * p->n_layers : p->n_layers;
    sel->layer = numeric_clamp(sel->layer, 0, p->n_layers - 1);
    if (lens_index(p, p->line) / 2 != sel->layer)
        p->line = p->middle ? 2 * sel->layer + 1 : sel->layer;
    p->body = numeric_least(p->n_lines, h > 1 ? h - 1 : 1);
    p->top = numeric_scroll(p->top, p->line, p->n_lines, p->body);
    p->n_cells = lens_cells_fit(p, w);
    p->column = numeric_clamp(p->column, 0, p->n_cells - 1);
    bool ok = read_lines(p, s, deadline, err);
    panel->more = ok && p->reading;
    return ok;
}

/* ---- keys ---- */

static enum key_result move(struct lens_panel *p, int by)
{
    struct selection *sel = &p->base.view->selection;
    p->line = numeric_clamp(p->line + by, 0, p->n_lines - 1);
    sel->layer = lens_index(p, p->line) / 2;
    sel->follow = false;
    return KEY_SHARED;
}

static enum key_result choose(struct lens_panel *p)
{
    struct selection *sel = &p->base.view->selection;
    const struct lens_row *row = &p->now[lens_index(p, p->line)];
    if (!row->known || p->column >= row->n)
        return KEY_DONE;
    sel->chosen = true;
    sel->token = row->cell[p->column].id;
    return KEY_SHARED;
}

static enum key_result key_pressed(struct panel *panel, int key, struct text *line)
{
    struct lens_panel *p = (struct lens_panel *)panel;
    struct selection *sel = &panel->view->selection;
    if (p->n_lines == 0)
        return KEY_IGNORED;
    switch (key) {
    case 'k':
    case KEY_UP_ARROW:
        return move(p, -1);
    case 'j':
    case KEY_DOWN_ARROW:
        return move(p, 1);
    case KEY_PAGE_UP:
        return move(p, -p->body);
    case KEY_PAGE_DOWN:
        return move(p, p->body);
    case KEY_HOME_KEY:
        return move(p, -p->n_lines);
    case KEY_END_KEY:
        return move(p, p->n_lines);
    case 'h':
    case KEY_LEFT_ARROW:
    case 'l':
    case KEY_RIGHT_ARROW:
        p->column += key == 'h' || key == KEY_LEFT_ARROW ? -1 : 1;
        p->column = numeric_clamp(p->column, 0, p->n_cells - 1);
        return KEY_DONE;
    case '<':
    case '>':
        sel->position = p->position + (key == '>' ? 1 : p->position > 0 ? -1 : 0);
        sel->follow = false;
        return KEY_SHARED;
    case KEY_RETURN:
        return choose(p);
    case 'x':
        sel->chosen = false;
        return KEY_SHARED;
    case 'a':
        p->wants_middle = !p->wants_middle;
        return KEY_REFRESH;
    case 'f':
        sel->follow = true;
        return KEY_SHARED;
    case 'e': {
        int index = lens_index(p, p->line);
        text_printf(line, "patch %d.%s at %d ", index / 2, index % 2 ? "resid_post" : "resid_mid",
                    p->position);
        return KEY_PROMPT;
    }
    default:
        return KEY_IGNORED;
    }
}

static enum key_result mouse(struct panel *panel, enum mouse_action action, int x, int y,
                             struct text *line)
{
    struct lens_panel *p = (struct lens_panel *)panel;
    (void)line;
    if (p->n_lines == 0)
        return KEY_IGNORED;
    if (action == MOUSE_WHEEL_UP || action == MOUSE_WHEEL_DOWN)
        return move(p, action == MOUSE_WHEEL_UP ? -1 : 1);
    if (y < 1 || y > p->body)
        return KEY_DONE;
    int column = (x - LENS_NAME_W - lens_rank_width(p, p->base.w)) / lens_cell_width(p);
    p->column = numeric_clamp(column, 0, p->n_cells - 1);
    enum key_result moved = move(p, p->top + y - 1 - p->line);
    return action == MOUSE_DOUBLE ? choose(p) : moved;
}

static bool search(struct panel *panel, const char *needle, bool back)
{
    struct lens_panel *p = (struct lens_panel *)panel;
    int n = p->n_lines * p->n_cells, at = p->line * p->n_cells + p->column;
    for (int i = 1; i <= n; i++) {
        int k = (at + (back ? n - i : i)) % n;
        const struct lens_row *row = &p->now[lens_index(p, k / p->n_cells)];
        if (!row->known || k % p->n_cells >= row->n ||
            !strstr(row->cell[k % p->n_cells].label, needle))
            continue;
        p->column = k % p->n_cells;
        move(p, k / p->n_cells - p->line);
        return true;
    }
    return false;
}

static void title(const struct panel *panel, struct text *out)
{
    const struct lens_panel *p = (const struct lens_panel *)panel;
    text_add(out, "logit lens");
    if (p->n_lines > 0)
        text_printf(out, "  tok %d", p->position);
    if (p->n_lines > 0 && p->has_before)
        text_add(out, "  before and after");
    if (p->reading)
        text_add(out, "  reading");
}

static const struct key_help keys[] = {
    {"j k", "layer"},
    {"h l", "token of the table"},
    {"Enter", "tell this token's rank and probability everywhere"},
    {"x", "those of the token that came"},
    {"< >", "the position before, after"},
    {"a", "after attention, too"},
    {"f", "follow the debugger's cursor"},
    {"e", "patch the residual that is read"},
    {NULL, NULL},
};

const struct panel_kind panel_lens = {
    .name = "lens",
    .size = sizeof(struct lens_panel),
    .min_w = 20,
    .min_h = 3,
    .close = close_panel,
    .refresh = refresh,
    .draw = lens_draw,
    .title = title,
    .key = key_pressed,
    .mouse = mouse,
    .search = search,
    .keys = keys,
};
