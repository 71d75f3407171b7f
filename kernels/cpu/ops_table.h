/* ops_table.h - the functions of one instruction set, as the including file has them.
 *
 * The includer defines ops_table's name (OPS), its word (ISA_NAME), DOT_BLOCK, MIX_BLOCK
 * and MATMUL_SCRATCH, and has the functions. */
const struct cpu_ops OPS = {
    .isa = ISA_NAME,
    .dot_rows = DOT_BLOCK,
    .mix_rows = MIX_BLOCK,
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
