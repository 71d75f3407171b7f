/* device.cu - opening a GPU, its memory, its errors. */
#include "kernels/cuda/cuda.cuh"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows that keep a GPU busy. 3072 of Phi-3.5's fill the 132 multiprocessors of an H100 almost
 * evenly, products and attention, but take more scratch: for GPUs of so many bytes. */
#define CHUNK       2048
#define CHUNK_LARGE 3072
#define CHUNK_LAST  4096
#define LARGE       ((size_t)40 << 30)
/* Bytes up to which a read goes through pinned memory: to any other the driver copies by itself,
 * which takes some tens of microseconds. */
#define BOUNCE ((size_t)256 << 10)
#define WHY    256
/* Bytes that are fetched by a launch, and its threads. */
#define FETCH_FEW     ((size_t)16 << 10)
#define FETCH_THREADS 1024
/* A residual's sum, its norm and the products of that are the most ops that join.cu puts in one
 * launch: so many come behind the first. */
#define TOGETHER_OPS 7
/* Up to this many float operations in the time of one in double, float32 products are summed in
 * double: 2 on an A100 or H100, 32 or 64 on cards for screens. */
#define DOUBLE_RATIO 4

/* ---- errors ---------------------------------------------------------------------------------- */

static bool keep(struct cuda *c, const char *what, const char *reason)
{
    if (!c->failed)
        snprintf(c->why, WHY, "cuda:%d: %s: %s", c->device, what, reason);
    c->failed = true;
    return false;
}

bool cuda_ok(struct cuda *c, cudaError_t e, const char *what)
{
    return e == cudaSuccess ? !c->failed : keep(c, what, cudaGetErrorString(e));
}

bool blas_ok(struct cuda *c, cublasStatus_t s, const char *what)
{
    return s == CUBLAS_STATUS_SUCCESS ? !c->failed : keep(c, what, cublasGetStatusString(s));
}

bool launched(struct cuda *c, const char *what)
{
    return cuda_ok(c, cudaGetLastError(), what);
}

bool shared_memory(struct cuda *c, const void *kernel, size_t bytes, const char *what)
{
    struct prepared *p = c->prepared, *end = c->prepared + KERNELS - 1;
    while (p < end && p->kernel && p->kernel != kernel)
        p++;
    if (p->kernel == kernel && p->shared_bytes >= bytes)
        return !c->failed;
    if (!cuda_ok(
            c,
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
            what))
        return false;
    *p = {kernel, bytes};
    return true;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void *device_alloc(struct backend *b, size_t bytes)
{
    struct cuda *c = cuda_of(b);
    void *p = NULL;
    if (c->failed)
        return NULL;
    if (bytes == 0)
        bytes = 1;
    cudaError_t e = c->pooled ? cudaMallocAsync(&p, bytes, c->stream) : cudaMalloc(&p, bytes);
    if (e == cudaErrorMemoryAllocation) {
        cudaGetLastError(); /* no room is the caller's to tell; the device goes on */
        return NULL;
    }
    return cuda_ok(c, e, "allocating") ? p : NULL;
}

static void device_free(struct backend *b, void *p)
{
    struct cuda *c = cuda_of(b);
    settle(c); /* what waits may write there */
    if (p)
        cuda_ok(c, c->pooled ? cudaFreeAsync(p, c->stream) : cudaFree(p), "freeing");
}

static void device_read(struct backend *b, void *host, const void *p, size_t bytes)
{
    struct cuda *c = cuda_of(b);
    void *to = c->bounce && bytes <= BOUNCE ? c->bounce : host;
    bool ok =
        ready(c) && bytes > 0 &&
        cuda_ok(c, cudaMemcpyAsync(to, p, bytes, cudaMemcpyDeviceToHost, c->stream), "reading") &&
        cuda_ok(c, cudaStreamSynchronize(c->stream), "reading");
    if (ok && to != host)
        memcpy(host, to, bytes);
    if (!ok && bytes > 0)
        memset(host, 0, bytes); /* nobody sees them: sync() tells of the failure */
}

static void device_write(struct backend *b, void *p, const void *host, size_t bytes)
{
    struct cuda *c = cuda_of(b);
    if (ready(c) && bytes > 0 &&
        cuda_ok(c, cudaMemcpyAsync(p, host, bytes, cudaMemcpyHostToDevice, c->stream), "writing"))
        cuda_ok(c, cudaStreamSynchronize(c->stream), "writing");
}

static void *device_stage(struct backend *b, size_t bytes)
{
    void *p = NULL;
    if (cudaMallocHost(&p, bytes) == cudaSuccess)
        return p;
    cudaGetLastError(); /* no room is the caller's to tell */
    (void)b;
    return NULL;
}

static void device_unstage(struct backend *b, void *p)
{
    cuda_ok(cuda_of(b), cudaFreeHost(p), "freeing");
}

static void device_send(struct backend *b, void *p, const void *staged, size_t bytes)
{
    struct cuda *c = cuda_of(b);
    if (ready(c) && bytes > 0)
        cuda_ok(c, cudaMemcpyAsync(p, staged, bytes, cudaMemcpyHostToDevice, c->stream), "loading");
}

static void device_copy(struct backend *b, void *to, const void *from, size_t bytes)
{
    struct cuda *c = cuda_of(b);
    if (ready(c) && bytes > 0)
        cuda_ok(c, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, c->stream),
                "copying");
}

/* Few bytes: as a launch, which the next one follows sooner than a copy by the driver. */
__global__ void fetch_kernel(uint32_t *to, const uint32_t *from, size_t words)
{
    for (size_t i = threadIdx.x; i < words; i += blockDim.x)
        to[i] = from[i];
}

static void device_fetch(struct backend *b, int number, void *staged, const void *p, size_t bytes)
{
    struct cuda *c = cuda_of(b);
    if (!ready(c))
        return;
    if (bytes <= FETCH_FEW) {
        fetch_kernel<<<1, FETCH_THREADS, 0, c->stream>>>((uint32_t *)staged, (const uint32_t *)p,
                                                         bytes / sizeof(uint32_t));
        launched(c, "fetching");
    } else {
        cuda_ok(c, cudaMemcpyAsync(staged, p, bytes, cudaMemcpyDeviceToHost, c->stream),
                "fetching");
    }
    cuda_ok(c, cudaEventRecord(c->fetches[number], c->stream), "fetching");
}

static bool device_fetched(struct backend *b, int number, char why[WHY])
{
    struct cuda *c = cuda_of(b);
    if (!c->failed)
        cuda_ok(c, cudaEventSynchronize(c->fetches[number]), "running");
    snprintf(why, WHY, "%s", c->why);
    return !c->failed;
}

static void device_memory(struct backend *b, size_t *available, size_t *total)
{
    struct cuda *c = cuda_of(b);
    *available = *total = 0;
    if (c->failed || !cuda_ok(c, cudaMemGetInfo(available, total), "asking for its memory"))
        return;
    /* What the pool holds and nobody uses is free too. */
    cudaMemPool_t pool;
    uint64_t held = 0, used = 0;
    if (c->pooled && cudaDeviceGetDefaultMemPool(&pool, c->device) == cudaSuccess &&
        cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &held) == cudaSuccess &&
        cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used) == cudaSuccess)
        *available += held - used;
}

static bool device_sync(struct backend *b, char why[WHY])
{
    struct cuda *c = cuda_of(b);
    if (ready(c))
        cuda_ok(c, cudaStreamSynchronize(c->stream), "running");
    snprintf(why, WHY, "%s", c->why);
    return !c->failed;
}

static size_t device_workspace(struct backend *b, int n, int n_keys)
{
    size_t matmul = matmul_workspace(cuda_of(b), n), attend = attention_workspace(cuda_of(b), n);
    (void)n_keys;
    return matmul > attend ? matmul : attend;
}

/* ---- lists of pages -------------------------------------------------------------------------- */

/* A few more than before, as a launch: nobody waits for what is under way. */
#define FEW_PAGES 32

struct few_pages {
    void *at[FEW_PAGES];
};

__global__ void list_kernel(void **to, struct few_pages pages, int n)
{
    if ((int)threadIdx.x < n)
        to[threadIdx.x] = pages.at[threadIdx.x];
}

static void mirror_fini(struct mirror *m)
{
    free(m->host);
    cudaFree(m->device);
    *m = mirror();
}

static bool mirror_grow(struct cuda *c, struct mirror *m, int n)
{
    int room = 2 * n < 256 ? 256 : 2 * n;
    void *const *source = m->source;
    if (c->waiting.kind == NORM) /* it may have the list */
        advance(c);
    queue_flush(c);
    mirror_fini(m);
    m->source = source;
    m->host = (void **)malloc((size_t)room * sizeof *m->host);
    if (!m->host)
        return keep(c, "listing the pages", "the host has no memory");
    if (!cuda_ok(c, cudaMalloc((void **)&m->device, (size_t)room * sizeof *m->device),
                 "listing the pages"))
        return false;
    m->room = room;
    return true;
}

void *const *pages_on_device(struct cuda *c, void *const *pages, int n)
{
    struct mirror *m = &c->mirrors[0];
    for (int i = 0; i < MIRRORS; i++) {
        if (c->mirrors[i].source == pages) {
            m = &c->mirrors[i];
            break;
        }
        if (c->mirrors[i].used < m->used)
            m = &c->mirrors[i];
    }
    m->used = ++c->clock;
    if (m->source != pages) {
        queue_flush(c); /* what is queued may read what the list was of */
        m->n = 0;
    }
    m->source = pages;
    if (n > m->room && !mirror_grow(c, m, n))
        return NULL;
    int same = 0;
    if (n <= m->n && memcmp(m->host, pages, (size_t)n * sizeof *pages) == 0)
        return m->device;
    while (same < n && same < m->n && m->host[same] == pages[same])
        same++;
    if (same < m->n)
        queue_flush(c); /* what is queued may read what is replaced */
    size_t bytes = (size_t)(n - same) * sizeof *pages;
    memcpy(m->host + same, pages + same, bytes);
    m->n = n;
    if (n - same <= FEW_PAGES) {
        struct few_pages few;
        memcpy(few.at, pages + same, bytes);
        list_kernel<<<1, FEW_PAGES, 0, c->stream>>>(m->device + same, few, n - same);
        return launched(c, "listing the pages") ? m->device : NULL;
    }
    if (!cuda_ok(c,
                 cudaMemcpyAsync(m->device + same, m->host + same, bytes, cudaMemcpyHostToDevice,
                                 c->stream),
                 "listing the pages"))
        return NULL;
    /* The host's copy may change before the device has read it. */
    return cuda_ok(c, cudaStreamSynchronize(c->stream), "listing the pages") ? m->device : NULL;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Gives back what there is. */
static void release(struct cuda *c)
{
    for (int i = 0; i < MIRRORS; i++)
        mirror_fini(&c->mirrors[i]);
    cudaFree(c->arrived);
    queue_close(c);
    cudaFreeHost(c->bounce);
    for (int i = 0; i < 2; i++)
        if (c->fetches[i])
            cudaEventDestroy(c->fetches[i]);
    if (c->blas)
        cublasDestroy(c->blas);
    if (c->stream)
        cudaStreamDestroy(c->stream);
    cudaMemPool_t pool;
    if (c->pooled && cudaDeviceGetDefaultMemPool(&pool, c->device) == cudaSuccess)
        cudaMemPoolTrimTo(pool, 0);
    cudaGetLastError();
    free(c);
}

static void device_close(struct backend *b)
{
    struct cuda *c = cuda_of(b);
    cudaSetDevice(c->device);
    cudaStreamSynchronize(c->stream);
    release(c);
}

/* The pool keeps what was freed, so that growing the cache page by page is cheap. */
static bool open_pool(struct cuda *c)
{
    int supported = 0;
    cudaMemPool_t pool;
    uint64_t keep_all = UINT64_MAX;
    bool ok =
        cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, c->device) ==
            cudaSuccess &&
        supported && cudaDeviceGetDefaultMemPool(&pool, c->device) == cudaSuccess &&
        cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep_all) == cudaSuccess;
    cudaGetLastError();
    return ok;
}

static bool open_device(struct cuda *c, bool plain, char why[WHY])
{
    int n = 0, driver = 0;
    struct cudaDeviceProp p;
    cudaError_t e = cudaGetDeviceCount(&n);
    if (e != cudaSuccess || n == 0) {
        if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0)
            snprintf(why, WHY, "cuda: this machine has no NVIDIA driver");
        else
            snprintf(why, WHY, "cuda: no GPU can be used: %s",
                     e == cudaSuccess ? "there is none" : cudaGetErrorString(e));
        return false;
    }
    if (c->device < 0 || c->device >= n) {
        snprintf(why, WHY, "cuda: there is no GPU %d: there %s %d, counted from 0", c->device,
                 n == 1 ? "is" : "are", n);
        return false;
    }
    if (!cuda_ok(c, cudaGetDeviceProperties(&p, c->device), "asking what it is") ||
        !cuda_ok(c, cudaSetDevice(c->device), "choosing it")) {
        snprintf(why, WHY, "%s", c->why);
        return false;
    }
    if (p.major < 8) {
        snprintf(why, WHY, "cuda: GPU %d, %.80s, is of compute capability %d.%d; 8.0 is needed",
                 c->device, p.name, p.major, p.minor);
        return false;
    }
    c->n_sm = p.multiProcessorCount;
    bool large = p.totalGlobalMem >= LARGE;
    c->b.chunk = large ? CHUNK_LARGE : CHUNK;
    c->b.chunk_last = large ? CHUNK_LAST : CHUNK;
    c->shared_bytes = p.sharedMemPerBlockOptin;
    int cooperative = 0;
    cudaDeviceGetAttribute(&cooperative, cudaDevAttrCooperativeLaunch, c->device);
    c->bulk = p.major >= 9 && cooperative && !plain;
    c->pooled = open_pool(c);
    size_t arrivals = ARRIVALS * sizeof *c->arrived;
    int ratio = 0;
    cudaDeviceGetAttribute(&ratio, cudaDevAttrSingleToDoublePrecisionPerfRatio, c->device);
    c->doubles = ratio > 0 && ratio <= DOUBLE_RATIO;
    snprintf(c->b.detail, sizeof c->b.detail, "%.64s, %s%s", p.name,
             c->b.dtype == DTYPE_BF16 ? "bf16" : "f32", c->b.exact ? ", exact" : "");
    bool ok = cuda_ok(c, cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking),
                      "making a stream") &&
              blas_ok(c, cublasCreate(&c->blas), "opening cuBLAS") &&
              blas_ok(c, cublasSetStream(c->blas, c->stream), "opening cuBLAS") &&
              cuda_ok(c, cudaEventCreateWithFlags(&c->fetches[0], cudaEventDisableTiming),
                      "making an event") &&
              cuda_ok(c, cudaEventCreateWithFlags(&c->fetches[1], cudaEventDisableTiming),
                      "making an event") &&
              cuda_ok(c, cudaMalloc((void **)&c->arrived, arrivals), "allocating") &&
              cuda_ok(c, cudaMemsetAsync(c->arrived, 0, arrivals, c->stream), "allocating") &&
              queue_open(c);
    if (!ok)
        snprintf(why, WHY, "%s", c->why);
    /* Without it reads take longer, and that is all. */
    if (ok && cudaMallocHost(&c->bounce, BOUNCE) == cudaSuccess)
        c->b.held = BOUNCE;
    else
        c->bounce = NULL;
    cudaGetLastError();
    return ok;
}

extern "C" __attribute__((visibility("default"))) struct backend *midpass_backend_open(
    const struct backend_options *options, char why[WHY])
{
    struct cuda *c = (struct cuda *)calloc(1, sizeof *c);
    if (!c) {
        snprintf(why, WHY, "cuda: no memory for the backend");
        return NULL;
    }
    struct backend *b = &c->b;
    c->device = options ? options->device : 0;
    b->version = KERNELS_VERSION;
    b->name = "cuda";
    b->n_threads = 1;
    b->device = true;
    b->exact = options && options->exact;
    b->dtype = options && options->dtype == DTYPE_BF16 ? DTYPE_BF16 : DTYPE_F32;
    b->together = TOGETHER_OPS;
    b->state = c;
    b->close = device_close;
    b->alloc = device_alloc;
    b->free = device_free;
    b->read = device_read;
    b->write = device_write;
    b->copy = device_copy;
    b->stage = device_stage;
    b->unstage = device_unstage;
    b->send = device_send;
    b->fetch = device_fetch;
    b->fetched = device_fetched;
    b->memory = device_memory;
    b->sync = device_sync;
    b->workspace_bytes = device_workspace;
    rows_ops(b);
    norm_ops(b);
    matmul_ops(b);
    kv_ops(b);
    pattern_ops(b);
    attention_ops(b);
    map_ops(b);
    measure_ops(b);
    brief_ops(b);
    top_ops(b);
    if (open_device(c, options && options->plain, why))
        return b;
    release(c);
    return NULL;
}
