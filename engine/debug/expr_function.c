/* expr_function.c - the functions of expressions: one row each, for the evaluator and for help. */
#include "engine/analysis/top.h"
#include "engine/debug/expr_parts.h"

#include <math.h>
#include <string.h>

enum function_kind { OVER_AXIS, EACH, OF_TWO, SOFTMAX, LOGIT, PROB, RANK, DIRECTION, LENS };

static const struct function {
    const char *name;
    enum function_kind kind;
    int which; /* of its kind */
    int least, most;
    int axis; /* where none is given */
    const char *help;
} functions[] = {
    {"norm", OVER_AXIS, VALUE_NORM, 1, 2, VALUE_ALL_AXES, "norm(x[, axis])  Euclidean norm"},
    {"sum", OVER_AXIS, VALUE_SUM, 1, 2, VALUE_ALL_AXES, "sum(x[, axis])"},
    {"mean", OVER_AXIS, VALUE_MEAN, 1, 2, VALUE_ALL_AXES, "mean(x[, axis])"},
    {"max", OVER_AXIS, VALUE_MAX, 1, 2, VALUE_ALL_AXES, "max(x[, axis])  NaN if one is"},
    {"min", OVER_AXIS, VALUE_MIN, 1, 2, VALUE_ALL_AXES, "min(x[, axis])  NaN if one is"},
    {"std", OVER_AXIS, VALUE_STD, 1, 2, VALUE_ALL_AXES, "std(x[, axis])  of all, not a sample"},
    {"abs", EACH, VALUE_ABS, 1, 1, 0, "abs(x)"},
    {"argmax", OVER_AXIS, VALUE_ARGMAX, 1, 2, VALUE_ALL_AXES,
     "argmax(x[, axis])  where the largest is"},
    {"argmin", OVER_AXIS, VALUE_ARGMIN, 1, 2, VALUE_ALL_AXES,
     "argmin(x[, axis])  where the smallest is"},
    {"cos", OF_TWO, VALUE_COS, 2, 3, VALUE_ALL_AXES,
     "cos(x, y[, axis])  cosine of the angle between them"},
    {"dot", OF_TWO, VALUE_DOT, 2, 3, VALUE_ALL_AXES, "dot(x, y[, axis])  sum of x * y"},
    {"softmax", SOFTMAX, 0, 1, 2, -1, "softmax(x[, axis])  along the last axis, or that one"},
    {"entropy", OVER_AXIS, VALUE_ENTROPY, 1, 2, -1,
     "entropy(p[, axis])  of probabilities, in nats, along the last axis, or that one"},
    {"kl", OF_TWO, VALUE_KL, 2, 3, -1,
     "kl(p, q[, axis])  Kullback-Leibler divergence in nats, along the last axis, or that one"},
    {"isnan", EACH, VALUE_ISNAN, 1, 1, 0, "isnan(x)  1 where x is not a number"},
    {"exp", EACH, VALUE_EXP, 1, 1, 0, "exp(x)"},
    {"log", EACH, VALUE_LOG, 1, 1, 0, "log(x)  natural logarithm"},
    {"sqrt", EACH, VALUE_SQRT, 1, 1, 0, "sqrt(x)"},
    {"logit", LOGIT, 0, 1, 2, 0, "logit(\"tok\"[, position])  a token's logit; an id does, too"},
    {"prob", PROB, 0, 1, 2, 0, "prob(\"tok\"[, position])  a token's probability"},
    {"rank", RANK, 0, 1, 2, 0, "rank(\"tok\"[, position])  how many tokens are likelier"},
    {"lens", LENS, 0, 1, 1, 0, "lens(x)  logits of residuals: final norm and unembedding"},
    {"dir", DIRECTION, 0, 1, 1, 0, "dir(\"tok\")  a token's unembedding column"},
};
#define N_FUNCTIONS ((int)(sizeof functions / sizeof functions[0]))

int function_find(const char *name)
{
    for (int i = 0; i < N_FUNCTIONS; i++)
        if (strcmp(functions[i].name, name) == 0)
            return i;
    return -1;
}

void function_arity(int f, int *least, int *most)
{
    *least = functions[f].least;
    *most = functions[f].most;
}

const char *expr_function_name(int i)
{
    return i >= 0 && i < N_FUNCTIONS ? functions[i].name : NULL;
}

const char *expr_function_help(int i)
{
    return i >= 0 && i < N_FUNCTIONS ? functions[i].help : NULL;
}

/* An argument that is one whole number in [low, high]. */
static bool whole(const struct value *v, const char *what, double low, double high, double *out,
                  struct error *err)
{
    char got[128];
    double x = v->string || v->count != 1 ? (double)NAN : value_at(v, 0);
    if (!v->string && v->count == 1 && x == floor(x) && (x < low || x > high))
        return error_set(err, ERR_USAGE, "%s has to lie in %.0f to %.0f and is %.0f", what, low,
                         high, x);
    if (isnan(x) || x != floor(x))
        return error_set(err, ERR_USAGE, "%s has to be one whole number, not %s", what,
                         value_describe(v, got));
    *out = x;
    return true;
}

static bool token_id(const struct scope *s, const struct value *v, int32_t *id, struct error *err)
{
    double x = 0;
    if (v->string)
        return s->token(s->context, v->string, v->n_string, id, err);
    if (v->count != 1 || v->n_dims > 0)
        return error_set(err, ERR_USAGE, "a token is written as a string or an id");
    if (!whole(v, "a token's id", 0, s->n_vocab - 1, &x, err))
        return false;
    *id = (int32_t)x;
    return true;
}

/* Reads a slice of a source into an array. */
static bool read_slice(const struct scope *s, const struct source *source, const struct pick *picks,
                       struct value *out, struct error *err)
{
    size_t dims[4], n = pick_count(picks, source->n_dims);
    if (!value_set_shape(out, pick_shape(picks, source->n_dims, dims), dims, err))
        return false;
    float one = 0;
    if (n > 0 && !s->read(s->context, source, picks, out->n_dims ? out->data : &one, err))
        return false;
    if (out->n_dims == 0)
        out->number = (double)one;
    return true;
}

/* What the logits say of a token, by the row itself. */
static bool standing(const struct scope *s, const struct source *source, int position, int32_t id,
                     bool probability, struct top_row *out, struct error *err)
{
    struct pick picks[2] = {pick_one(position), pick_all((size_t)s->n_vocab)};
    struct top_ask ask = {.probabilities = probability, .targets = &id};
    struct value row;
    if (s->standing)
        return s->standing(s->context, source, position, id, probability, out, err);
    value_init(&row, s->ledger);
    bool ok = read_slice(s, source, picks, &row, err);
    if (ok)
        top_of_row(row.data, s->n_vocab, &ask, 0, out, NULL);
    value_fini(&row);
    return ok;
}

/* logit, prob, rank: of the logits at a position, the cursor's unless told. */
static bool of_logits(const struct scope *s, enum function_kind kind, const struct value *args,
                      int n, struct value *out, struct error *err)
{
    int32_t id = 0;
    double position = s->position;
    struct source source;
    struct top_row row;
    if (!token_id(s, &args[0], &id, err) || !s->site(s->context, SITE_LOGITS, 0, &source, err))
        return false;
    if (n > 1) {
        if (!whole(&args[1], "a position", -source.n_positions, source.n_positions - 1, &position,
                   err))
            return false;
        position += position < 0 ? source.n_positions : 0;
    }
    if (!s->known(s->context, &source, (int)position, err) ||
        !standing(s, &source, (int)position, id, kind == PROB, &row, err))
        return false;
    float logit = row.target.logit;
    if (kind == LOGIT)
        value_set_number(out, (double)logit);
    else if (kind == PROB)
        value_set_number(out, row.target.probability);
    else /* what is no number has no rank */
        value_set_number(out, isnan(logit) ? (double)NAN : row.rank);
    return true;
}

static bool direction(const struct scope *s, const struct value *arg, struct value *out,
                      struct error *err)
{
    int32_t id = 0;
    struct source source;
    if (!token_id(s, arg, &id, err) || !s->weight(s->context, "unembed.W_U", &source, err))
        return false;
    struct pick picks[2] = {pick_all(source.dims[0]), pick_one(id)};
    return read_slice(s, &source, picks, out, err);
}

static bool lens(const struct scope *s, const struct value *x, struct value *out, struct error *err)
{
    char got[128];
    size_t dims[VALUE_MAX_DIMS];
    if (x->n_dims == 0 || x->dims[x->n_dims - 1] != (size_t)s->d_model)
        return error_set(err, ERR_USAGE, "lens takes residuals, [..., %d], and got %s", s->d_model,
                         value_describe(x, got));
    memcpy(dims, x->dims, sizeof dims);
    dims[x->n_dims - 1] = (size_t)s->n_vocab;
    return value_set_shape(out, x->n_dims, dims, err) &&
           (x->count == 0 ||
            s->lens(s->context, x->data, x->count / (size_t)s->d_model, out->data, err));
}

bool function_call(const struct evaluation *e, int f, struct value *args, int n, struct value *out,
                   struct error *err)
{
    const struct function *fn = &functions[f];
    double axis = fn->axis;
    bool takes_axis = fn->kind == OVER_AXIS || fn->kind == SOFTMAX || fn->kind == OF_TWO;
    if (takes_axis && n == fn->most &&
        !whole(&args[n - 1], "an axis", -VALUE_MAX_DIMS, VALUE_MAX_DIMS - 1, &axis, err))
        return false;
    switch (fn->kind) {
    case OVER_AXIS:
        return value_reduce((enum value_reduction)fn->which, &args[0], (int)axis, out, err);
    case EACH:
        return value_apply((enum value_map)fn->which, &args[0], out, err);
    case OF_TWO:
        return value_pair((enum value_pairing)fn->which, &args[0], &args[1], (int)axis, out, err);
    case SOFTMAX:
        return value_softmax(&args[0], (int)axis, out, err);
    case LOGIT:
    case PROB:
    case RANK:
        return of_logits(e->scope, fn->kind, args, n, out, err);
    case DIRECTION:
        return direction(e->scope, &args[0], out, err);
    case LENS:
        return lens(e->scope, &args[0], out, err);
    }
    return error_set(err, ERR_USAGE, "%s cannot be called", fn->name);
}
