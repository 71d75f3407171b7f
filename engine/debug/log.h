/* log.h - a session's log: what was done, as a script that does it again.
 *
 * The first line is a comment that begins with LOG_MARK and holds a JSON object: the model's
 * folder and the options, as words of a command line. Each line after it was written, whole, as
 * its command succeeded, so that whatever ends the program loses at most the command it was in.
 * While a program writes a log it holds a lock on the file: no two programs share one.
 */
#ifndef MIDPASS_LOG_H
#define MIDPASS_LOG_H

#include "engine/base/text.h"

#include <limits.h>
#include <time.h>

#define LOG_MARK      "# midpass session "
#define LOG_KEPT      50                  /* logs that stay when a new session begins */
#define LOG_MAX_BYTES ((size_t)256 << 20) /* of a log that is read back */

struct session_log {
    int fd; /* -1: there is none */
    char path[PATH_MAX];
    long lines;     /* commands written; of a log taken up again, those it had too */
    bool automatic; /* lies in the state folder: goes away if nothing was done */
};

void log_init(struct session_log *log);
/* Gives the lock up. An automatic log without any command is removed. */
void log_close(struct session_log *log);

/* What a log's header says, and what stands in it. */
struct log_summary {
    char path[PATH_MAX];
    char *text;   /* the whole log */
    size_t n;     /* bytes in whole lines */
    char *model;  /* from the last header in it; NULL: it has none */
    char **words; /* [n_words], the options */
    int n_words;
    long lines;         /* commands */
    const char *prompt; /* of the last run or ids line; NULL: none; [n_prompt] */
    size_t n_prompt;
    bool torn;            /* behind them stands a line without its line feed */
    struct timespec when; /* last written */
};
bool log_read(struct log_summary *s, struct ledger *l, const char *path, struct error *err);
void log_summary_fini(struct log_summary *s, struct ledger *l);

/* Whether a program holds it now. */
bool log_held(const char *path);

/* ---- writing ---- */

/* Makes a new log in $XDG_STATE_HOME/midpass, and removes the oldest of those that no program
 * holds, so that LOG_KEPT are left. header: see log_header. */
bool log_open_new(struct session_log *log, struct ledger *l, const char *header, struct error *err);
/* Appends to a file, which is made if it is not there, beginning with the header. A file that
 * another program holds is an error. */
bool log_open_file(struct session_log *log, const char *path, const char *header,
                   struct error *err);
/* Takes up a log that is there: the newest in the state folder that has commands and that no
 * program holds, or, with a path, that one. *s is what it says, for the caller to give up. If a
 * last line has no line feed the program ended as it wrote it: it is cut off, and s->torn. */
bool log_take_up(struct session_log *log, struct ledger *l, struct log_summary *s, const char *path,
                 struct error *err);
/* Appends line[0 .. n) and a line feed in one write. Line feeds, carriage returns and NULs within
 * are written as the escapes that strings have. comment: puts "# " in front. On failure the log
 * is closed. */
bool log_add(struct session_log *log, struct ledger *l, const char *line, size_t n, bool comment,
             struct error *err);

/* The header line of a model's folder (absolute) and the options' words. */
bool log_header(struct text *out, const char *model, const char *const *words, int n_words,
                struct error *err);

/* The paths of all logs in the state folder, newest first; [*n], each from mem_alloc and so the
 * list. No folder: none. */
bool log_list(struct ledger *l, char ***paths, int *n, struct error *err);
void log_list_fini(struct ledger *l, char **paths, int n);

#endif
