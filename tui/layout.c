#include "tui/layout.h"

#include "tui/panels/panels.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

const struct layout_default layout_defaults[] = {
    {"default",
     "1! tokens | 60 25 program, 47 attention, 35 residual:45/lens:55 | 1! memory | 22 console",
     "all at a glance"},
    {"attention", "1! tokens | 75 20 program, 80 attention | 15 console", "heads, large"},
    {"residual", "1! tokens | 75 60 residual, 40 lens:55/top:45 | 15 console",
     "the stream and what it says, layer by layer"},
    {"memory", "1! tokens | 60 50 memory, 50 value | 25 console", "bytes, and any tensor"},
    {"custom", "1! tokens | 60 24 program, 44 value, 32 points:50/top:50 | 22 console",
     "values, breakpoints and patches; layout custom SPEC changes it"},
    {NULL, NULL, NULL}};

/* Which goes first when there is no room. */
static const char *const drop_order[] = {"points",   "top",    "memory",    "value",   "lens",
                                         "residual", "tokens", "attention", "program", "console"};

/* ---- reading and writing ---- */

static const char *blanks(const char *s)
{
    return s + strspn(s, " \t");
}

/* A number of at most three digits that may be there. */
static int number(const char **s, int fallback)
{
    int x = 0;
    const char *p = blanks(*s);
    if (!isdigit((unsigned char)*p))
        return fallback;
    for (int i = 0; i < 3 && isdigit((unsigned char)*p); i++)
        x = 10 * x + (*p++ - '0');
    *s = blanks(p);
    return x < 1 ? 1 : x;
}

static bool read_panel(struct layout *l, const char **s, int row, int column, const char *spec,
                       struct error *err)
{
    char name[16];
    const char *p = blanks(*s);
    size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz");
    if (n == 0 || n >= sizeof name)
        return error_at(err, ERR_USAGE, (int)(p - spec) + 1, "a panel's name is expected");
    memcpy(name, p, n);
    name[n] = '\0';
    int kind = panels_find(name);
    if (kind < 0) {
        bool known = false;
        for (size_t i = 0; i < sizeof drop_order / sizeof drop_order[0]; i++)
            known = known || strcmp(drop_order[i], name) == 0;
        if (!known)
            return error_at(err, ERR_USAGE, (int)(p - spec) + 1, "there is no panel \"%s\"", name);
    }
    *s = blanks(p + n);
    int share = 50;
    if (**s == ':') {
        (*s)++;
        share = number(s, 50);
    }
    for (int i = 0; i < l->n; i++)
        if (l->place[i].kind == kind && kind >= 0)
            return error_at(err, ERR_USAGE, (int)(p - spec) + 1, "%s stands there twice", name);
    if (kind >= 0 && l->n < LAYOUT_PLACES)
        l->place[l->n++] = (struct layout_place){kind, row, column, share, false, 0, 0, 0, 0};
    return true;
}

static bool read_row(struct layout *l, const char **s, const char *spec, struct error *err)
{
    int row = l->n_rows, before = l->n, columns = 0;
    int share = number(s, 0);
    if (share == 0)
        return error_at(err, ERR_USAGE, (int)(*s - spec) + 1,
                        "a row begins with its share of the height");
    l->row[row].share = share;
    l->row[row].fixed = **s == '!';
    *s = blanks(*s + l->row[row].fixed);
    for (;;) {
        int had = l->n;
        if (columns >= LAYOUT_PLACES)
            return error_at(err, ERR_USAGE, (int)(*s - spec) + 1, "too many columns");
        l->row[row].column_share[columns] = number(s, 50);
        for (;;) {
            if (!read_panel(l, s, row, columns, spec, err))
                return false;
            if (**s != '/')
                break;
            (*s)++;
        }
        columns += l->n > had;
        if (**s != ',')
            break;
        (*s)++;
    }
    l->row[row].n_columns = columns;
    l->n_rows += l->n > before;
    return true;
}

bool layout_parse(struct layout *l, const char *name, const char *spec, struct error *err)
{
    struct layout new = {.n = 0};
    const char *s = blanks(spec);
    strncpy(new.name, name, sizeof new.name - 1);
    for (;;) {
        if (new.n_rows >= LAYOUT_PLACES)
            return error_set(err, ERR_USAGE, "too many rows");
        if (!read_row(&new, &s, spec, err))
            return false;
        if (*s != '|')
            break;
        s++;
    }
    if (*s)
        return error_at(err, ERR_USAGE, (int)(s - spec) + 1, "| , / or the end is expected");
    if (new.n == 0)
        return error_set(err, ERR_USAGE, "a layout needs a panel");
    *l = new;
    return true;
}

void layout_add_spec(const struct layout *l, struct text *out)
{
    for (int i = 0; i < l->n; i++) {
        const struct layout_place *p = &l->place[i], *q = i > 0 ? p - 1 : NULL;
        bool alone = l->row[p->row].n_columns == 1;
        if (!q || q->row != p->row)
            text_printf(out, "%s%d%s ", q ? " | " : "", l->row[p->row].share,
                        l->row[p->row].fixed ? "!" : "");
        else
            text_add(out, q->column != p->column ? ", " : "/");
        if (!alone && (!q || q->row != p->row || q->column != p->column))
            text_printf(out, "%d ", l->row[p->row].column_share[p->column]);
        text_add(out, panels_kind(p->kind)->name);
        bool stacked = (q && q->row == p->row && q->column == p->column) ||
                       (i + 1 < l->n && p[1].row == p->row && p[1].column == p->column);
        if (stacked)
            text_printf(out, ":%d", p->share);
    }
}

/* ---- arranging ---- */

/* Divides `room` by shares; what rounding leaves goes to the last that takes part. */
static void divide(const int *share, int *out, int n, int room)
{
    int total = 0, given = 0, last = -1;
    for (int i = 0; i < n; i++)
        total += share[i];
    for (int i = 0; i < n; i++) {
        out[i] = total > 0 && room > 0 ? (int)((long)room * share[i] / total) : 0;
        given += out[i];
        last = share[i] > 0 ? i : last;
    }
    if (last >= 0 && room > given)
        out[last] += room - given;
}

/* Lines of each row, their upper frame apart. */
static void row_heights(const struct layout *l, int h, int *height)
{
    int share[LAYOUT_PLACES] = {0}, fixed = 0, rows = 0, flexible = 0;
    bool there[LAYOUT_PLACES] = {false};
    for (int i = 0; i < l->n; i++)
        there[l->place[i].row] = there[l->place[i].row] || !l->place[i].dropped;
    for (int i = 0; i < l->n_rows; i++) {
        rows += there[i];
        flexible += there[i] && !l->row[i].fixed;
        fixed += there[i] && l->row[i].fixed ? l->row[i].share : 0;
    }
    for (int i = 0; i < l->n_rows; i++)
        share[i] = !there[i] || (l->row[i].fixed && flexible) ? 0 : l->row[i].share;
    divide(share, height, l->n_rows, h - rows - (flexible ? fixed : 0));
    for (int i = 0; i < l->n_rows; i++)
        if (there[i] && l->row[i].fixed && flexible)
            height[i] = l->row[i].share;
}

/* One column of a row: its panels below each other. */
static void arrange_column(struct layout *l, int row, int column, int x, int y, int w, int h)
{
    int share[LAYOUT_PLACES] = {0}, height[LAYOUT_PLACES] = {0}, n = 0;
    for (int i = 0; i < l->n; i++)
        if (l->place[i].row == row && l->place[i].column == column && !l->place[i].dropped) {
            share[i] = l->place[i].share;
            n++;
        }
    divide(share, height, l->n, h - (n - 1));
    for (int i = 0; i < l->n; i++)
        if (share[i] > 0) {
            l->place[i].x = x;
            l->place[i].y = y;
            l->place[i].w = w;
            l->place[i].h = height[i];
            y += height[i] + 1;
        }
}

static void arrange(struct layout *l, int y, int w, int h)
{
    int height[LAYOUT_PLACES] = {0};
    row_heights(l, h, height);
    for (int r = 0; r < l->n_rows; r++) {
        int share[LAYOUT_PLACES] = {0}, width[LAYOUT_PLACES] = {0}, n = 0, x = 1;
        for (int i = 0; i < l->n; i++)
            if (l->place[i].row == r && !l->place[i].dropped)
                share[l->place[i].column] = l->row[r].column_share[l->place[i].column];
        for (int c = 0; c < l->row[r].n_columns; c++)
            n += share[c] > 0;
        if (n == 0)
            continue;
        divide(share, width, l->row[r].n_columns, w - n - 1);
        for (int c = 0; c < l->row[r].n_columns; c++)
            if (share[c] > 0) {
                arrange_column(l, r, c, x, y + 1, width[c], height[r]);
                x += width[c] + 1;
            }
        y += height[r] + 1;
    }
}

static bool too_small(const struct layout *l)
{
    for (int i = 0; i < l->n; i++) {
        const struct layout_place *p = &l->place[i];
        const struct panel_kind *k = panels_kind(p->kind);
        if (!p->dropped && (p->w < k->min_w || p->h < k->min_h || p->w < 1 || p->h < 1))
            return true;
    }
    return false;
}

/* Drops the next in order; false if nothing may go. */
static bool drop(struct layout *l, int keep)
{
    int left = 0;
    for (int i = 0; i < l->n; i++)
        left += !l->place[i].dropped;
    if (left <= 1)
        return false;
    for (size_t d = 0; d < sizeof drop_order / sizeof drop_order[0]; d++)
        for (int i = 0; i < l->n; i++)
            if (i != keep && !l->place[i].dropped &&
                strcmp(panels_kind(l->place[i].kind)->name, drop_order[d]) == 0) {
                l->place[i].dropped = true;
                return true;
            }
    return false;
}

void layout_arrange(struct layout *l, int y, int w, int h, int keep, bool zoom)
{
    for (int i = 0; i < l->n; i++) {
        struct layout_place *p = &l->place[i];
        p->dropped = zoom && keep >= 0 && i != keep;
        p->x = p->y = p->w = p->h = 0;
    }
    for (;;) {
        for (int i = 0; i < l->n; i++)
            l->place[i].w = l->place[i].h = 0;
        arrange(l, y, w, h);
        if (!too_small(l) || !drop(l, keep))
            return;
    }
}

void layout_grow(struct layout *l, int place, int dw, int dh)
{
    if (place < 0 || place >= l->n)
        return;
    struct layout_place *p = &l->place[place];
    int *share = &l->row[p->row].column_share[p->column];
    *share += 2 * dw;
    *share = *share < 5 ? 5 : *share > 500 ? 500 : *share;
    bool stacked = false;
    for (int i = 0; i < l->n; i++)
        stacked =
            stacked || (i != place && l->place[i].row == p->row && l->place[i].column == p->column);
    int *height = stacked ? &p->share : &l->row[p->row].share;
    *height += !stacked && l->row[p->row].fixed ? dh : 3 * dh;
    *height = *height < 1 ? 1 : *height > 500 ? 500 : *height;
}

/* ---- frames ---- */

enum { UP = 1, DOWN = 2, LEFT = 4, RIGHT = 8 };

static const char *junction(const struct theme *t, int arms)
{
    switch (arms) {
    case UP | DOWN:
    case UP:
    case DOWN:
        return theme_sign(t, SIGN_VERTICAL);
    case DOWN | RIGHT:
        return theme_sign(t, SIGN_CORNER_UL);
    case DOWN | LEFT:
        return theme_sign(t, SIGN_CORNER_UR);
    case UP | RIGHT:
        return theme_sign(t, SIGN_CORNER_LL);
    case UP | LEFT:
        return theme_sign(t, SIGN_CORNER_LR);
    case UP | DOWN | RIGHT:
        return theme_sign(t, SIGN_TEE_LEFT);
    case UP | DOWN | LEFT:
        return theme_sign(t, SIGN_TEE_RIGHT);
    case LEFT | RIGHT | DOWN:
        return theme_sign(t, SIGN_TEE_TOP);
    case LEFT | RIGHT | UP:
        return theme_sign(t, SIGN_TEE_BOTTOM);
    case UP | DOWN | LEFT | RIGHT:
        return t->utf8 ? "\u253c" : "+";
    default:
        return theme_sign(t, SIGN_HORIZONTAL);
    }
}

/* The cell's arms from the frames of all panels that touch it: upper, left and right lines, since
 * the lowest row has the bar of keys below it. */
static int arms_at(const struct layout *l, int x, int y)
{
    int arms = 0;
    for (int i = 0; i < l->n; i++) {
        const struct layout_place *p = &l->place[i];
        if (p->dropped || p->w < 1)
            continue;
        int left = p->x - 1, right = p->x + p->w, top = p->y - 1, bottom = p->y + p->h;
        if (x < left || x > right || y < top || y >= bottom)
            continue;
        if (y == top) {
            arms |= x > left ? LEFT : 0;
            arms |= x < right ? RIGHT : 0;
        }
        if (x == left || x == right) {
            arms |= DOWN;
            arms |= y > top ? UP : 0;
        }
    }
    /* A line that ends here from above. */
    for (int i = 0; i < l->n; i++) {
        const struct layout_place *p = &l->place[i];
        if (!p->dropped && p->w > 0 && y == p->y + p->h && (x == p->x - 1 || x == p->x + p->w))
            arms |= arms & (LEFT | RIGHT) ? UP : 0;
    }
    return arms;
}

void layout_draw_frames(const struct layout *l, const struct theme *t, struct region r, int y,
                        int focus)
{
    const struct layout_place *f = focus >= 0 && focus < l->n ? &l->place[focus] : NULL;
    struct style plain = theme_style(t, ROLE_FRAME), lit = theme_style(t, ROLE_FOCUS);
    for (int row = y; row < r.h; row++)
        for (int x = 0; x < r.w; x++) {
            int arms = arms_at(l, x, row);
            if (!arms)
                continue;
            bool around = f && !f->dropped && x >= f->x - 1 && x <= f->x + f->w &&
                          row >= f->y - 1 && row < f->y + f->h;
            region_put(r, x, row, junction(t, arms), around ? lit : plain);
        }
}
