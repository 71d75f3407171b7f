/* single.cu - one query over many keys: what a token's attention is.
 *
 * A block takes a head and a part of its keys. Eight keys are a warp's step: four lanes hold one
 * key and its value between them, and go through every eighth key with a maximum, a sum and a mix
 * of their own, so that nobody waits for anybody before the end. Steps are on their way in shared
 * memory; a lane reads back what it has fetched itself. The last block of a head to end puts its
 * parts together.
 *
 * The query's own key comes last and by its own way, since the kernel may have been asked to make
 * it: RoPE of query and key, and what goes to the cache. */
#include "kernels/cuda/async.cuh"
#include "kernels/cuda/turn.cuh"

#define THREADS      256
#define WARPS        (THREADS / 32)
#define KEYS         8                   /* of a warp's step */
#define WIDEST       128                 /* head size */
#define STATIC_BYTES 10240               /* of shared memory, beside what a launch asks for */
#define LISTED       512                 /* pages that a block keeps the addresses of */
#define LEAST        64                  /* keys that are worth a block */
#define ANNOUNCED    ((size_t)128 << 10) /* bytes of a block */
#define FAR          8192 /* keys up to which heads that share keys may each read them */

struct single {
    struct attention a;
    struct kv_pages kv;
    const float *q, *keys, *values, *angles; /* as they come; keys NULL: stored already */
    float *q_out, *k_out;                    /* rotated; NULL: they come so */
    int r;
    enum rope_style style;
    float *z, *partial; /* partial: [H, splits, h + 2]: mix, maximum, sum; splits 1: unused */
    unsigned *arrived;
    bool old;              /* the keys before its own were there before the kernel in front began */
    int pos, splits, each; /* keys of a block, a multiple of KEYS */
};

/* What was gone through so far. */
template <int N> struct mixed {
    float most, sum, mix[N];
};

template <int N>
__device__ static __forceinline__ void mix_in(struct mixed<N> *m, float score, const float value[N])
{
    float now = fmaxf(m->most, score);
    /* No finite score yet: exp(-inf - 0) is 0, where -inf - -inf would be no number. */
    float base = now == -INFINITY ? 0.0f : now;
    float shrink = expf(m->most - base), weight = expf(score - base);
    m->most = now;
    m->sum = fmaf(m->sum, shrink, weight);
#pragma unroll
    for (int i = 0; i < N; i++)
        m->mix[i] = fmaf(weight, value[i], m->mix[i] * shrink);
}

/* Adds what the lanes `off` away have found; the lower lanes' results count. */
template <int N> __device__ static __forceinline__ void mix_lanes(struct mixed<N> *m, int off)
{
    float most = __shfl_xor_sync(0xffffffffu, m->most, off), now = fmaxf(m->most, most);
    float base = now == -INFINITY ? 0.0f : now;
    float mine = expf(m->most - base), theirs = expf(most - base);
    m->most = now;
    m->sum = fmaf(m->sum, mine, theirs * __shfl_xor_sync(0xffffffffu, m->sum, off));
#pragma unroll
    for (int i = 0; i < N; i++)
        m->mix[i] = fmaf(m->mix[i], mine, theirs * __shfl_xor_sync(0xffffffffu, m->mix[i], off));
}

template <typename T>
__device__ static __forceinline__ const T *key_of(const struct single &s, void *const *listed,
                                                  int first_page, size_t offset, int g, int key)
{
    int page = key / KV_PAGE - first_page;
    const char *p = (const char *)(page < LISTED ? listed[page] : s.kv.pages[key / KV_PAGE]);
    return (const T *)(p + offset) + ((size_t)g * KV_PAGE + (size_t)(key % KV_PAGE)) * s.a.d_head;
}

/* A lane's chunks, 0 where there are no more: `left` counts them, four to each that it has. */
template <typename T, int C>
__device__ static __forceinline__ void chunks_load(const char *stage, int left, float *x)
{
    constexpr int VEC = 16 / (int)sizeof(T);
#pragma unroll
    for (int i = 0; i < C; i++) {
        pack<T, VEC> chunk = *(const pack<T, VEC> *)(stage + i * 512);
#pragma unroll
        for (int k = 0; k < VEC; k++)
            x[i * VEC + k] = 4 * i < left ? widen(chunk.at[k]) : 0.0f;
    }
}

/* Element e of the rows that the block puts in shared memory: its head's query, and where it has
 * the query's own key, that and its value. They are written for good by one block each. */
template <typename T>
__device__ static void own_row(const struct single &s, int head, int g, bool own, bool first, int e,
                               float *query, float *key, float *value)
{
    int h = s.a.d_head, share = s.a.n_heads / s.a.n_kv_heads, i = head * h + e, k = g * h + e;
    float x = s.q_out ? turned(s.q, s.angles, s.r, s.style, i, e) : __ldcg(s.q + i);
    if (s.q_out && first)
        s.q_out[i] = x;
    query[e] = rounded<T>(x);
    if (!own)
        return;
    T *page = (T *)((char *)s.kv.pages[s.pos / KV_PAGE] + s.kv.key_offset);
    T *kept = page + ((size_t)g * KV_PAGE + (size_t)(s.pos % KV_PAGE)) * h + e;
    T *kept_value = (T *)((char *)kept + (s.kv.value_offset - s.kv.key_offset));
    if (!s.keys) {
        key[e] = widen(__ldcg(kept));
        value[e] = widen(__ldcg(kept_value));
        return;
    }
    float y = s.k_out ? turned(s.keys, s.angles, s.r, s.style, k, e) : __ldcg(s.keys + k);
    float v = __ldcg(s.values + k);
    key[e] = rounded<T>(y);
    value[e] = rounded<T>(v);
    if (head % share != 0)
        return;
    if (s.k_out)
        s.k_out[k] = y;
    *kept = narrow<T>(y);
    *kept_value = narrow<T>(v);
}

template <bool FAR_OFF> __device__ static __forceinline__ float found_at(const float *p)
{
    return FAR_OFF ? __ldcg(p) : *p;
}

/* What each of n parts, `stride` floats apart, has found of element i: mix, maximum, sum. FAR_OFF:
 * they are other blocks'. */
template <bool FAR_OFF>
__device__ static float together(const float *part, int n, int stride, int h, int i, float *most,
                                 float *sum)
{
    float top = -INFINITY, all = 0, mix = 0;
    for (int k = 0; k < n; k++)
        top = fmaxf(top, found_at<FAR_OFF>(part + (size_t)k * stride + h));
    float base = top == -INFINITY ? 0.0f : top;
    for (int k = 0; k < n; k++) {
        const float *p = part + (size_t)k * stride;
        float weight = expf(found_at<FAR_OFF>(p + h) - base);
        all = fmaf(found_at<FAR_OFF>(p + h + 1), weight, all);
        mix = fmaf(found_at<FAR_OFF>(p + i), weight, mix);
    }
    *most = top;
    *sum = all;
    return mix;
}

/* C: 16-byte chunks of a head that a lane holds. */
template <typename T, int C, int STAGES>
__global__ void __launch_bounds__(THREADS) single_kernel(const __grid_constant__ struct single s)
{
    constexpr int VEC = 16 / (int)sizeof(T), N = C * VEC, STAGE = 2 * C * 32 * 16;
    extern __shared__ float4 shared[];
    __shared__ void *listed[LISTED];
    __shared__ float query[WIDEST], key[WIDEST], value[WIDEST], found[WARPS][WIDEST + 2];
    __shared__ bool last;
    int h = s.a.d_head, chunks = h / VEC, tid = (int)threadIdx.x, warp = tid / 32, lane = tid % 32;
    int head = (int)blockIdx.y, g = head / (s.a.n_heads / s.a.n_kv_heads), quarter = lane % 4;
    int start = first_visible(s.a.window, s.pos), from = start + (int)blockIdx.x * s.each;
    int to = from + s.each < s.pos ? from + s.each : s.pos; /* of the keys before its own */
    bool own = (s.pos - start) / s.each == (int)blockIdx.x;
    int first_page = from / KV_PAGE;
    next_may_start();
    size_t page_bytes = (size_t)KV_PAGE * (size_t)h * sizeof(T), announced = 0;
    for (int p = first_page + tid; p * KV_PAGE < to; p += THREADS) {
        const char *page = (const char *)s.kv.pages[p];
        if (p - first_page < LISTED)
            listed[p - first_page] = (void *)page;
        announced = 2 * page_bytes * (size_t)(p - first_page + 1);
        if (announced <= ANNOUNCED) {
            announce(page + s.kv.key_offset + (size_t)g * page_bytes, page_bytes);
            announce(page + s.kv.value_offset + (size_t)g * page_bytes, page_bytes);
        }
    }
    __syncthreads();
    if (!s.old)
        wait_for_last();
    char *stages = (char *)shared + warp * STAGES * STAGE + lane * 16;
    int steps = to > from ? (to - from + KEYS - 1) / KEYS : 0, at = warp;
    auto fetch = [&](int step, char *stage) {
        int k = from + step * KEYS + lane / 4;
        bool there = step < steps && k < to;
        if (there) {
            const T *keys = key_of<T>(s, listed, first_page, s.kv.key_offset, g, k);
            const T *values =
                (const T *)((const char *)keys + (s.kv.value_offset - s.kv.key_offset));
#pragma unroll
            for (int i = 0; i < C; i++) {
                int chunk = quarter + 4 * i;
                if (chunk < chunks) {
                    bring(stage + i * 512, keys + chunk * VEC, true);
                    bring(stage + (C + i) * 512, values + chunk * VEC, true);
                }
            }
        }
        bring_group();
    };
#pragma unroll
    for (int i = 0; i < STAGES; i++)
        fetch(at + i * WARPS, stages + i * STAGE);
    if (s.old)
        wait_for_last();
    if (tid < h)
        own_row<T>(s, head, g, own, blockIdx.x == 0, tid, query, key, value);
    __syncthreads();
    float q[N], part[N];
    struct mixed<N> m = {
        - INFINITY, 0,
        {
        }
    };
#pragma unroll
    for (int i = 0; i < N; i++) {
        int e = (quarter + i / VEC * 4) * VEC + i % VEC;
        q[i] = e < h ? query[e] : 0.0f;
    }
    auto scored = [&]() {
        float score = 0;
#pragma unroll
        for (int i = 0; i < N; i++)
            score = fmaf(q[i], part[i], score);
        score += __shfl_xor_sync(0xffffffffu, score, 1);
        return s.a.scale * (score + __shfl_xor_sync(0xffffffffu, score, 2));
    };
    for (int stage = 0; at < steps; at += WARPS, stage = stage + 1 == STAGES ? 0 : stage + 1) {
        char *mine = stages + stage * STAGE;
        bring_wait<STAGES - 1>();
        bool there = from + at * KEYS + lane / 4 < to;
        chunks_load<T, C>(mine, there ? chunks - quarter : 0, part);
        float score = scored();
        chunks_load<T, C>(mine + C * 512, there ? chunks - quarter : 0, part);
        mix_in<N>(&m, there ? score : -INFINITY, part);
        fetch(at + STAGES * WARPS, mine);
    }
    if (own && warp == 0) {
#pragma unroll
        for (int i = 0; i < N; i++) {
            int e = (quarter + i / VEC * 4) * VEC + i % VEC;
            part[i] = e < h ? key[e] : 0.0f;
        }
        float score = scored();
#pragma unroll
        for (int i = 0; i < N; i++) {
            int e = (quarter + i / VEC * 4) * VEC + i % VEC;
            part[i] = e < h ? value[e] : 0.0f;
        }
        if (lane < 4)
            mix_in<N>(&m, score, part);
    }
#pragma unroll
    for (int off = 16; off >= 4; off /= 2)
        mix_lanes<N>(&m, off);
    if (lane < 4) {
#pragma unroll
        for (int i = 0; i < N; i++) {
            int e = (quarter + i / VEC * 4) * VEC + i % VEC;
            if (e < h)
                found[warp][e] = m.mix[i];
        }
        found[warp][h] = m.most;
        found[warp][h + 1] = m.sum;
    }
    __syncthreads();
    float most, sum, mix = 0;
    if (tid < h)
        mix = together<false>(found[0], WARPS, WIDEST + 2, h, tid, &most, &sum);
    if (s.splits == 1) {
        if (tid < h)
            s.z[head * h + tid] = mix / sum;
        return;
    }
    float *parts = s.partial + (size_t)head * s.splits * (h + 2);
    if (tid < h) {
        parts[blockIdx.x * (h + 2) + tid] = mix;
        if (tid == 0) {
            parts[blockIdx.x * (h + 2) + h] = most;
            parts[blockIdx.x * (h + 2) + h + 1] = sum;
        }
    }
    __threadfence();
    __syncthreads();
    if (tid == 0) {
        last = atomicAdd(&s.arrived[head], 1) == (unsigned)s.splits - 1;
        if (last)
            s.arrived[head] = 0; /* for the next launch */
    }
    __syncthreads();
    if (!last || tid >= h)
        return;
    __threadfence();
    mix = together<true>(parts, s.splits, h + 2, h, tid, &most, &sum);
    s.z[head * h + tid] = mix / sum;
}

/* Of shared memory, for the steps that are on their way. */
static size_t step_bytes(int chunks, int stages)
{
    return (size_t)(WARPS * stages * 2 * chunks * 32 * 16);
}

bool attend_one_takes(const struct cuda *c, const struct attention *a, const struct kv_view *kv,
                      int pos)
{
    int vec = c->b.dtype == DTYPE_BF16 ? 8 : 4, share = a->n_heads / a->n_kv_heads;
    return a->d_head % vec == 0 && a->d_head <= WIDEST && a->n_heads <= ARRIVALS &&
           kv->key_offset % 16 == 0 && kv->value_offset % 16 == 0 && (share <= 2 || pos < FAR) &&
           step_bytes(vec == 8 ? 4 : 8, vec == 8 ? 4 : 2) + STATIC_BYTES <= c->shared_bytes;
}

/* One block for each multiprocessor, or two where that leaves too many without. */
static int splits_of(const struct cuda *c, int heads, int keys)
{
    int splits = c->n_sm / heads, most = (keys + LEAST - 1) / LEAST;
    if (10 * splits * heads < 7 * c->n_sm)
        splits = 2 * c->n_sm / heads;
    if (splits > ARRIVALS / heads) /* what the workspace holds: see attention_workspace */
        splits = ARRIVALS / heads;
    splits = splits < most ? splits : most;
    return splits < 1 ? 1 : splits;
}

template <typename T, int C, int STAGES> static void run(struct cuda *c, const struct single *s)
{
    launch_early(c, "attention", single_kernel<T, C, STAGES>,
                 dim3((unsigned)s->splits, (unsigned)s->a.n_heads), THREADS, step_bytes(C, STAGES),
                 *s);
}

void attend_one(struct cuda *c, const struct attention *a, const struct kv_pages *kv,
                const float *q, int pos, float *z, struct workspace work,
                const struct turn_job *turn)
{
    struct single s = {*a, *kv, q};
    int start = first_visible(a->window, pos), keys = pos + 1 - start;
    if (turn && turn->q.x) {
        s.q = turn->q.x;
        s.q_out = turn->q.out;
        s.angles = turn->q.angles;
        s.r = turn->q.r;
        s.style = turn->q.style;
    }
    if (turn) {
        s.keys = turn->k.x ? turn->k.x : turn->keys;
        s.k_out = turn->k.x ? turn->k.out : NULL;
        s.values = turn->values;
    }
    s.z = z;
    s.partial = (float *)work.data;
    s.arrived = c->arrived;
    s.old = c->stored == STORED_NONE || c->stored == pos;
    c->stored = !turn || !turn->stored ? c->stored : s.old ? pos : STORED_SEVERAL;
    s.pos = pos;
    s.splits = splits_of(c, a->n_heads, keys);
    s.each = ((keys + s.splits - 1) / s.splits + KEYS - 1) / KEYS * KEYS;
    if (c->b.dtype == DTYPE_BF16) {
        int chunks = (a->d_head / 8 + 3) / 4;
        if (chunks == 1)
            run<bf16, 1, 4>(c, &s);
        else if (chunks == 2)
            run<bf16, 2, 4>(c, &s);
        else if (chunks == 3)
            run<bf16, 3, 4>(c, &s);
        else
            run<bf16, 4, 4>(c, &s);
    } else {
        int chunks = (a->d_head / 4 + 3) / 4;
        if (chunks <= 2)
            run<float, 2, 2>(c, &s);
        else if (chunks <= 4)
            run<float, 4, 2>(c, &s);
        else if (chunks <= 6)
            run<float, 6, 2>(c, &s);
        else
            run<float, 8, 2>(c, &s);
    }
}
