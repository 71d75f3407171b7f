/* stream.cu - one row times matrices in Linear's layout: what a token's time goes to.
 *
 * Bounded by reading the matrices once, so they must be on their way all the time. There is one
 * block for each multiprocessor. Each of its warps takes two outputs after the other, and has SLOTS
 * steps of their inputs under way in shared memory; a warp reads back what it has fetched itself,
 * so no barrier of the block is needed. The first steps are fetched before the kernel in front has
 * ended.
 *
 * The norm that makes the row is run by every block on its own, which is cheaper than a kernel; the
 * activation follows in the warp that has the outputs. Both leave what they would have left alone.
 */
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/async.cuh"
#include "kernels/cuda/matrix.cuh"
#include "kernels/cuda/norm.cuh"

#define LEAST_WARPS  (NORM_LANES / 32)
#define MOST_WARPS   16
#define NEARLY       2                  /* units of a block that may be lost to an uneven turn */
#define PIECE        512                /* bytes that a warp loads at once */
#define ANNOUNCED    ((size_t)24 << 20) /* bytes: about half of a large GPU's L2 */
#define WIDEST       28672              /* inputs */
#define STATIC_BYTES 256                /* of shared memory, beside what a launch asks for */

/* How the warps fetch. */
template <int ROWS_, int PIECES_, int SLOTS_, bool BULK_> struct way {
    static constexpr int ROWS = ROWS_;     /* outputs side by side: 1 or 2 */
    static constexpr int PIECES = PIECES_; /* of each, in a step */
    static constexpr int SLOTS = SLOTS_;
    static constexpr bool BULK = BULK_; /* a step's are one request */
    static constexpr int SLOT_BYTES = ROWS_ * PIECES_ * PIECE;
};

/* What was fastest on an H200: large steps, since what a warp does between two of them counts. */
using way_rounding = way<2, 4, 2, true>;
using way_exact = way<1, 4, 3, true>;
using way_before_9 = way<2, 1, 3, false>;

template <typename T> struct stream {
    struct parts<T> parts;
    int ends[TOGETHER]; /* of the parts, in units of two outputs */
    int units, n_in;
    size_t announced; /* bytes of a warp */
    const float *x;
    bool normed, activated, paired; /* paired: a unit is an output of each of two parts */
    struct norm_job norm;
    enum activation act;
    float *post;
};

/* The outputs of a unit; the second is the first again where there is none. */
struct pair {
    int part[2], row[2];
};

template <typename T> __device__ static __forceinline__ pair pair_of(const stream<T> &s, int unit)
{
    if (s.paired)
        return {{0, 1}, {unit, unit}};
    int part = unit < s.ends[0] ? 0 : unit < s.ends[1] ? 1 : 2;
    int first = 2 * (part ? unit - s.ends[part - 1] : unit);
    int second = first + 1 < s.parts.w[part].n_out ? first + 1 : first;
    return {{part, part}, {first, second}};
}

/* How far the fetching has come. */
template <typename T> struct walk {
    int unit, at, half; /* half: which of the two outputs, where they come one after the other */
    const T *row[2];
    int stride, end; /* of the units of this warp */
};

template <typename T>
__device__ static __forceinline__ void enter(const stream<T> &s, walk<T> *w, int unit)
{
    w->unit = unit;
    w->at = w->half = 0;
    if (unit >= w->end)
        return;
    pair p = pair_of(s, unit);
#pragma unroll
    for (int o = 0; o < 2; o++)
        w->row[o] = s.parts.w[p.part[o]].output(p.row[o]);
}

/* Fetches the next step, if there is one, as a group of its own or behind `bar`. */
template <typename T, typename WAY>
__device__ static __forceinline__ void step(const stream<T> &s, walk<T> *w, char *slot,
                                            uint64_t *bar, uint64_t policy)
{
    constexpr int VEC = 16 / (int)sizeof(T), STEP = WAY::PIECES * 32 * VEC;
    int lane = (int)threadIdx.x % 32;
    if (w->unit < w->end) {
        if (WAY::BULK && lane == 0) {
            int left = s.n_in - w->at < STEP ? s.n_in - w->at : STEP;
            unsigned bytes = (unsigned)left * sizeof(T);
            arrival_expect(bar, WAY::ROWS * bytes);
#pragma unroll
            for (int o = 0; o < WAY::ROWS; o++) {
                const T *row = WAY::ROWS == 1 && w->half ? w->row[1] : w->row[o];
                bring_many(slot + o * WAY::PIECES * PIECE, row + w->at, bytes, bar, policy);
            }
        }
#pragma unroll
        for (int o = 0; !WAY::BULK && o < WAY::ROWS; o++) {
            const T *row = WAY::ROWS == 1 && w->half ? w->row[1] : w->row[o];
#pragma unroll
            for (int i = 0; i < WAY::PIECES; i++) {
                int k = w->at + (i * 32 + lane) * VEC;
                if (k < s.n_in)
                    bring(slot + (o * WAY::PIECES + i) * PIECE + lane * 16, row + k, true);
            }
        }
        w->at += STEP;
        if (w->at >= s.n_in && WAY::ROWS == 1 && w->half == 0)
            w->at = 0, w->half = 1;
        else if (w->at >= s.n_in)
            enter(s, w, w->unit + w->stride);
    }
    if (!WAY::BULK)
        bring_group();
}

/* Tells the L2 of the rows from where the fetching has come. */
template <typename T> __device__ static void announce_rows(const stream<T> &s, struct walk<T> w)
{
    size_t left = s.announced;
    while (w.unit < w.end && left >= 32) {
        size_t bytes = (size_t)(s.n_in - w.at) * sizeof(T);
        bytes = 2 * bytes < left ? bytes : left / 32 * 16;
        announce(w.row[0] + w.at, bytes);
        announce(w.row[1] + w.at, bytes);
        left -= 2 * bytes;
        enter(s, &w, w.unit + w.stride);
    }
}

/* Inputs k and on, which the lane multiplies. */
template <bool ROUND, int VEC>
__device__ static __forceinline__ void staged(const float *v, const bf16 *rounds, int k, float *x)
{
    if constexpr (ROUND) {
        pack<bf16, VEC> p = *(const pack<bf16, VEC> *)(rounds + k);
#pragma unroll
        for (int i = 0; i < VEC; i++)
            x[i] = widen(p.at[i]);
    } else {
#pragma unroll
        for (int i = 0; i < VEC; i += 4) {
            float4 four = *(const float4 *)(v + place_of(k + i));
            x[i] = four.x, x[i + 1] = four.y, x[i + 2] = four.z, x[i + 3] = four.w;
        }
    }
}

template <typename T>
__device__ static void finish(const stream<T> &s, int unit, const float sum[2])
{
    pair p = pair_of(s, unit);
    float value[2];
#pragma unroll
    for (int o = 0; o < 2; o++) {
        const float *bias = s.parts.bias[p.part[o]];
        value[o] = bias ? sum[o] + bias[p.row[o]] : sum[o];
        s.parts.out[p.part[o]][p.row[o]] = value[o];
    }
    if (s.activated && s.paired) {
        s.post[p.row[0]] = __fmul_rn(apply(s.act, value[0]), value[1]);
    } else if (s.activated) {
        s.post[p.row[0]] = apply(s.act, value[0]);
        s.post[p.row[1]] = apply(s.act, value[1]);
    }
}

/* Shared memory: each warp's slots, a barrier for each, the row as floats, the row rounded. */
template <typename T, bool ROUND, typename WAY>
__global__ void __launch_bounds__(MOST_WARPS * 32, 2)
    stream_kernel(const __grid_constant__ struct stream<T> s)
{
    constexpr int VEC = 16 / (int)sizeof(T), STEP = WAY::PIECES * 32 * VEC, SLOTS = WAY::SLOTS;
    extern __shared__ __align__(128) char shared[];
    int tid = (int)threadIdx.x, warp = tid / 32, lane = tid % 32, warps = (int)blockDim.x / 32;
    uint64_t *bars = (uint64_t *)(shared + warps * SLOTS * WAY::SLOT_BYTES);
    float *v = (float *)(bars + (warps * SLOTS + 1) / 2 * 2);
    bf16 *rounds = ROUND ? (bf16 *)(v + (s.normed ? (s.n_in + 255) / 256 * 256 : 0)) : NULL;
    char *slots = shared + warp * SLOTS * WAY::SLOT_BYTES;
    bars += warp * SLOTS;
    struct walk<T> ahead;
    uint64_t policy = WAY::BULK ? read_once() : 0;
    int first = (int)((long)s.units * blockIdx.x / gridDim.x) + warp;
    ahead.end = (int)((long)s.units * (blockIdx.x + 1) / gridDim.x);
    ahead.stride = warps;
    next_may_start();
    if (WAY::BULK && lane == 0) {
        for (int i = 0; i < SLOTS; i++)
            arrival_init(bars + i);
        arrival_ready();
    }
    __syncwarp();
    enter(s, &ahead, first);
    for (int i = 0; i < SLOTS; i++)
        step<T, WAY>(s, &ahead, slots + i * WAY::SLOT_BYTES, bars + i, policy);
    if (lane == 0 && s.announced > 0)
        announce_rows(s, ahead);
    wait_for_last();
    if (s.normed) {
        norm_row(s.norm, v, rounds, blockIdx.x == 0);
    } else {
        bool four = s.n_in % 4 == 0 && (uintptr_t)s.x % 16 == 0;
        for (int g = tid; g < (s.n_in + 3) / 4; g += (int)blockDim.x) {
            float4 a = row_load(s.x, g, s.n_in, four);
            if (ROUND)
                row_round(rounds, g, a);
            else
                *(float4 *)(v + place_of(4 * g)) = a;
        }
    }
    __syncthreads();
    int slot = 0;
    unsigned turn = 0;
    for (int unit = first; unit < ahead.end; unit += warps) {
        float sum[2] = {};
#pragma unroll
        for (int half = 0; half < 3 - WAY::ROWS; half++)
            for (int at = 0; at < s.n_in; at += STEP) {
                char *mine = slots + slot * WAY::SLOT_BYTES;
                if (WAY::BULK)
                    arrival_wait(bars + slot, turn);
                else
                    bring_wait<SLOTS - 1>();
#pragma unroll
                for (int i = 0; i < WAY::PIECES; i++) {
                    int k = at + (i * 32 + lane) * VEC;
                    if (k >= s.n_in)
                        break;
                    float in[VEC];
                    staged<ROUND, VEC>(v, rounds, k, in);
#pragma unroll
                    for (int o = 0; o < WAY::ROWS; o++) {
                        const char *piece = mine + (o * WAY::PIECES + i) * PIECE + lane * 16;
                        pack<T, VEC> part = *(const pack<T, VEC> *)piece;
#pragma unroll
                        for (int e = 0; e < VEC; e++)
                            sum[half + o] = fmaf(in[e], widen(part.at[e]), sum[half + o]);
                    }
                }
                if (WAY::BULK)
                    __syncwarp(); /* all lanes have read the slot */
                step<T, WAY>(s, &ahead, mine, bars + slot, policy);
                if (++slot == SLOTS) {
                    slot = 0;
                    turn++;
                }
            }
        sum[0] = warp_sum(sum[0]);
        sum[1] = warp_sum(sum[1]);
        if (lane == 0)
            finish(s, unit, sum);
    }
}

/* Bytes of shared memory for so many slots and the row. */
template <typename WAY> static size_t shared_bytes(int warps, bool rounds, bool floats, int n_in)
{
    size_t slots = (size_t)(warps * WAY::SLOTS), row = (size_t)(n_in + 255) / 256 * 256;
    return slots * WAY::SLOT_BYTES + (slots + 1) / 2 * 16 + (floats ? row * sizeof(float) : 0) +
           (rounds ? row * sizeof(bf16) : 0);
}

/* Whether a row fits with most warps, and with the norm if there can be one. */
static bool fits(const struct cuda *c, const struct matrix *w)
{
    bool rounds = w->dtype == DTYPE_BF16 && c->b.dtype == DTYPE_BF16;
    bool floats = !rounds || w->n_in <= JOINED_WIDTH;
    size_t bytes = !c->early ? shared_bytes<way_before_9>(MOST_WARPS, rounds, floats, w->n_in)
                   : rounds  ? shared_bytes<way_rounding>(MOST_WARPS, true, floats, w->n_in)
                             : shared_bytes<way_exact>(MOST_WARPS, false, true, w->n_in);
    return w->n_in <= WIDEST && bytes + STATIC_BYTES <= c->shared_bytes;
}

bool stream_takes(const struct cuda *c, const struct matrix *w)
{
    const ptrdiff_t each = w->dtype == DTYPE_F32 ? 4 : 8;
    return w->in_stride == 1 && (uintptr_t)w->data % 16 == 0 && w->out_stride % each == 0 &&
           (w->group <= 0 || w->group_stride % each == 0) && w->n_in % each == 0 && w->n_in > 0 &&
           w->n_out > 0 && fits(c, w);
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

template <typename T, bool ROUND, typename WAY>
static void launch(struct cuda *c, const struct stream<T> *s, int blocks, int warps)
{
    size_t bytes = shared_bytes<WAY>(warps, ROUND, s->normed || !ROUND, s->n_in);
    launch_early(c, "matmul of one row", stream_kernel<T, ROUND, WAY>, dim3((unsigned)blocks),
                 32 * warps, bytes, *s);
}

template <typename T, bool ROUND> static void run(struct cuda *c, const struct product_job *j)
{
    struct stream<T> s = {
    };
    size_t bytes = 0;
    s.parts = parts_of<T>(j);
    s.n_in = j->w[0].n_in;
    s.paired = j->activated && j->parts == 2;
    for (int i = 0; i < TOGETHER; i++) {
        s.units += i < j->parts ? (j->w[i].n_out + 1) / 2 : 0;
        s.ends[i] = s.units;
    }
    bytes = 2 * (size_t)s.units * (size_t)s.n_in * sizeof(T);
    if (s.paired)
        s.units = j->w[0].n_out;
    s.x = j->x;
    s.normed = j->normed;
    s.norm = j->norm;
    s.activated = j->activated;
    s.act = j->act;
    s.post = j->post;
    int blocks = s.units < c->n_sm ? s.units : c->n_sm, warps = warps_of(s.units, blocks);
    /* What does not fit into the L2 would only be read twice. */
    s.announced = bytes <= ANNOUNCED ? ANNOUNCED / (size_t)(blocks * warps) : 0;
    if (!c->early)
        launch<T, ROUND, way_before_9>(c, &s, blocks, warps);
    else if constexpr (ROUND)
        launch<T, ROUND, way_rounding>(c, &s, blocks, warps);
    else
        launch<T, ROUND, way_exact>(c, &s, blocks, warps);
}

void stream_launch(struct cuda *c, const struct product_job *j)
{
    if (j->w[0].dtype == DTYPE_F32)
        run<float, false>(c, j);
    else if (j->w[0].dtype == DTYPE_F16)
        run<__half, false>(c, j);
    else if (c->b.dtype == DTYPE_BF16)
        run<bf16, true>(c, j);
    else
        run<bf16, false>(c, j);
}
