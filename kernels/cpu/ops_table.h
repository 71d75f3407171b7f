/* ops_table.h - the functions of one instruction set, as the including file has them.
 *
 * The includer defines the table's name (OPS), its word (ISA_NAME), and has the functions and the
 * numbers of rows, outputs and floats that its products take. */
const struct cpu_ops OPS = {
    .isa = ISA_NAME,
    .few_dot = FEW_DOT_ROWS,
    .few_mix = FEW_MIX_ROWS,
    .panel = PANEL,
    .panel_floats = PANEL_FLOATS,
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
    .gather = gather_rows,
    .many = matmul_many,
    .scores = scores,
    .softmax = softmax,
    .mix = mix_values,
};
