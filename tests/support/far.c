#include "tests/support/far.h"

#include "engine/analysis/top.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA  ((size_t)256 << 20)
#define BLOCKS 65536
#define ALIGN  64
#define SENT   1024

struct block {
    size_t at, bytes;
};

static struct backend *near; /* the CPU */
static long n_reads;
static size_t bytes_read;
static struct backend far;
static char *arena;
static struct block blocks[BLOCKS]; /* in the order of their places */
static int n_blocks;
static size_t top; /* what was ever handed out lies below it */

static bool unguarded;

static void allow(int how)
{
    if (top > 0 && !unguarded && mprotect(arena, top, how) != 0) {
        perror("far: mprotect");
        abort();
    }
}

static void enter(void)
{
    allow(PROT_READ | PROT_WRITE);
}

static void leave(void)
{
    allow(PROT_NONE);
}

void far_unguard(void)
{
    unguarded = true;
    if (mprotect(arena, ARENA, PROT_READ | PROT_WRITE) != 0) {
        perror("far: mprotect");
        abort();
    }
}

void far_round(void)
{
    far.dtype = DTYPE_BF16;
}

/* ---- memory ---- */

static void *far_alloc(struct backend *b, size_t bytes)
{
    size_t at = 0;
    int i = 0;
    (void)b;
    bytes = bytes ? (bytes + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
    for (; i < n_blocks && blocks[i].at - at < bytes; i++)
        at = blocks[i].at + blocks[i].bytes;
    if (n_blocks == BLOCKS || bytes > ARENA || at > ARENA - bytes)
        return NULL;
    memmove(&blocks[i + 1], &blocks[i], (size_t)(n_blocks++ - i) * sizeof *blocks);
    blocks[i] = (struct block){at, bytes};
    /* Page boundaries: mprotect takes whole pages. */
    if (at + bytes > top)
        top = (at + bytes + 65535) / 65536 * 65536;
    enter();
    memset(arena + at, 0xff, bytes);
    leave();
    return arena + at;
}

static void far_free(struct backend *b, void *p)
{
    (void)b;
    for (int i = 0; p && i < n_blocks; i++)
        if (arena + blocks[i].at == p) {
            memmove(&blocks[i], &blocks[i + 1], (size_t)(--n_blocks - i) * sizeof *blocks);
            return;
        }
    if (p) {
        fputs("far: a block is freed that was not given\n", stderr);
        abort();
    }
}

static void far_memory(struct backend *b, size_t *available, size_t *total)
{
    size_t held = 0;
    (void)b;
    for (int i = 0; i < n_blocks; i++)
        held += blocks[i].bytes;
    *available = ARENA - held;
    *total = ARENA;
}

/* ---- loading: what is sent arrives at the next sync, as late as can be ---- */

static struct sent {
    void *to;
    const void *from;
    size_t bytes;
} sent[SENT];
static int n_sent;

/* What was fetched, as it was then: it arrives when it is waited for. */
static struct fetch {
    void *to, *copy;
    size_t bytes;
} fetches[2];

static void *far_stage(struct backend *b, size_t bytes)
{
    (void)b;
    return malloc(bytes);
}

static void far_unstage(struct backend *b, void *p)
{
    (void)b;
    bool fetching = false;
    for (int i = 0; i < 2; i++)
        fetching = fetching || (fetches[i].copy && fetches[i].to == p);
    if (n_sent > 0 || fetching) {
        fputs("far: memory is given back that is still in use\n", stderr);
        abort();
    }
    free(p);
}

static void far_send(struct backend *b, void *p, const void *staged, size_t bytes)
{
    (void)b;
    if (n_sent == SENT) {
        fputs("far: too much is sent without a sync\n", stderr);
        abort();
    }
    sent[n_sent++] = (struct sent){p, staged, bytes};
}

static void arrive(struct fetch *f)
{
    if (f->copy)
        memcpy(f->to, f->copy, f->bytes);
    free(f->copy);
    f->copy = NULL;
}

static bool far_sync(struct backend *b, char why[256])
{
    (void)b;
    enter();
    for (int i = 0; i < n_sent; i++)
        memcpy(sent[i].to, sent[i].from, sent[i].bytes);
    leave();
    n_sent = 0;
    for (int i = 0; i < 2; i++)
        arrive(&fetches[i]);
    why[0] = '\0';
    return true;
}

static void far_fetch(struct backend *b, int number, void *staged, const void *p, size_t bytes)
{
    struct fetch *f = &fetches[number];
    (void)b;
    arrive(f);
    n_reads++;
    bytes_read += bytes;
    *f = (struct fetch){staged, malloc(bytes), bytes};
    if (!f->copy)
        abort();
    enter();
    memcpy(f->copy, p, bytes);
    leave();
    memset(staged, 0xff, bytes);
}

static bool far_fetched(struct backend *b, int number, char why[256])
{
    (void)b;
    arrive(&fetches[number]);
    why[0] = '\0';
    return true;
}

static void far_close(struct backend *b)
{
    (void)b;
    backend_close(near);
    munmap(arena, ARENA);
    if (n_blocks > 0) {
        fprintf(stderr, "far: %d blocks were not given back\n", n_blocks);
        abort();
    }
}

static size_t far_workspace_bytes(struct backend *b, int n, int n_keys)
{
    (void)b;
    return near->workspace_bytes(near, n, n_keys);
}

static size_t far_kv_bytes(struct backend *b, int n_kv_heads, int d_head)
{
    (void)b;
    return near->kv_bytes(near, n_kv_heads, d_head);
}

/* ---- the ops: the CPU's, with the memory open ---- */

#define FAR(name, parameters, ...)                                                                 \
    static void far_##name parameters                                                              \
    {                                                                                              \
        (void)b;                                                                                   \
        enter();                                                                                   \
        near->name(near, __VA_ARGS__);                                                             \
        leave();                                                                                   \
    }

static void far_read(struct backend *b, void *host, const void *p, size_t bytes)
{
    (void)b;
    n_reads++;
    bytes_read += bytes;
    enter();
    near->read(near, host, p, bytes);
    leave();
}

void far_count(long *reads, size_t *bytes)
{
    *reads = n_reads;
    *bytes = bytes_read;
}

FAR(write, (struct backend * b, void *p, const void *host, size_t bytes), p, host, bytes)
FAR(copy, (struct backend * b, void *to, const void *from, size_t bytes), to, from, bytes)
FAR(embed,
    (struct backend * b, const struct matrix *table, const int32_t *ids, int n, float scale,
     float *out),
    table, ids, n, scale, out)
FAR(add, (struct backend * b, const float *x, const float *y, float *out, size_t count), x, y, out,
    count)
FAR(center, (struct backend * b, const float *x, float *out, int n, int d), x, out, n, d)
FAR(rms, (struct backend * b, const float *x, float eps, float *scale, int n, int d), x, eps, scale,
    n, d)
FAR(measure, (struct backend * b, const float *x, int n, int d, struct measures *out), x, n, d, out)
FAR(divide, (struct backend * b, const float *x, const float *scale, float *out, int n, int d), x,
    scale, out, n, d)
FAR(gain,
    (struct backend * b, const float *x, const float *gain, const float *bias, float *out, int n,
     int d),
    x, gain, bias, out, n, d)
static void far_matmul(struct backend *b, const float *x, size_t x_stride, const struct matrix *w,
                       const float *bias, float *out, size_t out_stride, int n,
                       struct workspace work)
{
    float *rows = NULL;
    enter();
    if (b->dtype == DTYPE_BF16) {
        size_t width = (size_t)w->n_in;
        rows = malloc((size_t)n * width * sizeof *rows);
        if (!rows)
            abort();
        for (size_t r = 0; r < (size_t)n; r++)
            for (size_t i = 0; i < width; i++) {
                uint16_t bits = dtype_to_bf16(x[r * x_stride + i]);
                rows[r * width + i] = dtype_load(DTYPE_BF16, &bits);
            }
        x = rows;
        x_stride = width;
    }
    near->matmul(near, x, x_stride, w, bias, out, out_stride, n, work);
    leave();
    free(rows);
}

FAR(angles,
    (struct backend * b, const float *inv_freq, int r, float scale, int pos0, int n, float *out),
    inv_freq, r, scale, pos0, n, out)
FAR(rope,
    (struct backend * b, const float *x, const float *angles, int r, enum rope_style style,
     float *out, int n, int heads, int d_head),
    x, angles, r, style, out, n, heads, d_head)
FAR(activate, (struct backend * b, enum activation f, const float *x, float *out, size_t count), f,
    x, out, count)
FAR(gate,
    (struct backend * b, enum activation f, const float *x, const float *y, float *out,
     size_t count),
    f, x, y, out, count)
FAR(kv_store,
    (struct backend * b, const struct kv_view *kv, int pos0, int n, const float *keys,
     const float *values),
    kv, pos0, n, keys, values)
FAR(rows_save,
    (struct backend * b, void *const *pages, size_t offset, enum dtype kept, int d, int pos0, int n,
     const float *rows),
    pages, offset, kept, d, pos0, n, rows)
FAR(rows_load,
    (struct backend * b, void *const *pages, size_t offset, enum dtype kept, int d, int pos0, int n,
     float *rows),
    pages, offset, kept, d, pos0, n, rows)
FAR(scores,
    (struct backend * b, const struct attention *a, const struct kv_view *kv, const float *q,
     int pos0, int n, int head0, int heads, float *out),
    a, kv, q, pos0, n, head0, heads, out)
/* Of scores[n_keys], -inf where a key is not seen. */
static float log_sum_exp(const float *scores, int n_keys)
{
    float most = -INFINITY;
    double sum = 0;
    for (int s = 0; s < n_keys; s++)
        most = scores[s] > most ? scores[s] : most;
    for (int s = 0; s < n_keys; s++)
        sum += exp((double)scores[s] - (double)most);
    return (float)((double)most + log(sum));
}

static void far_softmax(struct backend *b, const struct attention *a, const float *scores, int pos0,
                        int n, int heads, float *out, float *sums)
{
    size_t keys = (size_t)(pos0 + n);
    (void)b;
    enter();
    for (int r = 0; sums && r < n; r++)
        for (int i = 0; i < heads; i++)
            sums[r * heads + i] = log_sum_exp(scores + (size_t)(i * n + r) * keys, pos0 + r + 1);
    near->softmax(near, a, scores, pos0, n, heads, out, NULL);
    leave();
}

/* Of the scores of one query and head, with the memory open. */
static float sum_of(const struct attention *a, const struct kv_view *kv, const float *q, int pos,
                    int head)
{
    float *scores = malloc((size_t)(pos + 1) * sizeof *scores);
    if (!scores)
        abort();
    near->scores(near, a, kv, q, pos, 1, head, 1, scores);
    float sum = log_sum_exp(scores, pos + 1);
    free(scores);
    return sum;
}
FAR(mix,
    (struct backend * b, const struct attention *a, const struct kv_view *kv, const float *pattern,
     int pos0, int n, int head0, int heads, float *z, size_t z_stride),
    a, kv, pattern, pos0, n, head0, heads, z, z_stride)
static long n_attends, rows_attended;

static void far_attend(struct backend *b, const struct attention *a, const struct kv_view *kv,
                       const float *q, int pos0, int n, float *z, float *sums,
                       struct workspace work)
{
    int heads = a->n_heads;
    (void)b;
    n_attends++;
    rows_attended += n;
    enter();
    near->attend(near, a, kv, q, pos0, n, z, NULL, work);
    for (int i = 0; sums && i < n * heads; i++)
        sums[i] =
            sum_of(a, kv, q + (size_t)(i / heads * heads * a->d_head), pos0 + i / heads, i % heads);
    leave();
}

/* What was kept of the sums must be what the queries' scores come to now. */
static void far_map(struct backend *b, const struct attention *a, const struct kv_view *kv,
                    const float *q, const float *sums, int pos0, int n, int head0, int heads,
                    const struct map_region *m, float *cells, struct workspace work)
{
    size_t width = (size_t)(a->n_heads * a->d_head);
    (void)b;
    enter();
    for (int r = 0; r < n; r++)
        for (int i = head0; i < head0 + heads; i++) {
            float want = sum_of(a, kv, q + (size_t)r * width, pos0 + r, i);
            float got = sums[r * a->n_heads + i];
            if (!(fabsf(want - got) < 1e-4f) && isfinite(want)) {
                fprintf(stderr, "far: the sum of head %d at %d is %g, not %g\n", i, pos0 + r,
                        (double)got, (double)want);
                abort();
            }
        }
    near->map(near, a, kv, q, NULL, pos0, n, head0, heads, m, cells, work);
    leave();
}

void far_attended(long *calls, long *rows)
{
    *calls = n_attends;
    *rows = rows_attended;
}

FAR(probabilities, (struct backend * b, const float *x, float *out, int n, int d), x, out, n, d)

/* By the host's own functions, which is what a device has to agree with. */
static void best_of(const float *x, int d, int32_t target, int k, struct best_row *row,
                    struct best_entry *best)
{
    struct top_ask ask = {.n_best = k, .targets = &target};
    struct top_row found;
    struct top_entry entries[BEST_MOST];
    top_of_row(x, d, &ask, 0, &found, entries);
    float most = -INFINITY;
    for (int i = 0; i < d; i++)
        most = x[i] > most ? x[i] : most;
    *row = (struct best_row){.most = most,
                             .n_nan = found.n_nan,
                             .n_above = found.n_above,
                             .n_below = found.n_below,
                             .ahead = found.rank,
                             .target = found.target.logit};
    for (int i = 0; i < d; i++)
        row->sum += isfinite(most) && !isnan(x[i]) ? exp((double)x[i] - (double)most) : 0;
    for (int i = 0; i < k; i++)
        best[i] = i < found.n_best ? (struct best_entry){entries[i].id, entries[i].logit}
                                   : (struct best_entry){-1, NAN};
}

static void far_best(struct backend *b, const float *x, int n, int d, const int32_t *targets, int k,
                     struct best_row *rows, struct best_entry *best, struct workspace work)
{
    enter();
    /* What it may use it may spoil. */
    memset(work.data, 0xff, b->best_workspace(b, n, d, k));
    for (int r = 0; r < n; r++)
        best_of(x + (size_t)r * (size_t)d, d, targets ? targets[r] : -1, k, &rows[r],
                best + (size_t)r * (size_t)k);
    leave();
}

static size_t far_best_workspace(struct backend *b, int n, int d, int k)
{
    (void)b;
    return (size_t)n * (size_t)(k + 1) * 64 + (size_t)d;
}

static long n_chosen;

long far_chosen(void)
{
    return n_chosen;
}

static void far_embed_best(struct backend *b, const struct matrix *table,
                           const struct best_entry *entry, float scale, float *out)
{
    n_chosen++;
    enter();
    int32_t id = entry->at;
    leave();
    far_embed(b, table, &id, 1, scale, out);
}

struct backend *far_open(int n_threads)
{
    char why[256];
    struct backend_options options = {.n_threads = n_threads};
    n_blocks = n_sent = 0;
    unguarded = false;
    n_reads = n_attends = rows_attended = n_chosen = 0;
    top = bytes_read = 0;
    arena = mmap(NULL, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    near = arena == MAP_FAILED ? NULL : backend_open("cpu", &options, why);
    if (!near)
        return NULL;
    far = *near;
    far.name = "far";
    far.device = true;
    far.together = 2; /* as an exact device's */
    far.held = FAR_HELD;
    far.stage = far_stage;
    far.unstage = far_unstage;
    far.send = far_send;
    far.sync = far_sync;
    far.close = far_close;
    far.alloc = far_alloc;
    far.free = far_free;
    far.memory = far_memory;
    far.workspace_bytes = far_workspace_bytes;
    far.kv_bytes = far_kv_bytes;
    far.read = far_read;
    far.write = far_write;
    far.copy = far_copy;
    far.embed = far_embed;
    far.add = far_add;
    far.center = far_center;
    far.rms = far_rms;
    far.measure = far_measure;
    far.divide = far_divide;
    far.gain = far_gain;
    far.matmul = far_matmul;
    far.angles = far_angles;
    far.rope = far_rope;
    far.activate = far_activate;
    far.gate = far_gate;
    far.kv_store = far_kv_store;
    far.rows_save = far_rows_save;
    far.rows_load = far_rows_load;
    far.scores = far_scores;
    far.softmax = far_softmax;
    far.mix = far_mix;
    far.attend = far_attend;
    far.map = far_map;
    far.probabilities = far_probabilities;
    far.best = far_best;
    far.best_workspace = far_best_workspace;
    far.embed_best = far_embed_best;
    far.fetch = far_fetch;
    far.fetched = far_fetched;
    return &far;
}
