/* npy.h - numpy's own file format, version 1.0:
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
#ifndef MIDPASS_NPY_H
#define MIDPASS_NPY_H

#include "engine/debug/value.h"

/* Writes a value as a file that numpy.load reads: float32, or float64 for one number. The file
 * is there whole or not at all. */
bool npy_write(struct ledger *l, const char *path, const struct value *v, struct error *err);

/* ---- npy_read.c ---- */

/* Reads an array of floats, integers or bools, either byte order, C order. Messages name the
 * header's entry that is off. out is initialised; one number has no axes. */
bool npy_read(struct ledger *l, const char *path, struct value *out, struct error *err);
/* The same of a file's bytes. */
bool npy_parse(const char *bytes, size_t n, struct value *out, struct error *err);

#endif
