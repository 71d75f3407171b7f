/* async.cuh - a kernel that begins before the one in front of it has ended.
 *
 * One token is some hundred short kernels, each of which waits for the one before. Where the GPU
 * can (9.0 on), a kernel's blocks come as soon as there is room for them: they fetch what no kernel
 * writes, the weights, and only then wait. Whoever is launched by launch_early calls wait_for_last
 * before it reads or writes anything else. */
#ifndef MIDPASS_CUDA_ASYNC_CUH
#define MIDPASS_CUDA_ASYNC_CUH

#include "kernels/cuda/cuda.cuh"

/* Once each block says so, the next kernel's blocks may come where there is room. */
__device__ static __forceinline__ void next_may_start()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/* All that was launched before has ended, and what it wrote is seen. */
__device__ static __forceinline__ void wait_for_last()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* Has the device fetch bytes (a multiple of 16, from such an address) for whoever reads them soon.
 * What another kernel writes there meanwhile is seen all the same. */
__device__ static __forceinline__ void announce(const void *p, size_t bytes)
{
#if __CUDA_ARCH__ >= 900
    if (bytes > 0)
        asm volatile(
            "cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(__cvta_generic_to_global(p)),
            "r"((unsigned)bytes)
            : "memory");
#endif
}

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

/* ---- many bytes as one request, of which a barrier in shared memory tells the end (9.0 on) ----
 */

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

/* Makes room for the kernel's shared memory (device.cu). */
bool launch_prepare(struct cuda *c, const void *kernel, size_t shared_bytes, const char *what);

template <typename... P>
static void launch_early(struct cuda *c, const char *what, void (*kernel)(P...), dim3 grid,
                         int threads, size_t shared_bytes, const P &...given)
{
    if (!launch_prepare(c, (const void *)kernel, shared_bytes, what))
        return;
    cudaLaunchAttribute early;
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = dim3((unsigned)threads);
    config.dynamicSmemBytes = shared_bytes;
    config.stream = c->stream;
    config.attrs = &early;
    config.numAttrs = c->early ? 1 : 0;
    cuda_ok(c, cudaLaunchKernelEx(&config, kernel, given...), what);
}

#endif
