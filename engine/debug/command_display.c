/* command_display.c - values that are shown behind every stop. */
#include "engine/debug/command_parts.h"

#include <string.h>

/* One line each; what cannot be evaluated here says so and ends nothing. */
static bool show(struct console *c, const struct display *d, struct error *err)
{
    struct report *r = c->report;
    struct error why = {0};
    struct value v;
    struct text before;
    struct arguments a = {.line = d->expr, .n = strlen(d->expr)};
    value_init(&v, c->ledger);
    text_init(&before, c->ledger, MEM_OTHER);
    bool fine = console_eval(c, &a, 0, a.n, &v, &why);
    bool ok = fine || why.code != ERR_INTERRUPTED;
    if (!ok && err)
        *err = why;
    if (ok && r->json) {
        r->first = true;
        report_open(r, NULL, '{');
        report_int(r, "display", d->id);
        report_string(r, "expr", d->expr, a.n);
        if (fine)
            ok = report_value(r, &v, err);
        else
            report_string(r, "error", why.text, strlen(why.text));
        ok = ok && report_end(r, err);
    } else if (ok) {
        text_printf(&before, "%d: ", d->id);
        text_add_shown(&before, d->expr, a.n, false);
        text_add(&before, fine ? " = " : "  ");
        ok = text_ok(&before, err);
        if (ok && fine) {
            ok = report_print(r, before.data, &v, d->all, err);
        } else if (ok) {
            text_printf(&r->text, "%s(%s)\n", before.data, why.text);
            ok = report_send(r, err);
        }
    }
    text_fini(&before);
    value_fini(&v);
    return ok;
}

bool displays_show(struct console *c, struct error *err)
{
    for (int i = 0; i < c->displays.n; i++)
        if (c->displays.list[i].enabled && !show(c, &c->displays.list[i], err))
            return false;
    return true;
}

static bool run_display(struct console *c, struct arguments *a, struct error *err)
{
    if (arguments_end(a))
        return displays_show(c, err);
    if (strcmp(a->format, "a") != 0 && a->format[0])
        return error_at(err, ERR_USAGE, a->format_column, "only /a is known here");
    arguments_column(a);
    /* What is no expression at all is told now; what has no value here may have one elsewhere. */
    struct expr *e = expr_parse(c->ledger, a->line + a->at, a->n - a->at, (int)a->at + 1, err);
    if (!e)
        return false;
    expr_close(e);
    int id = displays_add(&c->displays, a->line + a->at, a->format[0] == 'a', err);
    if (!id)
        return false;
    const struct display *d = displays_find(&c->displays, id, err);
    return !c->session->has_prompt || show(c, d, err);
}

/* The display that the rest of the line names; NULL and *err otherwise. */
static struct display *read_display(struct console *c, struct arguments *a, struct error *err)
{
    int id = 0, column = arguments_column(a);
    if (arguments_end(a)) {
        error_at(err, ERR_USAGE, column, "a display's number is expected here");
        return NULL;
    }
    if (!arguments_int(a, "a display's number", 1, INT32_MAX, 0, &id, err) ||
        !arguments_done(a, err))
        return NULL;
    return displays_find(&c->displays, id, err);
}

bool display_delete(struct console *c, struct arguments *a, struct error *err)
{
    struct display *d = read_display(c, a, err);
    if (!d)
        return false;
    displays_remove(&c->displays, d);
    return true;
}

bool display_enable(struct console *c, struct arguments *a, bool enabled, struct error *err)
{
    struct display *d = read_display(c, a, err);
    if (d)
        d->enabled = enabled;
    return d != NULL;
}

bool display_list(struct console *c, struct arguments *a, struct error *err)
{
    struct report *r = c->report;
    if (!arguments_done(a, err))
        return false;
    for (int i = 0; i < c->displays.n; i++) {
        const struct display *d = &c->displays.list[i];
        if (r->json) {
            report_begin(r, "cmd", "info display");
            report_int(r, "display", d->id);
            report_string(r, "expr", d->expr, strlen(d->expr));
            report_bool(r, "enabled", d->enabled);
            if (!report_end(r, err))
                return false;
            continue;
        }
        text_printf(&r->text, "%-4d %s", d->id, d->enabled ? "" : "(disabled) ");
        text_add_shown(&r->text, d->expr, strlen(d->expr), false);
        text_add(&r->text, "\n");
    }
    if (c->displays.n == 0 && !r->json)
        text_add(&r->text, "no displays\n");
    return report_send(r, err);
}

/* ---- the table ---- */

const struct command command_display = {
    .name = "display",
    .aliases = "",
    .usage = "display[/a] [EXPR]",
    .brief = "show a value behind every stop; without EXPR, show them now",
    .help = "info display lists them, undisplay N takes one away.",
    .theme = THEME_LOOK,
    .takes = TAKES_EXPR,
    .changes = true,
    .undoable = true,
    .run = run_display,
};

const struct command command_undisplay = {
    .name = "undisplay",
    .aliases = "",
    .usage = "undisplay N",
    .brief = "show it no more",
    .help = "",
    .theme = THEME_LOOK,
    .takes = TAKES_NOTHING,
    .changes = true,
    .undoable = true,
    .run = display_delete,
};
