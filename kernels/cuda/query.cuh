/* query.cuh - one query over many keys: what token.cu and single.cu share, and with that the bits.
 *
 * A head and a part of its keys is a turn of twelve warps. Eight keys are a warp's step: four lanes
 * hold one key and its value between them, and go through every eighth key with a maximum, a sum
 * and a mix of their own, so that nobody waits for anybody before the end. The last of a head's
 * parts to end puts them together. */
#ifndef MIDPASS_CUDA_QUERY_CUH
#define MIDPASS_CUDA_QUERY_CUH

#include "kernels/cuda/stage.cuh"
#include "kernels/cuda/turn.cuh"

#define SEEKERS      384 /* threads of a turn */
#define SEEK_WARPS   (SEEKERS / 32)
#define STEP_KEYS    8   /* of a warp's step */
#define WIDEST_QUERY 128 /* head size */

/* What a turn has in shared memory: its head's query, the query's own key and value where the turn
 * has them, and what each warp has found: mix, maximum, sum. */
struct query_room {
    alignas(16) float query[WIDEST_QUERY], key[WIDEST_QUERY], value[WIDEST_QUERY];
    float found[SEEK_WARPS][WIDEST_QUERY + 2];
    bool last;
};

/* What a lane has gone through so far. */
template <int N> struct mixed {
    float most, sum, mix[N];
};

/* Two keys' weights, and what all that was found before is to be multiplied with. */
struct weighed {
    float shrink, at[2];
};

/* Takes two scores in; -inf where there is no key. */
template <int N>
__device__ static __forceinline__ struct weighed weigh_in(struct mixed<N> *m, float a, float b)
{
    float now = fmaxf(m->most, fmaxf(a, b));
    /* No finite score yet: exp(-inf - 0) is 0, where -inf - -inf would be no number. */
    float base = now == -INFINITY ? 0.0f : now;
    struct weighed w = {expf(m->most - base), {expf(a - base), expf(b - base)}};
    m->most = now;
    m->sum = fmaf(m->sum, w.shrink, w.at[0]) + w.at[1];
    return w;
}

template <int N>
__device__ static __forceinline__ void mix_first(struct mixed<N> *m, const struct weighed &w,
                                                 const float value[N])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        m->mix[i] = fmaf(w.at[0], value[i], m->mix[i] * w.shrink);
}

template <int N>
__device__ static __forceinline__ void mix_second(struct mixed<N> *m, const struct weighed &w,
                                                  const float value[N])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        m->mix[i] = fmaf(w.at[1], value[i], m->mix[i]);
}

/* Which of the lane's N elements it has of the sum over the eight lanes of its quarter, from which
 * on: N / 8 of them. */
template <int N> __device__ static __forceinline__ int lane_first()
{
    int lane = (int)threadIdx.x % 32;
    return (lane >> 4 & 1) * (N / 2) + (lane >> 3 & 1) * (N / 4) + (lane >> 2 & 1) * (N / 8);
}

/* Half of x, plus that half of the lane `off` away: the upper one where the lane's bit is set. */
template <int N> __device__ static __forceinline__ void add_half(float *x, int off)
{
    bool upper = (int)threadIdx.x & off;
#pragma unroll
    for (int i = 0; i < N / 2; i++) {
        float mine = upper ? x[N / 2 + i] : x[i], theirs = upper ? x[i] : x[N / 2 + i];
        x[i] = mine + __shfl_xor_sync(0xffffffffu, theirs, off);
    }
}

/* Adds up what the lanes of a quarter have found; mix has what lane_first says. */
template <int N> __device__ static __forceinline__ void mix_lanes(struct mixed<N> *m)
{
    float top = m->most;
#pragma unroll
    for (int off = 16; off >= 4; off /= 2)
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, off));
    float weight = expf(m->most - (top == -INFINITY ? 0.0f : top));
    m->most = top;
    m->sum *= weight;
#pragma unroll
    for (int off = 16; off >= 4; off /= 2)
        m->sum += __shfl_xor_sync(0xffffffffu, m->sum, off);
#pragma unroll
    for (int i = 0; i < N; i++)
        m->mix[i] *= weight;
    add_half<N>(m->mix, 16);
    add_half<N / 2>(m->mix, 8);
    add_half<N / 4>(m->mix, 4);
}

/* Keys of a lane in a step, and of a warp. */
template <typename T> struct step_of {
    static constexpr int EACH = sizeof(T) == 2 ? 2 : 1, KEYS = 8 * EACH;
};

/* A lane's chunks of a key or value that begins there. FULL: it has them all; else 0 where there
 * are no more: `left` counts them, four to each that it has. */
template <typename T, int C, bool FULL>
__device__ static __forceinline__ void chunks_load(const T *row, int left, float *x)
{
    constexpr int VEC = 16 / (int)sizeof(T);
    const T *first = row + (int)threadIdx.x % 4 * VEC;
#pragma unroll
    for (int i = 0; i < C; i++) {
        float *chunk = x + i * VEC;
        if (FULL || 4 * i < left) {
            unpack<T>(first + 4 * i * VEC, chunk);
        } else {
#pragma unroll
            for (int k = 0; k < VEC; k++)
                chunk[k] = 0;
        }
    }
}

/* The lane's part of a whole row of floats, which goes on with zeros. */
template <typename T, int C>
__device__ static __forceinline__ void lane_take(const float *row, float *x)
{
    constexpr int VEC = 16 / (int)sizeof(T);
#pragma unroll
    for (int i = 0; i < C * VEC; i += 4)
        unpack<float>(row + ((int)threadIdx.x % 4 + i / VEC * 4) * VEC + i % VEC, x + i);
}

/* The score of a key of which four lanes hold parts. */
template <int N>
__device__ static __forceinline__ float score_of(const float q[N], const float key[N], float scale)
{
    float score = 0;
#pragma unroll
    for (int i = 0; i < N; i++)
        score = fmaf(q[i], key[i], score);
    score += __shfl_xor_sync(0xffffffffu, score, 1);
    return scale * (score + __shfl_xor_sync(0xffffffffu, score, 2));
}

/* A step: what the lane finds in its keys, which are at `key` and `value`. There are `there` of
 * them: where others would be, something can be read. FULL: no lane lacks a chunk. */
template <typename T, int C, bool FULL>
__device__ static __forceinline__ void seek_step(const struct attention_stage &s, const float *q,
                                                 const T *const key[2], const T *const value[2],
                                                 int there,
                                                 struct mixed<C * 16 / (int)sizeof(T)> *m)
{
    constexpr int VEC = 16 / (int)sizeof(T), N = C * VEC, EACH = step_of<T>::EACH;
    int left = s.a.d_head / VEC - (int)threadIdx.x % 4;
    float part[N], score[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        chunks_load<T, C, FULL>(key[i], left, part);
        score[i] = score_of<N>(q, part, s.a.scale);
    }
    if (there == 0)
        return;
    struct weighed w = weigh_in<N>(m, score[0], there == 2 ? score[1] : -INFINITY);
    chunks_load<T, C, FULL>(value[0], left, part);
    mix_first<N>(m, w, part);
    if (there == 2) {
        chunks_load<T, C, FULL>(value[1], left, part);
        mix_second<N>(m, w, part);
    }
}

/* The rows in the room, an element a thread. Query, key and value are written for good by one turn
 * each. All is loaded before anything is written: a load behind a store waits twice. */
template <typename T>
__device__ static __forceinline__ void own_row(const struct attention_stage &s, int head, bool own,
                                               bool first, struct query_room *room)
{
    int h = s.a.d_head, share = s.a.n_heads / s.a.n_kv_heads, g = head / share;
    int e = (int)threadIdx.x, i = head * h + e, k = g * h + e;
    if (e >= h && e < WIDEST_QUERY)
        room->query[e] = room->key[e] = room->value[e] = 0;
    if (e >= h)
        return;
    char *page = own ? (char *)s.kv.pages[s.pos / KV_PAGE] : NULL;
    struct turning query = turn_take(s.q, s.q_out ? s.angles : NULL, s.r, s.style, i, e), made = {};
    float v = 0;
    if (own && s.keys) {
        made = turn_take(s.keys, s.k_out ? s.angles : NULL, s.r, s.style, k, e);
        v = __ldcg(s.values + k);
    }
    float x = turned(query), y = turned(made);
    room->query[e] = rounded<T>(x);
    if (own) {
        size_t at = ((size_t)g * KV_PAGE + (size_t)(s.pos % KV_PAGE)) * (size_t)h + (size_t)e;
        T *kept = (T *)(page + s.kv.key_offset) + at, *value = (T *)(page + s.kv.value_offset) + at;
        room->key[e] = s.keys ? rounded<T>(y) : widen(__ldcg(kept));
        room->value[e] = s.keys ? rounded<T>(v) : widen(__ldcg(value));
        if (s.keys && head % share == 0) {
            *kept = narrow<T>(y);
            *value = narrow<T>(v);
            if (s.k_out)
                s.k_out[k] = y;
        }
    }
    if (s.q_out && first)
        s.q_out[i] = x;
}

/* Whether a part has the query's own key: the last one. */
__device__ static __forceinline__ bool has_own(const struct attention_stage &s, int split)
{
    return split == s.splits - 1;
}

/* What the parts of a head have found of element i. */
__device__ static __forceinline__ float parts_mixed(const float *parts, int n, int h, int i)
{
    float top = -INFINITY, all = 0, mix = 0;
    int stride = PART_FLOATS(h);
#pragma unroll 4 /* several loads on their way */
    for (int k = 0; k < n; k++)
        top = fmaxf(top, __ldcg(parts + (size_t)k * stride + h));
    float base = top == -INFINITY ? 0.0f : top;
#pragma unroll 4
    for (int k = 0; k < n; k++) {
        const float *p = parts + (size_t)k * stride;
        float weight = expf(__ldcg(p + h) - base);
        all = fmaf(__ldcg(p + h + 1), weight, all);
        mix = fmaf(__ldcg(p + i), weight, mix);
    }
    return mix * __frcp_rn(all);
}

/* The same of the head's sum: its logarithm. */
__device__ static __forceinline__ float parts_sum(const float *parts, int n, int h)
{
    float top = -INFINITY, all = 0;
    int stride = PART_FLOATS(h);
    for (int k = 0; k < n; k++)
        top = fmaxf(top, __ldcg(parts + (size_t)k * stride + h));
    float base = top == -INFINITY ? 0.0f : top;
    for (int k = 0; k < n; k++) {
        const float *p = parts + (size_t)k * stride + h;
        all = fmaf(__ldcg(p + 1), expf(__ldcg(p) - base), all);
    }
    return top + logf(all);
}

/* What the warps of a turn have found of element i, with maximum and sum. Each lane has a warp's.
 */
__device__ static __forceinline__ float warps_mixed(const struct query_room *room, int h, int i,
                                                    float *most, float *sum)
{
    int lane = (int)threadIdx.x % 32, from = lane < SEEK_WARPS ? lane : 0;
    float own = lane < SEEK_WARPS ? room->found[from][WIDEST_QUERY] : -INFINITY, mix = 0;
    float top = warp_max(own), weight = expf(own - (top == -INFINITY ? 0.0f : top));
    *most = top;
    *sum = warp_sum(lane < SEEK_WARPS ? room->found[from][WIDEST_QUERY + 1] * weight : 0.0f);
#pragma unroll 4
    for (int k = 0; k < SEEK_WARPS; k++)
        mix = fmaf(room->found[k][i < h ? i : 0], __shfl_sync(0xffffffffu, weight, k), mix);
    return mix;
}

/* By the last of a head's parts to end. Out of line: seldom run where the product behind a query
 * does it, and code that lies between what is run costs time. */
template <int THREADS>
static __device__ __noinline__ void parts_join(const struct attention_stage &s, int head,
                                               struct query_room *room)
{
    int h = s.a.d_head, tid = (int)threadIdx.x;
    const float *parts = s.partial + (size_t)head * s.splits * PART_FLOATS(h);
    __threadfence();
    threads_wait<SEEKERS_BARRIER, THREADS>();
    if (tid == 0) {
        room->last = atomicAdd(&s.arrived[head], 1) == (unsigned)s.splits - 1;
        if (room->last)
            s.arrived[head] = 0; /* for the next one */
    }
    threads_wait<SEEKERS_BARRIER, THREADS>();
    if (!room->last || tid > h)
        return;
    __threadfence();
    if (tid < h)
        z_write(s.z, s.kept, s.narrowed, head * h + tid, parts_mixed(parts, s.splits, h, tid));
    else if (s.sums)
        s.sums[head] = parts_sum(parts, s.splits, h);
}

/* Ends a turn: the own key, the lanes and warps put together, the parts by the last of them.
 * THREADS: SEEKERS, or 0 where the block has no others. */
template <typename T, int C, int THREADS>
__device__ static __forceinline__ void turn_end(const struct attention_stage &s, int head,
                                                int split, const float *q,
                                                struct mixed<C * 16 / (int)sizeof(T)> *m,
                                                struct query_room *room)
{
    constexpr int VEC = 16 / (int)sizeof(T), N = C * VEC;
    int h = s.a.d_head, tid = (int)threadIdx.x, warp = tid / 32, lane = tid % 32;
    if (has_own(s, split) && warp == SEEK_WARPS - 1) { /* who has the least to do */
        float part[N];
        lane_take<T, C>(room->key, part);
        float score = score_of<N>(q, part, s.a.scale);
        lane_take<T, C>(room->value, part);
        if (lane < 4)
            mix_first<N>(m, weigh_in<N>(m, score, -INFINITY), part);
    }
    mix_lanes<N>(m);
#pragma unroll
    for (int k = 0; k < N / 8; k++) {
        int i = lane_first<N>() + k, e = (lane % 4 + i / VEC * 4) * VEC + i % VEC;
        if (e < h)
            room->found[warp][e] = m->mix[k];
    }
    if (lane == 0) {
        room->found[warp][WIDEST_QUERY] = m->most;
        room->found[warp][WIDEST_QUERY + 1] = m->sum;
    }
    threads_wait<SEEKERS_BARRIER, THREADS>();
    float most, sum, mix = 0;
    if (warp < (h + 31) / 32)
        mix = warps_mixed(room, h, tid, &most, &sum);
    if (s.splits == 1) {
        if (tid < h)
            z_write(s.z, s.kept, s.narrowed, head * h + tid, mix * __frcp_rn(sum));
        if (tid == 0 && s.sums)
            s.sums[head] = most + logf(sum);
        return;
    }
    float *own = s.partial + ((size_t)head * s.splits + split) * PART_FLOATS(h);
    if (tid < h) {
        own[tid] = mix;
        if (tid == 0) {
            own[h] = most;
            own[h + 1] = sum;
        }
    }
    if (!s.open)
        parts_join<THREADS>(s, head, room);
}

#endif
