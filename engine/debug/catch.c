#include "engine/debug/catch.h"

#include "engine/analysis/lens.h"
#include "engine/debug/place.h"
#include "engine/debug/session_scope.h"

#include <math.h>
#include <string.h>

const char *stop_kind_name(enum stop_kind k)
{
    return k == STOP_SITE ? "breakpoint" : k == STOP_WATCH ? "watchpoint" : "catchpoint";
}

/* ---- watch ---- */

static bool watched_value(struct session *s, const struct breakpoint *b, int position,
                          struct value *out, struct error *err)
{
    struct session_scope scope;
    session_scope_init(&scope, s, s->breakpoints.variables);
    scope.scope.position = position;
    scope.scope.here = SITE_NONE;
    return expr_eval(b->expr, &scope.scope, out, err) || error_prefix(err, "watch %d", b->id);
}

/* As bits, but that all NaNs are one. */
static bool same_number(double x, double y)
{
    return x == y || (isnan(x) && isnan(y));
}

static bool same_value(const struct value *a, const struct value *b)
{
    if (a->string || b->string)
        return a->string && b->string && a->n_string == b->n_string &&
               memcmp(a->string, b->string, a->n_string) == 0;
    if (a->n_dims != b->n_dims ||
        memcmp(a->dims, b->dims, (size_t)a->n_dims * sizeof *a->dims) != 0)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!same_number(value_at(a, i), value_at(b, i)))
            return false;
    return true;
}

/* The values at the token before and at this one. */
static bool watched_pair(struct session *s, const struct breakpoint *b, int position,
                         struct value *old, struct value *new, struct error *err)
{
    value_init(old, s->ledger);
    value_init(new, s->ledger);
    return watched_value(s, b, position - 1, old, err) && watched_value(s, b, position, new, err);
}

static bool test_watch(struct session *s, const struct breakpoint *b, int position, bool *truth,
                       struct error *err)
{
    struct value old, new;
    bool ok = watched_pair(s, b, position, &old, &new, err);
    *truth = ok && !same_value(&old, &new);
    value_fini(&old);
    value_fini(&new);
    return ok;
}

/* ---- catch nan ---- */

static bool bad(float x, bool scores)
{
    return !isfinite(x) && !(scores && x < 0);
}

bool catch_bad_row(const struct op *op, const struct op_view *v, int row)
{
    bool scores = op->kind == OP_SCORES;
    if (v->row_stride == 0) { /* [heads, n, n_keys] */
        for (int h = 0; h < v->heads; h++) {
            const float *x = v->data + ((size_t)h * (size_t)v->n + (size_t)row) * (size_t)v->n_keys;
            for (int k = 0; k <= v->pos0 + row; k++)
                if (bad(x[k], scores))
                    return true;
        }
        return false;
    }
    const float *x = v->data + (size_t)row * v->row_stride;
    for (int i = 0; i < op->width; i++)
        if (bad(x[i], false))
            return true;
    return false;
}

/* A site's value at one position, as `.` would give it. */
static bool value_at_place(struct session *s, int position, int op, struct value *out,
                           struct error *err)
{
    struct session_scope scope;
    session_scope_init(&scope, s, NULL);
    scope.scope.position = position;
    scope.scope.here = s->model.program.ops[op].site;
    scope.scope.here_layer = s->model.program.ops[op].layer;
    struct expr *e = expr_parse(s->ledger, ".", 1, 1, err);
    bool ok = e && expr_eval(e, &scope.scope, out, err);
    expr_close(e);
    return ok;
}

/* The index of the first bad element; count if there is none. */
static size_t first_bad(const struct value *v, bool scores)
{
    size_t i = 0;
    while (i < v->count && !bad((float)value_at(v, i), scores))
        i++;
    return i;
}

static bool test_nan(struct session *s, int position, int op, bool *truth, struct error *err)
{
    struct value v;
    value_init(&v, s->ledger);
    bool ok = value_at_place(s, position, op, &v, err);
    *truth = ok && first_bad(&v, s->model.program.ops[op].kind == OP_SCORES) < v.count;
    value_fini(&v);
    return ok;
}

/* ---- catch top1 ---- */

/* The lens's best token of the residual before and behind a block. */
static bool best_pair(struct session *s, int position, int op, bool probabilities,
                      struct top_entry best[2], struct error *err)
{
    const struct program *p = &s->model.program;
    size_t D = (size_t)s->model.config.d_model;
    int before = program_find(p, SITE_RESID_PRE, p->ops[op].layer);
    struct top_ask ask = {.n_best = 1, .probabilities = probabilities};
    struct top_row found[2];
    float *rows = mem_alloc_array(s->ledger, MEM_VIEWS, 2 * D, sizeof *rows, err);
    bool ok = rows && trace_read(&s->trace, before, position, 1, 0, 0, 0, rows, err) &&
              trace_read(&s->trace, op, position, 1, 0, 0, 0, rows + D, err) &&
              lens_top(&s->trace, rows, 2, &ask, found, best, err);
    mem_free(s->ledger, rows);
    return ok;
}

bool catch_test(struct session *s, const struct breakpoint *b, int position, int op, bool *truth,
                struct error *err)
{
    struct top_entry best[2];
    if (b->kind == STOP_WATCH)
        return test_watch(s, b, position, truth, err);
    if (b->kind == STOP_NAN)
        return test_nan(s, position, op, truth, err);
    if (!best_pair(s, position, op, false, best, err))
        return false;
    *truth = best[0].id != best[1].id;
    return true;
}

/* ---- telling ---- */

static bool report_watch(struct report *r, struct session *s, const struct breakpoint *b,
                         struct error *err)
{
    struct value v[2];
    static const char *const names[] = {"old", "new"}, *const before[] = {"old = ", "new = "};
    bool ok = watched_pair(s, b, s->position, &v[0], &v[1], err);
    for (int i = 0; ok && i < 2; i++)
        if (r->json) {
            report_open(r, names[i], '{');
            ok = report_value(r, &v[i], err);
            report_close(r, '}');
        } else {
            ok = report_print(r, before[i], &v[i], false, err);
        }
    value_fini(&v[0]);
    value_fini(&v[1]);
    return ok;
}

static bool report_nan(struct report *r, struct session *s, struct error *err)
{
    struct value v;
    size_t index[VALUE_MAX_DIMS];
    value_init(&v, s->ledger);
    bool ok = value_at_place(s, s->position, s->op, &v, err);
    size_t i = ok ? first_bad(&v, s->model.program.ops[s->op].kind == OP_SCORES) : 0;
    if (ok && i < v.count) {
        size_t rest = i;
        for (int d = v.n_dims - 1; d >= 0; rest /= v.dims[d], d--)
            index[d] = rest % v.dims[d];
        if (r->json) {
            report_string(r, "kind", "nan", 3);
            report_shape(r, "index", v.n_dims, index);
            report_number(r, "value", value_at(&v, i));
        } else {
            text_add(&r->text, "  the first is ");
            add_number(&r->text, value_at(&v, i));
            text_add(&r->text, " at .[");
            for (int d = 0; d < v.n_dims; d++)
                text_printf(&r->text, "%s%zu", d ? "," : "", index[d]);
            text_add(&r->text, "]\n");
        }
    }
    value_fini(&v);
    return ok;
}

static bool report_token(struct report *r, const struct session *s, const char *key, int32_t id,
                         struct error *err)
{
    struct text piece;
    text_init(&piece, s->ledger, MEM_VIEWS);
    bool ok = session_piece(s, id, &piece, err);
    if (ok && s->model.tokenizer)
        report_string(r, key, piece.data ? piece.data : "", piece.n);
    else if (ok)
        report_null(r, key);
    text_fini(&piece);
    return ok;
}

static bool report_top1(struct report *r, struct session *s, struct error *err)
{
    static const char *const ids[] = {"old_id", "new_id"};
    static const char *const tokens[] = {"old_token", "new_token"};
    static const char *const p[] = {"old_probability", "new_probability"};
    struct top_entry best[2];
    if (!best_pair(s, s->position, s->op, true, best, err))
        return false;
    if (r->json)
        report_string(r, "kind", "top1", 4);
    for (int i = 0; i < 2; i++) {
        if (r->json) {
            report_int(r, ids[i], best[i].id);
            if (!report_token(r, s, tokens[i], best[i].id, err))
                return false;
            report_number(r, p[i], best[i].probability);
            continue;
        }
        text_add(&r->text, i ? " -> " : "  the lens: ");
        if (!place_add_token(&r->text, s, best[i].id, err))
            return false;
        text_printf(&r->text, " %.4f%s", best[i].probability, i ? "\n" : "");
    }
    return true;
}

bool catch_report(struct report *r, struct session *s, const struct breakpoint *b,
                  struct error *err)
{
    switch (b->kind) {
    case STOP_WATCH:
        return report_watch(r, s, b, err);
    case STOP_NAN:
        return report_nan(r, s, err);
    case STOP_TOP1:
        return report_top1(r, s, err);
    case STOP_SITE:
        break;
    }
    return true;
}
