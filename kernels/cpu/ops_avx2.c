/* ops_avx2.c - the vector kernels, compiled for AVX2. */
#include "kernels/cpu/cpu.h"

#if defined(__x86_64__)
#define OPS      cpu_ops_avx2
#define ISA_NAME "avx2"
#include "kernels/cpu/simd_avx2.h"
#include "kernels/cpu/vector_ops.h"
#endif
