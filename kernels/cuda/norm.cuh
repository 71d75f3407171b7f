/* norm.cuh - one row's norm by one block: norm.cu's kernel, and what a product begins with. Its
 * bits depend neither on which of them runs it nor on the block's size. */
#ifndef MIDPASS_CUDA_NORM_CUH
#define MIDPASS_CUDA_NORM_CUH

#include "kernels/cuda/stage.cuh"

#define NORM_LANES 256 /* threads that add up; a block has at least so many */
#define NORM_HANDS 4   /* times four floats that a thread can keep */
#define NORM_BATCH 3   /* times four floats that a thread loads at once */

/* Where a staged row's element k lies: of 256, those that 32 lanes read together side by side. */
__device__ static __forceinline__ int place_of(int k)
{
    return (k & ~255) | (k & 4) << 5 | (k & 0xf8) >> 1 | (k & 3);
}

/* Elements 4 g and on, 0 behind the last; past the L1, which may hold what was there before. FOUR:
 * d is a multiple of four, and 16 bytes can be loaded at once. */
template <bool FOUR> __device__ static __forceinline__ float4 row_load(const float *p, int g, int d)
{
    int i = 4 * g;
    if constexpr (FOUR)
        return __ldcg((const float4 *)p + g);
    float4 v = {0, 0, 0, 0};
    v.x = __ldcg(p + i);
    v.y = i + 1 < d ? __ldcg(p + i + 1) : 0.0f;
    v.z = i + 2 < d ? __ldcg(p + i + 2) : 0.0f;
    v.w = i + 3 < d ? __ldcg(p + i + 3) : 0.0f;
    return v;
}

template <bool FOUR>
__device__ static __forceinline__ void row_store(float *p, int g, int d, float4 v)
{
    int i = 4 * g;
    if constexpr (FOUR) {
        ((float4 *)p)[g] = v;
        return;
    }
    p[i] = v.x;
    if (i + 1 < d)
        p[i + 1] = v.y;
    if (i + 2 < d)
        p[i + 2] = v.z;
    if (i + 3 < d)
        p[i + 3] = v.w;
}

__device__ static __forceinline__ float gained(float v, bool has_gain, float gain, bool has_bias,
                                               float bias)
{
    if (has_gain && has_bias)
        return fmaf(v, gain, bias);
    if (has_gain)
        return v * gain;
    return has_bias ? v + bias : v;
}

__device__ static __forceinline__ double row_sum(float4 v)
{
    return ((double)v.x + (double)v.y) + ((double)v.z + (double)v.w);
}

__device__ static __forceinline__ double row_squares(float4 v)
{
    double x = (double)v.x, y = (double)v.y, z = (double)v.z, w = (double)v.w;
    return fma(w, w, fma(z, z, fma(y, y, x * x)));
}

/* Four bfloat16 of a row, side by side. */
__device__ static __forceinline__ void row_round(bf16 *row, int g, float4 v)
{
    ((pack<bf16, 4> *)row)[g] = {narrow<bf16>(v.x), narrow<bf16>(v.y), narrow<bf16>(v.z),
                                 narrow<bf16>(v.w)};
}

/* A sum over the first NORM_LANES threads, the same in all THREADS of them: one barrier is inside.
 * part: [NORM_LANES / 32], not used since the last barrier. */
template <int THREADS> __device__ static __forceinline__ double lanes_sum(double x, double *part)
{
    x = warp_sum(x);
    if (threadIdx.x < NORM_LANES && threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = x;
    threads_wait<CONSUMERS_BARRIER, THREADS>();
    double sum = part[0];
#pragma unroll
    for (int i = 1; i < NORM_LANES / 32; i++)
        sum += part[i];
    return sum;
}

/* Out of line: what is run once a stage takes as long as its code takes to come. */
template <int THREADS, bool FOUR>
__device__ static __noinline__ void norm_way(const struct norm_job &j, float *v, bf16 *rounds,
                                             struct stretch mine)
{
    __shared__ double part[2][NORM_LANES / 32];
    int d = j.d, n = (d + 3) / 4, tid = threadIdx.x;
    bool adds = tid < NORM_LANES, centres = j.centred != NULL;
    int threads = THREADS ? THREADS : (int)blockDim.x;
    bool has_gain = j.out && j.gain, has_bias = j.out && j.bias;
    float4 gains[NORM_BATCH]; /* on their way while the row comes */
#pragma unroll
    for (int i = 0; i < NORM_BATCH; i++)
        if (has_gain && tid + i * threads < n)
            gains[i] = row_load<FOUR>(j.gain, tid + i * threads, d);
    double sum = 0; /* of the squares; of the elements, where their mean goes first */
#pragma unroll 1    /* what runs once is as long as its code */
    for (int from = tid; adds && from < n; from += NORM_BATCH * NORM_LANES) {
        float4 a[NORM_BATCH], b[NORM_BATCH];
#pragma unroll
        for (int i = 0; i < NORM_BATCH; i++) {
            int g = from + i * NORM_LANES;
            a[i] = b[i] = {0, 0, 0, 0};
            if (g < n)
                a[i] = row_load<FOUR>(j.x, g, d);
            if (g < n && j.y)
                b[i] = row_load<FOUR>(j.y, g, d);
        }
#pragma unroll
        for (int i = 0; i < NORM_BATCH; i++) {
            int g = from + i * NORM_LANES;
            bool writes = g >= mine.from && g < mine.to;
            if (g >= n)
                break;
            if (j.y)
                a[i] = {a[i].x + b[i].x, a[i].y + b[i].y, a[i].z + b[i].z, a[i].w + b[i].w};
            *(float4 *)(v + place_of(4 * g)) = a[i];
            sum += centres ? row_sum(a[i]) : row_squares(a[i]);
            if (writes && j.sum)
                row_store<FOUR>(j.sum, g, d, a[i]);
            if (writes && j.saved)
                row_store<FOUR>(j.saved, g, d, a[i]);
        }
    }
    sum = lanes_sum<THREADS>(sum, part[0]);
    if (centres) {
        float mean = (float)(sum * j.each);
        sum = 0;
#pragma unroll 1
        for (int g = tid; adds && g < n; g += NORM_LANES) {
            float4 *place = (float4 *)(v + place_of(4 * g)), a = *place;
            int left = d - 4 * g; /* behind the last element there is 0 still */
            a = {a.x - mean, left > 1 ? a.y - mean : 0.0f, left > 2 ? a.z - mean : 0.0f,
                 left > 3 ? a.w - mean : 0.0f};
            *place = a;
            sum += row_squares(a);
            if (g >= mine.from && g < mine.to)
                row_store<FOUR>(j.centred, g, d, a);
        }
        sum = lanes_sum<THREADS>(sum, part[1]);
    }
    float by = sqrtf((float)fma(sum, j.each, (double)j.eps));
    if (j.scale && tid == 0 && mine.from == 0 && mine.to > 0)
        *j.scale = by;
    if (!j.normalized)
        return;
    float inverse = __frcp_rn(by);
    /* From here on a row is everybody's: a barrier has passed. */
#pragma unroll 1
    for (int from = tid; from < n; from += NORM_BATCH * threads) {
#pragma unroll
        for (int i = 0; i < NORM_BATCH; i++) {
            int g = from + i * threads;
            bool writes = g >= mine.from && g < mine.to;
            if (g >= n)
                break;
            float4 *place = (float4 *)(v + place_of(4 * g)), a = *place;
            float4 gain = {0, 0, 0, 0}, bias = gain;
            if (has_gain)
                gain = from == tid ? gains[i] : row_load<FOUR>(j.gain, g, d);
            if (has_bias)
                bias = row_load<FOUR>(j.bias, g, d);
            a = {a.x * inverse, a.y * inverse, a.z * inverse, a.w * inverse};
            if (writes)
                row_store<FOUR>(j.normalized, g, d, a);
            a = {gained(a.x, has_gain, gain.x, has_bias, bias.x),
                 gained(a.y, has_gain, gain.y, has_bias, bias.y),
                 gained(a.z, has_gain, gain.z, has_bias, bias.z),
                 gained(a.w, has_gain, gain.w, has_bias, bias.w)};
            if (writes && j.out)
                row_store<FOUR>(j.out, g, d, a);
            if (rounds)
                row_round(rounds, g, a);
            *place = a;
        }
    }
}

/* The same of a row that fits into the lanes' hands: the same bits in a third of the steps. */
static __device__ __forceinline__ bool norm_is_plain(const struct norm_job &j)
{
    return !j.centred && j.gain && !j.bias && j.out && j.d <= NORM_HANDS * 4 * NORM_LANES;
}

template <int THREADS>
__device__ static __noinline__ void norm_plain(const struct norm_job &j, float *v, bf16 *rounds,
                                               struct stretch mine)
{
    __shared__ double part[NORM_LANES / 32];
    int tid = threadIdx.x, n = tid < NORM_LANES ? j.d / 4 : 0;
    const float4 *x = (const float4 *)j.x, *y = (const float4 *)j.y, *gain = (const float4 *)j.gain;
    float4 a[NORM_HANDS], b[NORM_HANDS], g[NORM_HANDS];
    double sum = 0;
#pragma unroll
    for (int i = 0; i < NORM_HANDS; i++) {
        int at = tid + i * NORM_LANES;
        a[i] = b[i] = g[i] = {0, 0, 0, 0};
        if (at < n) {
            a[i] = __ldcg(x + at);
            g[i] = __ldcg(gain + at);
            if (y)
                b[i] = __ldcg(y + at);
        }
    }
#pragma unroll
    for (int i = 0; i < NORM_HANDS; i++) {
        if (y)
            a[i] = {a[i].x + b[i].x, a[i].y + b[i].y, a[i].z + b[i].z, a[i].w + b[i].w};
        sum += row_squares(a[i]); /* adding 0 changes no sum of squares */
    }
    sum = lanes_sum<THREADS>(sum, part);
    float by = sqrtf((float)fma(sum, j.each, (double)j.eps)), inverse = __frcp_rn(by);
#pragma unroll
    for (int i = 0; i < NORM_HANDS; i++) {
        int at = tid + i * NORM_LANES;
        bool writes = at >= mine.from && at < mine.to;
        if (at >= n)
            break;
        float4 x = a[i];
        float4 normalized = {x.x * inverse, x.y * inverse, x.z * inverse, x.w * inverse};
        a[i] = {normalized.x * g[i].x, normalized.y * g[i].y, normalized.z * g[i].z,
                normalized.w * g[i].w};
        if (rounds)
            row_round(rounds, at, a[i]);
        else
            *(float4 *)(v + place_of(4 * at)) = a[i];
        if (!writes)
            continue;
        if (j.sum)
            ((float4 *)j.sum)[at] = x;
        if (j.saved)
            ((float4 *)j.saved)[at] = x;
        if (j.scale && at == 0)
            *j.scale = by;
        ((float4 *)j.normalized)[at] = normalized;
        ((float4 *)j.out)[at] = a[i];
    }
}

/* The norm's row, as far as it goes, to v, by place_of: room for d floats, rounded up to 256; and
 * rounded to `rounds`, if it is not NULL. Of what the job asks for the fours in `mine` are written,
 * over x and y too. By the first THREADS of a block, 0: all of it. A barrier behind it makes v and
 * rounds readable. ANY: it may be one that is not norm_in_fours. */
template <int THREADS, bool ANY>
__device__ static __forceinline__ void norm_row(const struct norm_job &j, float *v, bf16 *rounds,
                                                struct stretch mine)
{
    if (ANY && !norm_in_fours(j))
        norm_way<THREADS, false>(j, v, rounds, mine);
    else if (norm_is_plain(j))
        norm_plain<THREADS>(j, v, rounds, mine);
    else
        norm_way<THREADS, true>(j, v, rounds, mine);
}

#endif
