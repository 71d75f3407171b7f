#include "engine/debug/patch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- applying ---- */

/* The picked elements of one row: `outer` stretches (heads), each with `inner` elements. */
struct slice {
    float *row;               /* element (0, 0) of the value at this position */
    ptrdiff_t outer_step;     /* floats from one element of the outer axis to the next */
    int64_t outer_n, inner_n; /* what there is of each axis in this row */
    int64_t outer_first;      /* index that `row` stands at, where a view has some heads only */
};

static struct slice slice_of(const struct patch *p, const struct op_view *v, int r, bool by_head,
                             int visible, int width)
{
    if (by_head) /* [heads, n, n_keys] */
        return (struct slice){.row = v->data + (size_t)r * (size_t)v->n_keys,
                              .outer_step = (ptrdiff_t)v->n * v->n_keys,
                              .outer_n = v->heads,
                              .inner_n = visible,
                              .outer_first = v->head0};
    float *row = v->data + (size_t)r * v->row_stride;
    if (p->n_picks == 1)
        return (struct slice){.row = row, .outer_n = 1, .inner_n = width};
    return (struct slice){.row = row,
                          .outer_step = width / v->heads,
                          .outer_n = v->heads,
                          .inner_n = width / v->heads};
}

static float changed(const struct patch *p, float x, float operand)
{
    switch (p->kind) {
    case PATCH_ADD:
        return x + operand;
    case PATCH_SCALE:
        return x * operand;
    case PATCH_SET:
    case PATCH_TOKEN:
        break;
    }
    return operand;
}

static void apply_row(struct patch *p, const struct slice *s, bool counts)
{
    struct pick one = pick_one(0);
    const struct pick *outer = p->n_picks == 2 ? &p->picks[0] : &one;
    const struct pick *inner = &p->picks[p->n_picks - 1];
    double before = 0, after = 0;
    bool touched = false;
    for (size_t i = 0; i < outer->count; i++) {
        int64_t o = outer->first + (int64_t)i * outer->step - s->outer_first;
        if (o < 0 || o >= s->outer_n)
            continue;
        for (size_t k = 0; k < inner->count; k++) {
            int64_t e = inner->first + (int64_t)k * inner->step;
            if (e >= s->inner_n)
                continue;
            touched = true;
            float *x = s->row + o * s->outer_step + e;
            float operand = p->operand.n_dims == 0 ? (float)p->operand.number
                                                   : p->operand.data[i * inner->count + k];
            before += (double)*x * (double)*x;
            *x = changed(p, *x, operand);
            after += (double)*x * (double)*x;
        }
    }
    if (!counts || !touched) /* keys that this row cannot see are no change */
        return;
    p->fired++;
    p->norm_before = sqrt(before);
    p->norm_after = sqrt(after);
}

static bool covers(const struct patch *p, const struct op *op)
{
    return p->enabled && p->kind != PATCH_TOKEN && p->site == op->site &&
           (!site_in_block(p->site) || (op->layer >= p->layer_first && op->layer <= p->layer_last));
}

static bool written(void *context, const struct op_view *v, struct error *err)
{
    (void)err;
    struct patches *set = context;
    const struct op *op = &set->trace->model->program.ops[v->op];
    bool by_head = site_axes(op->site) == AXES_HTS;
    /* A row counts when it is run, not each time it is looked at; the tail runs only then. */
    const struct program *program = &set->trace->model->program;
    bool counts = !v->again || v->op >= program->block_op[program->n_layers];
    for (int i = 0; i < set->n; i++) {
        struct patch *p = &set->list[i];
        if (!covers(p, op))
            continue;
        for (int r = 0; r < v->n; r++) {
            int pos = v->pos0 + r;
            if (pos < p->first || pos > p->last)
                continue;
            struct slice s = slice_of(p, v, r, by_head, pos + 1, op->width);
            apply_row(p, &s, counts);
        }
    }
    return true;
}

/* ---- the set ---- */

bool patches_init(struct patches *p, struct trace *t, struct error *err)
{
    memset(p, 0, sizeof *p);
    p->trace = t;
    p->watch = mem_alloc_array(t->ledger, MEM_OTHER, (size_t)t->model->program.n_ops,
                               sizeof *p->watch, err);
    if (!p->watch)
        return false;
    t->hooks = (struct hooks){.watch = p->watch, .written = written, .context = p};
    return true;
}

static void drop(struct ledger *l, struct patch *p)
{
    value_fini(&p->operand);
    mem_free(l, p->text);
}

void patches_drop_list(struct ledger *l, struct patch *list, int n)
{
    for (int i = 0; i < n; i++)
        drop(l, &list[i]);
    mem_free(l, list);
}

void patches_fini(struct patches *p)
{
    if (!p->trace)
        return;
    p->trace->hooks = (struct hooks){0};
    patches_drop_list(p->trace->ledger, p->list, p->n);
    mem_free(p->trace->ledger, p->watch);
    memset(p, 0, sizeof *p);
}

/* Puts the token at a position that the last enabled patch says, or the one without patches. */
static void settle_token(struct patches *set, int position)
{
    struct trace *t = set->trace;
    if (position >= t->n_ids)
        return;
    int32_t id = patches_old_token(set, position);
    for (int i = 0; i < set->n; i++)
        if (set->list[i].kind == PATCH_TOKEN && set->list[i].first == position &&
            set->list[i].enabled)
            id = set->list[i].token;
    if (t->ids[position] == id)
        return;
    t->ids[position] = id;
    trace_invalidate(t, position, 0);
}

/* Marks the ops that enabled patches want to see, and forgets what patch p made stale. */
static void refresh(struct patches *set, const struct patch *p)
{
    const struct program *program = &set->trace->model->program;
    set->changes++;
    for (int op = 0; op < program->n_ops; op++) {
        set->watch[op] = false;
        for (int i = 0; i < set->n; i++)
            set->watch[op] = set->watch[op] || covers(&set->list[i], &program->ops[op]);
    }
    if (p->kind == PATCH_TOKEN) {
        settle_token(set, p->first);
        return;
    }
    /* What block l computes shows in the residual before l + 1; the tail feeds nothing. */
    int op = program_find(program, p->site, p->layer_first);
    int section = program_section(program, op);
    if (section < program->n_layers)
        trace_invalidate(set->trace, p->first, section < 0 ? 1 : section + 1);
}

static bool check_axis(const struct pick *p, int64_t n, const char *what, struct error *err)
{
    if (p->count == 0)
        return error_set(err, ERR_USAGE, "the slice takes no %s", what);
    int64_t last = p->first + p->step * (int64_t)(p->count - 1);
    int64_t low = last < p->first ? last : p->first, high = last < p->first ? p->first : last;
    if (low < 0 || high >= n)
        return error_set(err, ERR_USAGE, "%s %lld is out of range: there are %lld", what,
                         (long long)(low < 0 ? low : high), (long long)n);
    return true;
}

/* Whether a value is shaped like the slice; axes of one element need not be there. */
static bool same_shape(const struct value *v, const struct pick *picks, int n_picks)
{
    int d = 0;
    for (int i = 0; i < n_picks; i++) {
        while (d < v->n_dims && v->dims[d] == 1)
            d++;
        if (picks[i].count == 1)
            continue;
        if (d == v->n_dims || v->dims[d] != picks[i].count)
            return false;
        d++;
    }
    while (d < v->n_dims && v->dims[d] == 1)
        d++;
    return d == v->n_dims;
}

static bool check(const struct patches *set, const struct patch_spec *s, struct error *err)
{
    const struct program *program = &set->trace->model->program;
    char name[64];
    for (int l = s->layer_first; l <= s->layer_last; l++)
        if (program_find(program, s->site, l) < 0)
            return error_set(err, ERR_USAGE, "this model has no %s", site_name(s->site, l, name));
    const struct op *op = &program->ops[program_find(program, s->site, s->layer_first)];
    enum site_axes axes = site_axes(s->site);
    int n_axes = axes == AXES_HTS || axes == AXES_THX ? 2 : 1;
    if (s->n_picks != n_axes)
        return error_set(err, ERR_USAGE, "%s has %d axes at one position, the slice names %d",
                         site_name(s->site, s->layer_first, name), n_axes, s->n_picks);
    if (s->first < 0 || s->last < s->first)
        return error_set(err, ERR_USAGE, "the range of positions is empty");
    int64_t inner = axes == AXES_HTS   ? INT32_MAX
                    : axes == AXES_THX ? op->width / op->heads
                                       : op->width;
    if ((n_axes == 2 && !check_axis(&s->picks[0], op->heads, "head", err)) ||
        !check_axis(&s->picks[n_axes - 1], inner, "element", err))
        return false;
    if (s->operand->string)
        return error_set(err, ERR_USAGE, "a string cannot be written to a site");
    if (s->operand->n_dims > 0 && !same_shape(s->operand, s->picks, n_axes)) {
        char shape[128], wanted[128];
        size_t dims[2];
        shape_describe(pick_shape(s->picks, n_axes, dims), dims, wanted);
        return error_set(err, ERR_USAGE, "the slice is %s and the value is %s", wanted,
                         value_describe(s->operand, shape));
    }
    return true;
}

static bool make_room(struct patches *set, struct error *err)
{
    if (set->n < set->room)
        return true;
    int room = set->room ? 2 * set->room : 8;
    struct patch *list =
        mem_resize(set->trace->ledger, MEM_OTHER, set->list, (size_t)room * sizeof *list, err);
    if (!list)
        return false;
    set->list = list;
    set->room = room;
    return true;
}

int32_t patches_old_token(const struct patches *set, int position)
{
    for (int i = 0; i < set->n; i++)
        if (set->list[i].kind == PATCH_TOKEN && set->list[i].first == position)
            return set->list[i].old_token;
    return set->trace->ids[position];
}

int patches_add_token(struct patches *set, int position, int32_t token, const char *text,
                      struct error *err)
{
    int n = set->trace->n_ids;
    if (position < 0 || position >= n)
        return error_set(err, ERR_USAGE, "there is no position %d: the sequence has %d tokens",
                         position, n);
    return patches_restore_token(set, position, token, text, err);
}

int patches_restore_token(struct patches *set, int position, int32_t token, const char *text,
                          struct error *err)
{
    struct trace *t = set->trace;
    int vocab = t->model->config.n_vocab;
    if (token < 0 || token >= vocab)
        return error_set(err, ERR_USAGE, "token id %d is outside the vocabulary (0 to %d)",
                         (int)token, vocab - 1);
    char *copy = make_room(set, err) ? mem_strdup(t->ledger, MEM_OTHER, text, err) : NULL;
    if (!copy)
        return 0;
    int32_t old = position < t->n_ids ? patches_old_token(set, position) : token;
    struct patch *p = &set->list[set->n++];
    *p = (struct patch){.id = ++set->last_id,
                        .enabled = true,
                        .kind = PATCH_TOKEN,
                        .first = position,
                        .last = position,
                        .token = token,
                        .old_token = old,
                        .text = copy};
    value_init(&p->operand, t->ledger);
    refresh(set, p);
    return p->id;
}

void patches_meet_tokens(struct patches *set, int from)
{
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < set->n; i++) {
            struct patch *p = &set->list[i];
            if (p->kind != PATCH_TOKEN || p->first < from || p->first >= set->trace->n_ids)
                continue;
            if (pass == 0)
                p->old_token = set->trace->ids[p->first];
            else
                settle_token(set, p->first);
        }
}

int patches_add(struct patches *set, const struct patch_spec *s, struct error *err)
{
    struct ledger *l = set->trace->ledger;
    if (!check(set, s, err) || !make_room(set, err))
        return 0;
    struct patch *p = &set->list[set->n];
    *p = (struct patch){.enabled = true,
                        .site = s->site,
                        .layer_first = s->layer_first,
                        .layer_last = s->layer_last,
                        .first = s->first,
                        .last = s->last,
                        .n_picks = s->n_picks,
                        .picks = {s->picks[0], s->picks[1]},
                        .kind = s->kind};
    value_init(&p->operand, l);
    p->text = mem_strdup(l, MEM_OTHER, s->text ? s->text : "", err);
    if (!p->text || !value_copy(&p->operand, s->operand, err)) {
        drop(l, p);
        return 0;
    }
    p->id = ++set->last_id;
    set->n++;
    refresh(set, p);
    return p->id;
}

static int index_of(const struct patches *set, int id, struct error *err)
{
    for (int i = 0; i < set->n; i++)
        if (set->list[i].id == id)
            return i;
    error_set(err, ERR_USAGE, "there is no patch %d", id);
    return -1;
}

bool patches_remove(struct patches *set, int id, struct error *err)
{
    int i = index_of(set, id, err);
    if (i < 0)
        return false;
    struct patch gone = set->list[i];
    if (gone.kind == PATCH_TOKEN) {
        /* Switched off first: without it, and others there, the position is what it was. */
        set->list[i].enabled = false;
        settle_token(set, gone.first);
    }
    memmove(&set->list[i], &set->list[i + 1], (size_t)(set->n - i - 1) * sizeof gone);
    set->n--;
    if (gone.kind != PATCH_TOKEN)
        refresh(set, &gone);
    value_fini(&gone.operand);
    mem_free(set->trace->ledger, gone.text);
    return true;
}

bool patches_enable(struct patches *set, int id, bool enabled, struct error *err)
{
    int i = index_of(set, id, err);
    if (i < 0)
        return false;
    if (set->list[i].enabled != enabled) {
        set->list[i].enabled = enabled;
        refresh(set, &set->list[i]);
    }
    return true;
}

const struct patch *patches_find(const struct patches *set, int id)
{
    int i = index_of(set, id, NULL);
    return i < 0 ? NULL : &set->list[i];
}

/* ---- whole lists ---- */

bool patches_copy_list(struct ledger *l, const struct patches *set, struct patches *out,
                       struct error *err)
{
    *out = (struct patches){0};
    out->list = mem_alloc_array(l, MEM_OTHER, (size_t)set->n, sizeof *out->list, err);
    if (!out->list)
        return false;
    for (; out->n < set->n; out->n++) {
        struct patch *p = &out->list[out->n];
        *p = set->list[out->n];
        value_init(&p->operand, l);
        p->text = mem_strdup(l, MEM_OTHER, set->list[out->n].text, err);
        if (!p->text || !value_copy(&p->operand, &set->list[out->n].operand, err)) {
            drop(l, p);
            patches_drop_list(l, out->list, out->n);
            *out = (struct patches){0};
            return false;
        }
    }
    return true;
}

/* Whether a list holds this very patch, switched the same way. */
static bool holds(const struct patch *list, int n, const struct patch *p)
{
    for (int i = 0; i < n; i++)
        if (list[i].id == p->id)
            return list[i].enabled == p->enabled;
    return false;
}

void patches_replace(struct patches *set, struct patch *list, int n)
{
    struct patch *old = set->list;
    int n_old = set->n;
    set->list = list;
    set->n = set->room = n;
    for (int i = 0; i < n_old; i++)
        if (!holds(list, n, &old[i]))
            refresh(set, &old[i]);
    for (int i = 0; i < n; i++)
        if (!holds(old, n_old, &list[i]))
            refresh(set, &list[i]);
    patches_drop_list(set->trace->ledger, old, n_old);
}
