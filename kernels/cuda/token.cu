/* token.cu - one row through many stages in one launch: what a token's time goes to.
 *
 * Bounded by reading the matrices, keys and values once, so they must be on their way all the time.
 * There is one block on each multiprocessor, and it stays there. One of its warps does nothing but
 * fetch: all that the block's share of all stages takes, in order, into a ring in shared memory,
 * without ever waiting for a stage to end. The ring holds what comes in some microseconds; within
 * these the other warps meet those of all blocks, make the next stage's row, and have work again.
 *
 * One more warp measures rows for conditions, while the others go on.
 *
 * A row that a stage writes is read by all blocks in a later one, so it is loaded past the L1. What
 * is fetched ahead was written before the launch. */
#include "kernels/cuda/fetch.cuh"
#include "kernels/cuda/measure.cuh"
#include "kernels/cuda/product.cuh"
#include "kernels/cuda/query.cuh"

#define CONSUMERS 448 /* threads that multiply: with the others, 128 registers for each */
#define WARPS     (CONSUMERS / 32)
#define MEASURER  WARPS /* the warp that measures */
#define FETCHER   (WARPS + 1)
#define THREADS   (CONSUMERS + 64)

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

/* ---- multiplying: fourteen warps ------------------------------------------------------------- */

/* The row of a query's heads, whose parts are put together: as parts_mixed does it, and so with the
 * same bits. A thread takes four elements at a time, and twice of them; all their parts are on
 * their way before any of it is needed. For good it is written by all blocks, each its share. room:
 * what each head's parts have found as maxima, then as sums. */
template <bool ROUND>
__device__ static __forceinline__ void mix_bring(const struct mix_job &j, float *room, float *v,
                                                 bf16 *rounds)
{
    constexpr int PARTS = TOKEN_MIXED_PARTS, TAKEN = 2;
    int h = j.d_head, stride = PART_FLOATS(h), tid = (int)threadIdx.x, n = j.n_heads * h / 4;
    bool has_part = tid < j.n_heads * j.splits;
    float most = 0, sum = 0;
    struct stretch mine = share_of(n);
    if (has_part) {
        most = __ldcg(j.partial + (size_t)tid * stride + h);
        sum = __ldcg(j.partial + (size_t)tid * stride + h + 1);
    }
#pragma unroll 1
    for (int first = tid; first - tid < n; first += TAKEN * CONSUMERS) {
        float4 part[TAKEN][PARTS];
        int head[TAKEN];
#pragma unroll
        for (int i = 0; i < TAKEN; i++) {
            int e = 4 * (first + i * CONSUMERS);
            head[i] = e / h;
            if (head[i] >= j.n_heads)
                e = 0; /* loaded in vain, and not through memory of the thread's */
            const float *from = j.partial + (size_t)(e / h) * j.splits * stride + e % h;
#pragma unroll
            for (int k = 0; k < PARTS; k++)
                part[i][k] = __ldcg((const float4 *)(from + (k < j.splits ? k : 0) * stride));
        }
        if (first == tid) {
            int at = tid / j.splits * 2 * PARTS + tid % j.splits;
            if (has_part) {
                room[at] = most;
                room[at + PARTS] = sum;
            }
            threads_wait<CONSUMERS_BARRIER, CONSUMERS>();
        }
#pragma unroll
        for (int i = 0; i < TAKEN; i++) {
            const float *found = room + head[i] * 2 * PARTS;
            float top = -INFINITY, all = 0;
            float4 z = {0, 0, 0, 0};
            if (head[i] >= j.n_heads)
                break;
#pragma unroll
            for (int k = 0; k < PARTS; k++)
                top = k < j.splits ? fmaxf(top, found[k]) : top;
            float base = top == -INFINITY ? 0.0f : top;
#pragma unroll
            for (int k = 0; k < PARTS; k++) {
                float w = expf(found[k] - base);
                float4 p = part[i][k], more = z;
                more = {fmaf(p.x, w, z.x), fmaf(p.y, w, z.y), fmaf(p.z, w, z.z), fmaf(p.w, w, z.w)};
                all = k < j.splits ? fmaf(found[k + PARTS], w, all) : all;
                z = k < j.splits ? more : z;
            }
            float inverse = __frcp_rn(all);
            z = {z.x * inverse, z.y * inverse, z.z * inverse, z.w * inverse};
            int g = first + i * CONSUMERS;
            if (g >= mine.from && g < mine.to) {
                if (j.sums && 4 * g % h == 0)
                    j.sums[head[i]] = top + logf(all);
                z_write(j.z, j.kept, j.narrowed, 4 * g, z.x);
                z_write(j.z, j.kept, j.narrowed, 4 * g + 1, z.y);
                z_write(j.z, j.kept, j.narrowed, 4 * g + 2, z.z);
                z_write(j.z, j.kept, j.narrowed, 4 * g + 3, z.w);
            }
            if (ROUND)
                row_round(rounds, g, z);
            else
                *(float4 *)(v + place_of(4 * g)) = z;
        }
    }
}

/* Whether it finds room, and a thread for each part. */
static_assert(TOKEN_MIXED_HEADS * 2 * TOKEN_MIXED_PARTS * sizeof(float) <=
                      sizeof query_room().found &&
                  TOKEN_MIXED_HEADS * TOKEN_MIXED_PARTS <= CONSUMERS,
              "see queue.cu, open_attention");

/* begin: the fillings before this stage. Returns those up to its end. */
template <typename W, bool ROUND>
__device__ static unsigned multiply(const struct product_stage &s, int stage, const struct ring &r,
                                    unsigned begin, float *weights, float *v, bf16 *rounds)
{
    constexpr int VEC = 16 / (int)sizeof(W);
    int lane = (int)threadIdx.x % 32;
    unsigned at = begin + threadIdx.x / 32 * (unsigned)s.parts, known = 0;
    if (s.mixed)
        mix_bring<ROUND>(s.mix, weights, v, rounds);
    else
        row_bring<ROUND, CONSUMERS>(s, v, rounds);
    if (threadIdx.x == 0)
        r.told->at_work = stage;
    threads_wait<CONSUMERS_BARRIER, CONSUMERS>();
    for (; place_comes(r, stage, at, &known); at += WARPS * (unsigned)s.parts) {
        struct place p = place_at(r, at);
        struct pair o;
        float sum[2] = {}, bias[2];
        for (int from = 0; from < s.n_in; from += s.part_inputs) {
            const char *mine = place_data(r, p) + lane * 16;
            int to = from + s.part_inputs < s.n_in ? from + s.part_inputs : s.n_in;
            place_comes(r, stage, p.turn * r.places + p.slot, &known);
            arrival_wait(r.full + p.slot, p.turn);
            if (from == 0) {
                o = pair_of(s, r.told->unit[p.slot]);
                unit_bias(s, o, bias);
            }
#pragma unroll 4
            for (int k = from + lane * VEC; k < to; k += 32 * VEC) {
                float in[VEC];
                row_take<ROUND, VEC>(v, rounds, k, in);
                row_add<W>(mine, in, &sum[0]);
                row_add<W>(mine + r.half, in, &sum[1]);
                mine += PIECE;
            }
            __syncwarp(); /* all lanes have read */
            if (lane == 0)
                arrival_tell(r.empty + p.slot);
            place_next(r, &p);
        }
        sum[0] = warp_sum(sum[0]);
        sum[1] = warp_sum(sum[1]);
        if (lane == 0)
            unit_finish(s, o, sum, bias);
    }
    return known;
}

/* ---- attention: twelve of them --------------------------------------------------------------- */

/* One turn. C: 16-byte chunks of a head that a lane holds; FULL: all of them. */
template <typename K, int C, bool FULL>
__device__ static __forceinline__ void seek(const struct attention_stage &s, int head, int split,
                                            int stage, const struct ring &r, unsigned begin,
                                            struct query_room *room)
{
    constexpr int VEC = 16 / (int)sizeof(K), N = C * VEC, STEP = step_of<K>::KEYS;
    constexpr int ROUND_KEYS = SEEK_WARPS * STEP;
    int h = s.a.d_head, tid = (int)threadIdx.x, warp = tid / 32, lane = tid % 32;
    int row_bytes = h * (int)sizeof(K), shift = keys_shift<K>(h, r.half), mask = (1 << shift) - 1;
    struct stretch keys = stretch_of(s, split);
    int base = keys.from >> shift, places = places_of(keys, shift), freed = 0;
    threads_wait<SEEKERS_BARRIER, SEEKERS>(); /* the last turn's room is not read any more */
    own_row<K>(s, head, has_own(s, split), split == 0, room);
    if (tid == 0)
        r.told->at_work = stage;
    threads_wait<SEEKERS_BARRIER, SEEKERS>();
    float q[N];
    struct mixed<N> m = {
        - INFINITY, 0,
        {
        }
    };
    lane_take<K, C>(room->query, q);
    for (int from = keys.from; from < keys.to; from += ROUND_KEYS) {
        int k0 = from + warp * STEP, last = k0 + STEP < keys.to ? k0 + STEP - 1 : keys.to - 1;
        if (k0 < keys.to) {
            struct place first = place_at(r, begin + (unsigned)((k0 >> shift) - base)), p = first;
            for (int i = k0 >> shift; i <= last >> shift; i++, place_next(r, &p))
                arrival_wait(r.full + p.slot, p.turn);
            const K *key[2] = {}, *value[2] = {};
            int there = 0;
#pragma unroll
            for (int i = 0; i < step_of<K>::EACH; i++) {
                int k = k0 + 8 * i + lane / 4;
                there += k <= last;
                k = k <= last ? k : last;
                p = first;
                for (int step = (k >> shift) - (k0 >> shift); step > 0; step--)
                    place_next(r, &p);
                key[i] = (const K *)(place_data(r, p) + (k & mask) * row_bytes);
                value[i] = (const K *)((const char *)key[i] + r.half);
            }
            seek_step<K, C, FULL>(s, q, key, value, there, &m);
        }
        threads_wait<SEEKERS_BARRIER, SEEKERS>();
        int done = from + ROUND_KEYS < keys.to ? ((from + ROUND_KEYS) >> shift) - base : places;
        if (tid < done - freed)
            arrival_tell(r.empty + place_at(r, begin + (unsigned)(freed + tid)).slot);
        freed = done;
    }
    turn_end<K, C, SEEKERS>(s, head, split, q, &m, room);
}

template <typename K, int C, bool FULL>
__device__ static unsigned attend(const struct attention_stage &s, int stage, const struct ring &r,
                                  unsigned begin, struct query_room *room)
{
    int turns = s.a.n_heads * s.splits, shift = keys_shift<K>(s.a.d_head, r.half);
    for (int turn = (int)blockIdx.x; turn < turns; turn += (int)gridDim.x) {
        int head = turn / s.splits, split = turn % s.splits;
        if ((int)threadIdx.x < SEEKERS)
            seek<K, C, FULL>(s, head, split, stage, r, begin, room);
        begin += (unsigned)places_of(stretch_of(s, split), shift);
    }
    return begin;
}

/* ---- measuring: one warp --------------------------------------------------------------------- */

__device__ static void measure_rows(const struct token &t, int first, int end)
{
    int lane = (int)threadIdx.x % 32, before = 0;
    for (int i = first; i < end; i++) {
        const struct measure_job &j = t.measures[i];
        int mine = (int)((blockIdx.x + gridDim.x - (unsigned)before % gridDim.x) % gridDim.x);
        for (int row = mine; row < j.n; row += (int)gridDim.x) {
            struct found f = look_along(j.x + (size_t)row * j.d, j.d, lane, 32);
            join_lanes(&f);
            if (lane == 0)
                j.out[row] = measures_of(f);
        }
        before += j.n;
    }
}

/* ---- all together ---------------------------------------------------------------------------- */

/* Waits until all blocks have come here `times` times; what they wrote is seen behind it. */
__device__ static __forceinline__ void blocks_meet(unsigned *met, unsigned times)
{
    threads_wait<STAGE_BARRIER, CONSUMERS + 32>();
    if (threadIdx.x == 0) {
        unsigned now;
        asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(met) : "memory");
        do
            asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(now) : "l"(met) : "memory");
        while ((int)(now - times * gridDim.x) < 0);
    }
    threads_wait<STAGE_BARRIER, CONSUMERS + 32>();
}

/* A copy of stage i, by the first threads. */
__device__ static __forceinline__ void stage_copy(const struct token &t, int i, struct stage *to)
{
    if (threadIdx.x < sizeof(struct stage) / sizeof(uint4))
        ((uint4 *)to)[threadIdx.x] = ((const uint4 *)&t.at[i])[threadIdx.x];
}

#endif

/* W: the matrices' type, K: that of keys and values, C: 16-byte chunks of a head that a lane holds,
 * FULL: all of them. One kernel for each: code that lies between what is run costs time. */
template <typename W, bool ROUND, typename K, int C, bool FULL>
__global__ void __launch_bounds__(THREADS, 1) token_kernel(const __grid_constant__ struct token t)
{
#if __CUDA_ARCH__ >= 900
    __shared__ struct query_room room;
    __shared__ struct stage stages[2];
    __shared__ uint64_t bars[2][PLACES_MOST];
    __shared__ struct told told;
    float *v = (float *)shared;
    bf16 *rounds = (bf16 *)(shared + t.row_floats);
    struct ring r = {(unsigned)(t.row_floats + t.row_rounds),
                     bars[0],
                     bars[1],
                     &told,
                     (unsigned)t.places,
                     (unsigned)t.half};
    int warp = (int)threadIdx.x / 32;
    unsigned filled = 0;
    for (int i = (int)threadIdx.x; i < t.places; i += THREADS) {
        arrival_init(r.full + i);
        arrival_init(r.empty + i);
    }
    if (threadIdx.x == 0) {
        told.asked = 0;
        told.stages = 0;
        told.at_work = -1;
    }
    for (int i = (int)threadIdx.x; blockIdx.x == 0 && i < STAGES; i += THREADS)
        t.clear[i] = 0;
    arrival_ready();
    stage_copy(t, 0, &stages[0]);
    __syncthreads();
    if (warp == FETCHER) {
        fetch_all<W, K>(t, r);
        return;
    }
    for (int i = 0; i < t.n; i++) {
        const struct stage &s = stages[i % 2];
        if (warp == MEASURER)
            measure_rows(t, s.first_measure, s.end_measure);
        else if (s.kind == STAGE_PRODUCTS)
            filled = multiply<W, ROUND>(s.products, i, r, filled, room.found[0], v, rounds);
        else if (s.kind == STAGE_ATTENTION)
            filled = attend<K, C, FULL>(s.attention, i, r, filled, &room);
        else if (s.kind == STAGE_NORM && blockIdx.x == 0)
            norm_row<CONSUMERS, false>(s.norm, v, NULL, {0, s.norm.d});
        if (i + 1 == t.n)
            break;
        stage_copy(t, i + 1, &stages[(i + 1) % 2]);
        blocks_meet(t.met, t.begin + (unsigned)(i + 1));
    }
#endif
}

/* ---- launching ------------------------------------------------------------------------------- */

/* Of the sizes that half a place can have the one that the matrices' rows fill best. */
static int half_of(const struct token *t, size_t size)
{
    int best = HALF_LEAST;
    double most = 0;
    for (int half = HALF_LEAST; half <= HALF_MOST; half += PIECE) {
        double filled = 0;
        for (int i = 0; i < t->n; i++) {
            const struct product_stage *s = &t->at[i].products;
            if (t->at[i].kind != STAGE_PRODUCTS)
                continue;
            double bytes = (double)s->n_in * (double)size, parts = ceil(bytes / half);
            filled += s->units * bytes * (bytes / (parts * half));
        }
        if (filled >= most) {
            most = filled;
            best = half;
        }
    }
    return best;
}

/* An output's inputs in equal parts that half a place can hold, whole pieces each. */
static void cut_rows(struct product_stage *s, int size, int half)
{
    int bytes = s->n_in * size, pieces = (bytes + PIECE - 1) / PIECE;
    s->parts = (bytes + half - 1) / half;
    s->part_inputs = (pieces + s->parts - 1) / s->parts * (PIECE / size);
}

template <typename W, bool ROUND, typename K, int C, bool FULL>
static void run(struct cuda *c, struct token *t)
{
    const void *kernel = (const void *)token_kernel<W, ROUND, K, C, FULL>;
    int bytes = (int)c->shared_bytes - TOKEN_FIXED_BYTES, row = t->row_floats + t->row_rounds;
    t->half = half_of(t, sizeof(W));
    if ((bytes - row) / (2 * t->half) < PLACES_LEAST)
        t->half = HALF_LEAST;
    for (int i = 0; i < t->n; i++)
        if (t->at[i].kind == STAGE_PRODUCTS)
            cut_rows(&t->at[i].products, (int)sizeof(W), t->half);
    t->places = (bytes - row) / (2 * t->half);
    t->places = t->places < PLACES_MOST ? t->places : PLACES_MOST;
    if (!shared_memory(c, kernel, (size_t)bytes, "a token"))
        return;
    cudaLaunchAttribute together;
    together.id = cudaLaunchAttributeCooperative;
    together.val.cooperative = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)c->n_sm);
    config.blockDim = dim3(THREADS);
    config.dynamicSmemBytes = (size_t)(row + t->places * 2 * t->half);
    config.stream = c->stream;
    config.attrs = &together;
    config.numAttrs = 1;
    void *given[] = {t};
    cuda_ok(c, cudaLaunchKernelExC(&config, kernel, given), "a token");
}

template <typename K, int C, bool FULL>
static void run_stored(struct cuda *c, struct token *t, enum dtype stored)
{
    constexpr bool ROUND = sizeof(K) == 2; /* a bfloat16 matrix's row, as keys and values are */
    if (stored == DTYPE_F32)
        run<float, false, K, C, FULL>(c, t);
    else if (stored == DTYPE_F16)
        run<__half, false, K, C, FULL>(c, t);
    else
        run<bf16, ROUND, K, C, FULL>(c, t);
}

template <typename K, int C>
static void run_chunks(struct cuda *c, struct token *t, enum dtype stored)
{
    if (t->d_head * (int)sizeof(K) == C * 64)
        run_stored<K, C, true>(c, t, stored);
    else
        run_stored<K, C, false>(c, t, stored);
}

void token_launch(struct cuda *c, struct token *t, enum dtype stored)
{
    bool two_bytes = c->b.dtype == DTYPE_BF16;
    int chunks = (t->d_head / (two_bytes ? 8 : 4) + 3) / 4; /* as single.cu cuts them */
    if (two_bytes && chunks <= 1)
        run_chunks<bf16, 1>(c, t, stored);
    else if (two_bytes && chunks == 2)
        run_chunks<bf16, 2>(c, t, stored);
    else if (two_bytes && chunks == 3)
        run_chunks<bf16, 3>(c, t, stored);
    else if (two_bytes)
        run_chunks<bf16, 4>(c, t, stored);
    else if (chunks <= 2)
        run_chunks<float, 2>(c, t, stored);
    else if (chunks <= 4)
        run_chunks<float, 4>(c, t, stored);
    else if (chunks <= 6)
        run_chunks<float, 6>(c, t, stored);
    else
        run_chunks<float, 8>(c, t, stored);
}
