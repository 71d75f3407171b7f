/* keys.c - what a key does: the overlay first, then the prompt, the panel, and the screen. */
#include "tui/app_parts.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

const struct key_help app_keys[] = {
    {"s n t", "step to the next site, the next block, the next token"},
    {"f c i", "finish this token, continue to a breakpoint, one op"},
    {"r then s n t c i", "the same backwards"},
    {":g Enter", "generate a token; :g 20 Enter: twenty"},
    {"b e", "a breakpoint here, an edit here, written out to be completed"},
    {"u", "undo the last edit"},
    {": or a letter", "the prompt; a letter begins a command"},
    {"Tab Shift-Tab 1-9", "the next panel, the one before, by number"},
    {"z", "the panel alone, and back"},
    {"=", "the next layout"},
    {"+ - < >", "the panel higher, lower, narrower, wider"},
    {"/ then ] [", "search in the panel, the next match, the one before"},
    {"Esc", "follow the cursor again"},
    {"Ctrl-P", "all commands"},
    {"Ctrl-C", "stop what runs"},
    {"Ctrl-L Ctrl-Z", "draw anew; to the shell, fg comes back"},
    {"F1 ?", "this page"},
    {"q", "quit, at once"},
    {NULL, NULL}};

void keys_focus(struct app *a, int place)
{
    const struct layout *l = app_layout(a);
    if (place < 0 || place >= l->n)
        return;
    a->focus = place;
    a->arranged = false;
    a->dirty = true;
    /* In the console one types. */
    if (a->panel[l->place[place].kind] && panels_kind(l->place[place].kind) == &panel_console &&
        a->asking == ASK_NOTHING)
        ask_open(a, ASK_COMMAND, "");
}

static void run(struct app *a, const char *line)
{
    /* A key held down must not leave a queue behind it. */
    if (a->job != JOB_NONE && a->job != JOB_REFRESH && a->n_queue > 0)
        return;
    jobs_add(a, JOB_COMMAND, line);
    if (a->job == JOB_REFRESH)
        jobs_yield(a);
}

/* ---- the panel ---- */

/* What a panel answered. False: the key is not one of its own. */
static bool panel_answer(struct app *a, struct panel *p, enum key_result result,
                         const struct text *line)
{
    const char *text = line->data ? line->data : "";
    switch (result) {
    case KEY_IGNORED:
        return false;
    case KEY_DONE:
        break;
    case KEY_REFRESH:
        p->wants = true;
        break;
    case KEY_SHARED:
        a->view.version++;
        break;
    case KEY_COMMAND:
        run(a, text);
        break;
    case KEY_PROMPT:
        ask_open(a, ASK_COMMAND, text);
        break;
    }
    a->dirty = true;
    return true;
}

static bool panel_takes(struct app *a, int key)
{
    struct panel *p = app_focused(a);
    struct text line;
    if (!p || !p->kind->key)
        return false;
    text_init(&line, a->ledger, MEM_VIEWS);
    bool done = panel_answer(a, p, p->kind->key(p, key, &line), &line);
    text_fini(&line);
    return done;
}

static void mouse_takes(struct app *a, const struct terminal_mouse *m)
{
    const struct layout *l = app_layout(a);
    struct text line;
    for (int i = 0; i < l->n; i++) {
        const struct layout_place *p = &l->place[i];
        struct panel *panel = a->panel[p->kind];
        if (p->dropped || p->w < 1 || m->x < p->x || m->x >= p->x + p->w || m->y < p->y - 1 ||
            m->y >= p->y + p->h)
            continue;
        if (m->action == MOUSE_PRESS && i != a->focus)
            keys_focus(a, i);
        if (!panel || !panel->kind->mouse || m->y < p->y)
            return;
        text_init(&line, a->ledger, MEM_VIEWS);
        panel_answer(a, panel,
                     panel->kind->mouse(panel, m->action, m->x - p->x, m->y - p->y, &line), &line);
        text_fini(&line);
        return;
    }
}

/* ---- the screen ---- */

static void next_panel(struct app *a, int by)
{
    int n = app_layout(a)->n;
    if (n > 0)
        keys_focus(a, (a->focus + n + by) % n);
}

static void next_layout(struct app *a)
{
    struct panel *p = app_focused(a);
    a->layout = (a->layout + 1) % N_LAYOUTS;
    a->zoom = false;
    a->focus = 0;
    const struct layout *l = app_layout(a);
    for (int i = 0; p && i < l->n; i++)
        if (a->panel[l->place[i].kind] == p)
            a->focus = i;
    a->layouts_changed = true;
    keys_focus(a, a->focus);
    snprintf(a->message, sizeof a->message, "layout %s: %s", l->name,
             layout_defaults[a->layout].about);
}

static void grow(struct app *a, int dw, int dh)
{
    layout_grow(app_layout(a), a->focus, dw, dh);
    a->layouts_changed = true;
    a->arranged = false;
    a->dirty = true;
}

static bool reverse_takes(struct app *a, int key)
{
    static const char *const lines[] = {"s", "reverse-step",  "n", "reverse-next",
                                        "t", "reverse-token", "c", "reverse-continue",
                                        "i", "reverse-stepi", NULL};
    a->reverse = false;
    a->dirty = true;
    for (int i = 0; lines[i]; i += 2)
        if (key == lines[i][0]) {
            run(a, lines[i + 1]);
            return true;
        }
    return key == KEY_ESCAPE;
}

/* The site that a breakpoint or an edit of the screen's own would be about: where one stands. */
static void ask_about_here(struct app *a, const char *command)
{
    char line[100];
    snprintf(line, sizeof line, "%s %s", command, a->here.site);
    ask_open(a, ASK_COMMAND, line);
}

static void follow(struct app *a)
{
    struct selection *s = &a->view.selection;
    a->pinned = false;
    if (!s->follow && !worker_busy(a->worker)) {
        s->follow = true;
        s->position = a->here.position;
        a->view.version++;
    }
    a->dirty = true;
}

/* Whether some command begins with this letter. */
static bool begins_command(int key)
{
    for (int i = 0; command_at(i); i++)
        if (command_at(i)->name[0] == key)
            return true;
    for (int i = 0; screen_words[i].name; i++)
        if (screen_words[i].name[0] == key)
            return true;
    return key == '$';
}

static bool motion_key(struct app *a, int key)
{
    static const char *const lines[] = {"s",      "step", "n",        "next", "t",     "token", "f",
                                        "finish", "c",    "continue", "i",    "stepi", NULL};
    for (int i = 0; lines[i]; i += 2)
        if (key == lines[i][0]) {
            run(a, lines[i + 1]);
            return true;
        }
    return false;
}

static void screen_takes(struct app *a, int key)
{
    char letter[2] = {(char)key, '\0'};
    if (motion_key(a, key))
        return;
    switch (key) {
    case 'q':
        a->leaving = true;
        return;
    case 'r':
        a->reverse = true;
        break;
    case 'u':
        run(a, "undo");
        return;
    case 'b':
        ask_about_here(a, "break");
        break;
    case 'e':
        ask_about_here(a, "set");
        break;
    case 'z':
        a->zoom = !a->zoom;
        a->arranged = false;
        break;
    case '=':
        next_layout(a);
        break;
    case '+':
        grow(a, 0, 1);
        break;
    case '-':
        grow(a, 0, -1);
        break;
    case '<':
        grow(a, -1, 0);
        break;
    case '>':
        grow(a, 1, 0);
        break;
    case '/':
        ask_open(a, ASK_SEARCH, "");
        break;
    case ']':
    case '[':
        ask_search(a, key == '[');
        break;
    case ':':
        ask_open(a, ASK_COMMAND, "");
        break;
    case KEY_ESCAPE:
        follow(a);
        break;
    default:
        if (key >= '1' && key <= '9')
            keys_focus(a, key - '1');
        else if (key < 0x80 && begins_command(key))
            ask_open(a, ASK_COMMAND, letter);
        else
            return;
    }
    a->dirty = true;
}

/* Keys that mean the same wherever they are pressed. */
static bool anywhere(struct app *a, int key)
{
    switch (key) {
    case KEY_CTRL_C:
        jobs_interrupt(a);
        return true;
    case KEY_TABULATOR:
        next_panel(a, 1);
        return true;
    case KEY_BACK_TAB:
        next_panel(a, -1);
        return true;
    case KEY_FUNCTION_1:
    case '?':
        overlay_open(a, OVERLAY_HELP);
        return true;
    case 16:
        overlay_open(a, OVERLAY_PALETTE);
        return true;
    case 12:
        terminal_redraw();
        a->dirty = true;
        return true;
    case 26:
        terminal_suspend();
        a->dirty = true;
        return true;
    default:
        return false;
    }
}

void keys_take(struct app *a, int key, const struct terminal_mouse *mouse)
{
    struct panel *p = app_focused(a);
    bool small = a->w < LAYOUT_SMALL_W || a->h < LAYOUT_SMALL_H;
    a->dirty = a->dirty || a->message[0];
    a->message[0] = '\0';
    if (key == KEY_PASTE_BEGIN || key == KEY_PASTE_END) {
        a->pasting = key == KEY_PASTE_BEGIN;
        if (a->pasting && a->asking == ASK_NOTHING && a->opened)
            ask_open(a, ASK_COMMAND, "");
    } else if (key == 'q' && (small || !a->opened)) {
        a->leaving = true;
    } else if (!a->opened || small) {
        if (key == KEY_CTRL_C && !a->opened)
            a->leaving = true;
    } else if (a->overlay != OVERLAY_NONE) {
        overlay_key(a, key);
    } else if (key == KEY_MOUSE_EVENT) {
        if (mouse && jobs_yield(a))
            mouse_takes(a, mouse);
    } else if (a->asking != ASK_NOTHING || a->pasting) {
        if (a->asking == ASK_NOTHING)
            ask_open(a, ASK_COMMAND, "");
        ask_takes(a, key, a->key_alone);
    } else if (anywhere(a, key)) {
        /* done */
    } else if (a->reverse) {
        reverse_takes(a, key);
    } else if (p && p->kind == &panel_console && key >= ' ' && key < KEY_SPECIAL &&
               key != KEY_RUBOUT && key != ':') {
        ask_open(a, ASK_COMMAND, "");
        ask_takes(a, key, true);
    } else if (key == KEY_RETURN && p && p->kind == &panel_console) {
        run(a, "");
    } else if (!panel_takes(a, key)) {
        screen_takes(a, key);
    }
}
