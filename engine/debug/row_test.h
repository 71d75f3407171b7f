/* row_test.h - a breakpoint's condition on a row that an op has just written, while it runs. */
#ifndef MIDPASS_ROW_TEST_H
#define MIDPASS_ROW_TEST_H

#include "engine/debug/session.h"

/* b's condition, which reads nothing but `.` (here_only), on row `row` of the view. */
bool row_test(struct session *s, const struct breakpoint *b, const struct op_view *v, int row,
              bool *truth, struct error *err);

#endif
