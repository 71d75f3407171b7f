/* ops_avx512.c - the vector kernels, compiled for AVX512. */
#include "kernels/cpu/cpu.h"

#if defined(__x86_64__)
#include "kernels/cpu/simd_avx512.h"
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/rope.h"
#include "kernels/cpu/vector_rows.h"
#include "kernels/cpu/vector_matmul.h"
#include "kernels/cpu/vector_attention.h"

const struct cpu_ops cpu_ops_avx512 = {
    .isa = "avx512",
    .matmul_rows = MATMUL_ROWS,
    .matmul_scratch = MATMUL_SCRATCH,
    .embed = embed,
    .add = add,
    .center = center,
    .rms = rms,
    .divide = divide,
    .gain = gain,
    .rope = rope_rows,
    .activate = activate,
    .gate = gate,
    .matmul = matmul,
    .scores = scores,
    .softmax = softmax,
    .mix = mix_values,
};
#endif
