/* far.h - a device to test with: the CPU backend over memory that nobody else can touch.
 *
 * Its blocks lie in pages that are only readable while one of its own functions runs: an engine
 * that reads or writes them otherwise ends at once, as it would read nonsense from a GPU. Bits are
 * those of the CPU. */
#ifndef MIDPASS_TEST_FAR_H
#define MIDPASS_TEST_FAR_H

#include "kernels/kernels.h"

#define FAR_HELD 12345 /* bytes of the host's that it says it keeps */

/* One at a time. Closing it fails (aborts) if a block was not given back. Blocks come filled with
 * NaN. NULL: no memory. */
struct backend *far_open(int n_threads);
/* It computes as an exact device in bf16 does, as far as an engine can tell: weights are bfloat16
 * there, and the rows of a product are rounded to it. Before a model is opened. */
void far_round(void);
/* Its memory lies open from now on: many times as fast, where it is another thing that is tested.
 */
void far_unguard(void);
/* What was read of its memory since it was opened: how often, and bytes. */
void far_count(long *reads, size_t *bytes);
/* How many tokens it has embedded that it had found itself. */
long far_chosen(void);
/* How often attention ran since then, and for how many rows. */
void far_attended(long *calls, long *rows);

#endif
