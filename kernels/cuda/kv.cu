/* kv.cu - what lies in pages: keys and values, [G, KV_PAGE, h] a page, bfloat16 where it computes
 * in that; and rows that are kept. */
#include "kernels/cuda/cuda.cuh"

#define THREADS 256

static size_t kv_bytes(struct backend *b, int n_kv_heads, int d_head)
{
    size_t each = b->dtype == DTYPE_BF16 ? 2 : 4;
    size_t bytes = (size_t)n_kv_heads * (size_t)d_head * KV_PAGE * each;
    return (bytes + 63) / 64 * 64; /* each part begins where 16 bytes can be loaded */
}

bool kv_on_device(struct cuda *c, const struct kv_view *kv, int n_keys, struct kv_pages *out)
{
    out->pages = pages_on_device(c, kv->pages, (n_keys + KV_PAGE - 1) / KV_PAGE);
    out->key_offset = kv->key_offset;
    out->value_offset = kv->value_offset;
    out->n_kv_heads = kv->n_kv_heads;
    out->d_head = kv->d_head;
    return out->pages != NULL;
}

/* A block a position. */
template <typename T>
__global__ void store_kernel(struct kv_pages kv, size_t offset, int pos0, const float *rows)
{
    int h = kv.d_head, width = kv.n_kv_heads * h, pos = pos0 + (int)blockIdx.x;
    T *to = (T *)paged<T>(kv, offset, 0, pos); /* the next head's are KV_PAGE rows on */
    rows += (size_t)blockIdx.x * width;
    for (int e = threadIdx.x; e < width; e += blockDim.x)
        to[e / h * KV_PAGE * h + e % h] = narrow<T>(rows[e]);
}

static void store(struct cuda *c, const struct kv_pages *kv, size_t offset, int pos0, int n,
                  const float *rows)
{
    if (!rows || c->failed || n <= 0)
        return;
    if (c->b.dtype == DTYPE_BF16)
        store_kernel<bf16><<<n, THREADS, 0, c->stream>>>(*kv, offset, pos0, rows);
    else
        store_kernel<float><<<n, THREADS, 0, c->stream>>>(*kv, offset, pos0, rows);
    launched(c, "storing keys and values");
}

void kv_store_launch(struct cuda *c, const struct kv_pages *kv, int pos0, int n, const float *keys,
                     const float *values)
{
    store(c, kv, kv->key_offset, pos0, n, keys);
    store(c, kv, kv->value_offset, pos0, n, values);
}

static void kv_store(struct backend *b, const struct kv_view *kv, int pos0, int n,
                     const float *keys, const float *values)
{
    struct cuda *c = cuda_of(b);
    struct kv_pages pages;
    if ((n == 1 && join_store(c, kv, pos0, keys, values)) || !ready(c) || n <= 0 ||
        !kv_on_device(c, kv, pos0 + n, &pages))
        return;
    kv_store_launch(c, &pages, pos0, n, keys, values);
}

/* N elements of a row, 16 bytes at a time; both ends are so aligned. */
template <int N, typename TO, typename FROM> __device__ static void carry(TO *to, const FROM *from)
{
    constexpr int IN = 16 / (int)sizeof(FROM), OUT = 16 / (int)sizeof(TO);
    pack<FROM, IN> in[N / IN];
    pack<TO, OUT> out[N / OUT];
#pragma unroll
    for (int i = 0; i < N / IN; i++)
        in[i] = ((const pack<FROM, IN> *)from)[i];
#pragma unroll
    for (int i = 0; i < N; i++)
        out[i / OUT].at[i % OUT] = narrow<TO>(widen(in[i / IN].at[i % IN]));
#pragma unroll
    for (int i = 0; i < N / OUT; i++)
        ((pack<TO, OUT> *)to)[i] = out[i];
}

/* A block a row, which is kept as T. */
template <typename T, bool SAVE>
__global__ void rows_kernel(void *const *pages, size_t offset, int d, int pos0, float *rows)
{
    constexpr int EACH = 16 / (int)sizeof(T);
    int pos = pos0 + (int)blockIdx.x;
    T *kept = (T *)((char *)pages[pos / KV_PAGE] + offset) + (size_t)(pos % KV_PAGE) * d;
    rows += (size_t)blockIdx.x * d;
    bool packs = d % EACH == 0 && ((uintptr_t)kept | (uintptr_t)rows) % 16 == 0;
    for (int i = threadIdx.x * EACH; packs && i < d; i += blockDim.x * EACH) {
        if constexpr (SAVE)
            carry<EACH>(kept + i, rows + i);
        else
            carry<EACH>(rows + i, kept + i);
    }
    for (int i = threadIdx.x; !packs && i < d; i += blockDim.x) {
        if constexpr (SAVE)
            kept[i] = narrow<T>(rows[i]);
        else
            rows[i] = widen(kept[i]);
    }
}

template <bool SAVE>
static void move_rows(struct cuda *c, void *const *pages, size_t offset, enum dtype kept, int d,
                      int pos0, int n, float *rows, const char *what)
{
    void *const *list = !ready(c) || n <= 0 || d <= 0
                            ? NULL
                            : pages_on_device(c, pages, (pos0 + n - 1) / KV_PAGE + 1);
    if (!list)
        return;
    if (kept == DTYPE_BF16)
        rows_kernel<bf16, SAVE><<<n, THREADS, 0, c->stream>>>(list, offset, d, pos0, rows);
    else
        rows_kernel<float, SAVE><<<n, THREADS, 0, c->stream>>>(list, offset, d, pos0, rows);
    launched(c, what);
}

static void rows_save(struct backend *b, void *const *pages, size_t offset, enum dtype kept, int d,
                      int pos0, int n, const float *rows)
{
    struct cuda *c = cuda_of(b);
    void *page = n == 1 ? (char *)pages[pos0 / KV_PAGE] + offset : NULL;
    int at = pos0 % KV_PAGE;
    size_t each = kept == DTYPE_BF16 ? sizeof(bf16) : sizeof(float);
    if (page && ((kept == DTYPE_F32 && join_save(c, page, d, at, rows)) ||
                 queue_save(c, rows, d, (char *)page + (size_t)at * (size_t)d * each, kept)))
        return;
    move_rows<true>(c, pages, offset, kept, d, pos0, n, (float *)rows, "keeping rows");
}

static void rows_load(struct backend *b, void *const *pages, size_t offset, enum dtype kept, int d,
                      int pos0, int n, float *rows)
{
    move_rows<false>(cuda_of(b), pages, offset, kept, d, pos0, n, rows, "loading kept rows");
}

void kv_ops(struct backend *b)
{
    b->kv_bytes = kv_bytes;
    b->kv_store = kv_store;
    b->rows_save = rows_save;
    b->rows_load = rows_load;
}
