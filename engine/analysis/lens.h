/* lens.h - the logit lens: what the model would say if a residual were its last. */
#ifndef MIDPASS_LENS_H
#define MIDPASS_LENS_H

#include "engine/analysis/top.h"
#include "engine/forward/trace.h"

/* Final norm and unembedding of n residual rows, by the program's own ops and with their bits,
 * without patches. rows [n, D] and out [n, V] are host memory. */
bool lens_logits(struct trace *t, const float *rows, size_t n, float *out, struct error *err);
/* Their best tokens alone: found[n], best[n, ask->n_best]. */
bool lens_top(struct trace *t, const float *rows, size_t n, const struct top_ask *ask,
              struct top_row *found, struct top_entry *best, struct error *err);

#endif
