#include "engine/analysis/lens.h"

#include "engine/analysis/top_read.h"

#define LENS_FLOATS ((size_t)1 << 22) /* of a frame at a time */

/* Logits of rows at .. at + n, which lie with the backend. */
typedef bool lens_shown(void *context, const float *logits, size_t at, int n, struct error *err);

static bool run_rows(struct trace *t, struct frame *f, const float *rows, int n, struct error *err)
{
    const struct program *p = &t->model->program;
    struct backend *b = t->backend;
    size_t d = (size_t)t->model->config.d_model;
    struct vm_call c = {.frame = f,
                        .from = p->block_op[p->n_layers],
                        .to = program_find(p, SITE_LOGITS, 0),
                        .n = n,
                        .ids = t->ids,
                        .kv_pages = t->kv_pages,
                        .interrupt = t->interrupt};
    if (!vm_reserve(t->vm, f, n, p->tail_width, err))
        return false;
    b->write(b, vm_slot(t->vm, f, p->block_slot[p->n_layers]), rows, (size_t)n * d * sizeof *rows);
    return vm_run(t->vm, &c, err);
}

static bool run(struct trace *t, const float *rows, size_t n, lens_shown *show, void *context,
                struct error *err)
{
    const struct program *p = &t->model->program;
    size_t d = (size_t)t->model->config.d_model;
    int last = program_find(p, SITE_LOGITS, 0);
    if (last < 0 || p->ops[last].width != t->model->config.n_vocab)
        return error_set(err, ERR_UNSUPPORTED, "this model has no logits");
    size_t step = LENS_FLOATS / (p->tail_width + 1) + 1;
    /* A frame of our own: what the trace keeps in its frames stays as it is. */
    struct frame f = {0};
    bool ok = true;
    for (size_t r = 0; ok && r < n; r += step) {
        size_t some = n - r < step ? n - r : step;
        ok = run_rows(t, &f, rows + r * d, (int)some, err) &&
             show(context, vm_slot(t->vm, &f, p->ops[last].out), r, (int)some, err) &&
             vm_sync(t->vm, err);
    }
    frame_fini(t->vm, &f);
    return ok;
}

struct wanted {
    struct trace *trace;
    float *logits; /* [n, V], or: */
    const struct top_ask *ask;
    struct top_row *found;
    struct top_entry *best;
};

static bool fetch(void *context, const float *logits, size_t at, int n, struct error *err)
{
    const struct wanted *w = context;
    struct backend *b = w->trace->backend;
    size_t v = (size_t)w->trace->model->config.n_vocab;
    (void)err;
    b->read(b, w->logits + at * v, logits, (size_t)n * v * sizeof *logits);
    return true;
}

bool lens_logits(struct trace *t, const float *rows, size_t n, float *out, struct error *err)
{
    struct wanted w = {.trace = t, .logits = out};
    return run(t, rows, n, fetch, &w, err);
}

static bool find(void *context, const float *logits, size_t at, int n, struct error *err)
{
    const struct wanted *w = context;
    struct top_ask ask = *w->ask;
    ask.targets = ask.targets ? ask.targets + at : NULL;
    return top_rows(w->trace->vm, logits, n, &ask, w->found + at, w->best + at * (size_t)ask.n_best,
                    err);
}

bool lens_top(struct trace *t, const float *rows, size_t n, const struct top_ask *ask,
              struct top_row *found, struct top_entry *best, struct error *err)
{
    struct wanted w = {.trace = t, .ask = ask, .found = found, .best = best};
    return run(t, rows, n, find, &w, err);
}
