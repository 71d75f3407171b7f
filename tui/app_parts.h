/* app_parts.h - what the files of the screen share. Nobody else includes this.
 *
 *   app.c      opening, the loop, closing        frame.c    drawing one frame
 *   jobs.c     commands and refreshes            keys.c     what a key does
 *   here.c     what is copied of the session     ask.c      the prompt
 *   words.c    attn, focus, layout, mouse, ...   overlay.c  help and palette over the panels
 *   remember.c layouts from one day to the next
 *
 * Two threads: the loop, which draws and takes keys, and the worker, which alone touches the
 * session while it is busy. What the loop shows of the session it copied while the worker was
 * idle (struct here).
 */
#ifndef MIDPASS_APP_PARTS_H
#define MIDPASS_APP_PARTS_H

#include "tui/app.h"
#include "tui/layout.h"
#include "tui/line.h"
#include "tui/panels/console.h"
#include "tui/panels/panels.h"
#include "tui/prompt.h"
#include "tui/terminal.h"
#include "tui/worker.h"

#define N_LAYOUTS  5
#define QUEUE_MOST 1000 /* lines that wait, say of a paste */

enum job {
    JOB_NONE,
    JOB_OPEN,
    JOB_BEGIN /* log, rc files */,
    JOB_PROMPT,
    JOB_COMMAND,
    JOB_FILE,
    JOB_REFRESH
};

/* Why the prompt is open. */
enum asking { ASK_NOTHING, ASK_COMMAND, ASK_SEARCH };

enum overlay { OVERLAY_NONE, OVERLAY_HELP, OVERLAY_PALETTE };

/* Of the session, as it was when the worker was last idle. */
struct here {
    bool has_prompt;
    int position, n_ids, op;
    char site[64];
    struct text token; /* safe to show */
};

struct waiting {
    enum job job;
    char *text;
};

struct app {
    const struct options *options;
    struct resume *resume;
    struct ledger *ledger;
    volatile int *interrupt;
    struct terminal_facts facts;
    struct theme theme;

    struct session session;
    struct report report;
    struct console console;
    int status;

    /* what runs (jobs.c) */
    struct worker *worker;
    enum job job;
    struct text line; /* of the command that runs */
    struct error job_error;
    double job_since;
    struct load_watch load; /* while the model is opened */
    long work_before;       /* trace.work_done at its start */
    struct panel *refreshing;
    int refresh_w, refresh_h;
    struct waiting *queue;
    int n_queue;
    uint64_t patches_mark; /* changes when a patch does */
    struct here here;
    char panel_error[200]; /* the last one told */

    /* what is seen (frame.c) */
    struct view view;
    struct cells frame, last;
    int w, h, cursor_x, cursor_y;
    struct layout layouts[N_LAYOUTS];
    int layout, focus; /* focus: a place of the layout */
    struct panel *panel[PANELS_MOST];
    char message[200]; /* in the bar, until the next key */

    /* what is asked (keys.c, overlay.c) */
    enum asking asking;
    enum overlay overlay;
    int overlay_at, overlay_top;
    char needle[100]; /* of the last search */
    char filter[40];

    bool opened, leaving, job_ok;
    bool yielding; /* a refresh was interrupted for something else, and is to run again */
    bool stopped;  /* the user interrupted */
    bool pinned;   /* attn chose the layer: it does not follow */
    bool zoom, dirty, arranged, layouts_changed;
    bool pasting, key_alone, reverse; /* reverse: r was pressed */
};

double app_now(void); /* seconds */

/* ---- jobs.c ---- */

/* Queues a line; without room or memory it says so. */
void jobs_add(struct app *a, enum job job, const char *text);
void jobs_next(struct app *a);    /* starts what waits, if the worker is free */
bool jobs_collect(struct app *a); /* takes back what has ended; whether anything had */
void jobs_settle(struct app *a, int milliseconds); /* goes on with jobs for that long */
void jobs_listen(struct app *a);    /* moves what commands and libraries said to the console */
void jobs_watch(struct app *a);     /* refreshes the panels that go on beside a command */
void jobs_interrupt(struct app *a); /* Ctrl-C */
/* For a key that a panel wants while it, or another, refreshes: true once none does. */
bool jobs_yield(struct app *a);
void jobs_fini(struct app *a);
void app_say(struct app *a, enum said what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- frame.c ---- */

bool frame_draw(struct app *a, struct error *err);
void frame_arrange(struct app *a); /* the panels' places, for the size and the layout */
struct layout *app_layout(struct app *a);
/* The focused panel; NULL while there is none. */
struct panel *app_focused(struct app *a);
bool app_panel_seen(struct app *a, const char *name); /* has a place now */

/* ---- keys.c ---- */

void keys_take(struct app *a, int key, const struct terminal_mouse *mouse);
void keys_focus(struct app *a, int place);
extern const struct key_help app_keys[]; /* ends with keys NULL */

/* ---- ask.c ---- */

/* Opens the prompt with a line written out. */
void ask_open(struct app *a, enum asking why, const char *line);
void ask_takes(struct app *a, int key, bool alone); /* a key while the prompt is open */
void ask_search(struct app *a, bool back);          /* the next match in the focused panel */

/* ---- here.c ---- */

/* After a command: where the session stands, and whether panels and patches are other now. */
void here_look(struct app *a);

/* ---- words.c ---- */

/* Runs a line if it is one of the screen's own commands. */
bool words_run(struct app *a, const char *line);
struct word {
    const char *name, *usage, *brief;
};
extern const struct word screen_words[]; /* ends with name NULL */

/* ---- overlay.c ---- */

void overlay_open(struct app *a, enum overlay which);
void overlay_key(struct app *a, int key);
void overlay_draw(struct app *a, struct region r);

/* ---- remember.c ---- */

void remember_load(struct app *a);
void remember_save(struct app *a);

#endif
