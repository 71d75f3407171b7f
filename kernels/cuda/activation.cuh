/* activation.cuh - activations, the same bits in whichever kernel: nothing of them is contracted
 * with what stands around them. */
#ifndef MIDPASS_CUDA_ACTIVATION_CUH
#define MIDPASS_CUDA_ACTIVATION_CUH

#include "kernels/cuda/cuda.cuh"

__device__ static __forceinline__ float apply(enum activation f, float x)
{
    switch (f) {
    case ACT_SILU:
        return x / (1.0f + expf(-x));
    case ACT_GELU:
        return x * 0.5f * (1.0f + erff(x * 0.70710678118654752f));
    case ACT_GELU_TANH:
        return x * 0.5f * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
    case ACT_RELU:
        return x < 0.0f ? 0.0f : x;
    default:
        return x;
    }
}

#endif
