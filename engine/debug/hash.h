/* hash.h - one number for all that a session computed, to tell two sessions apart. */
#ifndef MIDPASS_HASH_H
#define MIDPASS_HASH_H

#include "engine/debug/session.h"

/* FNV-1a of 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/) over the logits of all
 * computed positions, in their order, fed the bits of one float32 at a time instead of one
 * byte: h = (h ^ bits) * 0x100000001b3 from h = 0xcbf29ce484222325 on. *positions is how many.
 * Memory: the logits of a few rows. */
bool session_hash(struct session *s, uint64_t *hash, int *positions, struct error *err);

#endif
