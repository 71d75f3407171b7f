/* continuation.h - what was generated behind a prompt and then left: kept under a name.
 *
 * The tokens behind the prompt are the present continuation. An edit leaves them as they are: what
 * was sampled before it is then read as if it had been typed. Only where something else takes
 * their place (`regenerate`, `recall`, another prompt) are they kept here, with the prompt that
 * they follow: 4 bytes a token. Names are A, B, ... Z, AA, ... and never given twice.
 */
#ifndef MIDPASS_CONTINUATION_H
#define MIDPASS_CONTINUATION_H

#include "engine/base/ledger.h"

#include <stdint.h>

#define CONTINUATION_PATCHES 64 /* bytes for "1 2 5": the patches in force */

struct continuation {
    int32_t *ids; /* [n]: the prompt and what follows it, as they are without patches */
    int n_prompt, n;
    char patches[CONTINUATION_PATCHES]; /* in force when its last token was sampled */
};

struct continuations {
    struct ledger *ledger;
    struct continuation *list; /* [n]; number i has the name of i */
    int n, room;
    char patches[CONTINUATION_PATCHES]; /* in force when the present last token was sampled */
};

struct session;

void continuations_init(struct continuations *c, struct ledger *l);
void continuations_fini(struct continuations *c);

/* The name of number i. */
const char *continuation_name(int i, char out[8]);
/* The number behind a name, in small letters too, or -1. */
int continuations_find(const struct continuations *c, const char *name);

/* Adds one by its parts; its ids are copied. */
bool continuations_add(struct continuations *c, const int32_t *ids, int n_prompt, int n,
                       const char *patches, struct error *err);
/* Tokens more to the last one, for sessions that are read back. */
bool continuations_extend(struct continuations *c, const int32_t *ids, int n, struct error *err);

/* Keeps what the session generated, unless nothing was or the same is kept already. *kept is its
 * number, or -1 if there is none. */
bool session_keep(struct session *s, int *kept, struct error *err);
/* Notes which patches are in force, as a token is sampled. */
void session_note_patches(struct session *s);
/* Drops the tokens from position `from` on, which has to lie behind the prompt; the cursor stays or
 * goes back to where all before it is computed. */
void session_cut(struct session *s, int from);
/* Puts the tokens of number i behind the prompt, in place of those that are there, which are kept
 * as *kept. An error where the prompt is another. */
bool session_recall(struct session *s, int i, int *kept, struct error *err);
/* Whether number i follows the present prompt, and whether its tokens are those that are there. */
bool continuation_fits(const struct session *s, int i, bool *present);

#endif
