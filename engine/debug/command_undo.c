/* command_undo.c - undo and redo. */
#include "engine/debug/command_parts.h"

#include "engine/debug/place.h"

#include <stdio.h>
#include <string.h>

void change_begin(struct console *c, struct change_mark *m)
{
    struct error why = {0};
    *m = (struct change_mark){.prompts = c->session->prompts};
    if (c->changing)
        return;
    m->taken = snapshot_take(&m->before, c, &why);
    if (why.code)
        snprintf(c->session->notice, sizeof c->session->notice, "this cannot be undone: %.200s",
                 why.text);
    c->changing = true;
    m->outermost = true;
}

void change_end(struct console *c, struct change_mark *m, const char *line, bool changed)
{
    struct error why = {0};
    if (!m->outermost)
        return;
    c->changing = false;
    if (!m->taken)
        return;
    changed = changed || m->prompts != c->session->prompts || snapshot_differs(&m->before, c);
    if (changed && !history_add(c, line, &m->before, &why))
        snprintf(c->session->notice, sizeof c->session->notice, "this cannot be undone: %.200s",
                 why.text);
    snapshot_fini(&m->before, c->ledger);
}

static bool run_back(struct console *c, struct arguments *a, const char *cmd,
                     bool (*step)(struct console *c, const char **what, struct error *err),
                     struct error *err)
{
    struct report *r = c->report;
    int n;
    if (!arguments_int(a, "a count", 1, HISTORY_MOST, 1, &n, err) || !arguments_done(a, err))
        return false;
    for (int i = 0; i < n; i++) {
        const char *what = NULL;
        struct text done;
        bool ok = step(c, &what, err);
        if (!what && i > 0)
            break; /* fewer than n were there: they are undone */
        if (!what)
            return false;
        if (r->json) {
            report_begin(r, "cmd", cmd);
            report_string(r, "line", what, strlen(what));
            if (!report_end(r, err))
                return false;
        } else {
            text_printf(&r->text, "%s: ", strcmp(cmd, "undo") == 0 ? "undid" : "did again");
            text_add_shown(&r->text, what, strlen(what), false);
            text_add(&r->text, "\n");
        }
        if (ok)
            continue;
        /* Interrupted behind one of several: the log tells how many were done. */
        text_init(&done, c->ledger, MEM_OTHER);
        text_printf(&done, "%s %d", cmd, i + 1);
        c->log_as = text_ok(&done, NULL) ? mem_strdup(c->ledger, MEM_OTHER, done.data, NULL) : NULL;
        text_fini(&done);
        return false;
    }
    return !c->session->has_prompt ? report_send(r, err) : place_report(r, c->session, cmd, err);
}

static bool run_undo(struct console *c, struct arguments *a, struct error *err)
{
    return run_back(c, a, "undo", history_undo, err);
}

static bool run_redo(struct console *c, struct arguments *a, struct error *err)
{
    return run_back(c, a, "redo", history_redo, err);
}

bool undo_list(struct console *c, struct arguments *a, struct error *err)
{
    const struct history *h = &c->history;
    struct report *r = c->report;
    if (!arguments_done(a, err))
        return false;
    for (int i = 0; i < h->n; i++) {
        const char *what = h->list[i].what;
        if (r->json) {
            report_begin(r, "cmd", "info history");
            report_string(r, "line", what, strlen(what));
            report_bool(r, "undone", i >= h->at);
            if (!report_end(r, err))
                return false;
            continue;
        }
        text_add(&r->text, i >= h->at ? "(undone) " : "         ");
        text_add_shown(&r->text, what, strlen(what), false);
        text_add(&r->text, "\n");
    }
    if (h->n == 0 && !r->json)
        text_add(&r->text, "nothing was changed yet\n");
    return report_send(r, err);
}

const struct command command_undo = {
    .name = "undo",
    .aliases = "",
    .usage = "undo [n]",
    .brief = "bring back the state before the last n changes",
    .help =
        "Edits, breakpoints (their commands, conditions and counts, too), displays, $name = EXPR,\n"
        "prompts, sampler settings and generated tokens are changes; moving and looking are none.\n"
        "The earlier bits come back. info history lists what there is.\n"
        "Not undone: $1, $2, ... (what was printed), continuations that were kept, files that\n"
        "were written, logs, and the heads that attn chose. A number is never given twice.",
    .theme = THEME_EDIT,
    .takes = TAKES_NOTHING,
    .changes = true,
    .run = run_undo,
};

const struct command command_redo = {
    .name = "redo",
    .aliases = "",
    .usage = "redo [n]",
    .brief = "do again what was undone",
    .help = "Numbers come back with it. A new change ends what can be done again.",
    .theme = THEME_EDIT,
    .takes = TAKES_NOTHING,
    .changes = true,
    .run = run_redo,
};
