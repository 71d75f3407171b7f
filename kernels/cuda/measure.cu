/* measure.cu - what conditions want to know of a row: a warp for a short one, a block for others.
 */
#include "kernels/cuda/async.cuh"

#define THREADS 256
#define SHORT   512 /* elements that a warp takes */

struct found {
    double sum, squares;
    float most, least;
    int odd;
};

__device__ static void look(struct found *f, float x)
{
    if (!isfinite(x)) {
        f->odd++;
        return;
    }
    f->sum += (double)x;
    f->squares = fma((double)x, (double)x, f->squares);
    f->most = fmaxf(f->most, x);
    f->least = fminf(f->least, x);
}

__device__ static void join(struct found *f, const struct found &g)
{
    f->sum += g.sum;
    f->squares += g.squares;
    f->most = fmaxf(f->most, g.most);
    f->least = fminf(f->least, g.least);
    f->odd += g.odd;
}

__device__ static void join_lanes(struct found *f)
{
    for (int k = 16; k > 0; k /= 2) {
        struct found g;
        g.sum = __shfl_xor_sync(0xffffffffu, f->sum, k);
        g.squares = __shfl_xor_sync(0xffffffffu, f->squares, k);
        g.most = __shfl_xor_sync(0xffffffffu, f->most, k);
        g.least = __shfl_xor_sync(0xffffffffu, f->least, k);
        g.odd = __shfl_xor_sync(0xffffffffu, f->odd, k);
        join(f, g);
    }
}

/* WARPS that share a row; a block has THREADS / 32 of them. */
template <int WARPS>
__global__ void __launch_bounds__(THREADS)
    measure_kernel(const float *x, int n, int d, struct measures *out)
{
    __shared__ struct found parts[THREADS / 32];
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, share = warp % WARPS;
    int row = (int)blockIdx.x * (THREADS / 32 / WARPS) + warp / WARPS;
    struct found f = {0, 0, -INFINITY, INFINITY, 0};
    next_may_start();
    wait_for_last();
    if (row < n)
        for (int i = share * 32 + lane; i < d; i += WARPS * 32)
            look(&f, __ldcg(x + (size_t)row * d + i));
    join_lanes(&f);
    if (lane == 0)
        parts[warp] = f;
    __syncthreads();
    if (row >= n || share > 0 || lane > 0)
        return;
    for (int i = 1; i < WARPS; i++)
        join(&f, parts[warp + i]);
    out[row] = {f.sum, f.squares, f.most, f.least, f.odd, 0};
}

static void measure(struct backend *b, const float *x, int n, int d, struct measures *out)
{
    struct cuda *c = cuda_of(b);
    int rows = d <= SHORT ? THREADS / 32 : 1;
    if (!ready(c) || n <= 0)
        return;
    dim3 grid((unsigned)((n + rows - 1) / rows));
    if (rows > 1)
        launch_early(c, "measuring rows", measure_kernel<1>, grid, THREADS, 0, x, n, d, out);
    else
        launch_early(c, "measuring rows", measure_kernel<THREADS / 32>, grid, THREADS, 0, x, n, d,
                     out);
}

void measure_ops(struct backend *b)
{
    b->measure = measure;
}
