#include "engine/debug/sieve.h"

#include "engine/debug/expr_parts.h"

#include <math.h>
#include <string.h>

/* What a number may be; low > high is never. `open`: or no number at all. */
struct range {
    double low, high;
    bool open;
};

static struct range anything(void)
{
    return (struct range){-INFINITY, INFINITY, true};
}

static struct range between(double low, double high)
{
    return isnan(low) || isnan(high) ? anything() : (struct range){low, high, false};
}

static struct range truth(bool may_be_false, bool may_be_true)
{
    return between(may_be_false ? 0 : 1, may_be_true ? 1 : 0);
}

static bool may_be_zero(struct range r)
{
    return r.open || (r.low <= 0 && r.high >= 0);
}

static bool may_be_other(struct range r)
{
    return r.open || r.low != 0 || r.high != 0;
}

/* ---- what was measured ----------------------------------------------------------------------- */

enum measured_by { NOT_MEASURED, BY_NORM, BY_SUM, BY_MEAN, BY_STD, BY_MAX, BY_MIN };

/* What a function is called with: `.`, or one head of it, as it is written: `.`, .[3], abs of
 * these. */
struct subject {
    enum measured_by by;
    int first, parts;
    bool magnitude; /* abs() stands around it */
};

struct sieve {
    struct ledger *ledger;
    const struct expr *e;
    struct subject subjects[]; /* [nodes] of the calls among them */
};

static bool constant(const struct expr *e, int node, double *out)
{
    const struct node *n = &e->nodes[node];
    if (n->kind == NODE_MAP && n->map == VALUE_NEGATE && constant(e, n->first, out)) {
        *out = -*out;
        return true;
    }
    *out = n->number;
    return n->kind == NODE_NUMBER;
}

/* False: it is something else. */
static bool subject_of(const struct expr *e, int node, int parts, struct subject *out)
{
    const struct node *n = &e->nodes[node];
    double at;
    if (n->kind == NODE_CALL && strcmp(expr_function_name(n->function), "abs") == 0 &&
        subject_of(e, n->first, parts, out)) {
        out->magnitude = true;
        return true;
    }
    *out = (struct subject){.parts = parts};
    if (n->kind == NODE_HERE)
        return true;
    if (n->kind != NODE_INDEX || e->nodes[n->first].kind != NODE_HERE || parts < 2 ||
        n->second < 0 || e->nodes[n->second].next >= 0 || !constant(e, n->second, &at))
        return false;
    at += at < 0 ? parts : 0;
    out->first = (int)at;
    out->parts = 1;
    return at == floor(at) && at >= 0 && at < parts;
}

struct total {
    double n, sum, squares, most, least, largest; /* largest: magnitude */
};

static struct total total_of(const struct sieve_row *row, const struct subject *s)
{
    struct total t = {.most = -INFINITY, .least = INFINITY};
    for (int i = s->first; i < s->first + s->parts; i++) {
        const struct measures *m = &row->measures[i];
        t.n += row->d;
        t.sum += m->sum;
        t.squares += m->squares;
        t.most = (double)m->most > t.most ? (double)m->most : t.most;
        t.least = (double)m->least < t.least ? (double)m->least : t.least;
    }
    t.largest = fabs(t.most) > fabs(t.least) ? fabs(t.most) : fabs(t.least);
    return t;
}

static struct range about(double x, double off)
{
    return between(x - off, x + off);
}

static struct range deviation(const struct total *t, double off)
{
    double mean = t->sum / t->n, variance = t->squares / t->n - mean * mean;
    double lost = 1e-9 * t->squares / t->n; /* as the difference of large numbers */
    struct range r = between(sqrt(fmax(0, variance - lost)), sqrt(variance + lost));
    return between(r.low - 2 * off, r.high + 2 * off);
}

/* Off by no more than each element by `margin` of the largest. */
static struct range measured(const struct sieve_row *row, const struct subject *s)
{
    struct total t = total_of(row, s);
    double off = row->margin * t.largest;
    /* Sums of magnitudes are not measured. */
    switch (s->by) {
    case BY_NORM:
        return about(sqrt(t.squares), off * sqrt(t.n));
    case BY_MAX:
        return about(s->magnitude ? t.largest : t.most, off);
    case BY_SUM:
        return s->magnitude ? between(0, t.n * (t.largest + off)) : about(t.sum, off * t.n);
    case BY_MEAN:
        return s->magnitude ? between(0, t.largest + off) : about(t.sum / t.n, off);
    case BY_MIN:
        return s->magnitude ? anything() : about(t.least, off);
    case BY_STD:
        return s->magnitude ? anything() : deviation(&t, off);
    case NOT_MEASURED:
        break;
    }
    return anything();
}

/* ---- the expression -------------------------------------------------------------------------- */

static struct range range_of(const struct sieve *s, int node, const struct sieve_row *row);

/* The least and the greatest of four corners. */
static struct range around(const double x[4])
{
    double low = x[0], high = x[0];
    for (int i = 0; i < 4; i++) {
        if (isnan(x[i]))
            return anything();
        low = fmin(low, x[i]);
        high = fmax(high, x[i]);
    }
    return between(low, high);
}

static struct range product(struct range a, struct range b)
{
    const double x[4] = {a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high};
    return around(x);
}

/* Divided as whoever reads the row divides: 49 * (1 / 49) is not 1. */
static struct range quotient(struct range a, struct range b)
{
    const double x[4] = {a.low / b.low, a.low / b.high, a.high / b.low, a.high / b.high};
    return around(x);
}

static struct range less(struct range a, struct range b, bool or_equal)
{
    bool may = or_equal ? a.low <= b.high : a.low < b.high;
    bool must = or_equal ? a.high <= b.low : a.high < b.low;
    return truth(!must, may);
}

static struct range binary(enum value_operator o, struct range a, struct range b)
{
    bool apart = a.high < b.low || b.high < a.low;
    bool one = a.low == a.high && b.low == b.high && a.low == b.low;
    if (a.open || b.open) /* what may be no number, or many */
        return anything();
    switch (o) {
    case VALUE_ADD:
        return between(a.low + b.low, a.high + b.high);
    case VALUE_SUBTRACT:
        return between(a.low - b.high, a.high - b.low);
    case VALUE_MULTIPLY:
        return product(a, b);
    case VALUE_DIVIDE:
        return may_be_zero(b) ? anything() : quotient(a, b);
    case VALUE_EQUAL:
        return truth(!one, !apart);
    case VALUE_UNEQUAL:
        return truth(!apart, !one);
    case VALUE_LESS:
        return less(a, b, false);
    case VALUE_LESS_EQUAL:
        return less(a, b, true);
    case VALUE_GREATER:
        return less(b, a, false);
    case VALUE_GREATER_EQUAL:
        return less(b, a, true);
    case VALUE_MATMUL:
        break;
    }
    return anything();
}

static struct range map(const struct sieve *s, const struct node *n, const struct sieve_row *row)
{
    struct range r = range_of(s, n->first, row);
    if (r.open)
        return anything();
    if (n->map == VALUE_NEGATE)
        return between(-r.high, -r.low);
    return n->map == VALUE_NOT ? truth(may_be_other(r), may_be_zero(r)) : anything();
}

static struct range range_of(const struct sieve *s, int node, const struct sieve_row *row)
{
    const struct node *n = &s->e->nodes[node];
    struct range a, b;
    switch (n->kind) {
    case NODE_NUMBER:
        return between(n->number, n->number);
    case NODE_CALL:
        return measured(row, &s->subjects[node]);
    case NODE_MAP:
        return map(s, n, row);
    case NODE_BINARY:
        a = range_of(s, n->first, row);
        b = range_of(s, n->second, row);
        return binary((enum value_operator)n->operator_, a, b);
    case NODE_AND:
        a = range_of(s, n->first, row);
        b = range_of(s, n->second, row);
        return truth(may_be_zero(a) || may_be_zero(b), may_be_other(a) && may_be_other(b));
    case NODE_OR:
        a = range_of(s, n->first, row);
        b = range_of(s, n->second, row);
        return truth(may_be_zero(a) && may_be_zero(b), may_be_other(a) || may_be_other(b));
    default:
        return anything();
    }
}

/* ---- opening ------------------------------------------------------------------------------- */

static enum measured_by measured_by(const char *function)
{
    static const char *const names[] = {[BY_NORM] = "norm", [BY_SUM] = "sum", [BY_MEAN] = "mean",
                                        [BY_STD] = "std",   [BY_MAX] = "max", [BY_MIN] = "min"};
    for (int k = BY_NORM; k <= BY_MIN; k++)
        if (strcmp(function, names[k]) == 0)
            return (enum measured_by)k;
    return NOT_MEASURED;
}

struct sieve *sieve_open(struct ledger *l, const struct expr *e, int parts, struct error *err)
{
    struct sieve *s =
        mem_alloc(l, MEM_OTHER, sizeof *s + (size_t)e->n_nodes * sizeof *s->subjects, err);
    if (!s)
        return NULL;
    s->ledger = l;
    s->e = e;
    for (int i = 0; i < e->n_nodes; i++) {
        const struct node *n = &e->nodes[i];
        if (n->kind == NODE_CALL && n->first >= 0 && e->nodes[n->first].next < 0 &&
            subject_of(e, n->first, parts, &s->subjects[i]))
            s->subjects[i].by = measured_by(expr_function_name(n->function));
    }
    return s;
}

bool sieve_judges(const struct sieve *s)
{
    for (int i = 0; i < s->e->n_nodes; i++)
        if (s->subjects[i].by != NOT_MEASURED)
            return true;
    return false;
}

void sieve_close(struct sieve *s)
{
    if (s)
        mem_free(s->ledger, s);
}

bool sieve_passes(const struct sieve *s, const struct sieve_row *row)
{
    for (int i = 0; i < row->parts; i++)
        if (row->measures[i].odd > 0)
            return true;
    return may_be_other(range_of(s, s->e->root, row));
}
