#include "engine/forward/trace.h"

#include "engine/forward/vm.h"

#include <math.h>
#include <string.h>

static int layers(const struct trace *t)
{
    return t->model->config.n_layers;
}

/* Layers whose residual is kept: every stride-th, and the last one, which the logits need. */
static bool kept(const struct trace *t, int layer)
{
    return layer > 0 && (layer % t->stride == 0 || layer == layers(t));
}

/* A kept layer's place among the kept ones. */
static int kept_index(const struct trace *t, int layer)
{
    return layer == layers(t) ? (layers(t) - 1) / t->stride : layer / t->stride - 1;
}

static int kept_count(const struct trace *t)
{
    return (layers(t) - 1) / t->stride + 1;
}

size_t trace_kv_page_bytes(const struct trace *t)
{
    return vm_kv_page_bytes(t->model, t->backend);
}

size_t trace_checkpoint_page_bytes(const struct trace *t)
{
    return (size_t)kept_count(t) * KV_PAGE * (size_t)t->model->config.d_model * sizeof(float);
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
    t->stride = o && o->stride > 0 ? o->stride : 1;
    if (t->stride > layers(t))
        t->stride = layers(t);
    t->chunk = o && o->chunk > 0 ? o->chunk : TRACE_CHUNK;
    t->regime = o ? o->regime : REGIME_AUTO;
    t->long_regime = t->regime == REGIME_LONG;
    size_t sections = (size_t)layers(t) + 1;
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

static void drop_pages(struct trace *t, int keep)
{
    for (int i = keep; i < t->n_pages; i++) {
        mem_free(t->ledger, t->pages[i].kv);
        mem_free(t->ledger, t->pages[i].checkpoints);
    }
    if (keep < t->n_pages)
        t->n_pages = keep;
}

void trace_close(struct trace *t)
{
    if (!t->ledger)
        return;
    drop_pages(t, 0);
    if (t->vm)
        vm_fini(t->vm);
    mem_free(t->ledger, t->vm);
    mem_free(t->ledger, t->pages);
    mem_free(t->ledger, t->kv_pages);
    mem_free(t->ledger, t->done);
    mem_free(t->ledger, t->ids);
    memset(t, 0, sizeof *t);
}

/* ---- the sequence ---- */

static bool needs_long(const struct trace *t, int n)
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
    bool wanted = needs_long(t, t->n_ids);
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
        for (int l = 0; l <= layers(t); l++)
            if (t->done[l] > n)
                t->done[l] = n;
        t->pc = 0;
        drop_pages(t, (n + KV_PAGE - 1) / KV_PAGE);
    }
    bool changed = change_regime(t);
    if (recompute)
        *recompute = changed;
}

void trace_invalidate(struct trace *t, int position, int layer)
{
    for (int l = layer < 1 ? 1 : layer; l <= layers(t); l++)
        if (t->done[l] > position)
            t->done[l] = position;
    t->pc = 0;
}

int trace_rows(const struct trace *t)
{
    return t->done[layers(t)];
}

bool trace_has(const struct trace *t, int position, int op)
{
    if (position < 0 || position >= t->n_ids)
        return false;
    int section = program_section(&t->model->program, op);
    if (section < 0)
        return true; /* of the id and the position alone */
    int below = section < layers(t) ? section + 1 : section;
    return position < t->done[below] || (position == trace_rows(t) && op < t->pc);
}

/* ---- pages ---- */

/* Keeps checkpoints of half as many layers; what goes is given back. */
static bool widen_stride(struct trace *t)
{
    if (t->stride >= layers(t))
        return false;
    int old = t->stride;
    size_t floats = KV_PAGE * (size_t)t->model->config.d_model;
    for (int i = 0; i < t->n_pages; i++) {
        int to = 0;
        for (int l = 1; l <= layers(t); l++) {
            t->stride = old;
            if (!kept(t, l))
                continue;
            size_t from = (size_t)kept_index(t, l);
            t->stride = 2 * old;
            if (kept(t, l))
                memmove(t->pages[i].checkpoints + (size_t)to++ * floats,
                        t->pages[i].checkpoints + from * floats, floats * sizeof(float));
        }
        /* A block that cannot shrink is still large enough. */
        float *p = mem_resize(t->ledger, MEM_CHECKPOINTS, t->pages[i].checkpoints,
                              (size_t)to * floats * sizeof(float), NULL);
        if (p)
            t->pages[i].checkpoints = p;
    }
    t->stride = 2 * old;
    return true;
}

static bool add_page(struct trace *t, struct error *err)
{
    if (t->n_pages == t->room_pages) {
        int room = t->room_pages ? 2 * t->room_pages : 16;
        struct trace_page *p =
            mem_resize(t->ledger, MEM_OTHER, t->pages, (size_t)room * sizeof *p, err);
        if (!p)
            return false;
        t->pages = p;
        void **kv = mem_resize(t->ledger, MEM_OTHER, t->kv_pages, (size_t)room * sizeof *kv, err);
        if (!kv)
            return false;
        t->kv_pages = kv;
        t->room_pages = room;
    }
    struct trace_page page;
    page.kv = mem_alloc(t->ledger, MEM_KV, trace_kv_page_bytes(t), err);
    if (!page.kv)
        return false;
    page.checkpoints = mem_alloc(t->ledger, MEM_CHECKPOINTS, trace_checkpoint_page_bytes(t), err);
    if (!page.checkpoints) {
        mem_free(t->ledger, page.kv);
        return false;
    }
    t->kv_pages[t->n_pages] = page.kv;
    t->pages[t->n_pages++] = page;
    return true;
}

/* Pages for positions below n. Short of memory, checkpoints are kept of fewer layers; if that
 * does not do, the error says how long a sequence fits. */
static bool reserve_pages(struct trace *t, int n, struct error *err)
{
    while (t->n_pages * KV_PAGE < n) {
        struct error refused;
        if (add_page(t, &refused))
            continue;
        if (widen_stride(t))
            continue;
        if (ledger_budget(t->ledger) > 0)
            return error_set(err, ERR_MEMORY, "%s; %d positions fit: --ctx %d", refused.text,
                             t->n_pages * KV_PAGE, t->n_pages * KV_PAGE);
        if (err)
            *err = refused;
        return false;
    }
    return true;
}

/* ---- computing ---- */

/* Copies rows of a frame's residual to or from the checkpoints of a layer. */
static void move_checkpoint(struct trace *t, int layer, int pos0, int n, float *rows, bool save)
{
    size_t d = (size_t)t->model->config.d_model;
    for (int r = 0; r < n; r++) {
        int pos = pos0 + r;
        float *kept_row = t->pages[pos / KV_PAGE].checkpoints +
                          ((size_t)kept_index(t, layer) * KV_PAGE + (size_t)(pos % KV_PAGE)) * d;
        if (save)
            memcpy(kept_row, rows + (size_t)r * d, d * sizeof(float));
        else
            memcpy(rows + (size_t)r * d, kept_row, d * sizeof(float));
    }
}

static struct vm_call call(const struct trace *t, struct frame *f, int pos0, int n)
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

/* Brings the frame to the start of block `layer` (0 or a kept one): the prelude's values, and
 * the residual from its checkpoint. */
static bool enter(struct trace *t, const struct vm_call *c, int layer, struct error *err)
{
    const struct program *p = &t->model->program;
    c->frame->result_patched = false;
    struct vm_call prelude = *c;
    prelude.to = p->block_op[0] - 1;
    prelude.tap = NULL;
    prelude.need = NULL;
    for (prelude.from = 0; prelude.from <= prelude.to; prelude.from++) {
        /* Behind a checkpoint only the angles are still read. */
        if (layer > 0 && p->ops[prelude.from].kind != OP_ANGLES)
            continue;
        struct vm_call one = prelude;
        one.to = one.from;
        if (!vm_run(t->vm, &one, err))
            return false;
    }
    if (layer > 0)
        move_checkpoint(t, layer, c->pos0, c->n, vm_slot(t->vm, c->frame, p->block_slot[layer]),
                        false);
    return true;
}

/* Notes that the residual before `layer` of the frame's rows is known, and keeps it. */
static void leave_block(struct trace *t, const struct vm_call *c, int layer)
{
    int end = c->pos0 + c->n;
    if (kept(t, layer))
        move_checkpoint(t, layer, c->pos0, c->n,
                        vm_slot(t->vm, c->frame, t->model->program.block_slot[layer]), true);
    if (t->done[layer] < end)
        t->done[layer] = end;
}

static int nearest_kept(const struct trace *t, int layer)
{
    while (layer > 0 && !kept(t, layer))
        layer--;
    return layer;
}

bool trace_compute(struct trace *t, int n, struct error *err)
{
    const struct program *p = &t->model->program;
    int L = layers(t);
    if (n <= trace_rows(t))
        return true;
    if (!reserve_pages(t, n, err))
        return false;
    while (trace_rows(t) < n) {
        int pos0 = trace_rows(t);
        int rows = n - pos0 < t->chunk ? n - pos0 : t->chunk;
        /* After an edit the lower layers are still right: start above them. */
        int first = 0;
        while (first < L && t->done[first + 1] >= pos0 + rows)
            first++;
        first = nearest_kept(t, first);
        struct frame *f = &t->vm->run;
        if (!vm_reserve(t->vm, f, rows, p->frame_width, err))
            return false;
        struct vm_call c = call(t, f, pos0, rows);
        if (!enter(t, &c, first, err))
            return false;
        for (int l = first; l < L; l++) {
            c.from = p->block_op[l];
            c.to = p->block_op[l + 1] - 1;
            if (!vm_run(t->vm, &c, err))
                return false;
            leave_block(t, &c, l + 1);
        }
        t->pc = 0;
    }
    return true;
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
    if (!reserve_pages(t, pos + 1, err) || !vm_reserve(t->vm, &t->vm->live, 1, p->frame_width, err))
        return false;
    struct vm_call c = call(t, &t->vm->live, pos, 1);
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
    return true;
}

/* ---- reading ---- */

struct copy {
    const struct trace *t;
    float *out;
    int row0, n, n_keys;
    bool wide;
    bool *watch;
    float hidden; /* what stands at keys that a row of this tile cannot see */
};

static bool copy_out(void *context, const struct op_view *v, struct error *err)
{
    (void)err;
    struct copy *c = context;
    struct backend *b = c->t->backend;
    if (!c->wide) {
        size_t width = v->row_stride;
        b->read(b, c->out + (size_t)(v->pos0 - c->row0) * width, v->data,
                (size_t)v->n * width * sizeof(float));
        return true;
    }
    for (int h = 0; h < v->heads; h++)
        for (int r = 0; r < v->n; r++) {
            float *row = c->out + ((size_t)h * (size_t)c->n + (size_t)(v->pos0 - c->row0 + r)) *
                                      (size_t)c->n_keys;
            b->read(b, row, v->data + ((size_t)h * (size_t)v->n + (size_t)r) * (size_t)v->n_keys,
                    (size_t)v->n_keys * sizeof(float));
            for (int s = v->n_keys; s < c->n_keys; s++)
                row[s] = c->hidden;
        }
    return true;
}

size_t trace_read_count(const struct trace *t, int op, int n, int heads, int n_keys)
{
    const struct op *o = &t->model->program.ops[op];
    if (o->kind == OP_SCORES || o->kind == OP_SOFTMAX)
        return (size_t)heads * (size_t)n * (size_t)n_keys;
    return (size_t)n * (size_t)o->width;
}

/* Recomputes rows pos0 .. of op from the nearest checkpoint below. */
static bool read_rows(struct trace *t, int op, int pos0, int n, int head0, int heads, bool *need,
                      const struct hooks *tap, struct error *err)
{
    const struct program *p = &t->model->program;
    int section = program_section(p, op);
    struct frame *f = &t->vm->run;
    size_t width =
        section == layers(t) && p->tail_width > p->frame_width ? p->tail_width : p->frame_width;
    if (!vm_reserve(t->vm, f, n, width, err))
        return false;
    struct vm_call c = call(t, f, pos0, n);
    c.head0 = head0;
    c.heads = heads;
    c.tap = tap;
    c.need = need;
    c.to = op;
    if (section < 0) {
        program_need(p, 0, op, true, need);
        return vm_run(t->vm, &c, err);
    }
    int base = nearest_kept(t, section);
    if (!enter(t, &c, base, err))
        return false;
    int above = section < layers(t) ? section + 1 : section;
    program_need(p, p->block_op[base], op, pos0 + n <= t->done[above], need);
    /* Where hook_result is patched attn_out, the op behind it, takes up the change. */
    for (int i = p->block_op[base]; t->hooks.watch && i < op; i++)
        if (p->ops[i].kind == OP_RESULT && t->hooks.watch[i] && need[i + 1])
            need[i] = true;
    c.from = p->block_op[base];
    return vm_run(t->vm, &c, err);
}

bool trace_read(struct trace *t, int op, int row0, int n, int head0, int heads, int n_keys,
                float *out, struct error *err)
{
    const struct program *p = &t->model->program;
    if (n <= 0)
        return true;
    if (!trace_has(t, row0, op) || !trace_has(t, row0 + n - 1, op))
        return error_set(err, ERR_STATE, "positions %d to %d are not computed yet", row0,
                         row0 + n - 1);
    /* The values read may be of a position whose page is not there: the prelude alone. */
    bool *flags = mem_alloc_array(t->ledger, MEM_SCRATCH, 2 * (size_t)p->n_ops, sizeof *flags, err);
    if (!flags)
        return false;
    enum op_kind kind = p->ops[op].kind;
    struct copy copy = {.t = t,
                        .out = out,
                        .row0 = row0,
                        .n = n,
                        .n_keys = n_keys,
                        .wide = kind == OP_SCORES || kind == OP_SOFTMAX,
                        .hidden = kind == OP_SCORES ? -INFINITY : 0.0f};
    struct hooks tap = {.watch = flags, .written = copy_out, .context = &copy};
    tap.watch[op] = true;
    bool ok = true;
    /* The logits are wide: so many rows of them as fit where a chunk's rows did. */
    int tile = t->chunk;
    if (program_section(p, op) == layers(t) && p->tail_width > p->frame_width)
        tile = (int)((size_t)t->chunk * p->frame_width / p->tail_width);
    if (tile < 1)
        tile = 1;
    for (int r = 0; ok && r < n; r += tile) {
        int rows = n - r < tile ? n - r : tile;
        ok = read_rows(t, op, row0 + r, rows, head0, heads, flags + p->n_ops, &tap, err);
    }
    mem_free(t->ledger, flags);
    return ok;
}
