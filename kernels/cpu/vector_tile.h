/* vector_tile.h - what the products by either rule share. */
#ifndef MIDPASS_CPU_VECTOR_TILE_H
#define MIDPASS_CPU_VECTOR_TILE_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector_fetch.h"

static inline int least(int a, int b)
{
    return a < b ? a : b;
}

/* Outputs from .. that lie side by side, at most `most`. */
static inline int side_by_side(const struct matrix *w, int from, int to, int most)
{
    int group = w->group > 0 ? w->group : w->n_out;
    return least(least(to - from, group - from % group), most);
}

/* Rows are cut into tiles of nearly equal height: 7 are 4 and 3, not 6 and 1. */
static inline int tile_begin(int n, int most, int i)
{
    int tiles = (n + most - 1) / most;
    return (int)((long)n * i / tiles);
}

#endif
