/* continuation.h - what was generated behind a prompt and then left: kept under a name.
 *
 * The tokens behind the prompt are the present continuation. An edit leaves them as they are: what
 * was sampled before it is then read as if it had been typed. Only where something else takes
 * their place (`regenerate`, `recall`, another prompt, undo) are they kept here, with the prompt
 * that they follow: 4 bytes a token. Names are A, B, ... Z, AA, ... and never given twice.
 */
#ifndef MIDPASS_CONTINUATION_H
#define MIDPASS_CONTINUATION_H

#include "engine/debug/origin.h"

#include <stdint.h>

struct continuation {
    int32_t *ids; /* [n]: the prompt and what follows it, as they are without patches */
    int n_prompt, n;
    struct origins origins;
};

struct continuations {
    struct ledger *ledger;
    struct continuation *list; /* [n]; number i has the name of i */
    int n, room;
};

struct session;

void continuations_init(struct continuations *c, struct ledger *l);
void continuations_fini(struct continuations *c);

/* The name of number i. */
const char *continuation_name(int i, char out[8]);
/* The number behind a name, in small letters too, or -1. */
int continuations_find(const struct continuations *c, const char *name);

/* Adds one by its parts; ids and origins (NULL: none) are copied. */
bool continuations_add(struct continuations *c, const int32_t *ids, int n_prompt, int n,
                       const struct origins *origins, struct error *err);
/* Tokens more to the last one, for sessions that are read back. */
bool continuations_extend(struct continuations *c, const int32_t *ids, int n, struct error *err);

/* Keeps what the session generated, unless nothing was or a kept one begins with the same. One
 * that is new is told in the session's notice. */
bool session_keep(struct session *s, struct error *err);
/* Drops the tokens from position `from` on, which has to lie behind the prompt; the cursor stays or
 * goes back to where all before it is computed. */
void session_cut(struct session *s, int from);
/* Puts the tokens of number i behind the prompt, in place of those that are there, which are kept.
 * An error where the prompt is another. */
bool session_recall(struct session *s, int i, struct error *err);

/* How number i lies to the tokens that are there. */
struct continuation_place {
    bool this_prompt; /* it follows the present prompt */
    bool present;     /* its tokens are those that are there */
    int branch;       /* of this_prompt: the first position where they part */
};
struct continuation_place continuation_place(const struct session *s, int i);

#endif
