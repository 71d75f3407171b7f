/* command_patch.c - edits: patch, set SITE, and what is done with those that are there. */
#include "engine/debug/command_parts.h"

#include "engine/debug/place.h"
#include "engine/debug/session_scope.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading SITE[slice] [at POS] ---- */

/* One axis: "3", "-1", "a:b", ":"; n is its length. */
static bool read_pick(struct arguments *a, int64_t n, struct pick *out, struct error *err)
{
    int column = arguments_column(a);
    long first = 0, last = (long)n;
    bool has_first = arguments_number(a, &first);
    if (!arguments_symbol(a, ':')) {
        if (!has_first)
            return error_at(err, ERR_USAGE, column, "an index or a slice a:b is expected here");
        if (first < -n || first >= n)
            return error_at(err, ERR_USAGE, column, "index %ld is out of range: there are %lld",
                            first, (long long)n);
        *out = pick_one(first < 0 ? first + n : first);
        return true;
    }
    arguments_end(a);
    arguments_number(a, &last);
    first = first < 0 ? first + (long)n : first;
    last = last < 0 ? last + (long)n : last > n ? (long)n : last;
    if (first < 0 || last <= first)
        return error_at(err, ERR_USAGE, column, "the slice is empty");
    *out = (struct pick){.first = first, .step = 1, .count = (size_t)(last - first)};
    return true;
}

/* How many indices stand in the brackets that begin here. */
static int count_indices(const struct arguments *a)
{
    int n = 1;
    for (size_t i = a->at; i < a->n && a->line[i] != ']'; i++)
        n += a->line[i] == ',';
    return n;
}

/* The position among TransformerLens's indices: 1.z[6,3], 1.pattern[3,6,:]. */
static bool read_position(struct console *c, struct arguments *a, struct patch_spec *spec,
                          struct error *err)
{
    const struct session *s = c->session;
    struct pick pick;
    if (!read_pick(a, s->trace.n_ids > 0 ? s->trace.n_ids : s->trace.n_ctx, &pick, err))
        return false;
    spec->first = (int)pick.first;
    spec->last = (int)(pick.first + (int64_t)pick.count - 1);
    return true;
}

/* The slice of the value at one position; what brackets leave out is whole. With one index more
 * one of them is the position, where TransformerLens has it, and *placed is set. */
static bool read_slice(struct console *c, struct arguments *a, const struct op *op,
                       struct patch_spec *spec, bool *placed, struct error *err)
{
    enum site_axes axes = site_axes(op->site);
    int n = axes == AXES_HTS || axes == AXES_THX ? 2 : 1;
    int64_t dims[2] = {n == 2 ? op->heads : op->width, axes == AXES_HTS
                                                           ? c->session->trace.n_ctx
                                                           : op->width / (n == 2 ? op->heads : 1)};
    *placed = false;
    spec->n_picks = n;
    for (int i = 0; i < n; i++)
        spec->picks[i] = pick_all((size_t)dims[i]);
    if (!arguments_symbol(a, '['))
        return true;
    int total = count_indices(a);
    *placed = total == n + 1;
    int position = axes == AXES_HTS ? 1 : 0;
    for (int i = 0, axis = 0;; i++) {
        if (axis == n && !*placed)
            return error_at(err, ERR_USAGE, arguments_column(a),
                            "%s has %d axes at one position, and one more with its position",
                            site_suffix(op->site), n);
        bool here = *placed && i == position;
        if (here ? !read_position(c, a, spec, err)
                 : !read_pick(a, dims[axis], &spec->picks[axis], err))
            return false;
        axis += !here;
        if (arguments_symbol(a, ']'))
            return true;
        if (!arguments_symbol(a, ','))
            return error_at(err, ERR_USAGE, arguments_column(a), "\",\" or \"]\" is expected here");
        if (i + 1 == total)
            return error_at(err, ERR_USAGE, arguments_column(a), "\"]\" is expected here");
    }
}

static bool read_positions(struct console *c, struct arguments *a, struct patch_spec *spec,
                           bool placed, struct error *err)
{
    struct session *s = c->session;
    int column = arguments_column(a);
    if (placed)
        return !arguments_take(a, "at") ||
               error_at(err, ERR_USAGE, column, "the position stands in the brackets already");
    spec->first = 0;
    spec->last = PATCH_TO_THE_END;
    return !arguments_take(a, "at") ||
           arguments_positions(a, s->trace.n_ids, s->trace.n_ctx, &spec->first, &spec->last, err);
}

static bool read_site(struct console *c, struct arguments *a, struct patch_spec *spec, bool *placed,
                      struct error *err)
{
    const struct program *p = &c->session->model.program;
    int column = arguments_column(a);
    size_t used;
    if (a->at < a->n && a->line[a->at] == '.' && c->session->op >= 0) {
        const struct op *here = &p->ops[c->session->op];
        if (!here->site)
            return error_at(err, ERR_USAGE, column, "the cursor stands at no site");
        spec->site = here->site;
        spec->layer_first = spec->layer_last = here->layer < 0 ? 0 : here->layer;
        a->at++;
    } else {
        if (!site_parse(a->line + a->at, &spec->site, &spec->layer_first, &spec->layer_last, &used,
                        err)) {
            if (err)
                err->column = column;
            return false;
        }
        a->at += used;
    }
    if (spec->layer_first == SITE_ALL_LAYERS) {
        spec->layer_first = 0;
        spec->layer_last = p->n_layers - 1;
    }
    int op;
    if (!session_find(c->session, spec->site, spec->layer_first, &op, err) ||
        !session_find(c->session, spec->site, spec->layer_last, &op, err)) {
        if (err)
            err->column = column;
        return false;
    }
    return read_slice(c, a, &p->ops[op], spec, placed, err);
}

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

/* After an edit everything up to the cursor is computed again, so that it shows at once. */
static bool settle(struct console *c, struct error *err)
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
    bool ok = read_site(c, a, &spec, &placed, err) && read_positions(c, a, &spec, placed, err);
    if (once && !placed)
        spec.first = spec.last = s->position;
    if (once)
        ok =
            ok && (s->has_prompt || error_set(err, ERR_STATE, "there is no prompt yet (run TEXT)"));
    int id = 0;
    if (ok && read_operation(c, a, &spec, &operand, err))
        id = patches_add(&s->patches, &spec, err);
    value_fini(&operand);
    return id && settle(c, err) &&
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
    return number && settle(c, err) &&
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
    return p->n == before || settle(c, err);
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
           settle(c, err);
}

static bool run_disable(struct console *c, struct arguments *a, struct error *err)
{
    int id = 0;
    if (arguments_take(a, "display"))
        return display_enable(c, a, false, err);
    if (!arguments_take(a, "patch"))
        return break_enable(c, a, false, err);
    return read_id(a, &id, err) && patches_enable(&c->session->patches, id, false, err) &&
           settle(c, err);
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
