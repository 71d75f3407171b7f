#include "engine/analysis/lens.h"

#include "engine/forward/vm.h"

#define LENS_FLOATS ((size_t)1 << 22) /* of a frame at a time */

static bool run_rows(struct trace *t, struct frame *f, const float *rows, int n, float *out,
                     struct error *err)
{
    const struct program *p = &t->model->program;
    struct backend *b = t->backend;
    int last = program_find(p, SITE_LOGITS, 0);
    size_t d = (size_t)t->model->config.d_model, v = (size_t)p->ops[last].width;
    struct vm_call c = {.frame = f,
                        .from = p->block_op[p->n_layers],
                        .to = last,
                        .n = n,
                        .ids = t->ids,
                        .kv_pages = t->kv_pages,
                        .interrupt = t->interrupt};
    if (!vm_reserve(t->vm, f, n, p->tail_width, err))
        return false;
    b->write(b, vm_slot(t->vm, f, p->block_slot[p->n_layers]), rows, (size_t)n * d * sizeof *rows);
    if (!vm_run(t->vm, &c, err))
        return false;
    b->read(b, out, vm_slot(t->vm, f, p->ops[last].out), (size_t)n * v * sizeof *out);
    return vm_sync(t->vm, err);
}

bool lens_logits(struct trace *t, const float *rows, size_t n, float *out, struct error *err)
{
    const struct program *p = &t->model->program;
    size_t d = (size_t)t->model->config.d_model, v = (size_t)t->model->config.n_vocab;
    int last = program_find(p, SITE_LOGITS, 0);
    if (last < 0 || (size_t)p->ops[last].width != v)
        return error_set(err, ERR_UNSUPPORTED, "this model has no logits");
    size_t step = LENS_FLOATS / (p->tail_width + 1) + 1;
    /* A frame of our own: what the trace keeps in its frames stays as it is. */
    struct frame f = {0};
    bool ok = true;
    for (size_t r = 0; ok && r < n; r += step) {
        size_t some = n - r < step ? n - r : step;
        ok = run_rows(t, &f, rows + r * d, (int)some, out + r * v, err);
    }
    frame_fini(t->vm, &f);
    return ok;
}
