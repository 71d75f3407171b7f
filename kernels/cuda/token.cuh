/* token.cuh - many stages as one launch: what queue.cu collects and token.cu runs. */
#ifndef MIDPASS_CUDA_TOKEN_CUH
#define MIDPASS_CUDA_TOKEN_CUH

#include "kernels/cuda/stage.cuh"

enum stage_kind { STAGE_NOTHING, STAGE_NORM, STAGE_PRODUCTS, STAGE_ATTENTION };

/* Measures [first, end) of the launch are taken meanwhile, of rows that earlier stages wrote. */
struct alignas(16) stage {
    enum stage_kind kind;
    short first_measure, end_measure;
    union {
        struct norm_job norm;
        struct product_stage products;
        struct attention_stage attention;
    };
};

/* A kernel's parameters are 32,764 bytes at most. */
#define STAGES   108
#define MEASURES 110

struct token {
    int n;                      /* stages */
    int d_head;                 /* of those that are attention */
    int places, half;           /* of the ring in shared memory; bytes of half a place */
    int row_floats, row_rounds; /* bytes of shared memory for a row: as floats, and rounded */
    unsigned begin;             /* how often blocks have met before */
    unsigned *met;              /* counts blocks that have ended a stage */
    unsigned *taken;            /* [n] of a stage's units that were not dealt out; 0 at first */
    unsigned *clear;            /* [STAGES] to be set to 0, for the next launch */
    struct measure_job measures[MEASURES];
    struct stage at[STAGES];
};
static_assert(sizeof(struct token) <= 32764, "it has to be a kernel's parameter");

/* Of a block's shared memory: the kernel's fixed part, at most, and the ring, at least. */
#define TOKEN_FIXED_BYTES 11264
#define TOKEN_RING_BYTES  114688

/* A query whose parts may be put together by the stage behind it: parts of a head, and heads, at
 * most.
 */
#define TOKEN_MIXED_PARTS 4
#define TOKEN_MIXED_HEADS 112

/* Counters on the device: on which blocks meet, in a line of the cache; and of units taken, for
 * launches in turn. */
#define TOKEN_APART    32
#define TOKEN_COUNTERS (TOKEN_APART + 2 * STAGES)

/* Runs the stages, of matrices of this type, on a GPU of 9.0 or later. */
void token_launch(struct cuda *c, struct token *t, enum dtype stored);

#endif
