/* console.h - the lines that the console has said, and the panel that shows them. */
#ifndef MIDPASS_PANELS_CONSOLE_H
#define MIDPASS_PANELS_CONSOLE_H

#include "tui/panel.h"

#define SCROLLBACK_LINES 10000 /* the oldest go first */

enum said { SAID_OUTPUT, SAID_COMMAND, SAID_ERROR, SAID_NOTICE, SAID_LOG };

struct scrollback *scrollback_open(struct ledger *l, struct error *err);
void scrollback_close(struct scrollback *s); /* NULL is fine */
/* Adds text, split at line feeds, made safe. Without memory the oldest lines go. */
void scrollback_add(struct scrollback *s, enum said what, const char *text, size_t n);
/* The i-th line, 0 the oldest. */
const char *scrollback_line(const struct scrollback *s, int i, enum said *what);

#endif
