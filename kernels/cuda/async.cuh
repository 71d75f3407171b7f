/* async.cuh - bytes on their way to shared memory while threads do something else. */
#ifndef MIDPASS_CUDA_ASYNC_CUH
#define MIDPASS_CUDA_ASYNC_CUH

#include "kernels/cuda/cuda.cuh"

/* 16 bytes to shared memory, on their own way; zeros where there is nothing. */
__device__ static __forceinline__ void bring(void *shared, const void *from, bool there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                     (unsigned)__cvta_generic_to_shared(shared)),
                 "l"(from), "r"(there ? 16 : 0)
                 : "memory");
}

__device__ static __forceinline__ void bring_group()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* All but the last LEFT groups are there. */
template <int LEFT> __device__ static __forceinline__ void bring_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

/* ---- many bytes as one request (9.0 on) -------------------------------------------------------
 * A barrier in shared memory tells that they are there; another one, that their place is free. */

__device__ static __forceinline__ void arrival_init(uint64_t *bar)
{
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"((unsigned)__cvta_generic_to_shared(bar))
        : "memory");
#endif
}

/* What was initialised is seen by those who bring. */
__device__ static __forceinline__ void arrival_ready()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

__device__ static __forceinline__ void arrival_expect(uint64_t *bar, unsigned bytes)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                     (unsigned)__cvta_generic_to_shared(bar)),
                 "r"(bytes)
                 : "memory");
#endif
}

/* One of the barrier's arrivals, of all that the thread has done before. */
__device__ static __forceinline__ void arrival_tell(uint64_t *bar)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(
                     (unsigned)__cvta_generic_to_shared(bar))
                 : "memory");
#endif
}

/* How the L2 keeps what is read once. */
__device__ static __forceinline__ uint64_t read_once()
{
    uint64_t policy = 0;
#if __CUDA_ARCH__ >= 900
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
#endif
    return policy;
}

/* bytes: a multiple of 16; both addresses, too. */
__device__ static __forceinline__ void bring_many(void *shared, const void *from, unsigned bytes,
                                                  uint64_t *bar, uint64_t policy)
{
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], "
        "[%1], %2, [%3], %4;" ::"r"((unsigned)__cvta_generic_to_shared(shared)),
        "l"(__cvta_generic_to_global(from)), "r"(bytes),
        "r"((unsigned)__cvta_generic_to_shared(bar)), "l"(policy)
        : "memory");
#endif
}

/* Whether the turn has ended; does not wait for it. */
__device__ static __forceinline__ bool arrival_over(uint64_t *bar, unsigned turn)
{
    unsigned done = 1;
#if __CUDA_ARCH__ >= 900
    asm volatile("{\n.reg .pred p;\n"
                 "mbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                 "selp.u32 %0, 1, 0, p;\n}"
                 : "=r"(done)
                 : "r"((unsigned)__cvta_generic_to_shared(bar)), "r"(turn & 1)
                 : "memory");
#endif
    return done != 0;
}

__device__ static __forceinline__ void arrival_wait(uint64_t *bar, unsigned turn)
{
#if __CUDA_ARCH__ >= 900
    unsigned done = 0;
    while (!done)
        asm volatile("{\n.reg .pred p;\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                     "selp.u32 %0, 1, 0, p;\n}"
                     : "=r"(done)
                     : "r"((unsigned)__cvta_generic_to_shared(bar)), "r"(turn & 1)
                     : "memory");
#endif
}

#endif
