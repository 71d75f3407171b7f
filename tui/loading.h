/* loading.h - "loading 3.1 GiB of 7.1 GiB, 2.4 GiB a second" on standard error, while a device gets
 * the weights and there is no screen. */
#ifndef MIDPASS_LOADING_H
#define MIDPASS_LOADING_H

#include "engine/model/load.h"

struct loading {
    struct load_watch watch; /* first: what is told is a struct loading */
    double began, told;      /* seconds */
    bool shown;
};

/* Begins; tells nothing where standard error is no terminal. interrupt: as in load_watch. */
void loading_init(struct loading *l, const volatile int *interrupt);
/* Wipes the line. */
void loading_fini(struct loading *l);

#endif
