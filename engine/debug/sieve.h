/* sieve.h - which rows a condition may hold for, by what a device has measured of them.
 *
 * A condition that reads `.` through norm, sum, mean, std, max, min and abs is gone through with
 * ranges instead of numbers; what else it reads could be anything. What passes is looked at itself.
 */
#ifndef MIDPASS_SIEVE_H
#define MIDPASS_SIEVE_H

#include "engine/debug/expr.h"

/* A row: `parts` heads, or 1, of d elements each. margin: by how much of its size what was measured
 * may be off from what reading the row gives. */
struct sieve_row {
    const struct measures *measures; /* [parts] */
    int parts, d;
    double margin;
};

struct sieve;

/* Of a condition, for rows of so many parts; it must not go first. */
struct sieve *sieve_open(struct ledger *l, const struct expr *e, int parts, struct error *err);
void sieve_close(struct sieve *s); /* NULL is fine */
/* Whether the condition reads `.` through one of these functions at all: if not, every row passes.
 */
bool sieve_judges(const struct sieve *s);
/* False only if the condition does not hold for the row. */
bool sieve_passes(const struct sieve *s, const struct sieve_row *row);

#endif
