/* rows.cu - ops that take each element, or each pair, by itself. */
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/turn.cuh"

#define THREADS 256
#define IDS     512 /* rows of an embedding that one launch takes along */

static unsigned blocks_of(size_t count, int threads)
{
    size_t blocks = (count + (size_t)threads - 1) / (size_t)threads;
    return blocks < (size_t)1 << 30 ? (unsigned)blocks : 1u << 30;
}

/* Runs body for each index i below count. */
#define FOR_EACH(i, count)                                                                         \
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < (count);                    \
         i += (size_t)gridDim.x * blockDim.x)

/* ---- embed ----------------------------------------------------------------------------------- */

struct ids {
    int32_t at[IDS];
};

template <typename T>
__global__ void embed_kernel(const T *table, size_t stride, struct ids ids, float scale, float *out,
                             int d)
{
    const T *row = table + (size_t)ids.at[blockIdx.x] * stride;
    for (int i = threadIdx.x; i < d; i += blockDim.x)
        out[(size_t)blockIdx.x * d + i] = scale * widen(row[i]);
}

static void embed(struct backend *b, const struct matrix *table, const int32_t *ids, int n,
                  float scale, float *out)
{
    struct cuda *c = cuda_of(b);
    int d = table->n_in;
    size_t stride = (size_t)table->out_stride;
    struct ids some;
    for (int from = 0; from < n && ready(c); from += IDS) {
        int rows = n - from < IDS ? n - from : IDS;
        for (int i = 0; i < rows; i++)
            some.at[i] = ids[from + i];
        float *to = out + (size_t)from * d;
        if (table->dtype == DTYPE_F32)
            embed_kernel<<<rows, THREADS, 0, c->stream>>>((const float *)table->data, stride, some,
                                                          scale, to, d);
        else if (table->dtype == DTYPE_F16)
            embed_kernel<<<rows, THREADS, 0, c->stream>>>((const __half *)table->data, stride, some,
                                                          scale, to, d);
        else
            embed_kernel<<<rows, THREADS, 0, c->stream>>>((const bf16 *)table->data, stride, some,
                                                          scale, to, d);
        launched(c, "embed");
    }
}

/* ---- add, activate, gate --------------------------------------------------------------------- */

/* Four at a time where all of them lie so that 16 bytes can be loaded. */
static bool fours(size_t count, const float *x, const float *y, const float *out)
{
    return count % 4 == 0 && ((uintptr_t)x | (uintptr_t)y | (uintptr_t)out) % 16 == 0;
}

template <int N>
__global__ void add_kernel(const float *x, const float *y, float *out, size_t count)
{
    FOR_EACH(i, count / N)
    {
        struct pack<float, N> a = ((const struct pack<float, N> *)x)[i];
        struct pack<float, N> b = ((const struct pack<float, N> *)y)[i];
#pragma unroll
        for (int k = 0; k < N; k++)
            a.at[k] += b.at[k];
        ((struct pack<float, N> *)out)[i] = a;
    }
}

__global__ void activate_kernel(enum activation f, const float *x, float *out, size_t count)
{
    FOR_EACH(i, count)
    out[i] = apply(f, x[i]);
}

template <int N>
__global__ void gate_kernel(enum activation f, const float *x, const float *y, float *out,
                            size_t count)
{
    FOR_EACH(i, count / N)
    {
        struct pack<float, N> a = ((const struct pack<float, N> *)x)[i];
        struct pack<float, N> b = ((const struct pack<float, N> *)y)[i];
#pragma unroll
        for (int k = 0; k < N; k++)
            a.at[k] = __fmul_rn(apply(f, a.at[k]), b.at[k]);
        ((struct pack<float, N> *)out)[i] = a;
    }
}

static void add(struct backend *b, const float *x, const float *y, float *out, size_t count)
{
    struct cuda *c = cuda_of(b);
    if (join_add(c, x, y, out, count) || !ready(c) || count == 0)
        return;
    unsigned blocks = blocks_of(count / 4 + 1, THREADS);
    if (fours(count, x, y, out))
        add_kernel<4><<<blocks, THREADS, 0, c->stream>>>(x, y, out, count);
    else
        add_kernel<1><<<blocks, THREADS, 0, c->stream>>>(x, y, out, count);
    launched(c, "add");
}

static void activate(struct backend *b, enum activation f, const float *x, float *out, size_t count)
{
    struct cuda *c = cuda_of(b);
    if (join_activate(c, f, x, NULL, out, count) || !ready(c) || count == 0)
        return;
    activate_kernel<<<blocks_of(count, THREADS), THREADS, 0, c->stream>>>(f, x, out, count);
    launched(c, "activate");
}

static void gate(struct backend *b, enum activation f, const float *x, const float *y, float *out,
                 size_t count)
{
    struct cuda *c = cuda_of(b);
    if (join_activate(c, f, x, y, out, count) || !ready(c) || count == 0)
        return;
    unsigned blocks = blocks_of(count / 4 + 1, THREADS);
    if (fours(count, x, y, out))
        gate_kernel<4><<<blocks, THREADS, 0, c->stream>>>(f, x, y, out, count);
    else
        gate_kernel<1><<<blocks, THREADS, 0, c->stream>>>(f, x, y, out, count);
    launched(c, "gate");
}

/* ---- rope ------------------------------------------------------------------------------------ */

/* The angle is one float32 product; its cosine is taken in double, since angles reach hundreds
 * of thousands of radians. */
__global__ void angles_kernel(const float *inv_freq, int r, float scale, int pos0, int n,
                              float *out)
{
    size_t half = (size_t)r / 2;
    FOR_EACH(i, (size_t)n * half)
    {
        size_t row = i / half, k = i % half;
        double s, c;
        sincos((double)__fmul_rn((float)(pos0 + (int)row), inv_freq[k]), &s, &c);
        out[row * r + k] = scale * (float)c;
        out[row * r + half + k] = scale * (float)s;
    }
}

static void angles(struct backend *b, const float *inv_freq, int r, float scale, int pos0, int n,
                   float *out)
{
    struct cuda *c = cuda_of(b);
    size_t count = (size_t)n * (size_t)(r / 2);
    if (!ready(c) || count == 0)
        return;
    angles_kernel<<<blocks_of(count, 128), 128, 0, c->stream>>>(inv_freq, r, scale, pos0, n, out);
    launched(c, "angles");
}

/* A block a row; one thread an element: pairs are read twice and written once. */
__global__ void rope_kernel(const float *x, const float *angles, int r, enum rope_style style,
                            float *out, int width, int h)
{
    angles += (size_t)blockIdx.x * r;
    x += (size_t)blockIdx.x * width;
    out += (size_t)blockIdx.x * width;
    for (int i = threadIdx.x; i < width; i += blockDim.x)
        out[i] = turned(x, angles, r, style, i, i % h);
}

void rope_launch(struct cuda *c, const struct rope_job *j, int n)
{
    rope_kernel<<<n, THREADS, 0, c->stream>>>(j->x, j->angles, j->r, j->style, j->out,
                                              j->heads * j->d_head, j->d_head);
    launched(c, "rope");
}

static void rope(struct backend *b, const float *x, const float *angles, int r,
                 enum rope_style style, float *out, int n, int heads, int d_head)
{
    struct cuda *c = cuda_of(b);
    const struct rope_job j = {x, angles, r, style, out, heads, d_head};
    if (n <= 0 || heads <= 0 || d_head <= 0 || (n == 1 && join_rope(c, &j)) || !ready(c))
        return;
    rope_launch(c, &j, n);
}

void rows_ops(struct backend *b)
{
    b->embed = embed;
    b->add = add;
    b->activate = activate;
    b->gate = gate;
    b->angles = angles;
    b->rope = rope;
}
