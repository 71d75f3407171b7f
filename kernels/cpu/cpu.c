/* cpu.c - the CPU backend: which instruction set, how many threads, and the ops on rows.
 *
 * A row is one thread's, a plain array is cut anywhere: neither shows in the result. */
#include "kernels/cpu/cpu.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/angles.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define WHY         256
#define SHARE       32768 /* elements below which waking another thread costs more than it helps */
#define THREADS_MAX 1024
#define CHUNK       512

/* ---- cutting work ---------------------------------------------------------------------------- */

int cpu_pieces(const struct backend *b, size_t n, size_t cost)
{
    size_t most = n * cost / SHARE + 1;
    if (most > n)
        most = n;
    return most < (size_t)b->n_threads ? (int)most : b->n_threads;
}

struct span {
    size_t from, count;
};

/* Piece i of n things, in whole blocks. */
static struct span span_of(size_t n, size_t block, int i, int pieces)
{
    size_t blocks = (n + block - 1) / block;
    size_t from = blocks * (size_t)i / (size_t)pieces * block;
    size_t to = blocks * ((size_t)i + 1) / (size_t)pieces * block;
    if (to > n)
        to = n;
    return (struct span){from, from < to ? to - from : 0};
}

/* Runs the statement for each span s of n things, on the threads of b. The compiler sees one
 * loop; the name of the span is the caller's. */
#define PRAGMA(text) _Pragma(#text)
/* NOLINTBEGIN(bugprone-macro-parentheses): s names a variable, statement is one */
#define FOR_SPANS(b, s, n, block, cost, statement)                                                 \
    do {                                                                                           \
        int pieces_ = cpu_pieces(b, n, cost);                                                      \
        PRAGMA(omp parallel for num_threads(pieces_) if (pieces_ > 1) schedule(static))            \
        for (int i_ = 0; i_ < pieces_; i_++) {                                                     \
            struct span s = span_of(n, block, i_, pieces_);                                        \
            if (s.count > 0)                                                                       \
                statement;                                                                         \
        }                                                                                          \
    } while (0)
/* NOLINTEND(bugprone-macro-parentheses) */

/* ---- memory ---------------------------------------------------------------------------------- */

static void *cpu_alloc(struct backend *b, size_t bytes)
{
    (void)b;
    if (bytes > SIZE_MAX - 64)
        return NULL;
    return aligned_alloc(64, bytes ? (bytes + 63) / 64 * 64 : 64);
}

static void cpu_free(struct backend *b, void *p)
{
    (void)b;
    free(p);
}

static void cpu_read(struct backend *b, void *host, const void *p, size_t bytes)
{
    (void)b;
    if (bytes)
        memcpy(host, p, bytes);
}

static void cpu_write(struct backend *b, void *p, const void *host, size_t bytes)
{
    (void)b;
    if (bytes)
        memcpy(p, host, bytes);
}

static void cpu_copy(struct backend *b, void *to, const void *from, size_t bytes)
{
    (void)b;
    if (bytes)
        memcpy(to, from, bytes);
}

static void cpu_memory(struct backend *b, size_t *available, size_t *total)
{
    (void)b;
    *available = *total = 0;
}

static bool cpu_sync(struct backend *b, char why[WHY])
{
    (void)b;
    why[0] = '\0';
    return true; /* every call has finished when it returns */
}

static size_t cpu_workspace_bytes(struct backend *b, int n, int n_keys)
{
    size_t matmul = cpu_matmul_workspace(b, n), attend = cpu_attend_workspace(b, n_keys);
    return matmul > attend ? matmul : attend;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void cpu_embed(struct backend *b, const struct matrix *table, const int32_t *ids, int n,
                      float scale, float *out)
{
    size_t d = (size_t)table->n_in;
    FOR_SPANS(b, s, (size_t)n, 1, d, {
        for (size_t i = s.from; i < s.from + s.count; i++)
            cpu_ops_of(b)->embed(table->dtype, matrix_row(table, ids[i]), scale, out + i * d,
                                 table->n_in);
    });
}

static void cpu_add(struct backend *b, const float *x, const float *y, float *out, size_t count)
{
    FOR_SPANS(b, s, count, 16, 1,
              cpu_ops_of(b)->add(x + s.from, y + s.from, out + s.from, s.count));
}

static void cpu_center(struct backend *b, const float *x, float *out, int n, int d)
{
    FOR_SPANS(
        b, s, (size_t)n, 1, (size_t)d,
        cpu_ops_of(b)->center(x + s.from * (size_t)d, out + s.from * (size_t)d, (int)s.count, d));
}

static void cpu_measure(struct backend *b, const float *x, int n, int d, struct measures *out)
{
    (void)b;
    for (int r = 0; r < n; r++) {
        struct measures m = {.most = -INFINITY, .least = INFINITY};
        for (int i = 0; i < d; i++) {
            float v = x[(size_t)r * (size_t)d + (size_t)i];
            if (!isfinite(v)) {
                m.odd++;
                continue;
            }
            m.sum += (double)v;
            m.squares += (double)v * (double)v;
            m.most = v > m.most ? v : m.most;
            m.least = v < m.least ? v : m.least;
        }
        out[r] = m;
    }
}

static void cpu_rms(struct backend *b, const float *x, float eps, float *scale, int n, int d)
{
    FOR_SPANS(b, s, (size_t)n, 1, (size_t)d,
              cpu_ops_of(b)->rms(x + s.from * (size_t)d, eps, scale + s.from, (int)s.count, d));
}

static void cpu_divide(struct backend *b, const float *x, const float *scale, float *out, int n,
                       int d)
{
    FOR_SPANS(b, s, (size_t)n, 1, (size_t)d,
              cpu_ops_of(b)->divide(x + s.from * (size_t)d, scale + s.from,
                                    out + s.from * (size_t)d, (int)s.count, d));
}

static void cpu_gain(struct backend *b, const float *x, const float *gain, const float *bias,
                     float *out, int n, int d)
{
    FOR_SPANS(b, s, (size_t)n, 1, (size_t)d,
              cpu_ops_of(b)->gain(x + s.from * (size_t)d, gain, bias, out + s.from * (size_t)d,
                                  (int)s.count, d));
}

static void cpu_angles(struct backend *b, const float *inv_freq, int r, float scale, int pos0,
                       int n, float *out)
{
    FOR_SPANS(b, s, (size_t)n, 1, (size_t)r * 16,
              angles_fill(inv_freq, r, scale, pos0 + (int)s.from, (int)s.count,
                          out + s.from * (size_t)r));
}

static void cpu_rope(struct backend *b, const float *x, const float *angles, int r,
                     enum rope_style style, float *out, int n, int heads, int d_head)
{
    size_t d = (size_t)heads * (size_t)d_head;
    FOR_SPANS(b, s, (size_t)n, 1, d,
              cpu_ops_of(b)->rope(x + s.from * d, angles + s.from * (size_t)r, r, style,
                                  out + s.from * d, (int)s.count, heads, d_head));
}

static void cpu_activate(struct backend *b, enum activation f, const float *x, float *out,
                         size_t count)
{
    FOR_SPANS(b, s, count, 16, 4, cpu_ops_of(b)->activate(f, x + s.from, out + s.from, s.count));
}

static void cpu_gate(struct backend *b, enum activation f, const float *x, const float *y,
                     float *out, size_t count)
{
    FOR_SPANS(b, s, count, 16, 4,
              cpu_ops_of(b)->gate(f, x + s.from, y + s.from, out + s.from, s.count));
}

static void cpu_probabilities(struct backend *b, const float *x, float *out, int n, int d)
{
    FOR_SPANS(b, s, (size_t)n, 1, (size_t)d * 4, {
        for (size_t i = s.from; i < s.from + s.count; i++)
            cpu_ops_of(b)->softmax(x + i * (size_t)d, out + i * (size_t)d, 0, d - 1, d);
    });
}

/* ---- rows in pages --------------------------------------------------------------------------- */

static void *paged_row(void *const *pages, size_t offset, size_t bytes, int pos)
{
    return (char *)pages[pos / KV_PAGE] + offset + (size_t)(pos % KV_PAGE) * bytes;
}

static void cpu_rows_save(struct backend *b, void *const *pages, size_t offset, enum dtype kept,
                          int d, int pos0, int n, const float *rows)
{
    size_t bytes = (size_t)d * dtype_size(kept);
    FOR_SPANS(b, s, (size_t)n, KV_PAGE, (size_t)d, {
        for (size_t r = s.from; r < s.from + s.count; r++) {
            const float *row = rows + r * (size_t)d;
            uint16_t *to = paged_row(pages, offset, bytes, pos0 + (int)r);
            if (kept == DTYPE_F32)
                memcpy(to, row, bytes);
            for (int i = 0; kept == DTYPE_BF16 && i < d; i++)
                to[i] = dtype_to_bf16(row[i]);
        }
    });
}

static void cpu_rows_load(struct backend *b, void *const *pages, size_t offset, enum dtype kept,
                          int d, int pos0, int n, float *rows)
{
    size_t bytes = (size_t)d * dtype_size(kept);
    (void)b;
    for (int r = 0; r < n; r++, rows += d) {
        const uint16_t *from = paged_row(pages, offset, bytes, pos0 + r);
        if (kept == DTYPE_F32)
            memcpy(rows, from, bytes);
        for (int i = 0; kept == DTYPE_BF16 && i < d; i++)
            rows[i] = dtype_load(DTYPE_BF16, &from[i]);
    }
}

/* ---- opening --------------------------------------------------------------------------------- */

#if defined(__x86_64__)
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512cd");
}
#endif

static bool has_scalar(void)
{
    return true;
}

/* The table for an instruction set; NULL: the best there is. */
static const struct cpu_ops *ops_find(const char *isa, char why[WHY])
{
    static const struct {
        const char *name;
        bool (*has)(void);
        const struct cpu_ops *ops;
    } known[] = {
#if defined(__x86_64__)
        {"avx512", has_avx512, &cpu_ops_avx512},
        {"avx2", has_avx2, &cpu_ops_avx2},
#endif
        {"scalar", has_scalar, &cpu_ops_scalar},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!isa && known[i].has())
            return known[i].ops;
        if (isa && strcmp(isa, known[i].name) == 0) {
            if (known[i].has())
                return known[i].ops;
            snprintf(why, WHY, "cpu: this processor has no %s", isa);
            return NULL;
        }
    }
    bool elsewhere = isa && (strcmp(isa, "avx2") == 0 || strcmp(isa, "avx512") == 0);
    snprintf(why, WHY,
             elsewhere ? "cpu: this processor has no %.64s"
                       : "cpu: there is no instruction set \"%.64s\": it is scalar, avx2 or avx512",
             isa ? isa : "");
    return NULL;
}

/* CPUs that this process may run on. */
static int cpus_allowed(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}

static void cpu_close(struct backend *b)
{
    free(b->state);
}

struct backend *cpu_open(const struct backend_options *options, char why[WHY])
{
    const struct cpu_ops *ops = ops_find(options ? options->isa : NULL, why);
    if (!ops)
        return NULL;
    int n_threads = options && options->n_threads > 0 ? options->n_threads : cpus_allowed();
    if (n_threads > THREADS_MAX) {
        snprintf(why, WHY, "cpu: %d threads are too many, the most is %d", n_threads, THREADS_MAX);
        return NULL;
    }
    struct cpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu) {
        snprintf(why, WHY, "cpu: no memory for the backend");
        return NULL;
    }
    cpu->ops = ops;
    cpu->b = (struct backend){
        .version = KERNELS_VERSION,
        .exact = true,
        .name = "cpu",
        .n_threads = n_threads,
        .dtype = DTYPE_F32,
        .chunk = CHUNK,
        .chunk_last = CHUNK,
        .state = cpu,
        .close = cpu_close,
        .alloc = cpu_alloc,
        .free = cpu_free,
        .read = cpu_read,
        .write = cpu_write,
        .copy = cpu_copy,
        .memory = cpu_memory,
        .sync = cpu_sync,
        .workspace_bytes = cpu_workspace_bytes,
        .embed = cpu_embed,
        .add = cpu_add,
        .center = cpu_center,
        .rms = cpu_rms,
        .measure = cpu_measure,
        .divide = cpu_divide,
        .gain = cpu_gain,
        .matmul = cpu_matmul,
        .angles = cpu_angles,
        .rope = cpu_rope,
        .activate = cpu_activate,
        .gate = cpu_gate,
        .kv_bytes = cpu_kv_bytes,
        .kv_store = cpu_kv_store,
        .rows_save = cpu_rows_save,
        .rows_load = cpu_rows_load,
        .scores = cpu_scores,
        .softmax = cpu_softmax,
        .mix = cpu_mix,
        .attend = cpu_attend,
        .map = cpu_map,
        .map_workspace = cpu_map_workspace,
        .probabilities = cpu_probabilities,
    };
    snprintf(cpu->b.detail, sizeof cpu->b.detail, "%s, %d thread%s", ops->isa, n_threads,
             n_threads == 1 ? "" : "s");
    return &cpu->b;
}
