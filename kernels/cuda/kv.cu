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

/* A block a row. */
template <bool SAVE>
__global__ void rows_kernel(void *const *pages, size_t offset, int d, int pos0, float *rows)
{
    int pos = pos0 + (int)blockIdx.x;
    float *page = (float *)((char *)pages[pos / KV_PAGE] + offset);
    float *kept = page + (size_t)(pos % KV_PAGE) * d;
    rows += (size_t)blockIdx.x * d;
    const float *from = SAVE ? rows : kept;
    float *to = SAVE ? kept : rows;
    bool fours = d % 4 == 0 && ((uintptr_t)from | (uintptr_t)to) % 16 == 0;
    for (int i = threadIdx.x; fours && i < d / 4; i += blockDim.x)
        ((float4 *)to)[i] = ((const float4 *)from)[i];
    for (int i = threadIdx.x; !fours && i < d; i += blockDim.x)
        to[i] = from[i];
}

static void rows_save(struct backend *b, void *const *pages, size_t offset, int d, int pos0, int n,
                      const float *rows)
{
    struct cuda *c = cuda_of(b);
    if (n == 1 && join_save(c, (char *)pages[pos0 / KV_PAGE] + offset, d, pos0 % KV_PAGE, rows))
        return;
    void *const *list = !ready(c) || n <= 0 || d <= 0
                            ? NULL
                            : pages_on_device(c, pages, (pos0 + n - 1) / KV_PAGE + 1);
    if (!list)
        return;
    rows_kernel<true><<<n, THREADS, 0, c->stream>>>(list, offset, d, pos0, (float *)rows);
    launched(c, "keeping rows");
}

static void rows_load(struct backend *b, void *const *pages, size_t offset, int d, int pos0, int n,
                      float *rows)
{
    struct cuda *c = cuda_of(b);
    void *const *list = !ready(c) || n <= 0 || d <= 0
                            ? NULL
                            : pages_on_device(c, pages, (pos0 + n - 1) / KV_PAGE + 1);
    if (!list)
        return;
    rows_kernel<false><<<n, THREADS, 0, c->stream>>>(list, offset, d, pos0, rows);
    launched(c, "loading kept rows");
}

void kv_ops(struct backend *b)
{
    b->kv_bytes = kv_bytes;
    b->kv_store = kv_store;
    b->rows_save = rows_save;
    b->rows_load = rows_load;
}
