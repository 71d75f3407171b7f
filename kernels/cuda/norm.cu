/* norm.cu - what a layer norm or RMS norm is made of: a block a row. Sums are in double: they cost
 * next to nothing here, and everything behind a norm is off by what they are. */
#include "kernels/cuda/cuda.cuh"

#define JOINED_THREADS 1024

/* Threads for rows of d elements: whole warps, so that short rows (a head's norm) are cheap. */
static int threads_of(int d)
{
    int warps = (d + 127) / 128;
    return 32 * (warps < 1 ? 1 : warps > 16 ? 16 : warps);
}

__global__ void center_kernel(const float *x, float *out, int d)
{
    x += (size_t)blockIdx.x * d;
    out += (size_t)blockIdx.x * d;
    double sum = 0;
    for (int i = threadIdx.x; i < d; i += blockDim.x)
        sum += (double)x[i];
    float mean = (float)(block_sum(sum) / d);
    for (int i = threadIdx.x; i < d; i += blockDim.x)
        out[i] = x[i] - mean;
}

/* Whether a row of d elements can be taken four at a time, wherever a block's begins. */
static __device__ bool fours(int d, const void *x, const void *out)
{
    return d % 4 == 0 && ((uintptr_t)x | (uintptr_t)out) % 16 == 0;
}

__global__ void rms_kernel(const float *x, float eps, float *scale, int d)
{
    x += (size_t)blockIdx.x * d;
    double sum = 0;
    bool four = fours(d, x, x);
    for (int i = threadIdx.x; four && i < d / 4; i += blockDim.x) {
        float4 v = ((const float4 *)x)[i];
        sum += (double)v.x * (double)v.x + (double)v.y * (double)v.y + (double)v.z * (double)v.z +
               (double)v.w * (double)v.w;
    }
    for (int i = threadIdx.x; !four && i < d; i += blockDim.x)
        sum += (double)x[i] * (double)x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        scale[blockIdx.x] = (float)sqrt(sum / d + (double)eps);
}

__global__ void divide_kernel(const float *x, const float *scale, float *out, int d)
{
    size_t row = (size_t)blockIdx.x * d;
    float by = scale[blockIdx.x];
    x += row;
    out += row;
    bool four = fours(d, x, out);
    for (int i = threadIdx.x; four && i < d / 4; i += blockDim.x) {
        float4 v = ((const float4 *)x)[i];
        ((float4 *)out)[i] = {v.x / by, v.y / by, v.z / by, v.w / by};
    }
    for (int i = threadIdx.x; !four && i < d; i += blockDim.x)
        out[i] = x[i] / by;
}

__device__ static float gained(float v, const float *gain, const float *bias, int i)
{
    if (gain && bias)
        return fmaf(v, gain[i], bias[i]);
    if (gain)
        return v * gain[i];
    return bias ? v + bias[i] : v;
}

__global__ void gain_kernel(const float *x, const float *gain, const float *bias, float *out, int d)
{
    x += (size_t)blockIdx.x * d;
    out += (size_t)blockIdx.x * d;
    bool four = fours(d, x, out);
    for (int i = threadIdx.x; four && i < d / 4; i += blockDim.x) {
        float4 v = ((const float4 *)x)[i];
        ((float4 *)out)[i] = {gained(v.x, gain, bias, 4 * i), gained(v.y, gain, bias, 4 * i + 1),
                              gained(v.z, gain, bias, 4 * i + 2),
                              gained(v.w, gain, bias, 4 * i + 3)};
    }
    for (int i = threadIdx.x; !four && i < d; i += blockDim.x)
        out[i] = gained(x[i], gain, bias, i);
}

/* One row, by one block: each thread keeps its elements, so that what is written may lie where x
 * or y lay. */
__global__ void __launch_bounds__(JOINED_THREADS) norm_kernel(struct norm_job j)
{
    __shared__ float by;
    float v[JOINED_WIDTH / JOINED_THREADS];
    double sum = 0;
#pragma unroll
    for (int k = 0; k < JOINED_WIDTH / JOINED_THREADS; k++) {
        int i = k * JOINED_THREADS + (int)threadIdx.x;
        v[k] = i < j.d ? j.x[i] : 0.0f;
        if (i < j.d && j.y)
            v[k] += j.y[i];
        if (i < j.d && j.sum)
            j.sum[i] = v[k];
        if (i < j.d && j.saved)
            j.saved[i] = v[k];
        sum += (double)v[k] * (double)v[k];
    }
    if (!j.scale)
        return;
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        *j.scale = by = (float)sqrt(sum / j.d + (double)j.eps);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < JOINED_WIDTH / JOINED_THREADS; k++) {
        int i = k * JOINED_THREADS + (int)threadIdx.x;
        if (i >= j.d || !j.normalized)
            break;
        v[k] /= by;
        j.normalized[i] = v[k];
        if (j.out)
            j.out[i] = gained(v[k], j.gain, j.bias, i);
    }
}

void norm_launch(struct cuda *c, const struct norm_job *j)
{
    norm_kernel<<<1, JOINED_THREADS, 0, c->stream>>>(*j);
    launched(c, "a row's norm");
}

static void center(struct backend *b, const float *x, float *out, int n, int d)
{
    struct cuda *c = cuda_of(b);
    if (!ready(c) || n <= 0)
        return;
    center_kernel<<<n, threads_of(d), 0, c->stream>>>(x, out, d);
    launched(c, "center");
}

static void rms(struct backend *b, const float *x, float eps, float *scale, int n, int d)
{
    struct cuda *c = cuda_of(b);
    if (join_rms(c, x, eps, scale, n, d) || !ready(c) || n <= 0)
        return;
    rms_kernel<<<n, threads_of(d), 0, c->stream>>>(x, eps, scale, d);
    launched(c, "rms");
}

static void divide(struct backend *b, const float *x, const float *scale, float *out, int n, int d)
{
    struct cuda *c = cuda_of(b);
    if (join_divide(c, x, scale, out, n, d) || !ready(c) || n <= 0)
        return;
    divide_kernel<<<n, threads_of(d), 0, c->stream>>>(x, scale, out, d);
    launched(c, "divide");
}

static void gain(struct backend *b, const float *x, const float *gains, const float *bias,
                 float *out, int n, int d)
{
    struct cuda *c = cuda_of(b);
    if (join_gain(c, x, gains, bias, out, n, d) || !ready(c) || n <= 0)
        return;
    gain_kernel<<<n, threads_of(d), 0, c->stream>>>(x, gains, bias, out, d);
    launched(c, "gain");
}

void norm_ops(struct backend *b)
{
    b->center = center;
    b->rms = rms;
    b->divide = divide;
    b->gain = gain;
}
