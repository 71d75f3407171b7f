/* ops_avx512.c - the vector kernels, compiled for AVX-512. */
#include "kernels/cpu/cpu.h"

#if defined(__x86_64__)
#define OPS      cpu_ops_avx512
#define ISA_NAME "avx512"
#include "kernels/cpu/simd_avx512.h"
#include "kernels/cpu/vector_ops.h"
#endif
