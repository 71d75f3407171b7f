/* stage.cuh - what one row goes through, as the kernels see it: a stage is what could go together
 * in one launch. Where the GPU can (9.0 on) token.cu runs many of them as one; else each is
 * launched by itself, by stream.cu, single.cu and norm.cu. Their arithmetic is the same. */
#ifndef MIDPASS_CUDA_STAGE_CUH
#define MIDPASS_CUDA_STAGE_CUH

#include "kernels/cuda/cuda.cuh"

#define MOST_OUTPUTS (1 << 22)

/* Floats that a part of a head has found: its mix, [h], then the maximum and the sum. */
#define PART_FLOATS(h) ((h) + 4)

/* What the parts of a query's heads have found, [H, splits, PART_FLOATS]; z is what they come to.
 */
struct mix_job {
    const float *partial;
    float *z, *sums; /* sums: [H], see backend.attend; or NULL */
    void *kept;      /* z once more, in the keys' type if `narrowed`; or NULL */
    int n_heads, d_head, splits;
    bool narrowed;
};

/* One row times matrices that lie alike: element (o, k) of one is at data + o / group *
 * group_stride
 * + o % group * out_stride + k elements. A unit is two outputs: of one part, or, where a gate
 * follows, the same one of two parts. */
struct product_stage {
    const void *data[TOGETHER];
    const float *bias[TOGETHER];
    float *out[TOGETHER];
    int n_out[TOGETHER], ends[TOGETHER]; /* ends: of the parts, in units */
    int units, n_in, group;
    int parts, part_inputs; /* in which token.cu fetches an output's inputs */
    ptrdiff_t out_stride, group_stride;
    const float *x; /* the row, unless it is a norm's out, or mixed of parts */
    union {
        struct norm_job norm;
        struct mix_job mix;
    };
    float *post; /* act(out[0]), times out[1] if paired */
    enum activation act;
    bool normed, mixed, activated, paired;
};

/* One query. Its own key and value come last and by their own way: they may still have to be
 * rotated and stored. */
struct attention_stage {
    struct attention a;
    struct kv_pages kv;
    const float *q, *keys, *values, *angles; /* as they come; keys NULL: stored already */
    float *q_out, *k_out;                    /* rotated; NULL: they come so */
    int r;
    enum rope_style style;
    float *z, *sums, *partial; /* sums, partial: see mix_job; splits 1: partial is unused */
    unsigned *arrived;
    int pos, splits, each; /* each: keys of a part, its own not counted */
    bool open;             /* the parts are put together by whoever reads them */
    void *kept;            /* as in mix_job */
    bool narrowed;
};

/* The outputs of a unit; the second is the first again where there is none. */
struct pair {
    int part[2], row[2];
};

__device__ static __forceinline__ struct pair pair_of(const struct product_stage &s, int unit)
{
    if (s.paired)
        return {{0, 1}, {unit, unit}};
    int part = unit < s.ends[0] ? 0 : unit < s.ends[1] ? 1 : 2;
    int first = 2 * (part ? unit - s.ends[part - 1] : unit);
    int second = first + 1 < s.n_out[part] ? first + 1 : first;
    return {{part, part}, {first, second}};
}

template <typename T>
__device__ static __forceinline__ const T *row_of(const struct product_stage &s, int part, int row)
{
    return (const T *)s.data[part] + (ptrdiff_t)(row / s.group) * s.group_stride +
           (ptrdiff_t)(row % s.group) * s.out_stride;
}

/* A block's part of n things. */
__device__ static __forceinline__ int share_begin(int n, int block)
{
    return (int)((unsigned)n * (unsigned)block / gridDim.x); /* n: MOST_OUTPUTS at most */
}

/* Things from .. to-1. */
struct stretch {
    int from, to;
};

/* The block's part of n things. */
__device__ static __forceinline__ struct stretch share_of(int n)
{
    return {share_begin(n, (int)blockIdx.x), share_begin(n, (int)blockIdx.x + 1)};
}

/* The keys before its own that a part of a query's has. */
__device__ static __forceinline__ struct stretch stretch_of(const struct attention_stage &s,
                                                            int split)
{
    int from = first_visible(s.a.window, s.pos) + split * s.each, to = from + s.each;
    return {from, to < s.pos ? to : s.pos};
}

/* Barriers of a block, beside that of all its threads. */
enum { CONSUMERS_BARRIER = 1, SEEKERS_BARRIER, STAGE_BARRIER };

/* z's element i, for good. */
__device__ static __forceinline__ void z_write(float *z, void *kept, bool narrowed, int i, float x)
{
    z[i] = x;
    if (kept && narrowed)
        ((bf16 *)kept)[i] = narrow<bf16>(x);
    else if (kept)
        ((float *)kept)[i] = x;
}

/* Waits for N threads that all come here, whole warps: of the block, if N is 0. */
template <int ID, int N> __device__ static __forceinline__ void threads_wait()
{
    if constexpr (N == 0)
        __syncthreads();
    else
        asm volatile("barrier.cta.sync %0, %1;" ::"n"(ID), "n"(N) : "memory");
}

#endif
