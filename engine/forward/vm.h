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
    size_t at; /* of its first in the device's buffer */
    int parts; /* of a row */
};

struct vm {
    struct ledger *ledger;
    const struct model *model;
    struct backend *backend;
    struct workspace work;
    struct frame live; /* of the token being stepped: one row */
    struct frame run;  /* of chunks and recomputations */
    float *host;       /* what hooks see of a device's memory */
    size_t host_room;
    float *measures;                  /* a device's struct measures */
    size_t measures_room, n_measures; /* floats; of the structs */
    struct vm_measured *measured;
    int n_measured, room_measured;
    float *found; /* what a device tells of rows: vm_best, vm_measure */
    size_t found_room;
};

/* One stretch. ids are those of the rows; keys before pos0 are in the cache. */
struct vm_call {
    struct frame *frame;
    int from, to; /* ops, both included */
    int pos0, n;
    const int32_t *ids; /* of the whole sequence */
    void *const *kv_pages;
    bool long_regime;
    const bool *need; /* [n_ops] or NULL: all but the lazy */
    /* z of the blocks below `given` is loaded where it is needed, patched as it was in the run. */
    int given;
    void (*load)(void *context, int layer, int pos0, int n, float *z);
    void (*save)(void *context, int layer, int pos0, int n, const float *z); /* told z, or NULL */
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
/* Bytes of the lists of a sequence of n_keys positions: its ids, its pages. */
size_t vm_list_bytes(int n_keys);
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
/* Tells the tap what was measured for it since the last time; waits for a device only if there is
 * any. tap may be NULL. */
bool vm_tell(struct vm *vm, const struct hooks *tap, struct error *err);
/* What a run that failed has measured is told nobody. */
void vm_forget(struct vm *vm);
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
