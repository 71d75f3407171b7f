#include "engine/forward/trace_parts.h"

#include <string.h>

int trace_layers(const struct trace *t)
{
    return t->model->config.n_layers;
}

/* ---- opening ---- */

bool trace_open(struct trace *t, const struct model *m, const struct trace_options *o,
                struct error *err)
{
    memset(t, 0, sizeof *t);
    t->ledger = m->ledger;
    t->model = m;
    t->backend = m->backend;
    t->n_ctx = m->config.n_ctx;
    if (o && o->n_ctx > t->n_ctx)
        return error_set(err, ERR_USAGE, "--ctx %d is above the model's own limit of %d positions",
                         o->n_ctx, t->n_ctx);
    if (o && o->n_ctx > 0)
        t->n_ctx = o->n_ctx;
    t->sizes = keep_sizes(m);
    int stride = o && o->stride > 0 ? o->stride : 1;
    stride = stride < trace_layers(t) ? stride : trace_layers(t);
    trace_set_keep(t, (struct keep){stride, o && o->attention});
    t->chunk = o && o->chunk > 0 ? o->chunk : t->backend->chunk;
    t->chunk_last = o && o->chunk > 0 ? o->chunk : t->backend->chunk_last;
    t->regime = o ? o->regime : REGIME_AUTO;
    t->long_regime = t->regime == REGIME_LONG;
    size_t sections = (size_t)trace_layers(t) + 1;
    t->done = mem_alloc_array(t->ledger, MEM_OTHER, sections, sizeof *t->done, err);
    t->vm = t->done ? mem_alloc(t->ledger, MEM_OTHER, sizeof *t->vm, err) : NULL;
    if (!t->vm) {
        trace_close(t);
        return false;
    }
    t->vm->ledger = t->ledger;
    t->vm->model = m;
    t->vm->backend = t->backend;
    return true;
}

void trace_close(struct trace *t)
{
    if (!t->ledger)
        return;
    trace_drop_pages(t, 0);
    if (t->vm)
        vm_fini(t->vm);
    mem_free(t->ledger, t->vm);
    mem_free(t->ledger, t->checkpoint_pages);
    mem_free(t->ledger, t->checkpoint_bytes);
    mem_free(t->ledger, t->kv_pages);
    mem_free(t->ledger, t->done);
    mem_free(t->ledger, t->ids);
    memset(t, 0, sizeof *t);
}

/* ---- the sequence ---- */

bool trace_needs_long(const struct trace *t, int n)
{
    if (t->regime != REGIME_AUTO)
        return t->regime == REGIME_LONG;
    for (int i = 0; i < t->model->n_ropes; i++)
        if (t->model->ropes[i].original > 0 && n > t->model->ropes[i].original)
            return true;
    return false;
}

/* Fits the regime to the length; forgets what was computed in the other one. */
static bool change_regime(struct trace *t)
{
    bool wanted = trace_needs_long(t, t->n_ids);
    bool changed = wanted != t->long_regime;
    t->long_regime = wanted;
    if (!changed || t->done[1] == 0)
        return false;
    trace_invalidate(t, 0, 1);
    return true;
}

bool trace_append(struct trace *t, const int32_t *ids, int n, bool *recompute, struct error *err)
{
    if (recompute)
        *recompute = false;
    int vocab = t->model->config.n_vocab;
    for (int i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            return error_set(err, ERR_USAGE, "token id %d is outside the vocabulary (0 to %d)",
                             (int)ids[i], vocab - 1);
    if (n > t->n_ctx - t->n_ids)
        return error_set(
            err, ERR_USAGE, "a sequence of %lld tokens is over the context limit of %d%s",
            (long long)t->n_ids + n, t->n_ctx, t->n_ctx < t->model->config.n_ctx ? " (--ctx)" : "");
    if (t->n_ids + n > t->room_ids) {
        int room = t->n_ids + n > 2 * t->room_ids ? t->n_ids + n : 2 * t->room_ids;
        int32_t *p = mem_resize(t->ledger, MEM_OTHER, t->ids, (size_t)room * sizeof *p, err);
        if (!p)
            return false;
        t->ids = p;
        t->room_ids = room;
    }
    if (n > 0)
        memcpy(t->ids + t->n_ids, ids, (size_t)n * sizeof *ids);
    t->n_ids += n;
    t->done[0] = t->n_ids;
    bool changed = change_regime(t);
    if (recompute)
        *recompute = changed;
    return true;
}

void trace_truncate(struct trace *t, int n, bool *recompute)
{
    if (n < t->n_ids) {
        t->n_ids = n;
        for (int l = 0; l <= trace_layers(t); l++)
            if (t->done[l] > n)
                t->done[l] = n;
        t->pc = 0;
        trace_drop_pages(t, (n + KV_PAGE - 1) / KV_PAGE);
    }
    t->changes++;
    bool changed = change_regime(t);
    if (recompute)
        *recompute = changed;
}

void trace_invalidate(struct trace *t, int position, int layer)
{
    t->changes++;
    for (int l = layer < 1 ? 1 : layer; l <= trace_layers(t); l++)
        if (t->done[l] > position)
            t->done[l] = position;
    t->pc = 0;
}

int trace_rows(const struct trace *t)
{
    return t->done[trace_layers(t)];
}

bool trace_has(const struct trace *t, int position, int op)
{
    if (position < 0 || position >= t->n_ids)
        return false;
    int section = program_section(&t->model->program, op);
    if (section < 0)
        return true; /* of the id and the position alone */
    int below = section < trace_layers(t) ? section + 1 : section;
    return position < t->done[below] || (position == trace_rows(t) && op < t->pc);
}

/* ---- computing ---- */

struct vm_call trace_call(const struct trace *t, struct frame *f, int pos0, int n)
{
    return (struct vm_call){.frame = f,
                            .pos0 = pos0,
                            .n = n,
                            .ids = t->ids,
                            .kv_pages = t->kv_pages,
                            .long_regime = t->long_regime,
                            .patches = t->hooks.written ? &t->hooks : NULL,
                            .interrupt = t->interrupt};
}

bool trace_enter(struct trace *t, const struct vm_call *c, int layer, struct error *err)
{
    const struct program *p = &t->model->program;
    c->frame->result_patched = false;
    struct vm_call prelude = *c;
    prelude.to = p->block_op[0] - 1;
    prelude.need = NULL;
    bool tail = layer == trace_layers(t);
    bool there = tail && c->frame->last == c->pos0 + 1; /* where the run has just left it */
    c->frame->last = 0;
    for (prelude.from = 0; prelude.from <= prelude.to; prelude.from++) {
        /* Behind a checkpoint only the angles are still read, behind the last block nothing. */
        if (tail || (layer > 0 && p->ops[prelude.from].kind != OP_ANGLES))
            continue;
        struct vm_call one = prelude;
        one.to = one.from;
        if (!vm_run(t->vm, &one, err))
            return false;
    }
    if (layer > 0 && !there)
        trace_move_checkpoint(t, layer, c->pos0, c->n,
                              vm_slot(t->vm, c->frame, p->block_slot[layer]), false);
    return true;
}

/* Notes that the residual before `layer` of the frame's rows is known, and keeps it. */
static void leave_block(struct trace *t, const struct vm_call *c, int layer)
{
    int end = c->pos0 + c->n;
    if (trace_kept(t, layer))
        trace_move_checkpoint(t, layer, c->pos0, c->n,
                              vm_slot(t->vm, c->frame, t->model->program.block_slot[layer]), true);
    if (c->token) /* nobody knows whether it will be the sequence's */
        return;
    if (t->done[layer] < end)
        t->done[layer] = end;
    atomic_store(&t->work_done, (long)c->pos0 * trace_layers(t) + (long)layer * c->n);
}

bool trace_run_blocks(struct trace *t, struct vm_call *c, int first, int layer, struct error *err)
{
    const struct program *p = &t->model->program;
    for (int l = first; l < layer; l++) {
        c->again = t->done[l + 1] >= c->pos0 + c->n; /* only to come to what is above */
        c->from = p->block_op[l];
        c->to = p->block_op[l + 1] - 1;
        if (!vm_run(t->vm, c, err))
            return false;
        leave_block(t, c, l + 1);
    }
    return true;
}

int trace_rows_at(const struct trace *t, int from, int to)
{
    return to - from <= t->chunk_last ? to - from : t->chunk;
}

void trace_aim(struct trace *t, int n)
{
    if (atomic_load(&t->work_goal) < n)
        atomic_store(&t->work_goal, n);
}

/* A chunk's rows through the blocks below `layer`. */
static bool compute_rows(struct trace *t, int pos0, int rows, int layer, struct error *err)
{
    const struct program *p = &t->model->program;
    struct frame *f = &t->vm->run;
    /* After an edit the lower layers are still right: start above them. */
    int first = 0;
    while (first < layer && t->done[first + 1] >= pos0 + rows)
        first++;
    first = trace_nearest_kept(t, first);
    size_t width = t->ahead.wanted && rows == 1 ? trace_row_width(t) : p->frame_width;
    if (!vm_reserve(t->vm, f, rows, width, err))
        return false;
    struct vm_call c = trace_call(t, f, pos0, rows);
    c.tap = t->observer.written ? &t->observer : NULL;
    trace_save_attention(t, &c);
    vm_forget(t->vm);
    if (!trace_enter(t, &c, first, err) || !trace_run_blocks(t, &c, first, layer, err))
        return false;
    if (layer == trace_layers(t)) {
        t->pc = 0;
        f->last = rows == 1 ? pos0 + 1 : 0;
    }
    return true;
}

bool trace_compute_layer(struct trace *t, int n, int layer, struct error *err)
{
    const struct program *p = &t->model->program;
    if (n <= t->done[layer])
        return true;
    trace_aim(t, n);
    /* Scratch first: pages must not take the memory that running them needs. */
    int most = n - t->done[layer] < t->chunk_last ? n - t->done[layer] : t->chunk_last;
    if (!vm_reserve(t->vm, &t->vm->run, most, p->frame_width, err) ||
        !vm_reserve_work(t->vm, most, n, err) || !trace_reserve_pages(t, n, err))
        return false;
    while (t->done[layer] < n) {
        int pos0 = t->done[layer];
        bool whole = layer == trace_layers(t), taken = whole && trace_take_ahead(t, pos0);
        int rows = taken ? 1 : trace_rows_at(t, pos0, n);
        if (!taken && !compute_rows(t, pos0, rows, layer, err))
            return false;
        if (whole && rows == 1)
            trace_go_ahead(t, pos0);
        if (whole && trace_asked(t, pos0) ? !vm_tell_pass(t->vm, t->ahead.pass, &t->observer, err)
                                          : !vm_tell(t->vm, &t->observer, err))
            return false;
        /* For one row alone a device is not waited for here: see trace_sync. */
        if (rows > 1 && !vm_sync(t->vm, err)) {
            trace_invalidate(t, pos0, 1);
            return false;
        }
    }
    return true;
}

static bool observes(const struct trace *t, int from, int to)
{
    while (from < to && !t->observer.watch[from])
        from++;
    return from < to;
}

/* The frame's rows through the blocks that are watched, each from where the frame stands or from
 * the nearest checkpoint. */
static bool show_again(struct trace *t, struct vm_call *c, struct error *err)
{
    const struct program *p = &t->model->program;
    int at = -1; /* the block that the frame stands before; -1: none */
    if (observes(t, 0, p->block_op[0])) {
        if (!trace_enter(t, c, 0, err))
            return false;
        at = 0;
    }
    for (int l = 0; l < trace_layers(t); l++) {
        int base = trace_nearest_kept(t, l);
        if (!observes(t, p->block_op[l], p->block_op[l + 1]))
            continue;
        if (at < base && !trace_enter(t, c, base, err))
            return false;
        c->from = p->block_op[at < base ? base : at];
        c->to = p->block_op[l + 1] - 1;
        if (!vm_run(t->vm, c, err))
            return false;
        at = l + 1;
    }
    return true;
}

bool trace_again(struct trace *t, int from, int to, struct error *err)
{
    const struct program *p = &t->model->program;
    for (int pos0 = from, rows; pos0 < to; pos0 += rows) {
        rows = trace_rows_at(t, pos0, to);
        if (!vm_reserve(t->vm, &t->vm->run, rows, p->frame_width, err))
            return false;
        struct vm_call c = trace_call(t, &t->vm->run, pos0, rows);
        c.tap = &t->observer;
        c.again = true;
        vm_forget(t->vm);
        if (!show_again(t, &c, err) || !vm_tell(t->vm, c.tap, err) || !vm_sync(t->vm, err))
            return false;
    }
    return true;
}

bool trace_sync(struct trace *t, struct error *err)
{
    if (vm_sync(t->vm, err))
        return true;
    trace_invalidate(t, trace_rows(t) > 0 ? trace_rows(t) - 1 : 0, 1);
    return false;
}

bool trace_compute(struct trace *t, int n, struct error *err)
{
    return trace_compute_layer(t, n, trace_layers(t), err);
}

bool trace_step(struct trace *t, int last, struct error *err)
{
    const struct program *p = &t->model->program;
    int pos = trace_rows(t);
    int end = p->block_op[p->n_layers] - 1;
    if (last > end)
        last = end;
    if (pos >= t->n_ids)
        return error_set(err, ERR_STATE, "every token of the sequence is computed");
    if (!trace_reserve_pages(t, pos + 1, err) ||
        !vm_reserve(t->vm, &t->vm->live, 1, p->frame_width, err))
        return false;
    struct vm_call c = trace_call(t, &t->vm->live, pos, 1);
    trace_save_attention(t, &c);
    if (t->pc == 0)
        c.frame->result_patched = false;
    for (; t->pc <= last; t->pc++) {
        c.from = c.to = t->pc;
        int l = p->ops[t->pc].layer;
        if (l > 0 && t->pc == p->block_op[l])
            leave_block(t, &c, l);
        if (!vm_run(t->vm, &c, err))
            return false;
    }
    if (t->pc > end) {
        leave_block(t, &c, p->n_layers);
        t->pc = 0;
    }
    return vm_sync(t->vm, err);
}
