/* brief.cu - rows that a prompt's ops hand on as bfloat16: half the bytes of those that the next op
 * would round anyway.
 *
 * They lie in the upper half of where their floats would lie, so that these can be made in place
 * for whoever wants to see them. */
#include "kernels/cuda/cuda.cuh"

#define THREADS 256
#define BLOCKS  4096 /* of a launch, at most */

static bool is_in(const struct brief_rows *r, const float *p, size_t floats)
{
    return r->rows < p + floats && p < r->rows + r->floats;
}

static bf16 *brief_place(const float *rows, size_t floats)
{
    return (bf16 *)rows + floats;
}

/* Those that a row is one of; NULL: it is not kept so. */
static struct brief_rows *around(struct cuda *c, const float *row)
{
    for (int i = 0; i < c->n_brief; i++)
        if (is_in(&c->brief[i], row, 1))
            return &c->brief[i];
    return NULL;
}

const bf16 *brief_of(struct cuda *c, const float *rows)
{
    const struct brief_rows *all = around(c, rows);
    return all ? brief_place(all->rows, all->floats) + (rows - all->rows) : NULL;
}

bool brief_passes(const struct cuda *c, const float *rows)
{
    return c->keeping == KEEP_NOTHING && c->said.rows == rows;
}

bf16 *brief_keep(struct cuda *c, const float *rows)
{
    bool fits = c->said.floats % 8 == 0 && (uintptr_t)rows % 16 == 0 && c->n_brief < BRIEF;
    if (c->keeping != KEEP_ROUNDED || c->said.rows != rows || !fits)
        return NULL;
    c->brief[c->n_brief++] = c->said;
    return brief_place(rows, c->said.floats);
}

/* Elements [from, to), whose floats lie where no rounded ones lie that are still to be read. */
__global__ void widen_kernel(const bf16 *x, float *out, size_t from, size_t to)
{
    size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = from + (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < to; i += step)
        out[i] = widen(x[i]);
}

const float *floats_of(struct cuda *c, const float *rows)
{
    struct brief_rows *all = around(c, rows);
    size_t n = all ? all->floats : 0;
    /* The first half's floats end where the rounded begin; then half of what is left. */
    for (size_t from = 0, to; from < n && !c->failed; from = to) {
        to = n - from > 1 ? from + (n - from) / 2 : n;
        size_t blocks = (to - from + THREADS - 1) / THREADS;
        unsigned most = blocks < BLOCKS ? (unsigned)blocks : BLOCKS;
        const bf16 *rounded = brief_place(all->rows, n);
        widen_kernel<<<most, THREADS, 0, c->stream>>>(rounded, (float *)all->rows, from, to);
        launched(c, "widening rows");
    }
    if (all)
        *all = c->brief[--c->n_brief];
    return rows;
}

static void brief(struct backend *b, const float *x, int n, int d, enum keeping k)
{
    struct cuda *c = cuda_of(b);
    const struct brief_rows said = {x, (size_t)n * (size_t)d};
    int kept = 0;
    for (int i = 0; x && i < c->n_brief; i++)
        if (!is_in(&c->brief[i], x, said.floats))
            c->brief[kept++] = c->brief[i];
    c->n_brief = kept;
    c->said = said;
    c->keeping = b->dtype == DTYPE_BF16 && !b->exact && n > FEW_ROWS ? k : KEEP_FLOATS;
}

static void widen(struct backend *b, const float *x)
{
    struct cuda *c = cuda_of(b);
    if (brief_of(c, x) && ready(c))
        floats_of(c, x);
}

void brief_ops(struct backend *b)
{
    b->brief = brief;
    b->widen = widen;
}
