/* flash.cu - many queries, in float32: tiles of queries go through tiles of keys, keeping each
 * query's maximum, sum and mix so far. Any head size up to 256. */
#include "kernels/cuda/cuda.cuh"

#define THREADS 256
#define ROWS    32 /* queries of a tile: eight threads take one */
#define KEYS    32

/* Keys (or values) s0 .. s0 + KEYS - 1, 0 behind the last. Rows are h + 1 floats apart, so that
 * neighbouring keys lie in different banks. */
template <typename T>
__device__ static void load_tile(const struct flash &f, size_t offset, int g, int s0, float *tile)
{
    int h = f.kv.d_head, keys = f.pos0 + f.n;
    for (int i = threadIdx.x; i < KEYS * h; i += THREADS) {
        int s = i / h, e = i % h;
        tile[s * (h + 1) + e] = s0 + s < keys ? widen(paged<T>(f.kv, offset, g, s0 + s)[e]) : 0.0f;
    }
}

/* Over the eight lanes of a query. */
__device__ static float lanes_max(float x)
{
    for (int k = 4; k > 0; k /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, k));
    return x;
}

__device__ static float lanes_sum(float x)
{
    for (int k = 4; k > 0; k /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, k);
    return x;
}

/* COLUMNS: of a head, that one thread mixes. */
template <typename T, int COLUMNS>
__global__ void __launch_bounds__(THREADS) flash_kernel(struct flash f)
{
    extern __shared__ float shared[]; /* queries [ROWS][h], keys or values [KEYS][h + 1] */
    __shared__ float p[ROWS][KEYS + 1];
    int h = f.a.d_head, head = (int)blockIdx.y, g = head / (f.a.n_heads / f.a.n_kv_heads);
    int row0 = (int)(gridDim.x - 1 - blockIdx.x) * ROWS; /* the longest first */
    int r = (int)threadIdx.x / 8, lane = (int)threadIdx.x % 8, t = f.pos0 + row0 + r;
    float *queries = shared, *tile = shared + ROWS * h;
    for (int i = threadIdx.x; i < ROWS * h; i += THREADS) {
        int row = row0 + i / h;
        queries[i] =
            row < f.n ? rounded<T>(f.q[((size_t)row * f.a.n_heads + head) * h + i % h]) : 0.0f;
    }
    int first = first_visible(f.a.window, t),
        start = first_visible(f.a.window, f.pos0 + row0) / KEYS * KEYS;
    int last = row0 + ROWS < f.n ? f.pos0 + row0 + ROWS - 1 : f.pos0 + f.n - 1;
    float most = -INFINITY, sum = 0, mixed[COLUMNS] = {};
    for (int s0 = start; s0 <= last; s0 += KEYS) {
        __syncthreads();
        load_tile<T>(f, f.kv.key_offset, g, s0, tile);
        __syncthreads();
        float score[KEYS / 8] = {};
        for (int i = 0; i < h; i++)
#pragma unroll
            for (int j = 0; j < KEYS / 8; j++)
                score[j] = fmaf(queries[r * h + i], tile[(lane + 8 * j) * (h + 1) + i], score[j]);
        float now = most;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++) {
            int s = s0 + lane + 8 * j;
            score[j] = s >= first && s <= t ? f.a.scale * score[j] : -INFINITY;
            now = fmaxf(now, score[j]);
        }
        now = lanes_max(now);
        float base = now == -INFINITY ? 0.0f : now, shrink = expf(most - base), added = 0;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++) {
            score[j] = expf(score[j] - base);
            added += score[j];
            p[r][lane + 8 * j] = score[j];
        }
        sum = fmaf(sum, shrink, lanes_sum(added));
        most = now;
        __syncthreads();
        load_tile<T>(f, f.kv.value_offset, g, s0, tile);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < COLUMNS; k++)
            mixed[k] *= shrink;
        int count = t - s0 + 1 < KEYS ? t - s0 + 1 : KEYS; /* behind it p is 0, values may be NaN */
        for (int s = first > s0 ? first - s0 : 0; s < count; s++) {
            float weight = p[r][s];
#pragma unroll
            for (int k = 0; k < COLUMNS; k++) {
                int i = lane + 8 * k;
                mixed[k] = fmaf(weight, i < h ? tile[s * (h + 1) + i] : 0.0f, mixed[k]);
            }
        }
    }
    if (row0 + r >= f.n)
        return;
    if (f.sums && lane == 0)
        f.sums[(size_t)(row0 + r) * f.a.n_heads + head] = most + logf(sum);
    float *z = f.z + ((size_t)(row0 + r) * f.a.n_heads + head) * h;
#pragma unroll
    for (int k = 0; k < COLUMNS; k++)
        if (lane + 8 * k < h)
            z[lane + 8 * k] = mixed[k] / sum;
}

template <typename T, int COLUMNS> static void run(struct cuda *c, const struct flash *f)
{
    size_t h = (size_t)f->a.d_head, bytes = (ROWS * h + KEYS * (h + 1)) * sizeof(float);
    if (!cuda_ok(c,
                 cudaFuncSetAttribute(flash_kernel<T, COLUMNS>,
                                      cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
                 "attention"))
        return;
    dim3 grid((unsigned)((f->n + ROWS - 1) / ROWS), (unsigned)f->a.n_heads);
    flash_kernel<T, COLUMNS><<<grid, THREADS, bytes, c->stream>>>(*f);
    launched(c, "attention");
}

template <typename T> static void run_head(struct cuda *c, const struct flash *f)
{
    if (f->a.d_head <= 64)
        run<T, 8>(c, f);
    else if (f->a.d_head <= 128)
        run<T, 16>(c, f);
    else
        run<T, 32>(c, f);
}

void attend_tiles(struct cuda *c, const struct flash *f)
{
    if (c->b.dtype == DTYPE_BF16)
        run_head<bf16>(c, f);
    else
        run_head<float>(c, f);
}
