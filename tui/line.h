/* line.h - the line to the terminal: bytes and modes, and everything put back afterwards.
 *
 * While the screen is open, standard output and error go to a pipe (libraries and shell commands
 * write there), and standard input is empty. There is one line.
 */
#ifndef MIDPASS_LINE_H
#define MIDPASS_LINE_H

#include "engine/base/error.h"

#include <stddef.h>

bool line_open(struct error *err); /* remembers 0, 1, 2 and the modes; changes nothing */
void line_close(void);
/* 0, 1 and 2 go elsewhere, until line_emergency. */
bool line_redirect(struct error *err);

void line_take_modes(void); /* keys come one by one, nothing is echoed, no signal is made of them */
void line_give(void);       /* to the shell for a while: screen and modes as they were */
/* Puts screen, modes and 0, 1, 2 back with nothing but what a signal handler may call. */
void line_emergency(void);
/* Adds to what is sent then. */
void line_add_leave(const char *s);

/* Sends all of it; what cannot be sent is lost, and so is the line. */
void line_send(const char *s, size_t n);
bool line_lost(void);

int line_in(void);
int line_out(void);
int line_log(void); /* what others wrote to 1 and 2; non-blocking */

#endif
