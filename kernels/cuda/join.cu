/* join.cu - ops on one row that are launched together. Each joins what waits, or lets that go first
 * and waits itself. A row's bits are the same whoever goes along: the arithmetic is the same. */
#include "kernels/cuda/cuda.cuh"

void advance(struct cuda *c)
{
    struct waiting *w = &c->waiting;
    struct turn_job *t = &w->turn;
    enum joined kind = c->failed ? NOTHING : w->kind;
    w->kind = NOTHING;
    c->rounded = NULL;
    if (kind == NORM) {
        queue_norm(c, &w->norm);
    } else if (kind == PRODUCTS && w->products.streamed) {
        queue_products(c, &w->products);
    } else if (kind == PRODUCTS) {
        queue_flush(c);
        product_launch(c, &w->products);
        queue_measure_waiting(c);
    } else if (kind == TURN) {
        queue_flush(c);
        if (t->q.x)
            rope_launch(c, &t->q, 1);
        if (t->k.x)
            rope_launch(c, &t->k, 1);
        if (t->stored)
            kv_store_launch(c, &t->kv, t->pos, 1, t->keys, t->values);
        queue_measure_waiting(c);
    }
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

/* The row that the norm that waits has come to; NULL: it waits for nothing more. */
static const float *norm_row_of(const struct norm_job *j)
{
    if (j->scale)
        return NULL;
    return j->centred ? j->centred : j->sum ? j->sum : j->x;
}

/* Whether an op on x, which writes there, can go along with the norm that waits. */
static bool follows(const struct cuda *c, const float *x, int d, const float *to, size_t floats)
{
    const struct norm_job *j = &c->waiting.norm;
    return c->waiting.kind == NORM && norm_row_of(j) == x && j->d == d &&
           !queue_measures_there(c, to, floats);
}

static struct norm_job *begin(struct cuda *c, const float *x, int d)
{
    advance(c);
    c->waiting.kind = NORM;
    c->waiting.norm = norm_job();
    c->waiting.norm.x = x;
    c->waiting.norm.d = d;
    c->waiting.norm.each = 1.0 / d;
    return &c->waiting.norm;
}

static bool takes_norms(const struct cuda *c, int n, int d)
{
    return !c->failed && !c->b.exact && n == 1 && d > 0 && d <= JOINED_WIDTH;
}

bool join_add(struct cuda *c, const float *x, const float *y, float *out, size_t count)
{
    if (count > JOINED_WIDTH || !takes_norms(c, 1, (int)count))
        return false;
    struct norm_job *j = begin(c, x, (int)count);
    j->y = y;
    j->sum = out;
    return true;
}

bool join_save(struct cuda *c, void *page, int d, int row, const float *x)
{
    const struct norm_job *j = &c->waiting.norm;
    float *to = (float *)page + (size_t)row * (size_t)d;
    if (c->failed || !follows(c, x, d, to, (size_t)d) || j->saved || j->sum != x || j->centred)
        return false;
    c->waiting.norm.saved = to;
    return true;
}

bool join_center(struct cuda *c, const float *x, float *out, int n, int d)
{
    if (!takes_norms(c, n, d))
        return false;
    bool goes = follows(c, x, d, out, (size_t)d) && !c->waiting.norm.centred;
    struct norm_job *j = goes ? &c->waiting.norm : begin(c, x, d);
    j->centred = out;
    return true;
}

bool join_rms(struct cuda *c, const float *x, float eps, float *scale, int n, int d)
{
    if (!takes_norms(c, n, d))
        return false;
    struct norm_job *j = follows(c, x, d, scale, 1) ? &c->waiting.norm : begin(c, x, d);
    j->eps = eps;
    j->scale = scale;
    return true;
}

bool join_divide(struct cuda *c, const float *x, const float *scale, float *out, int n, int d)
{
    struct norm_job *j = &c->waiting.norm;
    bool same = c->waiting.kind == NORM && !j->normalized && j->scale && j->scale == scale;
    if (c->failed || n != 1 || !same || j->d != d ||
        x != (j->centred ? j->centred
              : j->sum   ? j->sum
                         : j->x) ||
        queue_measures_there(c, out, (size_t)d))
        return false;
    j->normalized = out;
    return true;
}

bool join_gain(struct cuda *c, const float *x, const float *gain, const float *bias, float *out,
               int n, int d)
{
    struct norm_job *j = &c->waiting.norm;
    bool same = c->waiting.kind == NORM && j->normalized && j->normalized == x && j->d == d;
    if (c->failed || n != 1 || !same || j->out || queue_measures_there(c, out, (size_t)d))
        return false;
    j->gain = gain;
    j->bias = bias;
    j->out = out;
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
    const struct product_job fresh = {x, x_stride, n, 0, n == 1 && stream_takes(c, w)};
    bool joins = with.kind == PRODUCTS && j->parts < TOGETHER && !j->activated && j->x == x &&
                 j->x_stride == x_stride && j->n == n && alike(&j->w[0], w) &&
                 j->streamed == fresh.streamed;
    if (with.kind == NORM && fresh.streamed && with.norm.out == x && with.norm.d == w->n_in) {
        with.kind = PRODUCTS;
        *j = fresh;
        j->normed = true;
        j->norm = with.norm;
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
    c->rounded = NULL;
    return true;
}
