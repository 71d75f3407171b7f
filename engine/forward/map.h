/* map.h - attention patterns of any length, pooled by largest weight into cells.
 *
 * A map is a part of the patterns of some heads of a layer: queries [q0, q1) by keys [k0, k1) in
 * rows x columns cells. No pattern is kept: a block of queries is recomputed from its checkpoint,
 * goes through the keys of the cache, and leaves its largest weights. So a map takes memory as the
 * positions and the cells, and time as its queries times the keys that they see.
 *
 * A cell is the weight of largest magnitude that trace_read would give of its queries and keys, on
 * the CPU with the same bits; a NaN before all. Where a patch touches the layer's scores or pattern
 * the cells are read off such rows, a few at a time.
 *
 * It is made a few queries at a time, and goes on where it stopped, also when more positions have
 * been computed. It is of the trace as it is: after an edit, open another.
 */
#ifndef MIDPASS_MAP_H
#define MIDPASS_MAP_H

#include "engine/forward/trace.h"

struct map {
    struct trace *trace;
    int layer, op; /* op: of the pattern */
    struct map_region region;
    int n_heads;
    int *heads;   /* [n_heads], growing */
    float *cells; /* [n_heads, rows, columns]; -inf: no key there is seen, or it was not read yet */
    int first, next; /* the query that was read first, and that is read next */
    float *far;      /* the cells in a device's memory; NULL on the CPU */
    struct workspace work;
    float *rows; /* of patterns, where a patch is shown */
    size_t rows_room;
};

/* heads[n_heads], growing. Regions outside of the sequence, more cells than queries or keys, a
 * layer that has no pattern: ERR_USAGE. *m is closed if it fails. */
bool map_open(struct map *m, struct trace *t, int layer, const int *heads, int n_heads,
              const struct map_region *region, struct error *err);
/* NULL memory (a zeroed map) is fine. */
void map_close(struct map *m);
/* Whether all its queries that are computed were read. */
bool map_done(const struct map *m);
/* Reads up to `most` queries on. Interrupted (ERR_INTERRUPTED): what was read stays. */
bool map_read(struct map *m, int most, struct error *err);

#endif
