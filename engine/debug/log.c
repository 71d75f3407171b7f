#include "engine/debug/log.h"

#include "engine/base/home.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

void log_init(struct session_log *log)
{
    *log = (struct session_log){.fd = -1};
}

void log_close(struct session_log *log)
{
    if (log->fd < 0)
        return;
    /* Removed before the lock is given up: nobody takes it up in between. */
    if (log->automatic && log->lines == 0)
        unlink(log->path);
    close(log->fd);
    log->fd = -1;
}

static bool refuse(struct error *err, const char *what, const char *path)
{
    return error_set(err, ERR_FILE, "cannot %s the log %s: %s", what, path, strerror(errno));
}

/* A write may stop half way where the disk is full: the rest is tried, and tells why. */
static bool write_whole(int fd, const char *s, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, s, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        s += done;
        n -= (size_t)done;
    }
    return true;
}

static bool lock(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) == 0;
}

static bool give_up(struct session_log *log, const char *what, struct error *err)
{
    refuse(err, what, log->path);
    close(log->fd);
    log->fd = -1;
    return false;
}

static bool begin(struct session_log *log, const char *header, struct error *err)
{
    if (!write_whole(log->fd, header, strlen(header)) || !write_whole(log->fd, "\n", 1))
        return give_up(log, "write", err);
    return true;
}

/* Removes the oldest logs. One that a program holds stays; what cannot be removed stays, too. */
static void prune(struct ledger *l)
{
    char **paths;
    int n;
    if (!log_list(l, &paths, &n, NULL))
        return;
    for (int i = LOG_KEPT; i < n; i++) {
        int fd = open(paths[i], O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0 && lock(fd))
            unlink(paths[i]);
        if (fd >= 0)
            close(fd);
    }
    log_list_fini(l, paths, n);
}

bool log_open_new(struct session_log *log, struct ledger *l, const char *header, struct error *err)
{
    char name[64], when[32];
    time_t now = time(NULL);
    struct tm tm;
    log_init(log);
    if (!home_make(HOME_STATE, err))
        return false;
    strftime(when, sizeof when, "%Y%m%d-%H%M%S", localtime_r(&now, &tm));
    for (int i = 0; log->fd < 0 && i < 100; i++) {
        snprintf(name, sizeof name, "%s-%ld-%d.log", when, (long)getpid(), i);
        if (!home_path(HOME_STATE, name, log->path, sizeof log->path, err))
            return false;
        log->fd = open(log->path, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (log->fd < 0 && errno != EEXIST)
            break;
    }
    if (log->fd < 0)
        return refuse(err, "make", log->path);
    log->automatic = true;
    if (!lock(log->fd)) {
        /* A file system without locks: the name alone keeps programs apart. */
        if (errno == EWOULDBLOCK)
            return give_up(log, "lock", err);
    }
    if (!begin(log, header, err)) {
        unlink(log->path);
        return false;
    }
    prune(l);
    return true;
}

bool log_open_file(struct session_log *log, const char *path, const char *header, struct error *err)
{
    struct stat st;
    log_init(log);
    snprintf(log->path, sizeof log->path, "%s", path);
    log->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
    if (log->fd < 0)
        return refuse(err, "open", path);
    if (!lock(log->fd) && errno == EWOULDBLOCK) {
        close(log->fd);
        log->fd = -1;
        return error_set(err, ERR_FILE, "another program writes the log %s", path);
    }
    if (fstat(log->fd, &st) != 0)
        return give_up(log, "look at", err);
    char last = '\n';
    if (S_ISREG(st.st_mode) && st.st_size > 0 && pread(log->fd, &last, 1, st.st_size - 1) == 1 &&
        last != '\n' && !write_whole(log->fd, "\n", 1))
        return give_up(log, "write", err);
    return begin(log, header, err);
}

/* Opens one log for going on with it, if nobody else does. */
static bool take(struct session_log *log, const char *path, struct error *err)
{
    log_init(log);
    snprintf(log->path, sizeof log->path, "%s", path);
    log->fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOCTTY);
    if (log->fd < 0)
        return refuse(err, "open", path);
    if (!lock(log->fd) && errno == EWOULDBLOCK) {
        close(log->fd);
        log->fd = -1;
        return error_set(err, ERR_STATE, "another program is in this session: %s", path);
    }
    return true;
}

bool log_take_up(struct session_log *log, struct ledger *l, struct log_summary *s, const char *path,
                 struct error *err)
{
    char **paths = NULL;
    int n = 0;
    bool found = false;
    log_init(log);
    *s = (struct log_summary){0};
    if (!path && !log_list(l, &paths, &n, err))
        return false;
    for (int i = 0; !path && !found && i < n; i++) {
        /* Read under the lock: what another program wrote last is in it. */
        if (!take(log, paths[i], NULL))
            continue;
        found = log_read(s, l, paths[i], NULL) && s->lines > 0 && s->model;
        if (!found) {
            log_summary_fini(s, l);
            log_close(log);
        }
    }
    log_list_fini(l, paths, n);
    if (!path && !found)
        return error_set(err, ERR_STATE, "there is no session to resume (--sessions lists them)");
    if (path && (!take(log, path, err) || !log_read(s, l, path, err))) {
        log_close(log);
        return false;
    }
    log->lines = s->lines;
    if (s->torn && ftruncate(log->fd, (off_t)s->n) != 0) {
        log_summary_fini(s, l);
        return give_up(log, "shorten", err);
    }
    return true;
}

bool log_add(struct session_log *log, struct ledger *l, const char *line, size_t n, bool comment,
             struct error *err)
{
    struct text t;
    text_init(&t, l, MEM_OTHER);
    text_add(&t, comment ? "# " : "");
    for (size_t i = 0; i < n; i++) {
        if (line[i] == '\n')
            text_add(&t, "\\n");
        else if (line[i] == '\r')
            text_add(&t, "\\r");
        else if (line[i] == '\0')
            text_add(&t, "\\x00");
        else
            text_add_bytes(&t, line + i, 1);
    }
    text_add(&t, "\n");
    bool ok = text_ok(&t, err);
    if (!ok) {
        close(log->fd);
        log->fd = -1;
    } else if (!write_whole(log->fd, t.data, t.n)) {
        ok = give_up(log, "write", err);
    } else {
        log->lines += !comment && n > 0 && line[0] != '#';
    }
    text_fini(&t);
    return ok;
}
