/* model.h - a checkpoint opened: configuration, mapped weights, program, tokenizer. */
#ifndef MIDPASS_MODEL_H
#define MIDPASS_MODEL_H

#include "engine/forward/program.h"
#include "engine/model/config.h"
#include "engine/model/safetensors.h"
#include "engine/model/tokenizer.h"

#define MODEL_MAX_ROPES 4

/* A vector that the model owns, in host memory. */
struct model_vector {
    float *data;
    int n;
};

struct model {
    struct ledger *ledger;
    struct backend *backend; /* borrowed */
    char *folder;            /* path */
    const char *name;        /* last part of the path, for titles */
    struct config config;
    struct checkpoint *checkpoint; /* NULL for a plan from config.json alone */
    struct tokenizer *tokenizer;   /* NULL: the folder has no tokenizer.json */
    struct program program;
    struct rope ropes[MODEL_MAX_ROPES];
    int n_ropes;
    struct model_vector *vectors; /* gains, biases, frequencies: float32 */
    int n_vectors, room_vectors;
    struct placed *placed; /* blocks of device memory that hold the weights: see place.h */
    int n_placed, room_placed;
    size_t load_bytes; /* of the files, that were loaded to a device */
    double load_seconds;
    int64_t n_params;        /* of the tensors that the program uses */
    size_t weight_bytes;     /* of the same */
    char dtypes[24];         /* "f32", "bf16", "f32/bf16": of the matrices */
    char notice[160];        /* something off that does not stop the model; "" */
    struct builder *builder; /* owns the tensors' names that ops carry */
};

/* Opens a folder (see hub.h for names). The tokenizer is optional; a bad one is an error.
 * With weights false only config.json is read and the program is emitted without data, so
 * that n_params, weight_bytes and the program's shape are known. */
bool model_open(struct model *m, struct ledger *l, struct backend *b, const char *folder,
                bool weights, struct error *err);
/* The same, but a device is not given the weights yet: model_place (place.h) does that, when it is
 * known that they fit. */
bool model_map(struct model *m, struct ledger *l, struct backend *b, const char *folder,
               bool weights, struct error *err);
void model_close(struct model *m);

#endif
