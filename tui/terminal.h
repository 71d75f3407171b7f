/* terminal.h - the terminal: a grid shown, keys read, and everything put back afterwards.
 *
 * terminal.c alone knows ncurses. What curses sends goes into a file in memory first and from
 * there to the terminal in one piece: so that bytes can be counted, and a slow line gets whole
 * frames (line.h). There is one terminal.
 */
#ifndef MIDPASS_TERMINAL_H
#define MIDPASS_TERMINAL_H

#include "tui/panel.h"

struct terminal_facts {
    int colours; /* that the terminal claims: 256, 16, 8, 0 */
    bool utf8;
};

struct terminal_mouse {
    enum mouse_action action;
    int x, y;
};

/* Pasted text comes as characters between these two. */
enum { KEY_PASTE_BEGIN = KEY_MOUSE_EVENT + 1, KEY_PASTE_END };

/* False: the terminal cannot position its cursor, or is not known; nothing was changed. */
bool terminal_start(struct ledger *l, struct terminal_facts *facts, struct error *err);
void terminal_stop(void); /* as it was before; twice is fine */
/* Gives the terminal to the shell (Ctrl-Z) and takes it again at `fg`. */
void terminal_suspend(void);
/* Takes it again where somebody else stopped and continued the program. */
void terminal_resume(void);

/* Looks at the real size; whether it changed. At least 1 x 1. */
bool terminal_measure(int *w, int *h);
/* Sends what differs from what is there. Cursor at (x, y), or hidden with x < 0. False: the
 * terminal is gone, or no memory. */
bool terminal_show(const struct cells *c, int x, int y, struct error *err);
void terminal_redraw(void); /* the next show sends everything */

/* The next key, KEY_NONE if none is there now. Never waits longer than an escape takes. */
int terminal_key(struct terminal_mouse *mouse);
void terminal_mouse_on(bool on);

#endif
