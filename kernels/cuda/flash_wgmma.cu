/* flash_wgmma.cu - many queries on Hopper's tensor cores, in bfloat16: what flash_bf16.cu does,
 * with products that a warpgroup starts and waits for, and a warpgroup that does nothing but fetch.
 *
 * A block takes 64 queries of one head a group, against tiles of 128 keys. The groups are not in
 * step: one multiplies while another takes exponentials. */
#include "kernels/cuda/flash.cuh"

#ifdef MIDPASS_SM_90A
#include "kernels/cuda/wgmma.cuh"

#define GROUP  128 /* threads of a warpgroup */
#define OWN    64  /* queries of one */
#define KEYS   128
#define STAGES 2

/* One tile at a time goes through: filled by the fetching group, emptied by all others. */
struct gate {
    uint64_t full[STAGES], empty[STAGES];
};

template <int H, int GROUPS> struct room {
    alignas(1024) unsigned char queries[GROUPS][OWN * H * 2];
    alignas(1024) unsigned char keys[STAGES][KEYS * H * 2];
    alignas(1024) unsigned char values[STAGES][KEYS * H * 2];
    struct gate keys_gate, values_gate;
};

/* ---- fetching -------------------------------------------------------------------------------- */

/* Two pages a warp, each a run of memory: [KV_PAGE, h] of a head. */
template <int H>
__device__ static __forceinline__ void fetch_tile(const struct flash &f, size_t offset, int g,
                                                  int s0, const int to[H / 16], unsigned tile)
{
    int warp = threadIdx.x % GROUP / 32, lane = threadIdx.x % 32, keys = f.pos0 + f.n;
#pragma unroll 1
    for (int page = 0; page < 2; page++) {
        int row0 = (2 * warp + page) * KV_PAGE, s = s0 + row0;
        const bf16 *from = paged<bf16>(f.kv, offset, g, s < keys ? s : s0);
#pragma unroll
        for (int k = 0; k < H / 16; k++) {
            int piece = k * 32 + lane;
            fetch(tile + row0 * BLOCK_PITCH + to[k], from + piece * 8, s + piece / (H / 8) < keys);
        }
    }
}

template <int H, int GROUPS>
__device__ static __forceinline__ void fetch_all(const struct flash &f,
                                                 struct room<H, GROUPS> *mine, int g, int start,
                                                 int tiles)
{
    int to[H / 16];
#pragma unroll
    for (int k = 0; k < H / 16; k++) {
        int piece = k * 32 + (int)threadIdx.x % 32;
        to[k] = swizzled(piece / (H / 8), piece % (H / 8) * 8, KEYS);
    }
    for (int i = 0; i < tiles; i++) {
        int at = i % STAGES, phase = i / STAGES % 2 ^ 1, s0 = start + i * KEYS;
        barrier_wait(&mine->keys_gate.empty[at], phase);
        fetch_tile<H>(f, f.kv.key_offset, g, s0, to, address_of(mine->keys[at]));
        barrier_arrive_fetched(&mine->keys_gate.full[at]);
        barrier_wait(&mine->values_gate.empty[at], phase);
        fetch_tile<H>(f, f.kv.value_offset, g, s0, to, address_of(mine->values[at]));
        barrier_arrive_fetched(&mine->values_gate.full[at]);
    }
    asm volatile("cp.async.wait_all;" ::: "memory");
}

/* ---- a group's work -------------------------------------------------------------------------- */

__device__ static __forceinline__ void wait_full(struct gate *gate, int i)
{
    barrier_wait(&gate->full[i % STAGES], i / STAGES % 2);
    tensor_fence();
}

__device__ static __forceinline__ void leave(struct gate *gate, int i)
{
    __syncwarp();
    if (threadIdx.x % 32 == 0)
        barrier_arrive(&gate->empty[i % STAGES]);
}

/* The group's queries, rounded; zeros where there are none. */
template <int H>
__device__ static __forceinline__ void load_queries(const struct flash &f, int head, int row0,
                                                    unsigned char *to)
{
    for (int i = threadIdx.x % GROUP; i < OWN * (H / 8); i += GROUP) {
        int row = i / (H / 8), e = i % (H / 8) * 8;
        float4 v = {}, w = {};
        if (row0 + row < f.n) {
            const float *q = f.q + ((size_t)(row0 + row) * f.a.n_heads + head) * H + e;
            v = *(const float4 *)q;
            w = *(const float4 *)(q + 4);
        }
        uint4 bits = {two(v.x, v.y), two(v.z, v.w), two(w.x, w.y), two(w.z, w.w)};
        *(uint4 *)(to + swizzled(row, e, OWN)) = bits;
    }
}

template <int H>
__device__ static __forceinline__ void start_scores(unsigned queries, unsigned keys,
                                                    float s[KEYS / 8][4])
{
    products_begin();
#pragma unroll
    for (int k = 0; k < H / 16; k++) {
        int block = k / 2, in = k % 2 * 32;
        multiply_rows(s, descriptor(queries + block * OWN * BLOCK_PITCH + in, 16),
                      descriptor(keys + block * KEYS * BLOCK_PITCH + in, 16), k > 0);
    }
    products_commit();
}

template <int H>
__device__ static __forceinline__ void start_mix(const unsigned p[KEYS / 16][4], unsigned values,
                                                 float o[H / 8][4])
{
    products_begin();
#pragma unroll
    for (int j = 0; j < KEYS / 16; j++)
        multiply_mix<H>(o, p[j], descriptor(values + j * 16 * BLOCK_PITCH, KEYS * BLOCK_PITCH));
    products_commit();
}

__device__ static __forceinline__ void pack_weights(const float s[KEYS / 8][4],
                                                    unsigned p[KEYS / 16][4])
{
#pragma unroll
    for (int j = 0; j < KEYS / 16; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            p[j][i] = two(s[2 * j + i / 2][i % 2 * 2], s[2 * j + i / 2][i % 2 * 2 + 1]);
}

/* Whether a value of the tile is no finite number; the same in the whole group. */
template <int H>
__device__ static __forceinline__ bool has_odd(const unsigned char *values, int barrier)
{
    unsigned odd = 0;
    for (int i = threadIdx.x % GROUP; i < KEYS * H / 8; i += GROUP) {
        uint4 v = ((const uint4 *)values)[i];
        odd |= odd_numbers(v.x) | odd_numbers(v.y) | odd_numbers(v.z) | odd_numbers(v.w);
    }
    return group_any(barrier, odd != 0);
}

/* The mix of a tile that not all queries see all of and that holds a NaN or an infinity: 0 times it
 * would spoil the queries that do not see it, so a key is only multiplied where it is seen.
 * t: the position of the lane's first row. */
template <int H>
__device__ static __forceinline__ void mix_seen(const unsigned p[KEYS / 16][4],
                                                const unsigned char *values, int window, int s0,
                                                int t, float o[H / 8][4])
{
    int lane = threadIdx.x % 32, first0 = first_visible(window, t);
    int first1 = first_visible(window, t + 8);
#pragma unroll
    for (int j = 0; j < KEYS / 8; j++)
#pragma unroll 1
        for (int c = 0; c < 8; c++) {
            int from = lane / 4 * 4 + c / 2, key = s0 + j * 8 + c;
            unsigned pair0 = __shfl_sync(0xffffffffu, p[j / 2][j % 2 * 2], from);
            unsigned pair1 = __shfl_sync(0xffffffffu, p[j / 2][j % 2 * 2 + 1], from);
            float p0 = __uint_as_float(c % 2 ? pair0 & 0xffff0000u : pair0 << 16);
            float p1 = __uint_as_float(c % 2 ? pair1 & 0xffff0000u : pair1 << 16);
            bool seen0 = key <= t && key >= first0, seen1 = key <= t + 8 && key >= first1;
#pragma unroll
            for (int k = 0; k < H / 8; k++) {
                const bf16 *v =
                    (const bf16 *)(values + swizzled(j * 8 + c, k * 8, KEYS)) + lane % 4 * 2;
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    float x = widen(v[i]);
                    o[k][i] = seen0 ? fmaf(p0, x, o[k][i]) : o[k][i];
                    o[k][i + 2] = seen1 ? fmaf(p1, x, o[k][i + 2]) : o[k][i + 2];
                }
            }
        }
}

/* What a group holds between tiles. */
template <int H> struct mixed {
    float o[H / 8][4], most[2], sum[2];
};

/* One tile by itself. cut: some of its keys are not seen by some of the queries. */
template <int H, int GROUPS>
__device__ static __forceinline__ void one_tile(const struct flash &f, struct room<H, GROUPS> *mine,
                                                int group, int i, int s0, int t, bool cut,
                                                struct mixed<H> *m)
{
    float s[KEYS / 8][4];
    unsigned p[KEYS / 16][4];
    const unsigned char *values = mine->values[i % STAGES];
    wait_full(&mine->keys_gate, i);
    start_scores<H>(address_of(mine->queries[group]), address_of(mine->keys[i % STAGES]), s);
    products_wait<0>();
    leave(&mine->keys_gate, i);
    if (cut)
        hide<KEYS>(s, f.a.window, s0, t);
#pragma unroll
    for (int half = 0; half < 2; half++)
        shrink_row<H>(m->o, half,
                      weigh<KEYS>(s, half, f.a.scale * LOG2E, &m->most[half], &m->sum[half]));
    pack_weights(s, p);
    wait_full(&mine->values_gate, i);
    if (cut && has_odd<H>(values, 1 + group)) {
        mix_seen<H>(p, values, f.a.window, s0, t, m->o);
    } else {
        start_mix<H>(p, address_of(values), m->o);
        products_wait<0>();
    }
    leave(&mine->values_gate, i);
}

/* Tiles that other groups need. */
template <int H, int GROUPS>
__device__ static __forceinline__ void pass_tiles(struct room<H, GROUPS> *mine, int from, int to)
{
    for (int i = from; i < to; i++) {
        wait_full(&mine->keys_gate, i);
        leave(&mine->keys_gate, i);
        wait_full(&mine->values_gate, i);
        leave(&mine->values_gate, i);
    }
}

template <int H, int GROUPS>
__device__ static __forceinline__ void attend_group(const struct flash &f,
                                                    struct room<H, GROUPS> *mine, int group,
                                                    int head, int block0, int start, int tiles)
{
    int row0 = block0 + group * OWN, t0 = f.pos0 + row0; /* of the group's first row */
    int rows = f.n - row0 < OWN ? f.n - row0 : OWN, window = f.a.window;
    int warp = threadIdx.x % GROUP / 32, lane = threadIdx.x % 32, t = t0 + warp * 16 + lane / 4;
    /* Tiles [from, to) are seen by some of the queries, [whole, whole_end) by all. */
    int from = rows > 0 ? (first_visible(window, t0) - start) / KEYS : 0;
    int to = rows > 0 ? (t0 + rows - 1 - start) / KEYS + 1 : 0;
    int whole = (first_visible(window, t0 + OWN - 1) - start + KEYS - 1) / KEYS;
    int whole_end = (t0 + 1 - start) / KEYS;
    struct mixed<H> m = {
        {}, {-INFINITY, -INFINITY},
        {
        }
    };
    load_queries<H>(f, head, row0, mine->queries[group]);
    tensor_fence();
    group_any(1 + group, false);
    pass_tiles<H, GROUPS>(mine, 0, from);
    for (int i = from; i < to; i++) {
        bool cut = i < whole || i >= whole_end;
        one_tile<H, GROUPS>(f, mine, group, i, start + i * KEYS, t, cut, &m);
    }
    write_rows<H>(f, head, row0 + warp * 16, m.sum, m.o);
    pass_tiles<H, GROUPS>(mine, to, tiles);
}

/* Registers of a thread that multiplies and of one that fetches: together what there is. */
template <int GROUPS> struct registers {
    static const int multiply = GROUPS == 3 ? 160 : 232, fetch = GROUPS == 3 ? 32 : 40;
};

template <int H, int GROUPS>
__global__ void __launch_bounds__((GROUPS + 1) * GROUP, 1) flash_wgmma_kernel(struct flash f)
{
    extern __shared__ __align__(1024) unsigned char shared[];
    struct room<H, GROUPS> *mine = (struct room<H, GROUPS> *)shared;
    int head = (int)blockIdx.x, g = head / (f.a.n_heads / f.a.n_kv_heads);
    int block0 = (int)(gridDim.y - 1 - blockIdx.y) * GROUPS * OWN; /* the longest first */
    int end = block0 + GROUPS * OWN < f.n ? block0 + GROUPS * OWN : f.n;
    int start = first_visible(f.a.window, f.pos0 + block0) / KEYS * KEYS;
    int tiles = (f.pos0 + end - 1 - start) / KEYS + 1;
    if (threadIdx.x < STAGES) {
        barrier_init(&mine->keys_gate.full[threadIdx.x], GROUP);
        barrier_init(&mine->values_gate.full[threadIdx.x], GROUP);
        barrier_init(&mine->keys_gate.empty[threadIdx.x], GROUPS * 4);
        barrier_init(&mine->values_gate.empty[threadIdx.x], GROUPS * 4);
    }
    __syncthreads();
    int group = __shfl_sync(0xffffffffu, (int)threadIdx.x / GROUP, 0);
    if (group == GROUPS) {
        give_registers<registers<GROUPS>::fetch>();
        fetch_all<H, GROUPS>(f, mine, g, start, tiles);
    } else {
        take_registers<registers<GROUPS>::multiply>();
        attend_group<H, GROUPS>(f, mine, group, head, block0, start, tiles);
    }
}

template <int H, int GROUPS> static void run(struct cuda *c, const struct flash *f)
{
    size_t bytes = sizeof(struct room<H, GROUPS>);
    if (!cuda_ok(c,
                 cudaFuncSetAttribute(flash_wgmma_kernel<H, GROUPS>,
                                      cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
                 "attention"))
        return;
    dim3 grid((unsigned)f->a.n_heads, (unsigned)((f->n + GROUPS * OWN - 1) / (GROUPS * OWN)));
    flash_wgmma_kernel<H, GROUPS><<<grid, (GROUPS + 1) * GROUP, bytes, c->stream>>>(*f);
    launched(c, "attention");
}

bool attend_hopper(struct cuda *c, const struct attention *a, const struct kv_pages *kv,
                   const float *q, int pos0, int n, float *z)
{
    struct flash f = {*a, *kv, q, z, pos0, n};
    int major = 0;
    if (!cuda_ok(c, cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, c->device),
                 "asking what it is"))
        return true;
    /* The greatest score is looked for before it is scaled. */
    if (major != 9 || !(a->scale > 0) || kv->key_offset % 16 || kv->value_offset % 16)
        return false;
    switch (a->d_head) {
    case 64:
        run<64, 3>(c, &f);
        return true;
    case 96:
        run<96, 2>(c, &f);
        return true;
    case 128:
        run<128, 2>(c, &f);
        return true;
    default:
        return false;
    }
}

#else

bool attend_hopper(struct cuda *, const struct attention *, const struct kv_pages *, const float *,
                   int, int, float *)
{
    return false;
}

#endif
