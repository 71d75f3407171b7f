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
        .scratch = vm_scratch_bytes(m, m->backend, chunk, n_ctx),
        /* That much room is kept free beside the lists as they are by then. */
        .other = held + vm_list_bytes(n_ctx) + vm_room_bytes(m, n_ctx),
        .sizes = keep_sizes(m),
    };
}

static size_t pages(int n)
{
    return ((size_t)n + KV_PAGE - 1) / KV_PAGE;
}

static size_t checkpoint_bytes_of(const struct plan *p, int n, struct keep keep)
{
    return pages(n) * keep_bytes(&p->sizes, keep);
}

size_t plan_bytes(const struct plan *p, int n, struct keep keep)
{
    return p->weights + p->scratch + p->other + pages(n) * p->kv_page +
           checkpoint_bytes_of(p, n, keep);
}

bool plan_keep(const struct plan *p, int n, size_t budget, struct keep *keep)
{
    size_t most = budget > p->weights ? (budget - p->weights) / PLAN_CHECKPOINTS_PART : 0;
    bool fits;
    do
        fits = plan_bytes(p, n, *keep) <= budget;
    while ((!fits || checkpoint_bytes_of(p, n, *keep) > most) && keep_less(&p->sizes, keep));
    return fits;
}

int plan_positions(const struct plan *p, int limit, struct keep keep, size_t budget)
{
    if (budget < p->weights + p->scratch + p->other)
        return 0;
    size_t each = p->kv_page + keep_bytes(&p->sizes, keep);
    size_t fit = (budget - p->weights - p->scratch - p->other) / each * KV_PAGE;
    return fit < (size_t)limit ? (int)fit : limit;
}

static void line(struct text *out, const char *what, size_t bytes, const char *note)
{
    char size[24];
    text_printf(out, "  %-45s %11s%s%s\n", what, mem_format(bytes, size), *note ? "  " : "", note);
}

static void report(const struct plan *p, const struct model *m, int n_ctx, size_t budget,
                   struct text *out)
{
    const struct config *c = &m->config;
    char size[24], what[100], words[64];
    struct keep every = {.stride = 1}, least = keep_least(&p->sizes), keep = every;
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
         (size_t)((double)checkpoint_bytes_of(p, thousand, every) * 1000 / thousand),
         "every layer, float32");
    text_printf(out, "\nAt %d positions, by what checkpoints keep:\n", n_ctx);
    line(out, "K/V", pages(n_ctx) * p->kv_page, "");
    do {
        char note[64];
        size_t all = plan_bytes(p, n_ctx, keep);
        snprintf(what, sizeof what, "checkpoints %s", keep_words(keep, words));
        snprintf(note, sizeof note, "in all %s%s", mem_format(all, size),
                 all <= budget ? "" : ", does not fit");
        line(out, what, checkpoint_bytes_of(p, n_ctx, keep), note);
    } while (keep_less(&p->sizes, &keep));
    text_printf(out, "\nBudget %s: ", mem_format(budget, size));
    keep = every;
    bool fits = plan_keep(p, n_ctx, budget, &keep);
    if (fits && keep.stride == 1) {
        text_printf(out, "%d positions fit.\n", n_ctx);
        return;
    }
    if (fits)
        text_printf(out, "%d positions fit with checkpoints %s.\n", n_ctx, keep_words(keep, words));
    else if (budget < p->weights + p->scratch + p->other)
        text_printf(
            out, "too small for the weights and what running them takes: needs %s at the least.\n",
            mem_format(plan_bytes(p, KV_PAGE, least), size));
    else
        text_printf(out, "%d positions do not fit.\n", n_ctx);
    int full = plan_positions(p, n_ctx, every, budget),
        wide = plan_positions(p, n_ctx, least, budget);
    if (full == n_ctx)
        text_printf(out, "  more of them would take over 1/%d of what the weights leave\n",
                    PLAN_CHECKPOINTS_PART);
    else if (full > 0)
        text_printf(out, "  fits with --ctx %d\n", full);
    if (!fits && wide > full)
        text_printf(out, "  fits with --ctx %d, with checkpoints %s\n", wide,
                    keep_words(least, words));
    if (!fits) /* rounded up, so that what is printed does fit */
        text_printf(out, "  fits with --mem %zuM\n", (plan_bytes(p, n_ctx, least) >> 20) + 1);
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
            plan_make(&p, &m, n_ctx, b->chunk_last, ledger_total(l) + tokenizer_bytes(folder));
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
