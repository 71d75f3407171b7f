/* room.h - the backend's memory, counted by the ledger: the host's for the CPU, else a device's. */
#ifndef MIDPASS_ROOM_H
#define MIDPASS_ROOM_H

#include "engine/base/ledger.h"
#include "kernels/kernels.h"

/* bytes aligned to 64; zeroed on the host, not on a device. NULL and *err if refused: by the
 * budget, or by the system or the device. */
void *room_alloc(struct ledger *l, struct backend *b, enum mem_category c, size_t bytes,
                 struct error *err);
/* Takes back what room_alloc gave for the same category and bytes; NULL is fine. */
void room_free(struct ledger *l, struct backend *b, enum mem_category c, void *p, size_t bytes);
/* Makes a block smaller, its beginning kept. False: it is as large as it was. */
bool room_shrink(struct ledger *l, struct backend *b, enum mem_category c, void **p, size_t bytes,
                 size_t less);

#endif
