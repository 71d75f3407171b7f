#include "engine/debug/origin.h"

#include "engine/debug/session.h"

#include <stdlib.h>
#include <string.h>

#define TYPED_SHOWN 200 /* bytes of what was typed */

void origins_init(struct origins *o, struct ledger *l)
{
    *o = (struct origins){.ledger = l};
}

void origins_fini(struct origins *o)
{
    origins_cut(o, 0);
    if (o->ledger)
        mem_free(o->ledger, o->list);
    *o = (struct origins){0};
}

void origins_cut(struct origins *o, int from)
{
    while (o->n > 0 && o->list[o->n - 1].from >= from)
        mem_free(o->ledger, o->list[--o->n].patches);
}

bool origins_add(struct origins *o, int from, const char *patches, struct error *err)
{
    const char *before = origins_at(o, from - 1);
    bool new = !before || strcmp(before, patches) != 0;
    char *copy = NULL;
    if (new && o->n == o->room) {
        int room = o->room ? 2 * o->room : 4;
        struct origin *list =
            mem_resize(o->ledger, MEM_OTHER, o->list, (size_t)room * sizeof *list, err);
        if (!list)
            return false;
        o->list = list;
        o->room = room;
    }
    if (new && !(copy = mem_strdup(o->ledger, MEM_OTHER, patches, err)))
        return false;
    origins_cut(o, from);
    if (new)
        o->list[o->n++] = (struct origin){from, copy};
    return true;
}

bool origins_copy(struct origins *to, const struct origins *from, struct error *err)
{
    struct origins copy;
    origins_init(&copy, to->ledger);
    for (int i = 0; i < from->n; i++)
        if (!origins_add(&copy, from->list[i].from, from->list[i].patches, err)) {
            origins_fini(&copy);
            return false;
        }
    origins_fini(to);
    *to = copy;
    return true;
}

const char *origins_at(const struct origins *o, int position)
{
    for (int i = o->n; i-- > 0;)
        if (o->list[i].from <= position)
            return o->list[i].patches;
    return NULL;
}

/* ---- what stands in a line ---- */

/* Reads "ID FIRST TEXT" and goes to the next line; false at the end. */
static bool next_line(const char **at, int *id, int *first, const char **typed, size_t *n)
{
    char *end;
    if (!**at)
        return false;
    *id = (int)strtol(*at, &end, 10);
    *first = (int)strtol(end, &end, 10);
    end += *end == ' ';
    *typed = end;
    *n = strcspn(end, "\n");
    *at = end + *n + (end[*n] == '\n');
    return true;
}

static bool names(const char *patches, int id)
{
    const char *typed;
    size_t n;
    int other, first;
    while (next_line(&patches, &other, &first, &typed, &n))
        if (other == id)
            return true;
    return false;
}

void origins_describe(struct text *out, const char *patches)
{
    const char *typed, *at = patches;
    size_t n;
    int id, first;
    while (next_line(&at, &id, &first, &typed, &n)) {
        text_printf(out, out->n > 0 ? ", %d: " : "%d: ", id);
        text_add_bytes(out, typed, n);
    }
}

/* ---- the session's ---- */

bool session_note_origin(struct session *s, int position, struct error *err)
{
    struct text t;
    text_init(&t, s->ledger, MEM_OTHER);
    text_add(&t, "");
    for (int i = 0; i < s->patches.n; i++) {
        const struct patch *p = &s->patches.list[i];
        const char *typed = p->text, *prefix = p->kind == PATCH_TOKEN ? "token " : "";
        if (!p->enabled)
            continue;
        text_printf(&t, "%d %d %s", p->id, p->first, prefix);
        for (size_t k = 0; typed[k] && k < TYPED_SHOWN; k++)
            text_add_bytes(&t, typed[k] == '\n' || typed[k] == '\r' ? " " : typed + k, 1);
        text_add(&t, strlen(typed) > TYPED_SHOWN ? " ...\n" : "\n");
    }
    bool ok = text_ok(&t, err) && origins_add(&s->origins, position, t.n > 0 ? t.data : "", err);
    text_fini(&t);
    return ok;
}

static void add_number(int *n, int *numbers, int id)
{
    if (*n < STALE_NAMED)
        numbers[*n] = id;
    (*n)++;
}

bool session_stale(const struct session *s, int position, struct stale *out)
{
    const char *then = origins_at(&s->origins, position), *at = then, *typed;
    size_t n;
    int id, first;
    *out = (struct stale){0};
    if (!then || position < s->n_prompt)
        return false;
    for (int i = 0; i < s->patches.n; i++) {
        const struct patch *p = &s->patches.list[i];
        if (p->enabled && p->first < position && !names(then, p->id))
            add_number(&out->n_since, out->since, p->id);
    }
    while (next_line(&at, &id, &first, &typed, &n)) {
        const struct patch *p = patches_find(&s->patches, id);
        if (first < position && !(p && p->enabled))
            add_number(&out->n_gone, out->gone, id);
    }
    return out->n_since > 0 || out->n_gone > 0;
}
