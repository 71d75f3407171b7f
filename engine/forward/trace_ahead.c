/* trace_ahead.c - a device at work on the next token while the host looks at this one.
 *
 * Where the best token is appended, and so on, a device need not wait for the host in between: it
 * has found the token itself. So behind the pass of the last position it is asked for the logits,
 * for what is best of them, and for the next position's pass with that token; only then somebody
 * looks at what the first pass has to tell. What the host makes of that may be another token, or a
 * stop: then the second pass was in vain, and since nothing says that it is done, nobody reads what
 * it has left in the pages. Passes have the bits that they have else.
 *
 * Not where a pass is looked at while it runs: where there are patches, or rows are fetched. */
#include "engine/forward/trace_parts.h"

#include <stdint.h>

#define NOT_QUIET SIZE_MAX

static bool patched(const struct trace *t)
{
    for (int i = 0; t->hooks.watch && i < t->model->program.n_ops; i++)
        if (t->hooks.watch[i])
            return true;
    return false;
}

/* What the observer has measured of one row; NOT_QUIET: it looks at some while the row runs. */
static size_t measures_of_row(const struct trace *t)
{
    const struct hooks *o = &t->observer;
    size_t n = 0;
    for (int i = 0; o->written && i < t->model->program.n_ops; i++) {
        const struct op *op = &t->model->program.ops[i];
        bool wide = op->kind == OP_SCORES || op->kind == OP_SOFTMAX;
        if (o->watch[i] && (wide || !o->measured || (o->whole && o->whole[i])))
            return NOT_QUIET;
        n += o->watch[i] ? (op->heads > 1 ? (size_t)op->heads : 1) : 0;
    }
    return n;
}

/* Whether the position behind the last can be run before its token is known. */
static bool can_run(struct trace *t, int position)
{
    return t->backend->fetch && position < t->n_ctx && !patched(t) &&
           trace_needs_long(t, position + 1) == t->long_regime && trace_fit_pages(t, position + 1);
}

size_t trace_row_width(const struct trace *t)
{
    const struct program *p = &t->model->program;
    return p->tail_width > p->frame_width ? p->tail_width : p->frame_width;
}

/* Ends the pass of a position, whose residual the frame has. */
static bool ask(struct trace *t, int position, struct error *err)
{
    const struct program *p = &t->model->program;
    struct vm_call c = trace_call(t, &t->vm->run, position, 1);
    c.from = p->block_op[p->n_layers];
    c.to = program_find(p, SITE_LOGITS, 0);
    c.frame->last = 0;
    return vm_run(t->vm, &c, err) && vm_ask(t->vm, vm_slot(t->vm, c.frame, p->ops[c.to].out), err);
}

static bool run(struct trace *t, int position, const struct best_entry *token, struct error *err)
{
    struct vm_call c = trace_call(t, &t->vm->run, position, 1);
    c.token = token;
    c.tap = t->observer.written ? &t->observer : NULL;
    trace_save_attention(t, &c);
    return vm_reserve(t->vm, c.frame, 1, trace_row_width(t), err) && trace_enter(t, &c, 0, err) &&
           trace_run_blocks(t, &c, 0, trace_layers(t), err) && ask(t, position, err);
}

bool trace_asked(const struct trace *t, int position)
{
    return t->ahead.asked == position + 1 && t->ahead.changes == t->changes;
}

void trace_go_ahead(struct trace *t, int position)
{
    struct trace_ahead *a = &t->ahead;
    struct error untold = {0}; /* whoever really needs it meets it himself */
    int next = position + 1, pass = t->vm->pass;
    size_t n = a->wanted && next == t->n_ids ? measures_of_row(t) : NOT_QUIET;
    if (n == NOT_QUIET || !can_run(t, next))
        return;
    if (!trace_asked(t, position)) {
        if (!ask(t, position, &untold))
            return;
        a->asked = next;
        a->pass = pass;
        a->changes = t->changes;
    }
    a->observer = t->observer;
    if (vm_expect(t->vm, n, &untold) && run(t, next, vm_token(t->vm, a->pass), &untold))
        a->run = next + 1;
}

bool trace_take_ahead(struct trace *t, int position)
{
    struct trace_ahead *a = &t->ahead;
    const struct hooks *seen = &a->observer, *now = &t->observer;
    bool same = seen->watch == now->watch && seen->context == now->context &&
                seen->measured == now->measured;
    bool there = a->run == position + 1 && a->asked == position && a->changes == t->changes;
    const struct vm_answer *answer =
        there && same && t->pc == 0 && !patched(t) ? vm_answer(t->vm, a->pass, NULL) : NULL;
    if (!answer || answer->best.at != t->ids[position]) {
        a->asked = a->run = 0;
        return false;
    }
    for (int l = 1; l <= trace_layers(t); l++)
        t->done[l] = position + 1;
    atomic_store(&t->work_done, (long)(position + 1) * trace_layers(t));
    a->asked = a->run;
    a->run = 0;
    a->pass = !a->pass;
    return true;
}

bool trace_chosen(struct trace *t, const struct vm_answer **out, struct error *err)
{
    *out = NULL;
    if (t->n_ids == 0 || trace_rows(t) != t->n_ids || !trace_asked(t, t->n_ids - 1))
        return true;
    *out = vm_answer(t->vm, t->ahead.pass, err);
    return *out != NULL;
}

void trace_end_ahead(struct trace *t)
{
    t->ahead = (struct trace_ahead){0};
}
