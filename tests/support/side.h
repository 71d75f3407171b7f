/* side.h - a session that says what it is told to, to be held beside another. */
#ifndef MIDPASS_TEST_SIDE_H
#define MIDPASS_TEST_SIDE_H

#include "engine/debug/command.h"

struct side {
    struct ledger *ledger;
    struct session session;
    struct report report;
    struct console console;
    struct text said;
    struct error err;
};

static const struct keep side_any = {0, false}; /* as memory allows */

/* A golden checkpoint on a backend (NULL: the CPU), with chunks and what is kept as trace_options
 * has them. What cannot be opened fails the test, and so does what closing leaves behind. */
void side_open(struct side *s, const char *name, struct backend *b, int chunk, struct keep keep);
void side_close(struct side *s);
/* What a line makes it say, an error too (s->err); valid until the next. */
const char *side_say(struct side *s, const char *line);
/* Fails, naming `where`, unless both say the same. */
void side_alike(struct side *want, struct side *got, const char *line, const char *where);

#endif
