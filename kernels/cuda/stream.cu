/* stream.cu - one row times matrices in Linear's layout, on GPUs before 9.0: as token.cu does it, a
 * launch for each.
 *
 * Bounded by reading the matrices once, so they must be on their way all the time. There is one
 * block for each multiprocessor. Each of its warps takes two outputs after the other, and has SLOTS
 * steps of their inputs under way in shared memory; a warp's lane reads back what it has fetched
 * itself, so no barrier is needed.
 *
 * The norm that makes the row is run by every block on its own, which is cheaper than a kernel; the
 * activation follows in the warp that has the outputs. Both leave what they would have left alone.
 */
#include "kernels/cuda/async.cuh"
#include "kernels/cuda/product.cuh"

#define LEAST_WARPS (NORM_LANES / 32)
#define MOST_WARPS  16
#define NEARLY      2 /* units of a block that may be lost to an uneven turn */
#define SLOTS       3
#define SLOT_BYTES  (2 * PIECE)

/* How far the fetching has come. */
template <typename T> struct walk {
    int unit, at, stride, end; /* of the units of this warp */
    const T *row[2];
};

template <typename T>
__device__ static __forceinline__ void enter(const struct product_stage &s, struct walk<T> *w,
                                             int unit)
{
    w->unit = unit;
    w->at = 0;
    if (unit >= w->end)
        return;
    struct pair p = pair_of(s, unit);
#pragma unroll
    for (int o = 0; o < 2; o++)
        w->row[o] = row_of<T>(s, p.part[o], p.row[o]);
}

/* Fetches the next step, if there is one, as a group of its own. */
template <typename T>
__device__ static __forceinline__ void step(const struct product_stage &s, struct walk<T> *w,
                                            char *slot)
{
    constexpr int VEC = 16 / (int)sizeof(T);
    int lane = (int)threadIdx.x % 32;
    if (w->unit < w->end) {
#pragma unroll
        for (int o = 0; o < 2; o++) {
            int k = w->at + lane * VEC;
            if (k < s.n_in)
                bring(slot + o * PIECE + lane * 16, w->row[o] + k, true);
        }
        w->at += 32 * VEC;
        if (w->at >= s.n_in)
            enter(s, w, w->unit + w->stride);
    }
    bring_group();
}

/* Shared memory: each warp's slots, the row as floats, the row rounded. */
template <typename T, bool ROUND>
__global__ void __launch_bounds__(MOST_WARPS * 32, 2)
    stream_kernel(const __grid_constant__ struct product_stage s)
{
    constexpr int VEC = 16 / (int)sizeof(T);
    extern __shared__ __align__(128) char shared[];
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, warps = (int)blockDim.x / 32;
    float *v = (float *)(shared + warps * SLOTS * SLOT_BYTES);
    bf16 *rounds = (bf16 *)((char *)v + row_bytes(false, s.normed || !ROUND, s.n_in));
    char *slots = shared + warp * SLOTS * SLOT_BYTES;
    struct walk<T> ahead;
    int first = share_begin(s.units, (int)blockIdx.x) + warp;
    ahead.end = share_begin(s.units, (int)blockIdx.x + 1);
    ahead.stride = warps;
    enter(s, &ahead, first);
    for (int i = 0; i < SLOTS; i++)
        step(s, &ahead, slots + i * SLOT_BYTES);
    row_bring<ROUND, 0>(s, v, rounds);
    __syncthreads();
    int slot = 0;
    for (int unit = first; unit < ahead.end; unit += warps) {
        struct pair p = pair_of(s, unit);
        float sum[2] = {}, bias[2];
        unit_bias(s, p, bias);
        for (int at = 0; at < s.n_in; at += 32 * VEC) {
            char *mine = slots + slot * SLOT_BYTES;
            bring_wait<SLOTS - 1>();
            int k = at + lane * VEC;
            if (k < s.n_in) {
                float in[VEC];
                row_take<ROUND, VEC>(v, rounds, k, in);
#pragma unroll
                for (int o = 0; o < 2; o++)
                    row_add<T>(mine + o * PIECE + lane * 16, in, &sum[o]);
            }
            step(s, &ahead, mine);
            slot = slot + 1 == SLOTS ? 0 : slot + 1;
        }
        sum[0] = warp_sum(sum[0]);
        sum[1] = warp_sum(sum[1]);
        if (lane == 0)
            unit_finish(s, p, sum, bias);
    }
}

/* As many warps as can be, for what they have under way, of those that leave nearly the fewest
 * without work in the last turn. */
static int warps_of(int units, int blocks)
{
    int each = (units + blocks - 1) / blocks, best = MOST_WARPS, least = 1 << 30;
    for (int w = MOST_WARPS; w >= LEAST_WARPS; w--) {
        int turns = (each + w - 1) / w * w;
        if (turns + NEARLY < least) {
            least = turns;
            best = w;
        }
    }
    return best;
}

size_t stream_shared_bytes(size_t row)
{
    return MOST_WARPS * SLOTS * SLOT_BYTES + row;
}

template <typename T, bool ROUND> static void run(struct cuda *c, const struct product_stage *s)
{
    int blocks = s->units < c->n_sm ? s->units : c->n_sm, warps = warps_of(s->units, blocks);
    size_t row = row_bytes(ROUND, s->normed || !ROUND, s->n_in);
    size_t bytes = (size_t)(warps * SLOTS * SLOT_BYTES) + row;
    if (!shared_memory(c, (const void *)stream_kernel<T, ROUND>, bytes, "matmul of one row"))
        return;
    stream_kernel<T, ROUND><<<blocks, 32 * warps, bytes, c->stream>>>(*s);
    launched(c, "matmul of one row");
}

void stream_launch(struct cuda *c, const struct product_stage *s, enum dtype stored)
{
    if (stored == DTYPE_F32)
        run<float, false>(c, s);
    else if (stored == DTYPE_F16)
        run<__half, false>(c, s);
    else if (c->b.dtype == DTYPE_BF16)
        run<bf16, true>(c, s);
    else
        run<bf16, false>(c, s);
}
