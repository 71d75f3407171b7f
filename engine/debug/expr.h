/* expr.h - numpy-like expressions over sites and weights.
 *
 *     5.pattern[3,-1,:]    a slice of a site: its axes are TransformerLens's, without the batch
 *     norm(0.resid_post)   a site without brackets is its value at the cursor's position
 *     .[3]                 the site stood at, at the cursor's position
 *     W(5.attn.W_O)[3]  dir(" Mary")  logit(" Mary")  lens(5.resid_post)  $1  $name
 *
 * An expression is parsed once and evaluated as often as wanted; every error points at a column.
 * What it reads comes through a scope, and only the rows and heads that an index asks for.
 */
#ifndef MIDPASS_EXPR_H
#define MIDPASS_EXPR_H

#include "engine/analysis/top.h"
#include "engine/debug/value.h"
#include "engine/debug/weight_view.h"
#include "engine/forward/site.h"

/* Something that values are read from a slice at a time. */
struct source {
    bool is_weight;
    enum site site;
    int layer, op; /* of a site */
    struct weight_view weight;
    int n_dims;
    size_t dims[4];              /* of an axis that counts positions: those that are known */
    int position_axis, key_axis; /* -1: none */
    int n_positions; /* of the sequence, known or not: what a negative position counts from */
};

/* Where names in an expression lead. */
struct scope {
    struct ledger *ledger;
    void *context;
    const volatile int *interrupt; /* may be NULL */
    int position;                  /* the cursor's */
    enum site here;                /* what `.` is; SITE_NONE: the cursor is at no site */
    int here_layer;
    int d_model, n_vocab;
    bool (*site)(void *context, enum site s, int layer, struct source *out, struct error *err);
    bool (*weight)(void *context, const char *name, struct source *out, struct error *err);
    /* False sets *err to why a site's value at a position cannot be read. */
    bool (*known)(void *context, const struct source *s, int position, struct error *err);
    /* The elements that picks[n_dims] take, in order. Every index is in range. */
    bool (*read)(void *context, const struct source *s, const struct pick *picks, float *out,
                 struct error *err);
    bool (*token)(void *context, const char *piece, size_t n, int32_t *id, struct error *err);
    /* Final norm and unembedding of n residual rows: [n, D] to [n, V]. */
    bool (*lens)(void *context, const float *rows, size_t n, float *out, struct error *err);
    /* What logits, a source, say of one token at a position, their probabilities if asked for.
     * NULL: the row is read. */
    bool (*standing)(void *context, const struct source *logits, int position, int32_t id,
                     bool probability, struct top_row *out, struct error *err);
    bool (*variable)(void *context, const char *name, struct value *out, struct error *err);
};

struct expr;

/* text need not end in NUL. column is that of text[0] in the line typed (1-based). NULL and *err
 * if it is no expression. The whole text has to be one. */
struct expr *expr_parse(struct ledger *l, const char *text, size_t n, int column,
                        struct error *err);
void expr_close(struct expr *e); /* NULL is fine */
/* Gives up what out held. */
bool expr_eval(const struct expr *e, const struct scope *s, struct value *out, struct error *err);
/* Whether a value counts as true: a number other than 0. Anything but one number is an error. */
bool expr_truth(const struct value *v, bool *out, struct error *err);

/* If the expression is one site, with brackets or without, its slice: for commands that write
 * there. *found is false, without an error, for any other expression. */
bool expr_slice(const struct expr *e, const struct scope *s, bool *found, struct source *source,
                struct pick picks[4], struct error *err);
/* Whether it reads `.`, and any variable. */
bool expr_reads_dot(const struct expr *e);
bool expr_reads_variable(const struct expr *e);

/* "norm(x[, axis])  Euclidean norm": one line each, for help and completion; NULL at the end. */
const char *expr_function_help(int i);
const char *expr_function_name(int i);

#endif
