/* completion.h - what could stand where the user is typing. */
#ifndef MIDPASS_COMPLETION_H
#define MIDPASS_COMPLETION_H

#include "engine/debug/command.h"

#define COMPLETION_MOST 500 /* candidates that are kept; the count goes on */

struct completion_source {
    struct ledger *ledger;
    const struct console *console; /* NULL: no model yet */
    const char *const *words;      /* commands beside the engine's, NULL at the end; may be NULL */
    /* Whether the session may be looked at now (false while something runs): otherwise numbers
     * of breakpoints and patches are left out. */
    bool (*idle)(void *context);
    void *context;
};

struct completion {
    struct ledger *ledger;
    size_t from; /* bytes of the line from here to the cursor are what is completed */
    char **list; /* sorted, each the whole replacement */
    size_t n, room, found;
    char common[256]; /* what all of them begin with */
    bool closes;      /* a single one ends a word: a blank may follow */
};

/* For the first `at` bytes of the line. False: no memory. */
bool completion_find(struct completion *c, const struct completion_source *s, const char *line,
                     size_t at, struct error *err);
void completion_fini(struct completion *c);
/* The candidates in columns, at most `width` wide, for the console. */
void completion_add_list(const struct completion *c, int width, struct text *out);

#endif
