/* typed.h - the line being typed, in as many columns as there are.
 *
 * Of a line that is too long the part around the cursor is shown. All is counted in columns, since
 * a character takes two, or none. */
#ifndef MIDPASS_TYPED_H
#define MIDPASS_TYPED_H

#include "tui/panel.h"

/* Draws v's lead and text in row y of r. Returns the column in r where the cursor is. */
int typed_draw(struct region r, int y, const struct prompt_view *v, struct style s);

#endif
