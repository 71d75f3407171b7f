/* trace.h - what a run leaves behind, and every value of it on demand.
 *
 * Token ids, pages of keys and values, and checkpoints (keep.h). A forward pass is pure, so any
 * value at any computed (position, site) is recomputed from these, for just the rows asked for,
 * with the same bits.
 *
 * Memory: pages of KV_PAGE positions, all layers in one block; checkpoints in pages of the
 * same length. done[l] is the number of leading positions whose residual before block l is
 * known (l = L: after the last block); it never grows with l. So far are the residual that is kept
 * before block l, and z that is kept of block l - 1, the run's.
 */
#ifndef MIDPASS_TRACE_H
#define MIDPASS_TRACE_H

#include "engine/forward/keep.h"
#include "engine/model/model.h"

#include <stdatomic.h>

enum rope_regime { REGIME_AUTO, REGIME_SHORT, REGIME_LONG };

struct trace_options {
    int n_ctx;      /* cap on the sequence; 0: the model's own limit. Sizes nothing. */
    int stride;     /* checkpoint every stride-th layer; 0: 1. Less is kept when memory is short. */
    bool attention; /* keep z between */
    int chunk;      /* positions that a prompt runs in at once; 0: what the backend likes */
    enum rope_regime regime;
};

/* What a hook may look at and change, right after an op wrote it: in host memory, and put back
 * where a device computes. Row r of the view is at
 * data + r * row_stride; for scores and patterns head i, row r, key s is at
 * data + (i * n + r) * n_keys + s. */
struct op_view {
    int op;
    int pos0, n; /* positions of the rows */
    float *data;
    size_t row_stride; /* floats; 0 for scores and patterns */
    int head0, heads, n_keys;
    bool again; /* recomputed to be looked at: the run itself was earlier */
};

/* Called after each watched op. False with *err stops the run at this op boundary. */
struct hooks {
    bool *watch; /* [n_ops] */
    bool (*written)(void *context, const struct op_view *v, struct error *err);
    void *context;
    /* Not NULL: rows that a device wrote, and no patch touched, stay there; behind the run this is
     * told what was measured of them, m[v->n][heads, or 1]. The view has no data. Of scores and
     * patterns `written` is told, as ever. */
    bool (*measured)(void *context, const struct op_view *v, const struct measures *m,
                     struct error *err);
    const bool *whole; /* [n_ops] or NULL: ops whose rows are fetched for `written` all the same */
};

/* What a device was asked for before anybody looked at what comes before it (trace_ahead.c). */
struct trace_ahead {
    bool wanted; /* what is best behind the last position will be appended, and run, and so on */
    int asked;   /* 0, or as many positions as there are up to that behind which it is chosen */
    int run;     /* 0, or as many as there are with that token, which runs already */
    int pass;    /* the vm's pass in which the choice comes */
    unsigned long changes; /* the trace's, and its observer, at that time */
    struct hooks observer;
};

struct trace {
    struct ledger *ledger;
    const struct model *model;
    struct backend *backend;
    int32_t *ids; /* host */
    int n_ids, room_ids;
    int n_ctx;        /* the cap in force */
    struct keep keep; /* what there is in checkpoints */
    struct keep_sizes sizes;
    int chunk, chunk_last;   /* rows that run at once; and if they are the last */
    enum rope_regime regime; /* as asked for */
    bool long_regime;        /* what holds now */
    int *done;               /* [L + 1] */
    /* Pages of KV_PAGE positions, backend memory: all layers' keys and values; checkpoints. */
    void **kv_pages, **checkpoint_pages;
    size_t *checkpoint_bytes; /* of each page */
    int n_pages, room_pages;
    int z_from;         /* the first page that has z, where that is kept: those before are older */
    struct hooks hooks; /* patches: applied in every run and every recomputation */
    struct hooks observer;   /* looks at what trace_compute runs, after the patches */
    volatile int *interrupt; /* not NULL: non-zero stops at the next op boundary */
    /* The token being stepped: position done[L], ops [0, pc) executed; 0: none in flight. */
    int pc;
    struct vm *vm;
    struct trace_ahead ahead;
    unsigned long changes; /* so far: values that were known, and are not, or are others now */
    /* For another thread to look at while this one computes: what is kept, blocks x positions that
     * are done, and the position that the motion goes to (0: nobody said). */
    _Atomic(struct keep) keep_now;
    atomic_long work_done;
    atomic_int work_goal;
};

bool trace_open(struct trace *t, const struct model *m, const struct trace_options *o,
                struct error *err);
void trace_close(struct trace *t);

/* Appends ids to the sequence; computes nothing. Ids out of range and sequences over the cap
 * are errors, and leave the trace as it was. If a longrope model's sequence crosses its
 * original length, everything computed is dropped and *recompute (may be NULL) is set. */
bool trace_append(struct trace *t, const int32_t *ids, int n, bool *recompute, struct error *err);
/* Keeps the first n ids and what was computed of them (in the regime that then holds). */
void trace_truncate(struct trace *t, int n, bool *recompute);
/* Forgets what was computed at or after position p from the residual before block l on. */
void trace_invalidate(struct trace *t, int position, int layer);

/* Positions wholly computed. */
int trace_rows(const struct trace *t);
/* Whether op's value at a position is known (computed before, or lazily from what was). */
bool trace_has(const struct trace *t, int position, int op);

/* How many rows run at once where rows [from, to) are to be run. */
int trace_rows_at(const struct trace *t, int from, int to);
/* Computes all positions below n (n <= n_ids), in chunks. Interrupted: ERR_INTERRUPTED, what
 * was finished stays. What a device is asked for of one row alone is under way when this returns:
 * trace_sync, or whatever reads, tells if it failed. */
bool trace_compute(struct trace *t, int n, struct error *err);
/* The same of the blocks below `layer` alone: done[layer] >= n. An interrupted run, and an edit,
 * leave the lower blocks of some positions computed; this brings such a state back. */
bool trace_compute_layer(struct trace *t, int n, int layer, struct error *err);
/* Runs positions from .. to-1, wholly computed, once more for the observer to see: the blocks that
 * it watches ops of, and nothing is kept. */
bool trace_again(struct trace *t, int from, int to, struct error *err);
/* Waits for a device. False: it failed, and the last position is not computed. */
bool trace_sync(struct trace *t, struct error *err);
/* Says how far the motion under way will compute, for who shows its progress (work_goal). */
void trace_aim(struct trace *t, int n);
/* What a device that was asked ahead has found to be best behind the last position; NULL in *out:
 * it was not asked. */
struct vm_answer;
bool trace_chosen(struct trace *t, const struct vm_answer **out, struct error *err);
/* No more is wanted ahead, and what was run so is nobody's. */
void trace_end_ahead(struct trace *t);
/* Executes ops of position trace_rows() up to and including op `last` (of the prelude or a
 * block), from where it stands. After the last block's last op the position counts as
 * computed. The tail's ops are never run ahead: trace_read computes them when asked. */
bool trace_step(struct trace *t, int last, struct error *err);

/* Reads op's value at positions row0 .. row0+n-1 (each known, see trace_has) into out, host
 * memory: [n, width]; for scores and patterns heads head0.. only: [heads, n, n_keys] with
 * n_keys >= row0 + n, what a row cannot see being -inf or 0. For other sites head0, heads and
 * n_keys are ignored. Memory used beside out: a frame for at most `chunk` rows. */
bool trace_read(struct trace *t, int op, int row0, int n, int head0, int heads, int n_keys,
                float *out, struct error *err);
/* The same rows, but for scores and patterns, shown where the backend has them, some at a time, and
 * gone when show returns. */
typedef bool trace_shown(void *context, const float *rows, int row0, int n, struct error *err);
bool trace_show(struct trace *t, int op, int row0, int n, trace_shown *show, void *context,
                struct error *err);
/* Floats that trace_read writes for these arguments. */
size_t trace_read_count(const struct trace *t, int op, int n, int heads, int n_keys);

/* Bytes that the sequence takes for each KV_PAGE positions. */
size_t trace_kv_page_bytes(const struct trace *t);
size_t trace_checkpoint_page_bytes(const struct trace *t);

#endif
