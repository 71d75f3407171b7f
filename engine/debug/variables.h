/* variables.h - $1, $2, ...: what was printed; $name: what was kept.
 *
 * A number once given is never given again. Old printed values go when they take too much
 * memory, and whoever asks for one of them is told so.
 */
#ifndef MIDPASS_VARIABLES_H
#define MIDPASS_VARIABLES_H

#include "engine/debug/value.h"

struct variables {
    struct ledger *ledger;
    struct value *history; /* [n_history]; $1 is history[0] */
    int n_history, room_history;
    int n_dropped; /* of the oldest */
    size_t bytes;  /* of the history */
    /* The named ones never change: a new value is a new variable, and the old one may be held by
     * what undo brings back. */
    struct variable {
        int holders;
        char *name;
        struct value value;
    } * *named;
    int n_named, room_named;
};

void variables_init(struct variables *v, struct ledger *l);
void variables_fini(struct variables *v);
/* Keeps a copy as the next number, which is returned; 0 and *err: no memory. */
int variables_add(struct variables *v, const struct value *x, struct error *err);
bool variables_set(struct variables *v, const char *name, const struct value *x, struct error *err);
void variables_remove(struct variables *v, const char *name); /* nothing, if there is none */
/* The named ones, for undo; the values are shared, not copied. */
bool variables_share(struct variables *to, const struct variables *from, struct error *err);
/* Takes over the named ones of another; those that were printed stay. */
void variables_replace(struct variables *v, struct variables *from);
/* Whether a name was set or removed, to the same value also. */
bool variables_differ(const struct variables *a, const struct variables *b);
/* Bytes of the named values in a that b does not hold. */
size_t variables_bytes_beyond(const struct variables *a, const struct variables *b);
/* name without the $: "3", "name", "" the last printed. Copies it. */
bool variables_get(const struct variables *v, const char *name, struct value *out,
                   struct error *err);
/* Whether a name may be set: letters, digits and _, not all digits. */
bool variable_name_ok(const char *name, size_t n);

#endif
