/* matmul.c - cuts a product into pieces of rows and outputs for the threads.
 *
 * Every output is computed whole in one piece, so that the cut is free to follow the
 * machine: pieces are handed out as threads become free, since cores differ in speed and
 * have other work. */
#include "kernels/cpu/cpu.h"

#include <omp.h>
#include <string.h>

#define PIECES     4     /* pieces a thread, where there is enough for them */
#define MIX_PIECES 2     /* and of Conv1D for many rows, where wide ones are read faster */
#define ROWS_UNIT  24    /* rows come in whole tiles, where they are shared */
#define PIECE_WORK 65536 /* multiplications below which a piece is not worth handing out */
#define WIDE       256   /* outputs of Conv1D that are worth reading in one go */

/* Floats of scratch for one thread that multiplies many rows. */
static size_t scratch_floats(const struct backend *b, int n)
{
    const struct cpu_ops *ops = cpu_ops_of(b);
    return ops->panel_floats + (size_t)KEPT * (size_t)n * (size_t)ops->panel;
}

size_t cpu_matmul_workspace(const struct backend *b, int n)
{
    int rows = n < MANY_ROWS_MOST ? n : MANY_ROWS_MOST;
    size_t shared = cpu_ops_of(b)->panel > 0 ? (size_t)rows * STRETCH : 0;
    return (shared + scratch_floats(b, rows) * (size_t)b->n_threads) * sizeof(float);
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

/* A product is cut into rows and shares of outputs: `down` times `across` pieces. */
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

/* Many rows: shares of whole panels, and of rows where there are too few of those. */
static struct cut cut_many(const struct backend *b, const struct matrix *w, int n)
{
    const long panel = cpu_ops_of(b)->panel, threads = b->n_threads;
    const long panels = (w->n_out + panel - 1) / panel;
    const long pieces = threads * (w->in_stride == 1 ? PIECES : MIX_PIECES);
    long each = at_least(panels / pieces, 1);
    struct cut c = {n, each * panel, 1, (panels + each - 1) / each};
    if (c.across < threads) {
        c.rows = round_up((n * c.across + threads - 1) / threads, ROWS_UNIT);
        c.down = (n + c.rows - 1) / c.rows;
    }
    return c;
}

/* Parts that the outputs of each run are cut into, so that threads end together: the fewest of
 * which nearly all have something to do, since long stretches are read faster. */
static int run_parts(const struct backend *b, int runs, int n_out)
{
    int best = 1;
    double most = 0;
    for (int parts = 1; parts == 1 || n_out / parts >= WIDE; parts++) {
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
                        n, cell_first(part, w->n_out, parts),
                        cell_first(part + 1, w->n_out, parts));
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

static void matmul_few(struct backend *b, const float *x, size_t x_stride, const struct matrix *w,
                       const float *bias, float *out, size_t out_stride, int n)
{
    const struct cpu_ops *ops = cpu_ops_of(b);
    const struct cut c = cut_few(b, w, n);
    int threads = c.across < b->n_threads ? (int)c.across : b->n_threads;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(dynamic)
    for (long piece = 0; piece < c.across; piece++) {
        long from = piece * c.outputs, to = at_most(from + c.outputs, w->n_out);
        ops->matmul(x, x_stride, w, bias, out, out_stride, n, (int)from, (int)to);
    }
}

/* A block of many rows, a stretch of inputs at a time: the rows' strands are brought together by
 * all threads and then used by all of them. */
static void matmul_block(struct backend *b, const float *x, size_t x_stride, const struct matrix *w,
                         const float *bias, float *out, size_t out_stride, int n, float *work)
{
    const struct cpu_ops *ops = cpu_ops_of(b);
    const struct cut c = cut_many(b, w, n);
    const size_t apart = (size_t)n * STRAND, mine = scratch_floats(b, n);
    float *strands = work, *scratch = work + apart * STRANDS;
    int threads = cpu_pieces(b, (size_t)(c.across * c.down),
                             (size_t)c.rows * (size_t)c.outputs * (size_t)w->n_in / 8 + 1);
#pragma omp parallel num_threads(threads) if (threads > 1)
    for (int k = 0; k < w->n_in; k += STRETCH) {
        const int inputs = (int)at_most(STRETCH, w->n_in - k);
        const bool last = k + inputs == w->n_in;
#pragma omp for schedule(static)
        for (int i = 0; i < threads; i++) {
            int row = cell_first(i, n, threads), rows = cell_first(i + 1, n, threads) - row;
            ops->gather(x + (size_t)row * x_stride + k, x_stride, w, inputs, rows,
                        strands + (size_t)row * STRAND, apart);
        }
#pragma omp for schedule(dynamic)
        for (long piece = 0; piece < c.across * c.down; piece++) {
            long from = piece / c.down * c.outputs, row = piece % c.down * c.rows;
            struct share s = {
                .strands = strands + (size_t)row * STRAND,
                .apart = apart,
                .w = w,
                .input = k,
                .inputs = inputs,
                .bias = last ? bias : NULL,
                .out = out + (size_t)row * out_stride,
                .out_stride = out_stride,
                .n = (int)at_most(c.rows, n - row),
                .from = (int)from,
                .to = (int)at_most(from + c.outputs, w->n_out),
            };
            ops->many(&s, scratch + mine * (size_t)omp_get_thread_num());
        }
    }
}

void cpu_matmul(struct backend *b, const float *x, size_t x_stride, const struct matrix *w,
                const float *bias, float *out, size_t out_stride, int n, struct workspace work)
{
    const struct cpu_ops *ops = cpu_ops_of(b);
    const bool dot = w->in_stride == 1;
    if (n <= 0 || w->n_out <= 0)
        return;
    if (n > (dot ? ops->few_dot : ops->few_mix)) {
        for (int row = 0; row < n; row += MANY_ROWS_MOST)
            matmul_block(b, x + (size_t)row * x_stride, x_stride, w, bias,
                         out + (size_t)row * out_stride, out_stride,
                         (int)at_most(MANY_ROWS_MOST, n - row), work.data);
        return;
    }
    if (!dot && b->n_threads > 1 && w->n_in > MIX_RUN &&
        matmul_by_runs(b, x, x_stride, w, bias, out, out_stride, n, work))
        return;
    matmul_few(b, x, x_stride, w, bias, out, out_stride, n);
}
