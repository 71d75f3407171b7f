/* ring.cuh - the ring in a block's shared memory through which all comes that token.cu reads ahead:
 * places that one warp has filled and the others empty, in turn. */
#ifndef MIDPASS_CUDA_RING_CUH
#define MIDPASS_CUDA_RING_CUH

#include "kernels/cuda/async.cuh"
#include "kernels/cuda/token.cuh"

/* Half a place holds a part of an output's matrix, or keys, or values. It is large, since each
 * filling costs the fetching warp some hundred cycles, and small enough for places for all the
 * warps. */
#define HALF_LEAST   4096
#define HALF_MOST    6144
#define PLACES_LEAST 14
#define PLACES_MOST  32

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

/* What the warps tell each other. */
struct told {
    unsigned asked;        /* by the fetching warp: fillings that it has asked for */
    int stages;            /* those of which all were */
    unsigned ends[STAGES]; /* fillings up to the end of each */
    int unit[PLACES_MOST]; /* whose matrix lies in a place */
    int at_work;           /* by the others: the stage whose row they have */
};

/* The row as floats, the row rounded, the ring. */
extern __shared__ __align__(128) char shared[];

/* Places that are filled and emptied in turn. */
struct ring {
    unsigned data;          /* where it begins in `shared` */
    uint64_t *full, *empty; /* [places] */
    volatile struct told *told;
    unsigned places, half;
};

/* The n-th filling of all: where it is, and in which turn. */
struct place {
    unsigned slot, turn;
};

__device__ static __forceinline__ struct place place_at(const struct ring &r, unsigned n)
{
    return {n % r.places, n / r.places};
}

__device__ static __forceinline__ void place_next(const struct ring &r, struct place *p)
{
    if (++p->slot == r.places) {
        p->slot = 0;
        p->turn++;
    }
}

__device__ static __forceinline__ char *place_data(const struct ring &r, struct place p)
{
    return shared + r.data + p.slot * 2 * r.half;
}

/* Waits until the n-th filling was asked for; false: it is no more this stage's. A barrier tells
 * one turn from the next, but not from the one after: who may be so far ahead has to know this
 * first. Those below *known are known to be. */
__device__ static __forceinline__ bool place_comes(const struct ring &r, int stage, unsigned n,
                                                   unsigned *known)
{
    while (*known <= n) {
        unsigned asked = r.told->asked; /* first: then the stage has not ended, these are its own */
        if (r.told->stages <= stage) {
            *known = asked;
            continue;
        }
        *known = r.told->ends[stage];
        if (*known <= n)
            return false;
    }
    return true;
}

/* Keys that share a place: a power of two, 8 at least. */
template <typename K> __device__ static __forceinline__ int keys_shift(int d_head, unsigned half)
{
    unsigned fit = half / ((unsigned)d_head * (unsigned)sizeof(K));
    return fit >= 32 ? 5 : fit >= 16 ? 4 : 3;
}

/* Places that a stretch of keys takes. */
__device__ static __forceinline__ int places_of(struct stretch keys, int shift)
{
    return keys.to > keys.from ? ((keys.to - 1) >> shift) - (keys.from >> shift) + 1 : 0;
}

#endif
#endif
