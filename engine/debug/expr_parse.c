/* expr_parse.c - from words to a tree, by binding strength.
 *
 *     ||   &&   == != < <= > >=   + -   * / @   - !   [..]
 */
#include "engine/debug/expr_parts.h"

#include "engine/debug/near.h"

#include <stdio.h>
#include <string.h>

#define MAX_NESTING 200  /* parentheses, brackets, signs inside each other */
#define MAX_DEPTH   1000 /* of the tree: 1 + 1 + 1 + ... is a deep one, too */
#define MAX_NODES   100000

struct parser {
    struct lexer lexer;
    struct expr *expr;
    int nesting;
    struct error *err;
};

static int parse_binary(struct parser *p, int strength);

static bool is(const struct parser *p, const char *symbol)
{
    return p->lexer.token.kind == TOKEN_OPERATOR && strcmp(p->lexer.token.symbol, symbol) == 0;
}

static int depth_of(const struct parser *p, int node)
{
    return node < 0 ? 0 : p->expr->nodes[node].depth;
}

/* Adds a node at a column, over the nodes below; -1 and *err if there are too many. */
static int add(struct parser *p, enum node_kind kind, int column, int first, int second, int third)
{
    struct expr *e = p->expr;
    if (e->n_nodes == e->room) {
        int room = e->room ? 2 * e->room : 16;
        if (room > MAX_NODES) {
            error_at(p->err, ERR_USAGE, column, "the expression is too long");
            return -1;
        }
        struct node *nodes =
            mem_resize(e->ledger, MEM_OTHER, e->nodes, (size_t)room * sizeof *nodes, p->err);
        if (!nodes)
            return -1;
        e->nodes = nodes;
        e->room = room;
    }
    int depth = 0;
    const int below[] = {first, second, third};
    for (int i = 0; i < 3; i++)
        for (int n = below[i]; n >= 0; n = e->nodes[n].next)
            if (depth_of(p, n) > depth)
                depth = depth_of(p, n);
    if (depth >= MAX_DEPTH) {
        error_at(p->err, ERR_USAGE, column, "the expression is too long: more than %d operations",
                 MAX_DEPTH);
        return -1;
    }
    e->nodes[e->n_nodes] = (struct node){.kind = kind,
                                         .column = column,
                                         .depth = depth + 1,
                                         .first = first,
                                         .second = second,
                                         .third = third,
                                         .next = -1};
    return e->n_nodes++;
}

static int unexpected(struct parser *p, const char *wanted)
{
    const struct token *t = &p->lexer.token;
    if (t->kind == TOKEN_END)
        error_at(p->err, ERR_USAGE, t->column, "the line ends where %s is expected", wanted);
    else if (t->kind == TOKEN_OPERATOR)
        error_at(p->err, ERR_USAGE, t->column, "\"%s\" stands where %s is expected", t->symbol,
                 wanted);
    else
        error_at(p->err, ERR_USAGE, t->column, "%s is expected here", wanted);
    return -1;
}

static bool take(struct parser *p, const char *symbol)
{
    char wanted[8];
    snprintf(wanted, sizeof wanted, "%s", symbol);
    if (!is(p, symbol))
        return unexpected(p, wanted) >= 0;
    return lexer_next(&p->lexer);
}

static bool nest(struct parser *p)
{
    if (p->nesting++ < MAX_NESTING)
        return true;
    return error_at(p->err, ERR_USAGE, p->lexer.token.column, "more than %d levels of nesting",
                    MAX_NESTING);
}

static int unknown_function(struct parser *p, const char *name)
{
    char near[200] = "";
    size_t at = 0;
    for (int i = 0; expr_function_name(i) && at < 150; i++)
        if (near_name(name, strlen(name), expr_function_name(i)))
            at += (size_t)snprintf(near + at, sizeof near - at, "%s%s",
                                   at ? ", " : "; near: ", expr_function_name(i));
    error_at(p->err, ERR_USAGE, p->lexer.token.column, "there is no function %.40s%s", name, near);
    return -1;
}

static int parse_call(struct parser *p)
{
    const struct token t = p->lexer.token;
    const char *name = p->expr->strings.data + t.at;
    int least, most, n = 0, first = -1, last = -1;
    int f = function_find(name);
    if (f < 0)
        return unknown_function(p, name);
    if (!lexer_next(&p->lexer) || !take(p, "(") || !nest(p))
        return -1;
    while (!is(p, ")")) {
        if (n > 0 && !is(p, ","))
            return unexpected(p, "a comma or )");
        if (n > 0 && !lexer_next(&p->lexer))
            return -1;
        int arg = parse_binary(p, 0);
        if (arg < 0)
            return -1;
        if (last >= 0)
            p->expr->nodes[last].next = arg;
        else
            first = arg;
        last = arg;
        n++;
    }
    p->nesting--;
    function_arity(f, &least, &most);
    if (n < least || n > most) {
        error_at(p->err, ERR_USAGE, t.column, "%s takes %d%s argument%s and got %d: %s",
                 expr_function_name(f), least, most > least ? " or more" : "",
                 least == 1 && most == 1 ? "" : "s", n, expr_function_help(f));
        return -1;
    }
    int node = add(p, NODE_CALL, t.column, first, -1, -1);
    if (node < 0 || !lexer_next(&p->lexer))
        return -1;
    p->expr->nodes[node].function = f;
    return node;
}

static int parse_primary(struct parser *p)
{
    const struct token t = p->lexer.token;
    enum node_kind kind;
    switch (t.kind) {
    case TOKEN_NUMBER:
        kind = NODE_NUMBER;
        break;
    case TOKEN_STRING:
        kind = NODE_STRING;
        break;
    case TOKEN_SITE:
        kind = NODE_SITE;
        break;
    case TOKEN_HERE:
        kind = NODE_HERE;
        break;
    case TOKEN_WEIGHT:
        kind = NODE_WEIGHT;
        break;
    case TOKEN_VARIABLE:
        kind = NODE_VARIABLE;
        break;
    case TOKEN_FUNCTION:
        return parse_call(p);
    case TOKEN_OPERATOR:
        if (is(p, "(")) {
            if (!nest(p) || !lexer_next(&p->lexer))
                return -1;
            int inner = parse_binary(p, 0);
            if (inner < 0 || !take(p, ")"))
                return -1;
            p->nesting--;
            p->expr->nodes[inner].in_parentheses = true;
            return inner;
        }
        return unexpected(p, "a value");
    default:
        return unexpected(p, "a value");
    }
    int node = add(p, kind, t.column, -1, -1, -1);
    if (node < 0 || !lexer_next(&p->lexer))
        return -1;
    struct node *n = &p->expr->nodes[node];
    n->number = t.number;
    n->site = t.site;
    n->layer = t.layer;
    n->at = t.at;
    n->n = t.n;
    return node;
}

/* One item between brackets: an index, a slice, or "...". */
static int parse_item(struct parser *p)
{
    int column = p->lexer.token.column, part[3] = {-1, -1, -1}, n = 0;
    if (p->lexer.token.kind == TOKEN_ELLIPSIS) {
        int node = add(p, NODE_ELLIPSIS, column, -1, -1, -1);
        return node >= 0 && lexer_next(&p->lexer) ? node : -1;
    }
    for (;; n++) {
        if (!is(p, ":") && !is(p, ",") && !is(p, "]") && (part[n] = parse_binary(p, 0)) < 0)
            return -1;
        if (!is(p, ":"))
            break;
        if (n == 2)
            return unexpected(p, "] or a comma");
        if (!lexer_next(&p->lexer))
            return -1;
    }
    if (n == 0)
        return part[0] >= 0 ? part[0] : unexpected(p, "an index");
    return add(p, NODE_SLICE, column, part[0], part[1], part[2]);
}

static int parse_postfix(struct parser *p)
{
    int node = parse_primary(p);
    while (node >= 0 && is(p, "[")) {
        int column = p->lexer.token.column, first = -1, last = -1;
        if (!nest(p) || !lexer_next(&p->lexer))
            return -1;
        do {
            if (last >= 0 && !take(p, ","))
                return -1;
            int item = parse_item(p);
            if (item < 0)
                return -1;
            if (last >= 0)
                p->expr->nodes[last].next = item;
            else
                first = item;
            last = item;
        } while (is(p, ","));
        if (!is(p, "]"))
            return unexpected(p, "a comma or ]");
        if (!lexer_next(&p->lexer))
            return -1;
        p->nesting--;
        node = add(p, NODE_INDEX, column, node, first, -1);
    }
    return node;
}

static int parse_unary(struct parser *p)
{
    bool minus = is(p, "-"), not_ = is(p, "!");
    int column = p->lexer.token.column;
    if (is(p, "+")) {
        unexpected(p, "a value");
        return -1;
    }
    if (!minus && !not_)
        return parse_postfix(p);
    if (!nest(p) || !lexer_next(&p->lexer))
        return -1;
    int operand = parse_unary(p);
    p->nesting--;
    int node = operand < 0 ? -1 : add(p, NODE_MAP, column, operand, -1, -1);
    if (node >= 0)
        p->expr->nodes[node].map = minus ? VALUE_NEGATE : VALUE_NOT;
    return node;
}

static const struct infix {
    const char *symbol;
    int strength;
    enum node_kind kind;
    enum value_operator operator_;
} infixes[] = {
    {"||", 1, NODE_OR, 0},
    {"&&", 2, NODE_AND, 0},
    {"==", 3, NODE_BINARY, VALUE_EQUAL},
    {"!=", 3, NODE_BINARY, VALUE_UNEQUAL},
    {"<", 3, NODE_BINARY, VALUE_LESS},
    {"<=", 3, NODE_BINARY, VALUE_LESS_EQUAL},
    {">", 3, NODE_BINARY, VALUE_GREATER},
    {">=", 3, NODE_BINARY, VALUE_GREATER_EQUAL},
    {"+", 4, NODE_BINARY, VALUE_ADD},
    {"-", 4, NODE_BINARY, VALUE_SUBTRACT},
    {"*", 5, NODE_BINARY, VALUE_MULTIPLY},
    {"/", 5, NODE_BINARY, VALUE_DIVIDE},
    {"@", 5, NODE_BINARY, VALUE_MATMUL},
};
#define COMPARISON 3

static const struct infix *infix_here(const struct parser *p)
{
    for (size_t i = 0; i < sizeof infixes / sizeof infixes[0]; i++)
        if (is(p, infixes[i].symbol))
            return &infixes[i];
    return NULL;
}

/* Operators that bind tighter than `strength`, from left to right. */
static int parse_binary(struct parser *p, int strength)
{
    int left = parse_unary(p);
    bool compared = false;
    while (left >= 0) {
        const struct infix *o = infix_here(p);
        int column = p->lexer.token.column;
        if (!o || o->strength <= strength)
            break;
        if (o->strength == COMPARISON && compared) {
            error_at(p->err, ERR_USAGE, column, "comparisons do not chain: write a < b && b < c");
            return -1;
        }
        compared = compared || o->strength == COMPARISON;
        if (!lexer_next(&p->lexer))
            return -1;
        int right = parse_binary(p, o->strength);
        if (right < 0)
            return -1;
        left = add(p, o->kind, column, left, right, -1);
        if (left >= 0)
            p->expr->nodes[left].operator_ = (int)o->operator_;
    }
    return left;
}

struct expr *expr_parse(struct ledger *l, const char *text, size_t n, int column, struct error *err)
{
    struct expr *e = mem_alloc(l, MEM_OTHER, sizeof *e, err);
    if (!e)
        return NULL;
    e->ledger = l;
    text_init(&e->strings, l, MEM_OTHER);
    e->text = mem_alloc(l, MEM_OTHER, n + 1, err);
    if (!e->text) {
        expr_close(e);
        return NULL;
    }
    if (n > 0)
        memcpy(e->text, text, n);
    struct parser p = {
        .lexer = {.text = e->text, .n = n, .column = column, .strings = &e->strings, .err = err},
        .expr = e,
        .err = err};
    e->root = lexer_next(&p.lexer) ? parse_binary(&p, 0) : -1;
    if (e->root >= 0 && p.lexer.token.kind != TOKEN_END)
        e->root = unexpected(&p, "an operator or the end");
    if (e->root < 0) {
        expr_close(e);
        return NULL;
    }
    return e;
}

void expr_close(struct expr *e)
{
    if (!e)
        return;
    text_fini(&e->strings);
    mem_free(e->ledger, e->nodes);
    mem_free(e->ledger, e->text);
    mem_free(e->ledger, e);
}

const char *expr_string(const struct expr *e, const struct node *n)
{
    return e->strings.data + n->at;
}
