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
/* Such an object with other fields in between: {"stopped":why or what stopped it,"id":N ... and
 * ... "site":... , what a watch or a catch found, a notice}. */
void place_begin(struct report *r, const struct session *s, const char *why);
bool place_end(struct report *r, struct session *s, struct error *err);

#endif
