/* jobs.c - what the worker does: commands first, then panels that are old. */
#include "tui/app_parts.h"

#include "tui/rc.h"

#include "engine/debug/place.h"
#include "engine/debug/record.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void app_say(struct app *a, enum said what, const char *format, ...)
{
    char line[700];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    scrollback_add(a->view.scrollback, what, line, strlen(line));
    a->dirty = true;
}

/* ---- on the worker's thread ---- */

static bool say(void *context, const char *s, size_t n, struct error *err)
{
    struct app *a = context;
    return worker_say(a->worker, s, n, err);
}

static void run_open(void *context)
{
    struct app *a = context;
    const struct options *o = a->options;
    struct session_options session = o->session;
    a->load.interrupt = a->interrupt;
    session.load = &a->load;
    a->job_ok = session_open(&a->session, a->ledger, o->model, &session, &a->job_error);
}

static void tell(void *context, const struct error *e)
{
    (void)context;
    fprintf(stderr, "%s\n", e->text); /* the screen shows it as a log line */
}

/* The log, or the one that is done again; then the rc files. Without any of it one can work. */
static void run_begin(void *context)
{
    struct app *a = context;
    struct error err = {0};
    char told[512];
    if (!resume_start(a->resume, a->options, &a->console, told, &err))
        tell(a, &err);
    if (told[0])
        fprintf(stderr, "%s\n", told);
    if (!a->options->resume && !a->options->no_rc)
        rc_run(&a->console, tell, a);
    a->job_ok = true;
}

static void run_prompt(void *context)
{
    struct app *a = context;
    struct record_mark before = record_mark(&a->console);
    const char *text = a->line.data ? a->line.data : "";
    a->job_ok = session_prompt_text(&a->session, text, a->line.n, &a->job_error) &&
                place_report(&a->report, &a->session, "run", &a->job_error);
    record_prompt(&a->console, &before);
}

static void run_command(void *context)
{
    struct app *a = context;
    a->job_ok =
        console_run(&a->console, a->line.data ? a->line.data : "", a->line.n, &a->job_error);
}

static void run_file(void *context)
{
    struct app *a = context;
    a->job_ok = console_source(&a->console, a->line.data, &a->job_error);
}

static void run_refresh(void *context)
{
    struct app *a = context;
    struct panel *p = a->refreshing;
    a->job_ok = p->kind->refresh(p, a->refresh_w, a->refresh_h, &a->job_error);
}

/* ---- the queue ---- */

void jobs_add(struct app *a, enum job job, const char *text)
{
    struct error err = {0};
    if (a->n_queue >= QUEUE_MOST) {
        app_say(a, SAID_ERROR, "%d lines wait already: this one is dropped", QUEUE_MOST);
        return;
    }
    char *copy = mem_strdup(a->ledger, MEM_OTHER, text, &err);
    struct waiting *p = copy ? mem_resize(a->ledger, MEM_OTHER, a->queue,
                                          (size_t)(a->n_queue + 1) * sizeof *a->queue, &err)
                             : NULL;
    if (!p) {
        mem_free(a->ledger, copy);
        app_say(a, SAID_ERROR, "%s", err.text);
        return;
    }
    a->queue = p;
    a->queue[a->n_queue++] = (struct waiting){job, copy};
}

static void drop_first(struct app *a)
{
    mem_free(a->ledger, a->queue[0].text);
    a->n_queue--;
    memmove(a->queue, a->queue + 1, (size_t)a->n_queue * sizeof *a->queue);
}

void jobs_fini(struct app *a)
{
    while (a->n_queue > 0)
        drop_first(a);
    mem_free(a->ledger, a->queue);
    a->queue = NULL;
}

static void start(struct app *a, enum job job, void (*run)(void *context))
{
    a->job = job;
    a->job_since = app_now();
    a->job_error = (struct error){0};
    a->stopped = a->yielding = false;
    *a->interrupt = 0;
    if (a->opened) {
        a->work_before = atomic_load(&a->session.trace.work_done);
        atomic_store(&a->session.trace.work_goal, 0);
    }
    worker_start(a->worker, run, a);
}

static bool start_waiting(struct app *a)
{
    while (a->n_queue > 0) {
        struct waiting w = a->queue[0];
        if (w.job == JOB_COMMAND) {
            if (a->console.interactive)
                scrollback_add(a->view.scrollback, SAID_COMMAND, w.text, strlen(w.text));
            if (words_run(a, w.text)) {
                drop_first(a);
                continue;
            }
        }
        text_clear(&a->line);
        text_add(&a->line, w.text);
        drop_first(a);
        if (!text_ok(&a->line, NULL))
            continue;
        start(a, w.job,
              w.job == JOB_COMMAND ? run_command
              : w.job == JOB_FILE  ? run_file
              : w.job == JOB_BEGIN ? run_begin
                                   : run_prompt);
        return true;
    }
    return false;
}

/* On the app's own thread: a panel without a refresh, or one that reads counters alone. */
static void refresh_here(struct app *a, struct panel *p, const struct layout_place *at)
{
    struct error err = {0};
    if (p->kind->refresh && !p->kind->refresh(p, at->w, at->h, &err))
        app_say(a, SAID_ERROR, "%s", err.text);
    p->w = at->w;
    p->h = at->h;
    p->version = a->view.version;
    p->wants = false;
}

void jobs_watch(struct app *a)
{
    const struct layout *l = app_layout(a);
    for (int i = 0; a->opened && a->arranged && i < l->n; i++) {
        struct panel *p = a->panel[l->place[i].kind];
        if (p && p->kind->live && !l->place[i].dropped && l->place[i].w > 0)
            refresh_here(a, p, &l->place[i]);
    }
}

/* Starts reading what a panel shows if that is old; with `more`, also if it has not read all. */
static bool refresh_if_old(struct app *a, int place, bool more)
{
    const struct layout *l = app_layout(a);
    const struct layout_place *at = &l->place[place];
    struct panel *p = a->panel[at->kind];
    if (!p || at->dropped || at->w < 1)
        return false;
    bool old = p->wants || p->w != at->w || p->h != at->h || p->version != a->view.version;
    if (!old && !(more && p->more))
        return false;
    if (!p->kind->refresh || p->kind->live) {
        refresh_here(a, p, at);
        return false;
    }
    a->refreshing = p;
    a->refresh_w = at->w;
    a->refresh_h = at->h;
    start(a, JOB_REFRESH, run_refresh);
    return true;
}

void jobs_next(struct app *a)
{
    if (worker_busy(a->worker))
        return;
    if (!a->opened) {
        if (a->job == JOB_NONE && !a->leaving)
            start(a, JOB_OPEN, run_open);
        return;
    }
    if (a->leaving || start_waiting(a))
        return;
    if (!a->arranged)
        frame_arrange(a);
    /* All see something before one goes on with what takes long. */
    for (int more = 0; more < 2; more++) {
        if (a->focus >= 0 && refresh_if_old(a, a->focus, more))
            return;
        for (int i = 0; i < app_layout(a)->n; i++)
            if (refresh_if_old(a, i, more))
                return;
    }
}

/* ---- what comes back ---- */

/* The line with a mark below the column that the message is about. */
static void say_error(struct app *a, const struct error *e, bool with_line)
{
    struct text t;
    text_init(&t, a->ledger, MEM_OTHER);
    if (with_line && e->column > 0 && (size_t)e->column <= a->line.n + 1 && a->line.n < 300) {
        text_add_shown(&t, a->line.data ? a->line.data : "", (size_t)e->column - 1, false);
        int columns = text_ok(&t, NULL) && t.data ? text_columns(t.data) : 0;
        text_clear(&t);
        /* The line itself stands above, behind the prompt's lead. */
        text_printf(&t, "%*s^", columns + (int)strlen(PROMPT_LEAD), "");
        scrollback_add(a->view.scrollback, SAID_ERROR, t.data ? t.data : "", t.n);
    }
    app_say(a, SAID_ERROR, "%s", e->text);
    text_fini(&t);
}

static void opened(struct app *a)
{
    const struct options *o = a->options;
    if (!a->job_ok) {
        a->leaving = true;
        a->status = 1;
        return;
    }
    struct error err = {0};
    a->opened = true;
    a->session.trace.interrupt = a->interrupt;
    report_init(&a->report, a->ledger, false, say, a);
    console_init(&a->console, &a->session, &a->report);
    a->view.console = &a->console;
    a->view.selection.large = mem_alloc_array(
        a->ledger, MEM_VIEWS, (size_t)a->session.model.config.n_heads, sizeof(bool), &err);
    for (int i = 0; a->view.selection.large && i < panels_count() && i < PANELS_MOST; i++)
        if (!a->panel[i])
            a->panel[i] = panel_open(panels_kind(i), &a->view, &err);
    if (err.code) {
        a->job_error = err;
        a->leaving = true;
        a->status = 1;
        return;
    }
    here_look(a);
    if (a->session.notice[0]) {
        app_say(a, SAID_NOTICE, "%s", a->session.notice);
        a->session.notice[0] = '\0';
    }
    jobs_add(a, JOB_BEGIN, "");
    if (o->ids) {
        struct text line;
        text_init(&line, a->ledger, MEM_OTHER);
        text_printf(&line, "ids %s", o->ids);
        if (text_ok(&line, &err))
            jobs_add(a, JOB_COMMAND, line.data);
        else
            app_say(a, SAID_ERROR, "%s", err.text);
        text_fini(&line);
    }
    if (o->prompt)
        jobs_add(a, JOB_PROMPT, o->prompt);
    for (int i = 0; i < o->n_actions; i++)
        jobs_add(a, o->actions[i].is_file ? JOB_FILE : JOB_COMMAND, o->actions[i].text);
    a->console.interactive = true;
}

static void refreshed(struct app *a)
{
    struct panel *p = a->refreshing;
    a->refreshing = NULL;
    if (!a->job_ok && a->job_error.code == ERR_INTERRUPTED && a->yielding && !a->stopped) {
        p->wants = true;
        return;
    }
    p->w = a->refresh_w;
    p->h = a->refresh_h;
    p->version = a->view.version;
    p->wants = false;
    if (a->job_ok)
        return;
    p->more = false;
    if (a->job_error.code == ERR_INTERRUPTED) {
        app_say(a, SAID_NOTICE, "%s is as it was: stopped", p->kind->name);
    } else if (strcmp(a->panel_error, a->job_error.text) != 0) {
        snprintf(a->panel_error, sizeof a->panel_error, "%.190s", a->job_error.text);
        app_say(a, SAID_ERROR, "%s: %s", p->kind->name, a->job_error.text);
    }
}

void jobs_listen(struct app *a)
{
    struct text t;
    char buffer[4096];
    text_init(&t, a->ledger, MEM_OTHER);
    if (worker_said(a->worker, &t) && text_ok(&t, NULL)) {
        scrollback_add(a->view.scrollback, SAID_OUTPUT, t.data, t.n);
        a->dirty = true;
    }
    text_fini(&t);
    ssize_t n;
    for (int i = 0; i < 64 && (n = read(line_log(), buffer, sizeof buffer)) > 0; i++) {
        scrollback_add(a->view.scrollback, SAID_LOG, buffer, (size_t)n);
        a->dirty = true;
    }
}

bool jobs_collect(struct app *a)
{
    if (!worker_take(a->worker))
        return false;
    enum job job = a->job;
    a->job = JOB_NONE;
    a->dirty = true;
    jobs_listen(a);
    if (job == JOB_OPEN) {
        opened(a);
    } else if (job == JOB_REFRESH) {
        refreshed(a);
    } else {
        if (!a->job_ok) {
            say_error(a, &a->job_error, job == JOB_COMMAND);
            /* What was to follow expects that this went well. */
            while (a->n_queue > 0)
                drop_first(a);
        }
        if (a->console.quit) {
            a->leaving = true;
            a->status = a->console.exit_code;
        }
        here_look(a);
        if (job == JOB_COMMAND && a->n_queue == 0 && a->asking == ASK_NOTHING &&
            console_gathers(&a->console))
            ask_open(a, ASK_COMMAND, "");
    }
    return true;
}

void jobs_settle(struct app *a, int milliseconds)
{
    double end = app_now() + milliseconds / 1000.0;
    for (;;) {
        jobs_collect(a);
        jobs_next(a);
        if (!worker_busy(a->worker))
            return;
        double left = end - app_now();
        struct pollfd p = {.fd = worker_fd(a->worker), .events = POLLIN};
        if (left <= 0 || poll(&p, 1, (int)(left * 1000) + 1) <= 0)
            return;
    }
}

void jobs_interrupt(struct app *a)
{
    while (a->n_queue > 0)
        drop_first(a);
    if (a->job == JOB_NONE)
        return;
    /* Asked for again, it is perhaps not ours to stop: a shell command's. */
    if (a->stopped && a->job == JOB_COMMAND)
        kill(0, SIGINT);
    a->stopped = true;
    *a->interrupt = 1;
}

bool jobs_yield(struct app *a)
{
    if (a->job != JOB_REFRESH)
        return true;
    a->yielding = true;
    *a->interrupt = 1;
    struct pollfd p = {.fd = worker_fd(a->worker), .events = POLLIN};
    poll(&p, 1, 20);
    jobs_collect(a);
    return a->job != JOB_REFRESH;
}
