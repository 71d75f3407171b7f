/* kernels.h - the whole contract between the engine and the arithmetic.
 *
 * The kernels know nothing of models: they see rows of floats, weight matrices
 * as the checkpoint stores them, and pages of keys and values. A backend is a
 * table of functions over those. "cpu" is built in; "cuda" is a plug-in.
 *
 * One letter per dimension, everywhere:
 *   n  rows (positions) of this call        D  width of a row
 *   K  inputs of a product, N  its outputs  S  keys a query can see, itself included
 *   H  query heads   G  key/value heads   h  width of a head
 *
 * A device (CUDA). Its memory is not the host's: what the host wants to see is read(). It
 * computes in one of two ways, `dtype`: f32, float32 throughout; bf16, where matrices, the
 * rows they are multiplied with, keys, values and queries are bfloat16, and every sum and all
 * that passes between the ops is float32. Its bits may depend on the number of rows, unless it
 * was opened `exact`: then one arithmetic holds for any number. There attend() is another one than
 * its three steps all the same.
 *
 * The rule of same bits (CPU). A row's result depends on that row and the
 * weights alone: not on n, on the number of threads, or on the instruction set.
 * Every float operation below is rounded once, to nearest even; no sum is
 * reordered except as written here.
 *
 *   dot     A sum over K contiguous inputs. K is cut into runs of DOT_RUN. In a
 *           run, lane i (0 <= i < DOT_LANES) is a chain of fused multiply-adds
 *           over the elements k with k % DOT_LANES == i, in order, from +0. The
 *           lanes are then added in a tree: i += i+8, then i+4, i+2, i+1. The
 *           runs' results are added in order, from the first run's.
 *   mix     A sum over K inputs whose outputs are contiguous (Conv1D weights,
 *           scores over a page of keys, values of many positions). K is cut into
 *           runs of MIX_RUN at absolute indices; in a run one chain of fused
 *           multiply-adds, in order, from +0; the runs' results are added in
 *           order, from the first run's.
 *   sum     Of squares, or of plain numbers (fma with 1): as dot.
 *   bias    Added after the sum is finished.
 */
#ifndef MIDPASS_KERNELS_H
#define MIDPASS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERNELS_VERSION 8 /* a plug-in of another version is refused */

#define DOT_LANES 16
#define DOT_RUN   2048
#define MIX_RUN   128
#define KV_PAGE   16 /* positions in a page of keys and values */

enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_N };

/* Bytes of one element: 4, 2, 2. */
size_t dtype_size(enum dtype t);
/* "f32", "f16", "bf16". */
const char *dtype_name(enum dtype t);
/* One element at p (any alignment), widened exactly. */
float dtype_load(enum dtype t, const void *p);
/* The nearest bfloat16, ties to even, as its bits. */
uint16_t dtype_to_bf16(float x);

/* A weight matrix [N, K], laid out as in the checkpoint. Element (o, k) is at
 * data + ((o / group) * group_stride + (o % group) * out_stride + k * in_stride)
 * elements. One of out_stride, in_stride is 1: in_stride == 1 is Linear's layout
 * and is multiplied by the dot rule; else it is Conv1D's, by the mix rule.
 * group == 0 means one group of n_out. Data need not be aligned. */
struct matrix {
    const void *data;
    enum dtype dtype;
    int n_out, n_in;
    ptrdiff_t out_stride, in_stride;
    int group;
    ptrdiff_t group_stride;
};

/* One layer's keys and values: pages of KV_PAGE positions. pages[i] holds the
 * positions from i * KV_PAGE on; this layer's part starts key_offset and
 * value_offset bytes into it. The layout inside a part is the backend's own;
 * kv_bytes() is its size. */
struct kv_view {
    void *const *pages;
    size_t key_offset, value_offset;
    int n_kv_heads, d_head;
};

/* What attention needs beside q and the cache. Head i of H reads key/value head
 * i / (H / G). A key s is visible to the query at t if s <= t and, where window
 * is positive, s > t - window. */
struct attention {
    int n_heads, n_kv_heads, d_head;
    float scale; /* score = scale * (q . k) */
    int window;  /* 0: none */
};

#ifdef __CUDACC__
#define ON_BOTH __host__ __device__ /* the plug-in's kernels cut cells the same way */
#else
#define ON_BOTH
#endif

/* n things in a row, pooled into n_cells cells, n_cells <= n: cell i has those from
 * cell_first(i) up to cell_first(i + 1). */
ON_BOTH static inline int cell_first(int i, int n, int n_cells)
{
    return (int)((int64_t)i * n / n_cells);
}
/* The cell that has thing i. */
ON_BOTH static inline int cell_of(int i, int n, int n_cells)
{
    return (int)((((int64_t)i + 1) * n_cells - 1) / n);
}

/* A part of the patterns, queries [q0, q1) by keys [k0, k1), and the cells it is pooled into: at
 * most one a query and a key. */
struct map_region {
    int q0, q1, k0, k1;
    int rows, columns;
};

enum rope_style { ROPE_HALVES /* (i, i + r/2) */, ROPE_PAIRS /* (2i, 2i + 1) */ };
enum activation { ACT_SILU, ACT_GELU, ACT_GELU_TANH, ACT_RELU, ACT_N };
/* silu x/(1+e^-x); gelu x/2 (1+erf(x/sqrt 2)); gelu_tanh x/2 (1+tanh(sqrt(2/pi)(x+0.044715x^3))) */

struct backend_options {
    int n_threads;    /* 0: one for each CPU this process may run on */
    const char *isa;  /* "scalar", "avx2", "avx512"; NULL: the best the CPU has */
    int device;       /* which GPU, from 0 */
    enum dtype dtype; /* of a device: DTYPE_F32 or DTYPE_BF16 */
    bool exact;       /* of a device: see struct backend */
    bool plain; /* of a device: without what only the newest ones can (same bits; for tests) */
};

/* What can be said of a row of numbers without showing it. Sums are of its finite elements, in
 * double; most and least, too: -inf and inf of none. odd: how many others there are. */
struct measures {
    double sum, squares;
    float most, least;
    int32_t odd, unused;
};

#define BEST_MOST 64 /* of a row's best that are asked for at a time */

/* What a choice among a row's elements takes, beside the best of them. */
struct best_row {
    double sum; /* of exp(x - most) over what is no NaN, to 1 part in 2^21; of no use unless most is
                 * finite */
    float most; /* the largest, NaN passed by; -inf of none */
    int32_t n_nan, n_above, n_below; /* NaN, inf, -inf */
    int32_t ahead;                   /* elements that are better than the target */
    float target;                    /* the target itself */
};

struct best_entry {
    int32_t at; /* in its row; -1: the row has no more */
    float value;
};

/* Scratch for one call, given by the caller (and counted there). */
struct workspace {
    void *data; /* aligned to 64 bytes */
    size_t bytes;
};

/* See backend.brief. */
enum keeping {
    KEEP_FLOATS,
    KEEP_ROUNDED, /* the ops that read them would round them, or turn or gate them before that */
    KEEP_NOTHING, /* of a norm's center and divide: its next ops go on with them, and nobody else */
};

/* All pointers to floats, pages and weights are the backend's memory. Outputs
 * may not overlap inputs unless a line says so. Operations return nothing: what
 * goes wrong on a device is kept and told by sync(). */
struct backend {
    int version;
    const char *name; /* "cpu", "cuda" */
    char detail[128]; /* "avx512, 2 threads" */
    int n_threads;
    bool device;      /* memory from alloc() is not the host's */
    bool exact;       /* a row's bits do not depend on n: the CPU, and a device that was asked to */
    enum dtype dtype; /* how a device computes; the CPU's is DTYPE_F32 */
    int chunk;        /* rows that it likes to work on at a time */
    int chunk_last;   /* rows that it takes at once if they are the last; at least as many */
    /* Of a device: how many ops behind one may run with it, if their memory is apart; 2 at least,
     * so that a query outlives its pattern. */
    int together;
    size_t held; /* bytes of host memory that it keeps for itself: whoever opens it counts them */
    void *state;

    void (*close)(struct backend *b);

    /* Memory. alloc gives bytes aligned to 64, or NULL. */
    void *(*alloc)(struct backend *b, size_t bytes);
    void (*free)(struct backend *b, void *p);
    void (*read)(struct backend *b, void *host, const void *p, size_t bytes);
    void (*write)(struct backend *b, void *p, const void *host, size_t bytes);
    void (*copy)(struct backend *b, void *to, const void *from, size_t bytes);
    /* Loading, of a device alone. stage gives host memory that the device reads by itself, or NULL;
     * unstage takes it back. send copies from there and does not wait: sync() does. */
    void *(*stage)(struct backend *b, size_t bytes);
    void (*unstage)(struct backend *b, void *p);
    void (*send)(struct backend *b, void *p, const void *staged, size_t bytes);
    /* What the device has and what of it is free; 0 of the CPU, whose memory is the system's. */
    void (*memory)(struct backend *b, size_t *available, size_t *total);
    /* Waits for everything asked for. False: why[] says what went wrong. */
    bool (*sync)(struct backend *b, char why[256]);

    /* Scratch that matmul and attend need for up to n rows and S keys. */
    size_t (*workspace_bytes)(struct backend *b, int n, int n_keys);

    /* (optional, both) How little has to be kept of the rows x[n, d] that the next op writes, for
     * devices that compute in fewer bits than a float's. Said of any rows that are written while
     * others are kept rounded; x NULL: those that are kept so are not read any more. What lies
     * rounded is read by matmul, rope, kv_store, attend, gate, activate and rows_save; for all else
     * `widen` makes floats of it, if it was kept so. Bits do not depend on who asks. */
    void (*brief)(struct backend *b, const float *x, int n, int d, enum keeping k);
    void (*widen)(struct backend *b, const float *x);

    /* out[n, D] = scale * table row ids[i]. table: [V, D], in_stride 1. ids: host. */
    void (*embed)(struct backend *b, const struct matrix *table, const int32_t *ids, int n,
                  float scale, float *out);
    /* out[i] = x[i] + y[i]; out may be x or y. */
    void (*add)(struct backend *b, const float *x, const float *y, float *out, size_t count);
    /* out[n, D] = x - mean(x) of each row; mean = sum / D. */
    void (*center)(struct backend *b, const float *x, float *out, int n, int d);
    /* scale[n] = sqrt(sum(x^2) / D + eps). */
    void (*rms)(struct backend *b, const float *x, float eps, float *scale, int n, int d);
    /* out[n, D] = x / scale[row]. */
    void (*divide)(struct backend *b, const float *x, const float *scale, float *out, int n, int d);
    /* out[n, D] = fma(x, gain, bias); bias NULL: x * gain; gain NULL: x + bias or x. */
    void (*gain)(struct backend *b, const float *x, const float *gain, const float *bias,
                 float *out, int n, int d);
    /* out[n, N] = x[n, K] W^T + bias; rows of x are x_stride floats apart, rows of out
     * out_stride. bias NULL: none. */
    void (*matmul)(struct backend *b, const float *x, size_t x_stride, const struct matrix *w,
                   const float *bias, float *out, size_t out_stride, int n, struct workspace work);
    /* out[n, r] for positions pos0, pos0 + 1, ...: r/2 cosines, then r/2 sines, times
     * scale, of the angle (float)position * inv_freq[i], one float32 product. */
    void (*angles)(struct backend *b, const float *inv_freq, int r, float scale, int pos0, int n,
                   float *out);
    /* Rotates the first r of each head of x[n, heads, h]; the rest is copied.
     * a' = fma(a, cos, -(b * sin)), b' = fma(b, cos, a * sin). */
    void (*rope)(struct backend *b, const float *x, const float *angles, int r,
                 enum rope_style style, float *out, int n, int heads, int d_head);
    void (*activate)(struct backend *b, enum activation f, const float *x, float *out,
                     size_t count);
    /* out[i] = f(x[i]) * y[i] */
    void (*gate)(struct backend *b, enum activation f, const float *x, const float *y, float *out,
                 size_t count);

    /* Bytes of one layer's keys (or values) in a page. */
    size_t (*kv_bytes)(struct backend *b, int n_kv_heads, int d_head);
    /* Stores rows [n, G, h] at positions pos0...; NULL: leaves keys or values as they are. */
    void (*kv_store)(struct backend *b, const struct kv_view *kv, int pos0, int n,
                     const float *keys, const float *values);

    /* Rows [n, D] of positions pos0... to (save) or from pages of KV_PAGE positions, each
     * [.., KV_PAGE, D] of `kept` from `offset` bytes on: DTYPE_F32, or DTYPE_BF16, to which they
     * are rounded (nearest, ties to even). */
    void (*rows_save)(struct backend *b, void *const *pages, size_t offset, enum dtype kept, int d,
                      int pos0, int n, const float *rows);
    void (*rows_load)(struct backend *b, void *const *pages, size_t offset, enum dtype kept, int d,
                      int pos0, int n, float *rows);

    /* Attention at positions pos0 .. pos0+n-1, whose keys are stored already.
     * S = pos0 + n; rows of scores and patterns are S long, [heads, n, S].
     * The three steps are one arithmetic with attend(): same bits.
     *   scores   q[n, H, h], heads head0 .. head0+heads-1; not visible: -inf.
     *            A score is a mix over h, then times scale.
     *   softmax  in place allowed. m = max; e = exp(s - m); e / sum(e), the sum as dot over
     *            s from 0 to S-1 with 0 for what is not visible. A row with no finite
     *            score gives NaN.
     *   mix      z[n, heads, h] = a mix over s of pattern[s] * value[s]; rows of z are
     *            z_stride floats apart.
     * Of a device, where sums is not NULL, softmax and attend also leave the logarithm of the sum
     * of e^score of each row there, [n, heads]: a weight is e^(score - sum). */
    void (*scores)(struct backend *b, const struct attention *a, const struct kv_view *kv,
                   const float *q, int pos0, int n, int head0, int heads, float *out);
    void (*softmax)(struct backend *b, const struct attention *a, const float *scores, int pos0,
                    int n, int heads, float *out, float *sums);
    void (*mix)(struct backend *b, const struct attention *a, const struct kv_view *kv,
                const float *pattern, int pos0, int n, int head0, int heads, float *z,
                size_t z_stride);
    /* scores, softmax, mix for all heads: z[n, H, h], no pattern kept. */
    void (*attend)(struct backend *b, const struct attention *a, const struct kv_view *kv,
                   const float *q, int pos0, int n, float *z, float *sums, struct workspace work);

    /* The patterns' largest weights: cells[heads, rows, columns] of heads head0 .. become the
     * larger of what they are and of the weights of queries pos0 .. pos0+n-1, all of them in
     * m's [q0, q1), at the keys in its [k0, k1) that they see. A cell of -inf has none yet; a NaN
     * stays. No row of a pattern is kept. On the CPU a weight has softmax's bits. sums[n, H], of a
     * device: what attend or softmax has left of these rows. */
    void (*map)(struct backend *b, const struct attention *a, const struct kv_view *kv,
                const float *q, const float *sums, int pos0, int n, int head0, int heads,
                const struct map_region *m, float *cells, struct workspace work);
    /* Scratch for that. */
    size_t (*map_workspace)(struct backend *b, const struct attention *a, int n, int n_keys,
                            int heads);

    /* out[n]: each row of x[n, D] measured, in any order of its elements. */
    void (*measure)(struct backend *b, const float *x, int n, int d, struct measures *out);

    /* p = softmax(x) of each row of x[n, D], as softmax above. out may be x. */
    void (*probabilities)(struct backend *b, const float *x, float *out, int n, int d);

    /* Of a device; NULL: whoever asks looks at the rows himself. rows[n], and best[n, k], k up to
     * BEST_MOST, of the rows of x[n, D]: the larger is better, of equals the lower index (-0 is
     * +0), NaN worst. targets [n], host: an element of each row whose place is told; -1: none
     * (then ahead and target are left open). A row's results do not depend on n. */
    void (*best)(struct backend *b, const float *x, int n, int d, const int32_t *targets, int k,
                 struct best_row *rows, struct best_entry *best, struct workspace work);
    /* Scratch for that. */
    size_t (*best_workspace)(struct backend *b, int n, int d, int k);

    /* (optional, all three, of a device that has `best`) For who does not wait for the device
     * before he asks for more. embed_best: as embed, of the one id that best() left there; the
     * table has a row for it. fetch copies `bytes`, a multiple of 4, to memory from stage() and
     * does not wait: fetched does, for the last fetch of that number, 0 or 1, and all that was
     * asked for before it. False: as sync. */
    void (*embed_best)(struct backend *b, const struct matrix *table,
                       const struct best_entry *entry, float scale, float *out);
    void (*fetch)(struct backend *b, int number, void *staged, const void *p, size_t bytes);
    bool (*fetched)(struct backend *b, int number, char why[256]);
};

/* Opens "cpu" or "cuda". NULL: why[] tells the user the reason. options may be NULL. */
struct backend *backend_open(const char *name, const struct backend_options *options,
                             char why[256]);
void backend_close(struct backend *b); /* NULL is fine */

#endif
