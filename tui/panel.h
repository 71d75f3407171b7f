/* panel.h - what every panel is, and what panels share.
 *
 * A panel never touches the session while it draws. `refresh` reads what the panel will show at
 * its size, into the panel's own memory; `draw` shows that. The app calls refresh, on the worker's
 * thread, only for panels that can be seen and whose state is old; never beside a command. So a
 * long command, or a long refresh, leaves the screen answering. No two functions of one panel run
 * at the same time; `key` and `draw` look at copies of what the session says, since a command may
 * be running beside them.
 *
 * What takes long is read in pieces: refresh returns after a while with `more` set, the app draws
 * what is there and calls it again. Interrupted, it keeps what it has and goes on from there.
 */
#ifndef MIDPASS_PANEL_H
#define MIDPASS_PANEL_H

#include "engine/debug/command.h"
#include "tui/theme.h"

/* Keys beyond characters; characters are their code points, Ctrl-A is 1, Esc 27. */
enum key {
    KEY_NONE = 0,
    KEY_CTRL_C = 3,
    KEY_TABULATOR = 9,
    KEY_RETURN = 13,
    KEY_ESCAPE = 27,
    KEY_RUBOUT = 127,
    KEY_SPECIAL = 0x110000, /* above all code points */
    KEY_UP_ARROW,
    KEY_DOWN_ARROW,
    KEY_LEFT_ARROW,
    KEY_RIGHT_ARROW,
    KEY_PAGE_UP,
    KEY_PAGE_DOWN,
    KEY_HOME_KEY,
    KEY_END_KEY,
    KEY_DELETE_KEY,
    KEY_BACK_TAB,
    KEY_FUNCTION_1,
    KEY_WINDOW_SIZE,
    KEY_MOUSE_EVENT
};

enum mouse_action { MOUSE_PRESS, MOUSE_DOUBLE, MOUSE_WHEEL_UP, MOUSE_WHEEL_DOWN };

/* What the user looks at, beside the session's cursor; shared by all panels. */
struct selection {
    int layer;     /* whose attention and sites are shown */
    int head;      /* under the cursor */
    bool *large;   /* [n_heads] chosen heads, shown large */
    int position;  /* the row that keys act on: a token */
    bool follow;   /* layer and position follow the session's cursor */
    bool chosen;   /* a token was chosen, whose rank and probability are shown; else the one that */
    int32_t token; /* came next in the sequence, or is best */
};

/* The line being typed, drawn as the console's last line. */
struct prompt_view {
    bool active;
    const char *lead; /* "(midpass) " */
    const char *text; /* safe to show */
    int cursor;       /* column in text */
};

struct scrollback; /* panels/console.h: the lines that the console has said */

struct view {
    struct ledger *ledger;
    struct console *console; /* its session is all that panels look at */
    const struct theme *theme;
    struct selection selection;
    struct prompt_view prompt;
    struct scrollback *scrollback;
    /* Counts: of anything that may have changed what a panel shows, and of edits (patches set,
     * changed, undone). A panel that shows before and after keeps what it had when edits grew. */
    uint64_t version, edits;
};

enum key_result {
    KEY_IGNORED, /* the app's own keys come next */
    KEY_DONE,    /* draw again */
    KEY_REFRESH, /* the panel needs other data: refresh, then draw */
    KEY_SHARED,  /* the selection changed: all panels refresh */
    KEY_COMMAND, /* run the line in *line */
    KEY_PROMPT   /* open the prompt with *line written out */
};

struct key_help {
    const char *keys; /* "h j k l" */
    const char *what; /* "move" */
};

struct panel;

struct panel_kind {
    const char *name; /* "attention": in layouts, in `focus attention` */
    size_t size;      /* of the struct that begins with struct panel */
    int min_w, min_h; /* contents below this are not worth showing */
    bool (*open)(struct panel *p, struct error *err); /* may be NULL */
    void (*close)(struct panel *p);                   /* may be NULL */
    /* Reads what `draw` shows in w x h cells. Interruptible: ERR_INTERRUPTED keeps the old. */
    bool (*refresh)(struct panel *p, int w, int h, struct error *err); /* may be NULL */
    /* refresh looks at counters alone, that threads may share: the app calls it on its own thread,
     * beside a command, too. */
    bool live;
    void (*draw)(const struct panel *p, struct region r, bool focused);
    /* What stands in the frame: "attention  L1  H3". Safe to show. */
    void (*title)(const struct panel *p, struct text *out);
    enum key_result (*key)(struct panel *p, int key, struct text *line); /* may be NULL */
    /* x, y in the panel's contents. May be NULL. */
    enum key_result (*mouse)(struct panel *p, enum mouse_action a, int x, int y, struct text *line);
    /* Moves to the next match of a search (/), from where the panel's cursor stands, backwards if
     * back. False: no match. May be NULL. */
    bool (*search)(struct panel *p, const char *needle, bool back);
    const struct key_help *keys; /* ends with keys == NULL */
};

struct panel {
    const struct panel_kind *kind;
    struct view *view;
    int w, h;         /* of the last refresh */
    uint64_t version; /* view->version at the last refresh */
    bool wants;       /* refresh even if the version is the same */
    bool more;        /* set by refresh: it has more to read, and wants to go on */
};

struct panel *panel_open(const struct panel_kind *k, struct view *v, struct error *err);
void panel_close(struct panel *p); /* NULL is fine */

extern const struct panel_kind panel_tokens, panel_program, panel_attention, panel_residual,
    panel_lens, panel_top, panel_memory, panel_value, panel_points, panel_console;

#endif
