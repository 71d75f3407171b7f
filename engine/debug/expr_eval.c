/* expr_eval.c - from a tree to a value. */
#include "engine/debug/expr_parts.h"

#include <stdio.h>
#include <string.h>

#define MAX_ARGUMENTS 3

bool place_error(struct error *err, int column)
{
    if (err && err->column == 0)
        err->column = column;
    return false;
}

static bool eval_map(const struct evaluation *e, const struct node *n, struct value *out,
                     struct error *err)
{
    struct value x;
    value_init(&x, e->scope->ledger);
    bool ok = node_eval(e, n->first, &x, err);
    if (ok && !value_apply((enum value_map)n->map, &x, out, err))
        ok = place_error(err, n->column);
    value_fini(&x);
    return ok;
}

static bool eval_binary(const struct evaluation *e, const struct node *n, struct value *out,
                        struct error *err)
{
    struct value a, b;
    value_init(&a, e->scope->ledger);
    value_init(&b, e->scope->ledger);
    bool ok = node_eval(e, n->first, &a, err) && node_eval(e, n->second, &b, err);
    if (ok &&
        !value_binary((enum value_operator)n->operator_, &a, &b, e->scope->interrupt, out, err))
        ok = place_error(err, n->column);
    value_fini(&a);
    value_fini(&b);
    return ok;
}

/* && and ||: what need not be known is not evaluated. */
static bool eval_logic(const struct evaluation *e, const struct node *n, struct value *out,
                       struct error *err)
{
    const int side[2] = {n->first, n->second};
    bool truth = false;
    for (int i = 0; i < 2; i++) {
        struct value x;
        value_init(&x, e->scope->ledger);
        bool ok = node_eval(e, side[i], &x, err);
        if (ok && !expr_truth(&x, &truth, err))
            ok = place_error(err, e->expr->nodes[side[i]].column);
        value_fini(&x);
        if (!ok)
            return false;
        if (truth == (n->kind == NODE_OR))
            break;
    }
    value_set_number(out, truth);
    return true;
}

static bool eval_source(const struct evaluation *e, const struct node *base,
                        const struct node *index, struct value *out, struct error *err)
{
    struct source source;
    struct pick picks[4];
    size_t dims[4];
    if (!source_find(e, base, index, &source, picks, err))
        return false;
    float one = 0;
    bool ok = value_set_shape(out, pick_shape(picks, source.n_dims, dims), dims, err) &&
              (out->count == 0 || e->scope->read(e->scope->context, &source, picks,
                                                 out->n_dims ? out->data : &one, err));
    if (ok && out->n_dims == 0)
        out->number = (double)one;
    return ok || place_error(err, base->column);
}

static bool is_source(const struct node *n)
{
    return n->kind == NODE_SITE || n->kind == NODE_HERE || n->kind == NODE_WEIGHT;
}

static bool eval_index(const struct evaluation *e, const struct node *n, struct value *out,
                       struct error *err)
{
    const struct node *base = &e->expr->nodes[n->first];
    if (is_source(base) && !base->in_parentheses)
        return eval_source(e, base, n, out, err);
    struct value x;
    struct axis axes[VALUE_MAX_DIMS];
    struct pick picks[VALUE_MAX_DIMS];
    char what[128];
    value_init(&x, e->scope->ledger);
    bool ok = node_eval(e, n->first, &x, err);
    if (ok && x.string)
        ok = error_at(err, ERR_USAGE, n->column, "a string has no axes to index");
    for (int d = 0; ok && d < x.n_dims; d++)
        axes[d] = (struct axis){.n = x.dims[d], .known = x.dims[d]};
    ok = ok && index_resolve(e, n, x.n_dims, axes, value_describe(&x, what), picks, err);
    if (ok && !value_pick(&x, picks, out, err))
        ok = place_error(err, n->column);
    value_fini(&x);
    return ok;
}

static bool eval_call(const struct evaluation *e, const struct node *n, struct value *out,
                      struct error *err)
{
    struct value args[MAX_ARGUMENTS];
    int count = 0;
    bool ok = true;
    for (int i = n->first; ok && i >= 0; i = e->expr->nodes[i].next) {
        value_init(&args[count], e->scope->ledger);
        ok = node_eval(e, i, &args[count++], err);
    }
    if (ok && !function_call(e, n->function, args, count, out, err))
        ok = place_error(err, n->column);
    while (count > 0)
        value_fini(&args[--count]);
    return ok;
}

bool node_eval(const struct evaluation *e, int node, struct value *out, struct error *err)
{
    const struct node *n = &e->expr->nodes[node];
    if (e->scope->interrupt && *e->scope->interrupt)
        return error_at(err, ERR_INTERRUPTED, n->column, "stopped");
    switch (n->kind) {
    case NODE_NUMBER:
        value_set_number(out, n->number);
        return true;
    case NODE_STRING:
        return value_set_string(out, expr_string(e->expr, n), n->n, err);
    case NODE_SITE:
    case NODE_HERE:
    case NODE_WEIGHT:
        return eval_source(e, n, NULL, out, err);
    case NODE_VARIABLE:
        return e->scope->variable(e->scope->context, expr_string(e->expr, n), out, err) ||
               place_error(err, n->column);
    case NODE_MAP:
        return eval_map(e, n, out, err);
    case NODE_BINARY:
        return eval_binary(e, n, out, err);
    case NODE_AND:
    case NODE_OR:
        return eval_logic(e, n, out, err);
    case NODE_INDEX:
        return eval_index(e, n, out, err);
    case NODE_CALL:
        return eval_call(e, n, out, err);
    case NODE_SLICE:
    case NODE_ELLIPSIS:
        break; /* only ever items of an index */
    }
    return error_at(err, ERR_USAGE, n->column, "a value is expected here");
}

bool expr_eval(const struct expr *e, const struct scope *s, struct value *out, struct error *err)
{
    struct evaluation evaluation = {e, s};
    return node_eval(&evaluation, e->root, out, err);
}

bool expr_truth(const struct value *v, bool *out, struct error *err)
{
    char got[128];
    if (v->string || v->count != 1)
        return error_set(err, ERR_USAGE,
                         "true or false needs one number and got %s (max, min or sum make one of "
                         "an array)",
                         value_describe(v, got));
    *out = value_at(v, 0) != 0;
    return true;
}

bool expr_slice(const struct expr *e, const struct scope *s, bool *found, struct source *source,
                struct pick picks[4], struct error *err)
{
    struct evaluation evaluation = {e, s};
    const struct node *base = &e->nodes[e->root], *index = NULL;
    if (base->kind == NODE_INDEX) {
        index = base;
        base = &e->nodes[base->first];
    }
    *found = (base->kind == NODE_SITE || base->kind == NODE_HERE) && !base->in_parentheses;
    return !*found || source_find(&evaluation, base, index, source, picks, err);
}

static bool has_node(const struct expr *e, enum node_kind kind)
{
    for (int k = 0; k < e->n_nodes; k++)
        if (e->nodes[k].kind == kind)
            return true;
    return false;
}

bool expr_reads_dot(const struct expr *e)
{
    return has_node(e, NODE_HERE);
}

bool expr_reads_variable(const struct expr *e)
{
    return has_node(e, NODE_VARIABLE);
}
