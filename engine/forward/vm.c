#include "engine/forward/vm.h"

/* Floats of scores that a tile of rows may take where they are looked at. */
#define WIDE_FLOATS ((size_t)1 << 22)

bool vm_sync(struct vm *vm, struct error *err)
{
    char why[256];
    return vm->backend->sync(vm->backend, why) || error_set(err, ERR_DEVICE, "%s", why);
}

static bool patched(const struct vm_call *c, int op)
{
    return c->patches && c->patches->watch && c->patches->watch[op];
}

static bool watched(const struct vm_call *c, int op)
{
    return patched(c, op) || (c->tap && c->tap->watch[op]);
}

static size_t view_floats(const struct op_view *v)
{
    size_t rows = (size_t)v->n;
    return v->row_stride ? rows * v->row_stride : rows * (size_t)v->heads * (size_t)v->n_keys;
}

/* What is written on a device is fetched for the hooks, and put back where a patch may have
 * changed it. */
static bool call_hooks(struct vm *vm, const struct vm_call *c, const struct op_view *written,
                       struct error *err)
{
    struct backend *b = vm->backend;
    struct op_view v = *written;
    size_t floats = view_floats(&v);
    if (!watched(c, v.op))
        return true;
    if (b->device && v.row_stride && !patched(c, v.op) && c->tap->measured &&
        !(c->tap->whole && c->tap->whole[v.op]))
        return vm_note(vm, c->tap, &v, err);
    if (b->device) {
        if (!vm_renew_host(vm, &vm->host, &vm->host_room, floats, err))
            return false;
        b->read(b, vm->host, v.data, floats * sizeof(float));
        v.data = vm->host;
    }
    if (patched(c, v.op)) {
        if (!c->patches->written(c->patches->context, &v, err))
            return false;
        if (b->device)
            b->write(b, written->data, vm->host, floats * sizeof(float));
    }
    return !(c->tap && c->tap->watch[v.op]) || c->tap->written(c->tap->context, &v, err);
}

/* Scores, softmax and mix where one of them is looked at, or the stretch starts or ends
 * between them: in tiles of rows. i is the first of them to run. */
static bool attention_tiles(struct vm *vm, const struct vm_call *c, int i, int last,
                            const struct kv_view *kv, float *sums, struct error *err)
{
    struct backend *b = vm->backend;
    const struct program *p = &vm->model->program;
    const struct op *op = &p->ops[i];
    const struct attention *a = &op->attention;
    int first = i - (int)(op->kind - OP_SCORES); /* the scores' index */
    bool mixes = last >= first + 2;
    int head0 = mixes || !c->heads ? 0 : c->head0;
    int heads = mixes || !c->heads ? a->n_heads : c->heads;
    size_t row = (size_t)heads * (size_t)(c->pos0 + c->n);
    int tile = WIDE_FLOATS / row > 0 ? (int)(WIDE_FLOATS / row) : 1;
    if (tile > c->n)
        tile = c->n;
    /* Short of memory a smaller tile does as well. */
    while (i == first &&
           !vm_renew(vm, &c->frame->wide, &c->frame->wide_room, row * (size_t)tile, err)) {
        if (tile == 1)
            return false;
        tile = (tile + 1) / 2;
    }
    float *wide = c->frame->wide;
    const float *q = i == first ? vm_slot(vm, c->frame, op->in[0]) : NULL;
    size_t width = (size_t)a->n_heads * (size_t)a->d_head;
    float *z = mixes ? vm_slot(vm, c->frame, p->ops[first + 2].out) : NULL;
    for (int r = 0; r < c->n; r += tile) {
        int n = c->n - r < tile ? c->n - r : tile, pos = c->pos0 + r;
        struct op_view v = {.op = first,
                            .pos0 = pos,
                            .n = n,
                            .data = wide,
                            .head0 = head0,
                            .heads = heads,
                            .n_keys = pos + n,
                            .again = c->again || c->need != NULL};
        if (i <= first) {
            b->scores(b, a, kv, q + (size_t)r * width, pos, n, head0, heads, wide);
            if (!call_hooks(vm, c, &v, err))
                return false;
        }
        v.op = first + 1;
        if (i <= first + 1 && last >= first + 1) {
            b->softmax(b, a, wide, pos, n, heads, wide,
                       sums ? sums + (size_t)r * (size_t)heads : NULL);
            if (!call_hooks(vm, c, &v, err))
                return false;
        }
        if (mixes)
            b->mix(b, a, kv, wide, pos, n, 0, heads, z + (size_t)r * width, width);
    }
    return true;
}

/* Adds to attn_out what a patch changed of the heads' writes. Rows and elements that it left
 * alone keep their bits. */
static bool add_changes(struct vm *vm, const struct vm_call *c, const struct op *op, float *out,
                        struct error *err)
{
    struct backend *b = vm->backend;
    size_t D = (size_t)op->w.n_out, H = (size_t)(op->w.n_in / op->attention.d_head);
    size_t n = (size_t)c->n;
    const float *results = c->frame->wide;
    float *rows = out;
    if (b->device) {
        if (!vm_renew_host(vm, &vm->host, &vm->host_room, n * (H + 1) * D, err))
            return false;
        results = vm->host;
        rows = vm->host + n * H * D;
        b->read(b, vm->host, c->frame->wide, n * H * D * sizeof(float));
        b->read(b, rows, out, n * D * sizeof(float));
    }
    for (size_t r = 0; r < n; r++)
        for (size_t e = 0; e < D; e++) {
            double change = 0;
            for (size_t i = r * H * D + e; i < (r + 1) * H * D; i += D)
                change += (double)results[i] - (double)c->frame->before[i];
            if (change != 0)
                rows[r * D + e] += (float)change;
        }
    if (b->device)
        b->write(b, out, rows, n * D * sizeof(float));
    return true;
}

/* Each head's own write into the residual: z_h W_O_h, without the bias. */
static bool result(struct vm *vm, const struct vm_call *c, int i, struct error *err)
{
    const struct op *op = &vm->model->program.ops[i];
    int H = op->attention.n_heads, h = op->attention.d_head, D = op->w.n_out;
    size_t floats = (size_t)c->n * (size_t)op->width;
    if (!vm_renew(vm, &c->frame->wide, &c->frame->wide_room, floats, err))
        return false;
    const float *z = vm_slot(vm, c->frame, op->in[0]);
    for (int head = 0; head < H; head++) {
        struct matrix w = op->run.w;
        w.n_in = h;
        w.data = (const char *)w.data +
                 (ptrdiff_t)head * h * w.in_stride * (ptrdiff_t)dtype_size(w.dtype);
        vm->backend->matmul(vm->backend, z + head * h, (size_t)H * (size_t)h, &w, NULL,
                            c->frame->wide + head * D, (size_t)op->width, c->n, vm->work);
    }
    c->frame->result_patched = patched(c, i);
    if (!c->frame->result_patched)
        return true;
    if (!vm_renew_host(vm, &c->frame->before, &c->frame->before_room, floats, err))
        return false;
    vm->backend->read(vm->backend, c->frame->before, c->frame->wide, floats * sizeof(float));
    return true;
}

static void positions(struct vm *vm, const struct vm_call *c, const struct op *op, float *out)
{
    int32_t ids[256];
    for (int r = 0; r < c->n; r += 256) {
        int n = c->n - r < 256 ? c->n - r : 256;
        for (int k = 0; k < n; k++)
            ids[k] = c->pos0 + r + k + op->offset;
        vm->backend->embed(vm->backend, &op->run.w, ids, n, op->f,
                           out + (size_t)r * (size_t)op->width);
    }
}

/* ---- what lies rounded: see backend.brief ---- */

static bool takes_rounded(enum op_kind kind)
{
    return kind == OP_LINEAR || kind == OP_ROPE || kind == OP_STORE || kind == OP_SCORES ||
           kind == OP_GATE || kind == OP_ACTIVATE;
}

/* Whether it goes on from what the other kind wrote within a norm. */
static bool goes_on(enum op_kind kind, enum op_kind from)
{
    return from == OP_CENTER ? kind == OP_RMS || kind == OP_DIVIDE
                             : from == OP_DIVIDE && kind == OP_GAIN;
}

static bool outlives(const struct vm *vm, const struct vm_call *c, int i)
{
    const struct program *p = &vm->model->program;
    return p->slots[p->ops[i].out].last > c->to;
}

/* Whether rows lie rounded does not depend on who looks on, so that bits do not. */
static enum keeping keeping_of(const struct vm *vm, const struct vm_call *c, int i)
{
    const struct program *p = &vm->model->program;
    const struct op *op = &p->ops[i];
    bool rounds = takes_rounded(op->kind) || op->kind == OP_GAIN || op->kind == OP_MIX;
    bool within = !watched(c, i) && !outlives(vm, c, i);
    for (int j = i + 1; j <= p->slots[op->out].last; j++) {
        const struct op *r = &p->ops[j];
        if (r->in[0] != op->out && r->in[1] != op->out)
            continue;
        rounds = rounds && (takes_rounded(r->kind) || r->lazy);
        within = within && goes_on(r->kind, op->kind);
    }
    return rounds ? KEEP_ROUNDED : within ? KEEP_NOTHING : KEEP_FLOATS;
}

static void announce(struct vm *vm, const struct vm_call *c, int i)
{
    const struct op *op = &vm->model->program.ops[i];
    bool framed = op->out >= 0 && vm->model->program.slots[op->out].offset != SLOT_WIDE;
    if (vm->backend->brief && c->n > 1 && framed)
        vm->backend->brief(vm->backend, vm_slot(vm, c->frame, op->out), c->n, op->width,
                           keeping_of(vm, c, i));
}

static void widen(struct vm *vm, const struct vm_call *c, int slot)
{
    if (vm->backend->widen && c->n > 1 && slot >= 0)
        vm->backend->widen(vm->backend, vm_slot(vm, c->frame, slot));
}

static bool execute(struct vm *vm, const struct vm_call *c, int i, struct error *err)
{
    const struct op *op = &vm->model->program.ops[i];
    struct backend *b = vm->backend;
    struct frame *f = c->frame;
    const float *x = op->in[0] >= 0 ? vm_slot(vm, f, op->in[0]) : NULL;
    const float *y = op->in[1] >= 0 ? vm_slot(vm, f, op->in[1]) : NULL;
    float *out = op->out >= 0 ? vm_slot(vm, f, op->out) : NULL;
    size_t count = (size_t)c->n * (size_t)op->width;
    /* Norms see `groups` vectors a row. */
    int rows = c->n * op->groups, d = op->width / op->groups;
    for (int k = 0; k < 2 && !takes_rounded(op->kind); k++)
        widen(vm, c, op->in[k]);
    announce(vm, c, i);
    switch (op->kind) {
    case OP_EMBED:
        if (c->token)
            b->embed_best(b, &op->run.w, c->token, op->f, out);
        else
            b->embed(b, &op->run.w, c->ids + c->pos0, c->n, op->f, out);
        break;
    case OP_POSITIONS:
        positions(vm, c, op, out);
        break;
    case OP_ANGLES: {
        const struct rope *r = op->rope;
        b->angles(b, c->long_regime && r->inv_freq_long ? r->inv_freq_long : r->inv_freq, r->n_rot,
                  r->scale, c->pos0, c->n, out);
        break;
    }
    case OP_HOOK:
        break;
    case OP_ADD:
        b->add(b, x, y, out, count);
        break;
    case OP_CENTER:
        b->center(b, x, out, rows, d);
        break;
    case OP_RMS:
        b->rms(b, x, op->f, out, rows, vm->model->program.slots[op->in[0]].width / op->groups);
        break;
    case OP_DIVIDE:
        b->divide(b, x, y, out, rows, d);
        break;
    case OP_GAIN:
        b->gain(b, x, op->run.gain, op->run.bias, out, rows, d);
        break;
    case OP_LINEAR:
        b->matmul(b, x, (size_t)op->w.n_in, &op->run.w, op->run.bias, out, (size_t)op->width, c->n,
                  vm->work);
        if (out && f->result_patched && op->site == SITE_ATTN_OUT) {
            f->result_patched = false;
            return add_changes(vm, c, op, out, err);
        }
        break;
    case OP_ROPE:
        b->rope(b, x, y, op->rope->n_rot, op->rope->style, out, c->n, op->heads,
                op->width / op->heads);
        break;
    case OP_STORE: {
        if (c->again) /* they are there */
            break;
        struct kv_view kv = vm_kv(vm->model, b, c->kv_pages, op->layer);
        b->kv_store(b, &kv, c->pos0, c->n, x, y);
        break;
    }
    case OP_RESULT:
        return result(vm, c, i, err);
    case OP_ACTIVATE:
        b->activate(b, op->act, x, out, count);
        break;
    case OP_GATE:
        b->gate(b, op->act, x, y, out, count);
        break;
    case OP_SCORES:
    case OP_SOFTMAX:
    case OP_MIX:
    case OP_KINDS:
        break; /* attention: see vm_run */
    }
    return true;
}

/* Runs attention from op i; returns the last op that it covered, -1 on failure. */
static int attention(struct vm *vm, const struct vm_call *c, int i, struct error *err)
{
    const struct op *op = &vm->model->program.ops[i];
    int first = i - (int)(op->kind - OP_SCORES);
    int last = c->to < first + 2 ? c->to : first + 2;
    struct kv_view kv = vm_kv(vm->model, vm->backend, c->kv_pages, op->layer);
    bool looked = watched(c, first) || watched(c, first + 1);
    bool attends = i == first && last == first + 2 && !looked;
    /* An exact device's rows have attend()'s bits whoever looks on: only a patched pattern is
     * mixed. The queries are still there, as a device's rows outlive their last reader
     * (program_place). */
    bool own = vm->backend->device && vm->backend->exact && last == first + 2 &&
               !patched(c, first) && !patched(c, first + 1);
    bool summed = c->sums && i <= first + 1 && last >= first + 1; /* all heads are run then */
    size_t heads = (size_t)op->attention.n_heads;
    if (summed && !vm_renew(vm, &vm->sums, &vm->sums_room, (size_t)c->n * heads, err))
        return -1;
    float *sums = summed ? vm->sums : NULL;
    if (last == first + 2)
        announce(vm, c, last);
    if (own ? looked && i <= first + 1 : !attends) {
        widen(vm, c, vm->model->program.ops[first].in[0]); /* tiles begin within the rows */
        if (!attention_tiles(vm, c, i, own ? first + 1 : last, &kv, own ? NULL : sums, err))
            return -1;
    }
    if (own || attends)
        vm->backend->attend(vm->backend, &op->attention, &kv,
                            vm_slot(vm, c->frame, vm->model->program.ops[first].in[0]), c->pos0,
                            c->n, vm_slot(vm, c->frame, vm->model->program.ops[last].out), sums,
                            vm->work);
    if (summed)
        c->sums(c->context, op->layer, c->pos0, c->n, sums);
    return last;
}

/* What a watched op wrote, for the hooks. */
static bool show(struct vm *vm, const struct vm_call *c, int i, struct error *err)
{
    const struct op *op = &vm->model->program.ops[i];
    struct op_view v = {.op = i,
                        .pos0 = c->pos0,
                        .n = c->n,
                        .data = vm_slot(vm, c->frame, op->out),
                        .row_stride = (size_t)op->width,
                        .heads = op->heads,
                        .again = c->again || c->need != NULL};
    return call_hooks(vm, c, &v, err);
}

static bool load_z(struct vm *vm, const struct vm_call *c, int i, struct error *err)
{
    const struct op *op = &vm->model->program.ops[i];
    struct vm_call patched_already = *c;
    patched_already.patches = NULL;
    announce(vm, c, i);
    c->load(c->context, op->layer, c->pos0, c->n, vm_slot(vm, c->frame, op->out));
    if (watched(c, i) || outlives(vm, c, i))
        widen(vm, c, op->out);
    return !watched(&patched_already, i) || show(vm, &patched_already, i, err);
}

static bool run(struct vm *vm, const struct vm_call *c, struct error *err)
{
    const struct program *p = &vm->model->program;
    for (int i = c->from; i <= c->to; i++) {
        const struct op *op = &p->ops[i];
        if (c->need ? !c->need[i] : op->lazy && !watched(c, i))
            continue;
        if (c->interrupt && *c->interrupt)
            return error_set(err, ERR_INTERRUPTED, "stopped");
        if (op->kind >= OP_SCORES && op->kind <= OP_MIX) {
            if (op->kind == OP_MIX && op->layer < c->given) {
                if (!load_z(vm, c, i, err))
                    return false;
                continue;
            }
            i = attention(vm, c, i, err);
            if (i < 0)
                return false;
            op = &p->ops[i];
            if (op->kind != OP_MIX)
                continue; /* its hooks were called tile by tile */
        } else if (!execute(vm, c, i, err)) {
            return false;
        }
        if (op->out >= 0 && (watched(c, i) || outlives(vm, c, i)))
            widen(vm, c, op->out);
        if (op->out >= 0 && watched(c, i) && !show(vm, c, i, err))
            return false;
        if (op->kind == OP_MIX && c->save)
            c->save(c->context, op->layer, c->pos0, c->n, vm_slot(vm, c->frame, op->out));
    }
    return true;
}

bool vm_run(struct vm *vm, const struct vm_call *c, struct error *err)
{
    bool ok = vm_reserve_work(vm, c->n, c->pos0 + c->n, err) && run(vm, c, err);
    if (vm->backend->brief)
        vm->backend->brief(vm->backend, NULL, 0, 0, KEEP_FLOATS);
    return ok;
}
