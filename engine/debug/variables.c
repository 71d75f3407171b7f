#include "engine/debug/variables.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define HISTORY_BYTES ((size_t)256 << 20) /* of printed values that are kept */

void variables_init(struct variables *v, struct ledger *l)
{
    *v = (struct variables){.ledger = l};
}

void variables_fini(struct variables *v)
{
    for (int i = 0; i < v->n_history; i++)
        value_fini(&v->history[i]);
    for (int i = 0; i < v->n_named; i++) {
        value_fini(&v->named[i].value);
        mem_free(v->ledger, v->named[i].name);
    }
    mem_free(v->ledger, v->history);
    mem_free(v->ledger, v->named);
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

static struct variable *find(const struct variables *v, const char *name)
{
    for (int i = 0; i < v->n_named; i++)
        if (strcmp(v->named[i].name, name) == 0)
            return &v->named[i];
    return NULL;
}

bool variables_set(struct variables *v, const char *name, const struct value *x, struct error *err)
{
    struct value copy;
    value_init(&copy, v->ledger);
    if (!value_copy(&copy, x, err)) {
        value_fini(&copy);
        return false;
    }
    struct variable *to = find(v, name);
    if (!to) {
        if (v->n_named == v->room_named) {
            int room = v->room_named ? 2 * v->room_named : 8;
            struct variable *p =
                mem_resize(v->ledger, MEM_VIEWS, v->named, (size_t)room * sizeof *p, err);
            if (!p) {
                value_fini(&copy);
                return false;
            }
            v->named = p;
            v->room_named = room;
        }
        to = &v->named[v->n_named];
        to->name = mem_strdup(v->ledger, MEM_VIEWS, name, err);
        if (!to->name) {
            value_fini(&copy);
            return false;
        }
        value_init(&to->value, v->ledger);
        v->n_named++;
    }
    value_move(&to->value, &copy);
    return true;
}

void variables_remove(struct variables *v, const char *name)
{
    struct variable *gone = find(v, name);
    if (!gone)
        return;
    value_fini(&gone->value);
    mem_free(v->ledger, gone->name);
    v->n_named--;
    memmove(gone, gone + 1, (size_t)(v->named + v->n_named - gone) * sizeof *gone);
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
    const struct variable *named = find(v, name);
    if (!named)
        return error_set(err, ERR_USAGE, "there is no $%s ($%s = EXPR makes it)", name, name);
    return value_copy(out, &named->value, err);
}
