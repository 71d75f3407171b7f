/* wgmma.cuh - Hopper's instructions as functions: products of a warpgroup (four warps), barriers
 * that count, blocks that see each other's memory, registers that change hands. Only for sm_90a.
 *
 * Matrices lie in shared memory in blocks of 32 columns, 64 bytes a row, rows one behind the other,
 * the 16-byte pieces of a row swapped so that eight rows of one column lie in different banks
 * (the 64-byte swizzle). Blocks begin at multiples of 512 bytes. */
#ifndef MIDPASS_CUDA_WGMMA_CUH
#define MIDPASS_CUDA_WGMMA_CUH

#include "kernels/cuda/flash.cuh"

#define BLOCK_COLUMNS 32
#define BLOCK_PITCH   64 /* bytes of a row of a block */

/* Where 8 elements from a column on lie, in bytes, in a matrix of `rows` rows. */
__device__ static __forceinline__ int swizzled(int row, int column, int rows)
{
    return column / BLOCK_COLUMNS * rows * BLOCK_PITCH + row * BLOCK_PITCH +
           ((column % BLOCK_COLUMNS / 8) ^ (row / 2 % 4)) * 16;
}

/* How the tensor cores find a matrix: `across` bytes from a block of columns to the next (asked for
 * where columns are the product's columns), 512 from eight rows to the next. */
__device__ static __forceinline__ uint64_t descriptor(unsigned address, int across)
{
    return (uint64_t)((address & 0x3ffffu) >> 4) | (uint64_t)(across >> 4) << 16 |
           (uint64_t)(8 * BLOCK_PITCH >> 4) << 32 | (uint64_t)2 << 62;
}

/* ---- products -------------------------------------------------------------------------------- */

__device__ static __forceinline__ void products_begin(void)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ static __forceinline__ void products_commit(void)
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int LEFT> __device__ static __forceinline__ void products_wait(void)
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}

#define FOUR(d, j)    "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])
#define SIXTEEN(d, j) FOUR(d, j), FOUR(d, j + 1), FOUR(d, j + 2), FOUR(d, j + 3)
#define TO_31                                                                                      \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                       \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define TO_47                                                                                      \
    TO_31 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define TO_55 TO_47 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define TO_63 TO_55 ", %56, %57, %58, %59, %60, %61, %62, %63"

/* d[64 x N] = a[64 x 16] b[N x 16]^T, or added to d, N 112 or 128; both in shared memory, rows
 * being rows. */
template <int N>
__device__ static __forceinline__ void multiply_rows(float d[N / 8][4], uint64_t a, uint64_t b,
                                                     bool add)
{
    if constexpr (N == 112)
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %58, 0;\n"
                     "wgmma.mma_async.sync.aligned.m64n112k16.f32.bf16.bf16 {" TO_55 "}, "
                     "%56, %57, p, 1, 1, 0, 0;\n}"
                     : SIXTEEN(d, 0), SIXTEEN(d, 4), SIXTEEN(d, 8), FOUR(d, 12), FOUR(d, 13)
                     : "l"(a), "l"(b), "r"((int)add));
    else
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
                     "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" TO_63 "}, "
                     "%64, %65, p, 1, 1, 0, 0;\n}"
                     : SIXTEEN(d, 0), SIXTEEN(d, 4), SIXTEEN(d, 8), SIXTEEN(d, 12)
                     : "l"(a), "l"(b), "r"((int)add));
}

/* d[64 x N] += a[64 x 16] b[16 x N], N 64, 96 or 128; a in registers, b in shared memory. */
template <int N>
__device__ static __forceinline__ void multiply_mix(float d[N / 8][4], const unsigned a[4],
                                                    uint64_t b)
{
    if constexpr (N == 64)
        asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" TO_31 "}, "
                     "{%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
                     : SIXTEEN(d, 0), SIXTEEN(d, 4)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    else if constexpr (N == 96)
        asm volatile("wgmma.mma_async.sync.aligned.m64n96k16.f32.bf16.bf16 {" TO_47 "}, "
                     "{%48, %49, %50, %51}, %52, 1, 1, 1, 1;"
                     : SIXTEEN(d, 0), SIXTEEN(d, 4), SIXTEEN(d, 8)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    else
        asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" TO_63 "}, "
                     "{%64, %65, %66, %67}, %68, 1, 1, 1, 1;"
                     : SIXTEEN(d, 0), SIXTEEN(d, 4), SIXTEEN(d, 8), SIXTEEN(d, 12)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

/* To the compiler d is new from here on: the products that were waited for have written it. */
template <int N> __device__ static __forceinline__ void products_done(float d[N][4])
{
#pragma unroll
    for (int j = 0; j < N; j++)
        asm volatile("" : FOUR(d, j)::"memory");
}

/* ---- barriers -------------------------------------------------------------------------------- */

__device__ static __forceinline__ void barrier_init(uint64_t *b, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address_of(b)), "r"(arrivals)
                 : "memory");
}

__device__ static __forceinline__ void barrier_arrive(uint64_t *b)
{
    asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(address_of(b))
                 : "memory");
}

/* Arrives when all that this thread fetches is there. */
__device__ static __forceinline__ void barrier_arrive_fetched(uint64_t *b)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(address_of(b))
                 : "memory");
}

__device__ static __forceinline__ void barrier_wait(uint64_t *b, int phase)
{
    asm volatile("{\n.reg .pred p;\nagain:\n"
                 "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 p, [%0], %1;\n"
                 "@!p bra again;\n}" ::"r"(address_of(b)),
                 "r"(phase)
                 : "memory");
}

/* What was written to shared memory the ordinary way is there for the tensor cores. */
__device__ static __forceinline__ void tensor_fence(void)
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* A barrier of one warpgroup; whether any of its threads says so. */
__device__ static __forceinline__ bool group_any(int barrier, bool x)
{
    int any;
    asm volatile("{\n.reg .pred p, q;\nsetp.ne.b32 p, %1, 0;\n"
                 "barrier.cta.red.or.pred q, %2, 128, p;\nselp.b32 %0, 1, 0, q;\n}"
                 : "=r"(any)
                 : "r"((int)x), "r"(barrier)
                 : "memory");
    return any;
}

/* Two groups at one barrier: the one that tells goes on, the other waits for it. */
__device__ static __forceinline__ void pair_tell(int barrier)
{
    asm volatile("barrier.cta.arrive %0, 256;" ::"r"(barrier) : "memory");
}

__device__ static __forceinline__ void pair_wait(int barrier)
{
    asm volatile("barrier.cta.sync %0, 256;" ::"r"(barrier) : "memory");
}

/* ---- clusters -------------------------------------------------------------------------------- */

/* All threads of the cluster that still run; each sees what the others wrote. */
__device__ static __forceinline__ void cluster_sync(void)
{
    asm volatile("barrier.cluster.arrive.release.aligned;\n"
                 "barrier.cluster.wait.acquire.aligned;" ::
                     : "memory");
}

/* The same place in another block's shared memory. */
__device__ static __forceinline__ unsigned address_in(unsigned block, const void *shared)
{
    unsigned address;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
                 : "=r"(address)
                 : "r"(address_of(shared)), "r"(block));
    return address;
}

__device__ static __forceinline__ float read_in(unsigned address)
{
    float x;
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(x) : "r"(address) : "memory");
    return x;
}

/* ---- registers ------------------------------------------------------------------------------- */

template <int REGISTERS> __device__ static __forceinline__ void take_registers(void)
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

template <int REGISTERS> __device__ static __forceinline__ void give_registers(void)
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

#endif
