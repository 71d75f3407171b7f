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

typedef __nv_bfloat16 bf16;

#define FEW_ROWS 8  /* rows that the kernels for one token take; more go to cuBLAS and tiles */
#define BRIEF    64 /* rows that are kept rounded at a time */
#define MIRRORS  4  /* lists of pages that the device has a copy of */
#define KERNELS  32 /* that take more shared memory than others */

/* A host's list of pages, as the device has it. */
struct mirror {
    void *const *source;
    void **host, **device;
    int n, room;
    unsigned long used;
};

/* A kernel, and the shared memory that was asked for. */
struct prepared {
    const void *kernel;
    size_t shared_bytes;
};

#define JOINED_WIDTH 8192 /* floats of a row up to which ops on it are joined */
#define TOGETHER     3    /* products with the same rows that are joined */
#define ARRIVALS     4096 /* heads of one query, at most, whose keys are split between blocks */

/* A row: sum = x + y, saved = sum, centred = sum - its mean, scale = rms(centred), normalized =
 * centred / scale, out = gain of it. y, sum and all after them may be NULL: left out, the row going
 * on as it is. */
struct norm_job {
    const float *x, *y;
    float *sum, *saved, *centred, *scale, *normalized;
    const float *gain, *bias;
    float *out;
    double each; /* 1 / d */
    float eps;
    int d;
};

/* Whether four elements can be loaded and stored at once. */
__host__ __device__ static __forceinline__ bool norm_in_fours(const struct norm_job &j)
{
    uintptr_t all = (uintptr_t)j.x | (uintptr_t)j.y | (uintptr_t)j.sum | (uintptr_t)j.saved |
                    (uintptr_t)j.centred | (uintptr_t)j.normalized | (uintptr_t)j.gain |
                    (uintptr_t)j.bias | (uintptr_t)j.out;
    return j.d % 4 == 0 && all % 16 == 0;
}

/* The same of n rows, one behind the other. d 0: only their sum was asked for so far, of `count`
 * elements. */
struct norms {
    struct norm_job row;
    int n;
    size_t count;
    bool pass_centred, pass_normalized; /* not to be written, if the next op went along */
    bf16 *rounded;                      /* where out goes rounded; or NULL */
    void *const *pages;                 /* where sum goes once more, as rows_save would; or NULL */
    size_t offset;
    int pos0;
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

/* Many queries, q[n, H, h] from pos0 on, to z[n, H, h]. */
struct flash {
    struct attention a;
    struct kv_pages kv;
    const float *q;
    float *z;
    int pos0, n;
    const bf16 *low_q; /* on the tensor cores, instead of q; or NULL */
    bf16 *low_z;       /* and instead of z */
    float *sums;       /* [n, H], see backend.attend; or NULL */
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

/* Rows that are measured. */
struct measure_job {
    const float *x;
    int n, d;
    struct measures *out;
};

enum joined { NOTHING, NORM, PRODUCTS, TURN };

/* A launch that waits for ops that can go along: a token's time is launches as much as bytes. What
 * was joined writes all that the ops by themselves would have. */
struct waiting {
    enum joined kind;
    struct norms norms;
    struct product_job products;
    struct turn_job turn;
};

/* Rows that are kept rounded (brief.cu). */
struct brief_rows {
    const float *rows;
    size_t floats;
};

struct product_stage;
struct attention_stage;
struct queue;

struct cuda {
    struct backend b; /* first: a struct backend * is a struct cuda * */
    int device, n_sm;
    size_t shared_bytes; /* of memory that a block can have */
    bool
        bulk; /* many bytes can be fetched as one request (9.0 on): one row goes through token.cu */
    bool pooled;  /* allocations come from the device's pool, in the stream's order */
    bool doubles; /* double is not much slower than float: float32 products are summed in it */
    struct prepared prepared[KERNELS];
    cudaStream_t stream;
    cublasHandle_t blas;
    struct mirror mirrors[MIRRORS];
    unsigned long clock;
    struct waiting waiting;
    struct queue *queue;
    unsigned *arrived; /* [ARRIVALS] of the parts of a query's heads, 0 between launches */
    cudaEvent_t fetches[2];
    void *bounce; /* pinned, what is read passes through it; NULL: there is none */
    struct brief_rows brief[BRIEF];
    int n_brief;
    struct brief_rows said; /* of what the next op writes */
    enum keeping keeping;
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
/* What a launch says. */
bool launched(struct cuda *c, const char *what);
/* Makes room for the kernel's shared memory. */
bool shared_memory(struct cuda *c, const void *kernel, size_t bytes, const char *what);

/* ---- one row at a time: what waits, what is queued, what is launched ----
 * An op on one row goes along with what waits (join.cu), or that is put into the queue (queue.cu)
 * and the op waits itself. Whoever reads or writes the device's memory in any other way settles
 * first. */

/* Puts what waits into the queue; what the queue does not take is launched behind it. */
void advance(struct cuda *c);
/* Launches what waits and what is queued. */
void settle(struct cuda *c);
static inline bool ready(struct cuda *c)
{
    settle(c);
    return !c->failed;
}

/* Whether the op on one row, or of a prompt's norms, goes along with what waits, or waits itself;
 * no op of an exact device does. */
bool join_add(struct cuda *c, const float *x, const float *y, float *out, size_t count);
bool join_save_rows(struct cuda *c, void *const *pages, size_t offset, int d, int pos0, int n,
                    const float *x);
bool join_save(struct cuda *c, void *page, int d, int row, const float *x);
bool join_center(struct cuda *c, const float *x, float *out, int n, int d);
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

/* The queue, of a GPU that can run it; on others these launch. */
bool queue_open(struct cuda *c);
void queue_close(struct cuda *c);
void queue_norm(struct cuda *c, const struct norm_job *j);
void queue_products(struct cuda *c, const struct product_job *j);
void queue_attention(struct cuda *c, const struct attention_stage *s);
/* Whether the row, z or the sums of the attention that was queued last, is kept there with it. */
bool queue_save(struct cuda *c, const float *rows, int width, void *to, enum dtype kept);
/* Whether the rows are measured with what is queued; if not, nobody has taken them. */
bool queue_measure(struct cuda *c, const struct measure_job *j);
/* Whether something is to be measured, behind what waits, that lies there. */
bool queue_measures_there(const struct cuda *c, const float *p, size_t floats);
/* Launches what is queued, but not what waits. */
void queue_flush(struct cuda *c);
/* Measures what was to be measured behind what waited, and has been launched. */
void queue_measure_waiting(struct cuda *c);

/* Launches (norm.cu, stream.cu, single.cu, matvec.cu, rows.cu, kv.cu, measure.cu). */
void norm_launch(struct cuda *c, const struct norm_job *j);
void norms_launch(struct cuda *c, const struct norms *j);
void add_launch(struct cuda *c, const float *x, const float *y, float *out, size_t count);
void stream_launch(struct cuda *c, const struct product_stage *s, enum dtype stored);
void single_launch(struct cuda *c, const struct attention_stage *s);
void product_launch(struct cuda *c, const struct product_job *j);
void rope_launch(struct cuda *c, const struct rope_job *j, int n);
void kv_store_launch(struct cuda *c, const struct kv_pages *kv, int pos, const float *keys,
                     const float *values);
void measure_launch(struct cuda *c, const struct measure_job *j);
/* Whether one row times the matrix is streamed (queue.cu); if not, it is matvec.cu's. */
bool stream_takes(const struct cuda *c, const struct matrix *w);
/* Of shared memory, with a row of so many bytes. */
size_t stream_shared_bytes(size_t row);

/* ---- rows that are kept rounded (brief.cu): see backend.brief ---- */

/* The roundings, of rows that are kept so or are among such; or NULL. */
const bf16 *brief_of(struct cuda *c, const float *rows);
/* Whether nothing needs to be written there if a norm's next ops go along. */
bool brief_passes(const struct cuda *c, const float *rows);
/* Where the op is to write the roundings of all that it was said to write there, and nothing else;
 * NULL: it writes floats. */
bf16 *brief_keep(struct cuda *c, const float *rows);
/* The rows, whose floats are made if they were kept rounded. What waits has been launched. */
const float *floats_of(struct cuda *c, const float *rows);

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
void brief_ops(struct backend *b);     /* brief.cu */
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

/* A few queries over many keys (decode.cu). z: [n, H, h]. */
void attend_few(struct cuda *c, const struct attention *a, const struct kv_pages *kv,
                const float *q, int pos0, int n, float *z, float *sums, struct workspace work);
/* Many queries, in tiles: float32 (flash.cu); bfloat16 (flash_bf16.cu); and that on Hopper, for
 * heads of 64, 96 and 128 (flash_wgmma.cu). False: not for this device, or not built for it. */
void attend_tiles(struct cuda *c, const struct flash *f);
void attend_tiles_bf16(struct cuda *c, const struct flash *f);
bool attend_hopper(struct cuda *c, const struct flash *f);
/* Whether attend_tiles_bf16 and maps on the tensor cores take such heads. */
bool on_tensor_cores(const struct backend *b, const struct attention *a);

/* ---- on the device ---- */

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

/* 16 bytes, from an address that is aligned so, widened. */
template <typename T>
__device__ static __forceinline__ void unpack(const void *p, float x[16 / sizeof(T)])
{
    pack<T, 16 / (int)sizeof(T)> v = *(const pack<T, 16 / (int)sizeof(T)> *)p;
#pragma unroll
    for (int i = 0; i < 16 / (int)sizeof(T); i++)
        x[i] = widen(v.at[i]);
}
template <> __device__ __forceinline__ void unpack<bf16>(const void *p, float x[8])
{
    uint4 v = *(const uint4 *)p; /* a bfloat16 is a float's upper half */
    const unsigned two[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        x[2 * i] = __uint_as_float(two[i] << 16);
        x[2 * i + 1] = __uint_as_float(two[i] & 0xffff0000u);
    }
}

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
