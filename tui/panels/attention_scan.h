/* attention_scan.h - a map of attention patterns (map.h) as a panel reads it: a few queries at a
 * time, as long as a refresh may take, going on where it stopped. */
#ifndef MIDPASS_PANELS_ATTENTION_SCAN_H
#define MIDPASS_PANELS_ATTENTION_SCAN_H

#include "engine/debug/session.h"
#include "engine/forward/map.h"

struct scan_spec {
    uint64_t stamp; /* of what the values depend on */
    int layer;
    struct map_region region;
    int n_heads;
};

struct attention_scan {
    struct ledger *ledger;
    struct scan_spec spec;
    struct map map;
    int step; /* queries read at a time: more while reading is quick */
};

void scan_init(struct attention_scan *s, struct ledger *l);
void scan_fini(struct attention_scan *s);
/* Starts anew if this is not what it has already. heads[spec.n_heads], growing. */
bool scan_set(struct attention_scan *s, struct session *session, const struct scan_spec *spec,
              const int *heads, struct error *err);
/* Reads on until all that is known was read or it is `deadline` (numeric_seconds; *more is set).
 * At least one query is read each time. */
bool scan_run(struct attention_scan *s, struct session *session, double deadline, bool *more,
              struct error *err);
/* The cells of a head of the scan's; NULL if it is not among them. */
const float *scan_head(const struct attention_scan *s, int head);

#endif
