/* flash_wgmma.cu - many queries on Hopper's tensor cores, in bfloat16: what flash_bf16.cu does,
 * with products that a warpgroup starts and waits for, and a warpgroup that does nothing but fetch.
 *
 * A block takes 64 queries of one head a group, against tiles of keys. A group starts the scores of
 * a tile along with the mix of the tile before, and takes exponentials while that is multiplied;
 * three groups also start them in turn, so that their exponentials do not fall together.
 *
 * Where there are too few blocks for the multiprocessors, as of a short prompt behind a long one, a
 * cluster of two or four takes the place of each: a block has every second or fourth tile, and at
 * the end they put together what they have. */
#include "kernels/cuda/flash.cuh"

#ifdef MIDPASS_SM_90A
#include "kernels/cuda/wgmma.cuh"

#define GROUP 128 /* threads of a warpgroup */
#define OWN   64  /* queries of one */
#define PAGES 4   /* that are fetched at once, a warp each */

/* Of heads of H: groups that multiply, keys of a tile, tiles that there is room for. The registers
 * of a thread that multiplies and of one that fetches are together what there is: three groups have
 * room for scores of 112 keys beside weights and mix of 96. */
template <int H> struct shape {
    static const int groups = H == 128 ? 2 : 3, keys = H == 96 ? 112 : 128;
    static const int stages = H == 128 ? 2 : 3, threads = groups * GROUP;
    static const int multiply = groups == 3 ? 160 : 232, fetch = groups == 3 ? 32 : 40;
};
#define KEYS   shape<H>::keys
#define STAGES shape<H>::stages
#define GROUPS shape<H>::groups

/* One tile at a time goes through: filled by the fetching group, emptied by all others. */
template <int H> struct gate {
    uint64_t full[STAGES], empty[STAGES];
};

/* What the threads of a block have when its tiles are done, for the others of its cluster. */
template <int H> struct part {
    float o[H / 8][4][shape<H>::threads], most[2][shape<H>::threads], sum[2][shape<H>::threads];
};

template <int H> struct room {
    alignas(1024) unsigned char queries[GROUPS][OWN * H * 2];
    union {
        struct {
            alignas(1024) unsigned char keys[STAGES][KEYS * H * 2];
            alignas(1024) unsigned char values[STAGES][KEYS * H * 2];
        };
        struct part<H> part;
    };
    struct gate<H> keys_gate, values_gate;
};

/* A block's tiles: tile i has the keys from start + i * step on. */
struct tiles {
    int start, step, n;
};

/* How many of them begin before a key. */
__device__ static __forceinline__ int begun(const struct tiles &b, int key)
{
    return (key - b.start + b.step - 1) / b.step;
}

/* How many lie before it. */
template <int H> __device__ static __forceinline__ int ended(const struct tiles &b, int key)
{
    return (key - KEYS - b.start + b.step) / b.step;
}

/* Where a tile lies, and which turn of its gates is its own. */
struct stage {
    int at, turn;
};

template <int H> __device__ static __forceinline__ struct stage stage_of(int i)
{
    return {i % STAGES, i / STAGES % 2};
}

template <int H> __device__ static __forceinline__ struct stage stage_after(struct stage s)
{
    return ++s.at == STAGES ? stage{0, s.turn ^ 1} : s;
}

/* ---- fetching -------------------------------------------------------------------------------- */

/* A lane's page of the tile that begins at s0, or the last one. */
template <int H>
__device__ static __forceinline__ const unsigned char *page_of(const struct flash &f, int s0)
{
    int last = (f.pos0 + f.n - 1) / KV_PAGE, page = s0 / KV_PAGE + (int)threadIdx.x % 32;
    return (const unsigned char *)f.kv.pages[page < last ? page : last];
}

/* A head of a page is a run of memory: [KV_PAGE, H]. to: where a lane's pieces of the first 8 rows
 * go; the next 8 lie behind them. */
template <int H>
__device__ static __forceinline__ void fetch_tile(const struct flash &f, const unsigned char *page,
                                                  size_t offset, int s0, const int to[H / 32],
                                                  unsigned tile)
{
    int lane = threadIdx.x % 32, keys = f.pos0 + f.n;
#pragma unroll 1
    for (int i = threadIdx.x % GROUP / 32; i < KEYS / KV_PAGE; i += PAGES) {
        const unsigned char *from =
            (const unsigned char *)__shfl_sync(0xffffffffu, (unsigned long long)page, i);
        from += offset + lane * 16;
        int rows = keys - s0 - i * KV_PAGE;
        unsigned there = tile + i * KV_PAGE * BLOCK_PITCH;
#pragma unroll
        for (int k = 0; k < H / 16; k++)
            fetch(there + to[k % (H / 32)] + k / (H / 32) * 8 * BLOCK_PITCH, from + k * 32 * 16,
                  (k * 32 + lane) / (H / 8) < rows);
    }
}

template <int H>
__device__ static __forceinline__ void fetch_all(const struct flash &f, struct room<H> *mine, int g,
                                                 const struct tiles &t)
{
    int to[H / 32];
#pragma unroll
    for (int k = 0; k < H / 32; k++) {
        int piece = k * 32 + (int)threadIdx.x % 32;
        to[k] = swizzled(piece / (H / 8), piece % (H / 8) * 8, KEYS);
    }
    size_t head = (size_t)g * KV_PAGE * H * sizeof(bf16);
    const unsigned char *page = page_of<H>(f, t.start);
    struct stage s = {0, 0};
    for (int i = 0; i < t.n; i++, s = stage_after<H>(s)) {
        int s0 = t.start + i * t.step;
        const unsigned char *next = page_of<H>(f, s0 + t.step);
        barrier_wait(&mine->keys_gate.empty[s.at], s.turn ^ 1);
        fetch_tile<H>(f, page, f.kv.key_offset + head, s0, to, address_of(mine->keys[s.at]));
        barrier_arrive_fetched(&mine->keys_gate.full[s.at]);
        barrier_wait(&mine->values_gate.empty[s.at], s.turn ^ 1);
        fetch_tile<H>(f, page, f.kv.value_offset + head, s0, to, address_of(mine->values[s.at]));
        barrier_arrive_fetched(&mine->values_gate.full[s.at]);
        page = next;
    }
    asm volatile("cp.async.wait_all;" ::: "memory");
}

/* ---- a group's work -------------------------------------------------------------------------- */

template <int H>
__device__ static __forceinline__ void wait_full(struct gate<H> *gate, struct stage s)
{
    barrier_wait(&gate->full[s.at], s.turn);
    tensor_fence();
}

template <int H> __device__ static __forceinline__ void leave(struct gate<H> *gate, struct stage s)
{
    __syncwarp();
    if (threadIdx.x % 32 == 0)
        barrier_arrive(&gate->empty[s.at]);
}

/* The group's queries, rounded; zeros where there are none. */
template <int H>
__device__ static __forceinline__ void load_queries(const struct flash &f, int head, int row0,
                                                    unsigned char *to)
{
    for (int i = threadIdx.x % GROUP; i < OWN * (H / 8); i += GROUP) {
        int row = i / (H / 8), e = i % (H / 8) * 8;
        *(uint4 *)(to + swizzled(row, e, OWN)) = query_at(f, row0 + row, head, e);
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
        multiply_rows<KEYS>(s, descriptor(queries + block * OWN * BLOCK_PITCH + in, 16),
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

template <int H>
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

template <int H>
__device__ static __forceinline__ void weigh_rows(const struct flash &f, float s[KEYS / 8][4],
                                                  struct mixed<H> *m, float shrink[2])
{
#pragma unroll
    for (int half = 0; half < 2; half++)
        shrink[half] = weigh<KEYS>(s, half, f.a.scale * LOG2E, &m->most[half], &m->sum[half]);
}

/* After the first tiles a row's maximum seldom grows. */
template <int H>
__device__ static __forceinline__ void shrink_rows(float o[H / 8][4], const float shrink[2])
{
    if (__any_sync(0xffffffffu, shrink[0] != 1 || shrink[1] != 1)) {
        shrink_row<H>(o, 0, shrink[0]);
        shrink_row<H>(o, 1, shrink[1]);
    }
}

/* The weights of a tile, to which what was mixed before is shrunk. cut: some of its keys, from s0
 * on, are not seen by some of the queries. t: the position of the lane's first row. */
template <int H>
__device__ static __forceinline__ void weigh_tile(const struct flash &f, struct room<H> *mine,
                                                  int group, struct stage at, bool cut, int s0,
                                                  int t, struct mixed<H> *m,
                                                  unsigned p[KEYS / 16][4])
{
    float s[KEYS / 8][4], shrink[2];
    wait_full<H>(&mine->keys_gate, at);
    start_scores<H>(address_of(mine->queries[group]), address_of(mine->keys[at.at]), s);
    products_wait<0>();
    products_done<KEYS / 8>(s);
    leave<H>(&mine->keys_gate, at);
    if (cut)
        hide<KEYS>(s, f.a.window, s0, t);
    weigh_rows<H>(f, s, m, shrink);
    shrink_rows<H>(m->o, shrink);
    pack_weights<H>(s, p);
}

template <int H>
__device__ static __forceinline__ void mix_tile(struct room<H> *mine, struct stage at,
                                                const unsigned p[KEYS / 16][4], struct mixed<H> *m)
{
    start_mix<H>(p, address_of(mine->values[at.at]), m->o);
    products_wait<0>();
    products_done<H / 8>(m->o);
    leave<H>(&mine->values_gate, at);
}

/* A tile that is cut, by itself. */
template <int H>
__device__ static __forceinline__ void cut_tile(const struct flash &f, struct room<H> *mine,
                                                int group, int i, int s0, int t, struct mixed<H> *m)
{
    unsigned p[KEYS / 16][4];
    struct stage at = stage_of<H>(i);
    const unsigned char *values = mine->values[at.at];
    weigh_tile<H>(f, mine, group, at, true, s0, t, m, p);
    wait_full<H>(&mine->values_gate, at);
    if (has_odd<H>(values, 1 + group)) {
        mix_seen<H>(p, values, f.a.window, s0, t, m->o);
        leave<H>(&mine->values_gate, at);
    } else {
        mix_tile<H>(mine, at, p, m);
    }
}

/* Tiles [from, to), from < to, that all of the group's queries see all of. In (turns, turns_end)
 * all groups are at it, and start their products in turn. */
template <int H>
__device__ static __forceinline__ void whole_tiles(const struct flash &f, struct room<H> *mine,
                                                   int group, int from, int to, int turns,
                                                   int turns_end, struct mixed<H> *m)
{
    float s[KEYS / 8][4], shrink[2];
    unsigned p[KEYS / 16][4], queries = address_of(mine->queries[group]);
    int turn = 1 + GROUPS + group, next_turn = 1 + GROUPS + (group + 1) % GROUPS;
    struct stage at = stage_of<H>(from);
    weigh_tile<H>(f, mine, group, at, false, 0, 0, m, p);
    if (turns + 1 < turns_end && group == GROUPS - 1)
        pair_tell(next_turn);
#pragma unroll 1
    for (int i = from + 1; i < to; i++) {
        struct stage next = stage_after<H>(at);
        bool in_turn = i > turns && i < turns_end;
        if (in_turn)
            pair_wait(turn);
        wait_full<H>(&mine->keys_gate, next);
        start_scores<H>(queries, address_of(mine->keys[next.at]), s);
        wait_full<H>(&mine->values_gate, at);
        start_mix<H>(p, address_of(mine->values[at.at]), m->o);
        if (in_turn)
            pair_tell(next_turn);
        products_wait<1>();
        products_done<KEYS / 8>(s);
        leave<H>(&mine->keys_gate, next);
        weigh_rows<H>(f, s, m, shrink);
        products_wait<0>();
        products_done<H / 8>(m->o);
        products_done<KEYS / 8>(s); /* not packed before p is free */
        leave<H>(&mine->values_gate, at);
        shrink_rows<H>(m->o, shrink);
        pack_weights<H>(s, p);
        at = next;
    }
    wait_full<H>(&mine->values_gate, at);
    mix_tile<H>(mine, at, p, m);
}

/* Tiles that other groups need. */
template <int H>
__device__ static __forceinline__ void pass_tiles(struct room<H> *mine, int from, int to)
{
    for (int i = from; i < to; i++) {
        struct stage at = stage_of<H>(i);
        wait_full<H>(&mine->keys_gate, at);
        leave<H>(&mine->keys_gate, at);
        wait_full<H>(&mine->values_gate, at);
        leave<H>(&mine->values_gate, at);
    }
}

/* Adds what the other blocks of the cluster have for a warp's rows; each warp's rows are put
 * together by one of them. False: by another one. */
template <int H>
__device__ static __forceinline__ bool put_together(struct part<H> *mine, float scale, int rank,
                                                    int splits, struct mixed<H> *m)
{
    int me = (int)threadIdx.x;
    cluster_sync(); /* no tile is needed any more */
#pragma unroll
    for (int half = 0; half < 2; half++) {
        mine->most[half][me] = m->most[half];
        mine->sum[half][me] = m->sum[half];
    }
#pragma unroll
    for (int k = 0; k < H / 8; k++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            mine->o[k][i][me] = m->o[k][i];
    cluster_sync();
    if (me / 32 % splits != rank)
        return false;
#pragma unroll 1
    for (int r = 1; r < splits; r++) {
        unsigned other = (unsigned)((rank + r) % splits);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float most = read_in(address_in(other, &mine->most[half][me]));
            float top = fmaxf(m->most[half], most), base = top == -INFINITY ? 0 : top * scale;
            float keep = m->most[half] == top ? 1 : power_of_two(fmaf(m->most[half], scale, -base));
            float add = most == top ? 1 : power_of_two(fmaf(most, scale, -base));
            m->most[half] = top;
            m->sum[half] =
                m->sum[half] * keep + read_in(address_in(other, &mine->sum[half][me])) * add;
#pragma unroll
            for (int k = 0; k < H / 8; k++)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; i++)
                    m->o[k][i] =
                        m->o[k][i] * keep + read_in(address_in(other, &mine->o[k][i][me])) * add;
        }
    }
    return true;
}

template <int H>
__device__ static __forceinline__ void attend_group(const struct flash &f, struct room<H> *mine,
                                                    int group, int head, int block0, int rank,
                                                    int splits, const struct tiles &b)
{
    int row0 = block0 + group * OWN, t0 = f.pos0 + row0; /* of the group's first row */
    int rows = f.n - row0 < OWN ? f.n - row0 : OWN, window = f.a.window;
    int warp = threadIdx.x % GROUP / 32, lane = threadIdx.x % 32, t = t0 + warp * 16 + lane / 4;
    /* Tiles [from, to) are seen by some of the queries, [whole, whole_end) by all; [turns,
     * turns_end) by all of the block's. */
    int from = rows > 0 ? ended<H>(b, first_visible(window, t0)) : 0;
    int to = rows > 0 ? begun(b, t0 + rows) : 0;
    int whole = begun(b, first_visible(window, t0 + OWN - 1)), whole_end = ended<H>(b, t0 + 1);
    int turns = begun(b, first_visible(window, f.pos0 + block0 + GROUPS * OWN - 1));
    int turns_end = ended<H>(b, f.pos0 + block0 + 1);
    if (GROUPS < 3 || block0 + (GROUPS - 1) * OWN >= f.n)
        turns_end = 0;
    struct mixed<H> m = {
        {}, {-INFINITY, -INFINITY},
        {
        }
    };
    load_queries<H>(f, head, row0, mine->queries[group]);
    tensor_fence();
    group_any(1 + group, false);
    pass_tiles<H>(mine, 0, from);
    /* The run begins at `whole` itself, not where the loop has come to: so the compiler knows that
     * the addresses of its tiles are the same in all lanes, and keeps them where products want
     * them. */
    whole = whole > from ? whole : from;
    whole_end = whole_end < to ? whole_end : to;
#pragma unroll 1
    for (int i = from; i < to; i++)
        if (i == whole && whole < whole_end) {
            whole_tiles<H>(f, mine, group, whole, whole_end, turns, turns_end, &m);
            i = whole_end - 1;
        } else {
            cut_tile<H>(f, mine, group, i, b.start + i * b.step, t, &m);
        }
    pass_tiles<H>(mine, to, b.n);
    if (splits == 1 || put_together<H>(&mine->part, f.a.scale * LOG2E, rank, splits, &m))
        write_rows<H>(f, head, row0 + warp * 16, m.most, m.sum, m.o);
    if (splits > 1)
        cluster_sync(); /* a block's memory is there until all have read it */
}

template <int H>
__global__ void __launch_bounds__((GROUPS + 1) * GROUP, 1)
    flash_wgmma_kernel(struct flash f, int splits)
{
    extern __shared__ __align__(1024) unsigned char shared[];
    struct room<H> *mine = (struct room<H> *)shared;
    int head = (int)blockIdx.x / splits, g = head / (f.a.n_heads / f.a.n_kv_heads);
    int rank = (int)blockIdx.x % splits;
    int block0 = (int)(gridDim.y - 1 - blockIdx.y) * GROUPS * OWN; /* the longest first */
    int end = block0 + GROUPS * OWN < f.n ? block0 + GROUPS * OWN : f.n;
    int start = first_visible(f.a.window, f.pos0 + block0) / KEYS * KEYS + rank * KEYS;
    struct tiles tiles = {start, splits * KEYS, 0};
    tiles.n = begun(tiles, f.pos0 + end);
    if (threadIdx.x < STAGES) {
        barrier_init(&mine->keys_gate.full[threadIdx.x], GROUP);
        barrier_init(&mine->values_gate.full[threadIdx.x], GROUP);
        barrier_init(&mine->keys_gate.empty[threadIdx.x], GROUPS * 4);
        barrier_init(&mine->values_gate.empty[threadIdx.x], GROUPS * 4);
    }
    __syncthreads();
    int group = __shfl_sync(0xffffffffu, (int)threadIdx.x / GROUP, 0);
    if (group == GROUPS) {
        give_registers<shape<H>::fetch>();
        fetch_all<H>(f, mine, g, tiles);
    } else {
        take_registers<shape<H>::multiply>();
        attend_group<H>(f, mine, group, head, block0, rank, splits, tiles);
    }
}

/* ---- launching ------------------------------------------------------------------------------- */

#define JOINING 2  /* tiles that a cluster could do while it puts together */
#define SHARED  12 /* tiles of a block that may be worth it */

/* A launch where `splits` blocks share the work of one. */
template <int H>
static cudaLaunchConfig_t config_of(struct cuda *c, const struct flash *f, int splits,
                                    cudaLaunchAttribute *cluster)
{
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)(f->a.n_heads * splits),
                          (unsigned)((f->n + GROUPS * OWN - 1) / (GROUPS * OWN)));
    config.blockDim = dim3((GROUPS + 1) * GROUP);
    config.dynamicSmemBytes = sizeof(struct room<H>);
    config.stream = c->stream;
    cluster->id = cudaLaunchAttributeClusterDimension;
    cluster->val.clusterDim.x = (unsigned)splits;
    cluster->val.clusterDim.y = cluster->val.clusterDim.z = 1;
    config.attrs = cluster;
    config.numAttrs = splits > 1;
    return config;
}

/* How many blocks had best share the work of one. An exact device's rows do not depend on how many
 * there are. */
template <int H> static int splits_of(struct cuda *c, const struct flash *f)
{
    int best = 1, keys = f->pos0 + f->n / 2;
    if (f->a.window > 0 && f->a.window < keys)
        keys = f->a.window;
    float tiles = (float)keys / KEYS, least = INFINITY;
    int most = c->b.exact || tiles < SHARED ? 1 : 4;
    for (int splits = 1; splits <= most; splits *= 2) {
        cudaLaunchAttribute cluster;
        cudaLaunchConfig_t config = config_of<H>(c, f, splits, &cluster);
        int fit = c->n_sm, units = f->a.n_heads * (int)config.gridDim.y;
        if (splits > 1 &&
            !cuda_ok(c, cudaOccupancyMaxActiveClusters(&fit, flash_wgmma_kernel<H>, &config),
                     "attention"))
            break;
        if (fit == 0)
            break;
        float cost =
            (float)((units + fit - 1) / fit) * (tiles / (float)splits + (splits > 1 ? JOINING : 0));
        if (cost < least) {
            least = cost;
            best = splits;
        }
    }
    return best;
}

template <int H> static void run(struct cuda *c, const struct flash *f)
{
    if (!cuda_ok(c,
                 cudaFuncSetAttribute(flash_wgmma_kernel<H>,
                                      cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      (int)sizeof(struct room<H>)),
                 "attention"))
        return;
    int splits = splits_of<H>(c, f);
    cudaLaunchAttribute cluster;
    cudaLaunchConfig_t config = config_of<H>(c, f, splits, &cluster);
    cuda_ok(c, cudaLaunchKernelEx(&config, flash_wgmma_kernel<H>, *f, splits), "attention");
}

bool attend_hopper(struct cuda *c, const struct flash *f)
{
    int major = 0;
    if (!cuda_ok(c, cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, c->device),
                 "asking what it is"))
        return true;
    if (major != 9)
        return false;
    switch (f->a.d_head) {
    case 64:
        run<64>(c, f);
        return true;
    case 96:
        run<96>(c, f);
        return true;
    case 128:
        run<128>(c, f);
        return true;
    default:
        return false;
    }
}

#else

bool attend_hopper(struct cuda *, const struct flash *)
{
    return false;
}

#endif
