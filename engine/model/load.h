/* load.h - a checkpoint's tensors on their way to a device.
 *
 * Threads read the files in pieces, from several shards at a time, into pinned memory, where they
 * are rounded if they have to be; from there the device fetches them by itself, while the next
 * pieces are read. The mapping is not touched, so the model is not in the host's memory a second
 * time: all that is held there is LOAD_STAGE bytes.
 */
#ifndef MIDPASS_LOAD_H
#define MIDPASS_LOAD_H

#include "engine/base/ledger.h"
#include "engine/model/safetensors.h"

#include <stdatomic.h>

#define LOAD_STAGE                                                                                 \
    ((size_t)128 << 20) /* bytes, at most; fewer where the budget is short of them                 \
                         */

/* A tensor's place on the device: its elements in a row, as `dtype`, which is its own or bf16. */
struct load_job {
    const struct tensor *tensor;
    void *to;
    enum dtype dtype;
};

/* How far it is. Any thread may read the counts; all of it may be zero. */
struct load_watch {
    atomic_size_t done, total;          /* bytes of the files */
    const volatile int *interrupt;      /* not NULL: non-zero ends it, with ERR_INTERRUPTED */
    void (*tell)(struct load_watch *w); /* not NULL: called by the loading thread, now and then */
};

/* Loads all of it; waits for the device. False: a file cannot be read, or is shorter than it was
 * when its header was read, the device failed, there is no memory, or it was interrupted. watch may
 * be NULL. The order of the jobs is changed. */
bool load_tensors(struct ledger *l, struct backend *b, struct load_job *jobs, int n,
                  struct load_watch *watch, struct error *err);

#endif
