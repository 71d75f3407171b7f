/* compare.h - what the kernel tests share: backends, random numbers, equal bits. */
#ifndef MIDPASS_TESTS_KERNELS_COMPARE_H
#define MIDPASS_TESTS_KERNELS_COMPARE_H

#include "kernels/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST_BACKENDS 8

/* backends[0] is the oracle: scalar, one thread. */
static struct backend *backends[MOST_BACKENDS];
static int n_backends;

static inline void backends_open(const int *threads, int n_threads)
{
    static const char *const isas[] = {"avx2", "avx512"};
    char why[256];
    struct backend_options options = {.n_threads = 1, .isa = "scalar"};
    n_backends = 0;
    backends[n_backends++] = backend_open("cpu", &options, why);
    assert_non_null(backends[0]);
    for (int i = 0; i < 2; i++) {
        for (int t = 0; t < n_threads; t++) {
            options = (struct backend_options){.n_threads = threads[t], .isa = isas[i]};
            struct backend *b = backend_open("cpu", &options, why);
            if (b)
                backends[n_backends++] = b;
        }
    }
    options = (struct backend_options){.n_threads = 3, .isa = "scalar"};
    backends[n_backends++] = backend_open("cpu", &options, why);
    assert_non_null(backends[n_backends - 1]);
    for (int i = 1; i < n_backends; i++)
        printf("  compared: %s\n", backends[i]->detail);
}

static inline int backends_setup(void **state)
{
    static const int threads[] = {1, 2, 5};
    (void)state;
    backends_open(threads, 3);
    return 0;
}

static inline int backends_teardown(void **state)
{
    (void)state;
    for (int i = 0; i < n_backends; i++)
        backend_close(backends[i]);
    return 0;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static uint64_t random_state = 88172645463325252u;

static inline uint32_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}

/* From -1 to 1. */
static inline float random_float(void)
{
    return (float)(int32_t)random_bits() * 0x1p-31f;
}

static inline float *random_floats(size_t n)
{
    float *x = malloc((n ? n : 1) * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = random_float();
    return x;
}

/* Memory with a pattern that is no good number, to show what was not written. */
static inline float *blank_floats(size_t n)
{
    float *x = malloc((n ? n : 1) * sizeof *x);
    assert_non_null(x);
    memset(x, 0xab, (n ? n : 1) * sizeof *x);
    return x;
}

static inline float of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float as_bf16(float x)
{
    uint16_t bits = dtype_to_bf16(x);
    return dtype_load(DTYPE_BF16, &bits);
}

/* Which NaN is left open by the rule of same bits; that it is one is not. */
static inline bool same_bits(float a, float b)
{
    return bits_of(a) == bits_of(b) || (isnan(a) && isnan(b));
}

static inline void expect_same(const char *what, const struct backend *b, const float *want,
                               const float *got, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!same_bits(want[i], got[i]))
            fail_msg("%s on %s: element %zu of %zu is %.9g (%08x), not %.9g (%08x)", what,
                     b ? b->detail : "cpu", i, n, (double)got[i], bits_of(got[i]), (double)want[i],
                     bits_of(want[i]));
    }
}

static inline struct workspace work_open(struct backend *b, int n, int n_keys)
{
    struct workspace work = {0};
    work.bytes = b->workspace_bytes(b, n, n_keys);
    work.data = b->alloc(b, work.bytes);
    assert_non_null(work.data);
    return work;
}

#endif
