/* place.h - the weights where the backend reads them.
 *
 * The CPU reads them where the file is mapped. A device gets a copy of each tensor that the
 * program uses, once, however many ops read slices of it; what it computes in bf16 is
 * rounded to that on the way.
 */
#ifndef MIDPASS_PLACE_H
#define MIDPASS_PLACE_H

#include "engine/model/load.h"
#include "engine/model/model.h"

/* Fills each op's `run`. watch (may be NULL) sees a device's weights come. False: a device has no
 * room, or failed, or the files cannot be read; what was placed stays until model_close. */
bool model_place(struct model *m, struct load_watch *watch, struct error *err);
void model_unplace(struct model *m);
/* Bytes that the weights take where the backend reads them. */
size_t model_place_bytes(const struct model *m);

#endif
