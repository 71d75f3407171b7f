/* display.h - the list of values that are shown behind every stop. */
#ifndef MIDPASS_DISPLAY_H
#define MIDPASS_DISPLAY_H

#include "engine/base/ledger.h"

struct displays {
    struct ledger *ledger;
    struct display {
        int id;
        bool enabled, all; /* all of a large value */
        char *expr;
    } * list;
    int n, room, last_id;
};

void displays_init(struct displays *d, struct ledger *l);
void displays_fini(struct displays *d);
/* The next number, for an expression that was looked at already; 0 and *err: no memory. */
int displays_add(struct displays *d, const char *expr, bool all, struct error *err);
/* NULL and *err if there is none of this number. */
struct display *displays_find(const struct displays *d, int id, struct error *err);
void displays_remove(struct displays *d, struct display *gone);

/* A copy of all of them, for undo; nothing is shared. */
bool displays_copy(struct displays *to, const struct displays *from, struct error *err);
/* Takes over another list; numbers that were given stay given. */
void displays_replace(struct displays *d, struct displays *from);
bool displays_differ(const struct displays *a, const struct displays *b);

#endif
