/* watcher.h - conditions that are tested while a chunk runs.
 *
 * Where a condition looks only at `.`, the rows that an op has just written are enough for it. A
 * device's rows stay where they are: what was measured of them (sieve.h) tells which may be hits,
 * and these alone are read, later.
 *
 * A session keeps one, so that what does not change from token to token is made once: who stands
 * where, and the hits of the rows that were seen and not passed yet.
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
    /* Of the breakpoints and patches as they were at these counts of changes. */
    bool listed;
    unsigned long breakpoints, patches;
    bool
        conditional; /* there are conditions: positions are computed before they are gone through */
    bool tests;      /* some of these while they run */
    bool nan;        /* catch nan is among them */
    bool varies;     /* variables are: what they say holds for one motion */
    bool *watch;     /* [n_ops] */
    bool *whole;     /* [n_ops]: rows that measures say nothing about */
    int *first;      /* [n_ops], of the standers there; -1: none */
    int *next_stood; /* [n_ops + 1], the first op from there on at which one stands; n_ops: none */
    int *next_asked; /* and at which one stands that the hits tell nothing of */
    struct stander *standers;
    int n_standers, room_standers;
    struct sieve **sieves; /* of the breakpoints: of those whose conditions are tested so */
    int n_sieves;
    /* In the order in which places come: all of positions seen_from .. seen_to-1, while the trace
     * has changed no more than so often. */
    struct hit *hits;
    size_t n, room;
    int seen_from, seen_to;
    unsigned long changes;
};

/* The session's, made or brought up to date: the enabled breakpoints at each op in their order, and
 * the ops that have to be watched while they run. */
struct watcher *watcher_open(struct session *s, struct error *err);
void watcher_close(struct watcher *w); /* NULL is fine */

/* What trace_compute is to call for it. */
struct hooks watcher_hooks(struct watcher *w);
/* Adds a hit. */
bool watcher_note(struct watcher *w, int position, int op, int id, bool maybe, struct error *err);
/* Puts the hits in the order in which places come; watcher_find looks for one among them. */
void watcher_sort(struct watcher *w);
const struct hit *watcher_find(const struct watcher *w, int position, int op, int id);
/* Forgets what is behind `position`, and all hits if rows from there on were not seen, or are
 * others now. */
void watcher_pass(struct watcher *w, int position);
/* Nothing is seen but what will be from `position` on. */
void watcher_forget(struct watcher *w, int position);
/* The hits tell all about a position. */
static inline bool watcher_saw(const struct watcher *w, int position)
{
    return position >= w->seen_from && position < w->seen_to;
}
/* Whether they tell of this breakpoint at this op: it is tested while a chunk runs. */
bool watcher_tells(const struct watcher *w, const struct breakpoint *b, int op);

/* The breakpoint of a stander. */
static inline struct breakpoint *watcher_breakpoint(const struct watcher *w, int stander)
{
    return &w->session->breakpoints.list[w->standers[stander].breakpoint];
}

#endif
