#include "tui/rc.h"

#include "engine/base/home.h"
#include "engine/base/sha256.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RC_BYTES ((size_t)1 << 20)

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* "HASH  FOLDER" as a line of the file of allowed folders. */
static bool is_allowed(struct ledger *l, const char *hash, const char *folder, struct error *err)
{
    char path[PATH_MAX];
    size_t n;
    if (!home_path(HOME_CONFIG, "allowed", path, sizeof path, err) || !exists(path))
        return false;
    char *text = file_read(l, MEM_OTHER, path, RC_BYTES, &n, err);
    bool found = false;
    for (char *line = text; line && *line && !found;) {
        size_t length = strcspn(line, "\n");
        found = length == 66 + strlen(folder) && memcmp(line, hash, 64) == 0 &&
                memcmp(line + 64, "  ", 2) == 0 && memcmp(line + 66, folder, length - 66) == 0;
        line += length + (line[length] == '\n');
    }
    mem_free(l, text);
    return found;
}

/* What is read once is what is looked at and what runs. */
static bool run_folder(struct console *c, struct error *err)
{
    char folder[PATH_MAX], hash[65];
    size_t n;
    if (!exists(".midpassrc") || !getcwd(folder, sizeof folder))
        return true;
    char *text = file_read(c->ledger, MEM_OTHER, ".midpassrc", RC_BYTES, &n, err);
    if (!text)
        return false;
    sha256_hex(text, n, hash);
    bool ok;
    if (is_allowed(c->ledger, hash, folder, err))
        ok = console_source_text(c, ".midpassrc", text, n, err);
    else
        ok = error_set(err, ERR_STATE,
                       "this folder has a .midpassrc, which did not run: midpass --allow . allows "
                       "it as it is now");
    mem_free(c->ledger, text);
    return ok;
}

void rc_run(struct console *c, void (*tell)(void *context, const struct error *e), void *context)
{
    char path[PATH_MAX];
    struct error err = {0};
    /* Without a home there is no file of the user's. */
    if (home_path(HOME_CONFIG, "rc", path, sizeof path, NULL) && exists(path) &&
        !console_source(c, path, &err))
        tell(context, &err);
    err = (struct error){0};
    if (!c->quit && !run_folder(c, &err))
        tell(context, &err);
}

bool rc_allow(struct ledger *l, const char *folder, struct error *err)
{
    char real[PATH_MAX], path[PATH_MAX], hash[65];
    struct text rc, out;
    size_t n, n_old = 0;
    if (!realpath(folder, real))
        return error_set(err, ERR_FILE, "cannot find %s: %s", folder, strerror(errno));
    if (strchr(real, '\n'))
        return error_set(err, ERR_USAGE, "a folder with a line feed in its name cannot be allowed");
    text_init(&rc, l, MEM_OTHER);
    text_add(&rc, real);
    text_add(&rc, "/.midpassrc");
    char *text = text_ok(&rc, err) ? file_read(l, MEM_OTHER, rc.data, RC_BYTES, &n, err) : NULL;
    text_fini(&rc);
    if (!text)
        return false;
    sha256_hex(text, n, hash);
    mem_free(l, text);
    if (!home_make(HOME_CONFIG, err) || !home_path(HOME_CONFIG, "allowed", path, sizeof path, err))
        return false;
    char *old = exists(path) ? file_read(l, MEM_OTHER, path, RC_BYTES, &n_old, err) : NULL;
    if (!old && exists(path))
        return false;
    /* What was allowed of this folder before goes. */
    text_init(&out, l, MEM_OTHER);
    for (char *line = old; line && *line;) {
        size_t length = strcspn(line, "\n");
        if (length < 66 || length - 66 != strlen(real) ||
            memcmp(line + 66, real, length - 66) != 0) {
            text_add_bytes(&out, line, length);
            text_add(&out, "\n");
        }
        line += length + (line[length] == '\n');
    }
    text_add(&out, hash);
    text_add(&out, "  ");
    text_add(&out, real);
    text_add(&out, "\n");
    struct file_writer w;
    bool ok = text_ok(&out, err) && file_create(&w, l, path, err);
    if (ok && file_write(&w, out.data, out.n, err)) {
        ok = file_commit(&w, err);
    } else if (ok) {
        file_abandon(&w);
        ok = false;
    }
    mem_free(l, old);
    text_fini(&out);
    return ok;
}
