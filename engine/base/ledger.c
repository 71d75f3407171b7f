/* ledger.c - counted memory. Each block carries its size and category in front of it.
 *
 * What is counted is what was asked for: the 64 to 127 bytes of header and alignment are
 * not, so that a plan's numbers and the ledger's are the same numbers.
 */
#include "engine/base/ledger.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_ALIGN 64

struct ledger {
    atomic_size_t now[MEM_CATEGORIES][MEM_PLACES];
    atomic_size_t peak[MEM_CATEGORIES][MEM_PLACES];
    atomic_size_t total, total_peak; /* host and device */
    atomic_size_t budget;            /* 0: none */
    atomic_long fail_in;             /* 0: never; 1: the next and all after it */
};

/* Lies right before the bytes that the caller sees. */
struct block {
    size_t bytes;
    size_t offset; /* from what the system gave to the caller's bytes */
    enum mem_category category;
};

_Static_assert(sizeof(struct block) <= BLOCK_ALIGN, "the header fits before an aligned block");

struct ledger *ledger_open(void)
{
    return calloc(1, sizeof(struct ledger));
}

size_t ledger_close(struct ledger *l)
{
    size_t held = 0;

    if (l == NULL)
        return 0;
    for (int c = 0; c < MEM_CATEGORIES; c++)
        for (int p = 0; p < MEM_PLACES; p++)
            held += ledger_now(l, (enum mem_category)c, (enum mem_place)p);
    free(l);
    return held;
}

void ledger_set_budget(struct ledger *l, size_t bytes)
{
    atomic_store(&l->budget, bytes);
}

size_t ledger_budget(const struct ledger *l)
{
    return atomic_load(&l->budget);
}

void ledger_fail_after(struct ledger *l, long n)
{
    atomic_store(&l->fail_in, n > 0 ? n : 0);
}

/* ---- counting ---- */

static const char *noun(enum mem_category c)
{
    static const char *const nouns[MEM_CATEGORIES] = {
        "weights", "keys and values", "checkpoints",  "scratch",
        "views",   "tokenizer",       "other memory",
    };
    return nouns[c];
}

static bool refuse_budget(size_t bytes, enum mem_category c, size_t held, size_t budget,
                          struct error *err)
{
    char need[24], left[24], all[24];

    return error_set(err, ERR_MEMORY, "needs %s of %s, %s of the %s budget are free",
                     mem_format(bytes, need), noun(c),
                     mem_format(held < budget ? budget - held : 0, left), mem_format(budget, all));
}

static bool refuse_system(size_t bytes, enum mem_category c, struct error *err)
{
    char need[24];

    return error_set(err, ERR_MEMORY, "needs %s of %s, which the system does not give",
                     mem_format(bytes, need), noun(c));
}

static void raise_peak(atomic_size_t *peak, size_t now)
{
    size_t seen = atomic_load_explicit(peak, memory_order_relaxed);

    while (seen < now && !atomic_compare_exchange_weak(peak, &seen, now))
        ;
}

/* True if this request is one that a test wants to fail. */
static bool must_fail(struct ledger *l)
{
    long n = atomic_load_explicit(&l->fail_in, memory_order_relaxed);

    while (n > 1 && !atomic_compare_exchange_weak(&l->fail_in, &n, n - 1))
        ;
    return n == 1;
}

static void count_in(struct ledger *l, enum mem_category c, enum mem_place p, size_t bytes)
{
    raise_peak(&l->peak[c][p], atomic_fetch_add(&l->now[c][p], bytes) + bytes);
}

bool ledger_take(struct ledger *l, enum mem_category c, enum mem_place p, size_t bytes,
                 struct error *err)
{
    if (p == MEM_MAPPED) {
        count_in(l, c, p, bytes);
        return true;
    }
    if (must_fail(l))
        return refuse_system(bytes, c, err);

    /* The total is raised in one step with its check, so that two threads cannot both take
     * the last of the budget. */
    size_t budget = atomic_load(&l->budget), held = atomic_load(&l->total);
    do {
        if (bytes > SIZE_MAX - held)
            return refuse_system(bytes, c, err);
        if (budget != 0 && held + bytes > budget)
            return refuse_budget(bytes, c, held, budget, err);
    } while (!atomic_compare_exchange_weak(&l->total, &held, held + bytes));

    raise_peak(&l->total_peak, held + bytes);
    count_in(l, c, p, bytes);
    return true;
}

void ledger_give(struct ledger *l, enum mem_category c, enum mem_place p, size_t bytes)
{
    atomic_fetch_sub(&l->now[c][p], bytes);
    if (p != MEM_MAPPED)
        atomic_fetch_sub(&l->total, bytes);
}

size_t ledger_now(const struct ledger *l, enum mem_category c, enum mem_place p)
{
    return atomic_load(&l->now[c][p]);
}

size_t ledger_peak(const struct ledger *l, enum mem_category c, enum mem_place p)
{
    return atomic_load(&l->peak[c][p]);
}

size_t ledger_total(const struct ledger *l)
{
    return atomic_load(&l->total);
}

size_t ledger_total_peak(const struct ledger *l)
{
    return atomic_load(&l->total_peak);
}

/* ---- blocks ---- */

static struct block *block_of(void *p)
{
    return (struct block *)((char *)p - sizeof(struct block));
}

/* The first aligned place in base that leaves room for a header. */
static size_t block_offset(const char *base)
{
    uintptr_t first = (uintptr_t)base + sizeof(struct block);

    return (size_t)((first + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN - (uintptr_t)base);
}

#define BLOCK_EXTRA (sizeof(struct block) + BLOCK_ALIGN)

void *mem_alloc(struct ledger *l, enum mem_category c, size_t bytes, struct error *err)
{
    if (!ledger_take(l, c, MEM_HOST, bytes, err))
        return NULL;
    /* calloc, not aligned_alloc and memset: large blocks stay untouched until they are used. */
    char *base = bytes <= PTRDIFF_MAX - BLOCK_EXTRA ? calloc(1, bytes + BLOCK_EXTRA) : NULL;
    if (base == NULL) {
        ledger_give(l, c, MEM_HOST, bytes);
        refuse_system(bytes, c, err);
        return NULL;
    }
    size_t offset = block_offset(base);
    *block_of(base + offset) = (struct block){.bytes = bytes, .offset = offset, .category = c};
    return base + offset;
}

void *mem_alloc_array(struct ledger *l, enum mem_category c, size_t n, size_t size,
                      struct error *err)
{
    size_t bytes;

    if (__builtin_mul_overflow(n, size, &bytes)) {
        error_set(err, ERR_MEMORY, "needs %zu times %zu bytes of %s, more than any memory has", n,
                  size, noun(c));
        return NULL;
    }
    return mem_alloc(l, c, bytes, err);
}

void *mem_resize(struct ledger *l, enum mem_category c, void *p, size_t bytes, struct error *err)
{
    if (p == NULL)
        return mem_alloc(l, c, bytes, err);

    struct block old = *block_of(p);
    size_t more = bytes > old.bytes ? bytes - old.bytes : 0;
    /* A block keeps its category for life. Only what comes on top is asked for. */
    if (!ledger_take(l, old.category, MEM_HOST, more, err))
        return NULL;
    char *base = bytes <= PTRDIFF_MAX - BLOCK_EXTRA
                     ? realloc((char *)p - old.offset, bytes + BLOCK_EXTRA)
                     : NULL;
    if (base == NULL) {
        ledger_give(l, old.category, MEM_HOST, more);
        refuse_system(bytes, c, err);
        return NULL;
    }
    size_t offset = block_offset(base);
    if (offset != old.offset)
        memmove(base + offset, base + old.offset, bytes < old.bytes ? bytes : old.bytes);
    *block_of(base + offset) =
        (struct block){.bytes = bytes, .offset = offset, .category = old.category};
    if (bytes < old.bytes)
        ledger_give(l, old.category, MEM_HOST, old.bytes - bytes);
    return base + offset;
}

void mem_free(struct ledger *l, void *p)
{
    if (p == NULL)
        return;
    struct block b = *block_of(p);
    ledger_give(l, b.category, MEM_HOST, b.bytes);
    free((char *)p - b.offset);
}

char *mem_strdup(struct ledger *l, enum mem_category c, const char *s, struct error *err)
{
    size_t bytes = strlen(s) + 1;
    char *copy = mem_alloc(l, c, bytes, err);

    if (copy != NULL)
        memcpy(copy, s, bytes);
    return copy;
}

const char *mem_category_name(enum mem_category c)
{
    static const char *const names[MEM_CATEGORIES] = {
        "weights", "kv", "checkpoints", "scratch", "views", "tokenizer", "other",
    };
    return (unsigned)c < MEM_CATEGORIES ? names[c] : "unknown";
}

const char *mem_place_name(enum mem_place p)
{
    static const char *const names[MEM_PLACES] = {"host", "mapped", "device"};
    return (unsigned)p < MEM_PLACES ? names[p] : "unknown";
}
