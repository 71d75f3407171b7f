/* product.cuh - one row times matrices: what token.cu and stream.cu share, and with that the bits.
 *
 * An output is a warp's. Lane l takes 16 bytes of its inputs at a time, those that begin 16 l bytes
 * into each PIECE, one behind the other, as a chain of fused multiply-adds; the lanes are added in
 * a tree. */
#ifndef MIDPASS_CUDA_PRODUCT_CUH
#define MIDPASS_CUDA_PRODUCT_CUH

#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/norm.cuh"

#define PIECE     512   /* bytes that a warp reads at once */
#define WIDEST    28672 /* inputs */
#define ROW_BATCH 5     /* times four floats of the row that a thread has on their way */

/* Bytes of shared memory that the row takes: as floats, by place_of, and rounded. */
__host__ __device__ static __forceinline__ size_t row_bytes(bool rounds, bool floats, int n_in)
{
    size_t row = (size_t)(n_in + 255) / 256 * 256;
    return (floats ? row * sizeof(float) : 0) + (rounds ? row * sizeof(bf16) : 0);
}

/* Brings the row: rounded, or as floats. By the first THREADS of a block, 0: all of it; a barrier
 * behind it makes it readable. v holds floats where the row is not rounded, or is a norm's. */
template <bool ROUND, int THREADS>
__device__ static __forceinline__ void row_bring(const struct product_stage &s, float *v,
                                                 bf16 *rounds)
{
    if (s.normed) {
        norm_row<THREADS, false>(s.norm, v, ROUND ? rounds : NULL, share_of((s.norm.d + 3) / 4));
        return;
    }
    int threads = THREADS ? THREADS : (int)blockDim.x, n = (s.n_in + 3) / 4;
    bool four = s.n_in % 4 == 0 && (uintptr_t)s.x % 16 == 0;
#pragma unroll 1
    for (int from = (int)threadIdx.x; from < n; from += ROW_BATCH * threads) {
        float4 a[ROW_BATCH];
#pragma unroll
        for (int i = 0; i < ROW_BATCH; i++) {
            int g = from + i * threads < n ? from + i * threads : from;
            a[i] = four ? row_load<true>(s.x, g, s.n_in) : row_load<false>(s.x, g, s.n_in);
        }
#pragma unroll
        for (int i = 0; i < ROW_BATCH; i++) {
            int g = from + i * threads;
            if (g >= n)
                break;
            if (ROUND)
                row_round(rounds, g, a[i]);
            else
                *(float4 *)(v + place_of(4 * g)) = a[i];
        }
    }
}

/* Inputs k and on, which the lane multiplies. */
template <bool ROUND, int VEC>
__device__ static __forceinline__ void row_take(const float *v, const bf16 *rounds, int k, float *x)
{
    if constexpr (ROUND && VEC == 8) {
        unpack<bf16>(rounds + k, x);
    } else {
#pragma unroll
        for (int i = 0; i < VEC; i += 4)
            unpack<float>(v + place_of(k + i), x + i);
    }
}

/* Adds 16 bytes of an output's matrix, times these inputs. */
template <typename T>
__device__ static __forceinline__ void row_add(const char *piece, const float *in, float *sum)
{
    constexpr int VEC = 16 / (int)sizeof(T);
    float w[VEC];
    unpack<T>(piece, w);
#pragma unroll
    for (int e = 0; e < VEC; e++)
        *sum = fmaf(in[e], w[e], *sum);
}

/* By one thread, of the sums of a unit. */
__device__ static __forceinline__ void unit_finish(const struct product_stage &s,
                                                   const struct pair &p, const float sum[2],
                                                   const float bias[2])
{
    float value[2];
#pragma unroll
    for (int o = 0; o < 2; o++) {
        value[o] = s.bias[p.part[o]] ? sum[o] + bias[o] : sum[o];
        s.out[p.part[o]][p.row[o]] = value[o];
    }
    int posts = !s.activated ? 0 : s.paired ? 1 : 2;
#pragma unroll 1 /* an activation is long */
    for (int o = 0; o < posts; o++) {
        float x = apply(s.act, o == 0 ? value[0] : value[1]);
        s.post[o == 0 ? p.row[0] : p.row[1]] = s.paired ? __fmul_rn(x, value[1]) : x;
    }
}

__device__ static __forceinline__ void unit_bias(const struct product_stage &s,
                                                 const struct pair &p, float bias[2])
{
#pragma unroll
    for (int o = 0; o < 2; o++)
        bias[o] = s.bias[p.part[o]] ? s.bias[p.part[o]][p.row[o]] : 0.0f;
}

#endif
