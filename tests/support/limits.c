#include "tests/support/limits.h"

#include <omp.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

double limit_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static volatile uint64_t sink; /* keeps the loops from being removed */

static uint64_t read_plain(const char *p, size_t n)
{
    uint64_t sums[8] = {0}, block[8];
    for (size_t i = 0; i + 64 <= n; i += 64) {
        memcpy(block, p + i, 64);
        for (int k = 0; k < 8; k++)
            sums[k] += block[k];
    }
    for (int k = 1; k < 8; k++)
        sums[0] += sums[k];
    return sums[0];
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static uint64_t read_512(const char *p, size_t n)
{
    __m512i s[8];
    for (int k = 0; k < 8; k++)
        s[k] = _mm512_setzero_si512();
    /* Eight streams, each fetched ahead: one stream alone leaves a core waiting. */
    size_t part = n / 8 / 64 * 64;
    for (size_t i = 0; i < part; i += 64)
#pragma GCC unroll 8
        for (size_t k = 0; k < 8; k++) {
            const char *at = p + k * part + i;
            _mm_prefetch(at + 1024, _MM_HINT_T0);
            s[k] = _mm512_add_epi64(s[k], _mm512_loadu_si512(at));
        }
    for (int k = 1; k < 8; k++)
        s[0] = _mm512_add_epi64(s[0], s[k]);
    return (uint64_t)_mm512_reduce_add_epi64(s[0]);
}

__attribute__((target("avx512f"))) static float fma_512(long rounds)
{
    __m512 a[12];
    for (int k = 0; k < 12; k++)
        a[k] = _mm512_set1_ps(1.0f + (float)k);
    const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f);
    for (long i = 0; i < rounds; i++)
#pragma GCC unroll 12
        for (int k = 0; k < 12; k++)
            a[k] = _mm512_fmadd_ps(a[k], x, y);
    for (int k = 1; k < 12; k++)
        a[0] = _mm512_add_ps(a[0], a[k]);
    return _mm512_reduce_add_ps(a[0]);
}

__attribute__((target("avx2,fma"))) static float fma_256(long rounds)
{
    __m256 a[12];
    for (int k = 0; k < 12; k++)
        a[k] = _mm256_set1_ps(1.0f + (float)k);
    const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
    for (long i = 0; i < rounds; i++)
#pragma GCC unroll 12
        for (int k = 0; k < 12; k++)
            a[k] = _mm256_fmadd_ps(a[k], x, y);
    for (int k = 1; k < 12; k++)
        a[0] = _mm256_add_ps(a[0], a[k]);
    float out[8];
    _mm256_storeu_ps(out, a[0]);
    return out[0];
}
#endif

static uint64_t read_all(const char *p, size_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return read_512(p, n);
#endif
    return read_plain(p, n);
}

double limit_read_rate(const void *data, size_t bytes, int n_threads, int repeats)
{
    double best = 0;
    for (int r = 0; r < repeats; r++) {
        uint64_t sum = 0;
        double start = limit_seconds();
#pragma omp parallel num_threads(n_threads) reduction(+ : sum)
        {
            size_t part = bytes / (size_t)n_threads / 64 * 64;
            sum += read_all((const char *)data + part * (size_t)omp_get_thread_num(), part);
        }
        double rate = (double)bytes / (limit_seconds() - start);
        sink += sum;
        if (rate > best)
            best = rate;
    }
    return best;
}

double limit_fma_rate(int n_threads)
{
    const long rounds = 4000000;
    double best = 0;
    for (int r = 0; r < 5; r++) {
        float sum = 0;
        int lanes = 0;
        double start = limit_seconds();
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx512f")) {
            lanes = 16;
#pragma omp parallel num_threads(n_threads) reduction(+ : sum)
            sum += fma_512(rounds);
        } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
            lanes = 8;
#pragma omp parallel num_threads(n_threads) reduction(+ : sum)
            sum += fma_256(rounds);
        }
#endif
        double rate = 2.0 * 12 * lanes * (double)rounds * n_threads / (limit_seconds() - start);
        sink += (uint64_t)(sum > 0);
        if (rate > best)
            best = rate;
    }
    return best;
}
