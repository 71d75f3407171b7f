#include "engine/debug/session.h"

#include "engine/debug/watcher.h"
#include "engine/model/device.h"
#include "engine/model/hub.h"
#include "engine/model/place.h"
#include "engine/model/plan.h"

#include <stdio.h>
#include <string.h>

/* ---- opening ---- */

static struct backend *open_backend(struct session *s, const char *folder,
                                    const struct session_options *o, struct error *err)
{
    struct device_options device = {o->device, o->dtype, o->n_threads, o->isa, o->exact};
    return o->backend ? o->backend : device_open(s->ledger, folder, &device, s->device_note, err);
}

/* What a device keeps for itself of the host's memory. */
static bool take_held(struct session *s, struct error *err)
{
    if (!ledger_take(s->ledger, MEM_SCRATCH, MEM_HOST, s->backend->held, err))
        return false;
    s->held = s->backend->held;
    return true;
}

/* Chooses what checkpoints keep for a context that was asked for, refuses what cannot fit. */
static bool plan(struct session *s, const struct session_options *o, struct trace_options *trace,
                 struct error *err)
{
    struct plan p;
    int chunk = trace->chunk > 0 ? trace->chunk : s->backend->chunk_last;
    /* Without --ctx memory is taken as tokens come: the least that must fit is one page. */
    int n = trace->n_ctx > 0 && trace->n_ctx <= s->model.config.n_ctx ? trace->n_ctx : KV_PAGE;
    plan_make(&p, &s->model, n, chunk, ledger_total(s->ledger));
    struct keep keep = keep_from(&p.sizes, trace->stride), least = keep_least(&p.sizes);
    keep.attention = keep.attention || trace->attention;
    if (!plan_keep(&p, n, s->budget, &keep)) {
        char need[24], have[24], words[64], hint[120] = "";
        int fit = plan_positions(&p, n, least, s->budget);
        if (fit > 0)
            snprintf(hint, sizeof hint, "; fits with --ctx %d, with checkpoints %s", fit,
                     keep_words(least, words));
        return error_set(
            err, ERR_MEMORY,
            "%s with %d positions needs %s and the budget%s is %s%s (--plan tells more)",
            s->model.name, n, mem_format(plan_bytes(&p, n, least), need),
            o->budget ? " (--mem)" : "", mem_format(s->budget, have), hint);
    }
    trace->stride = keep.stride;
    trace->attention = keep.attention;
    /* What is mapped is not counted against it; a device's copy is. */
    ledger_set_budget(s->ledger, s->backend->device ? s->budget : s->budget - p.weights);
    return true;
}

bool session_open(struct session *s, struct ledger *l, const char *model,
                  const struct session_options *o, struct error *err)
{
    memset(s, 0, sizeof *s);
    s->ledger = l;
    s->op = -1;
    breakpoints_init(&s->breakpoints, l);
    continuations_init(&s->continuations, l);
    origins_init(&s->origins, l);
    s->sampler =
        (struct sampler){.greedy = true, .temperature = 1, .top_p = 1, .seed = 1, .state = 1};
    char *folder = hub_find(l, model, err);
    if (!folder)
        return false;
    s->backend = open_backend(s, folder, o, err);
    if (s->backend)
        s->budget = o->budget ? o->budget : device_budget(s->backend);
    bool ok =
        s->backend && take_held(s, err) && model_map(&s->model, l, s->backend, folder, true, err);
    mem_free(l, folder);
    struct trace_options trace = o->trace;
    ok = ok && plan(s, o, &trace, err) && model_place(&s->model, o->load, err) &&
         trace_open(&s->trace, &s->model, &trace, err) && patches_init(&s->patches, &s->trace, err);
    if (ok && s->model.notice[0])
        snprintf(s->notice, sizeof s->notice, "%s", s->model.notice);
    if (!ok)
        session_close(s);
    return ok;
}

void session_close(struct session *s)
{
    watcher_close(s->watcher);
    breakpoints_fini(&s->breakpoints);
    continuations_fini(&s->continuations);
    origins_fini(&s->origins);
    patches_fini(&s->patches);
    trace_close(&s->trace);
    model_close(&s->model);
    backend_close(s->backend);
    if (s->ledger) {
        ledger_give(s->ledger, MEM_SCRATCH, MEM_HOST, s->held);
        ledger_set_budget(s->ledger, 0);
    }
    memset(s, 0, sizeof *s);
}

/* ---- the prompt ---- */

bool session_append(struct session *s, const int32_t *ids, int n, struct error *err)
{
    bool recompute;
    int from = s->trace.n_ids;
    if (!trace_append(&s->trace, ids, n, &recompute, err))
        return false;
    patches_meet_tokens(&s->patches, from);
    if (recompute)
        snprintf(
            s->notice, sizeof s->notice,
            "the sequence is now longer than %d positions: RoPE's long factors hold for all of "
            "it, and everything is recomputed (--rope short keeps the short ones)",
            s->model.ropes[0].original);
    return true;
}

bool session_prompt_ids(struct session *s, const int32_t *ids, int n, struct error *err)
{
    if (n <= 0)
        return error_set(err, ERR_USAGE, "the prompt is empty: there is no token to run");
    /* The new prompt is checked whole before the old one goes. */
    int vocab = s->model.config.n_vocab;
    for (int i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            return error_set(err, ERR_USAGE, "token id %d is outside the vocabulary (0 to %d)",
                             (int)ids[i], vocab - 1);
    if (n > s->trace.n_ctx)
        return error_set(err, ERR_USAGE, "a prompt of %d tokens is over the context limit of %d%s",
                         n, s->trace.n_ctx,
                         s->trace.n_ctx < s->model.config.n_ctx ? " (--ctx)" : "");
    if (!session_keep(s, err))
        return false;
    trace_truncate(&s->trace, 0, NULL);
    origins_cut(&s->origins, 0);
    s->has_prompt = false;
    if (!session_append(s, ids, n, err))
        return false;
    s->has_prompt = true;
    s->n_prompt = n;
    s->prompts++;
    s->position = 0;
    s->op = -1;
    s->at_start = true;
    s->stopped_by = 0;
    return true;
}

bool session_prompt_text(struct session *s, const char *text, size_t n, struct error *err)
{
    if (!s->model.tokenizer)
        return error_set(err, ERR_STATE,
                         "%s has no tokenizer.json: give the prompt as ids (ids N...)",
                         s->model.folder);
    int32_t *ids;
    int n_ids;
    if (!tokenizer_encode(s->model.tokenizer, text, n, true, &ids, &n_ids, err))
        return false;
    bool ok = session_prompt_ids(s, ids, n_ids, err);
    mem_free(s->ledger, ids);
    return ok;
}

bool session_piece(const struct session *s, int32_t id, struct text *out, struct error *err)
{
    if (!s->model.tokenizer) {
        text_printf(out, "#%d", (int)id);
        return text_ok(out, err);
    }
    return tokenizer_piece(s->model.tokenizer, id, out, err);
}

/* ---- what is known ---- */

bool session_has(const struct session *s, int position, int op, struct error *err)
{
    char name[64], here[64] = "its start";
    const struct op *o = &s->model.program.ops[op];
    if (!s->has_prompt)
        return error_set(err, ERR_STATE, "there is no prompt yet (run TEXT)");
    if (position < 0 || position >= s->trace.n_ids)
        return error_set(err, ERR_USAGE, "there is no position %d: the sequence has %d tokens",
                         position, s->trace.n_ids);
    if (trace_has(&s->trace, position, op))
        return true;
    if (s->op >= 0 && s->model.program.ops[s->op].site)
        site_short_name(s->model.program.ops[s->op].site, s->model.program.ops[s->op].layer, here);
    return error_set(err, ERR_STATE,
                     "%s of position %d is not computed yet: the cursor is at "
                     "position %d, %s",
                     site_short_name(o->site, o->layer, name), position, s->position, here);
}

int session_known(const struct session *s, int op)
{
    int n = trace_rows(&s->trace);
    while (n < s->trace.n_ids && trace_has(&s->trace, n, op))
        n++;
    return n;
}
