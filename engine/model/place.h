/* place.h - the weights where the backend reads them.
 *
 * The CPU reads them where the file is mapped. A device gets a copy of each tensor that the
 * program uses, once, however many ops read slices of it; what it computes in bf16 is
 * rounded to that on the way.
 */
#ifndef MIDPASS_PLACE_H
#define MIDPASS_PLACE_H

#include "engine/model/model.h"

/* Fills each op's `run`. False: a device has no room, or failed; what was placed stays until
 * model_close. */
bool model_place(struct model *m, struct error *err);
void model_unplace(struct model *m);
/* Bytes that the weights take where the backend reads them. */
size_t model_place_bytes(const struct model *m);

#endif
