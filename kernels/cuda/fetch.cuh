/* fetch.cuh - the warp of token.cu that does nothing but fetch: all that its block's share of all
 * stages takes, in order, into the ring, without ever waiting for a stage to end. */
#ifndef MIDPASS_CUDA_FETCH_CUH
#define MIDPASS_CUDA_FETCH_CUH

#include "kernels/cuda/ring.cuh"

/* Bytes that are filled at a time: of the stage that the others are at work on, so many that the
 * memory is never idle; of later ones fewer, since requests that queue are what the other blocks
 * and the next row have to wait behind. */
#define UNDER_WAY       (96 << 10)
#define UNDER_WAY_LATER (24 << 10)

#define DEALT 85 /* percent of a stage's units */
#define SOME  4  /* places that the others fill at a time, or those of one unit */
/* Lanes that see at a time whether they can fill theirs: looking costs the other warps time. */
#define LOOKING 4

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

/* What comes to a place: runs of memory of so many bytes, in turn to its first and its second half,
 * in each one behind the other. */
struct cargo {
    const char *from[4];
    int n;
    unsigned bytes;
    int unit;
};

__device__ static __forceinline__ void bring_cargo(const struct ring &r, struct place p,
                                                   const struct cargo &c, uint64_t policy)
{
    uint64_t *full = r.full + p.slot;
    char *to = place_data(r, p);
    r.told->unit[p.slot] = c.unit;
    arrival_expect(full, (unsigned)c.n * c.bytes);
    bring_many(to, c.from[0], c.bytes, full, policy);
    bring_many(to + r.half, c.from[1], c.bytes, full, policy);
    if (c.n > 2) {
        bring_many(to + c.bytes, c.from[2], c.bytes, full, policy);
        bring_many(to + r.half + c.bytes, c.from[3], c.bytes, full, policy);
    }
}

/* Has the next `count` places filled, each by a lane, as soon as it is free and not too much is
 * under way; what(i): the i-th cargo. In order, since a barrier tells one turn only from the next.
 */
template <typename WHAT>
__device__ static __forceinline__ void fill(const struct ring &r, int stage, unsigned *filled,
                                            int count, uint64_t policy, WHAT what)
{
    int lane = (int)threadIdx.x % 32, some = r.places < 32 ? (int)r.places : 32;
    unsigned most = UNDER_WAY / (2 * r.half), least = UNDER_WAY_LATER / (2 * r.half);
    for (int first = 0; first < count; first += some) {
        int now = count - first < some ? count - first : some;
        unsigned n = *filled + (unsigned)lane;
        struct place p = place_at(r, n), far = place_at(r, n - most), near = place_at(r, n - least);
        struct cargo c = {};
        bool waits = lane < now;
        if (waits)
            c = what(first + lane);
        for (unsigned left = __ballot_sync(0xffffffffu, waits); left;) {
            struct place before = r.told->at_work < stage ? near : far;
            bool looks = waits && __popc(left & ((1u << lane) - 1)) < LOOKING;
            bool can = looks && arrival_over(r.empty + p.slot, p.turn + 1) &&
                       (n < most || arrival_over(r.full + before.slot, before.turn));
            unsigned blocked = __ballot_sync(0xffffffffu, waits && !can);
            if (can && (!blocked || lane < __ffs((int)blocked) - 1)) {
                bring_cargo(r, p, c, policy);
                waits = false;
            }
            left = __ballot_sync(0xffffffffu, waits);
            if (lane == 0)
                r.told->asked = *filled + (unsigned)(left ? __ffs((int)left) - 1 : now);
        }
        *filled += (unsigned)now;
    }
}

/* The i-th cargo of the units from `first` on. */
template <typename W>
__device__ static __forceinline__ struct cargo cargo_of(const struct product_stage &s, int first,
                                                        int i)
{
    int k = i % s.parts * s.part_inputs, unit = first + i / s.parts;
    int inputs = s.n_in - k < s.part_inputs ? s.n_in - k : s.part_inputs;
    struct pair o = pair_of(s, unit);
    return {{(const char *)(row_of<W>(s, o.part[0], o.row[0]) + k),
             (const char *)(row_of<W>(s, o.part[1], o.row[1]) + k)},
            2,
            (unsigned)inputs * (unsigned)sizeof(W),
            unit};
}

/* Multiprocessors are not equally quick at it: most units are dealt out, of the others each takes
 * some when it has room for them. `taken` counts those. */
template <typename W>
__device__ static void fetch_products(const struct product_stage &s, unsigned *taken,
                                      const struct ring &r, int stage, unsigned *filled,
                                      uint64_t policy)
{
    int n = s.units * DEALT / 100 / (int)gridDim.x, rest = n * (int)gridDim.x;
    int some = SOME > s.parts ? SOME / s.parts : 1, lane = (int)threadIdx.x % 32;
    for (int first = n * (int)blockIdx.x; first < s.units;) {
        int next = lane == 0 ? rest + (int)atomicAdd(taken, some) : 0; /* it comes meanwhile */
        fill(r, stage, filled, n * s.parts, policy,
             [&](int i) { return cargo_of<W>(s, first, i); });
        first = __shfl_sync(0xffffffffu, next, 0);
        n = s.units - first < some ? s.units - first : some;
    }
}

/* In half a place keys, in the other their values: two pages, one, or half of one. */
template <typename K>
__device__ static void fetch_keys(const struct attention_stage &s, const struct ring &r, int stage,
                                  unsigned *filled, uint64_t policy)
{
    int turns = s.a.n_heads * s.splits, share = s.a.n_heads / s.a.n_kv_heads;
    int shift = keys_shift<K>(s.a.d_head, r.half), each = 1 << shift;
    int run = each < KV_PAGE ? each : KV_PAGE; /* keys that lie one behind the other */
    size_t row = (size_t)s.a.d_head * sizeof(K);
    for (int turn = (int)blockIdx.x; turn < turns; turn += (int)gridDim.x) {
        struct stretch keys = stretch_of(s, turn % s.splits);
        int first = keys.from >> shift, g = turn / s.splits / share;
        fill(r, stage, filled, places_of(keys, shift), policy, [&](int i) {
            int key = (first + i) << shift;
            struct cargo c = {{}, 0, (unsigned)run * (unsigned)row, 0};
#pragma unroll
            for (int k = 0; k < 2; k++) {
                if (k * run >= each || key >= keys.to)
                    break;
                const char *page = (const char *)s.kv.pages[key / KV_PAGE] +
                                   (size_t)(g * KV_PAGE + key % KV_PAGE) * row;
                c.from[2 * k] = page + s.kv.key_offset;
                c.from[2 * k + 1] = page + s.kv.value_offset;
                c.n += 2;
                key += run;
            }
            return c;
        });
    }
}

template <typename W, typename K>
__device__ static void fetch_all(const struct token &t, const struct ring &r)
{
    unsigned filled = 0;
    uint64_t policy = read_once();
    for (int i = 0; i < t.n; i++) {
        if (t.at[i].kind == STAGE_PRODUCTS)
            fetch_products<W>(t.at[i].products, t.taken + i, r, i, &filled, policy);
        else if (t.at[i].kind == STAGE_ATTENTION)
            fetch_keys<K>(t.at[i].attention, r, i, &filled, policy);
        if (threadIdx.x % 32 == 0) {
            r.told->ends[i] = filled;
            __threadfence_block();
            r.told->stages = i + 1;
        }
    }
}

#endif
#endif
