/* cpu.h - what the CPU backend's files share, and nobody else includes.
 *
 * cpu.c, matmul.c and attention.c know threads and how work is cut; they know no
 * instruction set. struct cpu_ops is the work of one thread on one piece, and there is
 * one table for each instruction set: reference.c is the oracle ("scalar"),
 * vector_*.h compiled with wider instructions are the others. Where a piece begins
 * and ends never shows in a result. */
#ifndef MIDPASS_CPU_H
#define MIDPASS_CPU_H

#include "kernels/kernels.h"

#define ATTEND_ROWS 32 /* queries of a tile: they share the keys and values that are read */

/* Queries that read the same key/value head g. Query j sees keys first[j] .. last[j];
 * scores[j][s] and patterns[j][s] belong to the key at the absolute position s. */
struct attend_tile {
    const struct kv_view *kv;
    int g;
    int n; /* 1 .. ATTEND_ROWS */
    float scale;
    int limit; /* scores are writable up to here, whatever the query sees */
    int first[ATTEND_ROWS], last[ATTEND_ROWS];
    const float *q[ATTEND_ROWS];        /* [h] */
    float *scores[ATTEND_ROWS];         /* [S] */
    const float *patterns[ATTEND_ROWS]; /* [S] */
    float *z[ATTEND_ROWS];              /* [h] */
};

/* Many rows are multiplied by a stretch of inputs at a time, taken apart into strands: each has the
 * inputs of one chain of multiply-adds, in order. By the dot rule those are a lane's, by the mix
 * rule a run's. */
#define MANY_ROWS_MOST 512 /* rows at a time */
#define STRANDS        DOT_LANES
#define STRAND         MIX_RUN /* inputs of a strand, at most */
#define STRETCH        (STRANDS * STRAND)
#define KEPT           4 /* sums of an output that wait for others, at most */

/* Outputs from .. to-1 of n rows over a stretch of inputs. */
struct share {
    const float *strands; /* of the rows: [STRANDS][..][STRAND], `apart` from each other */
    size_t apart;
    const struct matrix *w;
    int input, inputs; /* the stretch */
    const float *bias; /* NULL: none, or not the last stretch */
    float *out;        /* the first row's */
    size_t out_stride;
    int n, from, to;
};

struct cpu_ops {
    const char *isa;
    int few_dot, few_mix; /* rows that matmul takes, at most, by either rule */
    int panel;            /* outputs that `many` takes at a time */
    size_t panel_floats;  /* and the scratch for them, beside KEPT * n * panel for sums */

    /* out[d] = scale * the d elements at row */
    void (*embed)(enum dtype t, const void *row, float scale, float *out, int d);
    void (*add)(const float *x, const float *y, float *out, size_t count);
    void (*center)(const float *x, float *out, int n, int d);
    void (*rms)(const float *x, float eps, float *scale, int n, int d);
    void (*divide)(const float *x, const float *scale, float *out, int n, int d);
    void (*gain)(const float *x, const float *gain, const float *bias, float *out, int n, int d);
    void (*rope)(const float *x, const float *angles, int r, enum rope_style style, float *out,
                 int n, int heads, int d_head);
    void (*activate)(enum activation f, const float *x, float *out, size_t count);
    void (*gate)(enum activation f, const float *x, const float *y, float *out, size_t count);

    /* Outputs from .. to-1 of few rows, the whole of K. */
    void (*matmul)(const float *x, size_t x_stride, const struct matrix *w, const float *bias,
                   float *out, size_t out_stride, int n, int from, int to);
    /* A stretch of n rows' inputs, x pointing at its beginning, to strands `apart` from each
     * other. */
    void (*gather)(const float *x, size_t x_stride, const struct matrix *w, int inputs, int n,
                   float *strands, size_t apart);
    void (*many)(const struct share *s, float *scratch);

    /* scores[j][s] for what query j sees; other scores of the pages touched may be overwritten */
    void (*scores)(const struct attend_tile *tile);
    /* p[s] = softmax of scores[first .. last], 0 elsewhere in the vectors of 16 touched, as far
     * as limit. p may be scores. */
    void (*softmax)(const float *scores, float *p, int first, int last, int limit);
    /* z[j] = sum of patterns[j][s] * value[s] over what query j sees */
    void (*mix)(const struct attend_tile *tile);
};

extern const struct cpu_ops cpu_ops_scalar;
#if defined(__x86_64__)
extern const struct cpu_ops cpu_ops_avx2, cpu_ops_avx512;
#endif

struct cpu {
    struct backend b; /* first: a struct backend * is a struct cpu * */
    const struct cpu_ops *ops;
};

static inline const struct cpu_ops *cpu_ops_of(const struct backend *b)
{
    return ((const struct cpu *)b)->ops;
}

struct backend *cpu_open(const struct backend_options *options, char why[256]);

/* Pieces that n things are cut into for the threads: one if they are too few to share. */
int cpu_pieces(const struct backend *b, size_t n, size_t cost);

size_t cpu_matmul_workspace(const struct backend *b, int n);
void cpu_matmul(struct backend *b, const float *x, size_t x_stride, const struct matrix *w,
                const float *bias, float *out, size_t out_stride, int n, struct workspace work);

size_t cpu_attend_workspace(const struct backend *b, int n_keys);
size_t cpu_kv_bytes(struct backend *b, int n_kv_heads, int d_head);
void cpu_kv_store(struct backend *b, const struct kv_view *kv, int pos0, int n, const float *keys,
                  const float *values);
void cpu_scores(struct backend *b, const struct attention *a, const struct kv_view *kv,
                const float *q, int pos0, int n, int head0, int heads, float *out);
void cpu_softmax(struct backend *b, const struct attention *a, const float *scores, int pos0, int n,
                 int heads, float *out, float *sums);
void cpu_mix(struct backend *b, const struct attention *a, const struct kv_view *kv,
             const float *pattern, int pos0, int n, int head0, int heads, float *z,
             size_t z_stride);
void cpu_attend(struct backend *b, const struct attention *a, const struct kv_view *kv,
                const float *q, int pos0, int n, float *z, float *sums, struct workspace work);

size_t cpu_map_workspace(struct backend *b, const struct attention *a, int n, int n_keys,
                         int heads);
void cpu_map(struct backend *b, const struct attention *a, const struct kv_view *kv, const float *q,
             const float *sums, int pos0, int n, int head0, int heads, const struct map_region *m,
             float *cells, struct workspace work);

/* Element (o, 0) of a matrix. */
static inline const void *matrix_row(const struct matrix *w, int o)
{
    int group = w->group > 0 ? w->group : w->n_out;
    ptrdiff_t element =
        (ptrdiff_t)(o / group) * w->group_stride + (ptrdiff_t)(o % group) * w->out_stride;
    return (const char *)w->data + element * (ptrdiff_t)dtype_size(w->dtype);
}

/* The keys of head g in a page: [h][KV_PAGE], so that 16 scores are one vector. */
static inline const float *kv_keys(const struct kv_view *kv, int page, int g)
{
    const char *part = (const char *)kv->pages[page] + kv->key_offset;
    return (const float *)part + (size_t)g * (size_t)kv->d_head * KV_PAGE;
}

/* The values of head g in a page: [KV_PAGE][h], so that one position's value is contiguous. */
static inline const float *kv_values(const struct kv_view *kv, int page, int g)
{
    const char *part = (const char *)kv->pages[page] + kv->value_offset;
    return (const float *)part + (size_t)g * (size_t)kv->d_head * KV_PAGE;
}

#endif
