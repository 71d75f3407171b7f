/* worker.h - a thread that runs one thing at a time, and says when it is done.
 *
 * The loop starts a job, goes on answering keys, and takes the job back when the worker's file
 * descriptor can be read. What a job says is gathered here until the loop takes it.
 */
#ifndef MIDPASS_WORKER_H
#define MIDPASS_WORKER_H

#include "engine/base/text.h"

struct worker;

struct worker *worker_open(struct ledger *l, struct error *err);
/* Waits for the job to end; what it still says is dropped. NULL is fine. */
void worker_close(struct worker *w);
int worker_fd(const struct worker *w); /* can be read when a job has ended */

/* Nothing may be running. */
void worker_start(struct worker *w, void (*run)(void *context), void *context);
bool worker_busy(const struct worker *w); /* started, and not taken back yet */
/* Whether the job has ended; from then on the worker is free. */
bool worker_take(struct worker *w);

/* From the job: says something. Waits while too much of it was not yet taken. */
bool worker_say(struct worker *w, const char *s, size_t n, struct error *err);
/* From the loop: moves what was said to out; whether there was anything. */
bool worker_said(struct worker *w, struct text *out);

#endif
