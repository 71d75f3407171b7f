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

template <typename T>
__global__ void gain_kernel(const float *x, const float *gain, const float *bias, T *out, int d)
{
    x += (size_t)blockIdx.x * d;
    out += (size_t)blockIdx.x * d;
    bool four = fours(d, x, out);
    for (int i = threadIdx.x; four && i < d / 4; i += blockDim.x) {
        float4 v = ((const float4 *)x)[i];
        ((pack<T, 4> *)out)[i] = {narrow<T>(gained_at(v.x, gain, bias, 4 * i)),
                                  narrow<T>(gained_at(v.y, gain, bias, 4 * i + 1)),
                                  narrow<T>(gained_at(v.z, gain, bias, 4 * i + 2)),
                                  narrow<T>(gained_at(v.w, gain, bias, 4 * i + 3))};
    }
    for (int i = threadIdx.x; !four && i < d; i += blockDim.x)
        out[i] = narrow<T>(gained_at(x[i], gain, bias, i));
}

/* One row, by one block: each thread keeps its elements, so that what is written may lie where x
 * or y lay. */
__global__ void __launch_bounds__(NORM_LANES) norm_kernel(const __grid_constant__ struct norm_job j)
{
    extern __shared__ float4 shared[];
    norm_row<0, true>(j, (float *)shared, NULL, {0, j.d});
}

void norm_launch(struct cuda *c, const struct norm_job *j)
{
    size_t bytes = (size_t)(j->d + 255) / 256 * 256 * sizeof(float);
    norm_kernel<<<1, NORM_LANES, bytes, c->stream>>>(*j);
    launched(c, "a row's norm");
}

/* A block a row, of which a thread keeps up to HANDS times four elements: they are read once, and
 * what is written may lie where they lay. */
template <int HANDS>
__global__ void __launch_bounds__(NORM_LANES) norms_kernel(const __grid_constant__ struct norms all)
{
    const struct norm_job &j = all.row;
    size_t row = (size_t)blockIdx.x * (size_t)j.d;
    int pos = all.pos0 + (int)blockIdx.x;
    float *saved = NULL;
    if (all.pages)
        saved = (float *)((char *)all.pages[pos / KV_PAGE] + all.offset) +
                (size_t)(pos % KV_PAGE) * j.d;
    float4 v[HANDS];
    double sum = 0; /* of the squares; of the elements, where their mean goes first */
#pragma unroll
    for (int h = 0; h < HANDS; h++) {
        int i = 4 * (threadIdx.x + h * blockDim.x);
        v[h] = {0, 0, 0, 0};
        if (i >= j.d)
            continue;
        v[h] = *(const float4 *)(j.x + row + i);
        if (j.y) {
            float4 y = *(const float4 *)(j.y + row + i);
            v[h] = {v[h].x + y.x, v[h].y + y.y, v[h].z + y.z, v[h].w + y.w};
        }
        if (j.sum)
            *(float4 *)(j.sum + row + i) = v[h];
        if (saved)
            *(float4 *)(saved + i) = v[h];
        sum += j.centred ? row_sum(v[h]) : row_squares(v[h]);
    }
    if (j.centred) {
        float mean = (float)(block_sum(sum) * j.each);
        sum = 0;
#pragma unroll
        for (int h = 0; h < HANDS; h++) {
            int i = 4 * (threadIdx.x + h * blockDim.x);
            if (i >= j.d)
                continue;
            v[h] = {v[h].x - mean, v[h].y - mean, v[h].z - mean, v[h].w - mean};
            sum += row_squares(v[h]);
            if (!all.pass_centred)
                *(float4 *)(j.centred + row + i) = v[h];
        }
    }
    if (!j.scale)
        return;
    float by = sqrtf((float)fma(block_sum(sum), j.each, (double)j.eps));
    if (threadIdx.x == 0)
        j.scale[blockIdx.x] = by;
    if (!j.normalized)
        return;
    float inverse = __frcp_rn(by);
#pragma unroll
    for (int h = 0; h < HANDS; h++) {
        int i = 4 * (threadIdx.x + h * blockDim.x);
        if (i >= j.d)
            continue;
        float4 a = {v[h].x * inverse, v[h].y * inverse, v[h].z * inverse, v[h].w * inverse};
        if (!all.pass_normalized)
            *(float4 *)(j.normalized + row + i) = a;
        if (!j.out)
            continue;
        a = {gained_at(a.x, j.gain, j.bias, i), gained_at(a.y, j.gain, j.bias, i + 1),
             gained_at(a.z, j.gain, j.bias, i + 2), gained_at(a.w, j.gain, j.bias, i + 3)};
        if (all.rounded)
            row_round(all.rounded + row, i / 4, a);
        else
            *(float4 *)(j.out + row + i) = a;
    }
}

void norms_launch(struct cuda *c, const struct norms *asked)
{
    struct norms j = *asked;
    int fours = j.row.d / 4, lanes = (fours + 31) / 32 * 32;
    unsigned threads = (unsigned)(lanes < NORM_LANES ? lanes : NORM_LANES), rows = (unsigned)j.n;
    /* What the next ops were to read is left out only if they are here. */
    j.pass_centred = j.pass_centred && j.row.normalized;
    j.pass_normalized = j.pass_normalized && j.row.out;
    if (fours <= NORM_LANES)
        norms_kernel<1><<<rows, threads, 0, c->stream>>>(j);
    else if (fours <= 4 * NORM_LANES)
        norms_kernel<4><<<rows, threads, 0, c->stream>>>(j);
    else
        norms_kernel<JOINED_WIDTH / 4 / NORM_LANES><<<rows, threads, 0, c->stream>>>(j);
    launched(c, "rows' norms");
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
    bf16 *rounded = brief_keep(c, out);
    if (rounded)
        gain_kernel<<<n, threads_of(d), 0, c->stream>>>(x, gains, bias, rounded, d);
    else
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
