/* trace_read.c - any value of what was computed, from the nearest checkpoint. */
#include "engine/forward/trace_parts.h"

#include <math.h>
#include <string.h>

/* Whether rows of it grow with the keys. */
static bool is_wide(const struct trace *t, int op)
{
    enum op_kind kind = t->model->program.ops[op].kind;
    return kind == OP_SCORES || kind == OP_SOFTMAX;
}

struct copy {
    float *out;
    int row0, n, n_keys;
    float hidden; /* what stands at keys that a row of this tile cannot see */
};

static bool copy_out(void *context, const struct op_view *v, struct error *err)
{
    (void)err;
    struct copy *c = context;
    for (int h = 0; h < v->heads; h++)
        for (int r = 0; r < v->n; r++) {
            float *row = c->out + ((size_t)h * (size_t)c->n + (size_t)(v->pos0 - c->row0 + r)) *
                                      (size_t)c->n_keys;
            memcpy(row, v->data + ((size_t)h * (size_t)v->n + (size_t)r) * (size_t)v->n_keys,
                   (size_t)v->n_keys * sizeof(float));
            for (int s = v->n_keys; s < c->n_keys; s++)
                row[s] = c->hidden;
        }
    return true;
}

size_t trace_read_count(const struct trace *t, int op, int n, int heads, int n_keys)
{
    if (is_wide(t, op))
        return (size_t)heads * (size_t)n * (size_t)n_keys;
    return (size_t)n * (size_t)t->model->program.ops[op].width;
}

/* The blocks below this one have their z kept, as far as op's value needs it: all that lie between
 * the checkpoint and op's own block, and that one where op is behind its z. Whoever asks for z
 * itself gets it as it was, not rounded. */
static int z_given(const struct trace *t, int op, int section, int pos0)
{
    if (!t->keep.attention || pos0 / KV_PAGE < t->z_from)
        return 0;
    if (!keep_attention(&t->sizes, t->keep, section))
        return section;
    int mix = program_mix(&t->model->program, section);
    bool behind = op > mix || (op == mix && t->sizes.z_dtype == DTYPE_F32);
    return behind ? section + 1 : section;
}

bool trace_prepare(struct trace *t, int op, int pos0, int n, bool *need, struct vm_call *c,
                   struct error *err)
{
    const struct program *p = &t->model->program;
    int section = program_section(p, op);
    struct frame *f = &t->vm->run;
    size_t width = section == trace_layers(t) && p->tail_width > p->frame_width ? p->tail_width
                                                                                : p->frame_width;
    if (!vm_reserve(t->vm, f, n, width, err))
        return false;
    *c = trace_call(t, f, pos0, n);
    c->need = need;
    c->to = op;
    if (section < 0) {
        f->last = 0;
        program_need(p, 0, op, true, 0, need);
        return true;
    }
    int base = trace_nearest_kept(t, section);
    if (!trace_enter(t, c, base, err))
        return false;
    int above = section < trace_layers(t) ? section + 1 : section;
    c->given = z_given(t, op, section, pos0);
    c->load = trace_load_z;
    c->context = t;
    program_need(p, p->block_op[base], op, pos0 + n <= t->done[above], c->given, need);
    /* Where hook_result is patched attn_out, the op behind it, takes up the change. */
    for (int i = p->block_op[base]; t->hooks.watch && i < op; i++)
        if (p->ops[i].kind == OP_RESULT && t->hooks.watch[i] && need[i + 1])
            need[i] = true;
    c->from = p->block_op[base];
    return true;
}

/* ---- reading ---- */

static bool known(const struct trace *t, int op, int row0, int n, struct error *err)
{
    return (trace_has(t, row0, op) && trace_has(t, row0 + n - 1, op)) ||
           error_set(err, ERR_STATE, "positions %d to %d are not computed yet", row0, row0 + n - 1);
}

/* Rows that are recomputed at once. The logits are wide: so many rows of them as fit where a
 * chunk's rows did. */
static int tile_of(const struct trace *t, int op)
{
    const struct program *p = &t->model->program;
    size_t tile = (size_t)t->chunk;
    if (program_section(p, op) == trace_layers(t) && p->tail_width > p->frame_width)
        tile = tile * p->frame_width / p->tail_width;
    return tile < 1 ? 1 : (int)tile;
}

bool trace_show(struct trace *t, int op, int row0, int n, trace_shown *show, void *context,
                struct error *err)
{
    const struct program *p = &t->model->program;
    if (n <= 0)
        return true;
    if (!known(t, op, row0, n, err))
        return false;
    bool *need = mem_alloc_array(t->ledger, MEM_SCRATCH, (size_t)p->n_ops, sizeof *need, err);
    int tile = tile_of(t, op);
    bool ok = need != NULL;
    for (int r = 0; ok && r < n; r += tile) {
        int rows = n - r < tile ? n - r : tile;
        struct vm_call c;
        ok = trace_prepare(t, op, row0 + r, rows, need, &c, err) && vm_run(t->vm, &c, err) &&
             show(context, vm_slot(t->vm, c.frame, p->ops[op].out), row0 + r, rows, err) &&
             vm_sync(t->vm, err);
    }
    mem_free(t->ledger, need);
    return ok;
}

struct fetch {
    struct trace *trace;
    float *out;
    int row0;
    size_t width;
};

static bool fetch(void *context, const float *rows, int row0, int n, struct error *err)
{
    const struct fetch *f = context;
    struct backend *b = f->trace->backend;
    (void)err;
    b->read(b, f->out + (size_t)(row0 - f->row0) * f->width, rows,
            (size_t)n * f->width * sizeof *rows);
    return true;
}

/* Scores and patterns: in tiles that the vm makes, seen by a tap. */
static bool read_wide(struct trace *t, int op, int row0, int n, int head0, int heads, int n_keys,
                      float *out, struct error *err)
{
    const struct program *p = &t->model->program;
    if (n <= 0)
        return true;
    if (!known(t, op, row0, n, err))
        return false;
    bool *flags = mem_alloc_array(t->ledger, MEM_SCRATCH, 2 * (size_t)p->n_ops, sizeof *flags, err);
    if (!flags)
        return false;
    struct copy copy = {.out = out,
                        .row0 = row0,
                        .n = n,
                        .n_keys = n_keys,
                        .hidden = p->ops[op].kind == OP_SCORES ? -INFINITY : 0.0f};
    struct hooks tap = {.watch = flags, .written = copy_out, .context = &copy};
    tap.watch[op] = true;
    bool ok = true;
    for (int r = 0; ok && r < n; r += t->chunk) {
        int rows = n - r < t->chunk ? n - r : t->chunk;
        struct vm_call c;
        ok = trace_prepare(t, op, row0 + r, rows, flags + p->n_ops, &c, err);
        c.head0 = head0;
        c.heads = heads;
        c.tap = &tap;
        ok = ok && vm_run(t->vm, &c, err) && vm_sync(t->vm, err);
    }
    mem_free(t->ledger, flags);
    return ok;
}

bool trace_read(struct trace *t, int op, int row0, int n, int head0, int heads, int n_keys,
                float *out, struct error *err)
{
    if (is_wide(t, op))
        return read_wide(t, op, row0, n, head0, heads, n_keys, out, err);
    struct fetch f = {t, out, row0, (size_t)t->model->program.ops[op].width};
    return trace_show(t, op, row0, n, fetch, &f, err);
}
