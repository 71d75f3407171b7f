/* flash.cuh - what the two kernels of many queries in bfloat16 share: the instructions around the
 * products, and what is done to a warp's scores. A warp's part of a result has 16 rows; its lane l
 * holds rows l / 4 and l / 4 + 8, and of each 8 columns 2 (l % 4) and the next. */
#ifndef MIDPASS_CUDA_FLASH_CUH
#define MIDPASS_CUDA_FLASH_CUH

#include "kernels/cuda/cuda.cuh"

#define LOG2E 1.4426950408889634f

__device__ static __forceinline__ unsigned address_of(const void *shared)
{
    return (unsigned)__cvta_generic_to_shared(shared);
}

/* 16 bytes to shared memory, on their own way; zeros where there is nothing. */
__device__ static __forceinline__ void fetch(unsigned to, const void *from, bool there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(there ? 16 : 0)
                 : "memory");
}

__device__ static __forceinline__ unsigned two(float low, float high)
{
    __nv_bfloat162 v = __floats2bfloat162_rn(low, high);
    unsigned bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

__device__ static __forceinline__ float power_of_two(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ static __forceinline__ float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

__device__ static __forceinline__ float quad_sum(float x)
{
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/* Eight elements of a query from e on, rounded; zeros behind the last. */
__device__ static __forceinline__ uint4 query_at(const struct flash &f, int row, int head, int e)
{
    size_t at = ((size_t)row * f.a.n_heads + head) * f.a.d_head + e;
    if (row >= f.n)
        return {0, 0, 0, 0};
    if (f.low_q)
        return *(const uint4 *)(f.low_q + at);
    float4 v = *(const float4 *)(f.q + at), w = *(const float4 *)(f.q + at + 4);
    return {two(v.x, v.y), two(v.z, v.w), two(w.x, w.y), two(w.z, w.w)};
}

/* Nonzero bits at 0x80008000 where one of two bfloat16 is no finite number. */
__device__ static __forceinline__ unsigned odd_numbers(unsigned two_of_them)
{
    return ((two_of_them & 0x7f807f80u) + 0x00800080u) & 0x80008000u;
}

/* Hides what the rows at t and t + 8 do not see of the keys from s0 on. */
template <int KEYS>
__device__ static __forceinline__ void hide(float s[KEYS / 8][4], int window, int s0, int t)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int at = t + 8 * half, first = first_visible(window, at);
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
            for (int k = 2 * half; k < 2 * half + 2; k++) {
                int key = s0 + j * 8 + (int)threadIdx.x % 4 * 2 + k % 2;
                s[j][k] = key > at || key < first ? -INFINITY : s[j][k];
            }
    }
}

/* Turns the scores of one of the lane's two rows, `half`, into weights. Returns what all that was
 * added up for the row before is to be multiplied with. */
template <int KEYS>
__device__ static __forceinline__ float weigh(float s[KEYS / 8][4], int half, float scale,
                                              float *most, float *sum)
{
    float top = *most, added = 0;
#pragma unroll
    for (int j = 0; j < KEYS / 8; j++)
        top = fmaxf(top, fmaxf(s[j][2 * half], s[j][2 * half + 1]));
    top = quad_max(top);
    float base = top == -INFINITY ? 0.0f : top * scale;
    /* 1 where nothing is larger: hidden tiles then leave no trace, and a row's bits do not depend
     * on the rows beside it. */
    float shrink = top == *most ? 1.0f : power_of_two(fmaf(*most, scale, -base));
#pragma unroll
    for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
        for (int k = 2 * half; k < 2 * half + 2; k++) {
            s[j][k] = power_of_two(fmaf(s[j][k], scale, -base));
            added += s[j][k];
        }
    *sum = *sum * shrink + added;
    *most = top;
    return shrink;
}

template <int H>
__device__ static __forceinline__ void shrink_row(float o[H / 8][4], int half, float shrink)
{
#pragma unroll
    for (int k = 0; k < H / 8; k++) {
        o[k][2 * half] *= shrink;
        o[k][2 * half + 1] *= shrink;
    }
}

/* The lane's two rows of 16 that begin at row0, divided by their weights' sums. */
template <int H>
__device__ static __forceinline__ void write_rows(const struct flash &f, int head, int row0,
                                                  const float most[2], const float sum[2],
                                                  const float o[H / 8][4])
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int row = row0 + lane / 4 + 8 * half;
        float total = quad_sum(sum[half]);
        if (row >= f.n)
            continue;
        if (f.sums && lane % 4 == 0)
            f.sums[(size_t)row * f.a.n_heads + head] = fmaf(most[half], f.a.scale, logf(total));
        size_t at = ((size_t)row * f.a.n_heads + head) * H + lane % 4 * 2;
#pragma unroll
        for (int k = 0; k < H / 8; k++) {
            float2 v = {o[k][2 * half] / total, o[k][2 * half + 1] / total};
            if (f.low_z)
                *(unsigned *)(f.low_z + at + k * 8) = two(v.x, v.y);
            else
                *(float2 *)(f.z + at + k * 8) = v;
        }
    }
}

#endif
