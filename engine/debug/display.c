#include "engine/debug/display.h"

#include <string.h>

void displays_init(struct displays *d, struct ledger *l)
{
    *d = (struct displays){.ledger = l};
}

void displays_fini(struct displays *d)
{
    for (int i = 0; i < d->n; i++)
        mem_free(d->ledger, d->list[i].expr);
    if (d->ledger)
        mem_free(d->ledger, d->list);
    displays_init(d, d->ledger);
}

static bool make_room(struct displays *d, int n, struct error *err)
{
    if (n <= d->room)
        return true;
    int room = 2 * d->room > n ? 2 * d->room : n;
    struct display *list =
        mem_resize(d->ledger, MEM_OTHER, d->list, (size_t)room * sizeof *list, err);
    if (!list)
        return false;
    d->list = list;
    d->room = room;
    return true;
}

int displays_add(struct displays *d, const char *expr, bool all, struct error *err)
{
    char *text = make_room(d, d->n + 1, err) ? mem_strdup(d->ledger, MEM_OTHER, expr, err) : NULL;
    if (!text)
        return 0;
    d->list[d->n++] = (struct display){++d->last_id, true, all, text};
    return d->last_id;
}

struct display *displays_find(const struct displays *d, int id, struct error *err)
{
    for (int i = 0; i < d->n; i++)
        if (d->list[i].id == id)
            return &d->list[i];
    error_set(err, ERR_USAGE, "there is no display %d", id);
    return NULL;
}

void displays_remove(struct displays *d, struct display *gone)
{
    mem_free(d->ledger, gone->expr);
    d->n--;
    memmove(gone, gone + 1, (size_t)(&d->list[d->n] - gone) * sizeof *gone);
}

bool displays_copy(struct displays *to, const struct displays *from, struct error *err)
{
    displays_init(to, from->ledger);
    if (!make_room(to, from->n, err))
        return false;
    for (; to->n < from->n; to->n++) {
        struct display *x = &to->list[to->n];
        *x = from->list[to->n];
        x->expr = mem_strdup(to->ledger, MEM_OTHER, x->expr, err);
        if (!x->expr) {
            displays_fini(to);
            return false;
        }
    }
    to->last_id = from->last_id;
    return true;
}

void displays_replace(struct displays *d, struct displays *from)
{
    int last = d->last_id > from->last_id ? d->last_id : from->last_id;
    displays_fini(d);
    *d = *from;
    d->last_id = last;
    *from = (struct displays){0};
}

bool displays_differ(const struct displays *a, const struct displays *b)
{
    if (a->n != b->n)
        return true;
    for (int i = 0; i < a->n; i++)
        if (a->list[i].id != b->list[i].id || a->list[i].enabled != b->list[i].enabled)
            return true;
    return false;
}
