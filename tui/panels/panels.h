/* panels.h - the table of all panels. */
#ifndef MIDPASS_PANELS_PANELS_H
#define MIDPASS_PANELS_PANELS_H

#include "tui/panel.h"

#define PANELS_MOST 16

int panels_count(void);
const struct panel_kind *panels_kind(int i); /* 0 .. panels_count() - 1 */
int panels_find(const char *name);           /* -1: there is none */

#endif
