/* flash_bf16.cu - many queries on the tensor cores: queries, keys, values and the weights of the
 * mix in bfloat16, scores, maxima, sums and the mix in float32.
 *
 * A block takes 128 queries of one head, a warp 32 of them, so that what it loads of a tile of keys
 * or values from shared memory is used twice; the tensor cores would wait for it otherwise. Tiles
 * are of 64 keys, the next on its way while one is used. Two blocks fit a multiprocessor: one takes
 * exponentials while the other multiplies. Fragments are those of mma.m16n8k16: in a warp, lane l
 * holds of a 16 x 8 result the rows l / 4 and l / 4 + 8, columns 2 (l % 4) and the next. */
#include "kernels/cuda/tiles.cuh"

__device__ static void load_transposed(unsigned r[4], const bf16 *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address_of(row))
                 : "memory");
}

template <int H> struct stage {
    struct tile<H> keys, values;
};

template <int H> struct room {
    struct stage<H> stages[STAGES];
    struct queries<H> queries;
};

/* o[PARTS][16 x H] += p[PARTS][16 x KEYS] values, p being the scores' fragments. */
template <int H>
__device__ static void mix(const float p[PARTS][KEYS / 8][4], const struct tile<H> *values,
                           float o[PARTS][H / 8][4])
{
    int lane = threadIdx.x % 32, key = lane / 8 % 2 * 8 + lane % 8, e = lane / 16 * 8;
#pragma unroll
    for (int j = 0; j < KEYS / 16; j++) {
        unsigned a[PARTS][4];
#pragma unroll
        for (int m = 0; m < PARTS; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                a[m][i] = two(p[m][2 * j + i / 2][i % 2 * 2], p[m][2 * j + i / 2][i % 2 * 2 + 1]);
#pragma unroll
        for (int k = 0; k < H / 16; k++) {
            unsigned b[4];
            load_transposed(b, &values->at[j * 16 + key][k * 16 + e]);
#pragma unroll
            for (int m = 0; m < PARTS; m++) {
                multiply(o[m][2 * k], a[m], b[0], b[1]);
                multiply(o[m][2 * k + 1], a[m], b[2], b[3]);
            }
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
            odd = odd || odd_numbers((unsigned)words[k]);
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

template <int H> __global__ void __launch_bounds__(THREADS, 2) flash_bf16_kernel(struct flash f)
{
    extern __shared__ __align__(16) unsigned char shared[];
    struct room<H> *mine = (struct room<H> *)shared;
    int head = (int)blockIdx.x, g = head / (f.a.n_heads / f.a.n_kv_heads);
    int block0 = (int)(gridDim.y - 1 - blockIdx.y) * ROWS; /* the longest first */
    int own = (int)threadIdx.x / 32 * OWN, row0 = block0 + own, lane = threadIdx.x % 32;
    int last = f.pos0 + (block0 + ROWS < f.n ? block0 + ROWS : f.n) - 1;
    int start = first_visible(f.a.window, f.pos0 + block0) / KEYS * KEYS;
    int tiles = (last - start) / KEYS + 1;
    const float scale = f.a.scale * LOG2E;
    float o[PARTS][H / 8][4] = {}, most[PARTS][2], sum[PARTS][2] = {};
#pragma unroll
    for (int m = 0; m < PARTS; m++)
        most[m][0] = most[m][1] = -INFINITY;
    fetch_tile<H>(f, f.kv.key_offset, g, start, &mine->stages[0].keys);
    fetch_tile<H>(f, f.kv.value_offset, g, start, &mine->stages[0].values);
    fetch_commit();
    load_queries<H>(f, head, block0, &mine->queries);
    for (int i = 0; i < tiles; i++) {
        int s0 = start + i * KEYS;
        if (i + 1 < tiles) {
            struct stage<H> *next = &mine->stages[(i + 1) % STAGES];
            fetch_tile<H>(f, f.kv.key_offset, g, s0 + KEYS, &next->keys);
            fetch_tile<H>(f, f.kv.value_offset, g, s0 + KEYS, &next->values);
        }
        fetch_commit();
        fetch_wait<1>();
        __syncthreads();
        const struct stage<H> *now = &mine->stages[i % STAGES];
        int t0 = f.pos0 + row0; /* of the warp's first row */
        bool cut =
            s0 + KEYS - 1 > t0 || (f.a.window > 0 && s0 < first_visible(f.a.window, t0 + OWN - 1));
        float s[PARTS][KEYS / 8][4];
        score<H>(&mine->queries, own, &now->keys, s);
#pragma unroll
        for (int m = 0; m < PARTS; m++) {
            if (cut)
                hide<KEYS>(s[m], f.a.window, s0, t0 + m * 16 + lane / 4);
#pragma unroll
            for (int half = 0; half < 2; half++)
                shrink_row<H>(o[m], half,
                              weigh<KEYS>(s[m], half, scale, &most[m][half], &sum[m][half]));
        }
        if (!cut || all_finite<H>(&now->values))
            mix<H>(s, &now->values, o);
        else
#pragma unroll
            for (int m = 0; m < PARTS; m++)
                mix_seen<H>(s[m], &now->values, f.a.window, s0, t0 + m * 16 + lane / 4, o[m]);
        __syncthreads();
    }
    fetch_wait<0>();
#pragma unroll
    for (int m = 0; m < PARTS; m++)
        write_rows<H>(f, head, row0 + m * 16, most[m], sum[m], o[m]);
}

template <int H> static void run(struct cuda *c, const struct flash *f)
{
    size_t bytes = sizeof(struct room<H>);
    if (!cuda_ok(c,
                 cudaFuncSetAttribute(flash_bf16_kernel<H>,
                                      cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
                 "attention"))
        return;
    dim3 grid((unsigned)f->a.n_heads, (unsigned)((f->n + ROWS - 1) / ROWS));
    flash_bf16_kernel<H><<<grid, THREADS, bytes, c->stream>>>(*f);
    launched(c, "attention");
}

void attend_tiles_bf16(struct cuda *c, const struct flash *f)
{
    switch (f->a.d_head) {
    case 16:
        run<16>(c, f);
        break;
    case 32:
        run<32>(c, f);
        break;
    case 64:
        run<64>(c, f);
        break;
    case 80:
        run<80>(c, f);
        break;
    case 96:
        run<96>(c, f);
        break;
    default:
        run<128>(c, f);
    }
}
