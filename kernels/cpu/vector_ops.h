/* vector_ops.h - all vector kernels, over the 16-lane type of the header included before. */
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/rope.h"
#include "kernels/cpu/vector_rows.h"
#include "kernels/cpu/vector_matmul.h"
#include "kernels/cpu/vector_attention.h"
#include "kernels/cpu/ops_table.h"
