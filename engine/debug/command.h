/* command.h - the debugger's words: one table that runs them, finds them and explains them.
 *
 * A console is a session with someone giving it commands: a script, a pipe, the screen. All that
 * a command says goes to the console's report.
 */
#ifndef MIDPASS_COMMAND_H
#define MIDPASS_COMMAND_H

#include "engine/debug/log.h"
#include "engine/debug/history.h"
#include "engine/debug/report.h"
#include "engine/debug/session.h"
#include "engine/debug/variables.h"

struct console {
    struct ledger *ledger;
    struct session *session;
    struct report *report;
    struct variables variables;
    struct displays displays;
    struct history history;
    bool untrusted;   /* refuses commands that touch files or start programs */
    bool interactive; /* a person types: an empty line repeats the last motion */
    bool quit;
    int exit_code;    /* that quit was given */
    int source_depth; /* of files that source files */
    bool placed;      /* the error tells its file and line */
    bool changing;    /* the state before the running command is kept for undo */
    char *repeat;     /* the line that an empty one repeats, or NULL */
    /* Lines between `commands` and `end`, for breakpoints first_gathered to last_gathered; 0:
     * none are gathered. */
    struct text gathered;
    int first_gathered, last_gathered;
    int gather_depth; /* of commands within these lines that are not ended */
    /* What was done goes here: the session's own log, and one that `log FILE` began. */
    struct session_log logs[2];
    const char *log_header; /* of logs and saved sessions; NULL: the model's name alone */
    char *log_as;           /* what the running command is in a log, if not as it was typed */
    bool repeats_log;       /* those lines are a log's */
    const char *sourced;    /* the file whose lines run now, or NULL */
};

void console_init(struct console *c, struct session *s, struct report *r);
void console_fini(struct console *c);

/* Runs one line (without its line feed). A comment (#) does nothing. On failure what the command
 * had not yet sent is dropped, and a column in *err counts from the line's start. */
bool console_run(struct console *c, const char *line, size_t n, struct error *err);
/* Whether lines are being gathered for a breakpoint: a front shows ">" in front of the next. */
bool console_gathers(const struct console *c);
/* Runs the lines of a file until one fails; messages begin with the file and its line. */
bool console_source(struct console *c, const char *path, struct error *err);
/* The same of lines that were read already; path is for messages, and where files that they
 * name are looked for first. */
bool console_source_text(struct console *c, const char *path, const char *text, size_t n,
                         struct error *err);

/* ---- the table ---- */

/* What of a line follows the command's name. */
struct arguments {
    const char *line; /* NUL-terminated; may hold NULs */
    size_t at, n;     /* the rest is line[at .. n) */
    char format[16];  /* the letters behind a slash: print/a */
    int format_column;
};

enum command_theme {
    THEME_RUN,
    THEME_LOOK,
    THEME_BREAK,
    THEME_EDIT,
    THEME_SAVE,
    THEME_OTHER,
    THEMES
};

/* What may follow a command, for completion. */
enum command_takes { TAKES_NOTHING, TAKES_TEXT, TAKES_EXPR, TAKES_SITE, TAKES_FILE, TAKES_WORD };

struct command {
    const char *name;
    const char *aliases; /* "s", or "p inspect"; "" */
    const char *usage;   /* "step [n]" */
    const char *brief;   /* one line */
    const char *help;    /* more lines, or "" */
    enum command_theme theme;
    enum command_takes takes;
    bool repeats; /* an empty line runs it again */
    bool outside; /* touches files or starts programs */
    bool changes; /* the state: belongs in the log */
    bool undoable;
    bool (*run)(struct console *c, struct arguments *a, struct error *err);
    const char *const *words; /* TAKES_WORD: the words that may follow, NULL at the end */
};

/* The i-th command, in the order of help; NULL behind the last. */
const struct command *command_at(int i);
/* By name, alias or a prefix that fits one command. NULL and *err otherwise, with near names. */
const struct command *command_find(const char *word, size_t n, int column, struct error *err);
const char *command_theme_name(enum command_theme t);

#endif
