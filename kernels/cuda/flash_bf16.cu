/* flash_bf16.cu - many queries on the tensor cores: queries, keys, values and the weights of the
 * mix in bfloat16, scores, maxima, sums and the mix in float32.
 *
 * A block takes 128 queries of one head, a warp 16 of them; keys and values come in tiles of 64,
 * the next on its way while one is used. Fragments are those of mma.m16n8k16: in a warp, lane l
 * holds of a 16 x 8 result the rows l / 4 and l / 4 + 8, columns 2 (l % 4) and the next. */
#include "kernels/cuda/cuda.cuh"

#define WARPS   8
#define THREADS (WARPS * 32)
#define ROWS    (WARPS * 16)
#define KEYS    64
#define STAGES  2
#define LOG2E   1.4426950408889634f

struct flash {
    struct attention a;
    struct kv_pages kv;
    const float *q;
    float *z;
    int pos0, n;
};

/* ---- instructions ---------------------------------------------------------------------------- */

__device__ static unsigned address_of(const void *shared)
{
    return (unsigned)__cvta_generic_to_shared(shared);
}

/* Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8. */
__device__ static void load_matrices(unsigned r[4], const bf16 *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address_of(row))
                 : "memory");
}

__device__ static void load_transposed(unsigned r[4], const bf16 *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address_of(row))
                 : "memory");
}

/* d[16 x 8] += a[16 x 16] b[16 x 8] */
__device__ static void multiply(float d[4], const unsigned a[4], unsigned b0, unsigned b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* 16 bytes to shared memory, on their own way; zeros where there is nothing. */
__device__ static void fetch(bf16 *to, const bf16 *from, bool there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address_of(to)), "l"(from),
                 "r"(there ? 16 : 0)
                 : "memory");
}

__device__ static void fetch_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int LEFT> __device__ static void fetch_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

__device__ static unsigned two(float low, float high)
{
    __nv_bfloat162 v = __floats2bfloat162_rn(low, high);
    unsigned bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

__device__ static float power_of_two(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ static float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

__device__ static float quad_sum(float x)
{
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/* ---- the kernel ------------------------------------------------------------------------------ */

/* Rows of a tile in shared memory: 16 bytes more than a head, an odd number of 16 bytes, so that
 * eight rows of a matrix lie in different banks. */
template <int H> struct tile {
    bf16 at[KEYS][H + 8];
};

template <int H> struct stage {
    struct tile<H> keys, values;
};

template <int H>
__device__ static void fetch_tile(const struct flash &f, size_t offset, int g, int s0,
                                  struct tile<H> *to)
{
    const int chunks = H / 8, keys = f.pos0 + f.n;
    for (int i = threadIdx.x; i < KEYS * chunks; i += THREADS) {
        int s = i / chunks, e = i % chunks * 8;
        bool there = s0 + s < keys;
        fetch(&to->at[s][e], paged<bf16>(f.kv, offset, g, there ? s0 + s : s0) + e, there);
    }
}

/* The warp's queries as the fragments of a's: [H / 16][4]. */
template <int H>
__device__ static void load_queries(const struct flash &f, int head, int row0, unsigned a[][4])
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < H / 16; k++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int row = row0 + lane / 4 + i % 2 * 8, e = k * 16 + lane % 4 * 2 + i / 2 * 8;
            const float *q = f.q + ((size_t)row * f.a.n_heads + head) * H + e;
            a[k][i] = row < f.n ? two(q[0], q[1]) : 0;
        }
}

/* scores[16 x KEYS] of the warp's queries. */
template <int H>
__device__ static void score(const unsigned a[][4], const struct tile<H> *keys, float s[][4])
{
    int lane = threadIdx.x % 32, key = lane / 16 * 8 + lane % 8, e = lane / 8 % 2 * 8;
#pragma unroll
    for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            s[j][i] = 0;
#pragma unroll
    for (int k = 0; k < H / 16; k++)
#pragma unroll
        for (int j = 0; j < KEYS / 16; j++) {
            unsigned b[4];
            load_matrices(b, &keys->at[j * 16 + key][k * 16 + e]);
            multiply(s[2 * j], a[k], b[0], b[1]);
            multiply(s[2 * j + 1], a[k], b[2], b[3]);
        }
}

/* o[16 x H] += p[16 x KEYS] values, p being the scores' fragments. */
template <int H>
__device__ static void mix(const float p[][4], const struct tile<H> *values, float o[][4])
{
    int lane = threadIdx.x % 32, key = lane / 8 % 2 * 8 + lane % 8, e = lane / 16 * 8;
#pragma unroll
    for (int j = 0; j < KEYS / 16; j++) {
        const unsigned a[4] = {two(p[2 * j][0], p[2 * j][1]), two(p[2 * j][2], p[2 * j][3]),
                               two(p[2 * j + 1][0], p[2 * j + 1][1]),
                               two(p[2 * j + 1][2], p[2 * j + 1][3])};
#pragma unroll
        for (int k = 0; k < H / 16; k++) {
            unsigned b[4];
            load_transposed(b, &values->at[j * 16 + key][k * 16 + e]);
            multiply(o[2 * k], a, b[0], b[1]);
            multiply(o[2 * k + 1], a, b[2], b[3]);
        }
    }
}

/* Whether every value of a tile is a finite number; the same in each lane. */
template <int H> __device__ static bool all_finite(const struct tile<H> *values)
{
    bool odd = false;
    for (int i = threadIdx.x % 32; i < KEYS * H / 8; i += 32) {
        int4 v = *(const int4 *)&values->at[i / (H / 8)][i % (H / 8) * 8];
        const int words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int k = 0; k < 4; k++)
            odd = odd || (words[k] & 0x7f80) == 0x7f80 || (words[k] & 0x7f800000) == 0x7f800000;
    }
    return !__any_sync(0xffffffffu, odd);
}

/* mix() for a tile that not all queries see all of and that holds a NaN or an infinity: 0 times it
 * would spoil the queries that do not see it, so a key is only multiplied where it is seen.
 * t: the position of the lane's first row. */
template <int H>
__device__ static void mix_seen(const float p[][4], const struct tile<H> *values, int window,
                                int s0, int t, float o[][4])
{
    int lane = threadIdx.x % 32, first0 = first_visible(window, t);
    int first1 = first_visible(window, t + 8);
#pragma unroll
    for (int j = 0; j < KEYS / 8; j++)
#pragma unroll 1
        for (int c = 0; c < 8; c++) {
            int from = lane / 4 * 4 + c / 2, key = s0 + j * 8 + c;
            float p0 = __shfl_sync(0xffffffffu, c % 2 ? p[j][1] : p[j][0], from);
            float p1 = __shfl_sync(0xffffffffu, c % 2 ? p[j][3] : p[j][2], from);
            bool seen0 = key <= t && key >= first0, seen1 = key <= t + 8 && key >= first1;
#pragma unroll
            for (int k = 0; k < H / 8; k++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    float v = widen(values->at[j * 8 + c][k * 8 + lane % 4 * 2 + i]);
                    o[k][i] = seen0 ? fmaf(p0, v, o[k][i]) : o[k][i];
                    o[k][i + 2] = seen1 ? fmaf(p1, v, o[k][i + 2]) : o[k][i + 2];
                }
        }
}

template <int H> __global__ void __launch_bounds__(THREADS) flash_bf16_kernel(struct flash f)
{
    extern __shared__ __align__(16) unsigned char shared[];
    struct stage<H> *stages = (struct stage<H> *)shared;
    int head = (int)blockIdx.y, g = head / (f.a.n_heads / f.a.n_kv_heads);
    int block0 = (int)(gridDim.x - 1 - blockIdx.x) * ROWS; /* the longest first */
    int row0 = block0 + (int)threadIdx.x / 32 * 16, lane = threadIdx.x % 32;
    int last = f.pos0 + (block0 + ROWS < f.n ? block0 + ROWS : f.n) - 1;
    int start = first_visible(f.a.window, f.pos0 + block0) / KEYS * KEYS;
    int tiles = (last - start) / KEYS + 1;
    const float scale = f.a.scale * LOG2E;
    unsigned q[H / 16][4];
    float o[H / 8][4] = {}, most[2] = {-INFINITY, -INFINITY}, sum[2] = {};
    fetch_tile<H>(f, f.kv.key_offset, g, start, &stages[0].keys);
    fetch_tile<H>(f, f.kv.value_offset, g, start, &stages[0].values);
    fetch_commit();
    load_queries<H>(f, head, row0, q);
    for (int i = 0; i < tiles; i++) {
        int s0 = start + i * KEYS;
        if (i + 1 < tiles) {
            struct stage<H> *next = &stages[(i + 1) % STAGES];
            fetch_tile<H>(f, f.kv.key_offset, g, s0 + KEYS, &next->keys);
            fetch_tile<H>(f, f.kv.value_offset, g, s0 + KEYS, &next->values);
        }
        fetch_commit();
        fetch_wait<1>();
        __syncthreads();
        const struct stage<H> *now = &stages[i % STAGES];
        float s[KEYS / 8][4];
        score<H>(q, &now->keys, s);
        int t0 = f.pos0 + row0 + lane / 4; /* of the first row; the second is 8 on */
        bool cut = s0 + KEYS - 1 > f.pos0 + row0 ||
                   (f.a.window > 0 && s0 < first_visible(f.a.window, f.pos0 + row0 + 15));
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int t = t0 + 8 * half, first = first_visible(f.a.window, t);
            float top = most[half], added = 0;
#pragma unroll
            for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
                for (int k = 2 * half; k < 2 * half + 2; k++) {
                    int key = s0 + j * 8 + lane % 4 * 2 + k % 2;
                    s[j][k] = cut && (key > t || key < first) ? -INFINITY : s[j][k] * scale;
                    top = fmaxf(top, s[j][k]);
                }
            top = quad_max(top);
            float base = top == -INFINITY ? 0.0f : top, shrink = power_of_two(most[half] - base);
#pragma unroll
            for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
                for (int k = 2 * half; k < 2 * half + 2; k++) {
                    s[j][k] = power_of_two(s[j][k] - base);
                    added += s[j][k];
                }
            sum[half] = sum[half] * shrink + added;
            most[half] = top;
#pragma unroll
            for (int k = 0; k < H / 8; k++) {
                o[k][2 * half] *= shrink;
                o[k][2 * half + 1] *= shrink;
            }
        }
        if (!cut || all_finite<H>(&now->values))
            mix<H>(s, &now->values, o);
        else
            mix_seen<H>(s, &now->values, f.a.window, s0, t0, o);
        __syncthreads();
    }
    fetch_wait<0>();
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int row = row0 + lane / 4 + 8 * half;
        float total = quad_sum(sum[half]);
        if (row >= f.n)
            continue;
        float *z = f.z + ((size_t)row * f.a.n_heads + head) * H + lane % 4 * 2;
#pragma unroll
        for (int k = 0; k < H / 8; k++) {
            float2 v = {o[k][2 * half] / total, o[k][2 * half + 1] / total};
            *(float2 *)(z + k * 8) = v;
        }
    }
}

template <int H> static void run(struct cuda *c, const struct flash *f)
{
    size_t bytes = STAGES * sizeof(struct stage<H>);
    if (!cuda_ok(c,
                 cudaFuncSetAttribute(flash_bf16_kernel<H>,
                                      cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
                 "attention"))
        return;
    dim3 grid((unsigned)((f->n + ROWS - 1) / ROWS), (unsigned)f->a.n_heads);
    flash_bf16_kernel<H><<<grid, THREADS, bytes, c->stream>>>(*f);
    launched(c, "attention");
}

void attend_tiles_bf16(struct cuda *c, const struct attention *a, const struct kv_pages *kv,
                       const float *q, int pos0, int n, float *z)
{
    struct flash f = {*a, *kv, q, z, pos0, n};
    bool aligned = kv->key_offset % 16 == 0 && kv->value_offset % 16 == 0;
    switch (aligned ? a->d_head : 0) {
    case 16:
        run<16>(c, &f);
        break;
    case 32:
        run<32>(c, &f);
        break;
    case 64:
        run<64>(c, &f);
        break;
    case 80:
        run<80>(c, &f);
        break;
    case 96:
        run<96>(c, &f);
        break;
    case 128:
        run<128>(c, &f);
        break;
    default:
        attend_tiles(c, a, kv, q, pos0, n, z);
    }
}
