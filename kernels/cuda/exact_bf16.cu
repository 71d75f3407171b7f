/* exact_bf16.cu - bfloat16 products whose bits do not depend on how many rows there are: --exact.
 *
 * An output is one chain of mma.m16n8k16, 16 inputs at a time and in their order, from +0, whatever
 * tile it lies in. So two sizes of tile give the same bits: one for few rows, which is bounded by
 * reading the matrix, and one for many. Outputs are the mma's rows and our rows its columns, since
 * the few are then no fewer than 8. */
#include "kernels/cuda/cuda.cuh"

/* How a block cuts its work: OUTPUTS x ROWS, shared by BY_OUTPUT x BY_ROW warps; DEPTH inputs are
 * in shared memory at a time, which all its THREADS load. */
template <int OUTPUTS_, int ROWS_, int BY_OUTPUT_, int BY_ROW_, int DEPTH_> struct cut {
    static constexpr int OUTPUTS = OUTPUTS_, ROWS = ROWS_, DEPTH = DEPTH_, THREADS = 256;
    static constexpr int BY_OUTPUT = BY_OUTPUT_, WARPS = BY_OUTPUT_ * BY_ROW_;
    static constexpr int OUTPUT_PARTS = OUTPUTS_ / BY_OUTPUT_ / 16; /* of a warp, in mmas */
    static constexpr int ROW_PARTS = ROWS_ / BY_ROW_ / 8;
    /* Neighbours begin four banks apart. */
    static constexpr int PITCH = DEPTH_ + 8;
};

using few = cut<32, 8, 2, 1, 512>;
using many = cut<128, 128, 2, 4, 64>;

struct factors {
    const float *x;
    size_t x_stride;
    int n;
    struct matrix w;
    int group;
    bool linear, vectors; /* vectors: 16 bytes of an output can be loaded at once */
    const float *bias;
    float *out;
    size_t out_stride;
};

__device__ static const bf16 *weight_at(const struct factors &f, int o, int k)
{
    return (const bf16 *)f.w.data + (ptrdiff_t)(o / f.group) * f.w.group_stride +
           (ptrdiff_t)(o % f.group) * f.w.out_stride + (ptrdiff_t)k * f.w.in_stride;
}

/* Inputs k0 and on of outputs o0 and on, zeros where there are none. */
template <typename CUT>
__device__ static void load_weights(const struct factors &f, int o0, int k0, bf16 (*to)[CUT::PITCH])
{
    const bf16 none = narrow<bf16>(0.0f);
    if (f.vectors) {
#pragma unroll 8
        for (int i = threadIdx.x; i < CUT::OUTPUTS * CUT::DEPTH / 8; i += CUT::THREADS) {
            int o = i / (CUT::DEPTH / 8), k = i % (CUT::DEPTH / 8) * 8;
            uint4 v = {0, 0, 0, 0};
            if (o0 + o < f.w.n_out && k0 + k < f.w.n_in)
                v = __ldg((const uint4 *)weight_at(f, o0 + o, k0 + k));
            *(uint4 *)&to[o][k] = v;
        }
        return;
    }
    for (int i = threadIdx.x; i < CUT::OUTPUTS * CUT::DEPTH; i += CUT::THREADS) {
        /* Neighbours read neighbours. */
        int o = f.linear ? i / CUT::DEPTH : i % CUT::OUTPUTS;
        int k = f.linear ? i % CUT::DEPTH : i / CUT::OUTPUTS;
        bool there = o0 + o < f.w.n_out && k0 + k < f.w.n_in;
        to[o][k] = there ? *weight_at(f, o0 + o, k0 + k) : none;
    }
}

/* The same of rows r0 and on, rounded. */
template <typename CUT>
__device__ static void load_rows(const struct factors &f, int r0, int k0, bf16 (*to)[CUT::PITCH])
{
#pragma unroll 4
    for (int i = threadIdx.x; i < CUT::ROWS * CUT::DEPTH / 2; i += CUT::THREADS) {
        int r = i / (CUT::DEPTH / 2), k = i % (CUT::DEPTH / 2) * 2;
        const float *x = f.x + (size_t)(r0 + r) * f.x_stride + k0 + k;
        bool there = r0 + r < f.n;
        to[r][k] = narrow<bf16>(there && k0 + k < f.w.n_in ? x[0] : 0.0f);
        to[r][k + 1] = narrow<bf16>(there && k0 + k + 1 < f.w.n_in ? x[1] : 0.0f);
    }
}

/* d[16 x 8] += a[16 x 16] b[16 x 8] */
__device__ static void multiply(float d[4], const unsigned a[4], const unsigned b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <typename CUT>
__global__ void __launch_bounds__(CUT::THREADS)
    exact_bf16_kernel(const __grid_constant__ struct factors f)
{
    __shared__ __align__(16) bf16 weights[CUT::OUTPUTS][CUT::PITCH], rows[CUT::ROWS][CUT::PITCH];
    int o0 = (int)blockIdx.x * CUT::OUTPUTS, r0 = (int)blockIdx.y * CUT::ROWS;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, line = lane / 4, pair = lane % 4 * 2;
    int own_o = warp % CUT::BY_OUTPUT * CUT::OUTPUT_PARTS * 16;
    int own_r = warp / CUT::BY_OUTPUT * CUT::ROW_PARTS * 8;
    float sum[CUT::OUTPUT_PARTS][CUT::ROW_PARTS][4] = {};
    for (int k0 = 0; k0 < f.w.n_in; k0 += CUT::DEPTH) {
        load_weights<CUT>(f, o0, k0, weights);
        load_rows<CUT>(f, r0, k0, rows);
        __syncthreads();
#pragma unroll 4
        for (int k = 0; k < CUT::DEPTH && warp < CUT::WARPS; k += 16) {
            unsigned a[CUT::OUTPUT_PARTS][4], b[CUT::ROW_PARTS][2];
#pragma unroll
            for (int i = 0; i < CUT::OUTPUT_PARTS; i++) {
                const bf16 *p = &weights[own_o + 16 * i + line][k + pair];
                a[i][0] = *(const unsigned *)p;
                a[i][1] = *(const unsigned *)(p + 8 * CUT::PITCH);
                a[i][2] = *(const unsigned *)(p + 8);
                a[i][3] = *(const unsigned *)(p + 8 * CUT::PITCH + 8);
            }
#pragma unroll
            for (int j = 0; j < CUT::ROW_PARTS; j++) {
                const bf16 *p = &rows[own_r + 8 * j + line][k + pair];
                b[j][0] = *(const unsigned *)p;
                b[j][1] = *(const unsigned *)(p + 8);
            }
#pragma unroll
            for (int i = 0; i < CUT::OUTPUT_PARTS; i++)
#pragma unroll
                for (int j = 0; j < CUT::ROW_PARTS; j++)
                    multiply(sum[i][j], a[i], b[j]);
        }
        __syncthreads();
    }
    if (warp >= CUT::WARPS)
        return;
#pragma unroll
    for (int i = 0; i < CUT::OUTPUT_PARTS; i++)
#pragma unroll
        for (int j = 0; j < CUT::ROW_PARTS; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int o = o0 + own_o + 16 * i + line + e / 2 * 8;
                int r = r0 + own_r + 8 * j + pair + e % 2;
                if (o < f.w.n_out && r < f.n)
                    f.out[(size_t)r * f.out_stride + o] =
                        f.bias ? sum[i][j][e] + f.bias[o] : sum[i][j][e];
            }
}

template <typename CUT> static void run(struct cuda *c, const struct factors *f)
{
    dim3 grid((unsigned)((f->w.n_out + CUT::OUTPUTS - 1) / CUT::OUTPUTS),
              (unsigned)((f->n + CUT::ROWS - 1) / CUT::ROWS));
    exact_bf16_kernel<CUT><<<grid, CUT::THREADS, 0, c->stream>>>(*f);
    launched(c, "matmul of --exact");
}

void product_exact_bf16(struct cuda *c, const float *x, size_t x_stride, const struct matrix *w,
                        const float *bias, float *out, size_t out_stride, int n)
{
    struct factors f = {x, x_stride, n, *w, w->group > 0 ? w->group : w->n_out};
    f.linear = w->in_stride == 1;
    f.vectors = f.linear && w->n_in % 8 == 0 && w->out_stride % 8 == 0 &&
                (w->group <= 0 || w->group_stride % 8 == 0) && (uintptr_t)w->data % 16 == 0;
    f.bias = bias;
    f.out = out;
    f.out_stride = out_stride;
    if (n <= few::ROWS)
        run<few>(c, &f);
    else
        run<many>(c, &f);
}
