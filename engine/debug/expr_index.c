/* expr_index.c - what stands between brackets, and which elements of a site it takes. */
#include "engine/debug/expr_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool whole(const struct evaluation *e, int node, const char *what, int64_t *out,
                  struct error *err)
{
    const struct node *n = &e->expr->nodes[node];
    struct value v;
    value_init(&v, e->scope->ledger);
    bool ok = node_eval(e, node, &v, err);
    double x = ok && !v.string && v.count == 1 ? value_at(&v, 0) : NAN;
    char got[128];
    /* Within 2^53 every whole number is one double. */
    if (ok && (isnan(x) || x != floor(x) || fabs(x) > 9007199254740992.0))
        ok = error_at(err, ERR_USAGE, n->column, "%s has to be one whole number, not %s", what,
                      value_describe(&v, got));
    if (ok)
        *out = (int64_t)x;
    value_fini(&v);
    return ok;
}

static bool unknown(const struct evaluation *e, const struct axis *a, int64_t at, int column,
                    struct error *err)
{
    if (e->scope->known(e->scope->context, a->positions, (int)at, err))
        error_set(err, ERR_STATE, "position %lld is not computed yet", (long long)at);
    return place_error(err, column);
}

static bool resolve_one(const struct evaluation *e, int item, const struct axis *a, int axis,
                        const char *what, struct pick *out, struct error *err)
{
    int column = e->expr->nodes[item].column;
    int64_t i, n = (int64_t)a->n;
    if (!whole(e, item, "an index", &i, err))
        return false;
    int64_t at = i < 0 ? i + n : i;
    if (at < 0 || at >= n)
        return a->positions ? error_at(err, ERR_USAGE, column,
                                       "there is no position %lld: the sequence has %lld tokens",
                                       (long long)i, (long long)n)
                            : error_at(err, ERR_USAGE, column,
                                       "index %lld is out of range: axis %d of %s "
                                       "has %lld",
                                       (long long)i, axis, what, (long long)n);
    if (at >= (int64_t)a->known)
        return unknown(e, a, at, column, err);
    *out = pick_one(at);
    return true;
}

/* start:stop:step by Python's rules. What is asked for in words has to be known; what is left
 * out ends where knowledge ends. */
static bool resolve_slice(const struct evaluation *e, const struct node *s, const struct axis *a,
                          struct pick *out, struct error *err)
{
    int64_t n = (int64_t)a->n, known = (int64_t)a->known, start, stop, step = 1;
    if (s->third >= 0 && !whole(e, s->third, "a step", &step, err))
        return false;
    if (step == 0)
        return error_at(err, ERR_USAGE, e->expr->nodes[s->third].column, "a step cannot be 0");
    bool back = step < 0;
    start = back ? known - 1 : 0;
    stop = back ? -1 : known;
    if (s->first >= 0) {
        if (!whole(e, s->first, "a slice's start", &start, err))
            return false;
        start = start < 0 ? start + n : start;
        start = start < 0 ? (back ? -1 : 0) : start >= n ? (back ? n - 1 : n) : start;
    }
    if (s->second >= 0) {
        if (!whole(e, s->second, "a slice's stop", &stop, err))
            return false;
        stop = stop < 0 ? stop + n : stop;
        stop = stop < 0 ? (back ? -1 : 0) : stop > n ? n : stop;
    }
    int64_t span = back ? start - stop : stop - start;
    /* A step longer than the axis takes one element; so much is enough, and cannot overflow. */
    int64_t stride = back ? (step < -n ? n + 1 : -step) : (step > n ? n + 1 : step);
    int64_t count = span > 0 ? (span + stride - 1) / stride : 0;
    int64_t last = count > 0 ? (back ? start : start + (count - 1) * stride) : -1;
    if (last >= known)
        return unknown(e, a, last, s->column, err);
    if (!back && s->second < 0 && s->first >= 0 && start >= known && start < n)
        return unknown(e, a, start, s->column, err);
    *out = (struct pick){.first = start, .step = back ? -stride : stride, .count = (size_t)count};
    return true;
}

bool index_resolve(const struct evaluation *e, const struct node *index, int n_dims,
                   const struct axis *axes, const char *what, struct pick *picks, struct error *err)
{
    const struct node *nodes = e->expr->nodes;
    int items = 0, ellipses = 0, d = 0;
    for (int i = index->second; i >= 0; i = nodes[i].next)
        nodes[i].kind == NODE_ELLIPSIS ? ellipses++ : items++;
    if (ellipses > 1)
        return error_at(err, ERR_USAGE, index->column, "more than one ... in an index");
    if (items > n_dims)
        return error_at(err, ERR_USAGE, index->column, "%d indices are too many: %s has %d ax%ss",
                        items, what, n_dims, n_dims == 1 ? "i" : "e");
    for (int i = index->second; i >= 0; i = nodes[i].next) {
        if (nodes[i].kind == NODE_ELLIPSIS) {
            for (int k = 0; k < n_dims - items; k++, d++)
                picks[d] = pick_all(axes[d].known);
            continue;
        }
        bool ok = nodes[i].kind == NODE_SLICE
                      ? resolve_slice(e, &nodes[i], &axes[d], &picks[d], err)
                      : resolve_one(e, i, &axes[d], d, what, &picks[d], err);
        if (!ok)
            return false;
        d++;
    }
    for (; d < n_dims; d++)
        picks[d] = pick_all(axes[d].known);
    return true;
}

/* ---- sites and weights ---- */

/* The picks of a site's value at one position, and which of its axes are left for an index. */
static int at_position(const struct source *s, int position, struct pick picks[4],
                       struct axis axes[4], int left[4])
{
    int n = 0;
    for (int d = 0; d < s->n_dims; d++) {
        size_t size = d == s->key_axis ? (size_t)position + 1 : s->dims[d];
        if (d == s->position_axis) {
            picks[d] = pick_one(position);
        } else if (site_axes(s->site) == AXES_T1) {
            picks[d] = pick_one(0);
        } else {
            picks[d] = pick_all(size);
            axes[n] = (struct axis){.n = size, .known = size};
            left[n++] = d;
        }
    }
    return n;
}

bool source_find(const struct evaluation *e, const struct node *base, const struct node *index,
                 struct source *out, struct pick picks[4], struct error *err)
{
    const struct scope *s = e->scope;
    enum site site = base->site;
    int layer = base->layer;
    char name[64];
    if (base->kind == NODE_HERE) {
        site = s->here;
        layer = s->here_layer;
        if (site == SITE_NONE)
            return error_at(err, ERR_STATE, base->column,
                            ". is the site stood at, and the cursor stands at none");
    }
    bool is_weight = base->kind == NODE_WEIGHT;
    bool ok = is_weight ? s->weight(s->context, expr_string(e->expr, base), out, err)
                        : s->site(s->context, site, layer, out, err);
    if (!ok)
        return place_error(err, base->column);
    const char *what = is_weight ? expr_string(e->expr, base) : site_short_name(site, layer, name);
    struct axis axes[4];
    if (is_weight || (base->kind == NODE_SITE && index)) {
        for (int d = 0; d < out->n_dims; d++) {
            bool positions = d == out->position_axis || d == out->key_axis;
            axes[d] = (struct axis){.n = positions ? (size_t)out->n_positions : out->dims[d],
                                    .known = out->dims[d],
                                    .positions = positions ? out : NULL};
            picks[d] = pick_all(out->dims[d]);
        }
        return !index || index_resolve(e, index, out->n_dims, axes, what, picks, err);
    }
    if (!s->known(s->context, out, s->position, err))
        return place_error(err, base->column);
    int left[4];
    int n = at_position(out, s->position, picks, axes, left);
    if (!index)
        return true;
    struct pick chosen[4];
    if (!index_resolve(e, index, n, axes, what, chosen, err))
        return false;
    for (int i = 0; i < n; i++)
        picks[left[i]] = chosen[i];
    return true;
}
