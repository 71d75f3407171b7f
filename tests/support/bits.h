/* bits.h - comparing floats by their bits. */
#ifndef MIDPASS_TEST_BITS_H
#define MIDPASS_TEST_BITS_H

#include <stdbool.h>
#include <stddef.h>

/* The first index at which a and b have not the same bits, or n. Any two NaNs are the same:
 * which of several comes out of an operation is not the program's to say. */
size_t bits_differ(const float *a, const float *b, size_t n);

#endif
