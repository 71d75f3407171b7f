/* origin.h - which patches were in force when tokens were sampled.
 *
 * Editing leaves the tokens that were generated as they are. So that nobody takes them for what
 * the model says now, each stretch of them remembers the patches of its time, one line each:
 * "2 5 0.z at 5 zero" is patch 2, whose effect begins at position 5, and what was typed. Numbers
 * of patches are never given twice, so that they tell whether the same patches hold now.
 */
#ifndef MIDPASS_ORIGIN_H
#define MIDPASS_ORIGIN_H

#include "engine/base/text.h"

struct origin {
    int from; /* tokens from this position on, up to the next stretch's */
    char *patches;
};

struct origins { /* zeros: none, of no ledger */
    struct ledger *ledger;
    struct origin *list; /* [n], from the lowest position on */
    int n, room;
};

struct session;

void origins_init(struct origins *o, struct ledger *l);
void origins_fini(struct origins *o);

/* Tokens from `from` on have this origin; what was known of them before is dropped. The text is
 * copied. */
bool origins_add(struct origins *o, int from, const char *patches, struct error *err);
/* Forgets tokens from position `from` on. */
void origins_cut(struct origins *o, int from);
/* `to` becomes a copy; on failure it is left as it was. */
bool origins_copy(struct origins *to, const struct origins *from, struct error *err);
/* The patches when this token was sampled; NULL: it is not known that it was sampled. */
const char *origins_at(const struct origins *o, int position);
/* Adds "1: 0.z zero, 2: ..." of such a text; nothing for "". */
void origins_describe(struct text *out, const char *patches);

/* ---- the session's ---- */

/* Notes the patches in force, for the token that is sampled next at this position. */
bool session_note_origin(struct session *s, int position, struct error *err);

#define STALE_NAMED 8

/* Patches that reach the pass that chose a token, and hold only now, or held only then. */
struct stale {
    int n_since, n_gone; /* how many there are; the first of them: */
    int since[STALE_NAMED], gone[STALE_NAMED];
};
/* Whether a token would be chosen anew today: it was sampled, and other patches than then reach
 * the positions before it. False also where that is not known. */
bool session_stale(const struct session *s, int position, struct stale *out);

#endif
