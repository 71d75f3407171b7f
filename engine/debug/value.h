/* value.h - what an expression gives: a number, an array of floats, or a string.
 *
 * Arrays are row major and owned, counted as views in the ledger. One number is kept in double
 * and so are sums; an array's element is rounded once to float32, so that x + y has the bits of
 * the model's own addition. Shapes follow numpy: broadcasting, axes from the end, `@`.
 */
#ifndef MIDPASS_VALUE_H
#define MIDPASS_VALUE_H

#include "engine/base/ledger.h"
#include "engine/base/text.h"

#include <stdint.h>

#define VALUE_MAX_DIMS 8

struct value {
    struct ledger *ledger;
    int n_dims; /* 0: one number */
    size_t dims[VALUE_MAX_DIMS];
    size_t count;  /* elements; 1 for one number */
    float *data;   /* [count]; NULL for one number and for a string */
    double number; /* of n_dims 0 */
    char *string;  /* not NULL: this is a string; NUL-terminated, may hold NULs */
    size_t n_string;
};

/* One number, 0. Holds no memory yet. */
void value_init(struct value *v, struct ledger *l);
void value_fini(struct value *v);
/* Gives up what v held. */
void value_set_number(struct value *v, double x);
bool value_set_string(struct value *v, const char *s, size_t n, struct error *err);
/* An array of this shape, zeroed; n_dims 0 makes one number. */
bool value_set_shape(struct value *v, int n_dims, const size_t *dims, struct error *err);
bool value_copy(struct value *to, const struct value *from, struct error *err);
/* Moves; from is left as value_init makes it. */
void value_move(struct value *to, struct value *from);

/* Element i in row major order. */
double value_at(const struct value *v, size_t i);
void value_put(struct value *v, size_t i, double x);
size_t value_bytes(const struct value *v);
/* "[8, 6]", "a number", "a string": for messages. Returns out. */
char *value_describe(const struct value *v, char out[128]);
/* Writes "[8, 6]" of n_dims dims. */
char *shape_describe(int n_dims, const size_t *dims, char out[128]);

/* ---- arithmetic; out may not be an operand, and is given up first ---- */

enum value_operator {
    VALUE_ADD,
    VALUE_SUBTRACT,
    VALUE_MULTIPLY,
    VALUE_DIVIDE,
    VALUE_EQUAL,
    VALUE_UNEQUAL,
    VALUE_LESS,
    VALUE_LESS_EQUAL,
    VALUE_GREATER,
    VALUE_GREATER_EQUAL,
    VALUE_MATMUL,
};
/* interrupt (may be NULL): non-zero stops a long product with ERR_INTERRUPTED. */
bool value_binary(enum value_operator o, const struct value *a, const struct value *b,
                  const volatile int *interrupt, struct value *out, struct error *err);

/* Each element on its own. */
enum value_map {
    VALUE_NEGATE,
    VALUE_NOT, /* 1 where the element is 0 */
    VALUE_ABS,
    VALUE_EXP,
    VALUE_LOG,
    VALUE_SQRT,
    VALUE_ISNAN,
};
bool value_apply(enum value_map f, const struct value *a, struct value *out, struct error *err);

/* Over one axis, which then is gone, or over all elements. Nothing to look at is an error for
 * max, min, argmax and argmin. A NaN wins max, min and their arg, as in numpy. */
enum value_reduction {
    VALUE_SUM,
    VALUE_MEAN,
    VALUE_STD,
    VALUE_NORM, /* Euclidean */
    VALUE_MAX,
    VALUE_MIN,
    VALUE_ARGMAX,
    VALUE_ARGMIN,
    VALUE_ENTROPY, /* of probabilities, in nats */
};
#define VALUE_ALL_AXES VALUE_MAX_DIMS
/* axis: negative counts from the end; VALUE_ALL_AXES: all elements. */
bool value_reduce(enum value_reduction r, const struct value *a, int axis, struct value *out,
                  struct error *err);
/* Sum of a * b, cosine of the angle, Kullback-Leibler divergence of a from b in nats. Over all
 * elements the shapes have to be equal; over an axis they are broadcast. */
enum value_pairing { VALUE_DOT, VALUE_COS, VALUE_KL };
bool value_pair(enum value_pairing p, const struct value *a, const struct value *b, int axis,
                struct value *out, struct error *err);
bool value_softmax(const struct value *a, int axis, struct value *out, struct error *err);

/* ---- indexing ---- */

/* The elements of one axis that an index takes. */
struct pick {
    int64_t first, step; /* step may be negative, and is 0 for one element */
    size_t count;
    bool drop; /* a single index: the axis is gone from the result */
};
/* The elements that picks[n_dims] take. */
bool value_pick(const struct value *a, const struct pick *picks, struct value *out,
                struct error *err);
/* The shape that picks leave. Returns the number of axes. */
int pick_shape(const struct pick *picks, int n_dims, size_t *dims);
size_t pick_count(const struct pick *picks, int n_dims);
struct pick pick_all(size_t n);
struct pick pick_one(int64_t i);

/* What is in an array, at one look. NaNs are counted and left out of the rest. */
struct value_summary {
    double min, max, mean, norm;
    size_t n_nan, n_inf;
};
struct value_summary value_summarise(const struct value *v);

#endif
