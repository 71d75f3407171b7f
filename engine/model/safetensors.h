/* safetensors.h - a checkpoint's tensors, mapped from their files, never copied.
 *
 * Format: 8 bytes little-endian header length, a JSON object
 * {name: {dtype, shape, data_offsets: [begin, end]}, "__metadata__": {...}}, then the
 * data; see https://huggingface.co/docs/safetensors. Everything is checked once, here:
 * lengths, offsets, overlaps, gaps, dtype x shape against bytes, duplicates.
 */
#ifndef MIDPASS_SAFETENSORS_H
#define MIDPASS_SAFETENSORS_H

#include "engine/base/ledger.h"
#include "kernels/kernels.h"

#include <stdint.h>

#define TENSOR_MAX_DIMS 8

struct tensor {
    const char *name;
    const char *file; /* path, for messages */
    char type[8];     /* as in the file: "F32", "BF16", "I64", ... */
    enum dtype dtype; /* DTYPE_N if it is none of f32, f16, bf16 */
    int n_dims;
    int64_t dims[TENSOR_MAX_DIMS];
    const void *data;    /* mapped; any alignment; NULL if only headers were read */
    size_t begin, bytes; /* where in the file the data is */
};

struct checkpoint; /* the tensors of one or several files */

/* One file. With map false only the header is read (data stays NULL). */
struct checkpoint *checkpoint_open_file(struct ledger *l, const char *path, bool map,
                                        struct error *err);
/* A folder: model.safetensors, or the shards that model.safetensors.index.json names (plain
 * file names inside the folder only; each listed tensor must be in its shard). A folder
 * without either is ERR_FILE. */
struct checkpoint *checkpoint_open_folder(struct ledger *l, const char *folder, bool map,
                                          struct error *err);
void checkpoint_close(struct checkpoint *c); /* NULL is fine */

int checkpoint_count(const struct checkpoint *c);
const struct tensor *checkpoint_tensor(const struct checkpoint *c, int i); /* sorted by name */
const struct tensor *checkpoint_find(const struct checkpoint *c, const char *name); /* or NULL */
size_t checkpoint_bytes(const struct checkpoint *c); /* of all tensors' data */

/* If a mapped file shrank, reading it raises SIGBUS. Tells whether address p lies in an open
 * checkpoint's mapping, and in which file (async-signal-safe; for the handler in main). */
const char *checkpoint_file_at(const void *p);

/* Writing, for `dump` and `save`: names, shapes, then each tensor's data in order. */
struct tensor_writer;
struct tensor_spec {
    const char *name;
    int n_dims;
    int64_t dims[TENSOR_MAX_DIMS]; /* float32 */
};
struct tensor_writer *tensor_writer_open(struct ledger *l, const char *path,
                                         const struct tensor_spec *specs, int n, struct error *err);
/* The next floats, in the specs' order; may be any number at a time. */
bool tensor_writer_add(struct tensor_writer *w, const float *data, size_t n, struct error *err);
/* Checks that all data came, renames into place. The writer is closed either way. */
bool tensor_writer_commit(struct tensor_writer *w, struct error *err);
void tensor_writer_abandon(struct tensor_writer *w);

#endif
