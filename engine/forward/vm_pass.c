/* vm_pass.c - what a device tells of one pass: what was measured of rows that it wrote, and which
 * token is best behind it. */
#include "engine/forward/room.h"
#include "engine/forward/vm.h"

/* Structs that the device keeps before they are told: an op's, some times, between these. */
#define MEASURES_LEAST ((size_t)1 << 12)
#define MEASURES_MOST  ((size_t)1 << 16)
#define MEASURES_TIMES 16
/* And those for which the host has room when it fetches some. */
#define FETCHED_LEAST 256

static size_t bytes_of(size_t n_measures)
{
    return sizeof(struct vm_answer) + n_measures * sizeof(struct measures);
}

static size_t floats_of(size_t n_measures)
{
    return bytes_of(n_measures) / sizeof(float);
}

/* The measures in what a device tells, at either place. */
static void *measures_in(void *told)
{
    return (char *)told + sizeof(struct vm_answer);
}

static bool make_room(struct vm *vm, struct vm_pass *p, size_t n, struct error *err)
{
    return vm_renew(vm, &p->told, &p->room, floats_of(n), err);
}

bool vm_expect(struct vm *vm, size_t n, struct error *err)
{
    vm_forget(vm);
    return make_room(vm, &vm->passes[vm->pass], n, err);
}

bool vm_note(struct vm *vm, const struct hooks *tap, const struct op_view *v, struct error *err)
{
    struct vm_pass *p = &vm->passes[vm->pass];
    int parts = v->heads > 1 ? v->heads : 1;
    size_t n = (size_t)v->n * (size_t)parts;
    size_t most = n * MEASURES_TIMES < MEASURES_LEAST  ? MEASURES_LEAST
                  : n * MEASURES_TIMES < MEASURES_MOST ? n * MEASURES_TIMES
                  : n < MEASURES_MOST                  ? MEASURES_MOST
                                                       : n;
    if (floats_of(p->n_measures + n) > p->room && !vm_tell(vm, tap, err))
        return false;
    if (p->n_measured == p->room_measured) {
        int room = p->room_measured ? 2 * p->room_measured : 64;
        struct vm_measured *list =
            mem_resize(vm->ledger, MEM_SCRATCH, p->measured, (size_t)room * sizeof *list, err);
        if (!list)
            return false;
        p->measured = list;
        p->room_measured = room;
    }
    /* Grown only while nothing is in it. */
    if (p->n_measures == 0 && !make_room(vm, p, most, err))
        return false;
    p->measured[p->n_measured++] = (struct vm_measured){*v, p->n_measures, parts};
    vm->backend->measure(vm->backend, v->data, (int)n, (int)v->row_stride / parts,
                         (struct measures *)measures_in(p->told) + p->n_measures);
    p->n_measures += n;
    return true;
}

/* ---- told ---- */

static void forget(struct vm_pass *p)
{
    p->n_measures = 0;
    p->n_measured = 0;
}

void vm_forget(struct vm *vm)
{
    forget(&vm->passes[vm->pass]);
}

static bool tell(struct vm_pass *p, const struct hooks *tap, const struct measures *all,
                 struct error *err)
{
    bool ok = true;
    for (int i = 0; ok && i < p->n_measured; i++)
        ok = tap->measured(tap->context, &p->measured[i].view, all + p->measured[i].at, err);
    forget(p);
    return ok;
}

bool vm_tell(struct vm *vm, const struct hooks *tap, struct error *err)
{
    struct vm_pass *p = &vm->passes[vm->pass];
    size_t bytes = p->n_measures * sizeof(struct measures);
    if (p->n_measured == 0)
        return true;
    if (!vm_renew_host(vm, &vm->host, &vm->host_room, bytes / sizeof(float), err)) {
        forget(p);
        return false;
    }
    vm->backend->read(vm->backend, vm->host, measures_in(p->told), bytes);
    return tell(p, tap, (const void *)vm->host, err);
}

/* ---- asked for, and waited for later ---- */

static bool reserve_fetched(struct vm *vm, struct vm_pass *p, size_t bytes, struct error *err)
{
    struct backend *b = vm->backend;
    if (bytes <= p->fetched_bytes)
        return true;
    if (p->fetched && !vm_sync(vm, err)) /* a fetch that nobody waited for may be on its way */
        return false;
    size_t room = bytes_of(FETCHED_LEAST) > bytes ? bytes_of(FETCHED_LEAST) : bytes;
    if (p->fetched)
        b->unstage(b, p->fetched);
    ledger_give(vm->ledger, MEM_SCRATCH, MEM_HOST, p->fetched_bytes);
    p->fetched = NULL;
    p->fetched_bytes = 0;
    if (!ledger_take(vm->ledger, MEM_SCRATCH, MEM_HOST, room, err))
        return false;
    p->fetched = b->stage(b, room);
    if (!p->fetched) {
        ledger_give(vm->ledger, MEM_SCRATCH, MEM_HOST, room);
        return error_set(err, ERR_MEMORY, "there is no host memory that the device could write");
    }
    p->fetched_bytes = room;
    return true;
}

bool vm_ask(struct vm *vm, const float *logits, struct error *err)
{
    struct backend *b = vm->backend;
    struct vm_pass *p = &vm->passes[vm->pass];
    int vocab = vm->model->config.n_vocab;
    size_t bytes = bytes_of(p->n_measures);
    if ((p->n_measures == 0 && !make_room(vm, p, 0, err)) || !reserve_fetched(vm, p, bytes, err) ||
        !vm_reserve_bytes(vm, b->best_workspace(b, 1, vocab, 1), err))
        return false;
    struct vm_answer *answer = (void *)p->told;
    b->best(b, logits, 1, vocab, NULL, 1, &answer->row, &answer->best, vm->work);
    b->fetch(b, vm->pass, p->fetched, p->told, bytes);
    vm->pass = !vm->pass;
    return true;
}

const struct best_entry *vm_token(const struct vm *vm, int pass)
{
    const struct vm_answer *answer = (const void *)vm->passes[pass].told;
    return &answer->best;
}

const struct vm_answer *vm_answer(struct vm *vm, int pass, struct error *err)
{
    char why[256];
    if (vm->backend->fetched(vm->backend, pass, why))
        return vm->passes[pass].fetched;
    error_set(err, ERR_DEVICE, "%s", why);
    return NULL;
}

bool vm_tell_pass(struct vm *vm, int pass, const struct hooks *tap, struct error *err)
{
    struct vm_pass *p = &vm->passes[pass];
    if (p->n_measured == 0)
        return true;
    if (vm_answer(vm, pass, err))
        return tell(p, tap, measures_in(p->fetched), err);
    forget(p);
    return false;
}

void vm_pass_fini(struct vm *vm, struct vm_pass *p)
{
    room_free(vm->ledger, vm->backend, MEM_SCRATCH, p->told, p->room * sizeof *p->told);
    if (p->fetched) {
        vm_sync(vm, NULL);
        vm->backend->unstage(vm->backend, p->fetched);
    }
    ledger_give(vm->ledger, MEM_SCRATCH, MEM_HOST, p->fetched_bytes);
    mem_free(vm->ledger, p->measured);
    *p = (struct vm_pass){0};
}
