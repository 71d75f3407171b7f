/* matvec.cu - a few rows times a matrix: bounded by reading the matrix once.
 *
 * Linear's layout: a warp takes two outputs; its lanes read 16 bytes of each at a time, so that
 * several loads are on their way before the first is used. Conv1D's: a thread takes one output,
 * the warps of a block share the inputs. One row in Linear's layout goes another way: queue.cu. */
#include "kernels/cuda/matrix.cuh"

#define THREADS 128
#define OUTPUTS 2  /* of a warp, in Linear's layout */
#define SHARES  16 /* warps that share the inputs, in Conv1D's */

/* The matrix is read once: it need not stay in any cache. */
template <typename T, int VEC> __device__ inline pack<T, VEC> stream_load(const T *p)
{
    pack<T, VEC> v;
    if constexpr (sizeof v == 16) {
        int4 raw = __ldcs((const int4 *)p);
        memcpy(&v, &raw, sizeof v);
    } else {
        v.at[0] = *p;
    }
    return v;
}

template <int VEC> __device__ inline void load_floats(const float *p, float x[VEC])
{
    if constexpr (VEC % 4 == 0) {
#pragma unroll
        for (int i = 0; i < VEC; i += 4) {
            float4 v = *(const float4 *)(p + i);
            x[i] = v.x, x[i + 1] = v.y, x[i + 2] = v.z, x[i + 3] = v.w;
        }
    } else {
        x[0] = *p;
    }
}

template <typename T, int N, int VEC, bool ROUND>
__global__ void __launch_bounds__(THREADS)
    linear_kernel(const float *x, size_t x_stride, struct parts<T> parts, int n)
{
    const struct layout<T> &w = parts.w[blockIdx.y];
    const float *bias = parts.bias[blockIdx.y];
    float *out = parts.out[blockIdx.y];
    size_t out_stride = parts.out_stride[blockIdx.y];
    int warp = (int)((blockIdx.x * THREADS + threadIdx.x) / 32), lane = threadIdx.x % 32;
    int first = warp * OUTPUTS;
    if (first >= w.n_out)
        return;
    const T *row[OUTPUTS];
    float sum[OUTPUTS][N] = {};
#pragma unroll
    for (int o = 0; o < OUTPUTS; o++)
        row[o] = w.output(first + o < w.n_out ? first + o : first);
#pragma unroll 4
    for (int k = lane * VEC; k < w.n_in; k += 32 * VEC) {
        pack<T, VEC> part[OUTPUTS];
#pragma unroll
        for (int o = 0; o < OUTPUTS; o++)
            part[o] = stream_load<T, VEC>(row[o] + k);
#pragma unroll
        for (int j = 0; j < N; j++) {
            float in[VEC];
            load_floats<VEC>(x + (size_t)(j < n ? j : 0) * x_stride + k, in);
#pragma unroll
            for (int i = 0; i < VEC; i++) {
                float v = ROUND ? rounded<bf16>(in[i]) : in[i];
#pragma unroll
                for (int o = 0; o < OUTPUTS; o++)
                    sum[o][j] = fmaf(v, widen(part[o].at[i]), sum[o][j]);
            }
        }
    }
#pragma unroll
    for (int o = 0; o < OUTPUTS; o++)
#pragma unroll
        for (int j = 0; j < N; j++) {
            float total = warp_sum(sum[o][j]);
            if (lane == 0 && j < n && first + o < w.n_out)
                out[(size_t)j * out_stride + first + o] = bias ? total + bias[first + o] : total;
        }
}

template <typename T, int N, bool ROUND>
__global__ void __launch_bounds__(32 * SHARES)
    conv_kernel(const float *x, size_t x_stride, struct layout<T> w, const float *bias, float *out,
                size_t out_stride, int n)
{
    __shared__ float part[SHARES][N][32];
    int lane = threadIdx.x % 32, share = threadIdx.x / 32;
    int o = (int)blockIdx.x * 32 + lane;
    const T *column = w.output(o < w.n_out ? o : w.n_out - 1);
    float sum[N] = {};
#pragma unroll 8
    for (int k = share; k < w.n_in; k += SHARES) {
        float v = widen(column[(ptrdiff_t)k * w.in_stride]);
#pragma unroll
        for (int j = 0; j < N; j++) {
            float in = x[(size_t)(j < n ? j : 0) * x_stride + k];
            sum[j] = fmaf(ROUND ? rounded<bf16>(in) : in, v, sum[j]);
        }
    }
#pragma unroll
    for (int j = 0; j < N; j++)
        part[share][j][lane] = sum[j];
    __syncthreads();
    for (int j = share; j < n; j += SHARES) {
        float total = 0;
        for (int s = 0; s < SHARES; s++)
            total += part[s][j][lane];
        if (o < w.n_out)
            out[(size_t)j * out_stride + o] = bias ? total + bias[o] : total;
    }
}

/* Whether 16 bytes of the matrix, and as many inputs, may be loaded at once. */
template <typename T>
static bool wide_loads(const struct layout<T> *w, const float *x, size_t x_stride, int n)
{
    const ptrdiff_t each = 16 / (ptrdiff_t)sizeof(T);
    return (uintptr_t)w->data % 16 == 0 && w->out_stride % each == 0 &&
           w->group_stride % each == 0 && w->n_in % each == 0 && (uintptr_t)x % 16 == 0 &&
           (n == 1 || x_stride % 4 == 0);
}

template <typename T, int N, bool ROUND>
static void run(struct cuda *c, const struct product_job *j, const struct parts<T> *p)
{
    const int each = THREADS / 32 * OUTPUTS;
    int most = 0;
    bool wide = true;
    for (int i = 0; i < j->parts; i++) {
        most = p->w[i].n_out > most ? p->w[i].n_out : most;
        wide = wide && wide_loads(&p->w[i], j->x, j->x_stride, j->n);
    }
    const struct layout<T> &w = p->w[0];
    dim3 grid((unsigned)((most + each - 1) / each), (unsigned)j->parts);
    if (w.in_stride != 1 && w.n_in > 1)
        conv_kernel<T, N, ROUND><<<(w.n_out + 31) / 32, 32 * SHARES, 0, c->stream>>>(
            j->x, j->x_stride, w, p->bias[0], p->out[0], p->out_stride[0], j->n);
    else if (wide)
        linear_kernel<T, N, 16 / (int)sizeof(T), ROUND>
            <<<grid, THREADS, 0, c->stream>>>(j->x, j->x_stride, *p, j->n);
    else
        linear_kernel<T, N, 1, ROUND><<<grid, THREADS, 0, c->stream>>>(j->x, j->x_stride, *p, j->n);
    launched(c, "matmul of a few rows");
}

template <typename T, bool ROUND> static void run_rows(struct cuda *c, const struct product_job *j)
{
    const struct parts<T> p = parts_of<T>(j);
    if (j->n == 1)
        run<T, 1, ROUND>(c, j, &p);
    else if (j->n <= 4)
        run<T, 4, ROUND>(c, j, &p);
    else
        run<T, 8, ROUND>(c, j, &p);
}

void product_launch(struct cuda *c, const struct product_job *j)
{
    if (j->w[0].dtype == DTYPE_F32)
        run_rows<float, false>(c, j);
    else if (j->w[0].dtype == DTYPE_F16)
        run_rows<__half, false>(c, j);
    else if (c->b.dtype == DTYPE_BF16)
        run_rows<bf16, true>(c, j);
    else
        run_rows<bf16, false>(c, j);
}
