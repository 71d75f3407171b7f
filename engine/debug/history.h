/* history.h - what undo brings back: the state before each command that changed it.
 *
 * A state is the tokens, the patches, the breakpoints with their commands and counts, the
 * displays, the named values, the sampler and the place. No activation is kept: what a state needs
 * is computed again, to the same bits. Numbers that were given are not given again after undoing,
 * and come back with redo. Values that were printed ($1, $2, ...) and continuations that were kept
 * are never taken away.
 */
#ifndef MIDPASS_DEBUG_HISTORY_H
#define MIDPASS_DEBUG_HISTORY_H

#include "engine/debug/display.h"
#include "engine/debug/session.h"
#include "engine/debug/variables.h"

#define HISTORY_MOST  500                /* states; the oldest go */
#define HISTORY_BYTES ((size_t)64 << 20) /* of all states together */

struct snapshot {
    int32_t *ids; /* [n_ids] */
    int n_ids, n_prompt, position, op;
    bool has_prompt, at_start;
    struct sampler sampler;
    struct patches patches; /* without a trace */
    struct breakpoints breakpoints;
    struct origins origins;
    struct displays displays;
    struct variables variables; /* the named ones */
    size_t bytes;               /* that only this holds */
};

struct change {
    char *what; /* the line that made it */
    struct snapshot before, after;
    bool undone; /* `after` is there */
};

struct history {
    struct ledger *ledger;
    struct change *list; /* [n]; those from `at` on were undone */
    int n, at, room;
    unsigned added; /* changes, ever */
};

void history_init(struct history *h, struct ledger *l);
void history_fini(struct history *h);

struct console;

bool snapshot_take(struct snapshot *out, const struct console *c, struct error *err);
void snapshot_fini(struct snapshot *s, struct ledger *l);

/* Whether tokens, patches, breakpoints, displays, named values or the sampler are others than
 * then. */
bool snapshot_differs(const struct snapshot *then, const struct console *c);

/* Adds a change that was made; takes over `before`. What was undone can not be done again then. */
bool history_add(struct console *c, const char *what, struct snapshot *before, struct error *err);
/* Forgets all changes: undo does not go behind this. */
void history_clear(struct history *h);
/* Brings back the state before the last change; *what (borrowed) is the line that made it.
 * Generated tokens that go are kept as a continuation. The session then computes what its place
 * needs: interrupted, the state holds all the same. */
bool history_undo(struct console *c, const char **what, struct error *err);
bool history_redo(struct console *c, const char **what, struct error *err);

#endif
