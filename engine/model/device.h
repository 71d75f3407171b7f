/* device.h - which backend runs a model, and in what type it computes. */
#ifndef MIDPASS_DEVICE_H
#define MIDPASS_DEVICE_H

#include "engine/base/ledger.h"
#include "kernels/kernels.h"

struct device_options {
    const char *name;  /* "cpu", "cuda", "cuda:1"; "auto": a GPU if there is one; NULL: the CPU */
    const char *dtype; /* "f32", "bf16"; NULL: bf16 on a GPU for a checkpoint that is, else f32 */
    int n_threads;     /* 0: all */
    const char *isa;   /* NULL: best */
    bool exact;        /* a GPU's bits, too, are the same however a row is computed */
};

/* Opens the backend for the model in a folder. note (may be NULL): why "auto" is not a GPU, ""
 * where it is, or was not asked for. */
struct backend *device_open(struct ledger *l, const char *folder, const struct device_options *o,
                            char note[256], struct error *err);
/* Whether this names a device. */
bool device_parse(const char *name, int *index);
/* Bytes that a model may take by default: what is free, on a device less what it needs itself. */
size_t device_budget(struct backend *b);

#endif
