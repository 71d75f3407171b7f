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

/* Rows of keys or values. */
struct some_rows {
    const float *floats; /* NULL: none */
    const bf16 *rounded; /* instead, or NULL */
    size_t offset;       /* of where they go, in a page */
};

/* A block a position, of keys or of values. */
template <typename T, typename FROM, int EACH>
__device__ static void store_row(const struct kv_pages &kv, size_t offset, int pos, const FROM *row)
{
    int h = kv.d_head, width = kv.n_kv_heads * h;
    T *to = (T *)paged<T>(kv, offset, 0, pos); /* the next head's are KV_PAGE rows on */
    bool packs = h % EACH == 0 && ((uintptr_t)to | (uintptr_t)row) % 16 == 0;
    for (int e = threadIdx.x * EACH; packs && e < width; e += blockDim.x * EACH)
        carry<EACH>(to + e / h * KV_PAGE * h + e % h, row + e);
    for (int e = threadIdx.x; !packs && e < width; e += blockDim.x)
        to[e / h * KV_PAGE * h + e % h] = narrow<T>(widen(row[e]));
}

template <typename T>
__global__ void store_kernel(struct kv_pages kv, int pos0, struct some_rows keys,
                             struct some_rows values)
{
    const struct some_rows *r = blockIdx.y ? &values : &keys;
    size_t at = (size_t)blockIdx.x * kv.n_kv_heads * kv.d_head;
    int pos = pos0 + (int)blockIdx.x;
    if (r->rounded)
        store_row<T, bf16, 8>(kv, r->offset, pos, r->rounded + at);
    else if (r->floats)
        store_row<T, float, 16 / (int)sizeof(T)>(kv, r->offset, pos, r->floats + at);
}

static void store(struct cuda *c, const struct kv_pages *kv, int pos0, int n,
                  const struct some_rows *keys, const struct some_rows *values)
{
    dim3 grid((unsigned)n, 2);
    if (c->b.dtype == DTYPE_BF16)
        store_kernel<bf16><<<grid, THREADS, 0, c->stream>>>(*kv, pos0, *keys, *values);
    else
        store_kernel<float><<<grid, THREADS, 0, c->stream>>>(*kv, pos0, *keys, *values);
    launched(c, "storing keys and values");
}

void kv_store_launch(struct cuda *c, const struct kv_pages *kv, int pos, const float *keys,
                     const float *values)
{
    const struct some_rows k = {keys, NULL, kv->key_offset}, v = {values, NULL, kv->value_offset};
    store(c, kv, pos, 1, &k, &v);
}

static void kv_store(struct backend *b, const struct kv_view *kv, int pos0, int n,
                     const float *keys, const float *values)
{
    struct cuda *c = cuda_of(b);
    struct kv_pages pages;
    if ((n == 1 && join_store(c, kv, pos0, keys, values)) || !ready(c) || n <= 0 ||
        !kv_on_device(c, kv, pos0 + n, &pages))
        return;
    const struct some_rows k = {keys, brief_of(c, keys), kv->key_offset};
    const struct some_rows v = {values, brief_of(c, values), kv->value_offset};
    store(c, &pages, pos0, n, &k, &v);
}

/* A block a row: as T it is kept, as ROW it is in the frame. */
template <typename T, typename ROW, bool SAVE>
__global__ void rows_kernel(void *const *pages, size_t offset, int d, int pos0, ROW *rows)
{
    constexpr int EACH = 16 / (int)(sizeof(T) < sizeof(ROW) ? sizeof(T) : sizeof(ROW));
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
            kept[i] = narrow<T>(widen(rows[i]));
        else
            rows[i] = narrow<ROW>(widen(kept[i]));
    }
}

/* The rows that begin at pos0, in pages; NULL where there is nothing to do. */
static void *const *pages_of(struct cuda *c, void *const *pages, int d, int pos0, int n)
{
    return !ready(c) || n <= 0 || d <= 0 ? NULL
                                         : pages_on_device(c, pages, (pos0 + n - 1) / KV_PAGE + 1);
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
    if (kept == DTYPE_F32 && join_save_rows(c, pages, offset, d, pos0, n, rows))
        return;
    void *const *list = pages_of(c, pages, d, pos0, n);
    if (!list)
        return;
    const bf16 *low = kept == DTYPE_BF16 ? brief_of(c, rows) : NULL;
    if (low)
        rows_kernel<bf16, const bf16, true>
            <<<n, THREADS, 0, c->stream>>>(list, offset, d, pos0, low);
    else if (kept == DTYPE_BF16)
        rows_kernel<bf16, const float, true>
            <<<n, THREADS, 0, c->stream>>>(list, offset, d, pos0, rows);
    else
        rows_kernel<float, const float, true>
            <<<n, THREADS, 0, c->stream>>>(list, offset, d, pos0, floats_of(c, rows));
    launched(c, "keeping rows");
}

static void rows_load(struct backend *b, void *const *pages, size_t offset, enum dtype kept, int d,
                      int pos0, int n, float *rows)
{
    struct cuda *c = cuda_of(b);
    void *const *list = pages_of(c, pages, d, pos0, n);
    if (!list)
        return;
    bf16 *low = kept == DTYPE_BF16 ? brief_keep(c, rows) : NULL;
    if (low)
        rows_kernel<bf16, bf16, false><<<n, THREADS, 0, c->stream>>>(list, offset, d, pos0, low);
    else if (kept == DTYPE_BF16)
        rows_kernel<bf16, float, false><<<n, THREADS, 0, c->stream>>>(list, offset, d, pos0, rows);
    else
        rows_kernel<float, float, false><<<n, THREADS, 0, c->stream>>>(list, offset, d, pos0, rows);
    launched(c, "loading kept rows");
}

void kv_ops(struct backend *b)
{
    b->kv_bytes = kv_bytes;
    b->kv_store = kv_store;
    b->rows_save = rows_save;
    b->rows_load = rows_load;
}
