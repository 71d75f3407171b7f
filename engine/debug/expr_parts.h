/* expr_parts.h - what the lexer, the parser and the evaluator share. Nobody else includes this. */
#ifndef MIDPASS_EXPR_PARTS_H
#define MIDPASS_EXPR_PARTS_H

#include "engine/debug/expr.h"

/* ---- words (lexer.c) ---- */

enum token_kind {
    TOKEN_END,
    TOKEN_NUMBER,
    TOKEN_STRING,
    TOKEN_SITE,
    TOKEN_HERE,     /* . */
    TOKEN_VARIABLE, /* $1 $name */
    TOKEN_WEIGHT,   /* W(...), whole */
    TOKEN_FUNCTION, /* a name in front of a parenthesis */
    TOKEN_ELLIPSIS,
    TOKEN_OPERATOR, /* two characters or one, in `symbol` */
};

struct token {
    enum token_kind kind;
    int column;
    char symbol[3];
    double number;
    enum site site;
    int layer;
    size_t at, n; /* in the lexer's strings: of a string, variable, weight, function */
};

struct lexer {
    const char *text; /* NUL-terminated */
    size_t n, at;
    int column;           /* of text[0] */
    bool after_operand;   /* so that * is a product, not all layers */
    struct text *strings; /* names and strings, each NUL-terminated */
    struct token token;
    struct error *err;
};

/* Reads the next word into lexer.token. */
bool lexer_next(struct lexer *x);

/* ---- trees ---- */

enum node_kind {
    NODE_NUMBER,
    NODE_STRING,
    NODE_SITE,
    NODE_HERE,
    NODE_WEIGHT,
    NODE_VARIABLE,
    NODE_MAP,    /* first: -x, !x */
    NODE_BINARY, /* first, second */
    NODE_AND,
    NODE_OR,
    NODE_INDEX, /* first is indexed; items from second on */
    NODE_SLICE, /* an item start:stop:step, each -1 where it is left out */
    NODE_ELLIPSIS,
    NODE_CALL, /* arguments from first on */
};

struct node {
    enum node_kind kind;
    int column;
    int depth;                /* of the tree below; limited, since evaluation descends it */
    int first, second, third; /* nodes; -1: none */
    int next;                 /* the next argument or item; -1: the last */
    int function;             /* NODE_CALL: see function_find */
    int map, operator_;       /* enum value_map, enum value_operator */
    bool in_parentheses;      /* so that (5.z)[3] indexes the value, not the site */
    double number;
    enum site site;
    int layer;
    size_t at, n; /* in strings */
};

struct expr {
    struct ledger *ledger;
    char *text;
    struct text strings;
    struct node *nodes;
    int n_nodes, room;
    int root;
};

const char *expr_string(const struct expr *e, const struct node *n);

/* ---- functions (expr_function.c) ---- */

struct evaluation {
    const struct expr *expr;
    const struct scope *scope;
};

/* Its number, or -1. */
int function_find(const char *name);
/* How many arguments it takes. */
void function_arity(int f, int *least, int *most);
bool function_call(const struct evaluation *e, int f, struct value *args, int n, struct value *out,
                   struct error *err);

/* ---- indexing (expr_index.c) ---- */

/* An axis as an index sees it: `n` elements, of which `known` can be had. */
struct axis {
    size_t n, known;
    const struct source *positions; /* not NULL: they are this site's positions */
};
/* Picks for n_dims axes from the items of an index node; what items leave out is whole. */
bool index_resolve(const struct evaluation *e, const struct node *index, int n_dims,
                   const struct axis *axes, const char *what, struct pick *picks,
                   struct error *err);
/* Reads a site, `.` or a weight, with an index node or without (NULL). */
bool source_find(const struct evaluation *e, const struct node *base, const struct node *index,
                 struct source *out, struct pick picks[4], struct error *err);

bool node_eval(const struct evaluation *e, int node, struct value *out, struct error *err);
/* Puts the column where an error has none yet. Returns false. */
bool place_error(struct error *err, int column);

#endif
