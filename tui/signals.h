/* signals.h - signals while the screen is open. Handlers do no more than note what came. */
#ifndef MIDPASS_SIGNALS_H
#define MIDPASS_SIGNALS_H

#include "engine/base/error.h"

enum signal_note {
    NOTE_NONE,
    NOTE_RESIZED,   /* SIGWINCH */
    NOTE_SUSPEND,   /* SIGTSTP from outside */
    NOTE_CONTINUED, /* SIGCONT: another program had the terminal */
    NOTE_LEAVE      /* SIGTERM, SIGHUP, SIGQUIT */
};

/* Faults put the terminal back before whoever had the signal earlier gets it. SIGINT raises
 * *interrupt. */
bool signals_start(volatile int *interrupt, struct error *err);
void signals_stop(void);
int signals_fd(void); /* can be read when something was noted */
enum signal_note signals_take(void);
int signals_last(void); /* the number of the signal that says leave; 0: none came */

#endif
