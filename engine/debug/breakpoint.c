#include "engine/debug/breakpoint.h"

#include "engine/debug/session_scope.h"

#include <stdio.h>
#include <string.h>

void breakpoints_init(struct breakpoints *b, struct ledger *l)
{
    *b = (struct breakpoints){.ledger = l};
}

static void drop(struct breakpoints *b, struct breakpoint *p)
{
    mem_free(b->ledger, p->condition);
    mem_free(b->ledger, p->text);
    mem_free(b->ledger, p->commands);
    expr_close(p->expr);
}

void breakpoints_fini(struct breakpoints *b)
{
    for (int i = 0; i < b->n; i++)
        drop(b, &b->list[i]);
    if (b->ledger) {
        drop(b, &b->gone);
        mem_free(b->ledger, b->list);
    }
    *b = (struct breakpoints){0};
}

/* ---- trying a condition ---- */

/* A scope in which every site is zeros, and which notes whether only `.` is read. It stands at
 * first behind the last token, where no index leads: what is read there is read at the cursor's
 * position, and not at one that was named. */
struct trial {
    struct session_scope base; /* first: the callbacks that are kept expect it */
    int n;                     /* tokens that an index can name, 1 or more */
    int op;                    /* of the breakpoint; -1: none yet */
    int last;                  /* the last op that is read at the cursor's position; -1: none */
    bool elsewhere;
};

static bool trial_site(void *context, enum site site, int layer, struct source *out,
                       struct error *err)
{
    struct trial *t = context;
    int op;
    if (!session_find(t->base.session, site, layer, &op, err))
        return false;
    session_source(t->base.session, op, out);
    /* As if everything were known. */
    int position = t->base.scope.position;
    size_t known = (size_t)(position < t->n ? t->n : position + 1);
    out->dims[out->position_axis] = known;
    if (out->key_axis >= 0)
        out->dims[out->key_axis] = known;
    out->n_positions = t->n;
    return true;
}

static bool trial_known(void *context, const struct source *s, int position, struct error *err)
{
    (void)context;
    (void)s;
    (void)position;
    (void)err;
    return true;
}

static bool trial_read(void *context, const struct source *s, const struct pick *picks, float *out,
                       struct error *err)
{
    struct trial *t = context;
    (void)err;
    const struct pick *at = s->is_weight ? NULL : &picks[s->position_axis];
    if (s->is_weight)
        weight_read(&s->weight, picks, out);
    else
        memset(out, 0, pick_count(picks, s->n_dims) * sizeof *out);
    bool here = at && at->drop && at->first == t->base.scope.position;
    if (at && (s->op != t->op || !here))
        t->elsewhere = true;
    if (here && s->op > t->last)
        t->last = s->op;
    return true;
}

static bool trial_lens(void *context, const float *rows, size_t n, float *out, struct error *err)
{
    struct trial *t = context;
    (void)rows;
    (void)err;
    t->elsewhere = true;
    memset(out, 0, n * (size_t)t->base.session->model.config.n_vocab * sizeof *out);
    return true;
}

/* Evaluates e on zeros, as if standing at (position, t->op). */
static bool trial_at(struct trial *t, struct breakpoints *b, struct session *s,
                     const struct expr *e, int position, bool condition, struct error *err)
{
    struct value v;
    bool truth;
    session_scope_init(&t->base, s, b->variables);
    struct scope *scope = &t->base.scope;
    scope->context = t;
    scope->here = t->op >= 0 ? s->model.program.ops[t->op].site : SITE_NONE;
    scope->here_layer = t->op >= 0 ? s->model.program.ops[t->op].layer : 0;
    scope->position = position;
    scope->site = trial_site;
    scope->known = trial_known;
    scope->read = trial_read;
    scope->lens = trial_lens;
    scope->standing = NULL;
    value_init(&v, b->ledger);
    bool ok = expr_eval(e, scope, &v, err) && (!condition || expr_truth(&v, &truth, err));
    value_fini(&v);
    return ok;
}

/* The same behind the last token, which fills *t; and at the first position that it will be
 * evaluated at (-1: nobody knows), where a row of keys is shortest. */
static bool trial_run(struct trial *t, struct breakpoints *b, struct session *s,
                      const struct expr *e, int first, bool condition, struct error *err)
{
    t->n = s->trace.n_ids > 0 ? s->trace.n_ids : 1;
    t->last = -1;
    if (!trial_at(t, b, s, e, t->n, condition, err))
        return false;
    struct trial again = *t;
    return first < 0 || trial_at(&again, b, s, e, first, condition, err) ||
           error_prefix(err, "at position %d", first);
}

/* Parses and tries a condition for a breakpoint on `op`. NULL and *err if it will not do. */
static struct expr *condition_open(struct breakpoints *b, struct session *s, int op, int first,
                                   const char *text, size_t n, int column, bool *here_only,
                                   struct error *err)
{
    struct expr *e = expr_parse(b->ledger, text, n, column, err);
    struct trial t = {.op = op};
    if (!e)
        return NULL;
    bool ok = trial_run(&t, b, s, e, first, true, err);
    *here_only = !t.elsewhere;
    if (ok)
        return e;
    expr_close(e);
    return NULL;
}

/* Parses and tries what is to be watched; *op is where it is looked at. */
static bool watch_open(struct breakpoints *b, struct session *s, struct breakpoint *p,
                       const struct breakpoint_spec *spec, struct error *err)
{
    struct trial t = {.op = -1};
    p->expr = expr_parse(b->ledger, spec->condition, spec->n_condition, spec->column, err);
    if (!p->expr)
        return false;
    if (expr_reads_dot(p->expr))
        return error_at(err, ERR_USAGE, spec->column,
                        ". is another site at each place: watch needs the name of one");
    /* The first place compares with the token before it. */
    if (!trial_run(&t, b, s, p->expr, p->first - 1, false, err))
        return false;
    p->op = t.last;
    return t.last >= 0 ||
           error_at(err, ERR_USAGE, spec->column,
                    "nothing in it changes from token to token (5.z[3] with brackets is the same "
                    "at all; (5.z)[3] is the present token's)");
}

static bool set_condition(struct breakpoints *b, struct session *s, struct breakpoint *p,
                          const char *text, size_t n, int column, struct error *err)
{
    int op;
    bool here_only;
    if (!session_find(s, p->site, p->layer_first, &op, err))
        return false;
    int first = p->token_id < 0 ? p->first : -1;
    struct expr *e = condition_open(b, s, op, first, text, n, column, &here_only, err);
    char *copy = e ? mem_alloc(b->ledger, MEM_OTHER, n + 1, err) : NULL;
    if (!copy) {
        expr_close(e);
        return false;
    }
    memcpy(copy, text, n); /* mem_alloc has zeroed the end */
    mem_free(b->ledger, p->condition);
    expr_close(p->expr);
    p->condition = copy;
    p->expr = e;
    p->here_only = here_only;
    return true;
}

/* ---- the list ---- */

/* What its kind asks for, beside the fields that all have. */
static bool fill(struct breakpoints *b, struct session *s, struct breakpoint *p,
                 const struct breakpoint_spec *spec, struct error *err)
{
    int op;
    if (spec->kind == STOP_WATCH)
        return watch_open(b, s, p, spec, err);
    if (spec->kind != STOP_SITE)
        return true;
    for (int l = spec->layer_first; l <= spec->layer_last; l++)
        if (!session_find(s, spec->site, l, &op, err))
            return false;
    return !spec->condition ||
           set_condition(b, s, p, spec->condition, spec->n_condition, spec->column, err);
}

int breakpoints_add(struct breakpoints *b, struct session *s, const struct breakpoint_spec *spec,
                    struct error *err)
{
    if (b->n == b->room) {
        int room = b->room ? 2 * b->room : 8;
        struct breakpoint *list =
            mem_resize(b->ledger, MEM_OTHER, b->list, (size_t)room * sizeof *list, err);
        if (!list)
            return 0;
        b->list = list;
        b->room = room;
    }
    struct breakpoint *p = &b->list[b->n];
    *p = (struct breakpoint){.kind = spec->kind,
                             .enabled = true,
                             .temporary = spec->temporary,
                             .site = spec->site,
                             .layer_first = spec->layer_first,
                             .layer_last = spec->layer_last,
                             .first = spec->first,
                             .last = spec->last,
                             .token_id = spec->token_id};
    p->text = mem_strdup(b->ledger, MEM_OTHER, spec->text, err);
    if (!p->text || !fill(b, s, p, spec, err)) {
        drop(b, p);
        return 0;
    }
    p->id = ++b->last_id;
    b->n++;
    b->changes++;
    return p->id;
}

struct breakpoint *breakpoints_find(const struct breakpoints *b, int id, struct error *err)
{
    for (int i = 0; i < b->n; i++)
        if (b->list[i].id == id)
            return &b->list[i];
    error_set(err, ERR_USAGE, "there is no breakpoint %d", id);
    return NULL;
}

static void take_out(struct breakpoints *b, struct breakpoint *p)
{
    memmove(p, p + 1, (size_t)(&b->list[b->n] - (p + 1)) * sizeof *p);
    b->n--;
    b->changes++;
}

bool breakpoints_remove(struct breakpoints *b, int id, struct error *err)
{
    struct breakpoint *p = breakpoints_find(b, id, err);
    if (!p)
        return false;
    drop(b, p);
    take_out(b, p);
    return true;
}

void breakpoints_retire(struct breakpoints *b, int id)
{
    struct breakpoint *p = breakpoints_find(b, id, NULL);
    if (!p)
        return;
    drop(b, &b->gone);
    b->gone = *p;
    take_out(b, p);
}

bool breakpoints_enable(struct breakpoints *b, int id, bool enabled, struct error *err)
{
    struct breakpoint *p = breakpoints_find(b, id, err);
    if (!p)
        return false;
    p->enabled = enabled;
    b->changes++;
    return true;
}

const struct breakpoint *breakpoints_stopper(const struct breakpoints *b, int id)
{
    const struct breakpoint *p = id > 0 ? breakpoints_find(b, id, NULL) : NULL;
    return p || id == 0 || b->gone.id != id ? p : &b->gone;
}

/* What listings show once the condition is another (n 0: none): it stands at the end of what was
 * typed. */
static char *text_with(const struct breakpoints *b, const struct breakpoint *p,
                       const char *condition, size_t n, struct error *err)
{
    size_t head = strlen(p->text), old = p->condition ? strlen(p->condition) : 0;
    if (old > 0 && head > old + 2 && strcmp(p->text + head - old, p->condition) == 0) {
        for (head -= old; head > 0 && p->text[head - 1] == ' '; head--)
            ;
        head -= head > 2 && memcmp(p->text + head - 2, "if", 2) == 0 ? 2 : 0;
        while (head > 0 && p->text[head - 1] == ' ')
            head--;
    }
    char *text = mem_alloc(b->ledger, MEM_OTHER, head + n + 5, err);
    if (text && n > 0)
        snprintf(text, head + n + 5, "%.*s if %.*s", (int)head, p->text, (int)n, condition);
    else if (text)
        memcpy(text, p->text, head); /* mem_alloc has zeroed the end */
    return text;
}

bool breakpoints_condition(struct breakpoints *b, struct session *s, int id, const char *text,
                           size_t n, int column, struct error *err)
{
    struct breakpoint *p = breakpoints_find(b, id, err);
    if (!p)
        return false;
    if (p->kind != STOP_SITE)
        return error_set(err, ERR_USAGE, "only breakpoints at sites take conditions; %d is \"%s\"",
                         id, p->text);
    char *told = text_with(b, p, text, text ? n : 0, err);
    if (!told || (text && !set_condition(b, s, p, text, n, column, err))) {
        mem_free(b->ledger, told);
        return false;
    }
    mem_free(b->ledger, p->text);
    p->text = told;
    b->changes++;
    if (!text) {
        mem_free(b->ledger, p->condition);
        expr_close(p->expr);
        p->condition = NULL;
        p->expr = NULL;
    }
    return true;
}

static bool copy_one(struct ledger *l, struct breakpoint *to, const struct breakpoint *from,
                     const char *expr, struct error *err)
{
    *to = *from;
    to->condition = to->text = to->commands = NULL;
    to->expr = NULL;
    return (to->text = mem_strdup(l, MEM_OTHER, from->text, err)) != NULL &&
           (!from->condition ||
            (to->condition = mem_strdup(l, MEM_OTHER, from->condition, err)) != NULL) &&
           (!from->commands ||
            (to->commands = mem_strdup(l, MEM_OTHER, from->commands, err)) != NULL) &&
           (!from->expr || (to->expr = expr_parse(l, expr, strlen(expr), 1, err)) != NULL);
}

bool breakpoints_copy(struct breakpoints *to, const struct breakpoints *from, struct error *err)
{
    *to = (struct breakpoints){.ledger = from->ledger, .last_id = from->last_id};
    to->list = mem_alloc_array(to->ledger, MEM_OTHER, (size_t)from->n, sizeof *to->list, err);
    if (!to->list)
        return false;
    to->room = from->n;
    for (int i = 0; i < from->n; i++) {
        const struct breakpoint *p = &from->list[i];
        /* A watch's expression is its text. */
        bool ok = copy_one(to->ledger, &to->list[i], p, p->condition ? p->condition : p->text, err);
        to->n++;
        if (!ok) {
            breakpoints_fini(to);
            return false;
        }
    }
    return true;
}

void breakpoints_replace(struct breakpoints *b, struct breakpoints *from)
{
    int last = b->last_id > from->last_id ? b->last_id : from->last_id;
    const struct variables *variables = b->variables;
    unsigned long changes = b->changes + 1;
    breakpoints_fini(b);
    *b = *from;
    b->last_id = last;
    b->changes = changes;
    b->variables = variables;
    *from = (struct breakpoints){0};
}

bool breakpoints_commands(struct breakpoints *b, int id, const char *lines, size_t n,
                          struct error *err)
{
    struct breakpoint *p = breakpoints_find(b, id, err);
    char *copy = p && n > 0 ? mem_alloc(b->ledger, MEM_OTHER, n + 1, err) : NULL;
    if (!p || (n > 0 && !copy))
        return false;
    if (copy)
        memcpy(copy, lines, n);
    mem_free(b->ledger, p->commands);
    p->commands = copy;
    size_t blank = copy ? strspn(copy, " \t") : 0;
    p->silent =
        copy && strncmp(copy + blank, "silent", 6) == 0 && strchr(" \t\n", copy[blank + 6]) != NULL;
    return true;
}

bool breakpoint_stands(const struct breakpoint *b, const struct session *s, int op)
{
    const struct op *o = &s->model.program.ops[op];
    switch (b->kind) {
    case STOP_WATCH:
        return op == b->op;
    case STOP_NAN:
        return o->site != SITE_NONE && !o->lazy;
    case STOP_TOP1:
        return o->site == SITE_RESID_POST;
    case STOP_SITE:
        break;
    }
    return o->site == b->site &&
           (!site_in_block(b->site) || (o->layer >= b->layer_first && o->layer <= b->layer_last));
}

bool breakpoint_covers(const struct breakpoint *b, const struct session *s, int position, int op)
{
    return b->enabled && breakpoint_stands(b, s, op) && position >= b->first &&
           position <= b->last && (b->token_id < 0 || s->trace.ids[position] == b->token_id);
}
