/* trace_parts.h - what the trace's files share. Nobody else includes this. */
#ifndef MIDPASS_TRACE_PARTS_H
#define MIDPASS_TRACE_PARTS_H

#include "engine/forward/trace.h"
#include "engine/forward/vm.h"

int trace_layers(const struct trace *t);

/* ---- pages and checkpoints (trace_pages.c) ---- */

/* From now on. */
void trace_set_keep(struct trace *t, struct keep keep);
/* Whether the residual before a layer is kept. */
bool trace_kept(const struct trace *t, int layer);
/* The nearest kept layer at or below, or 0, which the prelude gives. */
int trace_nearest_kept(const struct trace *t, int layer);
/* Pages for positions below n. Short of memory, less is kept (keep_less); if that does not do, the
 * error says how long a sequence fits. */
bool trace_reserve_pages(struct trace *t, int n, struct error *err);
/* The same, if it fits without more ado. */
bool trace_fit_pages(struct trace *t, int n);
/* Gives back all pages but the first `keep`. */
void trace_drop_pages(struct trace *t, int keep);
/* Copies rows of a frame's residual to (save) or from the checkpoints of a kept layer. */
void trace_move_checkpoint(struct trace *t, int layer, int pos0, int n, float *rows, bool save);
/* Has a run leave in the pages what they keep of attention: z and its rows' sums. */
void trace_save_attention(struct trace *t, struct vm_call *c);
/* Brings z back, for the vm to call: see vm_call. */
void trace_load_z(void *context, int layer, int pos0, int n, float *z);

/* ---- running (trace.c) ---- */

/* A call of the vm for these rows, with the trace's patches. */
struct vm_call trace_call(const struct trace *t, struct frame *f, int pos0, int n);
/* Brings the frame to the start of block `layer` (0 or a kept one): the prelude's values, and
 * the residual from its checkpoint. */
bool trace_enter(struct trace *t, const struct vm_call *c, int layer, struct error *err);
/* Runs blocks [first, layer), before which the frame stands, and keeps what they leave. */
bool trace_run_blocks(struct trace *t, struct vm_call *c, int first, int layer, struct error *err);
/* Whether so many positions are in the long regime. */
bool trace_needs_long(const struct trace *t, int n);

/* ---- running ahead (trace_ahead.c) ---- */

/* Takes what was run of this position before its token was known as its pass. */
bool trace_take_ahead(struct trace *t, int position);
/* Behind the pass of the last position, which the frame has if nothing was run ahead of it: asks
 * for what comes next, where that is wanted and can be. */
void trace_go_ahead(struct trace *t, int position);
/* Floats of the frame for one row and its logits behind it. */
size_t trace_row_width(const struct trace *t);
/* Whether this position's pass has ended by asking for what is best behind it. */
bool trace_asked(const struct trace *t, int position);

/* ---- reading (trace_read.c) ---- */

/* Makes *c a call that recomputes rows pos0 .. of op from the nearest checkpoint below, and brings
 * the frame (the vm's `run`) there. need[n_ops] is the call's, and says which ops it will run. */
bool trace_prepare(struct trace *t, int op, int pos0, int n, bool *need, struct vm_call *c,
                   struct error *err);

#endif
