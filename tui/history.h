/* history.h - the lines that were typed, from one session to the next. Knows no readline.
 *
 * $XDG_CONFIG_HOME/midpass/history, one line each, oldest first. Several programs may append at
 * the same time: a line is one write.
 */
#ifndef MIDPASS_HISTORY_H
#define MIDPASS_HISTORY_H

#include "engine/base/ledger.h"

#define HISTORY_LINES 10000 /* that are kept */

/* Hands each line to `each`, oldest first, at most HISTORY_LINES of them, and shortens a file
 * that has more. No file: no lines. */
bool history_load(struct ledger *l, void (*each)(void *context, const char *line), void *context,
                  struct error *err);
/* Appends line[0 .. n). Empty lines, and lines with a line feed or a NUL, are passed by. */
bool history_append(struct ledger *l, const char *line, size_t n, struct error *err);

#endif
