/* norm.cu - what a layer norm or RMS norm is made of: a block a row. Sums are in double: they cost
 * next to nothing here, and everything behind a norm is off by what they are. */
#include "kernels/cuda/norm.cuh"

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
    float inverse = __frcp_rn(scale[blockIdx.x]); /* as norm_row does it */
    x += row;
    out += row;
    bool four = fours(d, x, out);
    for (int i = threadIdx.x; four && i < d / 4; i += blockDim.x) {
        float4 v = ((const float4 *)x)[i];
        ((float4 *)out)[i] = {v.x * inverse, v.y * inverse, v.z * inverse, v.w * inverse};
    }
    for (int i = threadIdx.x; !four && i < d; i += blockDim.x)
        out[i] = x[i] * inverse;
}

__device__ static float gained_at(float v, const float *gain, const float *bias, int i)
{
    return gained(v, gain != NULL, gain ? gain[i] : 0.0f, bias != NULL, bias ? bias[i] : 0.0f);
}

__global__ void gain_kernel(const float *x, const float *gain, const float *bias, float *out, int d)
{
    x += (size_t)blockIdx.x * d;
    out += (size_t)blockIdx.x * d;
    bool four = fours(d, x, out);
    for (int i = threadIdx.x; four && i < d / 4; i += blockDim.x) {
        float4 v = ((const float4 *)x)[i];
        ((float4 *)out)[i] = {
            gained_at(v.x, gain, bias, 4 * i), gained_at(v.y, gain, bias, 4 * i + 1),
            gained_at(v.z, gain, bias, 4 * i + 2), gained_at(v.w, gain, bias, 4 * i + 3)};
    }
    for (int i = threadIdx.x; !four && i < d; i += blockDim.x)
        out[i] = gained_at(x[i], gain, bias, i);
}

/* One row, by one block: each thread keeps its elements, so that what is written may lie where x
 * or y lay. */
__global__ void __launch_bounds__(NORM_LANES) norm_kernel(const __grid_constant__ struct norm_job j)
{
    extern __shared__ float4 shared[];
    norm_row<0>(j, (float *)shared, NULL, true);
}

void norm_launch(struct cuda *c, const struct norm_job *j)
{
    size_t bytes = (size_t)(j->d + 255) / 256 * 256 * sizeof(float);
    norm_kernel<<<1, NORM_LANES, bytes, c->stream>>>(*j);
    launched(c, "a row's norm");
}

static void center(struct backend *b, const float *x, float *out, int n, int d)
{
    struct cuda *c = cuda_of(b);
    if (join_center(c, x, out, n, d) || !ready(c) || n <= 0)
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
