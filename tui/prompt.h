/* prompt.h - the line that the user types, with history and completion.
 *
 * prompt.c alone knows readline, of which there is one in a program. Two ways: within the screen,
 * where keys are handed in and the line is drawn by a panel; and plain, where readline has the
 * terminal to itself.
 */
#ifndef MIDPASS_PROMPT_H
#define MIDPASS_PROMPT_H

#include "tui/completion.h"
#include "tui/panel.h"

#define PROMPT_LEAD      "(midpass) "
#define PROMPT_MORE_LEAD "> " /* within commands ... end */

/* Reads the history. say shows what could complete the line, one text with line feeds. */
struct prompt_options {
    struct ledger *ledger;
    const struct completion_source *source; /* may be NULL */
    void (*say)(void *context, const char *s, size_t n);
    void *context;
};
bool prompt_start(const struct prompt_options *o, struct error *err);
/* Writes the history, frees. Twice is fine. */
void prompt_stop(void);

/* ---- within the screen ---- */

enum prompt_result { PROMPT_MORE, PROMPT_DONE, PROMPT_CANCELLED };

/* Begins a line with a text written out. remember: it goes into the history. */
void prompt_open(const char *lead, const char *text, bool remember);
/* One key; alone: no other key came with it, so Escape is the key and not the start of a
 * sequence. After DONE and CANCELLED prompt_line is the line, and the prompt is closed. */
enum prompt_result prompt_key(int key, bool alone);
void prompt_close(void);
const char *prompt_line(void);
const char *prompt_text(void); /* as typed so far */
/* What to draw; valid until the next call of any of these. */
void prompt_look(struct prompt_view *v);

/* ---- plain ---- */

/* The next line, without its end; Ctrl-C gives up what was typed. NULL: no more. Freed by the
 * next call. */
const char *prompt_read(const char *lead, volatile int *interrupt);

#endif
