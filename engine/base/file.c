/* file.c - reading a file whole, and writing one whole or not at all (the rest of text.h). */
#include "engine/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool refuse(struct error *err, const char *what, const char *path)
{
    return error_set(err, ERR_FILE, "cannot %s %s: %s", what, path, strerror(errno));
}

/* ---- reading ---- */

/* Opens a file to be read to its end. Only what the user names below /dev (/dev/stdin, the
 * /dev/fd/63 of a shell's <(...)) may be a pipe, since reading one may wait for ever. */
static int open_to_read(const char *path, struct stat *st, struct error *err)
{
    bool device = strncmp(path, "/dev/", 5) == 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (device ? 0 : O_NONBLOCK));

    if (fd < 0 || fstat(fd, st) != 0) {
        refuse(err, "read", path);
    } else if (S_ISDIR(st->st_mode)) {
        error_set(err, ERR_FILE, "cannot read %s: it is a folder", path);
    } else if (!S_ISREG(st->st_mode) && !device) {
        error_set(err, ERR_FILE, "cannot read %s: it is not a regular file", path);
    } else {
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool too_large(const char *path, size_t limit, struct error *err)
{
    char most[24];

    return error_set(err, ERR_FORMAT, "%s is larger than the %s that such a file may have", path,
                     mem_format(limit, most));
}

/* Reads fd to its end into *data, which is *room bytes long and grows. */
static bool read_all(int fd, struct ledger *l, enum mem_category c, const char *path, size_t limit,
                     char **data, size_t room, size_t *n, struct error *err)
{
    for (*n = 0;;) {
        if (*n > limit)
            return too_large(path, limit, err);
        if (*n + 1 >= room) {
            char *more = mem_resize(l, c, *data, room *= 2, err);
            if (more == NULL)
                return error_prefix(err, "%s", path);
            *data = more;
        }
        ssize_t got = read(fd, *data + *n, room - 1 - *n);
        if (got < 0 && errno != EINTR)
            return refuse(err, "read", path);
        if (got == 0)
            break;
        *n += got > 0 ? (size_t)got : 0;
    }
    (*data)[*n] = '\0';
    return true;
}

char *file_read(struct ledger *l, enum mem_category c, const char *path, size_t limit, size_t *n,
                struct error *err)
{
    struct stat st;
    size_t got;
    int fd = open_to_read(path, &st, err);
    if (fd < 0)
        return NULL;
    if (limit > SIZE_MAX / 4)
        limit = SIZE_MAX / 4;
    size_t size = S_ISREG(st.st_mode) ? (size_t)st.st_size : 4096;
    if (size > limit && S_ISREG(st.st_mode)) {
        too_large(path, limit, err);
        close(fd);
        return NULL;
    }
    /* Two more: one for the NUL, one for the read that finds the end. */
    char *data = mem_alloc(l, c, size + 2, err);
    if (data == NULL) {
        error_prefix(err, "%s", path);
    } else if (!read_all(fd, l, c, path, limit, &data, size + 2, &got, err)) {
        mem_free(l, data);
        data = NULL;
    } else if (n != NULL) {
        *n = got;
    }
    close(fd);
    return data;
}

/* ---- writing ---- */

/* What stands at path now, if anything: may it be replaced? */
static bool may_replace(const char *path, const struct stat *st, struct error *err)
{
    if (S_ISDIR(st->st_mode))
        return error_set(err, ERR_FILE, "cannot write %s: it is a folder", path);
    /* A rename would get past the protection that somebody put there. */
    if (access(path, W_OK) != 0)
        return refuse(err, "write", path);
    return true;
}

/* Opens a new file in target's folder. Its name is short whatever the target's length. */
static int open_beside(struct file_writer *w, const char *target, struct error *err)
{
    const char *slash = strrchr(target, '/');
    int folder = slash == NULL ? 0 : (int)(slash - target + 1);
    size_t room = (size_t)folder + 64;
    char *name = mem_alloc(w->ledger, MEM_OTHER, room, err);

    if (name == NULL)
        return -1;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, room, "%.*s.midpass-%ld-%u.tmp", folder, target, (long)getpid(), i);
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) {
            w->temporary = name;
            return fd;
        }
        if (errno != EEXIST)
            break;
    }
    refuse(err, "write", target);
    mem_free(w->ledger, name);
    return -1;
}

bool file_create(struct file_writer *w, struct ledger *l, const char *path, struct error *err)
{
    char real[PATH_MAX];
    struct stat st;
    int fd;

    *w = (struct file_writer){.ledger = l};
    if (path[0] == '\0')
        return error_set(err, ERR_FILE, "cannot write a file without a name");
    bool there = stat(path, &st) == 0;
    if (!there && errno != ENOENT) /* told now, and not after an hour's work */
        return refuse(err, "write", path);
    if (there && !may_replace(path, &st, err))
        return false;
    /* A link stays a link: what it points to is what gets replaced. */
    const char *target = there && realpath(path, real) != NULL ? real : path;
    w->path = mem_strdup(l, MEM_OTHER, target, err);
    if (w->path == NULL)
        return error_prefix(err, "%s", path);
    if (there && !S_ISREG(st.st_mode)) {
        /* A pipe or a device is written to, never replaced. */
        fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
            refuse(err, "write", path);
    } else {
        fd = open_beside(w, target, err);
        if (fd >= 0 && there)
            (void)fchmod(fd, st.st_mode & 0777);
    }
    w->stream = fd < 0 ? NULL : fdopen(fd, "wb");
    if (w->stream == NULL && fd >= 0) {
        refuse(err, "write", path);
        close(fd);
    }
    if (w->stream == NULL)
        file_abandon(w);
    return w->stream != NULL;
}

bool file_write(struct file_writer *w, const void *data, size_t n, struct error *err)
{
    if (n > 0 && fwrite(data, 1, n, w->stream) != n)
        return refuse(err, "write", w->path);
    return true;
}

bool file_commit(struct file_writer *w, struct error *err)
{
    /* Disks may tell that they are full at any of these, close included. */
    bool ok = !ferror(w->stream);
    int why = EIO; /* an earlier write failed, and its caller knows why */
    if (ok) {
        ok = fflush(w->stream) == 0 && (w->temporary == NULL || fsync(fileno(w->stream)) == 0);
        why = errno;
    }
    if (fclose(w->stream) != 0 && ok) {
        ok = false;
        why = errno;
    }
    w->stream = NULL;
    if (ok && w->temporary != NULL && rename(w->temporary, w->path) != 0) {
        ok = false;
        why = errno;
    }
    if (!ok) {
        errno = why;
        refuse(err, "write", w->path);
    } else {
        mem_free(w->ledger, w->temporary);
        w->temporary = NULL;
    }
    file_abandon(w);
    return ok;
}

/* After a commit, or twice, it does nothing. */
void file_abandon(struct file_writer *w)
{
    if (w->stream != NULL)
        fclose(w->stream);
    if (w->temporary != NULL)
        unlink(w->temporary);
    mem_free(w->ledger, w->temporary);
    mem_free(w->ledger, w->path);
    w->stream = NULL;
    w->temporary = w->path = NULL;
}
