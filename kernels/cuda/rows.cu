/* rows.cu - ops that take each element, or each pair, by itself. */
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/turn.cuh"

#define THREADS 256
#define ALONE   1024 /* of a row that waits for memory only, and is waited for */
#define IDS     512  /* rows of an embedding that one launch takes along */

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
    unsigned threads = n <= FEW_ROWS ? ALONE : THREADS;
    struct ids some;
    for (int from = 0; from < n && ready(c); from += IDS) {
        unsigned rows = (unsigned)(n - from < IDS ? n - from : IDS);
        for (unsigned i = 0; i < rows; i++)
            some.at[i] = ids[from + (int)i];
        float *to = out + (size_t)from * d;
        if (table->dtype == DTYPE_F32)
            embed_kernel<<<rows, threads, 0, c->stream>>>((const float *)table->data, stride, some,
                                                          scale, to, d);
        else if (table->dtype == DTYPE_F16)
            embed_kernel<<<rows, threads, 0, c->stream>>>((const __half *)table->data, stride, some,
                                                          scale, to, d);
        else
            embed_kernel<<<rows, threads, 0, c->stream>>>((const bf16 *)table->data, stride, some,
                                                          scale, to, d);
        launched(c, "embed");
    }
}

/* One row, of the id that best() has left. */
template <typename T>
__global__ void embed_best_kernel(const T *table, size_t stride, const struct best_entry *entry,
                                  float scale, float *out, int d)
{
    const T *row = table + (size_t)entry->at * stride;
    for (int i = threadIdx.x; i < d; i += blockDim.x)
        out[i] = scale * widen(row[i]);
}

static void embed_best(struct backend *b, const struct matrix *table,
                       const struct best_entry *entry, float scale, float *out)
{
    struct cuda *c = cuda_of(b);
    size_t stride = (size_t)table->out_stride;
    int d = table->n_in;
    if (!ready(c))
        return;
    if (table->dtype == DTYPE_F32)
        embed_best_kernel<<<1, ALONE, 0, c->stream>>>((const float *)table->data, stride, entry,
                                                      scale, out, d);
    else if (table->dtype == DTYPE_F16)
        embed_best_kernel<<<1, ALONE, 0, c->stream>>>((const __half *)table->data, stride, entry,
                                                      scale, out, d);
    else
        embed_best_kernel<<<1, ALONE, 0, c->stream>>>((const bf16 *)table->data, stride, entry,
                                                      scale, out, d);
    launched(c, "embed");
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

template <int N, typename IN, typename OUT>
__global__ void activate_kernel(enum activation f, const IN *x, OUT *out, size_t count)
{
    FOR_EACH(i, count / N)
    {
        struct pack<IN, N> a = ((const struct pack<IN, N> *)x)[i];
        struct pack<OUT, N> r;
#pragma unroll
        for (int k = 0; k < N; k++)
            r.at[k] = narrow<OUT>(apply(f, widen(a.at[k])));
        ((struct pack<OUT, N> *)out)[i] = r;
    }
}

template <int N, typename IN, typename OUT>
__global__ void gate_kernel(enum activation f, const IN *x, const IN *y, OUT *out, size_t count)
{
    FOR_EACH(i, count / N)
    {
        struct pack<IN, N> a = ((const struct pack<IN, N> *)x)[i];
        struct pack<IN, N> b = ((const struct pack<IN, N> *)y)[i];
        struct pack<OUT, N> r;
#pragma unroll
        for (int k = 0; k < N; k++)
            r.at[k] = narrow<OUT>(__fmul_rn(apply(f, widen(a.at[k])), widen(b.at[k])));
        ((struct pack<OUT, N> *)out)[i] = r;
    }
}

void add_launch(struct cuda *c, const float *x, const float *y, float *out, size_t count)
{
    unsigned blocks = blocks_of(count / 4 + 1, THREADS);
    if (fours(count, x, y, out))
        add_kernel<4><<<blocks, THREADS, 0, c->stream>>>(x, y, out, count);
    else
        add_kernel<1><<<blocks, THREADS, 0, c->stream>>>(x, y, out, count);
    launched(c, "add");
}

static void add(struct backend *b, const float *x, const float *y, float *out, size_t count)
{
    struct cuda *c = cuda_of(b);
    if (join_add(c, x, y, out, count) || !ready(c) || count == 0)
        return;
    add_launch(c, x, y, out, count);
}

/* act(x), times y if there is one. */
template <int N, typename IN, typename OUT>
static void activate_launch(struct cuda *c, enum activation f, const IN *x, const IN *y, OUT *out,
                            size_t count)
{
    unsigned blocks = blocks_of(count / N, THREADS);
    if (y)
        gate_kernel<N><<<blocks, THREADS, 0, c->stream>>>(f, x, y, out, count);
    else
        activate_kernel<N><<<blocks, THREADS, 0, c->stream>>>(f, x, out, count);
    launched(c, y ? "gate" : "activate");
}

static void gate(struct backend *b, enum activation f, const float *x, const float *y, float *out,
                 size_t count)
{
    struct cuda *c = cuda_of(b);
    if (join_activate(c, f, x, y, out, count) || !ready(c) || count == 0)
        return;
    bf16 *rounded = brief_keep(c, out);
    const bf16 *low = brief_of(c, x), *low_y = y ? brief_of(c, y) : NULL;
    if (rounded && low && (!y || low_y)) {
        activate_launch<8>(c, f, low, low_y, rounded, count);
        return;
    }
    x = floats_of(c, x);
    y = y ? floats_of(c, y) : NULL;
    if (rounded && fours(count, x, y, NULL))
        activate_launch<4>(c, f, x, y, rounded, count);
    else if (rounded)
        activate_launch<1>(c, f, x, y, rounded, count);
    else if (fours(count, x, y, out))
        activate_launch<4>(c, f, x, y, out, count);
    else
        activate_launch<1>(c, f, x, y, out, count);
}

static void activate(struct backend *b, enum activation f, const float *x, float *out, size_t count)
{
    gate(b, f, x, NULL, out, count);
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
template <typename T>
__global__ void rope_kernel(const float *x, const float *angles, int r, enum rope_style style,
                            T *out, int width, int h)
{
    angles += (size_t)blockIdx.x * r;
    x += (size_t)blockIdx.x * width;
    out += (size_t)blockIdx.x * width;
    for (int i = threadIdx.x; i < width; i += blockDim.x)
        out[i] = narrow<T>(turned(turn_take(x, angles, r, style, i, i % h)));
}

__device__ static __forceinline__ void turn(bf16 *x, bf16 *y, float cosine, float sine)
{
    float a = widen(*x), b = widen(*y);
    *x = narrow<bf16>(fmaf(a, cosine, -__fmul_rn(b, sine)));
    *y = narrow<bf16>(fmaf(b, cosine, __fmul_rn(a, sine)));
}

/* The same of rounded rows, four elements of a head a thread: two pairs, or what is not turned. */
__global__ void rope_brief_kernel(const bf16 *x, const float *angles, int r, bool halves, bf16 *out,
                                  int width, int h)
{
    angles += (size_t)blockIdx.x * r;
    x += (size_t)blockIdx.x * width;
    out += (size_t)blockIdx.x * width;
    for (int i = threadIdx.x; i < width / 4; i += blockDim.x) {
        int u = i % (h / 4), head = i / (h / 4) * h;
        bool turns = 4 * u < r, apart = turns && halves;
        int at = head + (apart ? 2 * u : 4 * u), other = at + (apart ? r / 2 : 2);
        pack<bf16, 2> a = *(const pack<bf16, 2> *)(x + at);
        pack<bf16, 2> b = *(const pack<bf16, 2> *)(x + other);
        if (turns) {
            float2 cosines = *(const float2 *)(angles + 2 * u);
            float2 sines = *(const float2 *)(angles + r / 2 + 2 * u);
            turn(&a.at[0], halves ? &b.at[0] : &a.at[1], cosines.x, sines.x);
            turn(halves ? &a.at[1] : &b.at[0], &b.at[1], cosines.y, sines.y);
        }
        *(pack<bf16, 2> *)(out + at) = a;
        *(pack<bf16, 2> *)(out + other) = b;
    }
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
    const bf16 *low = d_head % 4 == 0 && r % 4 == 0 ? brief_of(c, x) : NULL;
    bf16 *rounded = brief_keep(c, out);
    int width = heads * d_head;
    if (low && rounded)
        rope_brief_kernel<<<n, THREADS, 0, c->stream>>>(low, angles, r, style == ROPE_HALVES,
                                                        rounded, width, d_head);
    else if (rounded)
        rope_kernel<<<n, THREADS, 0, c->stream>>>(floats_of(c, x), angles, r, style, rounded, width,
                                                  d_head);
    else
        rope_kernel<<<n, THREADS, 0, c->stream>>>(floats_of(c, x), angles, r, style, out, width,
                                                  d_head);
    launched(c, "rope");
}

void rows_ops(struct backend *b)
{
    b->embed = embed;
    b->embed_best = embed_best;
    b->add = add;
    b->activate = activate;
    b->gate = gate;
    b->angles = angles;
    b->rope = rope;
}
