/* value.c - the value of any site at one position: numbers, statistics, histogram, heatmap. */
#include "tui/panels/value_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool open_panel(struct panel *p, struct error *err)
{
    struct value_panel *v = (struct value_panel *)p;
    (void)err;
    v->row = v->column = v->op = -1;
    return true;
}

static void close_panel(struct panel *p)
{
    struct value_panel *v = (struct value_panel *)p;
    mem_free(p->view->ledger, v->data);
    mem_free(p->view->ledger, v->cells);
}

/* ---- reading ---- */

/* The axes of the value at one position: rows x columns, rows 1 for a vector. */
static void measure(struct value_panel *v, const struct op *o, int position)
{
    enum site_axes axes = site_axes(o->site);
    v->n_axes = (axes == AXES_THX && o->heads > 0) || axes == AXES_HTS ? 2 : 1;
    v->rows = v->n_axes == 2 ? o->heads : 1;
    v->columns = axes == AXES_HTS ? position + 1 : o->width / v->rows;
    v->wide = axes == AXES_HTS;
    v->row = v->n_axes == 2 ? numeric_clamp(v->row, -1, v->rows - 1) : -1;
    v->column = numeric_clamp(v->column, -1, v->columns - 1);
}

/* Keeps of data, [rows, columns], what the slice takes. */
static void take_slice(struct value_panel *v, int rows_read)
{
    v->slice_rows = v->row >= 0 ? 1 : v->rows;
    v->slice_columns = v->column >= 0 ? 1 : v->columns;
    int first = v->row >= 0 && rows_read > 1 ? v->row : 0, at = v->column >= 0 ? v->column : 0;
    for (int i = 0; i < v->slice_rows; i++)
        memmove(v->data + (size_t)i * (size_t)v->slice_columns,
                v->data + (size_t)(first + i) * (size_t)v->columns + at,
                (size_t)v->slice_columns * sizeof *v->data);
}

static void summarise(struct value_panel *v)
{
    struct value_summary *sum = &v->summary;
    size_t n = (size_t)v->slice_rows * (size_t)v->slice_columns;
    struct value whole = {.n_dims = 1, .dims = {n}, .count = n, .data = v->data};
    *sum = value_summarise(&whole);
    v->min_at = v->max_at = -1;
    memset(v->bins, 0, sizeof v->bins);
    v->most = 0;
    for (size_t i = 0; i < n; i++) {
        double x = (double)v->data[i];
        if (!isfinite(x))
            continue;
        v->min_at = v->min_at < 0 || x < (double)v->data[v->min_at] ? (int)i : v->min_at;
        v->max_at = v->max_at < 0 || x > (double)v->data[v->max_at] ? (int)i : v->max_at;
    }
    if (v->min_at < 0)
        return;
    v->low = (double)v->data[v->min_at];
    v->high = (double)v->data[v->max_at];
    for (size_t i = 0; i < n; i++) {
        double x = (double)v->data[i];
        if (!isfinite(x))
            continue;
        int bin = v->high > v->low ? (int)((x - v->low) / (v->high - v->low) * v->n_bins) : 0;
        bin = numeric_clamp(bin, 0, v->n_bins - 1);
        v->most = ++v->bins[bin] > v->most ? v->bins[bin] : v->most;
    }
}

/* A vector is a text of numbers; of a matrix each row has a line. */
static void arrange(struct value_panel *v)
{
    int room = (v->body_w - VALUE_INDEX_W) / VALUE_NUMBER_W;
    v->per_line = numeric_clamp(room, 1, v->count);
    bool vector = v->slice_rows == 1 || v->slice_columns == 1;
    v->stride = vector ? v->per_line : v->slice_columns;
    v->lines = vector ? (v->count + v->per_line - 1) / v->per_line : v->slice_rows;
    v->top = numeric_scroll(v->top, v->at / v->stride, v->lines, v->body_h);
    v->left = vector ? 0 : numeric_scroll(v->left, v->at % v->stride, v->stride, v->per_line);
}

/* What the heatmap shows, in the cells that there are. */
static bool pool(struct value_panel *v, int w, int h, struct error *err)
{
    const struct theme *t = v->base.view->theme;
    int lines = heatmap_rows(t, h > 0 ? h : 1), n = v->slice_rows * v->slice_columns;
    w = w > 0 ? w : 1;
    v->wrapped = v->slice_rows == 1 || v->slice_columns == 1;
    if (v->wrapped) {
        int most = w * lines, square = (int)ceil(sqrt((double)n)), narrow = (n + lines - 1) / lines;
        v->pooled = n < most ? n : most;
        v->map_columns = numeric_clamp(square > narrow ? square : narrow, 1, w);
        v->map_rows = (v->pooled + v->map_columns - 1) / v->map_columns;
    } else {
        v->map_columns = numeric_least(w, v->slice_columns);
        v->map_rows = numeric_least(lines, v->slice_rows);
    }
    mem_free(v->base.view->ledger, v->cells);
    v->cells = mem_alloc_array(v->base.view->ledger, MEM_VIEWS,
                               (size_t)v->map_rows * (size_t)v->map_columns, sizeof *v->cells, err);
    if (!v->cells)
        return false;
    for (int i = 0; i < v->map_rows * v->map_columns; i++)
        v->cells[i] = -INFINITY;
    if (v->wrapped)
        heatmap_pool(v->data, n, v->cells, v->pooled, false);
    for (int i = 0; !v->wrapped && i < v->slice_rows; i++)
        heatmap_pool(v->data + (size_t)i * (size_t)v->slice_columns, v->slice_columns,
                     v->cells + (size_t)heatmap_cell(i, v->slice_rows, v->map_rows) *
                                    (size_t)v->map_columns,
                     v->map_columns, true);
    return true;
}

static bool read_value(struct value_panel *v, struct session *s, struct error *err)
{
    bool one = v->wide && v->row >= 0;
    int heads = one ? 1 : v->rows, keys = v->columns;
    size_t n = trace_read_count(&s->trace, v->op, 1, heads, keys);
    float *data = mem_resize(s->ledger, MEM_VIEWS, v->data, n * sizeof *data, err);
    v->data = data ? data : v->data;
    return data &&
           trace_read(&s->trace, v->op, v->position, 1, one ? v->row : 0, heads, keys, data, err);
}

/* The op whose value is shown, or -1 with the reason in words. */
static int find_op(struct value_panel *v, const struct session *s)
{
    const struct program *p = &s->model.program;
    if (v->pinned && v->op >= 0 && v->op < p->n_ops)
        return v->op;
    if (s->op >= 0 && p->ops[s->op].site)
        return s->op;
    int op = s->op > 0 ? program_previous_site(p, s->op) : -1;
    if (op < 0)
        snprintf(v->words, sizeof v->words,
                 "the cursor stands before the first site: step, or choose one with [ and ]");
    return op;
}

static bool refresh(struct panel *panel, int w, int h, struct error *err)
{
    struct value_panel *v = (struct value_panel *)panel;
    struct error why;
    struct session *s = numeric_session(panel->view, v->words);
    v->n_ops = 0;
    v->count = 0;
    if (!s)
        return true;
    const struct program *p = &s->model.program;
    v->n_ops = p->n_ops;
    v->program = p;
    int op = find_op(v, s);
    if (op < 0)
        return true;
    const struct op *o = &p->ops[op];
    if (op != v->op)
        v->at = v->top = v->left = 0;
    v->op = op;
    v->site = o->site;
    v->layer = o->layer < 0 ? 0 : o->layer;
    v->here = s->position;
    v->position = numeric_clamp(panel->view->selection.position, 0, s->trace.n_ids - 1);
    if (!session_has(s, v->position, op, &why)) {
        snprintf(v->words, sizeof v->words, "%.290s", why.text);
        return true;
    }
    measure(v, o, v->position);
    v->body_h = h > 4 ? h - 2 : h > 1 ? h - 1 : h;
    v->body_w = w;
    v->n_bins = numeric_clamp(v->body_h, 1, VALUE_BINS);
    if (!numeric_label(s, s->trace.ids[v->position], v->label, err) || !read_value(v, s, err))
        return false;
    take_slice(v, v->wide && v->row >= 0 ? 1 : v->rows);
    v->count = v->slice_rows * v->slice_columns;
    v->at = numeric_clamp(v->at, 0, v->count - 1);
    summarise(v);
    arrange(v);
    return v->mode != VALUE_HEATMAP || pool(v, v->body_w, v->body_h, err);
}

/* ---- keys ---- */

static enum key_result move(struct value_panel *v, int lines, int columns)
{
    int by = columns, cell = v->stride;
    if (v->mode == VALUE_HEATMAP && v->count > 0) { /* by cells, as far as they reach */
        int many = v->wrapped ? v->pooled : v->map_columns;
        int n = v->wrapped ? v->count : v->slice_columns;
        int step = numeric_clamp(n / (many > 0 ? many : 1), 1, n);
        by = columns * step;
        cell = v->wrapped ? v->map_columns * step
                          : v->slice_columns *
                                numeric_clamp(v->slice_rows / (v->map_rows > 0 ? v->map_rows : 1),
                                              1, v->slice_rows);
    }
    int to = v->at + by + lines * cell;
    if (to >= 0 && to < v->count)
        v->at = to;
    else if (to < 0 && columns)
        v->at = 0;
    else if (columns)
        v->at = v->count - 1;
    arrange(v);
    return KEY_DONE;
}

/* The site before or after the one shown; from then on it stays. */
static enum key_result change_site(struct value_panel *v, int by)
{
    int op =
        by < 0 ? program_previous_site(v->program, v->op) : program_next_site(v->program, v->op);
    if (op < 0 || op >= v->n_ops)
        return KEY_DONE;
    v->pinned = true;
    v->op = op;
    v->at = v->top = v->left = 0;
    return KEY_REFRESH;
}

static enum key_result change_index(struct value_panel *v, int by)
{
    struct selection *sel = &v->base.view->selection;
    if (v->axis == 0) {
        sel->position = sel->position + by > 0 ? sel->position + by : 0;
        sel->follow = false;
        return KEY_SHARED;
    }
    int *index = v->axis == 1 && v->n_axes == 2 ? &v->row : &v->column;
    int n = index == &v->row ? v->rows : v->columns;
    *index = numeric_clamp(*index + by, -1, n - 1);
    v->at = v->top = v->left = 0;
    return KEY_REFRESH;
}

/* The element under the cursor, as patches name it: without the position. */
static enum key_result edit(const struct value_panel *v, struct text *line)
{
    char name[64];
    site_short_name(v->site, v->layer, name);
    text_printf(line, "%s %s", v->position == v->here ? "set" : "patch", name);
    int row = v->row >= 0 ? v->row : v->at / v->slice_columns;
    int column = v->column >= 0 ? v->column : v->at % v->slice_columns;
    if (v->n_axes == 2)
        text_printf(line, "[%d,%d]", row, column);
    else
        text_printf(line, "[%d]", column);
    if (v->position != v->here)
        text_printf(line, " at %d", v->position);
    text_add(line, " = ");
    return KEY_PROMPT;
}

static enum key_result key_pressed(struct panel *p, int key, struct text *line)
{
    struct value_panel *v = (struct value_panel *)p;
    if (v->n_ops == 0)
        return KEY_IGNORED;
    if (key == '[' || key == ']')
        return change_site(v, key == '[' ? -1 : 1);
    if (key == 'p') {
        v->pinned = !v->pinned && v->count > 0;
        return KEY_REFRESH;
    }
    if (key == '<' || key == '>' || key == '+' || key == '-')
        return change_index(v, key == '<' || key == '-' ? -1 : 1);
    if (v->count == 0)
        return KEY_IGNORED;
    switch (key) {
    case 'k':
    case KEY_UP_ARROW:
        return move(v, -1, 0);
    case 'j':
    case KEY_DOWN_ARROW:
        return move(v, 1, 0);
    case 'h':
    case KEY_LEFT_ARROW:
        return move(v, 0, -1);
    case 'l':
    case KEY_RIGHT_ARROW:
        return move(v, 0, 1);
    case KEY_PAGE_UP:
    case KEY_PAGE_DOWN:
        for (int i = 1; i < v->body_h; i++)
            move(v, key == KEY_PAGE_UP ? -1 : 1, 0);
        return KEY_DONE;
    case KEY_HOME_KEY:
        return move(v, 0, -v->count);
    case KEY_END_KEY:
        return move(v, 0, v->count);
    case 'v':
        v->mode = (enum value_mode)((v->mode + 1) % VALUE_MODES);
        return KEY_REFRESH;
    case 'a':
        v->axis = (v->axis + 1) % (v->n_axes + 1);
        return KEY_DONE;
    case 'e':
        return edit(v, line);
    case 'm': /* to the largest magnitude */
        if (v->max_at >= 0)
            v->at = fabs(v->high) >= fabs(v->low) ? v->max_at : v->min_at;
        arrange(v);
        return KEY_DONE;
    default:
        return KEY_IGNORED;
    }
}

static void title(const struct panel *p, struct text *out)
{
    const struct value_panel *v = (const struct value_panel *)p;
    char name[64];
    text_add(out, "value");
    if (v->site && v->n_ops > 0)
        text_printf(out, "  %s", site_short_name(v->site, v->layer, name));
    if (v->pinned)
        text_add(out, "  pinned");
}

static const struct key_help keys[] = {
    {"h j k l", "move"},
    {"v", "numbers / statistics / histogram / heatmap"},
    {"a", "the axis that < and > act on"},
    {"< >", "its index; before 0: all"},
    {"[ ]", "the site before, after"},
    {"p", "pin the site, or follow the cursor"},
    {"m", "to the largest"},
    {"e", "edit the number"},
    {NULL, NULL},
};

const struct panel_kind panel_value = {
    .name = "value",
    .size = sizeof(struct value_panel),
    .min_w = 16,
    .min_h = 3,
    .open = open_panel,
    .close = close_panel,
    .refresh = refresh,
    .draw = value_draw,
    .title = title,
    .key = key_pressed,
    .keys = keys,
};
