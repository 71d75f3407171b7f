/* join.cu - ops on one row that are launched together, and the norms of a prompt's rows with their
 * sums. Each joins what waits, or lets that go first and waits itself. A row's bits are the same
 * whoever goes along: the arithmetic is the same. */
#include "kernels/cuda/cuda.cuh"

static void launch_turn(struct cuda *c, const struct turn_job *t)
{
    if (t->q.x)
        rope_launch(c, &t->q, 1);
    if (t->k.x)
        rope_launch(c, &t->k, 1);
    if (t->stored)
        kv_store_launch(c, &t->kv, t->pos, t->keys, t->values);
}

void advance(struct cuda *c)
{
    struct waiting *w = &c->waiting;
    enum joined kind = c->failed ? NOTHING : w->kind;
    w->kind = NOTHING;
    if (kind == NORM && w->norms.n == 1 && w->norms.row.d > 0) {
        queue_norm(c, &w->norms.row);
        return;
    }
    if (kind == PRODUCTS && w->products.streamed) {
        queue_products(c, &w->products);
        return;
    }
    if (kind == NOTHING)
        return;
    queue_flush(c);
    if (kind == NORM && w->norms.row.d == 0)
        add_launch(c, w->norms.row.x, w->norms.row.y, w->norms.row.sum, w->norms.count);
    else if (kind == NORM)
        norms_launch(c, &w->norms);
    else if (kind == PRODUCTS)
        product_launch(c, &w->products);
    else
        launch_turn(c, &w->turn);
    queue_measure_waiting(c);
}

void settle(struct cuda *c)
{
    advance(c);
    queue_flush(c);
}

/* ---- who may go together --------------------------------------------------------------------- */

/* Memory that a launch reads or writes. */
struct span {
    uintptr_t from, to;
    bool written;
};

struct spans {
    struct span at[20];
    int n;
};

static void note(struct spans *s, const float *p, size_t floats, bool written)
{
    if (p && floats > 0)
        s->at[s->n++] = {(uintptr_t)p, (uintptr_t)(p + floats), written};
}

/* Blocks of one launch come in any order: what one writes, no other may read or write. */
static bool apart(const struct spans *s)
{
    for (int i = 0; i < s->n; i++)
        for (int k = 0; k < i; k++)
            if ((s->at[i].written || s->at[k].written) && s->at[i].from < s->at[k].to &&
                s->at[k].from < s->at[i].to)
                return false;
    return true;
}

static bool products_apart(const struct product_job *j)
{
    struct spans s = {};
    size_t rows = (size_t)(j->n - 1);
    if (j->normed) {
        const struct norm_job *m = &j->norm;
        size_t d = (size_t)m->d;
        note(&s, m->x, d, false);
        note(&s, m->y, d, false);
        note(&s, m->sum, d, true);
        note(&s, m->saved, d, true);
        note(&s, m->centred, d, true);
        note(&s, m->scale, 1, true);
        note(&s, m->normalized, d, true);
        note(&s, m->out, d, true);
    } else {
        note(&s, j->x, rows * j->x_stride + (size_t)j->w[0].n_in, false);
    }
    for (int i = 0; i < j->parts; i++)
        if (j->n == 1) /* the rows of several may lie between each other's */
            note(&s, j->out[i], (size_t)j->w[i].n_out, true);
    if (j->activated)
        note(&s, j->post, (size_t)j->w[0].n_out, true);
    return apart(&s);
}

static bool turn_apart(const struct turn_job *t, float *z, size_t z_floats)
{
    struct spans s = {};
    size_t q = (size_t)(t->q.heads * t->q.d_head), k = (size_t)t->kv.n_kv_heads * t->kv.d_head;
    if (t->q.x) {
        note(&s, t->q.x, q, false);
        note(&s, t->q.out, q, true);
        note(&s, t->q.angles, (size_t)t->q.r, false);
    }
    note(&s, t->k.x, k, false);
    note(&s, t->keys, k, t->k.x != NULL);
    note(&s, t->values, k, false);
    note(&s, z, z_floats, true);
    return apart(&s);
}

/* ---- norms ----------------------------------------------------------------------------------- */

/* The row that the norm that waits is of, so far. */
static const float *norm_row_of(const struct norm_job *j)
{
    return j->centred ? j->centred : j->sum ? j->sum : j->x;
}

static bool sixteen(const void *p)
{
    return (uintptr_t)p % 16 == 0;
}

/* Whether an op on n rows, which writes there, can go along with the norms that wait. */
static bool follows(const struct cuda *c, const float *x, int n, int d, const float *to,
                    size_t floats)
{
    const struct norms *w = &c->waiting.norms;
    const struct norm_job *j = &w->row;
    if (c->waiting.kind != NORM || j->scale || norm_row_of(j) != x ||
        queue_measures_there(c, to, floats))
        return false;
    if (w->n == n && j->d == d)
        return true;
    /* A sum knows nothing of rows before it is asked for their norms. */
    return j->sum && !j->saved && !w->pages && !j->centred && w->count == (size_t)n * (size_t)d &&
           (n == 1 || (sixteen(j->x) && sixteen(j->y)));
}

static struct norms *shape(struct norms *w, int n, int d)
{
    w->n = n;
    w->count = (size_t)n * (size_t)d;
    w->row.d = d;
    w->row.each = d > 0 ? 1.0 / d : 0;
    return w;
}

static struct norms *begin(struct cuda *c, const float *x, int n, int d)
{
    advance(c);
    c->waiting.kind = NORM;
    c->waiting.norms = norms();
    c->waiting.norms.row.x = x;
    return shape(&c->waiting.norms, n, d);
}

/* One row, or of more than a few such as norms_launch takes. */
static bool takes_norms(const struct cuda *c, const float *x, const float *out, int n, int d)
{
    if (c->failed || c->b.exact || d <= 0 || d > JOINED_WIDTH)
        return false;
    return n == 1 ||
           (n > FEW_ROWS && c->b.dtype == DTYPE_BF16 && d % 4 == 0 && sixteen(x) && sixteen(out));
}

bool join_add(struct cuda *c, const float *x, const float *y, float *out, size_t count)
{
    bool few = count <= JOINED_WIDTH;
    bool many = c->b.dtype == DTYPE_BF16 && sixteen(x) && sixteen(y) && sixteen(out);
    if (c->failed || c->b.exact || count == 0 || (!few && !many))
        return false;
    struct norms *w = begin(c, x, 1, few ? (int)count : 0);
    w->count = count;
    w->row.y = y;
    w->row.sum = out;
    return true;
}

bool join_save(struct cuda *c, void *page, int d, int row, const float *x)
{
    struct norm_job *j = &c->waiting.norms.row;
    float *to = (float *)page + (size_t)row * (size_t)d;
    if (c->failed || d != j->d || !follows(c, x, 1, d, to, (size_t)d) || j->saved || j->sum != x ||
        j->centred)
        return false;
    j->saved = to;
    return true;
}

bool join_save_rows(struct cuda *c, void *const *pages, size_t offset, int d, int pos0, int n,
                    const float *x)
{
    struct norms *w = &c->waiting.norms;
    if (n == 1 || c->waiting.kind != NORM || !takes_norms(c, x, x, n, d) || offset % 16 != 0)
        return false;
    void *const *list = pages_on_device(c, pages, (pos0 + n - 1) / KV_PAGE + 1);
    /* What waited may have been launched: it may have had the list that has just been replaced. */
    if (!list || !follows(c, x, n, d, x, 0) || w->row.sum != x || w->row.centred || w->pages)
        return false;
    shape(w, n, d);
    w->pages = list;
    w->offset = offset;
    w->pos0 = pos0;
    return true;
}

bool join_center(struct cuda *c, const float *x, float *out, int n, int d)
{
    if (!takes_norms(c, x, out, n, d))
        return false;
    bool goes = follows(c, x, n, d, out, (size_t)n * (size_t)d) && !c->waiting.norms.row.centred;
    struct norms *w = goes ? shape(&c->waiting.norms, n, d) : begin(c, x, n, d);
    w->row.centred = out;
    w->pass_centred = brief_passes(c, out);
    return true;
}

bool join_rms(struct cuda *c, const float *x, float eps, float *scale, int n, int d)
{
    if (!takes_norms(c, x, x, n, d))
        return false;
    bool goes = follows(c, x, n, d, scale, (size_t)n);
    struct norms *w = goes ? shape(&c->waiting.norms, n, d) : begin(c, x, n, d);
    w->row.eps = eps;
    w->row.scale = scale;
    return true;
}

bool join_divide(struct cuda *c, const float *x, const float *scale, float *out, int n, int d)
{
    struct norms *w = &c->waiting.norms;
    struct norm_job *j = &w->row;
    bool same = c->waiting.kind == NORM && !j->normalized && j->scale && j->scale == scale;
    if (c->failed || !same || w->n != n || j->d != d || norm_row_of(j) != x ||
        (n > 1 && !sixteen(out)) || queue_measures_there(c, out, (size_t)n * (size_t)d))
        return false;
    j->normalized = out;
    w->pass_normalized = brief_passes(c, out);
    return true;
}

bool join_gain(struct cuda *c, const float *x, const float *gain, const float *bias, float *out,
               int n, int d)
{
    struct norms *w = &c->waiting.norms;
    struct norm_job *j = &w->row;
    bool same = c->waiting.kind == NORM && j->normalized && j->normalized == x;
    if (c->failed || !same || w->n != n || j->d != d || j->out || (n > 1 && !sixteen(out)) ||
        queue_measures_there(c, out, (size_t)n * (size_t)d))
        return false;
    j->gain = gain;
    j->bias = bias;
    j->out = out;
    w->rounded = brief_keep(c, out);
    return true;
}

/* ---- products -------------------------------------------------------------------------------- */

/* Only products that load alike go together, so that a value's bits do not depend on company. */
static bool alike(const struct matrix *a, const struct matrix *b)
{
    bool plain = a->in_stride == 1 && b->in_stride == 1 && a->n_in == b->n_in;
    return plain && a->dtype == b->dtype && a->out_stride == b->out_stride &&
           a->group == b->group && a->group_stride == b->group_stride &&
           ((uintptr_t)a->data - (uintptr_t)b->data) % 16 == 0;
}

static void add_part(struct product_job *j, const struct matrix *w, const float *bias, float *out,
                     size_t out_stride)
{
    int i = j->parts++;
    j->w[i] = *w;
    j->bias[i] = bias;
    j->out[i] = out;
    j->out_stride[i] = out_stride;
}

void join_product(struct cuda *c, const float *x, size_t x_stride, const struct matrix *w,
                  const float *bias, float *out, size_t out_stride, int n)
{
    struct waiting with = c->waiting; /* as it would be with this one */
    struct product_job *j = &with.products;
    const struct norms *norms = &with.norms;
    const struct product_job fresh = {x, x_stride, n, 0, n == 1 && stream_takes(c, w)};
    bool joins = with.kind == PRODUCTS && j->parts < TOGETHER && !j->activated && j->x == x &&
                 j->x_stride == x_stride && j->n == n && alike(&j->w[0], w) &&
                 j->streamed == fresh.streamed;
    if (with.kind == NORM && fresh.streamed && norms->n == 1 && norms->row.out == x &&
        norms->row.d == w->n_in && norm_in_fours(norms->row)) {
        with.kind = PRODUCTS;
        *j = fresh;
        j->normed = true;
        j->norm = norms->row;
        joins = true;
    }
    if (joins) {
        add_part(j, w, bias, out, out_stride);
        if (products_apart(j) && !queue_measures_there(c, out, (size_t)w->n_out)) {
            c->waiting = with;
            return;
        }
    }
    advance(c);
    c->waiting.kind = PRODUCTS;
    c->waiting.products = fresh;
    add_part(&c->waiting.products, w, bias, out, out_stride);
}

bool join_activate(struct cuda *c, enum activation f, const float *x, const float *y, float *out,
                   size_t count)
{
    struct product_job *w = &c->waiting.products;
    bool same = c->waiting.kind == PRODUCTS && w->streamed && !w->activated &&
                w->parts == (y ? 2 : 1) && w->out[0] == x && (size_t)w->w[0].n_out == count;
    if (c->failed || !same || (y && (w->out[1] != y || w->w[1].n_out != w->w[0].n_out)))
        return false;
    struct product_job with = *w;
    with.activated = true;
    with.act = f;
    with.post = out;
    if (!products_apart(&with) || queue_measures_there(c, out, count))
        return false;
    *w = with;
    return true;
}

/* ---- what leads to attention ----------------------------------------------------------------- */

bool join_rope(struct cuda *c, const struct rope_job *j)
{
    struct turn_job *t = &c->waiting.turn;
    if (c->failed || c->b.exact)
        return false;
    if (c->waiting.kind == TURN && t->q.x && !t->k.x && !t->stored && j->angles == t->q.angles &&
        j->r == t->q.r && j->style == t->q.style && j->d_head == t->q.d_head &&
        !queue_measures_there(c, j->out, (size_t)(j->heads * j->d_head))) {
        t->k = *j;
        return true;
    }
    advance(c);
    c->waiting.kind = TURN;
    *t = turn_job();
    t->q = *j;
    return true;
}

bool join_store(struct cuda *c, const struct kv_view *view, int pos, const float *keys,
                const float *values)
{
    struct turn_job *t = &c->waiting.turn;
    if (c->failed || c->b.exact || !keys || !values)
        return false;
    if (c->waiting.kind != TURN || t->stored || !t->k.x || t->k.out != keys ||
        t->k.heads != view->n_kv_heads || t->k.d_head != view->d_head) {
        advance(c);
        *t = turn_job();
    }
    c->waiting.kind = TURN;
    if (!kv_on_device(c, view, pos + 1, &t->kv))
        return true; /* it has failed, and nothing is launched any more */
    t->stored = true;
    t->source = view->pages;
    t->pos = pos;
    t->keys = keys;
    t->values = values;
    return true;
}

bool join_attend(struct cuda *c, const struct attention *a, const struct kv_view *view,
                 const float *q, int pos, float *z, struct turn_job *taken)
{
    const struct turn_job *t = &c->waiting.turn;
    if (c->failed || c->waiting.kind != TURN || !t->stored || t->source != view->pages ||
        t->kv.key_offset != view->key_offset || t->kv.value_offset != view->value_offset ||
        t->pos != pos || t->kv.n_kv_heads != a->n_kv_heads || t->kv.d_head != a->d_head)
        return false;
    if (t->q.x && (t->q.out != q || t->q.heads != a->n_heads || t->q.d_head != a->d_head))
        return false;
    size_t floats = (size_t)a->n_heads * (size_t)a->d_head;
    if (!turn_apart(t, z, floats) || queue_measures_there(c, z, floats))
        return false;
    *taken = *t;
    c->waiting.kind = NOTHING;
    return true;
}
