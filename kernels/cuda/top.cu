/* top.cu - the best entries of long rows: the few bytes that a choice among logits takes.
 *
 * A row is cut into slices, a block for each, which writes the slice's best keys and what it
 * counted; then blocks put the lists of some slices together, until one list is left. A key is a
 * number that is larger for what is better, so that keys, all different, can be compared, counted
 * and sorted in any order with the same end. Where a row is cut depends on its length alone. */
#include "kernels/cuda/cuda.cuh"

#define THREADS 256
#define EACH    16               /* elements, or keys, of a thread */
#define SLICE   (THREADS * EACH) /* of a block */
#define TARGETS 512              /* rows of a launch */

/* What was counted in some slices of a row. */
struct share {
    double sum; /* of exp(x - most) */
    float most;
    int n_nan, n_above, n_below, ahead;
};

/* Rows of lists: shares[n, lists], keys[n, lists, k]. */
struct lists {
    struct share *shares;
    uint64_t *keys;
};

struct targets {
    int32_t at[TARGETS];
};

struct choice {
    const float *x; /* [n, d] */
    int d, k;
    struct best_row *rows;
    struct best_entry *best;
};

/* ---- keys ------------------------------------------------------------------------------------ */

/* The better element's is the larger: the larger number, -0 as +0, of equals the lower index, NaN
 * behind all. 0 is no element's. */
__device__ static uint64_t key_of(float x, int i)
{
    unsigned bits = __float_as_uint(x == 0.0f ? 0.0f : x);
    bits ^= bits >> 31 ? 0xffffffffu : 0x80000000u;
    return (uint64_t)(isnan(x) ? 0u : bits) << 32 | ~(unsigned)i;
}

__device__ static int index_of(uint64_t key)
{
    return (int)~(unsigned)key;
}

__device__ static uint64_t better(uint64_t x, uint64_t y)
{
    return x > y ? x : y;
}

/* The best of a block's keys, the same in each thread. */
__device__ static uint64_t block_best(uint64_t x)
{
    __shared__ uint64_t part[32];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    for (int k = 16; k > 0; k /= 2)
        x = better(x, __shfl_xor_sync(0xffffffffu, x, k));
    __syncthreads();
    if (lane == 0)
        part[warp] = x;
    __syncthreads();
    x = lane < warps ? part[lane] : 0;
    for (int k = 16; k > 0; k /= 2)
        x = better(x, __shfl_xor_sync(0xffffffffu, x, k));
    return x;
}

struct chooser {
    uint64_t best[THREADS], found[BEST_MOST * EACH], chosen[BEST_MOST];
    uint64_t least;
    int n_found;
};

/* The k best of a block's keys, in order, into s->chosen; 0 where there are no more. */
__device__ static void choose(const uint64_t (&mine)[EACH], int k, struct chooser *s)
{
    int thread = (int)threadIdx.x;
    uint64_t best = 0;
#pragma unroll
    for (int i = 0; i < EACH; i++)
        best = better(best, mine[i]);
    if (k == 1) {
        best = block_best(best);
        if (thread == 0)
            s->chosen[0] = best;
        __syncthreads();
        return;
    }
    /* The k-th best of the threads' bests: k threads and no others have keys as good as that, and
     * the k best keys are among theirs. */
    s->best[thread] = best;
    if (thread == 0) {
        s->least = 1;
        s->n_found = 0;
    }
    __syncthreads();
    int ahead = 0;
    for (int i = 0; i < THREADS; i++)
        ahead += s->best[i] > best;
    if (ahead == k - 1 && best != 0)
        s->least = best;
    __syncthreads();
    uint64_t least = s->least;
#pragma unroll
    for (int i = 0; i < EACH; i++)
        if (mine[i] >= least)
            s->found[atomicAdd(&s->n_found, 1)] = mine[i];
    __syncthreads();
    int n = s->n_found;
    for (int c = thread; c < n; c += THREADS) {
        uint64_t key = s->found[c];
        int place = 0;
        for (int i = 0; i < n; i++)
            place += s->found[i] > key;
        if (place < k)
            s->chosen[place] = key;
    }
    for (int c = n + thread; c < k; c += THREADS)
        s->chosen[c] = 0;
    __syncthreads();
}

/* ---- sums ------------------------------------------------------------------------------------ */

/* exp(x - most) within 2^-22 of itself: the difference is taken with what rounding it lost. */
__device__ static float power(float x, float most)
{
    float d = x - most, back = d - x;
    float lost = (x - (d - back)) - (most + back);
    return d > -104.0f ? expf(d) * (1.0f + lost) : 0.0f; /* less is nothing; nor is a NaN */
}

/* ---- a slice --------------------------------------------------------------------------------- */

__device__ static void load_four(const float *row, int i, int d, bool fours, float *out)
{
    if (fours && i < d) {
        float4 x = __ldcg((const float4 *)(row + i));
        out[0] = x.x, out[1] = x.y, out[2] = x.z, out[3] = x.w;
        return;
    }
#pragma unroll
    for (int k = 0; k < 4; k++)
        out[k] = i + k < d ? __ldcg(row + i + k) : 0.0f;
}

__global__ void __launch_bounds__(THREADS)
    slice_kernel(struct choice j, bool fours, int n_lists, struct targets targets, struct lists out)
{
    __shared__ struct chooser chooser;
    int row = (int)blockIdx.x / n_lists, list = (int)blockIdx.x % n_lists;
    const float *x = j.x + (size_t)row * j.d;
    int target = targets.at[row];
    float v[EACH], most = -INFINITY;
    uint64_t keys[EACH], goal = ~(uint64_t)0, counts = 0;
    if (target >= 0)
        goal = key_of(__ldcg(x + target), target);
        /* Four neighbours at a time, whether they can be loaded so or not: the sums are the same.
         */
#pragma unroll
    for (int i = 0; i < EACH; i += 4)
        load_four(x, list * SLICE + (i / 4 * THREADS + (int)threadIdx.x) * 4, j.d, fours, v + i);
        /* No more than SLICE of each: 16 bits do. */
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        int at = list * SLICE + (i / 4 * THREADS + (int)threadIdx.x) * 4 + i % 4;
        keys[i] = 0;
        if (at >= j.d) {
            v[i] = -INFINITY;
            continue;
        }
        keys[i] = key_of(v[i], at);
        most = fmaxf(most, v[i]);
        counts += (uint64_t)isnan(v[i]) + ((uint64_t)(v[i] == INFINITY) << 16) +
                  ((uint64_t)(v[i] == -INFINITY) << 32) + ((uint64_t)(keys[i] > goal) << 48);
    }
    most = block_max(most);
    double sum = 0;
#pragma unroll
    for (int i = 0; i < EACH; i++)
        sum += (double)power(v[i], most);
    sum = block_sum(sum);
    counts = block_sum(counts);
    size_t to = blockIdx.x;
    if (threadIdx.x == 0)
        out.shares[to] = {sum,
                          most,
                          (int)(counts & 0xffff),
                          (int)(counts >> 16 & 0xffff),
                          (int)(counts >> 32 & 0xffff),
                          (int)(counts >> 48)};
    if (j.k == 0)
        return;
    choose(keys, j.k, &chooser);
    if ((int)threadIdx.x < j.k)
        out.keys[to * j.k + threadIdx.x] = chooser.chosen[threadIdx.x];
}

/* ---- lists put together ---------------------------------------------------------------------- */

__device__ static struct share add_up(const struct share *s, int n)
{
    float most = -INFINITY;
    double sum = 0;
    uint64_t odd = 0, others = 0; /* two counts each */
    for (int i = (int)threadIdx.x; i < n; i += THREADS) {
        most = fmaxf(most, __ldcg(&s[i].most));
        odd += (uint64_t)__ldcg(&s[i].n_nan) + ((uint64_t)__ldcg(&s[i].n_above) << 32);
        others += (uint64_t)__ldcg(&s[i].n_below) + ((uint64_t)__ldcg(&s[i].ahead) << 32);
    }
    most = block_max(most);
    for (int i = (int)threadIdx.x; i < n; i += THREADS) {
        double part = __ldcg(&s[i].sum);
        sum += part > 0 ? part * exp((double)__ldcg(&s[i].most) - (double)most) : 0;
    }
    sum = block_sum(sum);
    odd = block_sum(odd);
    others = block_sum(others);
    return {sum, most, (int)odd, (int)(odd >> 32), (int)others, (int)(others >> 32)};
}

/* Each block takes `group` lists of a row's n_lists, and leaves one; the last ones are told. */
__global__ void __launch_bounds__(THREADS)
    join_kernel(struct choice j, int n_lists, int group, struct targets targets, struct lists from,
                struct lists to)
{
    __shared__ struct chooser chooser;
    int left = (n_lists + group - 1) / group;
    int row = (int)blockIdx.x / left, first = (int)blockIdx.x % left * group;
    int n = n_lists - first < group ? n_lists - first : group;
    size_t at = (size_t)row * n_lists + first;
    int thread = (int)threadIdx.x, target = targets.at[row];
    const float *x = j.x + (size_t)row * j.d;
    uint64_t keys[EACH];
    struct share all = add_up(from.shares + at, n);
    if (thread == 0 && left > 1)
        to.shares[blockIdx.x] = all;
    else if (thread == 0)
        j.rows[row] = {all.sum,
                       all.most,
                       all.n_nan,
                       all.n_above,
                       all.n_below,
                       all.ahead,
                       target >= 0 ? __ldcg(x + target) : 0.0f};
    if (j.k == 0)
        return;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        int key = i * THREADS + thread;
        keys[i] = key < n * j.k ? __ldcg(from.keys + at * j.k + key) : 0;
    }
    choose(keys, j.k, &chooser);
    if (thread >= j.k)
        return;
    uint64_t key = chooser.chosen[thread];
    if (left > 1)
        to.keys[(size_t)blockIdx.x * j.k + thread] = key;
    else
        j.best[(size_t)row * j.k + thread] = {key ? index_of(key) : -1,
                                              key ? __ldcg(x + index_of(key)) : NAN};
}

/* ---- launching ------------------------------------------------------------------------------- */

static int slices_of(int d)
{
    return (d + SLICE - 1) / SLICE;
}

/* Lists that a block takes. */
static int group_of(int k)
{
    return k > 1 ? SLICE / k : SLICE;
}

static size_t list_bytes(int k)
{
    return sizeof(struct share) + (size_t)k * sizeof(uint64_t);
}

/* Two places for lists, of which one is read and one written. */
static size_t places_bytes(int n, int d, int k)
{
    size_t lists = (size_t)slices_of(d),
           later = (lists + (size_t)group_of(k) - 1) / (size_t)group_of(k);
    return (size_t)n * (lists + later) * list_bytes(k);
}

static size_t best_workspace(struct backend *b, int n, int d, int k)
{
    (void)b;
    return places_bytes(n < TARGETS ? n : TARGETS, d, k);
}

static struct lists place(void *at, size_t n_lists)
{
    struct share *shares = (struct share *)at;
    return {shares, (uint64_t *)(shares + n_lists)};
}

/* Up to TARGETS rows. */
static void run(struct cuda *c, const struct choice *j, const struct targets *targets, int n,
                struct workspace work)
{
    int lists = slices_of(j->d), group = group_of(j->k);
    bool fours = j->d % 4 == 0 && (uintptr_t)j->x % 16 == 0;
    size_t all = (size_t)n * (size_t)lists;
    struct lists from = place(work.data, all);
    struct lists to = place((char *)work.data + all * list_bytes(j->k),
                            (size_t)n * (size_t)((lists + group - 1) / group));
    slice_kernel<<<(unsigned)all, THREADS, 0, c->stream>>>(*j, fours, lists, *targets, from);
    for (int left = 0; left != 1; lists = left) {
        left = (lists + group - 1) / group;
        join_kernel<<<(unsigned)(n * left), THREADS, 0, c->stream>>>(*j, lists, group, *targets,
                                                                     from, to);
        struct lists t = from;
        from = to;
        to = t;
    }
    launched(c, "finding the best");
}

static void best(struct backend *b, const float *x, int n, int d, const int32_t *targets, int k,
                 struct best_row *rows, struct best_entry *entries, struct workspace work)
{
    struct cuda *c = cuda_of(b);
    struct targets some;
    for (int from = 0; from < n && ready(c); from += TARGETS) {
        int now = n - from < TARGETS ? n - from : TARGETS;
        for (int i = 0; i < now; i++)
            some.at[i] = targets ? targets[from + i] : -1;
        struct choice j = {x + (size_t)from * d, d, k, rows + from, entries + (size_t)from * k};
        run(c, &j, &some, now, work);
    }
}

void top_ops(struct backend *b)
{
    b->best = best;
    b->best_workspace = best_workspace;
}
