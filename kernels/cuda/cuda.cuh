/* cuda.cuh - what the CUDA backend's files share.
 *
 * Every op is launched on one stream and returns at once. The first thing that goes wrong is
 * kept, everything after it is left out, and sync() tells it. In bf16 the rows of a product,
 * queries, keys and values are rounded to bfloat16; all else is float32. */
#ifndef MIDPASS_CUDA_CUH
#define MIDPASS_CUDA_CUH

extern "C" {
#include "kernels/kernels.h"
}

#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define FEW_ROWS 8  /* rows that the kernels for one token take; more go to cuBLAS and tiles */
#define MIRRORS  4  /* lists of pages that the device has a copy of */
#define KERNELS  64 /* that are launched early */

/* A host's list of pages, as the device has it. */
struct mirror {
    void *const *source;
    void **host, **device;
    int n, room;
    unsigned long used;
};

#define STORED_NONE    (-1)
#define STORED_SEVERAL (-2)

/* A kernel that is launched early, and the shared memory that was asked for. */
struct prepared {
    const void *kernel;
    size_t shared_bytes;
};

#define JOINED_WIDTH 8192 /* floats of a row up to which ops on it are joined */
#define TOGETHER     3    /* products with the same rows that are joined */
#define ARRIVALS     4096 /* heads of one query, at most, whose keys are split between blocks */

/* One row: sum = x + y, saved = sum, scale = rms(sum), normalized = sum / scale, out = gain of it.
 * y, sum and all after them may be NULL: left out. */
struct norm_job {
    const float *x, *y;
    float *sum, *saved, *scale, *normalized;
    const float *gain, *bias;
    float *out;
    float eps;
    int d;
};

/* out[i] = x w[i]^T + bias[i]. Streamed, which is one row alone: x may be the norm's out, and post
 * = act(out[0]), times out[1] where there are two. */
struct product_job {
    const float *x;
    size_t x_stride;
    int n, parts;
    bool streamed, normed, activated;
    struct matrix w[TOGETHER];
    const float *bias[TOGETHER];
    float *out[TOGETHER];
    size_t out_stride[TOGETHER];
    struct norm_job norm;
    enum activation act;
    float *post;
};

/* Rows of heads that are rotated; x NULL: none. */
struct rope_job {
    const float *x, *angles;
    int r;
    enum rope_style style;
    float *out;
    int heads, d_head;
};

/* One layer's pages, on the device. */
struct kv_pages {
    void *const *pages;
    size_t key_offset, value_offset;
    int n_kv_heads, d_head;
};

/* What leads to one query's attention: queries, then keys rotated; keys and values stored. */
struct turn_job {
    struct rope_job q, k;
    bool stored;
    void *const *source; /* the host's list of the pages */
    struct kv_pages kv;
    int pos;
    const float *keys, *values;
};

enum joined { NOTHING, NORM, PRODUCTS, TURN };

/* A launch that waits for ops that can go along: a token's time is launches as much as bytes. What
 * was joined writes all that the ops by themselves would have. */
struct waiting {
    enum joined kind;
    struct norm_job norm;
    struct product_job products;
    struct turn_job turn;
};

struct cuda {
    struct backend b; /* first: a struct backend * is a struct cuda * */
    int device, n_sm;
    size_t shared_bytes; /* of memory that a block can have */
    bool early;   /* a kernel's blocks can come before the last kernel has ended: async.cuh */
    bool pooled;  /* allocations come from the device's pool, in the stream's order */
    bool doubles; /* double is not much slower than float: float32 products are summed in it */
    struct prepared prepared[KERNELS];
    cudaStream_t stream;
    cublasHandle_t blas;
    struct mirror mirrors[MIRRORS];
    unsigned long clock;
    struct waiting waiting;
    /* The position whose keys launches stored that a later one may not have waited for: those since
     * the last launch that waits for all before it. */
    int stored;
    void *bounce;      /* pinned, what is read passes through it; NULL: there is none */
    unsigned *arrived; /* [ARRIVALS] of single.cu's blocks, 0 between launches */
    /* The rows that the workspace holds rounded, until an op that is no product: q, k and v, or
     * gate and up, have the same. */
    const float *rounded;
    size_t rounded_stride;
    int rounded_n, rounded_width;
    bool failed;
    char why[256]; /* the first failure */
};

static inline struct cuda *cuda_of(struct backend *b)
{
    return (struct cuda *)b;
}

/* Keeps a failure of the runtime or of cuBLAS; true if there is none. */
bool cuda_ok(struct cuda *c, cudaError_t e, const char *what);
bool blas_ok(struct cuda *c, cublasStatus_t s, const char *what);
/* What a launch says, of those that wait for all before them. */
bool launched(struct cuda *c, const char *what);
/* Launches what waits; forgets the rounded rows. Whatever reads or writes the device's memory comes
 * after this. */
void settle(struct cuda *c);
static inline bool ready(struct cuda *c)
{
    settle(c);
    return !c->failed;
}
/* What waits, as launches (norm.cu, matvec.cu, stream.cu, rows.cu, kv.cu). */
void norm_launch(struct cuda *c, const struct norm_job *j);
void product_launch(struct cuda *c, const struct product_job *j);
void stream_launch(struct cuda *c, const struct product_job *j);
void rope_launch(struct cuda *c, const struct rope_job *j, int n);
void kv_store_launch(struct cuda *c, const struct kv_pages *kv, int pos0, int n, const float *keys,
                     const float *values);
/* Whether one row times the matrix is stream.cu's. */
bool stream_takes(const struct cuda *c, const struct matrix *w);
/* Whether the op on one row goes along with what waits, or waits itself (join.cu); no op of an
 * exact device does. */
bool join_add(struct cuda *c, const float *x, const float *y, float *out, size_t count);
bool join_save(struct cuda *c, void *page, int d, int row, const float *x);
bool join_rms(struct cuda *c, const float *x, float eps, float *scale, int n, int d);
bool join_divide(struct cuda *c, const float *x, const float *scale, float *out, int n, int d);
bool join_gain(struct cuda *c, const float *x, const float *gain, const float *bias, float *out,
               int n, int d);
bool join_activate(struct cuda *c, enum activation f, const float *x, const float *y, float *out,
                   size_t count);
bool join_rope(struct cuda *c, const struct rope_job *j);
bool join_store(struct cuda *c, const struct kv_view *view, int pos, const float *keys,
                const float *values);
/* Takes what waits along, where it leads to this query's attention. */
bool join_attend(struct cuda *c, const struct attention *a, const struct kv_view *view,
                 const float *q, int pos, float *z, struct turn_job *taken);
/* A product of up to FEW_ROWS rows: it always waits. */
void join_product(struct cuda *c, const float *x, size_t x_stride, const struct matrix *w,
                  const float *bias, float *out, size_t out_stride, int n);
/* The device's copy of the first n pages; NULL: failed. */
void *const *pages_on_device(struct cuda *c, void *const *pages, int n);

/* ---- groups of ops: each sets its part of the table ---- */

void rows_ops(struct backend *b);      /* rows.cu */
void norm_ops(struct backend *b);      /* norm.cu */
void matmul_ops(struct backend *b);    /* matmul.cu */
void kv_ops(struct backend *b);        /* kv.cu */
void pattern_ops(struct backend *b);   /* pattern.cu */
void attention_ops(struct backend *b); /* attention.cu */
void map_ops(struct backend *b);       /* map.cu */
void measure_ops(struct backend *b);   /* measure.cu */
void top_ops(struct backend *b);       /* top.cu */

size_t matmul_workspace(struct cuda *c, int n);
size_t attention_workspace(struct cuda *c, int n);

/* Any number of rows, float32 throughout, summed in double (exact.cu). */
void product_exact(struct cuda *c, const float *x, size_t x_stride, const struct matrix *w,
                   const float *bias, float *out, size_t out_stride, int n);

/* The same of a bfloat16 matrix and rows rounded to it (exact_bf16.cu). */
void product_exact_bf16(struct cuda *c, const float *x, size_t x_stride, const struct matrix *w,
                        const float *bias, float *out, size_t out_stride, int n);

bool kv_on_device(struct cuda *c, const struct kv_view *kv, int n_keys, struct kv_pages *out);

/* A few queries over many keys (decode.cu); many queries, in tiles: float32 (flash.cu), and
 * bfloat16 on the tensor cores, for heads of a multiple of 16 (flash_bf16.cu). z: [n, H, h]. */
void attend_few(struct cuda *c, const struct attention *a, const struct kv_pages *kv,
                const float *q, int pos0, int n, float *z, struct workspace work);
/* One query (single.cu), whose own key and value `turn` makes, if it is not NULL. */
bool attend_one_takes(const struct cuda *c, const struct attention *a, const struct kv_view *kv,
                      int pos);
void attend_one(struct cuda *c, const struct attention *a, const struct kv_pages *kv,
                const float *q, int pos, float *z, struct workspace work,
                const struct turn_job *turn);
void attend_tiles(struct cuda *c, const struct attention *a, const struct kv_pages *kv,
                  const float *q, int pos0, int n, float *z);
void attend_tiles_bf16(struct cuda *c, const struct attention *a, const struct kv_pages *kv,
                       const float *q, int pos0, int n, float *z);
/* The same on Hopper (flash_wgmma.cu), for heads of 64, 96 and 128. False: not for this device, or
 * not built for it. */
bool attend_hopper(struct cuda *c, const struct attention *a, const struct kv_pages *kv,
                   const float *q, int pos0, int n, float *z);

/* ---- on the device ---- */

typedef __nv_bfloat16 bf16;

__device__ inline float widen(float x)
{
    return x;
}
__device__ inline float widen(bf16 x)
{
    return __bfloat162float(x);
}
__device__ inline float widen(__half x)
{
    return __half2float(x);
}
template <typename T> __device__ inline T narrow(float x);
template <> __device__ inline float narrow<float>(float x)
{
    return x;
}
template <> __device__ inline bf16 narrow<bf16>(float x)
{
    return __float2bfloat16_rn(x);
}

/* As T would hold it. */
template <typename T> __device__ inline float rounded(float x)
{
    return widen(narrow<T>(x));
}

/* N elements as one load: N * sizeof(T) is 4, 8 or 16 bytes, and p so aligned. */
template <typename T, int N> struct alignas(sizeof(T) * N) pack {
    T at[N];
};

template <typename T> __device__ inline T warp_sum(T x)
{
    for (int k = 16; k > 0; k /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, k);
    return x;
}

__device__ inline float warp_max(float x)
{
    for (int k = 16; k > 0; k /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, k));
    return x;
}

/* Sums over a block of whole warps, the same in each thread. Both barriers are inside. */
template <typename T> __device__ inline T block_sum(T x)
{
    __shared__ T part[32];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    x = warp_sum(x);
    __syncthreads(); /* the last call's parts have been read */
    if (lane == 0)
        part[warp] = x;
    __syncthreads();
    return warp_sum(lane < warps ? part[lane] : (T)0);
}

/* The greatest; a NaN anywhere is passed over, as fmaxf does. */
__device__ inline float block_max(float x)
{
    __shared__ float part[32];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    x = warp_max(x);
    __syncthreads();
    if (lane == 0)
        part[warp] = x;
    __syncthreads();
    return warp_max(lane < warps ? part[lane] : -INFINITY);
}

/* The first key that the query at t sees. */
__host__ __device__ inline int first_visible(int window, int t)
{
    return window > 0 && t >= window ? t - window + 1 : 0;
}

/* Position s's keys or values of head g: [h]. */
template <typename T>
__device__ inline const T *paged(const struct kv_pages &kv, size_t offset, int g, int s)
{
    const T *part = (const T *)((const char *)kv.pages[s / KV_PAGE] + offset);
    return part + ((size_t)g * KV_PAGE + (size_t)(s % KV_PAGE)) * (size_t)kv.d_head;
}

#endif
