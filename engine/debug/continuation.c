#include "engine/debug/continuation.h"

#include "engine/debug/session.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

void continuations_init(struct continuations *c, struct ledger *l)
{
    *c = (struct continuations){.ledger = l};
}

void continuations_fini(struct continuations *c)
{
    for (int i = 0; i < c->n; i++) {
        mem_free(c->ledger, c->list[i].ids);
        origins_fini(&c->list[i].origins);
    }
    if (c->ledger)
        mem_free(c->ledger, c->list);
    *c = (struct continuations){0};
}

/* ---- names ---- */

const char *continuation_name(int i, char out[8])
{
    char reversed[8];
    int n = 0, at = 0;
    for (int rest = i + 1; rest > 0; rest = (rest - 1) / 26)
        reversed[n++] = (char)('A' + (rest - 1) % 26);
    while (n > 0)
        out[at++] = reversed[--n];
    out[at] = '\0';
    return out;
}

int continuations_find(const struct continuations *c, const char *name)
{
    int number = 0;
    for (const char *p = name; *p; p++) {
        int letter = toupper((unsigned char)*p) - 'A';
        if (letter < 0 || letter >= 26 || number > c->n)
            return -1;
        number = 26 * number + letter + 1;
    }
    return number <= c->n ? number - 1 : -1;
}

/* ---- the list ---- */

bool continuations_add(struct continuations *c, const int32_t *ids, int n_prompt, int n,
                       const struct origins *origins, struct error *err)
{
    if (c->n == c->room) {
        int room = c->room ? 2 * c->room : 8;
        struct continuation *list =
            mem_resize(c->ledger, MEM_OTHER, c->list, (size_t)room * sizeof *list, err);
        if (!list)
            return false;
        c->list = list;
        c->room = room;
    }
    struct continuation *new = &c->list[c->n];
    *new = (struct continuation){.n_prompt = n_prompt, .n = n};
    origins_init(&new->origins, c->ledger);
    new->ids = mem_alloc_array(c->ledger, MEM_OTHER, (size_t)n, sizeof *ids, err);
    if (!new->ids || (origins && !origins_copy(&new->origins, origins, err))) {
        mem_free(c->ledger, new->ids);
        return false;
    }
    memcpy(new->ids, ids, (size_t)n * sizeof *ids);
    c->n++;
    return true;
}

bool continuations_extend(struct continuations *c, const int32_t *ids, int n, struct error *err)
{
    struct continuation *last = &c->list[c->n - 1];
    int32_t *more = mem_resize(c->ledger, MEM_OTHER, last->ids,
                               ((size_t)last->n + (size_t)n) * sizeof *more, err);
    if (!more)
        return false;
    memcpy(more + last->n, ids, (size_t)n * sizeof *more);
    last->ids = more;
    last->n += n;
    return true;
}

/* ---- the session's ---- */

/* How many tokens at the beginning are the same as the session's. */
static int common(const struct session *s, const struct continuation *c)
{
    int n = 0;
    while (n < c->n && n < s->trace.n_ids && c->ids[n] == patches_old_token(&s->patches, n))
        n++;
    return n;
}

struct continuation_place continuation_place(const struct session *s, int i)
{
    const struct continuation *c = &s->continuations.list[i];
    struct continuation_place at = {.branch = common(s, c)};
    at.this_prompt = s->has_prompt && s->n_prompt == c->n_prompt && at.branch >= c->n_prompt;
    at.present = at.this_prompt && at.branch == c->n && at.branch == s->trace.n_ids;
    return at;
}

bool session_keep(struct session *s, struct error *err)
{
    struct continuations *c = &s->continuations;
    size_t n = (size_t)s->trace.n_ids;
    char name[8];
    if (!s->has_prompt || s->trace.n_ids <= s->n_prompt)
        return true;
    for (int i = 0; i < c->n; i++) {
        struct continuation_place at = continuation_place(s, i);
        if (at.this_prompt && at.branch == s->trace.n_ids)
            return true;
    }
    int32_t *ids = mem_alloc_array(s->ledger, MEM_OTHER, n, sizeof *ids, err);
    if (!ids)
        return false;
    for (int i = 0; i < s->trace.n_ids; i++)
        ids[i] = patches_old_token(&s->patches, i);
    bool ok = continuations_add(c, ids, s->n_prompt, s->trace.n_ids, &s->origins, err);
    mem_free(s->ledger, ids);
    if (ok)
        snprintf(s->notice, sizeof s->notice, "what was generated is kept: continuation %s",
                 continuation_name(c->n - 1, name));
    return ok;
}

void session_cut(struct session *s, int from)
{
    trace_truncate(&s->trace, from, NULL);
    origins_cut(&s->origins, from);
    s->cuts++;
    s->cut_at = from;
    if (s->position < from && session_stands_on_known(s))
        return;
    int rows = trace_rows(&s->trace);
    s->position = rows < from ? rows : from - 1;
    s->op = -1;
}

bool session_recall(struct session *s, int i, struct error *err)
{
    char name[8];
    struct continuation_place at = continuation_place(s, i);
    if (!at.this_prompt)
        return error_set(err, ERR_STATE,
                         "continuation %s follows another prompt (info continuations shows it; run "
                         "it first)",
                         continuation_name(i, name));
    if (s->continuations.list[i].n > s->trace.n_ctx)
        return error_set(err, ERR_STATE,
                         "continuation %s has %d tokens, over the context limit of %d",
                         continuation_name(i, name), s->continuations.list[i].n, s->trace.n_ctx);
    if (at.present)
        return true;
    if (!session_keep(s, err))
        return false;
    /* Keeping may have moved the list. */
    const struct continuation *c = &s->continuations.list[i];
    if (at.branch < s->trace.n_ids)
        session_cut(s, at.branch);
    s->stopped_by = 0;
    if (at.branch < c->n && !session_append(s, c->ids + at.branch, c->n - at.branch, err))
        return false;
    return origins_copy(&s->origins, &c->origins, err);
}
