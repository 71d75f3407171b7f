/* matmul.cu - many rows times a matrix, with cuBLAS.
 *
 * In bf16 the rows are rounded into the workspace, so many at a time as fit. Everywhere else the
 * product is float32's: summed in double (exact.cu) where the device is quick at that; else by
 * cuBLAS without TF32, a matrix stored in fewer bits being widened into the workspace, so many
 * outputs at a time as fit. cuBLAS's own workspace is the front of ours. */
#include "kernels/cuda/cuda.cuh"

#define THREADS    256
#define BLAS_BYTES ((size_t)32 << 20)
#define PART_BYTES ((size_t)64 << 20)

size_t matmul_workspace(struct cuda *c, int n)
{
    (void)c;
    return n > FEW_ROWS ? BLAS_BYTES + PART_BYTES : 0;
}

/* ---- rounding and widening ------------------------------------------------------------------- */

__global__ void round_rows_kernel(const float *x, size_t x_stride, bf16 *out, int k)
{
    x += (size_t)blockIdx.x * x_stride;
    out += (size_t)blockIdx.x * k;
    bool fours = k % 4 == 0 && ((uintptr_t)x % 16 | (uintptr_t)out % 8) == 0;
    for (int i = threadIdx.x; fours && i < k / 4; i += blockDim.x) {
        struct pack<float, 4> v = ((const struct pack<float, 4> *)x)[i];
        struct pack<bf16, 4> r;
#pragma unroll
        for (int e = 0; e < 4; e++)
            r.at[e] = narrow<bf16>(v.at[e]);
        ((struct pack<bf16, 4> *)out)[i] = r;
    }
    for (int i = threadIdx.x; !fours && i < k; i += blockDim.x)
        out[i] = narrow<bf16>(x[i]);
}

/* Outputs first .. first + gridDim.x - 1, as [outputs, K]. */
template <typename T>
__global__ void widen_linear_kernel(struct matrix w, int group, int first, float *out)
{
    int o = first + (int)blockIdx.x;
    const T *row = (const T *)w.data + (ptrdiff_t)(o / group) * w.group_stride +
                   (ptrdiff_t)(o % group) * w.out_stride;
    out += (size_t)blockIdx.x * w.n_in;
    for (int i = threadIdx.x; i < w.n_in; i += blockDim.x)
        out[i] = widen(row[i]);
}

/* The same of Conv1D's layout, as [K, outputs]. */
template <typename T>
__global__ void widen_conv_kernel(struct matrix w, int group, int first, int outputs, float *out)
{
    const T *row = (const T *)w.data + (ptrdiff_t)blockIdx.x * w.in_stride;
    out += (size_t)blockIdx.x * outputs;
    for (int i = threadIdx.x; i < outputs; i += blockDim.x) {
        int o = first + i;
        out[i] = widen(row[(ptrdiff_t)(o / group) * w.group_stride + o % group]);
    }
}

template <typename T>
static void widen_part(struct cuda *c, const struct matrix *w, int first, int outputs, float *out)
{
    struct matrix m = *w;
    int group = m.group > 0 ? m.group : m.n_out;
    if (m.in_stride == 1)
        widen_linear_kernel<T><<<outputs, THREADS, 0, c->stream>>>(m, group, first, out);
    else
        widen_conv_kernel<T><<<m.n_in, THREADS, 0, c->stream>>>(m, group, first, outputs, out);
    launched(c, "widening a matrix");
}

__global__ void bias_kernel(const float *bias, float *out, size_t out_stride, int n_out)
{
    out += (size_t)blockIdx.x * out_stride;
    for (int i = threadIdx.x; i < n_out; i += blockDim.x)
        out[i] += bias[i];
}

/* ---- products -------------------------------------------------------------------------------- */

/* Rows as cuBLAS is given them, and is to give them. */
struct rows {
    const void *data;
    cudaDataType type;
    size_t stride;
    int n;
};

/* Matrices that are multiplied in one go, and how far each lies behind the one before, in elements:
 * w.n_out outputs of each. */
struct batch {
    struct matrix w;
    int n;
    ptrdiff_t w_apart, out_apart;
};

/* A matrix; of one whose outputs lie in groups, each is one. */
static struct batch batch_of(const struct matrix *w)
{
    struct batch b = {*w, 1, 0, 0};
    if (w->group > 0 && w->group < w->n_out) {
        b.n = w->n_out / w->group;
        b.w.n_out = w->group;
        b.w_apart = w->group_stride;
        b.out_apart = w->group;
    }
    return b;
}

/* out[n, N] = rows W^T. cuBLAS counts by columns: to it this is out^T = W rows^T. */
static void multiply(struct cuda *c, const struct rows *x, const struct batch *b, cudaDataType type,
                     const struct rows *out)
{
    const float one = 1, zero = 0;
    const struct matrix *w = &b->w;
    bool linear = w->in_stride == 1;
    ptrdiff_t pitch = linear ? w->out_stride : w->in_stride;
    int least = linear ? w->n_in : w->n_out; /* a pitch that is never used may be anything */
    if (pitch < least)
        pitch = least;
    blas_ok(c,
            cublasGemmStridedBatchedEx(c->blas, linear ? CUBLAS_OP_T : CUBLAS_OP_N, CUBLAS_OP_N,
                                       w->n_out, x->n, w->n_in, &one, w->data, type, (int)pitch,
                                       b->w_apart, x->data, x->type, (int)x->stride, 0, &zero,
                                       (void *)out->data, out->type, (int)out->stride, b->out_apart,
                                       b->n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
            "matmul");
}

static void product(struct cuda *c, const struct rows *x, const struct matrix *w, cudaDataType type,
                    float *out, size_t out_stride)
{
    const struct batch all = batch_of(w);
    const struct rows to = {out, CUDA_R_32F, out_stride, x->n};
    multiply(c, x, &all, type, &to);
}

static void add_bias(struct cuda *c, const float *bias, float *out, size_t out_stride, int n,
                     int n_out)
{
    if (!bias || c->failed)
        return;
    bias_kernel<<<n, THREADS, 0, c->stream>>>(bias, out, out_stride, n_out);
    launched(c, "bias");
}

/* Where part i's outputs go, from row `row` on. */
static struct rows outputs_of(const struct product_job *j, int i, int row, int n)
{
    size_t at = (size_t)row * j->out_stride[i];
    if (j->rounded[i])
        return {j->rounded[i] + at, CUDA_R_16BF, j->out_stride[i], n};
    return {j->out[i] + at, CUDA_R_32F, j->out_stride[i], n};
}

/* Elements from part i's outputs to those of the next. */
static ptrdiff_t outputs_apart(const struct product_job *j, int i)
{
    return j->rounded[i] ? j->rounded[i + 1] - j->rounded[i] : j->out[i + 1] - j->out[i];
}

static ptrdiff_t weights_apart(const struct product_job *j, int i)
{
    return ((const char *)j->w[i + 1].data - (const char *)j->w[i].data) / (ptrdiff_t)sizeof(bf16);
}

/* The parts from `first` on that lie so that they can be one product. */
static struct batch batch_from(const struct product_job *j, int first)
{
    struct batch b = batch_of(&j->w[first]);
    for (int i = first; b.n == i - first + 1 && i + 1 < j->parts; i++) {
        bool same = j->w[i + 1].n_out == b.w.n_out && j->out_stride[i + 1] == j->out_stride[i] &&
                    !j->rounded[i + 1] == !j->rounded[i];
        ptrdiff_t w_apart = weights_apart(j, i), out_apart = outputs_apart(j, i);
        bool even = i == first || (w_apart == b.w_apart && out_apart == b.out_apart);
        if (!same || !even || w_apart <= 0 || out_apart <= 0)
            break;
        b.w_apart = w_apart;
        b.out_apart = out_apart;
        b.n++;
    }
    return b;
}

void products_launch(struct cuda *c, const struct product_job *j)
{
    bf16 *part = (bf16 *)((char *)j->work.data + BLAS_BYTES);
    int n_in = j->w[0].n_in;
    size_t fit = j->rows ? (size_t)j->n : PART_BYTES / ((size_t)n_in * sizeof(bf16));
    int most = fit < (size_t)j->n ? (int)fit : j->n;
    if (!blas_ok(c, cublasSetWorkspace(c->blas, j->work.data, BLAS_BYTES), "cuBLAS's workspace"))
        return;
    for (int row = 0; row < j->n && !c->failed; row += most) {
        int n = j->n - row < most ? j->n - row : most;
        struct rows x = {j->rows ? j->rows : part, CUDA_R_16BF, (size_t)n_in, n};
        if (!j->rows)
            round_rows_kernel<<<n, THREADS, 0, c->stream>>>(j->x + (size_t)row * j->x_stride,
                                                            j->x_stride, part, n_in);
        if (!launched(c, "rounding rows"))
            return;
        for (int i = 0; i < j->parts;) {
            struct batch b = batch_from(j, i);
            struct rows out = outputs_of(j, i, row, n);
            multiply(c, &x, &b, CUDA_R_16BF, &out);
            i += b.w.n_out == j->w[i].n_out ? b.n : 1;
        }
    }
    for (int i = 0; i < j->parts; i++)
        add_bias(c, j->bias[i], j->out[i], j->out_stride[i], j->n, j->w[i].n_out);
}

static void matmul_widened(struct cuda *c, const struct rows *x, const struct matrix *w, float *out,
                           size_t out_stride, void *part)
{
    size_t fit = PART_BYTES / ((size_t)w->n_in * sizeof(float));
    int most = fit < (size_t)w->n_out ? (int)fit : w->n_out;
    for (int from = 0; from < w->n_out && !c->failed; from += most) {
        int outputs = w->n_out - from < most ? w->n_out - from : most;
        struct matrix wide = {part, DTYPE_F32, outputs, w->n_in, w->n_in, 1, 0, 0};
        if (w->in_stride != 1) {
            wide.out_stride = 1;
            wide.in_stride = outputs;
        }
        if (w->dtype == DTYPE_F16)
            widen_part<__half>(c, w, from, outputs, (float *)part);
        else
            widen_part<bf16>(c, w, from, outputs, (float *)part);
        if (!c->failed)
            product(c, x, &wide, CUDA_R_32F, out + from, out_stride);
    }
}

static void matmul(struct backend *b, const float *x, size_t x_stride, const struct matrix *w,
                   const float *bias, float *out, size_t out_stride, int n, struct workspace work)
{
    struct cuda *c = cuda_of(b);
    if (c->failed || n <= 0)
        return;
    bool low = w->dtype == DTYPE_BF16 && b->dtype == DTYPE_BF16;
    if (!b->exact && (n <= FEW_ROWS || low)) {
        join_product(c, x, x_stride, w, bias, out, out_stride, n, work);
        return;
    }
    settle(c);
    floats_of(c, x);
    if (low) {
        product_exact_bf16(c, x, x_stride, w, bias, out, out_stride, n);
        return;
    }
    if (b->exact || c->doubles) {
        product_exact(c, x, x_stride, w, bias, out, out_stride, n);
        return;
    }
    if (!blas_ok(c, cublasSetWorkspace(c->blas, work.data, BLAS_BYTES), "cuBLAS's workspace"))
        return;
    void *part = (char *)work.data + BLAS_BYTES;
    struct rows rows = {x, CUDA_R_32F, x_stride, n};
    if (w->dtype == DTYPE_F32)
        product(c, &rows, w, CUDA_R_32F, out, out_stride);
    else
        matmul_widened(c, &rows, w, out, out_stride, part);
    add_bias(c, bias, out, out_stride, n, w->n_out);
}

void matmul_ops(struct backend *b)
{
    b->matmul = matmul;
}
