#include "tui/history.h"

#include "engine/base/home.h"
#include "engine/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define HISTORY_BYTES ((size_t)64 << 20) /* of a file that is read */

static bool refuse(struct error *err, const char *what, const char *path)
{
    return error_set(err, ERR_FILE, "cannot %s the history %s: %s", what, path, strerror(errno));
}

/* Where the last HISTORY_LINES lines begin. */
static size_t last_lines(const char *text, size_t n)
{
    size_t at = n;
    int lines = 0;
    while (at > 0) {
        if (text[at - 1] == '\n' && at < n && ++lines == HISTORY_LINES)
            return at;
        at--;
    }
    return 0;
}

/* Writes the file anew, in place: a program that appends has it open, perhaps. What was appended
 * since `n` bytes were read is kept, and whoever appends waits for the lock. */
static bool shorten(const char *path, size_t n, size_t from, struct ledger *l, struct error *err)
{
    size_t now;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        refuse(err, "shorten", path);
        if (fd >= 0)
            close(fd);
        return false;
    }
    struct file_writer w;
    char *text = file_read(l, MEM_OTHER, path, HISTORY_BYTES, &now, err);
    bool ok = text != NULL;
    /* Another program was first. */
    bool changed = ok && now < n;
    if (ok && !changed) {
        ok = file_create(&w, l, path, err);
        if (ok && file_write(&w, text + from, now - from, err))
            ok = file_commit(&w, err);
        else if (ok) {
            file_abandon(&w);
            ok = false;
        }
    }
    mem_free(l, text);
    close(fd);
    return ok;
}

bool history_load(struct ledger *l, void (*each)(void *context, const char *line), void *context,
                  struct error *err)
{
    char path[PATH_MAX];
    size_t n;
    if (!home_path(HOME_CONFIG, "history", path, sizeof path, err))
        return false;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return true;
    char *text = file_read(l, MEM_OTHER, path, HISTORY_BYTES, &n, err);
    if (!text)
        return false;
    size_t from = last_lines(text, n);
    bool ok = from == 0 || shorten(path, n, from, l, err);
    for (size_t at = from; at < n;) {
        size_t length = strcspn(text + at, "\n");
        text[at + length] = '\0';
        each(context, text + at);
        at += length + 1;
    }
    mem_free(l, text);
    return ok;
}

bool history_append(struct ledger *l, const char *line, size_t n, struct error *err)
{
    char path[PATH_MAX];
    if (n == 0 || memchr(line, '\n', n) || memchr(line, '\0', n))
        return true;
    if (!home_path(HOME_CONFIG, "history", path, sizeof path, err) || !home_make(HOME_CONFIG, err))
        return false;
    char *whole = mem_alloc(l, MEM_OTHER, n + 1, err);
    if (!whole)
        return false;
    memcpy(whole, line, n);
    whole[n] = '\n';
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && flock(fd, LOCK_SH) == 0 && write(fd, whole, n + 1) == (ssize_t)(n + 1);
    if (!ok)
        refuse(err, "write", path);
    if (fd >= 0)
        close(fd);
    mem_free(l, whole);
    return ok;
}
