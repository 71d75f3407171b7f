#include "engine/model/load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE                                                                                      \
    ((size_t)4 << 20) /* bytes that one thread reads at a time, as the device gets them            \
                       */
#define AT_ONCE ((size_t)64 << 10) /* bytes of a piece that are rounded at a time */
#define LEAST   ((size_t)64 << 10) /* of memory, for which it is not given up */
#define THREADS 8                  /* more do not read faster */

/* A file, and how far its jobs have been handed out. */
struct source {
    const char *path;
    int fd;
    int job, end; /* of the jobs, sorted by file and place */
    size_t at;    /* elements of that job's tensor */
};

struct piece {
    const struct load_job *job;
    int fd;
    size_t first, count; /* elements */
    char *staged;
    bool ok;
    struct error err;
};

struct loader {
    struct ledger *ledger;
    struct backend *backend;
    struct load_job *jobs;
    struct source *sources;
    int n_sources, turn;
    struct piece *pieces; /* of one half */
    int n_pieces;
    char *stage; /* two halves: one is filled while the device fetches the other */
    size_t half;
    size_t piece; /* bytes of one, at most */
};

static size_t each(const struct load_job *j)
{
    return dtype_size(j->dtype);
}

static size_t elements(const struct tensor *t)
{
    return t->bytes / dtype_size(t->dtype);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool read_bytes(const struct piece *p, void *to, size_t from, size_t bytes,
                       struct error *err)
{
    const struct tensor *t = p->job->tensor;
    for (size_t got = 0; got < bytes;) {
        ssize_t n = pread(p->fd, (char *)to + got, bytes - got, (off_t)(t->begin + from + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set(err, ERR_FILE, "%s: cannot read tensor \"%.100s\": %s", t->file,
                             t->name, strerror(errno));
        if (n == 0)
            return error_set(err, ERR_FILE,
                             "%s: became shorter while it was read: tensor \"%.100s\" ends behind "
                             "byte %zu",
                             t->file, t->name, t->begin + from + got);
        got += (size_t)n;
    }
    return true;
}

static bool fill_rounded(const struct piece *p, struct error *err)
{
    char raw[AT_ONCE];
    enum dtype from = p->job->tensor->dtype;
    size_t size = dtype_size(from), some;
    uint16_t *to = (uint16_t *)(void *)p->staged;
    for (size_t i = 0; i < p->count; i += some) {
        some = p->count - i < sizeof raw / size ? p->count - i : sizeof raw / size;
        if (!read_bytes(p, raw, (p->first + i) * size, some * size, err))
            return false;
        for (size_t k = 0; k < some; k++)
            to[i + k] = dtype_to_bf16(dtype_load(from, raw + k * size));
    }
    return true;
}

static bool fill(const struct piece *p, struct error *err)
{
    size_t size = each(p->job);
    if (p->job->dtype != p->job->tensor->dtype)
        return fill_rounded(p, err);
    return read_bytes(p, p->staged, p->first * size, p->count * size, err);
}

/* ---- handing out ----------------------------------------------------------------------------- */

static int job_order(const void *a, const void *b)
{
    const struct tensor *x = ((const struct load_job *)a)->tensor;
    const struct tensor *y = ((const struct load_job *)b)->tensor;
    int files = strcmp(x->file, y->file);
    return files ? files : (x->begin > y->begin) - (x->begin < y->begin);
}

static bool open_sources(struct loader *o, int n, struct error *err)
{
    qsort(o->jobs, (size_t)n, sizeof *o->jobs, job_order);
    o->sources = mem_alloc_array(o->ledger, MEM_OTHER, (size_t)n, sizeof *o->sources, err);
    for (int i = 0; o->sources && i < n; i++) {
        const char *path = o->jobs[i].tensor->file;
        struct source *s = &o->sources[o->n_sources];
        if (o->n_sources > 0 && strcmp(s[-1].path, path) == 0) {
            s[-1].end = i + 1;
            continue;
        }
        *s = (struct source){path, open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), i, i + 1, 0};
        if (s->fd < 0)
            return error_set(err, ERR_FILE, "cannot read %s: %s", path, strerror(errno));
        o->n_sources++;
    }
    return o->sources != NULL;
}

/* Two halves of pinned memory: as large as is useful, or as there is. */
static bool take_stage(struct loader *o, size_t total, struct error *err)
{
    size_t half = LOAD_STAGE / 2;
    while (half > LEAST && half / 2 >= total)
        half /= 2;
    for (; !o->stage && half >= LEAST; half /= 2) {
        if (!ledger_take(o->ledger, MEM_SCRATCH, MEM_HOST, 2 * half, half == LEAST ? err : NULL))
            continue;
        o->stage = o->backend->stage(o->backend, 2 * half);
        o->half = half;
        if (!o->stage)
            ledger_give(o->ledger, MEM_SCRATCH, MEM_HOST, 2 * half);
    }
    if (!o->stage && err && err->code)
        return false;
    if (!o->stage)
        return error_set(err, ERR_MEMORY, "there is no host memory to load through");
    o->piece = o->half < PIECE ? o->half : PIECE;
    o->pieces = mem_alloc_array(o->ledger, MEM_OTHER, o->half / o->piece, sizeof *o->pieces, err);
    return o->pieces != NULL;
}

/* The next piece of any file, each in its turn. False: there is none. */
static bool hand_out(struct loader *o, struct piece *p)
{
    for (int tried = 0; tried < o->n_sources; tried++) {
        struct source *s = &o->sources[o->turn++ % o->n_sources];
        while (s->job < s->end && s->at == elements(o->jobs[s->job].tensor)) {
            s->job++;
            s->at = 0;
        }
        if (s->job == s->end)
            continue;
        const struct load_job *j = &o->jobs[s->job];
        size_t left = elements(j->tensor) - s->at, most = o->piece / each(j);
        *p = (struct piece){.job = j, .fd = s->fd, .first = s->at};
        p->count = left < most ? left : most;
        s->at += p->count;
        return true;
    }
    return false;
}

/* Reads what fits into a half. */
static bool fill_half(struct loader *o, char *half, struct error *err)
{
    int most = (int)(o->half / o->piece);
    for (o->n_pieces = 0; o->n_pieces < most; o->n_pieces++) {
        struct piece *p = &o->pieces[o->n_pieces];
        if (!hand_out(o, p))
            break;
        p->staged = half + (size_t)o->n_pieces * o->piece;
    }
#pragma omp parallel for num_threads(THREADS) schedule(dynamic, 1)
    for (int i = 0; i < o->n_pieces; i++)
        o->pieces[i].ok = fill(&o->pieces[i], &o->pieces[i].err);
    for (int i = 0; i < o->n_pieces; i++)
        if (!o->pieces[i].ok) {
            if (err)
                *err = o->pieces[i].err;
            return false;
        }
    return true;
}

static bool wait_for(struct backend *b, struct error *err)
{
    char why[256];
    return b->sync(b, why) || error_set(err, ERR_DEVICE, "%s", why);
}

static bool send_half(struct loader *o, struct load_watch *w, struct error *err)
{
    /* The other half is on its way until here, and is filled next. */
    if (!wait_for(o->backend, err))
        return false;
    for (int i = 0; i < o->n_pieces; i++) {
        const struct piece *p = &o->pieces[i];
        size_t size = each(p->job);
        o->backend->send(o->backend, (char *)p->job->to + p->first * size, p->staged,
                         p->count * size);
        if (w)
            atomic_fetch_add(&w->done, p->count * dtype_size(p->job->tensor->dtype));
    }
    if (w && w->tell)
        w->tell(w);
    return !(w && w->interrupt && *w->interrupt) ||
           error_set(err, ERR_INTERRUPTED, "stopped while the weights were loaded");
}

bool load_tensors(struct ledger *l, struct backend *b, struct load_job *jobs, int n,
                  struct load_watch *watch, struct error *err)
{
    struct loader o = {.ledger = l, .backend = b, .jobs = jobs};
    size_t total = 0;
    for (int i = 0; i < n; i++)
        total += jobs[i].tensor->bytes;
    if (watch) {
        atomic_store(&watch->done, 0);
        atomic_store(&watch->total, total);
    }
    if (total == 0)
        return true;
    bool ok = open_sources(&o, n, err) && take_stage(&o, total, err);
    for (int turn = 0; ok; turn = !turn) {
        ok = fill_half(&o, o.stage + (size_t)turn * o.half, err);
        if (ok && o.n_pieces == 0)
            break;
        ok = ok && send_half(&o, watch, err);
    }
    /* Memory that the device reads is not given back before it has ended. */
    ok = wait_for(b, ok ? err : NULL) && ok;
    if (o.stage) {
        b->unstage(b, o.stage);
        ledger_give(l, MEM_SCRATCH, MEM_HOST, 2 * o.half);
    }
    for (int i = 0; i < o.n_sources; i++)
        close(o.sources[i].fd);
    mem_free(l, o.sources);
    mem_free(l, o.pieces);
    return ok;
}
