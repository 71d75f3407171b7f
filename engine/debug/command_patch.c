/* command_patch.c - edits: patch, set SITE, and how they are told. */
#include "engine/debug/command_parts.h"

#include "engine/debug/place.h"
#include "engine/debug/session_scope.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- what is written ---- */

/* The slice's mean over the positions that are known. */
static bool mean_over_positions(struct console *c, const struct patch_spec *spec, struct value *out,
                                struct error *err)
{
    struct session *s = c->session;
    struct source source;
    int op;
    if (site_axes(spec->site) == AXES_HTS)
        return error_set(err, ERR_USAGE, "scores and patterns have no mean over positions");
    if (spec->layer_first != spec->layer_last)
        return error_set(err, ERR_USAGE, "a mean is of one layer");
    if (!session_find(s, spec->site, spec->layer_first, &op, err))
        return false;
    session_source(s, op, &source);
    size_t rows = (size_t)session_known(s, op), count = pick_count(spec->picks, spec->n_picks);
    if (rows == 0)
        return error_set(err, ERR_STATE, "no position of it is computed yet");
    struct pick picks[3] = {pick_all(rows), spec->picks[0], spec->picks[1]};
    struct value all;
    value_init(&all, c->ledger);
    size_t dims[2] = {rows, count};
    bool ok = value_set_shape(&all, 2, dims, err) &&
              session_read(s, &source, picks, all.data, err) &&
              value_reduce(VALUE_MEAN, &all, 0, out, err);
    if (ok && count > 1)
        out->n_dims = pick_shape(spec->picks, spec->n_picks, out->dims);
    value_fini(&all);
    return ok;
}

/* Nothing is left; a position that comes too late is told where it belongs. */
static bool operation_done(struct arguments *a, struct error *err)
{
    int column = arguments_column(a);
    if (arguments_take(a, "at"))
        return error_at(err, ERR_USAGE, column,
                        "\"at POS\" stands right behind the site, as in 5.z[6] at -1 zero");
    return arguments_done(a, err);
}

/* "= EXPR", "+= EXPR", "*= EXPR", "zero", "mean", "scale EXPR", "add EXPR", "from FILE". */
static bool read_operation(struct console *c, struct arguments *a, struct patch_spec *spec,
                           struct value *operand, struct error *err)
{
    int column = arguments_column(a);
    if (arguments_take(a, "zero"))
        return operation_done(a, err);
    if (arguments_take(a, "mean"))
        return operation_done(a, err) && mean_over_positions(c, spec, operand, err);
    if (arguments_take(a, "from")) {
        char name[64];
        if (c->untrusted)
            return error_at(err, ERR_STATE, column, "files are not read here");
        site_name(spec->site, spec->layer_first, name);
        return array_read(c, a, name, operand, err);
    }
    if (arguments_symbol(a, '=') || arguments_take(a, "=")) {
        spec->kind = PATCH_SET;
    } else if (arguments_take(a, "add") ||
               (a->at + 1 < a->n && memcmp(a->line + a->at, "+=", 2) == 0)) {
        spec->kind = PATCH_ADD;
        a->at += a->line[a->at] == '+' ? 2 : 0;
    } else if (arguments_take(a, "scale") ||
               (a->at + 1 < a->n && memcmp(a->line + a->at, "*=", 2) == 0)) {
        spec->kind = PATCH_SCALE;
        a->at += a->line[a->at] == '*' ? 2 : 0;
    } else {
        return error_at(err, ERR_USAGE, column,
                        "= EXPR, zero, mean, scale X, add EXPR or from FILE is expected here");
    }
    return console_eval(c, a, a->at, a->n, operand, err);
}

/* ---- saying it ---- */

/* The receipt of another token: which it was. */
static bool say_token(struct console *c, const struct patch *p, const char *why, struct error *err)
{
    struct report *r = c->report;
    if (r->json) {
        report_begin(r, "cmd", why);
        report_int(r, "id", p->id);
        report_int(r, "position", p->first);
        report_int(r, "old_token", p->old_token);
        report_int(r, "new_token", p->token);
        report_bool(r, "enabled", p->enabled);
        report_string(r, "text", p->text, strlen(p->text));
        return report_end(r, err);
    }
    text_printf(&r->text, "Patch %d at token %d%s: ", p->id, p->first,
                p->enabled ? "" : " (disabled)");
    if (!place_add_token(&r->text, c->session, p->old_token, err))
        return false;
    text_add(&r->text, " -> ");
    if (!place_add_token(&r->text, c->session, p->token, err))
        return false;
    text_add(&r->text, p->first < c->session->trace.n_ids ? "\n" : "  (no such position now)\n");
    return report_send(r, err);
}

static bool say_patch(struct console *c, const struct patch *p, const char *why, struct error *err)
{
    struct report *r = c->report;
    if (p->kind == PATCH_TOKEN)
        return say_token(c, p, why, err);
    char name[64], where[48] = "every position", layers[24] = "";
    site_name(p->site, p->layer_first, name);
    if (p->layer_last != p->layer_first)
        snprintf(layers, sizeof layers, " to layer %d", p->layer_last);
    if (p->first == p->last)
        snprintf(where, sizeof where, "position %d", p->first);
    else if (p->first > 0 || p->last != PATCH_TO_THE_END)
        snprintf(where, sizeof where, "positions %d to %d", p->first, p->last);
    if (r->json) {
        report_begin(r, "cmd", why);
        report_int(r, "id", p->id);
        report_string(r, "site", name, strlen(name));
        report_int(r, "layer_last", p->layer_last);
        report_int(r, "first", p->first);
        report_int(r, "last", p->last == PATCH_TO_THE_END ? -1 : p->last);
        report_bool(r, "enabled", p->enabled);
        report_int(r, "fired", p->fired);
        report_number(r, "norm_before", p->norm_before);
        report_number(r, "norm_after", p->norm_after);
        report_string(r, "text", p->text, strlen(p->text));
        return report_end(r, err);
    }
    text_printf(&r->text, "Patch %d at %s%s, %s%s: ", p->id, name, layers, where,
                p->enabled ? "" : " (disabled)");
    text_add_shown(&r->text, p->text, strlen(p->text), false);
    if (p->fired)
        text_printf(&r->text, "\n  changed %ld row%s, the last one's norm from %g to %g\n",
                    p->fired, p->fired == 1 ? "" : "s", fabs(p->norm_before),
                    fabs(p->norm_after)); /* no -nan */
    else
        text_add(&r->text, "\n  has not fired yet\n");
    return report_send(r, err);
}

bool patch_settle(struct console *c, struct error *err)
{
    struct session *s = c->session;
    bool at_start = s->at_start;
    if (!s->has_prompt)
        return true;
    bool ok = session_goto(s, s->position, s->op, err);
    s->at_start = at_start;
    return ok;
}

static bool add(struct console *c, struct arguments *a, bool once, struct error *err)
{
    struct session *s = c->session;
    struct patch_spec spec = {0};
    struct value operand;
    size_t start = arguments_column(a) - 1;
    value_init(&operand, c->ledger);
    spec.operand = &operand;
    spec.text = a->line + start;
    bool placed = false;
    bool ok = patch_read_place(c, a, &spec, &placed, err);
    if (once && !placed)
        spec.first = spec.last = s->position;
    if (once)
        ok =
            ok && (s->has_prompt || error_set(err, ERR_STATE, "there is no prompt yet (run TEXT)"));
    int id = 0;
    if (ok && read_operation(c, a, &spec, &operand, err))
        id = patches_add(&s->patches, &spec, err);
    value_fini(&operand);
    return id && patch_settle(c, err) &&
           say_patch(c, patches_find(&s->patches, id), once ? "set" : "patch", err);
}

bool patch_set(struct console *c, struct arguments *a, struct error *err)
{
    return add(c, a, true, err);
}

/* token POS = "TEXT" or an id. */
static bool add_token(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    size_t start = (size_t)arguments_column(a) - 1;
    long position, id = -1;
    int32_t token = -1;
    int column = arguments_column(a);
    if (!s->has_prompt)
        return error_set(err, ERR_STATE, "there is no prompt yet (run TEXT)");
    if (!arguments_number(a, &position) || position < -s->trace.n_ids || position >= s->trace.n_ids)
        return error_at(err, ERR_USAGE, column, "a position is expected here: -%d to %d",
                        s->trace.n_ids, s->trace.n_ids - 1);
    position += position < 0 ? s->trace.n_ids : 0;
    arguments_end(a);
    if (!arguments_symbol(a, '='))
        return error_at(err, ERR_USAGE, arguments_column(a), "\"=\" is expected here");
    column = arguments_column(a);
    if (arguments_number(a, &id) && arguments_end(a)) {
        token = id >= 0 && id <= INT32_MAX ? (int32_t)id : -1;
    } else {
        size_t n;
        bool quoted;
        char *text = arguments_text(c, a, &n, &quoted, err);
        bool ok = text &&
                  (quoted || error_set(err, ERR_USAGE,
                                       "a token in quotes, or an id, is "
                                       "expected here")) &&
                  session_token_id(s, text, n, &token, err);
        mem_free(c->ledger, text);
        if (!ok) {
            if (err && err->column == 0)
                err->column = column;
            return false;
        }
    }
    int number = patches_add_token(&s->patches, (int)position, token, a->line + start, err);
    return number && patch_settle(c, err) &&
           say_patch(c, patches_find(&s->patches, number), "patch", err);
}

static bool run_patch(struct console *c, struct arguments *a, struct error *err)
{
    return arguments_take(a, "token") ? add_token(c, a, err) : add(c, a, false, err);
}

bool patch_list(struct console *c, struct arguments *a, struct error *err)
{
    const struct patches *p = &c->session->patches;
    if (!arguments_done(a, err))
        return false;
    for (int i = 0; i < p->n; i++)
        if (!say_patch(c, &p->list[i], "patch", err))
            return false;
    if (p->n == 0 && !c->report->json) {
        text_add(&c->report->text, "no patches\n");
        return report_send(c->report, err);
    }
    return true;
}

const struct command command_patch = {
    .name = "patch",
    .aliases = "",
    .usage = "patch SITE[slice] [at POS] OP | patch token POS = \"TEXT\"",
    .brief = "a lasting edit, numbered",
    .help =
        "OP is one of  = EXPR   zero   mean   scale EXPR   add EXPR   from FILE [TENSOR]\n"
        "FILE is .npy, or .safetensors with the site's name for TENSOR unless told otherwise.\n"
        "The slice is of the value at one position: 5.z[6], 5.pattern[3,0], 5.resid_post[10:20];\n"
        "or has TransformerLens's axes, the position among them: 5.z[2,6,:], 5.pattern[3,-1,0].\n"
        "POS is 5, -1, 3-7 or *; without \"at\" the patch holds at every position, also of tokens\n"
        "that come later; -1 is the last token as it is now, and stays there. Layers may be *.z\n"
        "or 3-5.z. mean is over the known positions.\n"
        "patch token puts another token at a position: one in quotes, or an id.\n"
        "What depends on it is computed again; info patches shows what each one did.",
    .theme = THEME_EDIT,
    .takes = TAKES_SITE,
    .changes = true,
    .undoable = true,
    .run = run_patch,
};
