/* attention.cu - which of the fused kernels takes a call. */
#include "kernels/cuda/query.cuh"

#define WIDEST_TILE 256 /* head size that flash.cu takes */

/* Queries that no tile takes. How the keys of a few are split depends on how many they are. */
static void attend_each(struct cuda *c, const struct attention *a, const struct kv_pages *kv,
                        const float *q, int pos0, int n, float *z, float *sums,
                        struct workspace work)
{
    size_t width = (size_t)a->n_heads * (size_t)a->d_head;
    int some = c->b.exact ? 1 : n;
    for (int i = 0; i < n; i += some)
        attend_few(c, a, kv, q + (size_t)i * width, pos0 + i, some, z + (size_t)i * width,
                   sums ? sums + (size_t)i * (size_t)a->n_heads : NULL, work);
}

/* ---- one query ------------------------------------------------------------------------------- */

#define ONE     192  /* keys up to which putting parts together takes longer than not having them */
#define EACH_OF 32   /* a part's keys are a multiple of this */
#define LEAST   64   /* keys that are worth a part */
#define FAR     8192 /* keys up to which heads that share keys may each read them */

static bool takes_one(const struct cuda *c, const struct attention *a, const struct kv_view *kv,
                      int pos)
{
    int vec = c->b.dtype == DTYPE_BF16 ? 8 : 4, share = a->n_heads / a->n_kv_heads;
    return !c->b.exact && a->d_head % vec == 0 && a->d_head <= WIDEST_QUERY &&
           a->n_heads <= ARRIVALS && kv->key_offset % 16 == 0 && kv->value_offset % 16 == 0 &&
           (share <= 2 || pos < FAR);
}

/* One turn for each multiprocessor, or two where that leaves too many without. */
static int splits_of(const struct cuda *c, int heads, int keys)
{
    int splits = c->n_sm / heads, most = (keys + LEAST - 1) / LEAST;
    if (10 * splits * heads < 7 * c->n_sm)
        splits = 2 * c->n_sm / heads;
    if (splits > ARRIVALS / heads) /* what the workspace holds: see attention_workspace */
        splits = ARRIVALS / heads;
    splits = splits < most ? splits : most;
    return splits < 1 || keys <= ONE ? 1 : splits;
}

static void attend_one(struct cuda *c, const struct attention *a, const struct kv_view *view,
                       const float *q, int pos, float *z, float *sums, struct workspace work)
{
    struct attention_stage s = {*a};
    struct turn_job turn;
    int keys = pos - first_visible(a->window, pos); /* before its own */
    s.q = q;
    if (join_attend(c, a, view, q, pos, z, &turn)) {
        if (turn.q.x) {
            s.q = turn.q.x;
            s.q_out = turn.q.out;
            s.angles = turn.q.angles;
            s.r = turn.q.r;
            s.style = turn.q.style;
        }
        s.keys = turn.k.x ? turn.k.x : turn.keys;
        s.k_out = turn.k.x ? turn.k.out : NULL;
        s.values = turn.values;
    } else {
        advance(c);
    }
    if (c->failed || !kv_on_device(c, view, pos + 1, &s.kv))
        return;
    s.z = z;
    s.sums = sums;
    s.partial = (float *)work.data;
    s.arrived = c->arrived;
    s.pos = pos;
    s.splits = splits_of(c, a->n_heads, keys);
    s.each = ((keys + s.splits - 1) / s.splits + EACH_OF - 1) / EACH_OF * EACH_OF;
    queue_attention(c, &s);
}

/* ---- many ------------------------------------------------------------------------------------ */

bool on_tensor_cores(const struct backend *b, const struct attention *a)
{
    static const int widths[] = {16, 32, 64, 80, 96, 128};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        if (a->d_head == widths[i]) /* the greatest score is looked for before it is scaled */
            return b->dtype == DTYPE_BF16 && a->scale > 0;
    return false;
}

static void attend(struct backend *b, const struct attention *a, const struct kv_view *kv,
                   const float *q, int pos0, int n, float *z, float *sums, struct workspace work)
{
    struct cuda *c = cuda_of(b);
    struct flash f = {*a, {}, q, z, pos0, n, NULL, NULL, sums};
    bool tiled = (b->exact || n > FEW_ROWS) && a->d_head <= WIDEST_TILE;
    if (n == 1 && takes_one(c, a, kv, pos0)) {
        attend_one(c, a, kv, q, pos0, z, sums, work);
        return;
    }
    if (!ready(c) || n <= 0 || !kv_on_device(c, kv, pos0 + n, &f.kv))
        return;
    if (tiled && on_tensor_cores(b, a) && kv->key_offset % 16 == 0 && kv->value_offset % 16 == 0) {
        f.low_q = brief_of(c, q);
        f.low_z = brief_keep(c, z);
        if (!attend_hopper(c, &f))
            attend_tiles_bf16(c, &f);
        return;
    }
    floats_of(c, q);
    if (tiled)
        attend_tiles(c, &f);
    else
        attend_each(c, a, &f.kv, q, pos0, n, z, sums, work);
}

void attention_ops(struct backend *b)
{
    b->attend = attend;
}
