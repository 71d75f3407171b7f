/* measure.cu - rows measured: a warp for a short one, a block for others. */
#include "kernels/cuda/measure.cuh"

#define THREADS 256
#define SHORT   512 /* elements that a warp takes */

/* WARPS that share a row; a block has THREADS / 32 of them. */
template <int WARPS>
__global__ void __launch_bounds__(THREADS)
    measure_kernel(const float *x, int n, int d, struct measures *out)
{
    __shared__ struct found parts[THREADS / 32];
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, share = warp % WARPS;
    int row = (int)blockIdx.x * (THREADS / 32 / WARPS) + warp / WARPS;
    struct found f = {0, 0, -INFINITY, INFINITY, 0};
    if (row < n)
        f = look_along(x + (size_t)row * d, d, share * 32 + lane, WARPS * 32);
    join_lanes(&f);
    if (lane == 0)
        parts[warp] = f;
    __syncthreads();
    if (row >= n || share > 0 || lane > 0)
        return;
    for (int i = 1; i < WARPS; i++)
        join(&f, parts[warp + i]);
    out[row] = measures_of(f);
}

void measure_launch(struct cuda *c, const struct measure_job *j)
{
    int rows = j->d <= SHORT ? THREADS / 32 : 1;
    unsigned blocks = (unsigned)((j->n + rows - 1) / rows);
    if (rows > 1)
        measure_kernel<1><<<blocks, THREADS, 0, c->stream>>>(j->x, j->n, j->d, j->out);
    else
        measure_kernel<THREADS / 32><<<blocks, THREADS, 0, c->stream>>>(j->x, j->n, j->d, j->out);
    launched(c, "measuring rows");
}

static void measure(struct backend *b, const float *x, int n, int d, struct measures *out)
{
    struct cuda *c = cuda_of(b);
    const struct measure_job j = {x, n, d, out};
    if (n <= 0 || queue_measure(c, &j) || !ready(c))
        return;
    measure_launch(c, &j);
}

void measure_ops(struct backend *b)
{
    b->measure = measure;
}
