/* queue.cu - stages of one row, collected until somebody wants to see what they have made: token.cu
 * then runs them as one launch. On GPUs before 9.0 each is launched as it comes.
 *
 * A row that is to be measured is measured while a stage behind the one that wrote it runs, the
 * first that takes long, if those leave it alone; else, and behind the last, while a stage of its
 * own runs.
 */
#include "kernels/cuda/product.cuh"
#include "kernels/cuda/query.cuh"
#include "kernels/cuda/token.cuh"

#include <limits.h>
#include <stdlib.h>

#define FIRST_STAGES 12 /* of a token, if the GPU is idle: it has work while the others come */
#define NONE         (-1)
#define MOST_SPANS   12   /* that a stage writes */
#define MEASURED     4096 /* rows that may be measured at a time */

/* Floats that a stage writes, or that are to be measured. */
struct reach {
    const float *from;
    size_t floats;
};

struct queue {
    struct token token;
    int limit; /* stages that it holds before it is launched */
    /* Of the measures `hosted` have a stage, those up to `settled` are of what was pushed, the
     * others of what waits. */
    int hosted, settled, n_measures;
    enum dtype stored;  /* the matrices' type */
    bool multiplies;    /* it has matrices */
    int position;       /* whose keys it stores; NONE */
    unsigned *counters; /* [TOKEN_COUNTERS], the device's */
    unsigned met;       /* how often blocks meet in all launches so far */
    bool odd;           /* launches so far */
};

static bool overlap(struct reach a, struct reach b)
{
    return a.from && b.from && a.from < b.from + b.floats && b.from < a.from + a.floats;
}

static struct reach measured_at(const struct queue *q, int i)
{
    const struct measure_job *j = &q->token.measures[i];
    return {j->x, (size_t)j->n * (size_t)j->d};
}

bool queue_measures_there(const struct cuda *c, const float *p, size_t floats)
{
    const struct queue *q = c->queue;
    for (int i = q ? q->settled : 0; q && i < q->n_measures; i++)
        if (overlap(measured_at(q, i), {p, floats}))
            return true;
    return false;
}

/* ---- stages ---------------------------------------------------------------------------------- */

/* hosts: what was measured by nobody yet is measured while it runs. */
static struct stage *add_stage(struct queue *q, enum stage_kind kind, bool hosts)
{
    struct stage *s = &q->token.at[q->token.n++];
    s->kind = kind;
    s->first_measure = (short)q->hosted;
    if (hosts)
        q->hosted = q->settled;
    s->end_measure = (short)q->hosted;
    return s;
}

void queue_flush(struct cuda *c)
{
    struct queue *q = c->queue;
    if (!q)
        return;
    struct token *t = &q->token;
    if (q->hosted < q->settled)
        add_stage(q, STAGE_NOTHING, true); /* there is room for it: see push */
    if (t->n > 0 && !c->failed) {
        t->met = q->counters;
        t->begin = q->met;
        t->taken = q->counters + TOKEN_APART + (q->odd ? STAGES : 0);
        t->clear = q->counters + TOKEN_APART + (q->odd ? 0 : STAGES);
        q->odd = !q->odd;
        q->met += (unsigned)(t->n - 1);
        token_launch(c, t, q->stored);
    }
    q->n_measures -= q->settled;
    memmove(t->measures, t->measures + q->settled, (size_t)q->n_measures * sizeof *t->measures);
    q->hosted = q->settled = 0;
    t->n = t->row_floats = t->row_rounds = t->d_head = 0;
    q->limit = FIRST_STAGES;
    q->multiplies = false;
    q->position = NONE;
}

void queue_measure_waiting(struct cuda *c)
{
    struct queue *q = c->queue;
    for (int i = q ? q->settled : 0; q && i < q->n_measures; i++)
        measure_launch(c, &q->token.measures[i]);
    if (q)
        q->n_measures = q->settled;
}

/* Whether the GPU has something to do yet. */
static bool at_work(struct cuda *c)
{
    cudaError_t e = cudaStreamQuery(c->stream);
    if (e == cudaErrorNotReady)
        cudaGetLastError(); /* that is no failure */
    return e == cudaErrorNotReady;
}

/* A stage of this kind, with all that it writes, behind what has to be measured first. */
static struct stage *push(struct cuda *c, enum stage_kind kind, const struct reach *written,
                          int n_written)
{
    struct queue *q = c->queue;
    if (q->token.n + 3 > q->limit) { /* with one that only measures before it, and one behind */
        if (q->limit == STAGES || !at_work(c))
            queue_flush(c);
        q->limit = STAGES;
    }
    bool apart = true;
    for (int i = q->hosted; i < q->settled; i++)
        for (int k = 0; k < n_written; k++)
            apart = apart && !overlap(measured_at(q, i), written[k]);
    if (!apart)
        add_stage(q, STAGE_NOTHING, true);
    /* Attention is over before a row is measured, and rows can wait. */
    struct stage *s = add_stage(q, kind, kind != STAGE_ATTENTION);
    q->settled = q->n_measures; /* those that waited for this one wait for the next */
    return s;
}

static void reserve_row(struct queue *q, size_t floats, size_t rounded)
{
    if (q->token.row_floats < (int)floats)
        q->token.row_floats = (int)floats;
    if (q->token.row_rounds < (int)rounded)
        q->token.row_rounds = (int)rounded;
}

static int note_norm(const struct norm_job *j, struct reach *at)
{
    size_t d = (size_t)j->d;
    int n = 0;
    at[n++] = {j->sum, d};
    at[n++] = {j->saved, d};
    at[n++] = {j->centred, d};
    at[n++] = {j->scale, 1};
    at[n++] = {j->normalized, d};
    at[n++] = {j->out, d};
    return n;
}

void queue_norm(struct cuda *c, const struct norm_job *j)
{
    struct queue *q = c->queue;
    struct reach written[MOST_SPANS];
    if (!q || !norm_in_fours(*j)) {
        queue_flush(c);
        norm_launch(c, j);
        queue_measure_waiting(c);
        return;
    }
    struct stage *s = push(c, STAGE_NORM, written, note_norm(j, written));
    s->norm = *j;
    reserve_row(q, row_bytes(false, true, j->d), 0);
}

/* ---- products -------------------------------------------------------------------------------- */

static bool rounds(const struct cuda *c, enum dtype stored)
{
    return stored == DTYPE_BF16 && c->b.dtype == DTYPE_BF16;
}

bool stream_takes(const struct cuda *c, const struct matrix *w)
{
    const ptrdiff_t each = w->dtype == DTYPE_F32 ? 4 : 8;
    bool rounded = rounds(c, w->dtype);
    /* With the norm, if there can be one. */
    size_t row = row_bytes(rounded, !rounded || w->n_in <= JOINED_WIDTH, w->n_in);
    size_t all = c->queue ? row + TOKEN_FIXED_BYTES + TOKEN_RING_BYTES : stream_shared_bytes(row);
    return w->in_stride == 1 && (uintptr_t)w->data % 16 == 0 && w->out_stride % each == 0 &&
           (w->group <= 0 || w->group_stride % each == 0) && w->n_in % each == 0 && w->n_in > 0 &&
           w->n_in <= WIDEST && w->n_out > 0 && w->n_out <= MOST_OUTPUTS && all <= c->shared_bytes;
}

static struct product_stage stage_of(const struct product_job *j)
{
    const struct matrix *w = &j->w[0];
    struct product_stage s = {};
    for (int i = 0; i < TOGETHER; i++) {
        bool there = i < j->parts;
        s.data[i] = there ? j->w[i].data : NULL;
        s.bias[i] = there ? j->bias[i] : NULL;
        s.out[i] = there ? j->out[i] : NULL;
        s.n_out[i] = there ? j->w[i].n_out : 0;
        s.units += (s.n_out[i] + 1) / 2;
        s.ends[i] = s.units;
    }
    s.paired = j->activated && j->parts == 2;
    if (s.paired)
        s.units = w->n_out;
    s.n_in = w->n_in;
    s.group = w->group > 0 ? w->group : INT_MAX;
    s.group_stride = w->group > 0 ? w->group_stride : 0;
    s.out_stride = w->out_stride;
    s.x = j->x;
    s.normed = j->normed;
    s.norm = j->norm;
    s.activated = j->activated;
    s.act = j->act;
    s.post = j->post;
    return s;
}

/* Leaves it to the product behind a query to put its parts together, if nobody else looks at them:
 * the blocks meet between the two anyway. */
static void open_attention(struct queue *q, struct product_stage *s)
{
    struct stage *before = q->token.n > 1 ? &q->token.at[q->token.n - 2] : NULL;
    if (!before || before->kind != STAGE_ATTENTION || s->normed)
        return;
    struct attention_stage *a = &before->attention;
    int H = a->a.n_heads, h = a->a.d_head;
    bool fits = a->splits <= TOKEN_MIXED_PARTS && H <= TOKEN_MIXED_HEADS && h % 4 == 0 &&
                (uintptr_t)a->z % 16 == 0;
    if (a->splits == 1 || a->z != s->x || H * h != s->n_in || !fits)
        return;
    for (int i = before->first_measure; i < q->n_measures; i++)
        if (overlap(measured_at(q, i), {a->z, (size_t)(H * h)}))
            return;
    a->open = true;
    s->mixed = true;
    s->mix = {a->partial, a->z, a->sums, a->kept, H, h, a->splits, a->narrowed};
}

void queue_products(struct cuda *c, const struct product_job *j)
{
    struct queue *q = c->queue;
    struct product_stage products = stage_of(j);
    struct reach written[MOST_SPANS];
    if (!q) {
        stream_launch(c, &products, j->w[0].dtype);
        return;
    }
    if (q->multiplies && q->stored != j->w[0].dtype)
        queue_flush(c);
    int n = j->normed ? note_norm(&j->norm, written) : 0;
    for (int i = 0; i < j->parts; i++)
        written[n++] = {j->out[i], (size_t)j->w[i].n_out};
    written[n++] = {j->activated ? j->post : NULL, (size_t)j->w[0].n_out};
    struct stage *s = push(c, STAGE_PRODUCTS, written, n);
    s->products = products;
    open_attention(q, &s->products);
    q->stored = j->w[0].dtype;
    q->multiplies = true;
    bool rounded = rounds(c, q->stored);
    reserve_row(q, row_bytes(false, !rounded || j->normed, products.n_in),
                row_bytes(rounded, false, products.n_in));
}

/* ---- attention ------------------------------------------------------------------------------- */

void queue_attention(struct cuda *c, const struct attention_stage *s)
{
    struct queue *q = c->queue;
    if (!q) {
        single_launch(c, s);
        return;
    }
    if (q->token.d_head > 0 && q->token.d_head != s->a.d_head)
        queue_flush(c);
    /* What is read ahead has to be there: of one position alone the keys may be made on the way. */
    if (q->position != NONE && (!s->keys || q->position != s->pos))
        queue_flush(c);
    size_t width = (size_t)s->a.n_heads * (size_t)s->a.d_head;
    const struct reach written[] = {
        {s->z, width},
        {s->q_out, width},
        {s->k_out, (size_t)s->a.n_kv_heads * (size_t)s->a.d_head},
        {s->partial,
         s->splits > 1 ? (size_t)(s->a.n_heads * s->splits * PART_FLOATS(s->a.d_head)) : 0}};
    push(c, STAGE_ATTENTION, written, 4)->attention = *s;
    q->token.d_head = s->a.d_head;
    if (s->keys)
        q->position = s->pos;
}

bool queue_save(struct cuda *c, const float *rows, int width, void *to, enum dtype kept)
{
    struct queue *q = c->queue;
    if (!q || c->failed || c->waiting.kind != NOTHING || q->token.n == 0)
        return false;
    struct stage *last = &q->token.at[q->token.n - 1];
    struct attention_stage *a = &last->attention;
    if (last->kind != STAGE_ATTENTION)
        return false;
    if (a->sums && a->sums == rows && a->a.n_heads == width && kept == DTYPE_F32) {
        a->sums = (float *)to; /* nobody else reads them */
        return true;
    }
    if (a->z != rows || a->kept || a->a.n_heads * a->a.d_head != width)
        return false;
    a->kept = to;
    a->narrowed = kept == DTYPE_BF16;
    return true;
}

/* ---- measures -------------------------------------------------------------------------------- */

bool queue_measure(struct cuda *c, const struct measure_job *j)
{
    struct queue *q = c->queue;
    const struct waiting *w = &c->waiting;
    bool queued =
        w->kind == NOTHING ? q && q->token.n > 0 : w->kind != PRODUCTS || w->products.streamed;
    if (!q || c->failed || !queued || j->n > MEASURED)
        return false;
    if (q->n_measures == MEASURES)
        settle(c);
    if (q->n_measures == 0 && q->token.n == 0 && w->kind == NOTHING)
        return false; /* it has just been launched */
    q->token.measures[q->n_measures++] = *j;
    if (w->kind == NOTHING)
        q->settled = q->n_measures;
    return true;
}

/* ---- opening --------------------------------------------------------------------------------- */

bool queue_open(struct cuda *c)
{
    struct queue *q = c->bulk ? (struct queue *)calloc(1, sizeof *q) : NULL;
    if (!q)
        return !c->bulk || cuda_ok(c, cudaErrorMemoryAllocation, "opening it");
    c->queue = q;
    q->limit = FIRST_STAGES;
    q->position = NONE;
    q->stored = c->b.dtype;
    size_t bytes = TOKEN_COUNTERS * sizeof *q->counters;
    return cuda_ok(c, cudaMalloc((void **)&q->counters, bytes), "allocating") &&
           cuda_ok(c, cudaMemsetAsync(q->counters, 0, bytes, c->stream), "allocating");
}

void queue_close(struct cuda *c)
{
    if (c->queue)
        cudaFree(c->queue->counters);
    free(c->queue);
    c->queue = NULL;
}
