/* norm.cuh - one row's norm by one block: norm.cu's kernel, and what a product begins with. Its
 * bits depend neither on which of them runs it nor on the block's size. */
#ifndef MIDPASS_CUDA_NORM_CUH
#define MIDPASS_CUDA_NORM_CUH

#include "kernels/cuda/cuda.cuh"

#define NORM_LANES 256 /* threads that add up; a block has at least so many */
#define NORM_BATCH 4   /* times four floats that a thread loads at once */

/* Where a staged row's element k lies: of 256, those that 32 lanes read together side by side. */
__device__ static __forceinline__ int place_of(int k)
{
    return (k & ~255) | (k & 4) << 5 | (k & 0xf8) >> 1 | (k & 3);
}

/* Elements 4 g and on, 0 behind the last; past the L1, which may hold what was there before. */
__device__ static __forceinline__ float4 row_load(const float *p, int g, int d, bool four)
{
    int i = 4 * g;
    if (four)
        return __ldcg((const float4 *)p + g);
    float4 v = {0, 0, 0, 0};
    v.x = __ldcg(p + i);
    v.y = i + 1 < d ? __ldcg(p + i + 1) : 0.0f;
    v.z = i + 2 < d ? __ldcg(p + i + 2) : 0.0f;
    v.w = i + 3 < d ? __ldcg(p + i + 3) : 0.0f;
    return v;
}

__device__ static __forceinline__ void row_store(float *p, int g, int d, bool four, float4 v)
{
    int i = 4 * g;
    if (four) {
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

/* Four bfloat16 of a row, side by side. */
__device__ static __forceinline__ void row_round(bf16 *row, int g, float4 v)
{
    ((pack<bf16, 4> *)row)[g] = {narrow<bf16>(v.x), narrow<bf16>(v.y), narrow<bf16>(v.z),
                                 narrow<bf16>(v.w)};
}

/* The norm's row, as far as it goes, to v, by place_of: room for d floats, rounded up to 256; and
 * rounded to `rounds`, if it is not NULL. What the job asks for is written where `writes`. A
 * barrier behind it makes both readable. */
__device__ static __forceinline__ void norm_row(const struct norm_job &j, float *v, bf16 *rounds,
                                                bool writes)
{
    __shared__ double part[NORM_LANES / 32];
    int d = j.d, n = (d + 3) / 4, tid = threadIdx.x;
    bool adds = tid < NORM_LANES;
    uintptr_t all = (uintptr_t)j.x | (uintptr_t)j.y | (uintptr_t)j.sum | (uintptr_t)j.saved |
                    (uintptr_t)j.normalized | (uintptr_t)j.gain | (uintptr_t)j.bias |
                    (uintptr_t)j.out;
    bool four = d % 4 == 0 && all % 16 == 0;
    float4 gains[NORM_BATCH];
#pragma unroll
    for (int i = 0; i < NORM_BATCH; i++) {
        int g = tid + i * NORM_LANES;
        if (adds && j.gain && g < n)
            gains[i] = row_load(j.gain, g, d, four);
    }
    double sum = 0;
    for (int from = tid; adds && from < n; from += NORM_BATCH * NORM_LANES) {
        float4 a[NORM_BATCH], b[NORM_BATCH];
#pragma unroll
        for (int i = 0; i < NORM_BATCH; i++) {
            int g = from + i * NORM_LANES;
            a[i] = b[i] = {0, 0, 0, 0};
            if (g < n)
                a[i] = row_load(j.x, g, d, four);
            if (g < n && j.y)
                b[i] = row_load(j.y, g, d, four);
        }
#pragma unroll
        for (int i = 0; i < NORM_BATCH; i++) {
            int g = from + i * NORM_LANES;
            if (g >= n)
                break;
            if (j.y)
                a[i] = {a[i].x + b[i].x, a[i].y + b[i].y, a[i].z + b[i].z, a[i].w + b[i].w};
            *(float4 *)(v + place_of(4 * g)) = a[i];
            sum = fma((double)a[i].x, (double)a[i].x, sum);
            sum = fma((double)a[i].y, (double)a[i].y, sum);
            sum = fma((double)a[i].z, (double)a[i].z, sum);
            sum = fma((double)a[i].w, (double)a[i].w, sum);
        }
    }
    sum = warp_sum(sum);
    if (adds && tid % 32 == 0)
        part[tid / 32] = sum;
    __syncthreads();
    sum = warp_sum(tid % 32 < NORM_LANES / 32 ? part[tid % 32] : 0.0);
    float by = (float)sqrt(sum / d + (double)j.eps);
    if (writes && j.scale && tid == 0)
        *j.scale = by;
    for (int from = tid; adds && from < n; from += NORM_BATCH * NORM_LANES) {
#pragma unroll
        for (int i = 0; i < NORM_BATCH; i++) {
            int g = from + i * NORM_LANES;
            if (g >= n)
                break;
            float4 *place = (float4 *)(v + place_of(4 * g)), a = *place;
            if (writes && j.sum)
                row_store(j.sum, g, d, four, a);
            if (writes && j.saved)
                row_store(j.saved, g, d, four, a);
            if (!j.normalized)
                continue;
            a = {a.x / by, a.y / by, a.z / by, a.w / by};
            if (writes)
                row_store(j.normalized, g, d, four, a);
            if (!j.out)
                continue;
            float4 gain = {0, 0, 0, 0}, bias = gain;
            bool has_gain = j.gain != NULL, has_bias = j.bias != NULL;
            if (has_gain)
                gain = from == tid ? gains[i] : row_load(j.gain, g, d, four);
            if (has_bias)
                bias = row_load(j.bias, g, d, four);
            a = {gained(a.x, has_gain, gain.x, has_bias, bias.x),
                 gained(a.y, has_gain, gain.y, has_bias, bias.y),
                 gained(a.z, has_gain, gain.z, has_bias, bias.z),
                 gained(a.w, has_gain, gain.w, has_bias, bias.w)};
            if (writes)
                row_store(j.out, g, d, four, a);
            if (rounds)
                row_round(rounds, g, a);
            *place = a;
        }
    }
}

#endif
