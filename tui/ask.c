/* ask.c - the prompt within the screen: commands and searches. */
#include "tui/app_parts.h"

#include <stdio.h>
#include <string.h>

void ask_open(struct app *a, enum asking why, const char *line)
{
    a->asking = why;
    a->reverse = false;
    const char *lead = !worker_busy(a->worker) && a->opened && console_gathers(&a->console)
                           ? PROMPT_MORE_LEAD
                           : PROMPT_LEAD;
    prompt_open(why == ASK_SEARCH ? "/" : lead, line, why == ASK_COMMAND);
    a->dirty = true;
}

static void say_below(struct app *a, const char *text)
{
    snprintf(a->message, sizeof a->message, "%s", text);
    a->dirty = true;
}

void ask_search(struct app *a, bool back)
{
    struct panel *p = app_focused(a);
    if (!a->needle[0])
        say_below(a, "nothing was searched for yet: / asks");
    else if (!p || !p->kind->search)
        say_below(a, "this panel has nothing to search");
    else if (!p->kind->search(p, a->needle, back))
        say_below(a, "not found");
    else
        p->wants = true;
    a->dirty = true;
}

/* Whoever gives a command wants to see what it says, though the console was scrolled back. */
static void show_newest(struct app *a)
{
    for (int i = 0; i < PANELS_MOST; i++)
        if (a->panel[i] && a->panel[i]->kind == &panel_console)
            panel_console.key(a->panel[i], KEY_END_KEY, NULL);
}

static void prompt_answer(struct app *a, enum prompt_result result)
{
    enum asking why = a->asking;
    a->dirty = true;
    if (result == PROMPT_MORE)
        return;
    a->asking = ASK_NOTHING;
    if (result == PROMPT_CANCELLED)
        return;
    if (why == ASK_SEARCH) {
        if (*prompt_line())
            snprintf(a->needle, sizeof a->needle, "%s", prompt_line());
        ask_search(a, false);
        return;
    }
    show_newest(a);
    jobs_add(a, JOB_COMMAND, prompt_line());
    if (a->job == JOB_REFRESH)
        jobs_yield(a);
    /* In the console one types on. */
    struct panel *p = app_focused(a);
    if (p && p->kind == &panel_console)
        ask_open(a, ASK_COMMAND, "");
}

/* In the console the keys that a line has no use for scroll it. */
static bool is_scrolling(int key)
{
    return key == KEY_PAGE_UP || key == KEY_PAGE_DOWN;
}

void ask_takes(struct app *a, int key, bool alone)
{
    struct panel *p = app_focused(a);
    if (a->pasting) {
        /* Lines of a paste run one after the other, as if they had been typed. */
        if (key == KEY_TABULATOR)
            key = ' ';
        else if (key < ' ' && key != KEY_RETURN)
            return;
    }
    if (key == KEY_TABULATOR && a->asking == ASK_SEARCH)
        return;
    if (key == KEY_BACK_TAB || (key == KEY_TABULATOR && !*prompt_text())) {
        /* An empty line has nothing to complete: Tab goes on to the next panel. */
        prompt_close();
        a->asking = ASK_NOTHING;
        keys_take(a, key, NULL);
        return;
    }
    if (key == KEY_FUNCTION_1) {
        overlay_open(a, OVERLAY_HELP);
        return;
    }
    if (key == 12 || key == 16 || key == 26) { /* Ctrl-L, Ctrl-P with nothing typed, Ctrl-Z */
        if (key == 12)
            terminal_redraw();
        else if (key == 26)
            terminal_suspend();
        else if (!*prompt_text())
            overlay_open(a, OVERLAY_PALETTE);
        if (key != 16 || !*prompt_text()) {
            a->dirty = true;
            return;
        }
    }
    if (key == KEY_CTRL_C && a->job != JOB_NONE && a->job != JOB_REFRESH) {
        jobs_interrupt(a);
        return;
    }
    if (is_scrolling(key) && p && p->kind->key) {
        struct text line;
        text_init(&line, a->ledger, MEM_VIEWS);
        p->kind->key(p, key, &line);
        text_fini(&line);
        a->dirty = true;
        return;
    }
    prompt_answer(a, prompt_key(key, alone));
}
