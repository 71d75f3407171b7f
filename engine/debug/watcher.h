/* watcher.h - conditions that are tested while a chunk runs.
 *
 * Where a condition looks only at `.`, the rows that an op has just written are enough for it. A
 * device's rows stay where they are: what was measured of them (sieve.h) tells which may be hits,
 * and these alone are read, later.
 */
#ifndef MIDPASS_WATCHER_H
#define MIDPASS_WATCHER_H

#include "engine/debug/session.h"

struct hit {
    int position, op, id;
    bool maybe; /* the row is still to be read */
};

/* A breakpoint at an op, and the next one there. */
struct stander {
    int breakpoint, next; /* -1: the last */
};

struct watcher {
    struct session *session;
    bool *watch;          /* [n_ops] */
    bool *whole;          /* [n_ops]: rows that measures say nothing about */
    unsigned char *sites; /* [n_ops]: the ops themselves lie far apart */
    int *first;           /* [n_ops], of the standers there; -1: none */
    struct stander *standers;
    int n_standers, room_standers;
    struct hit *hits;
    size_t n, room;
};

/* Lists the enabled breakpoints at each op in their order, and marks the ops that have to be
 * watched while they run. *conditional: whether there are conditions. */
bool watcher_init(struct watcher *w, struct session *s, bool *conditional, struct error *err);
void watcher_fini(struct watcher *w);

/* What trace_compute is to call for it. */
struct hooks watcher_hooks(struct watcher *w);
/* Whether a breakpoint's condition is tested while a chunk runs. */
bool watcher_tests(const struct breakpoint *b);
/* Adds a hit. */
bool watcher_note(struct watcher *w, int position, int op, int id, bool maybe, struct error *err);
/* Puts the hits in the order in which places come; watcher_find looks for one among them. */
void watcher_sort(struct watcher *w);
const struct hit *watcher_find(const struct watcher *w, int position, int op, int id);

/* The breakpoint of a stander. */
static inline struct breakpoint *watcher_breakpoint(const struct watcher *w, int stander)
{
    return &w->session->breakpoints.list[w->standers[stander].breakpoint];
}

#endif
