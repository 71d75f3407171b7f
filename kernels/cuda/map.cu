/* map.cu - attention patterns pooled by largest weight into cells, none of them kept.
 *
 * In bfloat16, for heads of a multiple of 16, in one sweep over the keys on the tensor cores, which
 * leaves each cell's greatest score: of that alone the exponential is taken, less the sum that
 * attention has left of the row. Keys are cut into splits, so that a few queries fill the GPU.
 * Elsewhere the pattern's rows are computed as when they are looked at, some of them at a time, and
 * pooled. */
#include "kernels/cuda/tiles.cuh"

#include <limits.h>

#define SPLIT      2048              /* keys */
#define ROW_FLOATS ((size_t)1 << 24) /* of patterns that are there at a time */

struct map_job {
    struct flash f; /* z: unused */
    int head0, heads;
    struct map_region m;
    const float *sums; /* [n, H] */
    float *cells;      /* [heads, rows, columns] */
};

/* A weight's bits as a number that grows with it, above that of -inf; a NaN's are above all. */
__device__ static __forceinline__ int order_of(float weight)
{
    return isnan(weight) ? 0x7fc00000 : __float_as_int(weight);
}

__device__ static __forceinline__ void raise(float *cell, int order)
{
    if (order > *(volatile int *)cell)
        atomicMax((int *)cell, order);
}

/* ---- on the tensor cores --------------------------------------------------------------------- */

template <int H> struct map_room {
    struct tile<H> keys[STAGES];
    struct queries<H> queries;
};

/* A lane's rows: half k of part m is row m * 16 + k * 8 + lane / 4 of the warp's. */
struct lane_rows {
    float most[PARTS][2];
    float sum[PARTS][2];
};

/* The keys of [start, stop) go by in tiles; `see` is called with each, its scores in s. All warps
 * come along; t0: the position of the warp's first row. */
template <int H, typename SEE>
__device__ static __forceinline__ void through_keys(const struct flash &f, struct map_room<H> *mine,
                                                    int head, int block0, int start, int stop,
                                                    SEE see)
{
    int g = head / (f.a.n_heads / f.a.n_kv_heads), own = (int)threadIdx.x / 32 * OWN;
    int t0 = f.pos0 + block0 + own, lane = threadIdx.x % 32,
        tiles = (stop - start + KEYS - 1) / KEYS;
    fetch_tile<H>(f, f.kv.key_offset, g, start, &mine->keys[0]);
    fetch_commit();
    load_queries<H>(f, head, block0, &mine->queries);
    for (int i = 0; i < tiles; i++) {
        int s0 = start + i * KEYS;
        if (i + 1 < tiles)
            fetch_tile<H>(f, f.kv.key_offset, g, s0 + KEYS, &mine->keys[(i + 1) % STAGES]);
        fetch_commit();
        fetch_wait<1>();
        __syncthreads();
        float s[PARTS][KEYS / 8][4];
        score<H>(&mine->queries, own, &mine->keys[i % STAGES], s);
        if (s0 + KEYS - 1 > t0 || (f.a.window > 0 && s0 < first_visible(f.a.window, t0 + OWN - 1)))
#pragma unroll
            for (int m = 0; m < PARTS; m++)
                hide<KEYS>(s[m], f.a.window, s0, t0 + m * 16 + lane / 4);
        see(s0, s);
        __syncthreads();
    }
    fetch_wait<0>();
}

/* What a lane has to know of its rows to turn their scores into cells. */
struct lane_cells {
    float base[PARTS][2]; /* its sum, as a power of two */
    int row[PARTS][2];    /* of cells; -1: there is no such query */
    bool one_row;         /* all queries of the warp are in one row of cells, and are there */
};

__device__ static __forceinline__ struct lane_cells cells_of_lane(const struct map_job &j, int head,
                                                                  int own0)
{
    struct lane_cells c;
    int lane = threadIdx.x % 32, queries = j.m.q1 - j.m.q0, low = INT_MAX, high = -1;
    bool all = true;
#pragma unroll
    for (int m = 0; m < PARTS; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = own0 + m * 16 + half * 8 + lane / 4;
            bool there = row < j.f.n;
            size_t at = (size_t)row * j.f.a.n_heads + j.head0 + head;
            c.base[m][half] = there ? j.sums[at] * LOG2E : 0;
            c.row[m][half] = there ? cell_of(j.f.pos0 + row - j.m.q0, queries, j.m.rows) : -1;
            all = all && there;
            low = c.row[m][half] < low ? c.row[m][half] : low;
            high = c.row[m][half] > high ? c.row[m][half] : high;
        }
    int first = __shfl_sync(0xffffffffu, low, 0);
    c.one_row = __all_sync(0xffffffffu, all && low == first && high == first);
    return c;
}

/* A column's greatest scores, of keys [from, to), into the cells as weights. t0: the position of
 * the warp's first row. */
__device__ static void leave_column(const struct map_job &j, const struct lane_cells &c,
                                    const float best[PARTS][2], int head, int column, int from,
                                    int to, int t0)
{
    int lane = threadIdx.x % 32, warp_most = INT_MIN;
    float *cells = j.cells + (size_t)head * j.m.rows * j.m.columns + column;
    float scale = j.f.a.scale * LOG2E;
#pragma unroll
    for (int m = 0; m < PARTS; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float x = quad_max(best[m][half]);
            int t = t0 + m * 16 + half * 8 + lane / 4;
            int order = INT_MIN;
            if (c.row[m][half] >= 0 && from <= t && to > first_visible(j.f.a.window, t))
                order = order_of(power_of_two(fmaf(x, scale, -c.base[m][half])));
            if (c.one_row)
                warp_most = order > warp_most ? order : warp_most;
            else if (order != INT_MIN && lane % 4 == 0)
                raise(cells + (size_t)c.row[m][half] * j.m.columns, order);
        }
    if (!c.one_row)
        return;
    warp_most = __reduce_max_sync(0xffffffffu, warp_most);
    if (lane == 0 && warp_most != INT_MIN)
        raise(cells + (size_t)c.row[0][0] * j.m.columns, warp_most);
}

/* The greatest scores of keys [from, to) of the tile that begins at s0. */
__device__ static __forceinline__ void look(const float s[PARTS][KEYS / 8][4], int s0, int from,
                                            int to, float best[PARTS][2])
{
    bool whole = from == s0 && to == s0 + KEYS;
#pragma unroll
    for (int m = 0; m < PARTS; m++)
#pragma unroll
        for (int i = 0; i < KEYS / 8; i++)
#pragma unroll
            for (int k = 0; k < 4; k++) {
                int key = s0 + i * 8 + (int)threadIdx.x % 4 * 2 + k % 2;
                if (whole || (key >= from && key < to))
                    best[m][k / 2] = fmaxf(best[m][k / 2], s[m][i][k]);
            }
}

/* A block: 128 queries of a head, what the map shows of one split. */
template <int H> __global__ void __launch_bounds__(THREADS, 2) map_cells_kernel(struct map_job j)
{
    extern __shared__ __align__(16) unsigned char shared[];
    const struct flash &f = j.f;
    int block0 = (int)blockIdx.x * ROWS, head = (int)blockIdx.z, keys = j.m.k1 - j.m.k0;
    int end = block0 + ROWS < f.n ? block0 + ROWS : f.n, split = j.m.k0 / SPLIT + (int)blockIdx.y;
    int start = max(max(split * SPLIT, j.m.k0), first_visible(f.a.window, f.pos0 + block0));
    int stop = min(min((split + 1) * SPLIT, j.m.k1), f.pos0 + end);
    if (start >= stop)
        return;
    int own0 = block0 + (int)threadIdx.x / 32 * OWN, t0 = f.pos0 + own0;
    struct lane_cells c = cells_of_lane(j, head, own0);
    int column = cell_of(start - j.m.k0, keys, j.m.columns), from = start;
    int to = min(j.m.k0 + cell_first(column + 1, keys, j.m.columns), stop);
    float best[PARTS][2];
#pragma unroll
    for (int m = 0; m < PARTS; m++)
        best[m][0] = best[m][1] = -INFINITY;
    through_keys<H>(f, (struct map_room<H> *)shared, j.head0 + head, block0, start, stop,
                    [&](int s0, float s[PARTS][KEYS / 8][4]) {
                        int tile_end = min(s0 + KEYS, stop);
                        for (int at = s0; at < tile_end;) {
                            int next = min(to, tile_end);
                            look(s, s0, at, next, best);
                            at = next;
                            if (at < to)
                                continue;
                            leave_column(j, c, best, head, column, from, to, t0);
#pragma unroll
                            for (int m = 0; m < PARTS; m++)
                                best[m][0] = best[m][1] = -INFINITY;
                            column++;
                            from = to;
                            to = min(j.m.k0 + cell_first(column + 1, keys, j.m.columns), stop);
                        }
                    });
}

template <int H> static void run(struct cuda *c, const struct map_job *j)
{
    size_t bytes = sizeof(struct map_room<H>);
    const struct flash *f = &j->f;
    if (!cuda_ok(c,
                 cudaFuncSetAttribute(map_cells_kernel<H>,
                                      cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
                 "map"))
        return;
    unsigned blocks = (unsigned)((f->n + ROWS - 1) / ROWS), heads = (unsigned)j->heads;
    int last = j->m.k1 < f->pos0 + f->n ? j->m.k1 : f->pos0 + f->n;
    if (last > j->m.k0) {
        unsigned splits = (unsigned)((last - 1) / SPLIT - j->m.k0 / SPLIT + 1);
        map_cells_kernel<H><<<dim3(blocks, splits, heads), THREADS, bytes, c->stream>>>(*j);
    }
    launched(c, "map");
}

/* ---- from rows of the pattern ---------------------------------------------------------------- */

/* A warp: one row of the pattern and one column. rows: [n, keys] of one head, cells: its own. */
__global__ void map_pool_kernel(struct map_region m, const float *rows, int pos0, int n,
                                float *cells)
{
    int column = (int)(blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    int row = (int)blockIdx.y, t = pos0 + row, keys = m.k1 - m.k0, most = INT_MIN;
    if (column >= m.columns)
        return;
    int from = m.k0 + cell_first(column, keys, m.columns);
    int to = min(m.k0 + cell_first(column + 1, keys, m.columns), t + 1);
    rows += (size_t)row * (size_t)(pos0 + n);
    for (int k = from + lane; k < to; k += 32)
        most = max(most, order_of(rows[k]));
    most = __reduce_max_sync(0xffffffffu, most);
    if (lane == 0 && most != INT_MIN)
        raise(cells + (size_t)cell_of(t - m.q0, m.q1 - m.q0, m.rows) * m.columns + column, most);
}

static int rows_at_once(int n, int n_keys)
{
    size_t most = ROW_FLOATS / (size_t)n_keys;
    return most < 1 ? 1 : most < (size_t)n ? (int)most : n;
}

static void map_by_rows(struct backend *b, const struct attention *a, const struct kv_view *kv,
                        const float *q, int pos0, int n, int head0, int heads,
                        const struct map_region *m, float *cells, float *rows)
{
    struct cuda *c = cuda_of(b);
    int step = rows_at_once(n, pos0 + n);
    for (int head = 0; head < heads; head++)
        for (int r = 0; r < n && !c->failed; r += step) {
            int some = n - r < step ? n - r : step;
            b->scores(b, a, kv, q + (size_t)r * a->n_heads * a->d_head, pos0 + r, some,
                      head0 + head, 1, rows);
            b->softmax(b, a, rows, pos0 + r, some, 1, rows, NULL);
            dim3 grid((unsigned)((m->columns + 7) / 8), (unsigned)some);
            map_pool_kernel<<<grid, 256, 0, c->stream>>>(
                *m, rows, pos0 + r, some, cells + (size_t)head * m->rows * m->columns);
            launched(c, "map");
        }
}

/* ---- which of them --------------------------------------------------------------------------- */

static size_t map_workspace(struct backend *b, const struct attention *a, int n, int n_keys,
                            int heads)
{
    (void)heads;
    if (on_tensor_cores(b, a))
        return 0;
    return (size_t)rows_at_once(n, n_keys) * (size_t)n_keys * sizeof(float);
}

static void map(struct backend *b, const struct attention *a, const struct kv_view *kv,
                const float *q, const float *sums, int pos0, int n, int head0, int heads,
                const struct map_region *m, float *cells, struct workspace work)
{
    struct cuda *c = cuda_of(b);
    struct kv_pages pages;
    if (!ready(c) || n <= 0 || heads <= 0 || !kv_on_device(c, kv, pos0 + n, &pages))
        return;
    if (!on_tensor_cores(b, a)) {
        map_by_rows(b, a, kv, q, pos0, n, head0, heads, m, cells, (float *)work.data);
        return;
    }
    struct map_job j = {{*a, pages, q, NULL, pos0, n}, head0, heads, *m, sums, cells};
    switch (a->d_head) {
    case 16:
        run<16>(c, &j);
        break;
    case 32:
        run<32>(c, &j);
        break;
    case 64:
        run<64>(c, &j);
        break;
    case 80:
        run<80>(c, &j);
        break;
    case 96:
        run<96>(c, &j);
        break;
    default:
        run<128>(c, &j);
    }
}

void map_ops(struct backend *b)
{
    b->map = map;
    b->map_workspace = map_workspace;
}
