/* vm_best.c - the best of rows that a device keeps. */
#include "engine/forward/vm.h"

bool vm_best(struct vm *vm, const float *x, int n, int d, const int32_t *targets, int k,
             const struct best_row **rows, const struct best_entry **entries, struct error *err)
{
    struct backend *b = vm->backend;
    size_t first = (size_t)n * sizeof **rows,
           bytes = first + (size_t)n * (size_t)k * sizeof **entries;
    if (!vm_reserve_bytes(vm, b->best_workspace(b, n, d, k), err) ||
        !vm_renew(vm, &vm->best, &vm->best_room, bytes / sizeof *vm->best, err) ||
        !vm_renew_host(vm, &vm->host, &vm->host_room, bytes / sizeof *vm->host, err))
        return false;
    char *far = (char *)vm->best, *near = (char *)vm->host;
    b->best(b, x, n, d, targets, k, (void *)far, (void *)(far + first), vm->work);
    b->read(b, near, far, bytes);
    *rows = (const void *)near;
    *entries = (const void *)(near + first);
    return true;
}
