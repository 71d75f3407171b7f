/* state.h - a session's present state as lines of a script: what `save session` writes.
 *
 * One function for each kind of thing; state_write calls them in an order in which each finds
 * what it needs. Lines that no command for people could say use `restore`.
 */
#ifndef MIDPASS_STATE_H
#define MIDPASS_STATE_H

#include "engine/debug/command.h"

/* Arrays that a script names lie in a file beside it. */
struct state_arrays {
    struct ledger *ledger;
    const char *file; /* its name, as the script says it */
    struct state_array {
        char name[80];
        const struct value *value;
    } * list;
    int n, room;
};

/* All of it. arrays is empty and gathers what has to be written to its file; the values stay the
 * session's. */
bool state_write(struct console *c, struct text *out, struct state_arrays *arrays,
                 struct error *err);
/* Writes a script, and the file beside it if there are arrays: path.safetensors. Both are there
 * whole or not at all. *n_arrays is how many there are. */
bool state_save(struct console *c, const char *path, int *n_arrays, struct error *err);
/* Takes one up, under a name; the value has to last. */
bool state_arrays_add(struct state_arrays *a, const char *name, const struct value *v,
                      struct error *err);
/* Writes the arrays to path. */
bool state_arrays_write(const struct state_arrays *a, const char *path, struct error *err);
void state_arrays_fini(struct state_arrays *a);

/* ---- parts, for logs ---- */

/* The first line, without its end: the model and the options it was opened with. */
bool state_add_header(struct text *out, const struct console *c, struct error *err);

/* The prompt as ids, behind its text as a comment; generated tokens behind it. */
bool state_add_prompt(struct text *out, const struct session *s, struct error *err);
/* The tokens from position `from` on, as such that were generated, and what they were sampled with.
 */
void state_add_tokens(struct text *out, const struct session *s, int from);
/* What motions change of the sampler and of breakpoints: draws, hits, those that are gone. */
void state_add_counts(struct text *out, const struct session *s);
/* How far it is computed, and where the cursor stands. exact: also where nothing is computed, for
 * sessions that know more already. */
bool state_add_place(struct text *out, const struct session *s, bool exact, struct error *err);

#endif
