/* tiles.cuh - tiles of queries and of keys or values in shared memory, and their products on
 * mma.m16n8k16: what flash_bf16.cu and map.cu share. A warp takes PARTS times 16 queries, so that
 * what it loads of a tile from shared memory is used twice. */
#ifndef MIDPASS_CUDA_TILES_CUH
#define MIDPASS_CUDA_TILES_CUH

#include "kernels/cuda/flash.cuh"

#define WARPS   4
#define THREADS (WARPS * 32)
#define PARTS   2 /* of 16 queries, that a warp takes */
#define OWN     (PARTS * 16)
#define ROWS    (WARPS * OWN)
#define KEYS    64
#define STAGES  2

/* ---- instructions ---------------------------------------------------------------------------- */

/* Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8. */
__device__ static void load_matrices(unsigned r[4], const bf16 *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address_of(row))
                 : "memory");
}

/* d[16 x 8] += a[16 x 16] b[16 x 8] */
__device__ static void multiply(float d[4], const unsigned a[4], unsigned b0, unsigned b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ static void fetch_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int LEFT> __device__ static void fetch_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

/* ---- tiles ----------------------------------------------------------------------------------- */

/* Rows of a tile in shared memory: 16 bytes more than a head, an odd number of 16 bytes, so that
 * eight rows of a matrix lie in different banks. */
template <int H> struct tile {
    bf16 at[KEYS][H + 8];
};

template <int H> struct queries {
    bf16 at[ROWS][H + 8];
};

template <int H>
__device__ static void fetch_tile(const struct flash &f, size_t offset, int g, int s0,
                                  struct tile<H> *to)
{
    const int chunks = H / 8, keys = f.pos0 + f.n;
    for (int i = threadIdx.x; i < KEYS * chunks; i += THREADS) {
        int s = i / chunks, e = i % chunks * 8;
        bool there = s0 + s < keys;
        fetch(address_of(&to->at[s][e]), paged<bf16>(f.kv, offset, g, there ? s0 + s : s0) + e,
              there);
    }
}

/* The block's queries, rounded; zeros where there are none. */
template <int H>
__device__ static void load_queries(const struct flash &f, int head, int block0,
                                    struct queries<H> *to)
{
    for (int i = threadIdx.x; i < ROWS * (H / 8); i += THREADS) {
        int row = i / (H / 8), e = i % (H / 8) * 8;
        *(uint4 *)&to->at[row][e] = query_at(f, block0 + row, head, e);
    }
}

/* scores[PARTS][16 x KEYS] of the warp's queries, which begin at `own`. */
template <int H>
__device__ static void score(const struct queries<H> *q, int own, const struct tile<H> *keys,
                             float s[PARTS][KEYS / 8][4])
{
    int lane = threadIdx.x % 32, key = lane / 16 * 8 + lane % 8, e = lane / 8 % 2 * 8;
    int row = own + lane % 16, column = lane / 16 * 8;
#pragma unroll
    for (int m = 0; m < PARTS; m++)
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                s[m][j][i] = 0;
#pragma unroll
    for (int k = 0; k < H / 16; k++) {
        unsigned a[PARTS][4];
#pragma unroll
        for (int m = 0; m < PARTS; m++)
            load_matrices(a[m], &q->at[row + m * 16][k * 16 + column]);
#pragma unroll
        for (int j = 0; j < KEYS / 16; j++) {
            unsigned b[4];
            load_matrices(b, &keys->at[j * 16 + key][k * 16 + e]);
#pragma unroll
            for (int m = 0; m < PARTS; m++) {
                multiply(s[m][2 * j], a[m], b[0], b[1]);
                multiply(s[m][2 * j + 1], a[m], b[2], b[3]);
            }
        }
    }
}

#endif
