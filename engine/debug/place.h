/* place.h - where the session stands, said in one line. */
#ifndef MIDPASS_PLACE_H
#define MIDPASS_PLACE_H

#include "engine/debug/report.h"
#include "engine/debug/session.h"

/* The token at a position, as it may be shown: "\" was\"". */
bool place_add_token(struct text *t, const struct session *s, int32_t id, struct error *err);
/* `#5 " was"  blocks.1.attn.hook_pattern  [H=8, S=6]  max 0.81 (head 3, key 0)`, or the same as
 * {"stopped":why,"site":...}; and a notice of the session's, once. Counts an arrival; a silent
 * breakpoint says nothing. */
bool place_report(struct report *r, struct session *s, const char *why, struct error *err);
/* The fields of such an object, for one that is begun already. */
bool place_fields(struct report *r, struct session *s, struct error *err);

#endif
