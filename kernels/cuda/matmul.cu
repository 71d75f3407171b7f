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

/* out[n, N] = rows W^T. cuBLAS counts by columns: to it this is out^T = W rows^T. */
static void product(struct cuda *c, const struct rows *x, const struct matrix *w, cudaDataType type,
                    const struct rows *out)
{
    const float one = 1, zero = 0;
    bool linear = w->in_stride == 1;
    int group = w->group > 0 ? w->group : w->n_out, groups = w->n_out / group;
    ptrdiff_t pitch = linear ? w->out_stride : w->in_stride;
    int least = linear ? w->n_in : group; /* a pitch that is never used may be anything */
    if (pitch < least)
        pitch = least;
    blas_ok(c,
            cublasGemmStridedBatchedEx(
                c->blas, linear ? CUBLAS_OP_T : CUBLAS_OP_N, CUBLAS_OP_N, group, x->n, w->n_in,
                &one, w->data, type, (int)pitch, w->group > 0 ? w->group_stride : 0, x->data,
                x->type, (int)x->stride, 0, &zero, (void *)out->data, out->type, (int)out->stride,
                group, groups, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
            "matmul");
}

/* Rows that lie rounded, or are rounded into `part`, so many at a time as fit there: bits depend on
 * how many they are. to: all outputs. */
static void matmul_rounded(struct cuda *c, const float *x, size_t x_stride, const struct matrix *w,
                           const struct rows *to, void *part)
{
    const bf16 *low = brief_of(c, x);
    size_t fit = PART_BYTES / ((size_t)w->n_in * sizeof(bf16));
    int most = fit < (size_t)to->n ? (int)fit : to->n;
    size_t step = to->stride * (to->type == CUDA_R_16BF ? sizeof(bf16) : sizeof(float));
    for (int from = 0; from < to->n && !c->failed; from += most) {
        int n = to->n - from < most ? to->n - from : most;
        struct rows rows = {NULL, CUDA_R_16BF, x_stride, n}, some = *to;
        some.data = (char *)to->data + (size_t)from * step;
        if (low) {
            rows.data = low + (size_t)from * x_stride;
        } else {
            rows.data = part;
            rows.stride = (size_t)w->n_in;
            round_rows_kernel<<<n, THREADS, 0, c->stream>>>(x + (size_t)from * x_stride, x_stride,
                                                            (bf16 *)part, w->n_in);
        }
        if (launched(c, "rounding rows"))
            product(c, &rows, w, CUDA_R_16BF, &some);
    }
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
        const struct rows to = {out + from, CUDA_R_32F, out_stride, x->n};
        if (!c->failed)
            product(c, x, &wide, CUDA_R_32F, &to);
    }
}

static void matmul(struct backend *b, const float *x, size_t x_stride, const struct matrix *w,
                   const float *bias, float *out, size_t out_stride, int n, struct workspace work)
{
    struct cuda *c = cuda_of(b);
    if (c->failed || n <= 0)
        return;
    bool low = w->dtype == DTYPE_BF16 && b->dtype == DTYPE_BF16;
    if (!b->exact && n <= FEW_ROWS) {
        join_product(c, x, x_stride, w, bias, out, out_stride, n);
        return;
    }
    settle(c);
    if (!low)
        floats_of(c, x);
    if (b->exact && low) {
        product_exact_bf16(c, x, x_stride, w, bias, out, out_stride, n);
        return;
    }
    if (b->exact || (c->doubles && !low)) {
        product_exact(c, x, x_stride, w, bias, out, out_stride, n);
        return;
    }
    if (!blas_ok(c, cublasSetWorkspace(c->blas, work.data, BLAS_BYTES), "cuBLAS's workspace"))
        return;
    void *part = (char *)work.data + BLAS_BYTES;
    const struct rows rows = {x, CUDA_R_32F, x_stride, n};
    struct rows to = {out, CUDA_R_32F, out_stride, n};
    bf16 *rounded = low && !bias && out_stride == (size_t)w->n_out ? brief_keep(c, out) : NULL;
    if (rounded) {
        to.data = rounded;
        to.type = CUDA_R_16BF;
    }
    if (low)
        matmul_rounded(c, x, x_stride, w, &to, part);
    else if (w->dtype == DTYPE_F32)
        product(c, &rows, w, CUDA_R_32F, &to);
    else
        matmul_widened(c, &rows, w, out, out_stride, part);
    if (!bias || c->failed)
        return;
    bias_kernel<<<n, THREADS, 0, c->stream>>>(bias, out, out_stride, w->n_out);
    launched(c, "bias");
}

void matmul_ops(struct backend *b)
{
    b->matmul = matmul;
}
