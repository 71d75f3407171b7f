#include "engine/analysis/top_read.h"

#include <math.h>

/* ---- a device's own ---- */

/* As top_log_sum. */
static double log_sum_of(const struct best_row *r)
{
    if (isinf(r->most))
        return (double)r->most;
    return r->n_nan > 0 ? (double)NAN : (double)r->most + log(r->sum);
}

static struct top_row row_of(const struct best_row *r, int n_best)
{
    return (struct top_row){.n_best = n_best,
                            .n_nan = r->n_nan,
                            .n_above = r->n_above,
                            .n_below = r->n_below,
                            .target.id = -1};
}

static bool find(struct vm *vm, const float *x, int n, const struct top_ask *ask,
                 struct top_row *rows, struct top_entry *best, struct error *err)
{
    const struct best_row *from;
    const struct best_entry *entry;
    int vocab = vm->model->config.n_vocab, k = ask->n_best;
    if (!vm_best(vm, x, n, vocab, ask->targets, k, &from, &entry, err))
        return false;
    for (int r = 0; r < n; r++, from++, entry += k, best += k) {
        int32_t target = ask->targets ? ask->targets[r] : -1;
        rows[r] = row_of(from, k < vocab ? k : vocab);
        if (target >= 0) {
            rows[r].target = (struct top_entry){.id = target, .logit = from->target};
            rows[r].rank = from->ahead;
        }
        for (int i = 0; i < rows[r].n_best; i++)
            best[i] = (struct top_entry){.id = entry[i].at, .logit = entry[i].value};
        if (ask->probabilities)
            top_row_weigh(&rows[r], log_sum_of(from), best);
    }
    return true;
}

/* ---- rows that the host looks at ---- */

static bool fetch(struct vm *vm, const float *x, int n, const struct top_ask *ask,
                  struct top_row *rows, struct top_entry *best, struct error *err)
{
    struct backend *b = vm->backend;
    size_t vocab = (size_t)vm->model->config.n_vocab;
    float *row = mem_alloc_array(vm->ledger, MEM_VIEWS, vocab, sizeof *row, err);
    for (int r = 0; row && r < n; r++) {
        b->read(b, row, x + (size_t)r * vocab, vocab * sizeof *row);
        top_of_row(row, (int)vocab, ask, r, &rows[r], best + (size_t)r * (size_t)ask->n_best);
    }
    mem_free(vm->ledger, row);
    return row != NULL;
}

bool top_rows(struct vm *vm, const float *x, int n, const struct top_ask *ask, struct top_row *rows,
              struct top_entry *best, struct error *err)
{
    int vocab = vm->model->config.n_vocab;
    if (vm->backend->best && ask->n_best <= BEST_MOST)
        return find(vm, x, n, ask, rows, best, err);
    if (vm->backend->device)
        return fetch(vm, x, n, ask, rows, best, err);
    for (int r = 0; r < n; r++)
        top_of_row(x + (size_t)r * (size_t)vocab, vocab, ask, r, &rows[r],
                   best + (size_t)r * (size_t)ask->n_best);
    return true;
}

/* ---- of a trace ---- */

struct reading {
    struct vm *vm;
    const struct top_ask *ask;
    int row0;
    struct top_row *rows;
    struct top_entry *best;
};

static bool show(void *context, const float *x, int row0, int n, struct error *err)
{
    const struct reading *g = context;
    size_t at = (size_t)(row0 - g->row0);
    struct top_ask ask = *g->ask;
    ask.targets = ask.targets ? ask.targets + at : NULL;
    return top_rows(g->vm, x, n, &ask, g->rows + at, g->best + at * (size_t)ask.n_best, err);
}

bool top_read(struct trace *t, int op, int row0, int n, const struct top_ask *ask,
              struct top_row *rows, struct top_entry *best, struct error *err)
{
    struct reading g = {t->vm, ask, row0, rows, best};
    return trace_show(t, op, row0, n, show, &g, err);
}

bool top_next(struct trace *t, int op, struct top_row *row, struct top_entry *best,
              struct error *err)
{
    const struct vm_answer *chosen;
    if (!trace_chosen(t, &chosen, err))
        return false;
    if (!chosen)
        return top_read(t, op, t->n_ids - 1, 1, &(struct top_ask){.n_best = 1}, row, best, err);
    *row = row_of(&chosen->row, 1);
    *best = (struct top_entry){.id = chosen->best.at, .logit = chosen->best.value};
    return true;
}
