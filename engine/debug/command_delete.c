/* command_delete.c - delete, enable and disable: breakpoints, patches and displays, by number. */
#include "engine/debug/command_parts.h"

/* The number behind "patch", behind enable and disable. */
static bool read_id(struct arguments *a, int *id, struct error *err)
{
    int column = arguments_column(a);
    if (arguments_end(a))
        return error_at(err, ERR_USAGE, column, "the patch's number is expected here");
    return arguments_int(a, "the patch's number", 1, INT32_MAX, 0, id, err) &&
           arguments_done(a, err);
}

/* delete patch N M ...; delete patch alone: all of them. A wrong number leaves all as they are. */
static bool delete_patches(struct console *c, struct arguments *a, struct error *err)
{
    struct patches *p = &c->session->patches;
    const int before = p->n;
    const size_t numbers = a->at;
    int id = 0;
    while (!arguments_end(a))
        if (!arguments_int(a, "the patch's number", 1, INT32_MAX, 0, &id, err))
            return false;
        else if (!patches_find(p, id))
            return error_set(err, ERR_USAGE, "there is no patch %d", id);
    a->at = numbers;
    if (arguments_end(a))
        while (p->n > 0)
            if (!patches_remove(p, p->list[p->n - 1].id, err))
                return false;
    while (!arguments_end(a))
        if (!arguments_int(a, "the patch's number", 1, INT32_MAX, 0, &id, err) ||
            (patches_find(p, id) && !patches_remove(p, id, err)))
            return false;
    return p->n == before || patch_settle(c, err);
}

static bool run_delete(struct console *c, struct arguments *a, struct error *err)
{
    if (arguments_take(a, "display"))
        return display_delete(c, a, err);
    if (!arguments_take(a, "patch"))
        return break_delete(c, a, err);
    return delete_patches(c, a, err);
}

static bool run_enable(struct console *c, struct arguments *a, struct error *err)
{
    int id = 0;
    if (arguments_take(a, "display"))
        return display_enable(c, a, true, err);
    if (!arguments_take(a, "patch"))
        return break_enable(c, a, true, err);
    return read_id(a, &id, err) && patches_enable(&c->session->patches, id, true, err) &&
           patch_settle(c, err);
}

static bool run_disable(struct console *c, struct arguments *a, struct error *err)
{
    int id = 0;
    if (arguments_take(a, "display"))
        return display_enable(c, a, false, err);
    if (!arguments_take(a, "patch"))
        return break_enable(c, a, false, err);
    return read_id(a, &id, err) && patches_enable(&c->session->patches, id, false, err) &&
           patch_settle(c, err);
}

const struct command command_delete = {
    .name = "delete",
    .aliases = "d",
    .usage = "delete [patch|display] [N...]",
    .brief = "take breakpoints or patches away",
    .help = "Without a number all breakpoints go; delete patch takes all patches away.\n"
            "Without a patch the earlier bits come back.",
    .theme = THEME_BREAK,
    .takes = TAKES_NOTHING,
    .changes = true,
    .undoable = true,
    .run = run_delete,
};

const struct command command_enable = {
    .name = "enable",
    .aliases = "",
    .usage = "enable [patch|display] N",
    .brief = "let a disabled breakpoint or patch hold again",
    .help = "",
    .theme = THEME_BREAK,
    .takes = TAKES_NOTHING,
    .changes = true,
    .undoable = true,
    .run = run_enable,
};

const struct command command_disable = {
    .name = "disable",
    .aliases = "",
    .usage = "disable [patch|display] N",
    .brief = "keep a breakpoint or a patch, without its effect",
    .help = "",
    .theme = THEME_BREAK,
    .takes = TAKES_NOTHING,
    .changes = true,
    .undoable = true,
    .run = run_disable,
};
