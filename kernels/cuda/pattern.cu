/* pattern.cu - attention step by step, as it is looked at: scores, softmax, mix. And the softmax of
 * plain rows. */
#include "kernels/cuda/cuda.cuh"

#define KEYS    64 /* of a block of scores */
#define THREADS 256

/* ---- scores ---------------------------------------------------------------------------------- */

/* A block: one query, one head, KEYS keys; a warp takes a key at a time. */
template <typename T>
__global__ void scores_kernel(struct attention a, struct kv_pages kv, const float *q, int pos0,
                              int n, int head0, float *out)
{
    int row = (int)blockIdx.x, head = (int)blockIdx.z, t = pos0 + row, h = a.d_head;
    int g = (head0 + head) / (a.n_heads / a.n_kv_heads), keys = pos0 + n;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, first = first_visible(a.window, t);
    q += ((size_t)row * a.n_heads + head0 + head) * h;
    out += ((size_t)head * n + row) * keys;
    int from = (int)blockIdx.y * KEYS, to = from + KEYS < keys ? from + KEYS : keys;
    for (int s = from + warp; s < to; s += THREADS / 32) {
        if (s < first || s > t) {
            if (lane == 0)
                out[s] = -INFINITY;
            continue;
        }
        const T *key = paged<T>(kv, kv.key_offset, g, s);
        float sum = 0;
        for (int i = lane; i < h; i += 32)
            sum = fmaf(rounded<T>(q[i]), widen(key[i]), sum);
        sum = warp_sum(sum);
        if (lane == 0)
            out[s] = a.scale * sum;
    }
}

static void scores(struct backend *b, const struct attention *a, const struct kv_view *kv,
                   const float *q, int pos0, int n, int head0, int heads, float *out)
{
    struct cuda *c = cuda_of(b);
    struct kv_pages pages;
    if (!ready(c) || n <= 0 || heads <= 0 || !kv_on_device(c, kv, pos0 + n, &pages))
        return;
    dim3 grid((unsigned)n, (unsigned)((pos0 + n + KEYS - 1) / KEYS), (unsigned)heads);
    if (b->dtype == DTYPE_BF16)
        scores_kernel<bf16><<<grid, THREADS, 0, c->stream>>>(*a, pages, q, pos0, n, head0, out);
    else
        scores_kernel<float><<<grid, THREADS, 0, c->stream>>>(*a, pages, q, pos0, n, head0, out);
    launched(c, "scores");
}

/* ---- softmax --------------------------------------------------------------------------------- */

/* Of x[first .. last], zeros in the rest of d. */
__device__ static void softmax_row(const float *x, float *out, int first, int last, int d,
                                   float *log_sum)
{
    float most = -INFINITY;
    double sum = 0;
    for (int i = first + (int)threadIdx.x; i <= last; i += blockDim.x)
        most = fmaxf(most, x[i]);
    most = block_max(most);
    for (int i = first + (int)threadIdx.x; i <= last; i += blockDim.x)
        sum += (double)expf(x[i] - most);
    float total = (float)block_sum(sum);
    if (log_sum && threadIdx.x == 0)
        *log_sum = most + logf(total);
    for (int i = threadIdx.x; i < d; i += blockDim.x)
        out[i] = i < first || i > last ? 0.0f : expf(x[i] - most) / total;
}

__global__ void softmax_kernel(int window, const float *x, int pos0, int n, int heads, float *out,
                               float *sums)
{
    int row = (int)(blockIdx.x % (unsigned)n), head = (int)(blockIdx.x / (unsigned)n);
    int keys = pos0 + n, t = pos0 + row;
    softmax_row(x + (size_t)blockIdx.x * keys, out + (size_t)blockIdx.x * keys,
                first_visible(window, t), t, keys, sums ? sums + (size_t)row * heads + head : NULL);
}

__global__ void probabilities_kernel(const float *x, float *out, int d)
{
    softmax_row(x + (size_t)blockIdx.x * d, out + (size_t)blockIdx.x * d, 0, d - 1, d, NULL);
}

static void softmax(struct backend *b, const struct attention *a, const float *x, int pos0, int n,
                    int heads, float *out, float *sums)
{
    struct cuda *c = cuda_of(b);
    if (!ready(c) || n <= 0 || heads <= 0)
        return;
    softmax_kernel<<<(unsigned)n *(unsigned)heads, THREADS, 0, c->stream>>>(a->window, x, pos0, n,
                                                                            heads, out, sums);
    launched(c, "softmax");
}

static void probabilities(struct backend *b, const float *x, float *out, int n, int d)
{
    struct cuda *c = cuda_of(b);
    if (!ready(c) || n <= 0)
        return;
    probabilities_kernel<<<n, THREADS, 0, c->stream>>>(x, out, d);
    launched(c, "probabilities");
}

/* ---- mix ------------------------------------------------------------------------------------- */

/* A block: one query, one head. Columns stand side by side, and where a head is narrow several
 * groups of threads share the keys. */
template <typename T>
__global__ void mix_kernel(struct attention a, struct kv_pages kv, const float *pattern, int pos0,
                           int n, int head0, float *z, size_t z_stride)
{
    __shared__ float part[THREADS];
    int row = (int)blockIdx.x, head = (int)blockIdx.y, t = pos0 + row, h = a.d_head;
    int g = (head0 + head) / (a.n_heads / a.n_kv_heads), first = first_visible(a.window, t);
    int columns = h < THREADS ? h : THREADS, groups = THREADS / columns;
    int group = (int)threadIdx.x / columns, column = (int)threadIdx.x % columns;
    pattern += ((size_t)head * n + row) * (pos0 + n);
    z += (size_t)row * z_stride + (size_t)head * h;
    for (int i = column; i - column < h; i += columns) {
        float sum = 0;
        for (int s = first + group; group < groups && i < h && s <= t; s += groups)
            sum = fmaf(pattern[s], widen(paged<T>(kv, kv.value_offset, g, s)[i]), sum);
        __syncthreads();
        part[threadIdx.x] = sum;
        __syncthreads();
        if (group == 0 && i < h) {
            for (int k = 1; k < groups; k++)
                sum += part[k * columns + column];
            z[i] = sum;
        }
    }
}

static void mix(struct backend *b, const struct attention *a, const struct kv_view *kv,
                const float *pattern, int pos0, int n, int head0, int heads, float *z,
                size_t z_stride)
{
    struct cuda *c = cuda_of(b);
    struct kv_pages pages;
    if (!ready(c) || n <= 0 || heads <= 0 || !kv_on_device(c, kv, pos0 + n, &pages))
        return;
    dim3 grid((unsigned)n, (unsigned)heads);
    if (b->dtype == DTYPE_BF16)
        mix_kernel<bf16>
            <<<grid, THREADS, 0, c->stream>>>(*a, pages, pattern, pos0, n, head0, z, z_stride);
    else
        mix_kernel<float>
            <<<grid, THREADS, 0, c->stream>>>(*a, pages, pattern, pos0, n, head0, z, z_stride);
    launched(c, "mix");
}

void pattern_ops(struct backend *b)
{
    b->scores = scores;
    b->softmax = softmax;
    b->mix = mix;
    b->probabilities = probabilities;
}
