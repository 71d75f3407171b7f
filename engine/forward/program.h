/* program.h - a model as a flat, immutable list of ops.
 *
 * A family's emit() writes it once, at load, through the builder (builder.h). The vm runs
 * it; the debugger lists it. Ops read and write slots: rows of floats, one row a position.
 * Sections: prelude (from ids and positions alone), blocks 0 .. L-1, tail (from the last
 * residual to the logits).
 */
#ifndef MIDPASS_PROGRAM_H
#define MIDPASS_PROGRAM_H

#include "engine/base/ledger.h"
#include "engine/forward/site.h"
#include "kernels/kernels.h"

enum op_kind {
    OP_EMBED,     /* out = table[id] * f */
    OP_POSITIONS, /* out = table[position + offset] */
    OP_ANGLES,    /* out = cosines and sines of the position, for rope */
    OP_HOOK,      /* names a value that is there already: in == out */
    OP_ADD,       /* out = in0 + in1 */
    OP_CENTER,    /* out = in0 - mean */
    OP_RMS,       /* out = sqrt(mean(in0^2) + f) */
    OP_DIVIDE,    /* out = in0 / in1 */
    OP_GAIN,      /* out = in0 * gain + bias */
    OP_LINEAR,    /* out = in0 W^T + bias */
    OP_ROPE,      /* out = in0 rotated by the angles in1 */
    OP_STORE,     /* keys in0, values in1 to the cache */
    OP_SCORES,    /* out = in0 . keys of the cache, masked */
    OP_SOFTMAX,   /* out = softmax(in0) */
    OP_MIX,       /* out = in0 . values of the cache */
    OP_RESULT,    /* out = each head's in0 W_O; lazy */
    OP_ACTIVATE,  /* out = act(in0) */
    OP_GATE,      /* out = act(in0) * in1 */
    OP_KINDS
};

/* RoPE's frequencies. A longrope model has two sets; which one holds depends on the whole
 * sequence's length. */
struct rope {
    enum rope_style style;
    int n_rot;                  /* leading floats of a head that are rotated, even; 0: no RoPE */
    int original;               /* sequences longer than this use inv_freq_long; 0: never */
    float scale;                /* of cosines and sines */
    const float *inv_freq;      /* [n_rot / 2], backend memory */
    const float *inv_freq_long; /* [n_rot / 2] or NULL */
};

/* What an op multiplies and adds, where the backend reads it. */
struct op_weights {
    struct matrix w;
    const float *gain, *bias;
};

struct op {
    enum op_kind kind;
    enum site site; /* SITE_NONE: not to be looked at */
    int layer;      /* -1 outside the blocks */
    int in[2], out; /* slots; -1: none */
    int width;      /* floats a row of the output; for scores and pattern: heads */
    int heads;      /* the output is [T, heads, width / heads]; 0: [T, width] */
    bool lazy;      /* run only when its value is asked for */
    float f;        /* norm's epsilon, embedding's scale */
    int groups;     /* norm ops: the row is this many vectors, each normed alone; else 1 */
    int offset;     /* OP_POSITIONS: added to the position */
    enum activation act;
    struct matrix w;          /* as the checkpoint stores it, mapped */
    const float *gain, *bias; /* host memory, or NULL */
    struct op_weights run;    /* the same in backend memory: see place.h */
    const struct rope *rope;
    struct attention attention;
    const char *weight_name; /* the tensor behind w, gain or bias; for listings */
};

struct slot {
    int width;       /* floats a row */
    size_t offset;   /* floats a row before it in the frame; SLOT_WIDE: not in the frame */
    int first, last; /* ops between which it is alive */
};
#define SLOT_WIDE ((size_t)-1) /* grows with keys or heads x D: made when needed */

struct program {
    struct ledger *ledger;
    struct op *ops;
    int n_ops, room_ops;
    struct slot *slots;
    int n_slots, room_slots;
    int n_layers;
    int *block_op;      /* [L + 1] first op of each block; [L]: of the tail */
    int *block_slot;    /* [L + 1] the slot that holds the residual there */
    size_t frame_width; /* floats a row of the frame, for prelude and blocks */
    size_t tail_width;  /* the same for the tail, whose logits are wide */
};

void program_fini(struct program *p);

/* The op that carries a site, or -1. layer is ignored for sites that are there once. */
int program_find(const struct program *p, enum site s, int layer);
/* The first op after `op` (or before it, reversed) that has a site and is not lazy; -1: none. */
int program_next_site(const struct program *p, int op);
int program_previous_site(const struct program *p, int op);
/* The block an op lies in: 0 .. L-1, -1 prelude, L tail. */
int program_section(const struct program *p, int op);

/* The mix of a block's attention, which makes z. */
int program_mix(const struct program *p, int layer);

/* Marks in need[n_ops] the ops of [from, target] that target's value depends on, given that
 * the residual at `from` and the prelude's values are there, and, if stored, that the keys
 * and values of these rows are in the cache already. z of the blocks below `given` is there, too:
 * its op is marked where it is needed, and nothing that leads to it. */
void program_need(const struct program *p, int from, int target, bool stored, int given,
                  bool *need);

/* Gives every slot its place in the frame, sharing what is not alive at once, or within `together`
 * ops: what runs an op with those behind it writes some of their rows while others are read. */
bool program_place(struct program *p, int together, struct error *err);

/* "q = linear(ln1, W)": one line for the listing, without the op's number. */
void program_describe(const struct program *p, int index, char *out, size_t n);

#endif
