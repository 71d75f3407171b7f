/* gpu.h - what the tests of the CUDA backend share: it beside the scalar reference.
 *
 * The rule. In f32 an output may be off by a few float32 roundings of what was added up:
 * |got - want| <= TOLERANCE * (the sum of the absolute values, or the largest of them). In bf16 the
 * reference gets its inputs rounded to bfloat16, and then the same rule holds; only where the
 * weights of a mix are rounded too does a bfloat16's half unit, 2^-9, come on top.
 *
 * Without a GPU every test is skipped, and the program says so; with MIDPASS_TEST_DEVICE=cuda
 * (make test-cuda) having none is a failure. */
#ifndef MIDPASS_TESTS_KERNELS_GPU_H
#define MIDPASS_TESTS_KERNELS_GPU_H

#include "tests/kernels/compare.h"

#include <stdbool.h>

#define TOLERANCE 2e-6

static struct backend *cpu, *gpu; /* gpu NULL: there is none */
static char no_gpu[256];

/* Opens both; *state is the type that the GPU computes in. */
static inline int gpu_open(void **state, enum dtype dtype)
{
    char why[256];
    (void)state;
    cpu = backend_open("cpu", &(struct backend_options){.n_threads = 1, .isa = "scalar"}, why);
    assert_non_null(cpu);
    gpu = backend_open("cuda", &(struct backend_options){.dtype = dtype}, no_gpu);
    if (!gpu)
        printf("  NOT RUN: %s\n", no_gpu);
    else
        printf("  compared: %s\n", gpu->detail);
    return !gpu && getenv("MIDPASS_TEST_DEVICE") != NULL;
}

static inline int open_f32(void **state)
{
    return gpu_open(state, DTYPE_F32);
}

static inline int open_bf16(void **state)
{
    return gpu_open(state, DTYPE_BF16);
}

static inline int close_both(void **state)
{
    (void)state;
    backend_close(gpu);
    backend_close(cpu);
    gpu = NULL;
    return 0;
}

#define NEEDS_GPU()                                                                                \
    do {                                                                                           \
        (void)state;                                                                               \
        if (!gpu)                                                                                  \
            skip();                                                                                \
    } while (0)

/* A copy in the GPU's memory. */
static inline void *put(const void *host, size_t bytes)
{
    void *p = gpu->alloc(gpu, bytes);
    assert_non_null(p);
    gpu->write(gpu, p, host, bytes);
    return p;
}

static inline float *put_floats(const float *x, size_t n)
{
    return put(x, n * sizeof *x);
}

/* n floats of the GPU's memory that are no good numbers. */
static inline float *put_blank(size_t n)
{
    float *x = blank_floats(n), *p = put_floats(x, n);
    free(x);
    return p;
}

/* Takes floats back from the GPU, and frees them there. */
static inline float *get_floats(float *p, size_t n)
{
    char why[256];
    float *x = malloc((n ? n : 1) * sizeof *x);
    assert_non_null(x);
    if (!gpu->sync(gpu, why))
        fail_msg("%s", why);
    gpu->read(gpu, x, p, n * sizeof *x);
    gpu->free(gpu, p);
    return x;
}

/* Rounds where the GPU would. */
static inline void round_for(float *x, size_t n)
{
    for (size_t i = 0; gpu->dtype == DTYPE_BF16 && i < n; i++)
        x[i] = as_bf16(x[i]);
}

static inline void expect_near(const char *what, const float *want, const float *got, size_t i,
                               double allowed)
{
    double off = fabs((double)got[i] - (double)want[i]);
    if (same_bits(want[i], got[i]) || off <= allowed)
        return;
    fail_msg("%s (%s): element %zu is %.9g, not %.9g: off by %.3g, allowed %.3g", what, gpu->detail,
             i, (double)got[i], (double)want[i], off, allowed);
}

/* All of n, against the size of each. */
static inline void expect_all(const char *what, const float *want, const float *got, size_t n,
                              double tolerance)
{
    for (size_t i = 0; i < n; i++)
        expect_near(what, want, got, i, tolerance * fabs((double)want[i]));
}

#endif
