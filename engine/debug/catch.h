/* catch.h - what watches and catches look for; breakpoint.h says when each stops. */
#ifndef MIDPASS_CATCH_H
#define MIDPASS_CATCH_H

#include "engine/debug/report.h"
#include "engine/debug/session.h"

/* Whether a watch or a catch stops at a place it stands at. The position is computed. */
bool catch_test(struct session *s, const struct breakpoint *b, int position, int op, bool *truth,
                struct error *err);
/* Whether a row of a view (forward/trace.h) holds what catch nan stops at. */
bool catch_bad_row(const struct op *op, const struct op_view *v, int row);

/* What stopped it, at the place where the session stands: lines for a reader, or the fields "old"
 * and "new" of a watch, "index" and "value" of catch nan, tokens and probabilities of catch top1.
 */
bool catch_report(struct report *r, struct session *s, const struct breakpoint *b,
                  struct error *err);

/* "breakpoint", "watchpoint", "catchpoint". */
const char *stop_kind_name(enum stop_kind k);

#endif
