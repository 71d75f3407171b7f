/* top_read.h - the best tokens of rows of logits that lie with the backend. A device finds them
 * there: a stop then takes bytes, not rows of the vocabulary's size. */
#ifndef MIDPASS_TOP_READ_H
#define MIDPASS_TOP_READ_H

#include "engine/analysis/top.h"
#include "engine/forward/vm.h"

/* Of each row of x[n, V], the backend's memory, what is asked: rows[n], and best[n, ask->n_best].
 */
bool top_rows(struct vm *vm, const float *x, int n, const struct top_ask *ask, struct top_row *rows,
              struct top_entry *best, struct error *err);
/* The same of op, the logits or what is as wide, at positions row0 .. row0+n-1; each known. */
bool top_read(struct trace *t, int op, int row0, int n, const struct top_ask *ask,
              struct top_row *rows, struct top_entry *best, struct error *err);
/* The best token alone behind the last position, which is computed; op: the logits. */
bool top_next(struct trace *t, int op, struct top_row *row, struct top_entry *best,
              struct error *err);

#endif
