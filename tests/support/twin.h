/* twin.h - a trace under test beside one of the same model that keeps every residual. */
#ifndef MIDPASS_TEST_TWIN_H
#define MIDPASS_TEST_TWIN_H

#include "engine/forward/trace.h"

struct twin {
    struct ledger *ledger;
    struct backend *backend;
    struct model model;
    struct trace kept, plain;
    int n; /* positions, the same in both */
    struct error err;
};

/* Opens a golden checkpoint on a backend that it then owns, with a prompt, nothing computed. kept
 * has a stride (0: as many as there are layers) and z between, but for a stride of 1. Random
 * numbers begin anew. */
void twin_open(struct twin *t, const char *name, struct backend *b, int chunk, int stride);
/* Fails the test if memory is left. */
void twin_close(struct twin *t);
void twin_must(bool ok, const struct twin *t);
/* Brings a trace of it to all its positions again. */
void twin_append(struct twin *t, struct trace *trace);

struct backend *twin_cpu(void);
struct backend *twin_bf16(void); /* far.h's, which rounds */

/* From 0 to n - 1. */
int twin_roll(int n);
/* What trace_read says, to be freed. */
float *twin_values(struct twin *t, struct trace *trace, int op, int row, int n, size_t *count);
/* Fails the test unless both have the same bits, of every site (or of one in `part`) at all rows
 * that kept knows, together and the last by itself. */
void twin_compare(struct twin *t, int part, const char *how);

#endif
