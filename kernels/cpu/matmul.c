/* matmul.c - cuts a product into pieces of rows and outputs for the threads.
 *
 * Every output is computed whole in one piece, so that the cut is free to follow the
 * machine: pieces are handed out as threads become free, since cores differ in speed and
 * have other work. */
#include "kernels/cpu/cpu.h"

#include <omp.h>
#include <string.h>

#define FEW_ROWS   8     /* up to here the time goes into reading weights */
#define PIECES     4     /* pieces a thread, where there is enough for them */
#define DOT_PIECES 8     /* and for many rows: of Linear, which may be the longest wait, */
#define MIX_PIECES 2     /* and of Conv1D, where each piece brings the rows together again */
#define DOT_UNIT   64    /* outputs of a piece for many rows come in whole panels: Linear's, */
#define MIX_UNIT   192   /* and four of Conv1D's, which share the packed rows */
#define ROWS_UNIT  12    /* rows come in whole tiles, if there are several blocks of them */
#define PIECE_WORK 65536 /* multiplications below which a piece is not worth handing out */
#define STRETCH    256   /* outputs of Conv1D that are worth reading in one go */
#define ROWS_LEAST 48    /* rows of a piece, where outputs are too few to share */

/* Floats of scratch for one thread. */
static size_t scratch_floats(const struct backend *b)
{
    return (cpu_ops_of(b)->matmul_scratch + 15) / 16 * 16;
}

size_t cpu_matmul_workspace(const struct backend *b, int n)
{
    (void)n;
    return scratch_floats(b) * sizeof(float) * (size_t)b->n_threads;
}

static long round_up(long x, long unit)
{
    return (x + unit - 1) / unit * unit;
}

static long at_least(long x, long least)
{
    return x < least ? least : x;
}

static long at_most(long x, long most)
{
    return x > most ? most : x;
}

/* A product is cut into blocks of rows and shares of outputs: `down` times `across` pieces. */
struct cut {
    long rows, outputs, down, across;
};

/* Few rows: one block, whose weights are read once. */
static struct cut cut_few(const struct backend *b, const struct matrix *w, int n)
{
    const bool dot = w->in_stride == 1;
    /* Conv1D: the wider the piece, the longer the stretches that are read. */
    long most = (long)b->n_threads * (dot ? PIECES : 1);
    long least = at_least(PIECE_WORK / at_least(w->n_in, 1) / n + 1, dot ? 1 : 64);
    long outputs = round_up(at_least((w->n_out + most - 1) / most, least), 16);
    return (struct cut){n, outputs, 1, (w->n_out + outputs - 1) / outputs};
}

/* Many rows: blocks that stay in a cache, and shares of whole panels. */
static struct cut cut_many(const struct backend *b, const struct matrix *w, int n)
{
    const bool dot = w->in_stride == 1;
    const long block = dot ? cpu_ops_of(b)->dot_rows : cpu_ops_of(b)->mix_rows;
    const long threads = b->n_threads, least = PIECE_WORK / at_least(w->n_in, 1) / n + 1;
    struct cut c = {.down = (n + block - 1) / block};
    long most = (threads * (dot ? DOT_PIECES : MIX_PIECES) + c.down - 1) / c.down;
    c.outputs = round_up(at_least((w->n_out + most - 1) / most, least), dot ? DOT_UNIT : MIX_UNIT);
    c.across = (w->n_out + c.outputs - 1) / c.outputs;
    if (threads > 1 && c.across * c.down < 2 * threads)
        c.down = (2 * threads + c.across - 1) / c.across;
    c.rows = (n + c.down - 1) / c.down;
    if (c.down > 1)
        c.rows = at_most(at_least(round_up(c.rows, ROWS_UNIT), ROWS_LEAST), block);
    c.down = (n + c.rows - 1) / c.rows;
    return c;
}

/* Parts that the outputs of each run are cut into, so that threads end together: the fewest of
 * which nearly all have something to do, since long stretches are read faster. */
static int run_parts(const struct backend *b, int runs, int n_out)
{
    int best = 1;
    double most = 0;
    for (int parts = 1; parts == 1 || n_out / parts >= STRETCH; parts++) {
        int pieces = runs * parts, rounds = (pieces + b->n_threads - 1) / b->n_threads;
        double busy = (double)pieces / rounds / b->n_threads;
        if (busy > most + 0.05) {
            most = busy;
            best = parts;
        }
    }
    return best;
}

/* The runs' sums of outputs from .. to-1 are added in order. */
static void add_runs(const struct cpu_ops *ops, const float *sums, size_t each, int runs,
                     const float *bias, float *out, size_t count)
{
    memcpy(out, sums, count * sizeof(float));
    for (int run = 1; run < runs; run++)
        ops->add(out, sums + (size_t)run * each, out, count);
    if (bias)
        ops->add(out, bias, out, count);
}

/* Conv1D for few rows, a run of inputs at a time: each piece reads long stretches of weights,
 * and pieces are small enough to even out threads of unequal speed. The runs' sums go to
 * scratch and are then added in order, as the mix rule has it, so the bits are the same.
 * False if the scratch is too small. */
static bool matmul_by_runs(struct backend *b, const float *x, size_t x_stride,
                           const struct matrix *w, const float *bias, float *out, size_t out_stride,
                           int n, struct workspace work)
{
    const struct cpu_ops *ops = cpu_ops_of(b);
    int runs = (w->n_in + MIX_RUN - 1) / MIX_RUN, parts = run_parts(b, runs, w->n_out);
    size_t width = (size_t)w->n_out, each = width * (size_t)n;
    float *sums = work.data;
    if (!sums || (size_t)runs * each * sizeof(float) > work.bytes)
        return false;
#pragma omp parallel num_threads(b->n_threads)
    {
#pragma omp for schedule(dynamic)
        for (int piece = 0; piece < runs * parts; piece++) {
            struct matrix run = *w;
            int k = piece / parts * MIX_RUN, part = piece % parts;
            run.n_in = w->n_in - k < MIX_RUN ? w->n_in - k : MIX_RUN;
            run.data = (const char *)w->data + k * w->in_stride * (ptrdiff_t)dtype_size(w->dtype);
            ops->matmul(x + k, x_stride, &run, NULL, sums + (size_t)(piece / parts) * each, width,
                        n, cell_first(part, w->n_out, parts), cell_first(part + 1, w->n_out, parts),
                        NULL);
        }
#pragma omp for schedule(static)
        for (int i = 0; i < n * b->n_threads; i++) {
            int row = i / b->n_threads, part = i % b->n_threads;
            int from = cell_first(part, w->n_out, b->n_threads);
            int to = cell_first(part + 1, w->n_out, b->n_threads);
            add_runs(ops, sums + (size_t)row * width + from, each, runs, bias ? bias + from : NULL,
                     out + (size_t)row * out_stride + from, (size_t)(to - from));
        }
    }
    return true;
}

void cpu_matmul(struct backend *b, const float *x, size_t x_stride, const struct matrix *w,
                const float *bias, float *out, size_t out_stride, int n, struct workspace work)
{
    const struct cpu_ops *ops = cpu_ops_of(b);
    if (n <= 0 || w->n_out <= 0)
        return;
    if (w->in_stride != 1 && n <= FEW_MIX_ROWS && b->n_threads > 1 && w->n_in > MIX_RUN &&
        matmul_by_runs(b, x, x_stride, w, bias, out, out_stride, n, work))
        return;
    const struct cut c = n > FEW_ROWS ? cut_many(b, w, n) : cut_few(b, w, n);
    const long pieces = c.across * c.down;
    int threads = pieces < b->n_threads ? (int)pieces : b->n_threads;
    size_t scratch = scratch_floats(b);
    float *floats = work.data;

#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(dynamic)
    for (long piece = 0; piece < pieces; piece++) {
        long from = piece / c.down * c.outputs, row = piece % c.down * c.rows;
        long to = from + c.outputs < w->n_out ? from + c.outputs : w->n_out;
        long count = row + c.rows < n ? c.rows : n - row;
        float *mine = floats ? floats + scratch * (size_t)omp_get_thread_num() : NULL;
        ops->matmul(x + (size_t)row * x_stride, x_stride, w, bias, out + (size_t)row * out_stride,
                    out_stride, (int)count, (int)from, (int)to, mine);
    }
}
