/* rc.h - commands that run as a session begins: the user's, and those of an allowed folder.
 *
 * $XDG_CONFIG_HOME/midpass/rc is the user's. The current folder's .midpassrc runs only if the
 * user has allowed this folder while the file had the content that it has now:
 * $XDG_CONFIG_HOME/midpass/allowed holds a line for each, its SHA-256 and the folder's path.
 */
#ifndef MIDPASS_RC_H
#define MIDPASS_RC_H

#include "engine/debug/command.h"

/* Runs what there is. tell gets each error, with the file and the line, and the one line that
 * says how a folder is allowed; none of them stops the session. */
void rc_run(struct console *c, void (*tell)(void *context, const struct error *e), void *context);
/* Allows a folder's .midpassrc as it is now. */
bool rc_allow(struct ledger *l, const char *folder, struct error *err);

#endif
