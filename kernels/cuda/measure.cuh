/* measure.cuh - what conditions want to know of a row. */
#ifndef MIDPASS_CUDA_MEASURE_CUH
#define MIDPASS_CUDA_MEASURE_CUH

#include "kernels/cuda/cuda.cuh"

struct found {
    double sum, squares;
    float most, least;
    int odd;
};

__device__ static __forceinline__ void look(struct found *f, float x)
{
    if (!isfinite(x)) {
        f->odd++;
        return;
    }
    f->sum += (double)x;
    f->squares = fma((double)x, (double)x, f->squares);
    f->most = fmaxf(f->most, x);
    f->least = fminf(f->least, x);
}

__device__ static __forceinline__ void join(struct found *f, const struct found &g)
{
    f->sum += g.sum;
    f->squares += g.squares;
    f->most = fmaxf(f->most, g.most);
    f->least = fminf(f->least, g.least);
    f->odd += g.odd;
}

__device__ static __forceinline__ void join_lanes(struct found *f)
{
    for (int k = 16; k > 0; k /= 2) {
        struct found g;
        g.sum = __shfl_xor_sync(0xffffffffu, f->sum, k);
        g.squares = __shfl_xor_sync(0xffffffffu, f->squares, k);
        g.most = __shfl_xor_sync(0xffffffffu, f->most, k);
        g.least = __shfl_xor_sync(0xffffffffu, f->least, k);
        g.odd = __shfl_xor_sync(0xffffffffu, f->odd, k);
        join(f, g);
    }
}

/* What this thread finds of the d elements of a row: those from `first` on, `step` apart. */
__device__ static __forceinline__ struct found look_along(const float *x, int d, int first,
                                                          int step)
{
    struct found f = {0, 0, -INFINITY, INFINITY, 0};
    if (d % 4 == 0 && (uintptr_t)x % 16 == 0) {
#pragma unroll 8
        for (int i = first; i < d / 4; i += step) {
            float4 v = __ldcg((const float4 *)x + i);
            look(&f, v.x), look(&f, v.y), look(&f, v.z), look(&f, v.w);
        }
        return f;
    }
    for (int i = first; i < d; i += step)
        look(&f, __ldcg(x + i));
    return f;
}

__device__ static __forceinline__ struct measures measures_of(const struct found &f)
{
    return {f.sum, f.squares, f.most, f.least, f.odd, 0};
}

#endif
