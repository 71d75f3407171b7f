/* norm.cu - what a layer norm or RMS norm is made of: a block a row. */
#include "kernels/cuda/cuda.cuh"

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
    float sum = 0;
    for (int i = threadIdx.x; i < d; i += blockDim.x)
        sum += x[i];
    float mean = block_sum(sum) / (float)d;
    for (int i = threadIdx.x; i < d; i += blockDim.x)
        out[i] = x[i] - mean;
}

__global__ void rms_kernel(const float *x, float eps, float *scale, int d)
{
    x += (size_t)blockIdx.x * d;
    float sum = 0;
    for (int i = threadIdx.x; i < d; i += blockDim.x)
        sum = fmaf(x[i], x[i], sum);
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        scale[blockIdx.x] = sqrtf(sum / (float)d + eps);
}

__global__ void divide_kernel(const float *x, const float *scale, float *out, int d)
{
    size_t row = (size_t)blockIdx.x * d;
    float by = scale[blockIdx.x];
    for (int i = threadIdx.x; i < d; i += blockDim.x)
        out[row + i] = x[row + i] / by;
}

__global__ void gain_kernel(const float *x, const float *gain, const float *bias, float *out, int d)
{
    size_t row = (size_t)blockIdx.x * d;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
        float v = x[row + i];
        if (gain && bias)
            v = fmaf(v, gain[i], bias[i]);
        else if (gain)
            v = v * gain[i];
        else if (bias)
            v = v + bias[i];
        out[row + i] = v;
    }
}

static void center(struct backend *b, const float *x, float *out, int n, int d)
{
    struct cuda *c = cuda_of(b);
    if (c->failed || n <= 0)
        return;
    center_kernel<<<n, threads_of(d), 0, c->stream>>>(x, out, d);
    launched(c, "center");
}

static void rms(struct backend *b, const float *x, float eps, float *scale, int n, int d)
{
    struct cuda *c = cuda_of(b);
    if (c->failed || n <= 0)
        return;
    rms_kernel<<<n, threads_of(d), 0, c->stream>>>(x, eps, scale, d);
    launched(c, "rms");
}

static void divide(struct backend *b, const float *x, const float *scale, float *out, int n, int d)
{
    struct cuda *c = cuda_of(b);
    if (c->failed || n <= 0)
        return;
    divide_kernel<<<n, threads_of(d), 0, c->stream>>>(x, scale, out, d);
    launched(c, "divide");
}

static void gain(struct backend *b, const float *x, const float *gains, const float *bias,
                 float *out, int n, int d)
{
    struct cuda *c = cuda_of(b);
    if (c->failed || n <= 0)
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
