/* error.h - what went wrong, in words for the user.
 *
 * A function that can fail returns bool (or a pointer) and takes a struct error.
 * The message names the file, the tensor or the word, what was expected and what
 * was found. The first error stands; callers may put where they were in front.
 */
#ifndef MIDPASS_ERROR_H
#define MIDPASS_ERROR_H

#include <stdbool.h>

/* Words and numbers are what --json says: new ones come at the end. */
enum error_code {
    ERR_NONE,
    ERR_USAGE,       /* the command or expression is off */
    ERR_FILE,        /* the system refused: missing, unreadable, full */
    ERR_FORMAT,      /* the file's content is off */
    ERR_UNSUPPORTED, /* well formed, but not something midpass knows */
    ERR_MEMORY,      /* does not fit, or an allocation failed */
    ERR_STATE,       /* not now: no prompt, not computed yet */
    ERR_INTERRUPTED, /* the user stopped it */
    ERR_DEVICE,      /* the backend reported a failure */
};

struct error {
    enum error_code code;
    int column; /* 1-based place in the line typed; 0: none */
    char text[500];
};

/* "usage", "file", ...: the stable words of --json. */
const char *error_code_name(enum error_code code);

/* Sets *e (NULL is fine) and returns false, so `return error_set(...)` reads well. */
bool error_set(struct error *e, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, pointing at a column (1-based). */
bool error_at(struct error *e, enum error_code code, int column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Puts "context: " in front of the message. Returns false. */
bool error_prefix(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
