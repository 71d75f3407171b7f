/* kv.cu - what lies in pages: keys and values, [G, KV_PAGE, h] a page, bfloat16 where it computes
 * in that; and rows that are kept. */
#include "kernels/cuda/cuda.cuh"

#define THREADS 256

static unsigned blocks_of(size_t count)
{
    size_t blocks = (count + THREADS - 1) / THREADS;
    return blocks < (size_t)1 << 30 ? (unsigned)blocks : 1u << 30;
}

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

template <typename T>
__global__ void store_kernel(struct kv_pages kv, size_t offset, int pos0, const float *rows,
                             size_t count)
{
    int h = kv.d_head, width = kv.n_kv_heads * h;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < count;
         i += (size_t)gridDim.x * blockDim.x) {
        int pos = pos0 + (int)(i / width), e = (int)(i % width);
        T *to = (T *)paged<T>(kv, offset, e / h, pos);
        to[e % h] = narrow<T>(rows[i]);
    }
}

static void store(struct cuda *c, const struct kv_pages *kv, size_t offset, int pos0, int n,
                  const float *rows)
{
    size_t count = (size_t)n * (size_t)kv->n_kv_heads * (size_t)kv->d_head;
    if (!rows || c->failed || count == 0)
        return;
    if (c->b.dtype == DTYPE_BF16)
        store_kernel<bf16>
            <<<blocks_of(count), THREADS, 0, c->stream>>>(*kv, offset, pos0, rows, count);
    else
        store_kernel<float>
            <<<blocks_of(count), THREADS, 0, c->stream>>>(*kv, offset, pos0, rows, count);
    launched(c, "storing keys and values");
}

static void kv_store(struct backend *b, const struct kv_view *kv, int pos0, int n,
                     const float *keys, const float *values)
{
    struct cuda *c = cuda_of(b);
    struct kv_pages pages;
    if (!ready(c) || n <= 0 || !kv_on_device(c, kv, pos0 + n, &pages))
        return;
    store(c, &pages, kv->key_offset, pos0, n, keys);
    store(c, &pages, kv->value_offset, pos0, n, values);
}

template <bool SAVE>
__global__ void rows_kernel(void *const *pages, size_t offset, int d, int pos0, float *rows,
                            size_t count)
{
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < count;
         i += (size_t)gridDim.x * blockDim.x) {
        int pos = pos0 + (int)(i / d);
        float *page = (float *)((char *)pages[pos / KV_PAGE] + offset);
        float *at = page + (size_t)(pos % KV_PAGE) * d + i % d;
        if (SAVE)
            *at = rows[i];
        else
            rows[i] = *at;
    }
}

static void rows_save(struct backend *b, void *const *pages, size_t offset, int d, int pos0, int n,
                      const float *rows)
{
    struct cuda *c = cuda_of(b);
    if (n == 1 && join_save(c, (char *)pages[pos0 / KV_PAGE] + offset, d, pos0 % KV_PAGE, rows))
        return;
    size_t count = (size_t)n * (size_t)d;
    void *const *list =
        !ready(c) || count == 0 ? NULL : pages_on_device(c, pages, (pos0 + n - 1) / KV_PAGE + 1);
    if (!list)
        return;
    rows_kernel<true>
        <<<blocks_of(count), THREADS, 0, c->stream>>>(list, offset, d, pos0, (float *)rows, count);
    launched(c, "keeping rows");
}

static void rows_load(struct backend *b, void *const *pages, size_t offset, int d, int pos0, int n,
                      float *rows)
{
    struct cuda *c = cuda_of(b);
    size_t count = (size_t)n * (size_t)d;
    void *const *list =
        !ready(c) || count == 0 ? NULL : pages_on_device(c, pages, (pos0 + n - 1) / KV_PAGE + 1);
    if (!list)
        return;
    rows_kernel<false>
        <<<blocks_of(count), THREADS, 0, c->stream>>>(list, offset, d, pos0, rows, count);
    launched(c, "loading kept rows");
}

void kv_ops(struct backend *b)
{
    b->kv_bytes = kv_bytes;
    b->kv_store = kv_store;
    b->rows_save = rows_save;
    b->rows_load = rows_load;
}
