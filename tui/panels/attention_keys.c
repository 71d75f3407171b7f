#include "tui/panels/attention_parts.h"

bool attention_cursor_cell(const struct attention_panel *a, int *row, int *column)
{
    const struct attention_place *p = &a->place;
    if (p->columns == 0 || a->query < a->q0 || a->query >= a->q1 || a->key < a->k0 ||
        a->key >= a->k1)
        return false;
    *row = heatmap_cell(a->query - a->q0, a->q1 - a->q0, p->rows);
    *column = heatmap_cell(a->key - a->k0, a->k1 - a->k0, p->columns);
    return true;
}

/* A cell on along an axis of [from, to) in `cells` cells, the window going along. */
static int move_along(int at, int by, int n, int *from, int *to, int cells)
{
    int size = *to - *from, last = at;
    if (cells < 1)
        return numeric_clamp(at + by, 0, n - 1);
    if (at < *from || at >= *to)
        at = numeric_clamp(at, *from, *to - 1);
    else if (by > 0 || by < 0) {
        int cell = heatmap_cell(at - *from, size, cells) + by;
        int step = size / cells > 0 ? size / cells : 1;
        at =
            cell >= 0 && cell < cells ? *from + heatmap_first(cell, size, cells) : last + by * step;
    }
    at = numeric_clamp(at, 0, n - 1);
    if (at < *from)
        *from = at;
    if (at >= *to)
        *from = at - size + 1;
    *to = *from + size;
    return at;
}

static enum key_result move_cursor(struct attention_panel *a, int rows, int columns)
{
    struct selection *sel = &a->base.view->selection;
    if (a->n == 0)
        return KEY_DONE;
    if (a->mode != ATTENTION_MAP && rows) {
        a->edge_at = numeric_clamp(a->edge_at + rows, 0, a->n_edges - 1);
        return KEY_REFRESH;
    }
    a->key = move_along(a->key, columns, a->n, &a->k0, &a->k1, a->place.columns);
    if (rows == 0)
        return KEY_REFRESH;
    sel->position = move_along(a->query, rows, a->n, &a->q0, &a->q1, a->place.rows);
    sel->follow = false;
    a->query = sel->position;
    return KEY_SHARED;
}

/* A stretch of about `size` around `at`. */
static void window(int at, int size, int n, int *from, int *to)
{
    size = numeric_clamp(size, 1, n);
    *from = numeric_clamp(at - size / 2, 0, n - size);
    *to = *from + size;
}

static enum key_result zoom(struct attention_panel *a, bool in)
{
    int q = a->q1 - a->q0, k = a->k1 - a->k0, smallest = numeric_least(a->n, 4);
    if (a->n == 0)
        return KEY_DONE;
    q = in ? numeric_clamp((q + 1) / 2, smallest, a->n) : numeric_least(q, a->n / 2 + 1) * 2;
    k = in ? numeric_clamp((k + 1) / 2, smallest, a->n) : numeric_least(k, a->n / 2 + 1) * 2;
    window(a->query, q, a->n, &a->q0, &a->q1);
    window(a->key, k, a->n, &a->k0, &a->k1);
    a->zoomed = a->q1 - a->q0 < a->n || a->k1 - a->k0 < a->n;
    return KEY_REFRESH;
}

static enum key_result choose_head(struct attention_panel *a, int head)
{
    a->base.view->selection.head = numeric_clamp(head, 0, a->n_heads - 1);
    return KEY_SHARED;
}

static enum key_result edge_chosen(struct attention_panel *a)
{
    struct selection *sel = &a->base.view->selection;
    if (a->edges_of != a->mode || a->edge_at < 0 || a->edge_at >= a->n_edges)
        return KEY_DONE;
    int at = a->edges[a->edge_at].at;
    if (a->mode == ATTENTION_FROM) {
        a->key = at;
    } else {
        sel->position = at;
        sel->follow = false;
    }
    a->mode = ATTENTION_MAP;
    return KEY_SHARED;
}

static enum key_result edit(const struct attention_panel *a, struct text *line)
{
    int q = a->query, k = a->key;
    if (a->edges_of == a->mode && a->mode == ATTENTION_FROM && a->edge_at < a->n_edges)
        k = a->edges[a->edge_at].at;
    if (a->edges_of == a->mode && a->mode == ATTENTION_INTO && a->edge_at < a->n_edges)
        q = a->edges[a->edge_at].at;
    /* `set` is for the position stood at. */
    if (q == a->position)
        text_printf(line, "set %d.pattern[%d,%d] = 0", a->layer, a->head, k);
    else
        text_printf(line, "patch %d.pattern[%d,%d] at %d = 0", a->layer, a->head, k, q);
    return KEY_PROMPT;
}

static enum key_result shift_layer(struct attention_panel *a, int by)
{
    struct selection *sel = &a->base.view->selection;
    sel->layer = numeric_clamp(sel->layer + by, 0, a->n_layers - 1);
    sel->follow = false;
    return KEY_SHARED;
}

enum key_result attention_key(struct panel *p, int key, struct text *line)
{
    struct attention_panel *a = (struct attention_panel *)p;
    struct selection *sel = &p->view->selection;
    int page = a->mode == ATTENTION_MAP ? 8 : a->place.h > 3 ? a->place.h - 2 : 1;
    if (a->words[0] || a->n == 0)
        return KEY_IGNORED;
    switch (key) {
    case 'k':
    case KEY_UP_ARROW:
        return move_cursor(a, -1, 0);
    case 'j':
    case KEY_DOWN_ARROW:
        return move_cursor(a, 1, 0);
    case 'h':
    case KEY_LEFT_ARROW:
        return move_cursor(a, 0, -1);
    case 'l':
    case KEY_RIGHT_ARROW:
        return move_cursor(a, 0, 1);
    case KEY_PAGE_UP:
        return move_cursor(a, -page, 0);
    case KEY_PAGE_DOWN:
        return move_cursor(a, page, 0);
    case '<':
    case '>':
        return choose_head(a, a->head + (key == '<' ? -1 : 1));
    case '[':
    case ']':
        return shift_layer(a, key == '[' ? -1 : 1);
    case ' ':
        if (sel->large)
            sel->large[a->head] = !sel->large[a->head];
        return KEY_SHARED;
    case 'f':
        sel->follow = true;
        sel->position = a->position;
        return KEY_SHARED;
    case 'o':
        a->mode = (enum attention_mode)((a->mode + 1) % 3);
        a->edge_at = 0;
        return KEY_REFRESH;
    case '+':
    case '=':
        return zoom(a, true);
    case '-':
        return zoom(a, false);
    case '0':
        a->zoomed = false;
        return KEY_REFRESH;
    case 'e':
        return edit(a, line);
    case 'b':
        text_printf(line, "break %d.pattern if max(.[%d]) > 0.8", a->layer, a->head);
        return KEY_PROMPT;
    case KEY_RETURN:
        if (a->mode != ATTENTION_MAP)
            return edge_chosen(a);
        text_printf(line, "goto %d %d.pattern", a->query, a->layer);
        return KEY_COMMAND;
    default:
        return KEY_IGNORED;
    }
}

enum key_result attention_mouse(struct panel *p, enum mouse_action action, int x, int y,
                                struct text *line)
{
    struct attention_panel *a = (struct attention_panel *)p;
    struct selection *sel = &p->view->selection;
    const struct attention_place *at = &a->place;
    int head, row, column;
    if (a->words[0] || a->n == 0)
        return KEY_IGNORED;
    if (action == MOUSE_WHEEL_UP || action == MOUSE_WHEEL_DOWN)
        return a->mode == ATTENTION_MAP ? zoom(a, action == MOUSE_WHEEL_UP)
                                        : move_cursor(a, action == MOUSE_WHEEL_UP ? -3 : 3, 0);
    head = attention_head_at(a, x, y);
    if (head >= 0) {
        choose_head(a, head);
        return action == MOUSE_DOUBLE ? attention_key(p, ' ', line) : KEY_SHARED;
    }
    if (a->mode != ATTENTION_MAP) {
        if (y > at->y && y < at->y + at->h)
            a->edge_at = numeric_clamp(a->edge_top + y - at->y - 1, 0, a->n_edges - 1);
        return KEY_REFRESH;
    }
    if (!attention_cell_at(a, x, y, &head, &row, &column))
        return KEY_DONE;
    sel->head = head;
    sel->follow = false;
    sel->position = a->q0 + heatmap_first(row, a->q1 - a->q0, at->rows);
    a->key = a->k0 + heatmap_first(column, a->k1 - a->k0, at->columns);
    return KEY_SHARED;
}
