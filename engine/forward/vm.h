/* vm.h - executes a stretch of a program for some rows.
 *
 * A frame holds the slots of n rows: slot s at slots + offset * n, [n, width]. What grows
 * with the keys (scores, pattern) or is looked at only on demand (result) lies in `wide`.
 * Attention runs fused, as one call for all rows, unless its scores or pattern are looked at;
 * then in tiles of rows, so that `wide` stays small. Both give the same bits.
 */
#ifndef MIDPASS_VM_H
#define MIDPASS_VM_H

#include "engine/forward/trace.h"

struct frame {
    float *slots;
    size_t room; /* floats */
    float *wide;
    size_t wide_room;
    int n;    /* rows of the present contents */
    int last; /* 0, or one behind the position of which the only row is the last block's residual */
    /* hook_result as it was before a patch, [n, H, D], host memory, until attn_out takes up the
     * difference. */
    float *before;
    size_t before_room;
    bool result_patched;
};

/* Rows that were measured, and not told yet. */
struct vm_measured {
    struct op_view view;
    size_t at; /* of its first among the pass's measures */
    int parts; /* of a row */
};

/* What is best of a row of logits. */
struct vm_answer {
    struct best_row row;
    struct best_entry best;
};

/* What a device tells of one pass. */
struct vm_pass {
    float *told;   /* the device's: a struct vm_answer, then struct measures */
    size_t room;   /* floats */
    void *fetched; /* the same, where the device brings it */
    size_t fetched_bytes, n_measures;
    struct vm_measured *measured;
    int n_measured, room_measured;
};

struct vm {
    struct ledger *ledger;
    const struct model *model;
    struct backend *backend;
    struct workspace work;
    struct frame live; /* of the token being stepped: one row */
    struct frame run;  /* of chunks and recomputations */
    float *sums;       /* of attention's rows, [n, H] */
    size_t sums_room;
    float *host; /* what hooks see of a device's memory */
    size_t host_room;
    struct vm_pass passes[2]; /* of two, one may be asked for before the other is looked at */
    int pass;                 /* the one of what runs now */
    float *found;             /* what a device tells of rows: vm_best, vm_measure */
    size_t found_room;
};

/* One stretch. ids are those of the rows; keys before pos0 are in the cache. */
struct vm_call {
    struct frame *frame;
    int from, to; /* ops, both included */
    int pos0, n;
    const int32_t *ids;             /* of the whole sequence */
    const struct best_entry *token; /* not NULL: of one row, the id, where the device has it */
    void *const *kv_pages;
    bool long_regime;
    const bool *need; /* [n_ops] or NULL: all but the lazy */
    /* z of the blocks below `given` is loaded where it is needed, patched as it was in the run. */
    int given;
    void (*load)(void *context, int layer, int pos0, int n, float *z);
    void (*save)(void *context, int layer, int pos0, int n, const float *z); /* told z, or NULL */
    void (*sums)(void *context, int layer, int pos0, int n, const float *sums); /* and the sums */
    void *context;
    int head0, heads; /* of scores and softmax, where the stretch ends at one; 0: all */
    bool again;       /* these rows were run before, and only somebody looks: see op_view */
    const struct hooks *patches; /* may be NULL */
    const struct hooks *tap;     /* may be NULL; after the patches */
    const volatile int *interrupt;
};

/* Makes *p, with room for *room floats, large enough, in the backend's or in the host's memory.
 * Scratch is replaced, not resized: its contents are lost. */
bool vm_renew(struct vm *vm, float **p, size_t *room, size_t floats, struct error *err);
bool vm_renew_host(struct vm *vm, float **p, size_t *room, size_t floats, struct error *err);
/* Makes room in the frame for n rows of `width` floats, the program's frame_width or
 * tail_width (contents are lost if it has to grow). */
bool vm_reserve(struct vm *vm, struct frame *f, int n, size_t width, struct error *err);
/* Scratch bytes that n rows with n_keys keys take at most: frame, workspace, wide rows. */
size_t vm_scratch_bytes(const struct model *m, struct backend *b, int n, int n_keys);
/* Bytes kept free beside pages and a chunk's scratch, so that a sequence of n_keys positions can
 * also be stepped and looked at: the live frame, some rows of patterns and of logits, the ids,
 * the tables of pages. */
size_t vm_room_bytes(const struct model *m, int n_keys);
/* Makes the workspace large enough: so many bytes; for n rows with n_keys keys. */
bool vm_reserve_bytes(struct vm *vm, size_t bytes, struct error *err);
bool vm_reserve_work(struct vm *vm, int n, int n_keys, struct error *err);
/* On a device the ops are only asked for: vm_sync waits, and tells what went wrong. */
bool vm_run(struct vm *vm, const struct vm_call *c, struct error *err);
bool vm_sync(struct vm *vm, struct error *err);

/* ---- what a device tells of a pass (vm_pass.c) ---- */

/* Has rows that an op wrote measured for the tap. */
bool vm_note(struct vm *vm, const struct hooks *tap, const struct op_view *v, struct error *err);
/* Makes room for so many measures of the pass that is to run: nothing is told before it ends. */
bool vm_expect(struct vm *vm, size_t n, struct error *err);
/* Tells the tap what was measured for it since the last time; waits for a device only if there is
 * any. tap may be NULL. */
bool vm_tell(struct vm *vm, const struct hooks *tap, struct error *err);
/* What a run that failed has measured is told nobody. */
void vm_forget(struct vm *vm);
/* Ends the pass, of one row, whose logits these are: asks for what is best of them, and for what
 * was measured, and waits for neither. Takes a backend with `fetch`. */
bool vm_ask(struct vm *vm, const float *logits, struct error *err);
/* Where the device has the best token of a pass that ended so. */
const struct best_entry *vm_token(const struct vm *vm, int pass);
/* Waits for the answer; it is there until the next pass but one ends. NULL: the device failed. */
const struct vm_answer *vm_answer(struct vm *vm, int pass, struct error *err);
/* As vm_tell, of that pass. */
bool vm_tell_pass(struct vm *vm, int pass, const struct hooks *tap, struct error *err);
void vm_pass_fini(struct vm *vm, struct vm_pass *p);

/* Has a device that can (backend.best) find what is best in rows of x[n, d] where they lie; what it
 * found, rows[n] and entries[n, k], stays until the vm is called again. */
bool vm_best(struct vm *vm, const float *x, int n, int d, const int32_t *targets, int k,
             const struct best_row **rows, const struct best_entry **entries, struct error *err);
/* The same of what is measured of each row: out[n]. */
bool vm_measure(struct vm *vm, const float *x, int n, int d, const struct measures **out,
                struct error *err);
/* Where a slot's rows are in a frame. */
float *vm_slot(const struct vm *vm, const struct frame *f, int slot);
/* Give scratch back. */
void frame_fini(struct vm *vm, struct frame *f);
void vm_fini(struct vm *vm);

/* Bytes of a page of all layers' keys and values, and one layer's view of it. */
size_t vm_kv_page_bytes(const struct model *m, struct backend *b);
struct kv_view vm_kv(const struct model *m, struct backend *b, void *const *pages, int layer);

#endif
