/* home.h - where a user's files lie: settings and state, as the XDG base directories say.
 * https://specifications.freedesktop.org/basedir-spec/latest/ */
#ifndef MIDPASS_HOME_H
#define MIDPASS_HOME_H

#include "engine/base/error.h"

#include <stddef.h>

enum home_kind {
    HOME_CONFIG, /* $XDG_CONFIG_HOME/midpass, ~/.config/midpass */
    HOME_STATE,  /* $XDG_STATE_HOME/midpass, ~/.local/state/midpass */
};

/* "FOLDER/name" (or the folder alone, with name NULL) into out. False and *err: neither the
 * variable nor HOME names a place, or it is too long. A relative variable is none, as the
 * specification has it. */
bool home_path(enum home_kind kind, const char *name, char *out, size_t room, struct error *err);
/* Makes the folder and those above it that are missing, for the user alone. */
bool home_make(enum home_kind kind, struct error *err);

#endif
