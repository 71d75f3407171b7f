/* screen.h - what a panel drew, as text that a golden file holds. */
#ifndef MIDPASS_TEST_SCREEN_H
#define MIDPASS_TEST_SCREEN_H

#include "tui/panel.h"

/* Refreshes as the app does, until there is nothing more to read, and draws. cmocka's fail on an
 * error. */
void screen_show(struct panel *p, int w, int h, struct cells *cells);

/* "== name WxH", the title, the rows between bars, and the styles of each row: a letter and how
 * many columns, with what each letter stands for below. */
void screen_add(const struct panel *p, const char *name, const struct cells *cells,
                struct text *out);

/* The same of a panel on another terminal: only what is not as in `base`, which screen_add wrote
 * for the same size, each line after its number there. */
void screen_add_difference(const struct panel *p, const char *name, const struct cells *cells,
                           const char *base, struct text *out);

/* Compares with the file; fails with the first line that differs. With MIDPASS_GOLDEN=1 in the
 * environment the file is written instead. */
void screen_compare(const char *path, const struct text *found);

#endif
