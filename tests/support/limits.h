/* limits.h - what this machine can do at most, measured in the same run as what it is compared
 * with: benchmarks print ratios, since machines differ. */
#ifndef MIDPASS_TEST_LIMITS_H
#define MIDPASS_TEST_LIMITS_H

#include <stddef.h>

double limit_seconds(void); /* a clock */
/* Bytes a second at which n_threads read these bytes once, best of `repeats`. */
double limit_read_rate(const void *data, size_t bytes, int n_threads, int repeats);
/* Floating-point operations a second of fused multiply-adds in registers, in the widest
 * vectors that the CPU has; a fused multiply-add is two. */
double limit_fma_rate(int n_threads);

#endif
