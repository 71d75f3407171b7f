#include "engine/debug/history.h"

#include "engine/debug/command.h"

#include <string.h>

void history_init(struct history *h, struct ledger *l)
{
    *h = (struct history){.ledger = l};
}

void snapshot_fini(struct snapshot *s, struct ledger *l)
{
    mem_free(l, s->ids);
    patches_drop_list(l, s->patches.list, s->patches.n);
    breakpoints_fini(&s->breakpoints);
    origins_fini(&s->origins);
    displays_fini(&s->displays);
    variables_fini(&s->variables);
    *s = (struct snapshot){0};
}

static void change_fini(struct history *h, struct change *c)
{
    mem_free(h->ledger, c->what);
    snapshot_fini(&c->before, h->ledger);
    snapshot_fini(&c->after, h->ledger);
}

void history_fini(struct history *h)
{
    for (int i = 0; i < h->n; i++)
        change_fini(h, &h->list[i]);
    if (h->ledger)
        mem_free(h->ledger, h->list);
    *h = (struct history){0};
}

bool snapshot_take(struct snapshot *out, const struct console *c, struct error *err)
{
    const struct session *s = c->session;
    size_t n = (size_t)s->trace.n_ids, taken = ledger_total(s->ledger);
    *out = (struct snapshot){.n_ids = s->trace.n_ids,
                             .n_prompt = s->n_prompt,
                             .position = s->position,
                             .op = s->op,
                             .has_prompt = s->has_prompt,
                             .at_start = s->at_start,
                             .sampler = s->sampler};
    origins_init(&out->origins, s->ledger);
    out->ids = mem_alloc_array(s->ledger, MEM_OTHER, n, sizeof *out->ids, err);
    bool ok = out->ids != NULL;
    if (ok && n > 0)
        memcpy(out->ids, s->trace.ids, n * sizeof *out->ids);
    ok = ok && patches_copy_list(s->ledger, &s->patches, &out->patches, err) &&
         breakpoints_copy(&out->breakpoints, &s->breakpoints, err) &&
         origins_copy(&out->origins, &s->origins, err) &&
         displays_copy(&out->displays, &c->displays, err) &&
         variables_share(&out->variables, &c->variables, err);
    if (ok)
        out->bytes = ledger_total(s->ledger) - taken;
    else
        snapshot_fini(out, s->ledger);
    return ok;
}

static bool sampler_differs(const struct sampler *a, const struct sampler *b)
{
    return a->greedy != b->greedy || a->temperature != b->temperature || a->top_p != b->top_p ||
           a->seed != b->seed || a->state != b->state;
}

bool snapshot_differs(const struct snapshot *then, const struct console *c)
{
    const struct session *s = c->session;
    size_t n = (size_t)then->n_ids;
    if (then->n_ids != s->trace.n_ids || then->n_prompt != s->n_prompt ||
        then->has_prompt != s->has_prompt || then->patches.n != s->patches.n ||
        then->breakpoints.n != s->breakpoints.n ||
        then->breakpoints.last_id != s->breakpoints.last_id ||
        sampler_differs(&then->sampler, &s->sampler) ||
        displays_differ(&then->displays, &c->displays) ||
        variables_differ(&then->variables, &c->variables))
        return true;
    for (int i = 0; i < then->patches.n; i++)
        if (then->patches.list[i].id != s->patches.list[i].id ||
            then->patches.list[i].enabled != s->patches.list[i].enabled)
            return true;
    return n > 0 && memcmp(then->ids, s->trace.ids, n * sizeof *then->ids) != 0;
}

static void drop_from(struct history *h, int from)
{
    for (int i = from; i < h->n; i++)
        change_fini(h, &h->list[i]);
    h->n = from;
    if (h->at > from)
        h->at = from;
}

static void drop_first(struct history *h)
{
    change_fini(h, &h->list[0]);
    memmove(h->list, h->list + 1, (size_t)(h->n - 1) * sizeof *h->list);
    h->n--;
    h->at--;
}

static size_t bytes_of(const struct history *h)
{
    size_t bytes = 0;
    for (int i = 0; i < h->n; i++)
        bytes += h->list[i].before.bytes + h->list[i].after.bytes;
    return bytes;
}

void history_clear(struct history *h)
{
    drop_from(h, 0);
}

bool history_add(struct console *c, const char *what, struct snapshot *before, struct error *err)
{
    struct history *h = &c->history;
    drop_from(h, h->at);
    if (h->n == h->room) {
        int room = h->room ? 2 * h->room : 16;
        struct change *list =
            mem_resize(h->ledger, MEM_OTHER, h->list, (size_t)room * sizeof *list, err);
        if (!list)
            return false;
        h->list = list;
        h->room = room;
    }
    char *copy = mem_strdup(h->ledger, MEM_OTHER, what, err);
    if (!copy)
        return false;
    before->bytes += variables_bytes_beyond(&before->variables, &c->variables);
    h->list[h->n++] = (struct change){.what = copy, .before = *before};
    h->at = h->n;
    h->added++;
    *before = (struct snapshot){0};
    while (h->n > HISTORY_MOST || (h->n > 1 && bytes_of(h) > HISTORY_BYTES))
        drop_first(h);
    return true;
}

/* All as it was. The snapshot stays whole: it may be wanted again. */
static bool restore(struct console *c, const struct snapshot *to, struct error *err)
{
    struct session *s = c->session;
    struct displays displays = {0};
    struct variables variables = {0};
    struct patches patches = {0};
    struct breakpoints breakpoints = {0};
    struct origins origins;
    int common = 0;
    origins_init(&origins, s->ledger);
    /* All that may fail for want of memory comes first. */
    bool ok = patches_copy_list(s->ledger, &to->patches, &patches, err) &&
              breakpoints_copy(&breakpoints, &to->breakpoints, err) &&
              origins_copy(&origins, &to->origins, err) &&
              displays_copy(&displays, &to->displays, err) &&
              variables_share(&variables, &to->variables, err);
    while (ok && common < to->n_ids && common < s->trace.n_ids &&
           to->ids[common] == s->trace.ids[common])
        common++;
    ok = ok && (common == s->trace.n_ids || session_keep(s, err));
    if (ok && common < s->trace.n_ids)
        trace_truncate(&s->trace, common, NULL);
    ok = ok && (common == to->n_ids ||
                trace_append(&s->trace, to->ids + common, to->n_ids - common, NULL, err));
    if (!ok) {
        patches_drop_list(s->ledger, patches.list, patches.n);
        breakpoints_fini(&breakpoints);
        origins_fini(&origins);
        displays_fini(&displays);
        variables_fini(&variables);
        return false;
    }
    origins_fini(&s->origins);
    s->origins = origins;
    patches_replace(&s->patches, patches.list, patches.n);
    breakpoints_replace(&s->breakpoints, &breakpoints);
    displays_replace(&c->displays, &displays);
    variables_replace(&c->variables, &variables);
    s->sampler = to->sampler;
    s->has_prompt = to->has_prompt;
    s->n_prompt = to->n_prompt;
    s->stopped_by = 0;
    s->position = to->has_prompt ? to->position : 0;
    s->op = -1;
    s->prompts++;
    s->at_start = to->at_start;
    if (!to->has_prompt)
        return true;
    ok = session_goto(s, to->position, to->op, err);
    s->at_start = to->at_start;
    return ok;
}

bool history_undo(struct console *console, const char **what, struct error *err)
{
    struct history *h = &console->history;
    if (h->at == 0)
        return error_set(err, ERR_STATE, "there is nothing to undo");
    struct change *c = &h->list[h->at - 1];
    snapshot_fini(&c->after, h->ledger);
    if (!snapshot_take(&c->after, console, err))
        return false;
    c->undone = true;
    h->at--;
    *what = c->what;
    bool ok = restore(console, &c->before, err);
    c->after.bytes += variables_bytes_beyond(&c->after.variables, &console->variables);
    return ok;
}

bool history_redo(struct console *console, const char **what, struct error *err)
{
    struct history *h = &console->history;
    if (h->at == h->n)
        return error_set(err, ERR_STATE, "there is nothing to redo");
    struct change *c = &h->list[h->at++];
    c->undone = false;
    *what = c->what;
    return restore(console, &c->after, err);
}
