/* turn.cuh - RoPE of one element, the same bits in whichever kernel. */
#ifndef MIDPASS_CUDA_TURN_CUH
#define MIDPASS_CUDA_TURN_CUH

#include "kernels/cuda/cuda.cuh"

/* Element i of a row, which is element e of its head; angles: the row's r. Past the L1, which may
 * hold what was there before. */
__device__ static __forceinline__ float turned(const float *x, const float *angles, int r,
                                               enum rope_style style, int i, int e)
{
    int half = r / 2;
    float a = __ldcg(x + i);
    if (e >= r)
        return a;
    bool halves = style == ROPE_HALVES;
    int k = halves ? (e < half ? e : e - half) : e / 2;
    bool second = halves ? e >= half : e % 2;
    float o = __ldcg(x + (halves ? (second ? i - half : i + half) : (second ? i - 1 : i + 1)));
    float c = __ldcg(angles + k), s = __ldcg(angles + half + k);
    return fmaf(a, c, second ? __fmul_rn(o, s) : -__fmul_rn(o, s));
}

#endif
