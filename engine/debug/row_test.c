#include "engine/debug/row_test.h"

#include "engine/debug/session_scope.h"

struct row_scope {
    struct session_scope base; /* first: the callbacks that are kept expect it */
    const struct op_view *view;
    int row; /* of the view */
};

static bool row_site(void *context, enum site site, int layer, struct source *out,
                     struct error *err)
{
    struct row_scope *r = context;
    int op;
    if (!session_find(r->base.session, site, layer, &op, err))
        return false;
    session_source(r->base.session, op, out);
    size_t n = (size_t)r->base.scope.position + 1;
    out->dims[out->position_axis] = n;
    if (out->key_axis >= 0)
        out->dims[out->key_axis] = n;
    return true;
}

static bool row_known(void *context, const struct source *s, int position, struct error *err)
{
    struct row_scope *r = context;
    return (s->op == r->view->op && position == r->base.scope.position) ||
           error_set(err, ERR_STATE, "this value is not computed yet");
}

/* The last axis of the elements that `at` names by its other indices. */
static const float *run_of(const struct row_scope *r, const struct source *s, const int64_t *at)
{
    const struct op_view *v = r->view;
    if (s->key_axis >= 0) /* [heads, n, n_keys] */
        return v->data +
               ((size_t)(at[0] - v->head0) * (size_t)v->n + (size_t)r->row) * (size_t)v->n_keys;
    const float *row = v->data + (size_t)r->row * v->row_stride;
    return s->n_dims == 3 ? row + (size_t)at[1] * s->dims[2] : row;
}

static bool row_read(void *context, const struct source *s, const struct pick *picks, float *out,
                     struct error *err)
{
    struct row_scope *r = context;
    const struct pick *last =
        &picks[s->n_dims - 1]; /* read in runs: this is what a condition costs */
    size_t total = pick_count(picks, s->n_dims);
    if (s->is_weight) {
        weight_read(&s->weight, picks, out);
        return true;
    }
    if (s->op != r->view->op)
        return error_set(err, ERR_STATE, "this value is not computed yet");
    for (size_t i = 0; i < total; i += last->count) {
        int64_t at[4] = {0};
        size_t rest = i / last->count;
        for (int d = s->n_dims - 2; d >= 0; d--) {
            at[d] = picks[d].first + (int64_t)(rest % picks[d].count) * picks[d].step;
            rest /= picks[d].count;
        }
        const float *from = run_of(r, s, at);
        for (size_t k = 0; k < last->count; k++)
            out[i + k] = from[last->first + (int64_t)k * last->step];
    }
    return true;
}

bool row_test(struct session *s, const struct breakpoint *b, const struct op_view *v, int row,
              bool *truth, struct error *err)
{
    const struct op *op = &s->model.program.ops[v->op];
    struct row_scope r = {.view = v, .row = row};
    struct value x;
    session_scope_init(&r.base, s, s->breakpoints.variables);
    r.base.scope.context = &r;
    r.base.scope.position = v->pos0 + row;
    r.base.scope.here = op->site;
    r.base.scope.here_layer = op->layer;
    r.base.scope.site = row_site;
    r.base.scope.known = row_known;
    r.base.scope.read = row_read;
    value_init(&x, s->ledger);
    bool ok = expr_eval(b->expr, &r.base.scope, &x, err) && expr_truth(&x, truth, err);
    value_fini(&x);
    return ok || error_prefix(err, "the condition of breakpoint %d", b->id);
}
