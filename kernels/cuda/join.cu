/* join.cu - ops on one row that are launched together. Each joins what waits, or lets that go first
 * and waits itself. A row's bits are the same whoever goes along: the kernel is the same. */
#include "kernels/cuda/cuda.cuh"

void settle(struct cuda *c)
{
    struct waiting *w = &c->waiting;
    if (!c->failed && w->kind == NORM)
        norm_launch(c, &w->norm);
    else if (!c->failed && w->kind == PRODUCTS)
        product_launch(c, &w->products);
    w->kind = NOTHING;
    c->rounded = NULL;
}

/* The row that what waits has made or read, if it is a norm's and its scale is not asked for. */
static bool follows(const struct cuda *c, const float *x, int d)
{
    const struct norm_job *j = &c->waiting.norm;
    return c->waiting.kind == NORM && !j->scale && j->sum == x && j->d == d;
}

static struct norm_job *begin(struct cuda *c, const float *x, int d)
{
    settle(c);
    c->waiting.kind = NORM;
    c->waiting.norm = norm_job();
    c->waiting.norm.x = x;
    c->waiting.norm.d = d;
    return &c->waiting.norm;
}

bool join_add(struct cuda *c, const float *x, const float *y, float *out, size_t count)
{
    if (c->failed || count == 0 || count > JOINED_WIDTH)
        return false;
    struct norm_job *j = begin(c, x, (int)count);
    j->y = y;
    j->sum = out;
    return true;
}

bool join_save(struct cuda *c, void *page, int d, int row, const float *x)
{
    if (c->failed || !follows(c, x, d) || c->waiting.norm.saved)
        return false;
    c->waiting.norm.saved = (float *)page + (size_t)row * (size_t)d;
    return true;
}

bool join_rms(struct cuda *c, const float *x, float eps, float *scale, int n, int d)
{
    if (c->failed || n != 1 || d <= 0 || d > JOINED_WIDTH)
        return false;
    struct norm_job *j = follows(c, x, d) ? &c->waiting.norm : begin(c, x, d);
    j->eps = eps;
    j->scale = scale;
    return true;
}

bool join_divide(struct cuda *c, const float *x, const float *scale, float *out, int n, int d)
{
    struct norm_job *j = &c->waiting.norm;
    bool same = c->waiting.kind == NORM && !j->normalized && j->scale && j->scale == scale;
    if (c->failed || n != 1 || !same || x != (j->sum ? j->sum : j->x) || j->d != d)
        return false;
    j->normalized = out;
    return true;
}

bool join_gain(struct cuda *c, const float *x, const float *gain, const float *bias, float *out,
               int n, int d)
{
    struct norm_job *j = &c->waiting.norm;
    bool same = c->waiting.kind == NORM && j->normalized && j->normalized == x && j->d == d;
    if (c->failed || n != 1 || !same || j->out)
        return false;
    j->gain = gain;
    j->bias = bias;
    j->out = out;
    return true;
}
