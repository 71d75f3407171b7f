/* breakpoint.h - places to stop at: site, position, condition, counts; watches and catches.
 *
 * A breakpoint stands after the op that carries its site: the value is written, and patched,
 * and a condition may look at it as `.`. Numbers are never used again. A condition is tried on
 * zeros when it is set, also at the first position that it may meet, so that one that cannot be
 * evaluated is an error then.
 *
 * Whether a place stops depends on the place alone, never on how one came there, so that running
 * in chunks, op by op or backwards finds the same:
 *   a watch   stands behind the last site that its expression reads, and stops where the value is
 *             not the one at the token before
 *   nan       stops where a site's value holds a NaN or an infinity; -inf among scores is a mask
 *   top1      stops at a resid_post whose lens says another best token than the residual before
 *             that block
 */
#ifndef MIDPASS_BREAKPOINT_H
#define MIDPASS_BREAKPOINT_H

#include "engine/debug/expr.h"
#include "engine/forward/trace.h"

struct session;
struct variables;

enum stop_kind { STOP_SITE, STOP_WATCH, STOP_NAN, STOP_TOP1 };

struct breakpoint {
    int id;
    enum stop_kind kind;
    bool enabled, temporary;
    int op; /* of a watch: where it stands */
    enum site site;
    int layer_first, layer_last;
    int first, last;   /* positions, both included */
    int32_t token_id;  /* stop at this token only; -1: at any */
    char *condition;   /* as typed; NULL: none */
    struct expr *expr; /* the condition, or what is watched */
    bool here_only; /* the condition reads nothing but `.`: it can be tested while a chunk runs */
    int ignore;     /* hits to pass by */
    long hits;
    char *text;     /* as typed, for listings */
    char *commands; /* lines that run after a stop; NULL: none */
    bool silent;    /* the stop itself is not told */
};

struct breakpoints {
    struct ledger *ledger;
    const struct variables *variables; /* for conditions; may be NULL */
    struct breakpoint *list;
    int n, room, last_id;
    unsigned long changes;  /* so far, of what stands where and what it tests */
    struct breakpoint gone; /* the temporary one that stopped last; id 0: none did */
};

/* What is asked for; first, last and token_id as above. Strings are copied. */
struct breakpoint_spec {
    enum stop_kind kind;
    enum site site;
    int layer_first, layer_last, first, last;
    int32_t token_id;
    bool temporary;
    const char *condition; /* NULL: none; of a watch: what is watched */
    size_t n_condition;
    int column; /* of the condition in the line, for errors */
    const char *text;
};

void breakpoints_init(struct breakpoints *b, struct ledger *l);
void breakpoints_fini(struct breakpoints *b);

/* Its number; 0 and *err if the model has no such site or the condition cannot be evaluated. */
int breakpoints_add(struct breakpoints *b, struct session *s, const struct breakpoint_spec *spec,
                    struct error *err);
bool breakpoints_remove(struct breakpoints *b, int id, struct error *err);
/* NULL and *err (may be NULL) if there is none of this number. */
struct breakpoint *breakpoints_find(const struct breakpoints *b, int id, struct error *err);
/* Takes a temporary one that has stopped from the list; breakpoints_stopper still knows it. */
void breakpoints_retire(struct breakpoints *b, int id);
/* The breakpoint that stopped a motion (session.stopped_by), retired or not; NULL: deleted, or 0.
 */
const struct breakpoint *breakpoints_stopper(const struct breakpoints *b, int id);
bool breakpoints_enable(struct breakpoints *b, int id, bool enabled, struct error *err);
/* Replaces the condition; NULL takes it away. */
bool breakpoints_condition(struct breakpoints *b, struct session *s, int id, const char *text,
                           size_t n, int column, struct error *err);

/* Lines, joined by line feeds, that run after it has stopped; n 0 takes them away. */
bool breakpoints_commands(struct breakpoints *b, int id, const char *lines, size_t n,
                          struct error *err);

/* A copy of all of them, for undo; nothing is shared. */
bool breakpoints_copy(struct breakpoints *to, const struct breakpoints *from, struct error *err);
/* Takes over another list; numbers that were given stay given. */
void breakpoints_replace(struct breakpoints *b, struct breakpoints *from);

/* Whether a breakpoint stands at this op, at some position. */
bool breakpoint_stands(const struct breakpoint *b, const struct session *s, int op);
/* Whether an enabled breakpoint stands at this op and position (its condition aside). */
bool breakpoint_covers(const struct breakpoint *b, const struct session *s, int position, int op);

/* Forward from the cursor to (position, op), stopping at the first breakpoint on the way. Hits
 * are counted in token-major order, as stepping op by op would find them, although the prompt
 * runs in chunks. *stopped is the breakpoint's number, or 0 at the place itself. */
bool session_travel(struct session *s, int position, int op, int *stopped, struct error *err);
/* Backwards from the cursor to the nearest breakpoint that would stop, or to the start. Counts
 * no hits. */
bool session_travel_back(struct session *s, int *stopped, struct error *err);

#endif
