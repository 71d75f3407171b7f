/* builder_parts.h - what the builder's files share. The families see builder.h only. */
#ifndef MIDPASS_BUILDER_PARTS_H
#define MIDPASS_BUILDER_PARTS_H

#include "engine/families/families.h"

#include <stdarg.h>

/* p with room for one more than n, or NULL and the builder has failed. */
void *builder_grow(struct builder *b, void *p, int n, int *room, size_t size);
/* Keeps the first error. */
void builder_fail(struct builder *b, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A copy of n floats that the model owns. NULL: failed. */
const float *builder_own(struct builder *b, const float *host, int n);
/* name.weight and name.bias. */
void builder_names(char weight[180], char bias[180], const char *format, va_list args);

#endif
