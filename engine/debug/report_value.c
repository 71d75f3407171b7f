/* report_value.c - values as a reader wants them: aligned, and no longer than can be read. */
#include "engine/debug/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LINE 100 /* columns */
#define EDGE 4   /* elements shown at each end of a summarised value */
#define CELL 48  /* bytes that one number may take */

struct layout {
    enum { WHOLE, FIXED, FREE } kind;
    int width;
};

double unsigned_nan(double x)
{
    return isnan(x) ? (double)NAN : x;
}

void add_number(struct text *t, double x)
{
    text_printf(t, "%.6g", unsigned_nan(x));
}

static void format_cell(const struct layout *f, double x, char cell[CELL])
{
    if (isnan(x))
        snprintf(cell, CELL, "nan");
    else if (f->kind == FREE || isinf(x))
        snprintf(cell, CELL, "%.6g", x);
    else
        snprintf(cell, CELL, f->kind == WHOLE ? "%.0f" : "%.4f", x);
}

/* The form that suits all elements, and how wide the widest then is. */
static struct layout choose_layout(const struct value *v)
{
    struct layout f = {.kind = WHOLE};
    double largest = 0;
    for (size_t i = 0; i < v->count; i++) {
        double x = value_at(v, i);
        if (isnan(x) || isinf(x))
            continue;
        if (x != floor(x))
            f.kind = FIXED;
        largest = fabs(x) > largest ? fabs(x) : largest;
    }
    if (f.kind == WHOLE ? largest >= 1e9 : largest >= 1e5 || largest < 1e-3)
        f.kind = FREE;
    for (size_t i = 0; i < v->count; i++) {
        char cell[CELL];
        format_cell(&f, value_at(v, i), cell);
        int n = (int)strlen(cell);
        f.width = n > f.width ? n : f.width;
    }
    return f;
}

/* n numbers in brackets, broken into lines that start under the first number. */
static bool add_row(struct report *r, const struct value *v, size_t at, size_t n,
                    const struct layout *f, int indent, struct error *err)
{
    char cell[CELL];
    size_t a_line = (size_t)((LINE - indent) / (f->width + 1));
    if (a_line < 1)
        a_line = 1;
    text_add(&r->text, "[");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            text_add(&r->text, " ");
        if (i > 0 && i % a_line == 0)
            text_printf(&r->text, "\n%*s", indent + 1, "");
        format_cell(f, value_at(v, at + i), cell);
        text_printf(&r->text, "%*s", f->width, cell);
        if (!report_trickle(r, err))
            return false;
    }
    text_add(&r->text, "]");
    return true;
}

static bool add_array(struct report *r, const struct value *v, int axis, size_t at,
                      const struct layout *f, struct error *err)
{
    if (axis == v->n_dims - 1)
        return add_row(r, v, at, v->dims[axis], f, axis, err);
    size_t each = 1;
    for (int d = axis + 1; d < v->n_dims; d++)
        each *= v->dims[d];
    text_add(&r->text, "[");
    for (size_t i = 0; i < v->dims[axis]; i++) {
        if (i > 0) {
            for (int d = axis; d < v->n_dims - 1; d++)
                text_add(&r->text, "\n");
            text_printf(&r->text, "%*s", axis + 1, "");
        }
        if (!add_array(r, v, axis + 1, at + i * each, f, err))
            return false;
    }
    text_add(&r->text, "]");
    return true;
}

/* What is in it, and its ends. */
static void add_summary(struct text *t, const struct value *v)
{
    struct value_summary s = value_summarise(v);
    text_add(t, "\n  min ");
    add_number(t, s.min);
    text_add(t, "  max ");
    add_number(t, s.max);
    text_add(t, "  mean ");
    add_number(t, s.mean);
    text_add(t, "  norm ");
    add_number(t, s.norm);
    text_printf(t, "  nan %zu", s.n_nan);
    if (s.n_inf > 0)
        text_printf(t, "  inf %zu", s.n_inf);
    text_add(t, "\n  first");
    for (size_t i = 0; i < EDGE; i++) {
        text_add(t, " ");
        add_number(t, value_at(v, i));
    }
    text_add(t, "  last");
    for (size_t i = v->count - EDGE; i < v->count; i++) {
        text_add(t, " ");
        add_number(t, value_at(v, i));
    }
    text_add(t, "  (print/a shows all)");
}

bool report_print(struct report *r, const char *before, const struct value *v, bool all,
                  struct error *err)
{
    struct text *t = &r->text;
    char shape[128];
    text_add(t, before);
    if (v->string) {
        text_add_shown(t, v->string, v->n_string, true);
    } else if (v->n_dims == 0) {
        add_number(t, v->number);
    } else {
        text_add(t, value_describe(v, shape));
        if (v->count > REPORT_SUMMARY && !all) {
            add_summary(t, v);
        } else if (v->count > 0) {
            struct layout f = choose_layout(v);
            text_add(t, "\n");
            if (!add_array(r, v, 0, 0, &f, err))
                return false;
        }
    }
    text_add(t, "\n");
    return report_send(r, err);
}
