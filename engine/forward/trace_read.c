/* trace_read.c - any value of what was computed, from the nearest checkpoint. */
#include "engine/forward/trace_parts.h"

#include <math.h>
#include <string.h>

struct copy {
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
    if (!c->wide) {
        size_t width = v->row_stride;
        memcpy(c->out + (size_t)(v->pos0 - c->row0) * width, v->data,
               (size_t)v->n * width * sizeof(float));
        return true;
    }
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
    const struct op *o = &t->model->program.ops[op];
    if (o->kind == OP_SCORES || o->kind == OP_SOFTMAX)
        return (size_t)heads * (size_t)n * (size_t)n_keys;
    return (size_t)n * (size_t)o->width;
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

bool trace_read(struct trace *t, int op, int row0, int n, int head0, int heads, int n_keys,
                float *out, struct error *err)
{
    const struct program *p = &t->model->program;
    if (n <= 0)
        return true;
    if (!trace_has(t, row0, op) || !trace_has(t, row0 + n - 1, op))
        return error_set(err, ERR_STATE, "positions %d to %d are not computed yet", row0,
                         row0 + n - 1);
    bool *flags = mem_alloc_array(t->ledger, MEM_SCRATCH, 2 * (size_t)p->n_ops, sizeof *flags, err);
    if (!flags)
        return false;
    enum op_kind kind = p->ops[op].kind;
    struct copy copy = {.out = out,
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
    if (program_section(p, op) == trace_layers(t) && p->tail_width > p->frame_width)
        tile = (int)((size_t)t->chunk * p->frame_width / p->tail_width);
    if (tile < 1)
        tile = 1;
    for (int r = 0; ok && r < n; r += tile) {
        int rows = n - r < tile ? n - r : tile;
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
