/* vm_memory.c - frames and scratch, on the host or a device. */
#include "engine/forward/room.h"
#include "engine/forward/vm.h"

#include <stdint.h>

size_t vm_kv_page_bytes(const struct model *m, struct backend *b)
{
    return 2 * (size_t)m->config.n_layers * b->kv_bytes(b, m->config.n_kv_heads, m->config.d_head);
}

struct kv_view vm_kv(const struct model *m, struct backend *b, void *const *pages, int layer)
{
    size_t bytes = b->kv_bytes(b, m->config.n_kv_heads, m->config.d_head);
    return (struct kv_view){.pages = pages,
                            .key_offset = 2 * (size_t)layer * bytes,
                            .value_offset = (2 * (size_t)layer + 1) * bytes,
                            .n_kv_heads = m->config.n_kv_heads,
                            .d_head = m->config.d_head};
}

float *vm_slot(const struct vm *vm, const struct frame *f, int slot)
{
    const struct slot *s = &vm->model->program.slots[slot];
    return s->offset == SLOT_WIDE ? f->wide : f->slots + s->offset * (size_t)f->n;
}

bool vm_renew(struct vm *vm, float **p, size_t *room, size_t floats, struct error *err)
{
    if (floats <= *room)
        return true;
    room_free(vm->ledger, vm->backend, MEM_SCRATCH, *p, *room * sizeof **p);
    *room = 0;
    *p = floats <= SIZE_MAX / sizeof **p
             ? room_alloc(vm->ledger, vm->backend, MEM_SCRATCH, floats * sizeof **p, err)
             : NULL;
    if (!*p)
        return false;
    *room = floats;
    return true;
}

bool vm_renew_host(struct vm *vm, float **p, size_t *room, size_t floats, struct error *err)
{
    if (floats <= *room)
        return true;
    mem_free(vm->ledger, *p);
    *room = 0;
    *p = mem_alloc_array(vm->ledger, MEM_SCRATCH, floats, sizeof **p, err);
    if (!*p)
        return false;
    *room = floats;
    return true;
}

bool vm_reserve(struct vm *vm, struct frame *f, int n, size_t width, struct error *err)
{
    const float *before = f->slots;
    if (!vm_renew(vm, &f->slots, &f->room, width * (size_t)n, err))
        return false;
    if (f->slots != before || f->n != n)
        f->last = 0;
    f->n = n;
    return true;
}

bool vm_reserve_bytes(struct vm *vm, size_t bytes, struct error *err)
{
    if (bytes <= vm->work.bytes)
        return true;
    room_free(vm->ledger, vm->backend, MEM_SCRATCH, vm->work.data, vm->work.bytes);
    vm->work.bytes = 0;
    vm->work.data = room_alloc(vm->ledger, vm->backend, MEM_SCRATCH, bytes, err);
    if (!vm->work.data)
        return false;
    vm->work.bytes = bytes;
    return true;
}

bool vm_reserve_work(struct vm *vm, int n, int n_keys, struct error *err)
{
    return vm_reserve_bytes(vm, vm->backend->workspace_bytes(vm->backend, n, n_keys), err);
}

size_t vm_scratch_bytes(const struct model *m, struct backend *b, int n, int n_keys)
{
    size_t frame = m->program.frame_width * (size_t)n;
    if (frame < m->program.tail_width)
        frame = m->program.tail_width;
    return frame * sizeof(float) + b->workspace_bytes(b, n, n_keys);
}

size_t vm_list_bytes(int n_keys)
{
    size_t pages = (size_t)n_keys / KV_PAGE + 16;
    return (size_t)n_keys * sizeof(int32_t) + pages * (2 * sizeof(void *) + sizeof(size_t));
}

size_t vm_room_bytes(const struct model *m, int n_keys)
{
    size_t rows = 4 * (size_t)m->config.n_heads * (size_t)n_keys + 4 * (size_t)m->config.n_vocab +
                  m->program.frame_width;
    /* Lists double as they grow. */
    return rows * sizeof(float) + 2 * vm_list_bytes(n_keys) + ((size_t)256 << 10);
}

void frame_fini(struct vm *vm, struct frame *f)
{
    room_free(vm->ledger, vm->backend, MEM_SCRATCH, f->slots, f->room * sizeof *f->slots);
    room_free(vm->ledger, vm->backend, MEM_SCRATCH, f->wide, f->wide_room * sizeof *f->wide);
    mem_free(vm->ledger, f->before);
    *f = (struct frame){0};
}

void vm_fini(struct vm *vm)
{
    room_free(vm->ledger, vm->backend, MEM_SCRATCH, vm->work.data, vm->work.bytes);
    mem_free(vm->ledger, vm->host);
    room_free(vm->ledger, vm->backend, MEM_SCRATCH, vm->measures,
              vm->measures_room * sizeof *vm->measures);
    mem_free(vm->ledger, vm->measured);
    room_free(vm->ledger, vm->backend, MEM_SCRATCH, vm->found, vm->found_room * sizeof *vm->found);
    frame_fini(vm, &vm->live);
    frame_fini(vm, &vm->run);
}
