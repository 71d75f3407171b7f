/* exact.cu - float32 products of many rows, summed in double and rounded once.
 *
 * A product of two float32 is exact in double, so what is left is the rounding of the result: the
 * order of the sum, which no library promises, is not seen. A block takes TILE rows times TILE
 * outputs, DEPTH inputs at a time, widened on their way into shared memory; a thread takes
 * EACH x EACH sums. Inputs are added in their order, whatever n is. */
#include "kernels/cuda/cuda.cuh"

#define TILE    64
#define DEPTH   16
#define SIDE    16 /* threads of a block, each way */
#define EACH    (TILE / SIDE)
#define THREADS (SIDE * SIDE)
#define PITCH   (TILE + 2) /* doubles: rows of a tile start in different banks */

/* The matrix as the kernel sees it: `linear` is Linear's layout, else Conv1D's. */
struct operand {
    struct matrix w;
    int group;
    bool linear;
};

template <typename T> __device__ inline double weight(const struct operand &m, int o, int k)
{
    ptrdiff_t at = (ptrdiff_t)(o / m.group) * m.w.group_stride +
                   (ptrdiff_t)(o % m.group) * m.w.out_stride + (ptrdiff_t)k * m.w.in_stride;
    return (double)widen(((const T *)m.w.data)[at]);
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
    exact_kernel(const float *x, size_t x_stride, struct operand m, const float *bias, float *out,
                 size_t out_stride, int n)
{
    __shared__ double rows[DEPTH][PITCH], outputs[DEPTH][PITCH];
    int o0 = (int)blockIdx.x * TILE, r0 = (int)blockIdx.y * TILE, t = (int)threadIdx.x;
    int column = t % SIDE, line = t / SIDE;
    double sum[EACH][EACH] = {};
    for (int k0 = 0; k0 < m.w.n_in; k0 += DEPTH) {
#pragma unroll
        for (int i = t; i < TILE * DEPTH; i += THREADS) {
            int r = i / DEPTH, k = i % DEPTH; /* neighbours read neighbours */
            bool there = r0 + r < n && k0 + k < m.w.n_in;
            rows[k][r] = there ? (double)x[(size_t)(r0 + r) * x_stride + k0 + k] : 0.0;
            int o = m.linear ? r : i % TILE, ko = m.linear ? k : i / TILE;
            there = o0 + o < m.w.n_out && k0 + ko < m.w.n_in;
            outputs[ko][o] = there ? weight<T>(m, o0 + o, k0 + ko) : 0.0;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            double a[EACH], b[EACH];
#pragma unroll
            for (int i = 0; i < EACH; i++) {
                a[i] = rows[k][line + SIDE * i];
                b[i] = outputs[k][column + SIDE * i];
            }
#pragma unroll
            for (int i = 0; i < EACH; i++)
#pragma unroll
                for (int j = 0; j < EACH; j++)
                    sum[i][j] = fma(a[i], b[j], sum[i][j]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            int r = r0 + line + SIDE * i, o = o0 + column + SIDE * j;
            if (r < n && o < m.w.n_out)
                out[(size_t)r * out_stride + o] = (float)(bias ? sum[i][j] + bias[o] : sum[i][j]);
        }
}

void product_exact(struct cuda *c, const float *x, size_t x_stride, const struct matrix *w,
                   const float *bias, float *out, size_t out_stride, int n)
{
    struct operand m = {*w, w->group > 0 ? w->group : w->n_out, w->in_stride == 1};
    dim3 grid((unsigned)((w->n_out + TILE - 1) / TILE), (unsigned)((n + TILE - 1) / TILE));
    if (w->dtype == DTYPE_F32)
        exact_kernel<float>
            <<<grid, THREADS, 0, c->stream>>>(x, x_stride, m, bias, out, out_stride, n);
    else if (w->dtype == DTYPE_F16)
        exact_kernel<__half>
            <<<grid, THREADS, 0, c->stream>>>(x, x_stride, m, bias, out, out_stride, n);
    else
        exact_kernel<bf16>
            <<<grid, THREADS, 0, c->stream>>>(x, x_stride, m, bias, out, out_stride, n);
    launched(c, "matmul in double");
}
