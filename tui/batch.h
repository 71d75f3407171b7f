/* batch.h - the front without a screen: commands from the command line, a file or a pipe. */
#ifndef MIDPASS_BATCH_H
#define MIDPASS_BATCH_H

#include "tui/resume.h"

/* The program's exit status. */
enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_STOPPED = 130 };

/* Opens the model, begins or resumes the log, runs the rc files, the prompt, the actions, then what
 * standard input says. interrupt is raised by the signal handler. */
int batch_run(const struct options *o, struct resume *r, volatile int *interrupt);
/* What --sessions and --allow are for. */
int batch_sessions(const struct options *o);
/* Prints what --plan is for. */
int batch_plan(const struct options *o);
/* An error to standard error and, with json, as an object to standard output. */
void batch_error(const struct options *o, const struct error *e);

#endif
