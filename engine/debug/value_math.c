/* value_math.c - arithmetic over values: broadcasting, products, reductions. */
#include "engine/debug/value.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Walks an array of dims[n] in row major order and, in step, one or two operands that are
 * broadcast to it: their stride is 0 along axes that they repeat. */
struct walk {
    int n;
    size_t dims[VALUE_MAX_DIMS], at[VALUE_MAX_DIMS];
    size_t stride[2][VALUE_MAX_DIMS], offset[2];
};

static void walk_next(struct walk *w)
{
    for (int d = w->n - 1; d >= 0; d--) {
        for (int k = 0; k < 2; k++)
            w->offset[k] += w->stride[k][d];
        if (++w->at[d] < w->dims[d])
            return;
        for (int k = 0; k < 2; k++)
            w->offset[k] -= w->stride[k][d] * w->dims[d];
        w->at[d] = 0;
    }
}

/* The common shape of the leading axes of two operands, the last `inner` left out. */
static bool broadcast(struct walk *w, const struct value *const v[2], const int inner[2],
                      const char *what, struct error *err)
{
    int n[2] = {v[0]->n_dims - inner[0], v[1]->n_dims - inner[1]};
    char shape[2][128];
    memset(w, 0, sizeof *w);
    w->n = n[0] > n[1] ? n[0] : n[1];
    for (int k = 0; k < 2; k++) {
        size_t stride = 1;
        for (int d = v[k]->n_dims - 1; d >= n[k]; d--)
            stride *= v[k]->dims[d];
        for (int d = n[k] - 1; d >= 0; d--) {
            w->stride[k][d + w->n - n[k]] = v[k]->dims[d] == 1 ? 0 : stride;
            stride *= v[k]->dims[d];
        }
    }
    for (int d = 0; d < w->n; d++) {
        size_t size[2] = {1, 1};
        for (int k = 0; k < 2; k++)
            if (d >= w->n - n[k])
                size[k] = v[k]->dims[d - (w->n - n[k])];
        if (size[0] != size[1] && size[0] != 1 && size[1] != 1)
            return error_set(err, ERR_USAGE, "shapes %s and %s do not go together for %s",
                             value_describe(v[0], shape[0]), value_describe(v[1], shape[1]), what);
        w->dims[d] = size[0] == 1 ? size[1] : size[0];
    }
    return true;
}

static bool numbers_only(const struct value *a, const char *what, struct error *err)
{
    return !a->string || error_set(err, ERR_USAGE, "%s needs numbers and got a string", what);
}

/* ---- element by element ---- */

static const char *const operator_names[] = {
    [VALUE_ADD] = "+",      [VALUE_SUBTRACT] = "-",
    [VALUE_MULTIPLY] = "*", [VALUE_DIVIDE] = "/",
    [VALUE_EQUAL] = "==",   [VALUE_UNEQUAL] = "!=",
    [VALUE_LESS] = "<",     [VALUE_LESS_EQUAL] = "<=",
    [VALUE_GREATER] = ">",  [VALUE_GREATER_EQUAL] = ">=",
    [VALUE_MATMUL] = "@",
};

/* Two floats' sum, product or quotient rounded from double to float is the float operation's
 * own result: 53 bits are more than twice 24. */
static double calculate(enum value_operator o, double x, double y)
{
    switch (o) {
    case VALUE_ADD:
        return x + y;
    case VALUE_SUBTRACT:
        return x - y;
    case VALUE_MULTIPLY:
        return x * y;
    case VALUE_DIVIDE:
        return x / y;
    case VALUE_EQUAL:
        return x == y;
    case VALUE_UNEQUAL:
        return x != y;
    case VALUE_LESS:
        return x < y;
    case VALUE_LESS_EQUAL:
        return x <= y;
    case VALUE_GREATER:
        return x > y;
    case VALUE_GREATER_EQUAL:
        return x >= y;
    case VALUE_MATMUL:
        break;
    }
    return NAN;
}

/* One row of a product, some columns at a time so that b is read along its rows. */
static void product_row(const float *a, const float *b, size_t length, size_t columns,
                        struct value *out, size_t at)
{
    for (size_t j = 0; j < columns; j += 64) {
        size_t n = columns - j < 64 ? columns - j : 64;
        double sum[64] = {0};
        for (size_t k = 0; k < length; k++)
            for (size_t c = 0; c < n; c++)
                sum[c] += (double)a[k] * (double)b[k * columns + j + c];
        for (size_t c = 0; c < n; c++)
            value_put(out, at + j + c, sum[c]);
    }
}

/* Numpy's rule: a vector on the left is a row, on the right a column, and that axis is gone
 * afterwards; what stands in front of the last two axes is broadcast. */
static bool product(const struct value *a, const struct value *b, const volatile int *interrupt,
                    struct value *out, struct error *err)
{
    const struct value *const both[2] = {a, b};
    const int inner[2] = {a->n_dims > 1 ? 2 : 1, b->n_dims > 1 ? 2 : 1};
    char left[128], right[128];
    struct walk w;
    if (a->n_dims == 0 || b->n_dims == 0)
        return error_set(err, ERR_USAGE, "@ needs arrays on both sides and got %s and %s",
                         value_describe(a, left), value_describe(b, right));
    size_t rows = inner[0] == 2 ? a->dims[a->n_dims - 2] : 1;
    size_t columns = inner[1] == 2 ? b->dims[b->n_dims - 1] : 1;
    size_t length = a->dims[a->n_dims - 1];
    size_t down = b->dims[b->n_dims - inner[1]];
    if (length != down)
        return error_set(err, ERR_USAGE, "shapes %s and %s do not go together for @: %zu and %zu",
                         value_describe(a, left), value_describe(b, right), length, down);
    if (!broadcast(&w, both, inner, "@", err))
        return false;
    size_t dims[VALUE_MAX_DIMS + 2];
    int n = w.n;
    memcpy(dims, w.dims, sizeof w.dims);
    if (inner[0] == 2)
        dims[n++] = rows;
    if (inner[1] == 2)
        dims[n++] = columns;
    if (!value_set_shape(out, n, dims, err))
        return false;
    size_t each = rows * columns;
    size_t matrices = each > 0 ? out->count / each : 0;
    for (size_t m = 0; m < matrices; m++, walk_next(&w))
        for (size_t i = 0; i < rows; i++) {
            if (interrupt && *interrupt)
                return error_set(err, ERR_INTERRUPTED, "stopped");
            product_row(a->data + w.offset[0] + i * length, b->data + w.offset[1], length, columns,
                        out, (m * rows + i) * columns);
        }
    return true;
}

bool value_binary(enum value_operator o, const struct value *a, const struct value *b,
                  const volatile int *interrupt, struct value *out, struct error *err)
{
    const struct value *const both[2] = {a, b};
    const int inner[2] = {0, 0};
    struct walk w;
    value_fini(out);
    if (a->string && b->string && (o == VALUE_EQUAL || o == VALUE_UNEQUAL)) {
        bool same = a->n_string == b->n_string && memcmp(a->string, b->string, a->n_string) == 0;
        value_set_number(out, same == (o == VALUE_EQUAL));
        return true;
    }
    if (!numbers_only(a, operator_names[o], err) || !numbers_only(b, operator_names[o], err))
        return false;
    if (o == VALUE_MATMUL)
        return product(a, b, interrupt, out, err);
    if (!broadcast(&w, both, inner, operator_names[o], err) ||
        !value_set_shape(out, w.n, w.dims, err))
        return false;
    for (size_t i = 0; i < out->count; i++, walk_next(&w))
        value_put(out, i, calculate(o, value_at(a, w.offset[0]), value_at(b, w.offset[1])));
    return true;
}

static double map_one(enum value_map f, double x)
{
    switch (f) {
    case VALUE_NEGATE:
        return -x;
    case VALUE_NOT:
        return x == 0;
    case VALUE_ABS:
        return fabs(x);
    case VALUE_EXP:
        return exp(x);
    case VALUE_LOG:
        return log(x);
    case VALUE_SQRT:
        return sqrt(x);
    case VALUE_ISNAN:
        return isnan(x);
    }
    return NAN;
}

bool value_apply(enum value_map f, const struct value *a, struct value *out, struct error *err)
{
    static const char *const names[] = {"-", "!", "abs", "exp", "log", "sqrt", "isnan"};
    if (!numbers_only(a, names[f], err) || !value_set_shape(out, a->n_dims, a->dims, err))
        return false;
    for (size_t i = 0; i < a->count; i++)
        value_put(out, i, map_one(f, value_at(a, i)));
    return true;
}

/* ---- along an axis ---- */

/* An array seen as [outer, n, inner], where n is the axis worked on. */
struct axis_view {
    size_t outer, n, inner;
};

static bool find_axis(const struct value *a, int axis, struct axis_view *view, size_t *dims,
                      int *n_dims, struct error *err)
{
    char shape[128];
    *n_dims = 0;
    if (axis == VALUE_ALL_AXES) {
        *view = (struct axis_view){1, a->count, 1};
        return true;
    }
    int at = axis < 0 ? axis + a->n_dims : axis;
    if (at < 0 || at >= a->n_dims)
        return error_set(err, ERR_USAGE, "there is no axis %d in %s", axis,
                         value_describe(a, shape));
    *view = (struct axis_view){1, a->dims[at], 1};
    for (int d = 0; d < a->n_dims; d++) {
        if (d < at)
            view->outer *= a->dims[d];
        else if (d > at)
            view->inner *= a->dims[d];
        if (d != at)
            dims[(*n_dims)++] = a->dims[d];
    }
    return true;
}

/* The element that max or min stops at: the best, or the first NaN. */
static size_t extreme(const struct value *a, size_t first, size_t n, size_t stride, bool largest)
{
    size_t best = 0;
    double x = value_at(a, first);
    for (size_t i = 1; i < n && !isnan(x); i++) {
        double y = value_at(a, first + i * stride);
        if (isnan(y) || (largest ? y > x : y < x)) {
            best = i;
            x = y;
        }
    }
    return best;
}

static double reduce_one(enum value_reduction r, const struct value *a, size_t first, size_t n,
                         size_t stride)
{
    double sum = 0, mean;
    switch (r) {
    case VALUE_SUM:
    case VALUE_MEAN:
        for (size_t i = 0; i < n; i++)
            sum += value_at(a, first + i * stride);
        return r == VALUE_SUM ? sum : sum / (double)n;
    case VALUE_STD:
        mean = reduce_one(VALUE_MEAN, a, first, n, stride);
        for (size_t i = 0; i < n; i++) {
            double x = value_at(a, first + i * stride) - mean;
            sum += x * x;
        }
        return sqrt(sum / (double)n);
    case VALUE_NORM:
        for (size_t i = 0; i < n; i++) {
            double x = value_at(a, first + i * stride);
            sum += x * x;
        }
        return sqrt(sum);
    case VALUE_ENTROPY:
        for (size_t i = 0; i < n; i++) {
            double p = value_at(a, first + i * stride);
            sum -= p == 0 ? 0 : p * log(p);
        }
        return sum;
    case VALUE_MAX:
    case VALUE_MIN:
        return value_at(a, first + extreme(a, first, n, stride, r == VALUE_MAX) * stride);
    case VALUE_ARGMAX:
    case VALUE_ARGMIN:
        return (double)extreme(a, first, n, stride, r == VALUE_ARGMAX);
    }
    return NAN;
}

bool value_reduce(enum value_reduction r, const struct value *a, int axis, struct value *out,
                  struct error *err)
{
    static const char *const names[] = {"sum", "mean",   "std",    "norm",   "max",
                                        "min", "argmax", "argmin", "entropy"};
    struct axis_view v = {0};
    size_t dims[VALUE_MAX_DIMS];
    int n_dims = 0;
    if (!numbers_only(a, names[r], err) || !find_axis(a, axis, &v, dims, &n_dims, err))
        return false;
    if (v.n == 0 && r >= VALUE_MAX && r <= VALUE_ARGMIN)
        return error_set(err, ERR_USAGE, "%s of no elements", names[r]);
    if (!value_set_shape(out, n_dims, dims, err))
        return false;
    for (size_t o = 0; o < v.outer; o++)
        for (size_t i = 0; i < v.inner; i++)
            value_put(out, o * v.inner + i, reduce_one(r, a, o * v.n * v.inner + i, v.n, v.inner));
    return true;
}

/* ---- two arrays along an axis ---- */

/* a repeated to the shape of dims; an array of that shape already is not copied. */
static bool stretch(const struct value *a, const struct walk *shape, int side, struct value *out,
                    struct error *err)
{
    struct walk w = *shape;
    if (!value_set_shape(out, w.n, w.dims, err))
        return false;
    for (size_t i = 0; i < out->count; i++, walk_next(&w))
        value_put(out, i, value_at(a, w.offset[side]));
    return true;
}

static double pair_one(enum value_pairing p, const struct value *a, const struct value *b,
                       size_t first, size_t n, size_t stride)
{
    double sum = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        double x = value_at(a, first + i * stride), y = value_at(b, first + i * stride);
        if (p == VALUE_KL) {
            sum += x == 0 ? 0 : x * (log(x) - log(y));
            continue;
        }
        sum += x * y;
        aa += x * x;
        bb += y * y;
    }
    return p == VALUE_COS ? sum / (sqrt(aa) * sqrt(bb)) : sum;
}

bool value_pair(enum value_pairing p, const struct value *a, const struct value *b, int axis,
                struct value *out, struct error *err)
{
    static const char *const names[] = {"dot", "cos", "kl"};
    const struct value *const both[2] = {a, b};
    const int inner[2] = {0, 0};
    char left[128], right[128];
    struct walk w;
    if (!numbers_only(a, names[p], err) || !numbers_only(b, names[p], err) ||
        !broadcast(&w, both, inner, names[p], err))
        return false;
    bool same = a->n_dims == b->n_dims &&
                memcmp(a->dims, b->dims, (size_t)a->n_dims * sizeof *a->dims) == 0;
    if (axis == VALUE_ALL_AXES && !same)
        return error_set(err, ERR_USAGE, "%s needs two values of one shape and got %s and %s",
                         names[p], value_describe(a, left), value_describe(b, right));
    struct value wide[2];
    value_init(&wide[0], out->ledger);
    value_init(&wide[1], out->ledger);
    size_t dims[VALUE_MAX_DIMS];
    int n_dims = 0;
    struct axis_view v = {0};
    bool ok = same || (stretch(a, &w, 0, &wide[0], err) && stretch(b, &w, 1, &wide[1], err));
    const struct value *x = same ? a : &wide[0], *y = same ? b : &wide[1];
    ok =
        ok && find_axis(x, axis, &v, dims, &n_dims, err) && value_set_shape(out, n_dims, dims, err);
    for (size_t o = 0; ok && o < v.outer; o++)
        for (size_t i = 0; i < v.inner; i++)
            value_put(out, o * v.inner + i, pair_one(p, x, y, o * v.n * v.inner + i, v.n, v.inner));
    value_fini(&wide[0]);
    value_fini(&wide[1]);
    return ok;
}

bool value_softmax(const struct value *a, int axis, struct value *out, struct error *err)
{
    struct axis_view v = {0};
    size_t dims[VALUE_MAX_DIMS];
    int n_dims = 0;
    if (!numbers_only(a, "softmax", err) || !find_axis(a, axis, &v, dims, &n_dims, err) ||
        !value_set_shape(out, a->n_dims, a->dims, err))
        return false;
    for (size_t o = 0; o < v.outer; o++)
        for (size_t i = 0; i < v.inner && v.n > 0; i++) {
            size_t first = o * v.n * v.inner + i;
            double top = value_at(a, first + extreme(a, first, v.n, v.inner, true) * v.inner);
            double sum = 0;
            for (size_t k = 0; k < v.n; k++)
                sum += exp(value_at(a, first + k * v.inner) - top);
            for (size_t k = 0; k < v.n; k++)
                value_put(out, first + k * v.inner,
                          exp(value_at(a, first + k * v.inner) - top) / sum);
        }
    return true;
}
