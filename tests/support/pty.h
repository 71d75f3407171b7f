/* pty.h - the real program under a pseudo-terminal, seen through libvterm.
 *
 * What the program sends is fed to a terminal that lives in memory; tests type keys and look at
 * that terminal's screen. Waiting is for something to appear, never for a time to pass.
 */
#ifndef MIDPASS_TEST_PTY_H
#define MIDPASS_TEST_PTY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <termios.h>
#include <vterm.h>

struct pty {
    pid_t pid;
    int master, slave; /* the slave stays open, to look at its modes */
    VTerm *term;
    VTermScreen *screen;
    int w, h;
    unsigned long long bytes; /* sent by the program so far */
    struct termios before;    /* the modes it found */
    bool alternate, cursor;   /* which screen it is on; whether the cursor can be seen */
    bool ended;
    int status; /* of waitpid, once ended */
};

/* Starts argv[0] in w x h cells. environment: NAME=VALUE to set, or NAME to unset; NULL at the
 * end; may be NULL. Fails the test if it cannot. */
void pty_open(struct pty *p, char *const *argv, const char *const *environment, int w, int h);
/* Kills what still runs, and frees. */
void pty_close(struct pty *p);

void pty_type(struct pty *p, const char *keys);
void pty_resize(struct pty *p, int w, int h);

/* Reads until the screen shows a text; fails the test, showing the screen, after 20 s. */
void pty_expect(struct pty *p, const char *text);
/* The same until it no longer does. */
void pty_expect_gone(struct pty *p, const char *text);
/* Reads until nothing has come for so many milliseconds. Returns the bytes that came. */
unsigned long long pty_settle(struct pty *p, int quiet_ms);
bool pty_shows(struct pty *p, const char *text);
/* Waits for the end; the status as waitpid has it. Fails the test after 20 s. */
int pty_wait(struct pty *p);
/* Whether modes and screen are as they were before. */
bool pty_restored(struct pty *p);

/* Row y without trailing blanks, UTF-8; good until the next call. */
const char *pty_row(struct pty *p, int y);
void pty_print(struct pty *p); /* the screen, to standard error */

#endif
