/* app.c - the screen's life: opening, the loop, closing. */
#include "tui/app_parts.h"

#include "tui/signals.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SETTLE_MS 20   /* what is done by then is shown in the same frame as the key */
#define LEAVE_MS  3000 /* for what runs to notice that it is to stop */
#define KEYS_MOST 512  /* taken before the next frame */

double app_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- opening and closing ---- */

static bool is_idle(void *context)
{
    const struct app *a = context;
    return !worker_busy(a->worker);
}

static void show_candidates(void *context, const char *s, size_t n)
{
    struct app *a = context;
    scrollback_add(a->view.scrollback, SAID_NOTICE, s, n);
}

static const char *const word_names[] = {"attn",  "focus", "follow", "layout",
                                         "mouse", "zoom",  NULL};

static bool open_screen(struct app *a, struct completion_source *source, struct error *err)
{
    struct prompt_options prompt = {a->ledger, source, show_candidates, a};
    *source = (struct completion_source){a->ledger, &a->console, word_names, is_idle, a};
    text_init(&a->line, a->ledger, MEM_OTHER);
    text_init(&a->here.token, a->ledger, MEM_OTHER);
    a->view.ledger = a->ledger;
    a->view.theme = &a->theme;
    a->view.selection.follow = true;
    a->view.version = 1;
    theme_init(&a->theme, a->facts.colours, a->facts.utf8, getenv("NO_COLOR"), getenv("COLORFGBG"));
    a->view.scrollback = scrollback_open(a->ledger, err);
    terminal_measure(&a->w, &a->h);
    if (!a->view.scrollback || !cells_init(&a->frame, a->ledger, a->w, a->h, err) ||
        !cells_init(&a->last, a->ledger, a->w, a->h, err) || !prompt_start(&prompt, err))
        return false;
    remember_load(a);
    for (int i = 0; i < app_layout(a)->n; i++)
        if (strcmp(panels_kind(app_layout(a)->place[i].kind)->name, "program") == 0)
            a->focus = i;
    a->worker = worker_open(a->ledger, err);
    return a->worker != NULL;
}

static void close_screen(struct app *a)
{
    remember_save(a);
    prompt_stop();
    terminal_stop();
    signals_stop();
    worker_close(a->worker);
    for (int i = 0; i < PANELS_MOST; i++)
        panel_close(a->panel[i]);
    mem_free(a->ledger, a->view.selection.large);
    jobs_fini(a);
    if (a->opened) {
        console_fini(&a->console);
        report_fini(&a->report);
        session_close(&a->session);
    }
    scrollback_close(a->view.scrollback);
    cells_fini(&a->frame);
    cells_fini(&a->last);
    text_fini(&a->line);
    text_fini(&a->here.token);
}

/* Stops what runs. What does not stop is left where it is, and so is its memory. */
static void leave(struct app *a)
{
    struct pollfd p = {.fd = worker_fd(a->worker), .events = POLLIN};
    if (!worker_busy(a->worker))
        return;
    *a->interrupt = 1;
    for (int waited = 0; worker_busy(a->worker) && waited < LEAVE_MS; waited += 20) {
        poll(&p, 1, 20);
        jobs_listen(a); /* what talks must not wait for a reader */
        worker_take(a->worker);
    }
    if (worker_busy(a->worker)) {
        remember_save(a);
        prompt_stop();
        terminal_stop();
        _exit(a->status);
    }
    if (a->job == JOB_OPEN && a->job_ok)
        session_close(&a->session);
}

/* ---- the loop ---- */

static void resized(struct app *a)
{
    if (!terminal_measure(&a->w, &a->h))
        return;
    a->arranged = false;
    a->dirty = true;
}

static void take_signals(struct app *a)
{
    enum signal_note note;
    while ((note = signals_take()) != NOTE_NONE) {
        if (note == NOTE_RESIZED) {
            resized(a);
        } else if (note == NOTE_SUSPEND) {
            terminal_suspend();
            resized(a);
        } else if (note == NOTE_CONTINUED) {
            terminal_resume();
            resized(a);
        } else {
            a->leaving = true;
            a->status = 128 + signals_last();
        }
        a->dirty = true;
    }
}

/* Whether a key touches what a panel's refresh reads: then the refresh makes way first. */
static bool wants_panels(const struct app *a, int key)
{
    return key != KEY_CTRL_C && a->overlay == OVERLAY_NONE && a->asking == ASK_NOTHING &&
           a->job == JOB_REFRESH;
}

/* Takes what keys there are. Returns how many; *held is one that has to wait. */
static int take_keys(struct app *a, int *held)
{
    struct terminal_mouse mouse = {0};
    int n = 0;
    for (; n < KEYS_MOST && !a->leaving; n++) {
        int key = *held != KEY_NONE ? *held : terminal_key(&mouse);
        *held = KEY_NONE;
        if (key == KEY_NONE)
            break;
        if (wants_panels(a, key) && !jobs_yield(a)) {
            *held = key;
            break;
        }
        int next = KEY_NONE;
        a->key_alone = true;
        if (key == KEY_ESCAPE) {
            next = terminal_key(&mouse);
            a->key_alone = next == KEY_NONE;
        }
        if (key == KEY_WINDOW_SIZE)
            resized(a);
        else
            keys_take(a, key, &mouse);
        *held = next;
        /* Each key finds what the one before has done, if that is quick. */
        if (a->job == JOB_NONE || a->job == JOB_REFRESH)
            jobs_next(a);
        if (a->job != JOB_NONE && a->job != JOB_REFRESH)
            jobs_settle(a, SETTLE_MS);
    }
    return n;
}

static bool terminal_lost(struct app *a, short events, int keys, int *empty)
{
    /* The line was cut, or read says end of file again and again. */
    if (events & (POLLHUP | POLLERR | POLLNVAL))
        return true;
    *empty = (events & POLLIN) && keys == 0 ? *empty + 1 : 0;
    (void)a;
    return *empty > 20;
}

static bool draw(struct app *a, double *drawn, struct error *err)
{
    *drawn = app_now();
    if (frame_draw(a, err))
        return true;
    a->leaving = true;
    a->status = 1;
    return false;
}

static bool loop(struct app *a, struct error *err)
{
    double pause = a->options->slow ? 0.5 : 0.1, drawn = 0;
    int held = KEY_NONE, empty = 0;
    jobs_settle(a, SETTLE_MS);
    while (!a->leaving) {
        bool running = worker_busy(a->worker);
        double since = app_now() - drawn;
        /* Frames keep their distance while something runs, and always on a slow line. */
        bool may_draw = since >= pause || (!running && !a->options->slow);
        if (running && since >= pause) {
            jobs_listen(a);
            jobs_watch(a);
            a->dirty = true;
        }
        if (a->dirty && may_draw && !draw(a, &drawn, err))
            return false;
        bool later = a->dirty || running;
        int wait = later ? (int)((drawn + pause - app_now()) * 1000) + 1 : -1;
        if (held != KEY_NONE && (wait < 0 || wait > 20))
            wait = 20;
        struct pollfd fds[] = {{line_in(), POLLIN, 0},
                               {worker_fd(a->worker), POLLIN, 0},
                               {signals_fd(), POLLIN, 0},
                               {line_log(), POLLIN, 0}};
        poll(fds, 4, later && wait < 0 ? 0 : wait);
        if (fds[2].revents)
            take_signals(a);
        if (fds[3].revents)
            jobs_listen(a);
        jobs_collect(a);
        int keys = fds[0].revents || held != KEY_NONE ? take_keys(a, &held) : 0;
        if (terminal_lost(a, fds[0].revents, keys, &empty)) {
            a->leaving = true;
            a->status = 128 + 1;
        }
        jobs_settle(a, keys > 0 ? SETTLE_MS : 0);
        /* A key is answered at once, even while something runs. */
        if (keys > 0 && a->dirty && !a->leaving && !a->options->slow && !draw(a, &drawn, err))
            return false;
    }
    return true;
}

int app_run(const struct options *o, struct resume *r, volatile int *interrupt, bool *unsuited,
            struct error *err)
{
    struct app a = {.options = o, .resume = r, .ledger = o->ledger, .interrupt = interrupt};
    struct completion_source source;
    *unsuited = false;
    if (!terminal_start(o->ledger, &a.facts, err)) {
        *unsuited = true;
        return 0;
    }
    bool ok = signals_start(interrupt, err) && open_screen(&a, &source, err) && loop(&a, err);
    if (!ok)
        a.status = 1;
    if (a.worker)
        leave(&a);
    if (ok && a.job_error.code && a.status == 1 && !a.opened)
        *err = a.job_error;
    close_screen(&a);
    return a.status;
}
