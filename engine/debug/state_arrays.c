/* state_arrays.c - arrays that a script names, in a file beside it. */
#include "engine/debug/state.h"

#include "engine/model/safetensors.h"

#include <stdio.h>

bool state_arrays_add(struct state_arrays *a, const char *name, const struct value *v,
                      struct error *err)
{
    if (a->n == a->room) {
        int room = a->room ? 2 * a->room : 8;
        void *more = mem_resize(a->ledger, MEM_OTHER, a->list, (size_t)room * sizeof *a->list, err);
        if (!more)
            return false;
        a->list = more;
        a->room = room;
    }
    struct state_array *x = &a->list[a->n++];
    snprintf(x->name, sizeof x->name, "%s", name);
    x->value = v;
    return true;
}

bool state_arrays_write(const struct state_arrays *a, const char *path, struct error *err)
{
    size_t n = (size_t)a->n;
    struct tensor_spec *specs = mem_alloc_array(a->ledger, MEM_OTHER, n, sizeof *specs, err);
    if (!specs)
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct value *v = a->list[i].value;
        specs[i] = (struct tensor_spec){.name = a->list[i].name, .n_dims = v->n_dims};
        for (int d = 0; d < v->n_dims; d++)
            specs[i].dims[d] = (int64_t)v->dims[d];
    }
    struct tensor_writer *t = tensor_writer_open(a->ledger, path, specs, a->n, err);
    bool ok = t != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = tensor_writer_add(t, a->list[i].value->data, a->list[i].value->count, err);
    mem_free(a->ledger, specs);
    if (ok)
        return tensor_writer_commit(t, err);
    tensor_writer_abandon(t);
    return false;
}

void state_arrays_fini(struct state_arrays *a)
{
    mem_free(a->ledger, a->list);
    a->list = NULL;
    a->n = a->room = 0;
}
