/* app.h - the screen of midpass: `midpass MODEL [PROMPT]` on a terminal. */
#ifndef MIDPASS_APP_H
#define MIDPASS_APP_H

#include "tui/options.h"
#include "tui/resume.h"

/* Opens the screen and the model, and runs until the user leaves. Returns the program's exit
 * status. *unsuited is set, and nothing was done, where the terminal cannot show a screen. */
int app_run(const struct options *o, struct resume *r, volatile int *interrupt, bool *unsuited,
            struct error *err);

#endif
