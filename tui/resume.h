/* resume.h - a session's log: begun with it, found again, and done again. */
#ifndef MIDPASS_RESUME_H
#define MIDPASS_RESUME_H

#include "tui/options.h"

#include "engine/debug/command.h"

/* A log that was taken up, before its model is open. */
struct resume {
    struct ledger *ledger;
    struct session_log log;
    struct log_summary summary;
    char **argv; /* the log's options, then those of the command line */
    char *header;
};

/* If the command line asks for it: takes up the log, and reads the options again with the log's
 * in front, so that those given now win. o->model is the log's if none is given. */
bool resume_begin(struct resume *r, struct options *o, int argc, char **argv, struct error *err);
void resume_fini(struct resume *r);

/* Begins the log of a session, or takes up the old one: says its commands again, in silence, and
 * goes on where they end. *told is a line for the user, or "". False and *err: a log cannot be
 * written, or a line of the old one failed; the session goes on as it stands. */
bool resume_start(struct resume *r, const struct options *o, struct console *c, char told[512],
                  struct error *err);

/* Prints what --sessions is for. */
bool resume_list(const struct options *o, struct report *r, struct error *err);

#endif
