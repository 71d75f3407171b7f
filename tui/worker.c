#include "tui/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define SAID_MOST ((size_t)1 << 20) /* bytes that wait to be taken */

struct worker {
    struct ledger *ledger;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int pipe[2];
    void (*run)(void *context); /* NULL: nothing to do */
    void *context;
    bool busy, closing; /* busy is the loop's alone */
    struct text said;
};

static void *work(void *context)
{
    struct worker *w = context;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->run && !w->closing)
            pthread_cond_wait(&w->wake, &w->lock);
        if (!w->run)
            break;
        pthread_mutex_unlock(&w->lock);
        w->run(w->context);
        pthread_mutex_lock(&w->lock);
        w->run = NULL;
        ssize_t n = write(w->pipe[1], "", 1);
        (void)n; /* the pipe is empty before: one byte fits */
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct worker *worker_open(struct ledger *l, struct error *err)
{
    struct worker *w = mem_alloc(l, MEM_OTHER, sizeof *w, err);
    if (!w)
        return NULL;
    w->ledger = l;
    text_init(&w->said, l, MEM_OTHER);
    if (pipe2(w->pipe, O_CLOEXEC | O_NONBLOCK) != 0) {
        error_set(err, ERR_FILE, "no pipe for the worker: %s", strerror(errno));
        mem_free(l, w);
        return NULL;
    }
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    int rc = pthread_create(&w->thread, NULL, work, w);
    if (rc != 0) {
        error_set(err, ERR_FILE, "no thread for the worker: %s", strerror(rc));
        close(w->pipe[0]);
        close(w->pipe[1]);
        mem_free(l, w);
        return NULL;
    }
    return w;
}

void worker_close(struct worker *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    close(w->pipe[0]);
    close(w->pipe[1]);
    text_fini(&w->said);
    mem_free(w->ledger, w);
}

int worker_fd(const struct worker *w)
{
    return w->pipe[0];
}

void worker_start(struct worker *w, void (*run)(void *context), void *context)
{
    pthread_mutex_lock(&w->lock);
    w->run = run;
    w->context = context;
    w->busy = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

bool worker_busy(const struct worker *w)
{
    return w->busy;
}

bool worker_take(struct worker *w)
{
    char x;
    if (!w->busy || read(w->pipe[0], &x, 1) != 1)
        return false;
    w->busy = false;
    return true;
}

bool worker_say(struct worker *w, const char *s, size_t n, struct error *err)
{
    pthread_mutex_lock(&w->lock);
    while (w->said.n > SAID_MOST && !w->closing)
        pthread_cond_wait(&w->wake, &w->lock);
    if (!w->closing)
        text_add_bytes(&w->said, s, n);
    bool ok = text_ok(&w->said, err);
    w->said.failed = false;
    pthread_mutex_unlock(&w->lock);
    return ok;
}

bool worker_said(struct worker *w, struct text *out)
{
    pthread_mutex_lock(&w->lock);
    bool any = w->said.n > 0;
    if (any) {
        text_add_bytes(out, w->said.data, w->said.n);
        text_clear(&w->said);
        pthread_cond_broadcast(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
    return any;
}
