/* vector_tile.h - what the products by either rule share. */
#ifndef MIDPASS_CPU_VECTOR_TILE_H
#define MIDPASS_CPU_VECTOR_TILE_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector_fetch.h"

static inline int least(int a, int b)
{
    return a < b ? a : b;
}

/* Where a run's sums go: set by the first run, added to by the others, bias after the last. */
struct finish {
    float *out; /* of the tile's first row and output */
    size_t stride;
    const float *bias; /* of the tile's first output; NULL: none, or not the last run */
    bool first;
};

/* Rows are cut into tiles of nearly equal height: 7 are 4 and 3, not 6 and 1. */
static inline int tile_begin(int n, int most, int i)
{
    int tiles = (n + most - 1) / most;
    return (int)((long)n * i / tiles);
}

#endif
