#include "engine/base/home.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool home_path(enum home_kind kind, const char *name, char *out, size_t room, struct error *err)
{
    const char *variable = kind == HOME_CONFIG ? "XDG_CONFIG_HOME" : "XDG_STATE_HOME";
    const char *base = getenv(variable), *between = "";
    if (!base || base[0] != '/') {
        base = getenv("HOME");
        between = kind == HOME_CONFIG ? "/.config" : "/.local/state";
    }
    if (!base || base[0] != '/')
        return error_set(err, ERR_FILE, "neither %s nor HOME names a folder", variable);
    int n =
        snprintf(out, room, "%s%s/midpass%s%s", base, between, name ? "/" : "", name ? name : "");
    return (n > 0 && (size_t)n < room) ||
           error_set(err, ERR_FILE, "the path of %s is too long", variable);
}

bool home_make(enum home_kind kind, struct error *err)
{
    char path[PATH_MAX] = "/";
    struct stat st;
    if (!home_path(kind, NULL, path, sizeof path, err))
        return false;
    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            /* What fails here fails again at the last one, which tells. */
            mkdir(path, 0700);
            *p = '/';
        }
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return error_set(err, ERR_FILE, "cannot make the folder %s: %s", path, strerror(errno));
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return error_set(err, ERR_FILE, "%s is no folder", path);
    return true;
}
