/* attention_scan.h - attention patterns pooled to the cells that there are, a few rows at a time.
 *
 * A scan is a part of the patterns of some heads of a layer: queries [q0, q1) by keys [k0, k1),
 * pooled by largest weight into rows x columns cells. It is exact, reads every row once, and
 * holds O(cells) and a tile of rows. It goes on where it stopped, also when more positions have
 * been computed.
 */
#ifndef MIDPASS_PANELS_ATTENTION_SCAN_H
#define MIDPASS_PANELS_ATTENTION_SCAN_H

#include "engine/debug/session.h"

struct scan_spec {
    uint64_t stamp; /* of what the values depend on */
    int layer;
    int q0, q1, k0, k1;
    int rows, columns; /* at most q1 - q0, k1 - k0 */
    int n_heads;
};

struct attention_scan {
    struct ledger *ledger;
    struct scan_spec spec;
    int *heads;   /* [n_heads], growing */
    float *cells; /* [n_heads, rows, columns]; -inf: nothing is seen there, or not read yet */
    float *tile;
    int next;      /* the query that is read next */
    int tile_rows; /* grows while reading is quick */
};

void scan_init(struct attention_scan *s, struct ledger *l);
void scan_fini(struct attention_scan *s);
/* Starts anew if this is not what it has already. heads[spec.n_heads], growing. */
bool scan_set(struct attention_scan *s, const struct scan_spec *spec, const int *heads,
              struct error *err);
/* Reads on until all that is known was read or it is `deadline` (numeric_seconds; *more is set).
 * At least one row is read each time. */
bool scan_run(struct attention_scan *s, struct session *session, double deadline, bool *more,
              struct error *err);
/* The cells of a head of the scan's; NULL if it is not among them. */
const float *scan_head(const struct attention_scan *s, int head);

#endif
