/* vm_find.c - what a device tells of rows that stay with it. */
#include "engine/forward/vm.h"

static bool reserve(struct vm *vm, size_t bytes, struct error *err)
{
    size_t floats = (bytes + sizeof(float) - 1) / sizeof(float);
    return vm_renew(vm, &vm->found, &vm->found_room, floats, err) &&
           vm_renew_host(vm, &vm->host, &vm->host_room, floats, err);
}

bool vm_best(struct vm *vm, const float *x, int n, int d, const int32_t *targets, int k,
             const struct best_row **rows, const struct best_entry **entries, struct error *err)
{
    struct backend *b = vm->backend;
    size_t first = (size_t)n * sizeof **rows;
    size_t bytes = first + (size_t)n * (size_t)k * sizeof **entries;
    if (!vm_reserve_bytes(vm, b->best_workspace(b, n, d, k), err) || !reserve(vm, bytes, err))
        return false;
    char *far = (char *)vm->found, *near = (char *)vm->host;
    b->best(b, x, n, d, targets, k, (void *)far, (void *)(far + first), vm->work);
    b->read(b, near, far, bytes);
    *rows = (const void *)near;
    *entries = (const void *)(near + first);
    return true;
}

bool vm_measure(struct vm *vm, const float *x, int n, int d, const struct measures **out,
                struct error *err)
{
    struct backend *b = vm->backend;
    size_t bytes = (size_t)n * sizeof **out;
    if (!reserve(vm, bytes, err))
        return false;
    b->measure(b, x, n, d, (void *)vm->found);
    b->read(b, vm->host, vm->found, bytes);
    *out = (const void *)vm->host;
    return true;
}
