/* decode.cu - a few queries over many keys: bounded by reading the keys and values once.
 *
 * The keys of a query are split between blocks, so that one query fills the GPU. A block takes one
 * query position, one key/value head and up to HEADS of the query heads that share it, and goes
 * through its keys a tile at a time, keeping each head's maximum, sum and mix so far. What the
 * blocks found is put together by a second kernel. */
#include "kernels/cuda/cuda.cuh"

#include <stdio.h>

#define THREADS  256
#define TILE     64   /* keys: four threads take one */
#define PARTIALS 4096 /* (query, head, split) that the workspace holds */
#define WIDEST   256  /* head size up to which a query is split */

size_t attention_workspace(struct cuda *c, int n)
{
    (void)c;
    return n <= FEW_ROWS ? (size_t)PARTIALS * (WIDEST + 2) * sizeof(float) : 0;
}

struct decode {
    struct attention a;
    struct kv_pages kv;
    const float *q;
    float *z, *sums;
    float *partial; /* [n, H, splits, h + 2]: mix, maximum, sum; splits 1: unused */
    int pos0, splits;
};

template <typename T, int N> __device__ inline pack<T, N> load(const T *p)
{
    return *(const pack<T, N> *)p;
}

/* The keys that a block goes through. */
__device__ static void range_of(const struct decode &d, int t, int *from, int *to)
{
    int first = first_visible(d.a.window, t), count = t + 1 - first;
    int each = ((count + d.splits - 1) / d.splits + TILE - 1) / TILE * TILE;
    *from = first + (int)blockIdx.x * each;
    *to = *from + each < t + 1 ? *from + each : t + 1;
}

template <typename T, int VEC, int HEADS>
__global__ void __launch_bounds__(THREADS) decode_kernel(struct decode d)
{
    extern __shared__ float shared[]; /* q: [HEADS][h], then the groups' mixes: [groups][h] */
    __shared__ float p[HEADS][TILE], most[HEADS], sum[HEADS], shrink[HEADS];
    int h = d.a.d_head, share = d.a.n_heads / d.a.n_kv_heads, passes = (share + HEADS - 1) / HEADS;
    int g = (int)blockIdx.y / passes, head = g * share + (int)blockIdx.y % passes * HEADS;
    int heads = (g + 1) * share - head < HEADS ? (g + 1) * share - head : HEADS;
    int row = (int)blockIdx.z, t = d.pos0 + row, from, to;
    int tid = threadIdx.x, warp = tid / 32, lane = tid % 32;
    float *queries = shared, *mixes = shared + HEADS * h;
    const float *q = d.q + ((size_t)row * d.a.n_heads + head) * h;
    for (int i = tid; i < HEADS * h; i += THREADS)
        queries[i] = i < heads * h ? rounded<T>(q[i]) : 0.0f;
    if (tid < HEADS) {
        most[tid] = -INFINITY;
        sum[tid] = 0;
    }
    range_of(d, t, &from, &to);
    int chunks = h / VEC, groups = THREADS / chunks, group = tid / chunks, chunk = tid % chunks;
    float mixed[HEADS][VEC] = {};
    __syncthreads();
    for (int s0 = from; s0 < to; s0 += TILE) {
        int count = to - s0 < TILE ? to - s0 : TILE, key = tid / 4;
        float score[HEADS] = {};
        if (key < count) {
            const T *k = paged<T>(d.kv, d.kv.key_offset, g, s0 + key);
            for (int at = tid % 4 * VEC; at < h; at += 4 * VEC) {
                pack<T, VEC> part = load<T, VEC>(k + at);
#pragma unroll
                for (int i = 0; i < VEC; i++)
#pragma unroll
                    for (int r = 0; r < HEADS; r++)
                        score[r] = fmaf(queries[r * h + at + i], widen(part.at[i]), score[r]);
            }
        }
#pragma unroll
        for (int r = 0; r < HEADS; r++) {
            score[r] += __shfl_xor_sync(0xffffffffu, score[r], 1);
            score[r] += __shfl_xor_sync(0xffffffffu, score[r], 2);
            if (tid % 4 == 0)
                p[r][key] = key < count ? d.a.scale * score[r] : -INFINITY;
        }
        __syncthreads();
        if (warp < HEADS) {
            float x = p[warp][lane], y = p[warp][lane + 32];
            float before = most[warp], now = fmaxf(before, warp_max(fmaxf(x, y)));
            /* No finite score yet: exp(-inf - 0) is 0, where -inf - -inf would be no number. */
            float base = now == -INFINITY ? 0.0f : now;
            x = expf(x - base);
            y = expf(y - base);
            float added = warp_sum(x + y), less = expf(before - base);
            p[warp][lane] = x;
            p[warp][lane + 32] = y;
            __syncwarp();
            if (lane == 0) {
                most[warp] = now;
                shrink[warp] = less;
                sum[warp] = fmaf(sum[warp], less, added);
            }
        }
        __syncthreads();
        if (group < groups) {
#pragma unroll
            for (int r = 0; r < HEADS; r++)
#pragma unroll
                for (int i = 0; i < VEC; i++)
                    mixed[r][i] *= shrink[r];
#pragma unroll 4
            for (int s = group; s < count; s += groups) {
                pack<T, VEC> part =
                    load<T, VEC>(paged<T>(d.kv, d.kv.value_offset, g, s0 + s) + chunk * VEC);
#pragma unroll
                for (int r = 0; r < HEADS; r++)
#pragma unroll
                    for (int i = 0; i < VEC; i++)
                        mixed[r][i] = fmaf(p[r][s], widen(part.at[i]), mixed[r][i]);
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < HEADS; r++) {
        if (group < groups)
#pragma unroll
            for (int i = 0; i < VEC; i++)
                mixes[group * h + chunk * VEC + i] = mixed[r][i];
        __syncthreads();
        size_t place = (size_t)row * d.a.n_heads + head + r;
        float *partial = d.partial + (place * d.splits + blockIdx.x) * (h + 2);
        for (int i = tid; r < heads && i < h; i += THREADS) {
            float total = 0;
            for (int k = 0; k < groups; k++)
                total += mixes[k * h + i];
            if (d.splits == 1)
                d.z[place * h + i] = total / sum[r];
            else
                partial[i] = total;
        }
        if (r < heads && d.splits > 1 && tid == 0) {
            partial[h] = most[r];
            partial[h + 1] = sum[r];
        } else if (r < heads && d.sums && tid == 0) {
            d.sums[place] = most[r] + logf(sum[r]);
        }
        __syncthreads();
    }
}

__global__ void combine_kernel(struct decode d)
{
    int h = d.a.d_head;
    size_t place = (size_t)blockIdx.y * d.a.n_heads + blockIdx.x;
    const float *partial = d.partial + place * d.splits * (h + 2);
    float most = -INFINITY, sum = 0;
    for (int s = 0; s < d.splits; s++)
        most = fmaxf(most, partial[s * (h + 2) + h]);
    float base = most == -INFINITY ? 0.0f : most;
    for (int s = 0; s < d.splits; s++)
        sum = fmaf(partial[s * (h + 2) + h + 1], expf(partial[s * (h + 2) + h] - base), sum);
    if (d.sums && threadIdx.x == 0)
        d.sums[place] = most + logf(sum);
    for (int i = threadIdx.x; i < h; i += blockDim.x) {
        float total = 0;
        for (int s = 0; s < d.splits; s++)
            total = fmaf(partial[s * (h + 2) + i], expf(partial[s * (h + 2) + h] - base), total);
        d.z[place * h + i] = total / sum;
    }
}

template <typename T, int VEC, int HEADS>
static void run_heads(struct cuda *c, const struct decode *d, int n)
{
    int share = d->a.n_heads / d->a.n_kv_heads, passes = (share + HEADS - 1) / HEADS;
    int h = d->a.d_head, groups = THREADS / (h / VEC);
    size_t bytes = (size_t)(HEADS + groups) * (size_t)h * sizeof(float);
    dim3 grid((unsigned)d->splits, (unsigned)(d->a.n_kv_heads * passes), (unsigned)n);
    if (!cuda_ok(c,
                 cudaFuncSetAttribute(decode_kernel<T, VEC, HEADS>,
                                      cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
                 "attention"))
        return;
    decode_kernel<T, VEC, HEADS><<<grid, THREADS, bytes, c->stream>>>(*d);
    if (!launched(c, "attention") || d->splits == 1)
        return;
    combine_kernel<<<dim3((unsigned)d->a.n_heads, (unsigned)n), 128, 0, c->stream>>>(*d);
    launched(c, "attention");
}

template <typename T, int VEC> static void run(struct cuda *c, struct decode *d, int n)
{
    int share = d->a.n_heads / d->a.n_kv_heads;
    if (share == 1)
        run_heads<T, VEC, 1>(c, d, n);
    else if (share == 2)
        run_heads<T, VEC, 2>(c, d, n);
    else if (share <= 4)
        run_heads<T, VEC, 4>(c, d, n);
    else
        run_heads<T, VEC, 8>(c, d, n);
}

/* So many blocks that each multiprocessor has several, and each block some tiles. */
static int splits_of(const struct cuda *c, const struct attention *a, int pos0, int n)
{
    int keys = a->window > 0 && a->window < pos0 + n ? a->window : pos0 + n;
    int splits = (6 * c->n_sm + a->n_kv_heads * n - 1) / (a->n_kv_heads * n);
    int most = (keys + 2 * TILE - 1) / (2 * TILE);
    if (splits > most)
        splits = most;
    if (splits > PARTIALS / (n * a->n_heads))
        splits = PARTIALS / (n * a->n_heads);
    return splits < 1 || a->d_head > WIDEST || n > FEW_ROWS ? 1 : splits;
}

void attend_few(struct cuda *c, const struct attention *a, const struct kv_pages *kv,
                const float *q, int pos0, int n, float *z, float *sums, struct workspace work)
{
    struct decode d = {*a, *kv, q, z, sums, (float *)work.data, pos0, splits_of(c, a, pos0, n)};
    bool bfloat = c->b.dtype == DTYPE_BF16;
    int vec = bfloat ? 8 : 4;
    bool wide = a->d_head % vec == 0 && kv->key_offset % 16 == 0 && kv->value_offset % 16 == 0;
    if ((wide ? a->d_head / vec : a->d_head) > THREADS) {
        c->failed = true;
        snprintf(c->why, sizeof c->why, "cuda: heads of %d floats are wider than its kernels take",
                 a->d_head);
        return;
    }
    if (bfloat && wide)
        run<bf16, 8>(c, &d, n);
    else if (bfloat)
        run<bf16, 1>(c, &d, n);
    else if (wide)
        run<float, 4>(c, &d, n);
    else
        run<float, 1>(c, &d, n);
}
