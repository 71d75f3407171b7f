/* near.h - what a user may have meant. */
#ifndef MIDPASS_NEAR_H
#define MIDPASS_NEAR_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a word of n bytes is a slip of the pen from name, or the start of it. */
bool near_name(const char *word, size_t n, const char *name);

#endif
