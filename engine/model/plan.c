#include "engine/model/plan.h"

#include "engine/forward/vm.h"
#include "engine/model/hub.h"
#include "engine/model/place.h"

#include <stdio.h>
#include <sys/stat.h>

void plan_make(struct plan *p, const struct model *m, int n_ctx, int chunk, size_t held)
{
    if (chunk > n_ctx)
        chunk = n_ctx;
    *p = (struct plan){
        .weights = model_place_bytes(m),
        .kv_page = vm_kv_page_bytes(m, m->backend),
        .checkpoint_layer = KV_PAGE * (size_t)m->config.d_model * sizeof(float),
        .scratch = vm_scratch_bytes(m, m->backend, chunk, n_ctx),
        .other = held + vm_room_bytes(m, n_ctx),
        .n_layers = m->config.n_layers,
    };
}

static size_t pages(int n)
{
    return ((size_t)n + KV_PAGE - 1) / KV_PAGE;
}

static size_t kept_layers(const struct plan *p, int stride)
{
    return (size_t)((p->n_layers - 1) / stride + 1);
}

size_t plan_bytes(const struct plan *p, int n, int stride)
{
    return p->weights + p->scratch + p->other +
           pages(n) * (p->kv_page + p->checkpoint_layer * kept_layers(p, stride));
}

int plan_stride(const struct plan *p, int n, size_t budget)
{
    size_t free = budget > p->weights ? budget - p->weights : 0;
    for (int stride = 1;; stride = stride * 2 < p->n_layers ? stride * 2 : p->n_layers) {
        bool widest = stride >= p->n_layers, fits = plan_bytes(p, n, stride) <= budget;
        size_t checkpoints = pages(n) * p->checkpoint_layer * kept_layers(p, stride);
        if (fits && (widest || checkpoints <= free / PLAN_CHECKPOINTS_PART))
            return stride;
        if (widest)
            return 0;
    }
}

int plan_positions(const struct plan *p, int limit, int stride, size_t budget)
{
    if (budget < p->weights + p->scratch + p->other)
        return 0;
    size_t each = p->kv_page + p->checkpoint_layer * kept_layers(p, stride);
    size_t fit = (budget - p->weights - p->scratch - p->other) / each * KV_PAGE;
    return fit < (size_t)limit ? (int)fit : limit;
}

static void line(struct text *out, const char *what, size_t bytes, const char *note)
{
    char size[24];
    text_printf(out, "  %-34s %12s%s%s\n", what, mem_format(bytes, size), *note ? "  " : "", note);
}

static void report(const struct plan *p, const struct model *m, int n_ctx, size_t budget,
                   struct text *out)
{
    const struct config *c = &m->config;
    char size[24], what[80];
    text_printf(out,
                "%s: %s, %d layers, %d heads (%d key/value) of %d, d_model %d, d_mlp %d, "
                "vocabulary %d, %s\n",
                m->name, c->model_type, c->n_layers, c->n_heads, c->n_kv_heads, c->d_head,
                c->d_model, c->d_mlp, c->n_vocab, m->dtypes);
    text_printf(out, "%.3f billion parameters, positions up to %d\n\n", (double)m->n_params / 1e9,
                c->n_ctx);
    line(out, "weights", p->weights,
         m->backend->device ? "copied to the device" : "mapped from the files");
    line(out, "scratch", p->scratch, "one chunk of the prompt");
    line(out, "tokenizer, room to look", p->other, "");
    int thousand = 1000 / KV_PAGE * KV_PAGE; /* whole pages, so that the figure is per token */
    line(out, "K/V per 1000 tokens",
         (size_t)((double)(pages(thousand) * p->kv_page) * 1000 / thousand),
         m->backend->dtype == DTYPE_BF16 ? "bfloat16" : "float32");
    line(out, "checkpoints per 1000 tokens",
         (size_t)((double)(pages(thousand) * p->checkpoint_layer) * 1000 / thousand *
                  (double)kept_layers(p, 1)),
         "every layer, float32");
    text_printf(out, "\nAt %d positions, by checkpoint stride:\n", n_ctx);
    snprintf(what, sizeof what, "K/V");
    line(out, what, pages(n_ctx) * p->kv_page, "");
    for (int stride = 1;; stride = stride * 2 < p->n_layers ? stride * 2 : p->n_layers) {
        char note[64];
        size_t all = plan_bytes(p, n_ctx, stride);
        snprintf(what, sizeof what,
                 stride == 1 ? "checkpoints every layer" : "checkpoints every %d layers", stride);
        snprintf(note, sizeof note, "in all %s%s", mem_format(all, size),
                 all <= budget ? "" : ", does not fit");
        line(out, what, pages(n_ctx) * p->checkpoint_layer * kept_layers(p, stride), note);
        if (stride >= p->n_layers)
            break;
    }
    text_printf(out, "\nBudget %s: ", mem_format(budget, size));
    int stride = plan_stride(p, n_ctx, budget);
    if (stride == 1) {
        text_printf(out, "%d positions fit.\n", n_ctx);
        return;
    }
    if (stride > 1)
        text_printf(out, "%d positions fit with checkpoints every %d layers.\n", n_ctx, stride);
    else if (budget < p->weights + p->scratch + p->other)
        text_printf(
            out, "too small for the weights and what running them takes: needs %s at the least.\n",
            mem_format(plan_bytes(p, KV_PAGE, p->n_layers), size));
    else
        text_printf(out, "%d positions do not fit.\n", n_ctx);
    int full = plan_positions(p, n_ctx, 1, budget),
        wide = plan_positions(p, n_ctx, p->n_layers, budget);
    if (full == n_ctx)
        text_printf(out, "  more of them would take over 1/%d of what the weights leave\n",
                    PLAN_CHECKPOINTS_PART);
    else if (full > 0)
        text_printf(out, "  fits with --ctx %d\n", full);
    if (stride == 0 && wide > full)
        text_printf(out, "  fits with --ctx %d, with checkpoints every %d layers\n", wide,
                    p->n_layers);
    if (stride == 0) /* rounded up, so that what is printed does fit */
        text_printf(out, "  fits with --mem %zuM\n", (plan_bytes(p, n_ctx, p->n_layers) >> 20) + 1);
}

/* About what a tokenizer holds: as much as its file. */
static size_t tokenizer_bytes(const char *folder)
{
    char path[4096];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    return n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0 ? (size_t)st.st_size : 0;
}

bool plan_report(struct ledger *l, const char *name, const struct device_options *device, int n_ctx,
                 size_t budget, struct text *out, struct error *err)
{
    char note[256];
    char *folder = hub_find(l, name, err);
    struct backend *b = folder ? device_open(l, folder, device, note, err) : NULL;
    struct model m;
    bool ok = b && model_map(&m, l, b, folder, false, err);
    if (ok) {
        struct plan p;
        if (budget == 0)
            budget = device_budget(b);
        if (n_ctx > m.config.n_ctx)
            ok =
                error_set(err, ERR_USAGE, "--ctx %d is above the model's own limit of %d positions",
                          n_ctx, m.config.n_ctx);
        if (n_ctx == 0)
            n_ctx = m.config.n_ctx;
        if (ok) {
            plan_make(&p, &m, n_ctx, b->chunk, ledger_total(l) + tokenizer_bytes(folder));
            report(&p, &m, n_ctx, budget, out);
        }
        model_close(&m);
    }
    if (ok && note[0])
        text_printf(out, "(%s)\n", note);
    mem_free(l, folder);
    backend_close(b);
    return ok && text_ok(out, err);
}
