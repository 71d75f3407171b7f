/* attention.cu - which of the fused kernels takes a call. */
#include "kernels/cuda/cuda.cuh"

#define WIDEST_TILE 256 /* head size that flash.cu takes */

/* Queries that no tile takes. How the keys of a few are split depends on how many they are. */
static void attend_each(struct cuda *c, const struct attention *a, const struct kv_pages *kv,
                        const float *q, int pos0, int n, float *z, struct workspace work)
{
    size_t width = (size_t)a->n_heads * (size_t)a->d_head;
    int some = c->b.exact ? 1 : n;
    for (int i = 0; i < n; i += some)
        attend_few(c, a, kv, q + (size_t)i * width, pos0 + i, some, z + (size_t)i * width, work);
}

static void attend(struct backend *b, const struct attention *a, const struct kv_view *kv,
                   const float *q, int pos0, int n, float *z, struct workspace work)
{
    struct cuda *c = cuda_of(b);
    struct kv_pages pages;
    struct turn_job turn;
    bool tiled = (b->exact || n > FEW_ROWS) && a->d_head <= WIDEST_TILE;
    bool one = n == 1 && !b->exact && attend_one_takes(c, a, kv, pos0);
    bool turns = one && join_attend(c, a, kv, q, pos0, z, &turn);
    if (!ready(c) || n <= 0 || !kv_on_device(c, kv, pos0 + n, &pages))
        return;
    if (one)
        attend_one(c, a, &pages, q, pos0, z, work, turns ? &turn : NULL);
    else if (!tiled)
        attend_each(c, a, &pages, q, pos0, n, z, work);
    else if (b->dtype != DTYPE_BF16 || a->d_head % 16 != 0 || a->d_head > 128)
        attend_tiles(c, a, &pages, q, pos0, n, z);
    else if (!attend_hopper(c, a, &pages, q, pos0, n, z))
        attend_tiles_bf16(c, a, &pages, q, pos0, n, z);
}

void attention_ops(struct backend *b)
{
    b->attend = attend;
}
