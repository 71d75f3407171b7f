#include "engine/debug/variables.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define HISTORY_BYTES ((size_t)256 << 20) /* of printed values that are kept */

void variables_init(struct variables *v, struct ledger *l)
{
    *v = (struct variables){.ledger = l};
}

static void release(struct variables *v, struct variable *x)
{
    if (--x->holders > 0)
        return;
    value_fini(&x->value);
    mem_free(v->ledger, x->name);
    mem_free(v->ledger, x);
}

static void drop_named(struct variables *v)
{
    for (int i = 0; i < v->n_named; i++)
        release(v, v->named[i]);
    if (v->ledger)
        mem_free(v->ledger, v->named);
    v->named = NULL;
    v->n_named = v->room_named = 0;
}

void variables_fini(struct variables *v)
{
    for (int i = 0; i < v->n_history; i++)
        value_fini(&v->history[i]);
    drop_named(v);
    if (v->ledger)
        mem_free(v->ledger, v->history);
    variables_init(v, v->ledger);
}

int variables_add(struct variables *v, const struct value *x, struct error *err)
{
    if (v->n_history == v->room_history) {
        int room = v->room_history ? 2 * v->room_history : 16;
        struct value *p =
            mem_resize(v->ledger, MEM_VIEWS, v->history, (size_t)room * sizeof *p, err);
        if (!p)
            return 0;
        v->history = p;
        v->room_history = room;
    }
    struct value *to = &v->history[v->n_history];
    value_init(to, v->ledger);
    if (!value_copy(to, x, err)) {
        value_fini(to);
        return 0;
    }
    v->bytes += value_bytes(to);
    v->n_history++;
    while (v->bytes > HISTORY_BYTES && v->n_dropped < v->n_history - 1) {
        struct value *old = &v->history[v->n_dropped++];
        v->bytes -= value_bytes(old);
        value_fini(old);
    }
    return v->n_history;
}

bool variable_name_ok(const char *name, size_t n)
{
    if (n == 0 || n > 64 || isdigit((unsigned char)name[0]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && name[i] != '_')
            return false;
    return true;
}

/* Its place in the list, or n_named. */
static int find(const struct variables *v, const char *name)
{
    int i = 0;
    while (i < v->n_named && strcmp(v->named[i]->name, name) != 0)
        i++;
    return i;
}

static struct variable *make(struct ledger *l, const char *name, const struct value *x,
                             struct error *err)
{
    struct variable *new = mem_alloc(l, MEM_VIEWS, sizeof *new, err);
    if (!new)
        return NULL;
    new->holders = 1;
    value_init(&new->value, l);
    new->name = mem_strdup(l, MEM_VIEWS, name, err);
    if (new->name && value_copy(&new->value, x, err))
        return new;
    value_fini(&new->value);
    mem_free(l, new->name);
    mem_free(l, new);
    return NULL;
}

static bool make_room(struct variables *v, int n, struct error *err)
{
    if (n <= v->room_named)
        return true;
    int room = n > 8 ? 2 * n : 8;
    struct variable **p =
        mem_resize(v->ledger, MEM_VIEWS, v->named, (size_t)room * sizeof(struct variable *), err);
    if (!p)
        return false;
    v->named = p;
    v->room_named = room;
    return true;
}

bool variables_set(struct variables *v, const char *name, const struct value *x, struct error *err)
{
    struct variable *new = make_room(v, v->n_named + 1, err) ? make(v->ledger, name, x, err) : NULL;
    if (!new)
        return false;
    int i = find(v, name);
    if (i < v->n_named)
        release(v, v->named[i]);
    else
        v->n_named++;
    v->named[i] = new;
    return true;
}

void variables_remove(struct variables *v, const char *name)
{
    int i = find(v, name);
    if (i == v->n_named)
        return;
    release(v, v->named[i]);
    v->n_named--;
    memmove(v->named + i, v->named + i + 1, (size_t)(v->n_named - i) * sizeof(struct variable *));
}

/* ---- for undo ---- */

bool variables_share(struct variables *to, const struct variables *from, struct error *err)
{
    variables_init(to, from->ledger);
    if (!make_room(to, from->n_named, err))
        return false;
    for (; to->n_named < from->n_named; to->n_named++) {
        to->named[to->n_named] = from->named[to->n_named];
        to->named[to->n_named]->holders++;
    }
    return true;
}

void variables_replace(struct variables *v, struct variables *from)
{
    drop_named(v);
    v->named = from->named;
    v->n_named = from->n_named;
    v->room_named = from->room_named;
    *from = (struct variables){0};
}

bool variables_differ(const struct variables *a, const struct variables *b)
{
    if (a->n_named != b->n_named)
        return true;
    for (int i = 0; i < a->n_named; i++)
        if (a->named[i] != b->named[i])
            return true;
    return false;
}

size_t variables_bytes_beyond(const struct variables *a, const struct variables *b)
{
    size_t bytes = 0;
    for (int i = 0; i < a->n_named; i++) {
        int k = find(b, a->named[i]->name);
        if (k == b->n_named || b->named[k] != a->named[i])
            bytes += value_bytes(&a->named[i]->value);
    }
    return bytes;
}

bool variables_get(const struct variables *v, const char *name, struct value *out,
                   struct error *err)
{
    if (name[0] == '\0' || isdigit((unsigned char)name[0])) {
        long i = name[0] ? strtol(name, NULL, 10) : v->n_history;
        if (v->n_history == 0)
            return error_set(err, ERR_USAGE, "$%s: nothing was printed yet", name);
        if (i < 1 || i > v->n_history)
            return error_set(err, ERR_USAGE, "there is no $%s: $1 to $%d are there", name,
                             v->n_history);
        if (i <= v->n_dropped)
            return error_set(err, ERR_STATE,
                             "$%ld was dropped to save memory ($name = EXPR keeps a value)", i);
        return value_copy(out, &v->history[i - 1], err);
    }
    int i = find(v, name);
    if (i == v->n_named)
        return error_set(err, ERR_USAGE, "there is no $%s ($%s = EXPR makes it)", name, name);
    return value_copy(out, &v->named[i]->value, err);
}
