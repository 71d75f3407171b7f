/* turn.cuh - RoPE of one element, the same bits in whichever kernel. */
#ifndef MIDPASS_CUDA_TURN_CUH
#define MIDPASS_CUDA_TURN_CUH

#include "kernels/cuda/cuda.cuh"

/* An element and what it is rotated with, on their way. */
struct turning {
    float own, other, cosine, sine;
    bool turns, second;
};

/* Element i of a row, which is element e of its head; angles: the row's r, NULL: it stays as it is.
 * Past the L1, which may hold what was there before. */
__device__ static __forceinline__ struct turning turn_take(const float *x, const float *angles,
                                                           int r, enum rope_style style, int i,
                                                           int e)
{
    int half = r / 2;
    bool halves = style == ROPE_HALVES;
    struct turning t = {__ldcg(x + i), 0, 0, 0, angles && e < r, halves ? e >= half : e % 2 != 0};
    if (t.turns) {
        int k = halves ? (e < half ? e : e - half) : e / 2, off = halves ? half : 1;
        t.other = __ldcg(x + (t.second ? i - off : i + off));
        t.cosine = __ldcg(angles + k);
        t.sine = __ldcg(angles + half + k);
    }
    return t;
}

__device__ static __forceinline__ float turned(const struct turning &t)
{
    float moved = __fmul_rn(t.other, t.sine);
    return t.turns ? fmaf(t.own, t.cosine, t.second ? moved : -moved) : t.own;
}

#endif
