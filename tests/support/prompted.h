/* prompted.h - a session on one of the golden checkpoints, with a prompt, nothing computed. */
#ifndef MIDPASS_TEST_PROMPTED_H
#define MIDPASS_TEST_PROMPTED_H

#include "engine/debug/session.h"

struct prompted {
    struct ledger *ledger;
    struct session s;
    struct error err;
};

/* Ends the test where that fails. tokens: at most, if the model takes fewer. chunk: rows at a
 * time; 0: the backend's. */
void prompted_open(struct prompted *f, int tokens, const char *name, int chunk);
/* Fails the test if memory is left. */
void prompted_close(struct prompted *f);

#endif
