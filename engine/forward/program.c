#include "engine/forward/program.h"

#include <stdio.h>
#include <string.h>

void program_fini(struct program *p)
{
    mem_free(p->ledger, p->ops);
    mem_free(p->ledger, p->slots);
    mem_free(p->ledger, p->block_op);
    mem_free(p->ledger, p->block_slot);
    memset(p, 0, sizeof *p);
}

static int find_between(const struct program *p, enum site s, int from, int to)
{
    for (int i = from; i < to; i++)
        if (p->ops[i].site == s)
            return i;
    return -1;
}

/* Conditions ask this for every row: only where the site can be is looked. */
int program_find(const struct program *p, enum site s, int layer)
{
    if (site_in_block(s))
        return layer < 0 || layer >= p->n_layers
                   ? -1
                   : find_between(p, s, p->block_op[layer], p->block_op[layer + 1]);
    int op = find_between(p, s, 0, p->block_op[0]);
    return op >= 0 ? op : find_between(p, s, p->block_op[p->n_layers], p->n_ops);
}

int program_next_site(const struct program *p, int op)
{
    for (int i = op + 1; i < p->n_ops; i++)
        if (p->ops[i].site != SITE_NONE && !p->ops[i].lazy)
            return i;
    return -1;
}

int program_previous_site(const struct program *p, int op)
{
    for (int i = op - 1; i >= 0; i--)
        if (p->ops[i].site != SITE_NONE && !p->ops[i].lazy)
            return i;
    return -1;
}

int program_section(const struct program *p, int op)
{
    if (op < p->block_op[0])
        return -1;
    int l = p->ops[op].layer;
    return l < 0 ? p->n_layers : l;
}

int program_mix(const struct program *p, int layer)
{
    int i = p->block_op[layer];
    while (p->ops[i].kind != OP_MIX)
        i++;
    return i;
}

void program_need(const struct program *p, int from, int target, bool stored, int given, bool *need)
{
    memset(need, 0, (size_t)p->n_ops * sizeof *need);
    need[target] = true;
    for (int i = target; i >= from; i--) {
        enum op_kind kind = p->ops[i].kind;
        if (!need[i] || (kind == OP_MIX && p->ops[i].layer < given))
            continue;
        for (int k = 0; k < 2; k++) {
            int slot = p->ops[i].in[k];
            if (slot < 0)
                continue;
            /* The latest writer in front of i; a hook names a value without writing it, but
             * a patch may sit there, so it is needed as well as what is in front of it. */
            for (int j = i - 1; j >= from; j--) {
                if (p->ops[j].out != slot || p->ops[j].lazy)
                    continue;
                need[j] = true;
                if (p->ops[j].kind != OP_HOOK)
                    break;
            }
        }
        if (!stored && (kind == OP_SCORES || kind == OP_MIX))
            for (int j = i - 1; j >= from && p->ops[j].layer == p->ops[i].layer; j--)
                if (p->ops[j].kind == OP_STORE)
                    need[j] = true;
    }
}

bool program_place(struct program *p, int together, struct error *err)
{
    for (int s = 0; s < p->n_slots; s++)
        p->slots[s].first = p->slots[s].last = -1;
    for (int i = 0; i < p->n_ops; i++) {
        const struct op *op = &p->ops[i];
        for (int k = 0; k < 2; k++)
            if (op->in[k] >= 0)
                p->slots[op->in[k]].last = i;
        if (op->out >= 0) {
            struct slot *s = &p->slots[op->out];
            if (s->first < 0)
                s->first = i;
            s->last = i;
        }
    }
    /* Recomputation starts at any block with the prelude's values there, so what the
     * prelude wrote and a block reads stays for the whole program; and the residual at a
     * block's start is loaded before the block's first op. */
    int prelude = p->block_op[0];
    for (int s = 0; s < p->n_slots; s++)
        if (p->slots[s].first < prelude && p->slots[s].last >= prelude) {
            p->slots[s].first = 0;
            p->slots[s].last = p->n_ops - 1;
        }
    for (int l = 0; l <= p->n_layers; l++) {
        struct slot *s = &p->slots[p->block_slot[l]];
        if (s->first > p->block_op[l])
            s->first = p->block_op[l];
    }
    /* First fit over the slots placed so far that are alive at the same time. */
    p->frame_width = p->tail_width = 0;
    int tail = p->block_op[p->n_layers];
    for (int s = 0; s < p->n_slots; s++) {
        struct slot *slot = &p->slots[s];
        if (slot->offset == SLOT_WIDE)
            continue;
        /* Rows start at multiples of 16 floats so that they are aligned. */
        size_t width = ((size_t)slot->width + 15) / 16 * 16;
        size_t at = 0;
        for (bool moved = true; moved;) {
            moved = false;
            for (int o = 0; o < s; o++) {
                const struct slot *other = &p->slots[o];
                size_t theirs = ((size_t)other->width + 15) / 16 * 16;
                if (other->offset == SLOT_WIDE || other->last + together < slot->first ||
                    slot->last + together < other->first)
                    continue;
                if (at < other->offset + theirs && other->offset < at + width) {
                    at = other->offset + theirs;
                    moved = true;
                }
            }
        }
        slot->offset = at;
        if (slot->first < tail && at + width > p->frame_width)
            p->frame_width = at + width;
        if (slot->last >= tail && at + width > p->tail_width)
            p->tail_width = at + width;
    }
    if (p->frame_width + p->tail_width > (size_t)1 << 31)
        return error_set(err, ERR_UNSUPPORTED, "one position needs %zu floats of scratch",
                         p->frame_width + p->tail_width);
    return true;
}

static const char *const kind_names[OP_KINDS] = {
    [OP_EMBED] = "embed",       [OP_POSITIONS] = "positions",
    [OP_ANGLES] = "angles",     [OP_HOOK] = "hook",
    [OP_ADD] = "add",           [OP_CENTER] = "center",
    [OP_RMS] = "rms",           [OP_DIVIDE] = "divide",
    [OP_GAIN] = "gain",         [OP_LINEAR] = "linear",
    [OP_ROPE] = "rope",         [OP_STORE] = "store",
    [OP_SCORES] = "scores",     [OP_SOFTMAX] = "softmax",
    [OP_MIX] = "mix",           [OP_RESULT] = "result",
    [OP_ACTIVATE] = "activate", [OP_GATE] = "gate",
};

static const char *const act_names[ACT_N] = {
    [ACT_SILU] = "silu", [ACT_GELU] = "gelu", [ACT_GELU_TANH] = "gelu_tanh", [ACT_RELU] = "relu"};

void program_describe(const struct program *p, int index, char *out, size_t n)
{
    const struct op *op = &p->ops[index];
    char left[16] = "", args[64] = "", name[64] = "", more[160] = "";
    if (op->out >= 0)
        snprintf(left, sizeof left, "s%d = ", op->out);
    if (op->in[0] >= 0 && op->in[1] >= 0)
        snprintf(args, sizeof args, "s%d, s%d", op->in[0], op->in[1]);
    else if (op->in[0] >= 0)
        snprintf(args, sizeof args, "s%d", op->in[0]);
    else
        snprintf(args, sizeof args, "%s", op->kind == OP_EMBED ? "ids" : "positions");
    if (op->weight_name)
        snprintf(more, sizeof more, ", %s", op->weight_name);
    else if (op->kind == OP_ACTIVATE || op->kind == OP_GATE)
        snprintf(more, sizeof more, ", %s", act_names[op->act]);
    else if (op->kind == OP_RMS)
        snprintf(more, sizeof more, ", eps %g", (double)op->f);
    else if (op->kind == OP_SCORES && op->attention.window)
        snprintf(more, sizeof more, ", window %d", op->attention.window);
    if (op->site)
        site_name(op->site, op->layer, name);
    snprintf(out, n, "%-36s %s%s(%s%s)%s", name, left, kind_names[op->kind], args, more,
             op->lazy ? "  when looked at" : "");
}
