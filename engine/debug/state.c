#include "engine/debug/state.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDS_A_LINE 1000 /* a line of a script has an end */

struct writer {
    struct console *console;
    struct text *out;
    struct state_arrays *arrays;
};

/* ---- words ---- */

/* A line feed within would end the line: what was typed with one is written with its escape. */
static void add_typed(struct text *t, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\n')
            text_add(t, "\\n");
        else if (s[i] == '\r')
            text_add(t, "\\r");
        else
            text_add_bytes(t, s + i, 1);
    }
}

/* In quotes, with the escapes that the lexer reads. */
static void add_quoted(struct text *t, const char *s, size_t n)
{
    text_add(t, "\"");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            text_printf(t, "\\%c", c);
        else if (c < 32 || c == 127)
            text_printf(t, "\\x%02x", c);
        else
            text_add_bytes(t, s + i, 1);
    }
    text_add(t, "\"");
}

/* 17 digits bring every double back. */
static void add_double(struct text *t, double x)
{
    if (isnan(x))
        text_add(t, "nan");
    else if (isinf(x))
        text_add(t, x > 0 ? "inf" : "-inf");
    else
        text_printf(t, "%.17g", x);
}

static void add_layers(struct text *t, enum site site, int first, int last)
{
    char name[64];
    if (first == last || !site_in_block(site))
        text_add(t, site_name(site, first, name));
    else
        text_printf(t, "%d-%d.%s", first, last, site_suffix(site));
}

static void add_positions(struct text *t, const struct session *s, int first, int last)
{
    if (first == 0 && last == INT32_MAX)
        return;
    text_printf(t, " at %d", first);
    if (last != first)
        text_printf(t, "-%d", last < s->trace.n_ctx ? last : s->trace.n_ctx - 1);
}

/* Writes `load $NAME FILE TENSOR`, and keeps the array for the file. */
static bool load_array(struct writer *w, const char *name, const char *tensor,
                       const struct value *v, struct error *err)
{
    text_printf(w->out, "load $%s ", name);
    text_printf(w->out, "\"%s\" %s\n", w->arrays->file, tensor);
    return state_arrays_add(w->arrays, tensor, v, err);
}

/* ---- each kind ---- */

static bool write_sampler(struct writer *w, struct error *err)
{
    const struct sampler *s = &w->console->session->sampler;
    (void)err;
    text_printf(w->out, "set sampler temp %.9g top-p %.9g seed %" PRIu64 "\n",
                (double)s->temperature, (double)s->top_p, s->seed);
    text_printf(w->out, "restore sampler %" PRIu64 "\n", s->state);
    if (s->greedy)
        text_add(w->out, "set sampler greedy\n");
    return true;
}

static bool write_variables(struct writer *w, struct error *err)
{
    const struct variables *v = &w->console->variables;
    struct text *t = w->out;
    if (v->n_history > 0)
        text_printf(t,
                    "# $1 to $%d, what was printed, are not part of this: $name = EXPR keeps "
                    "a value\n",
                    v->n_history);
    for (int i = 0; i < v->n_named; i++) {
        const struct value *x = &v->named[i]->value;
        const char *name = v->named[i]->name;
        if (!x->string && x->n_dims > 0) {
            if (!load_array(w, name, name, x, err))
                return false;
            continue;
        }
        text_printf(t, "$%s = ", name);
        if (x->string)
            add_quoted(t, x->string, x->n_string);
        else
            add_double(t, x->number);
        text_add(t, "\n");
    }
    return true;
}

/* The stretches that reach beyond position `from`. */
static void add_origins(struct text *t, const char *word, const struct origins *o, int from)
{
    for (int i = 0; i < o->n; i++) {
        if (i + 1 < o->n && o->list[i + 1].from <= from)
            continue;
        const char *patches = o->list[i].patches;
        text_printf(t, "%s %d ", word, o->list[i].from < from ? from : o->list[i].from);
        add_quoted(t, patches, strlen(patches));
        text_add(t, "\n");
    }
}

void state_add_tokens(struct text *out, const struct session *s, int from)
{
    for (int i = from; i < s->trace.n_ids; i++) {
        if ((i - from) % IDS_A_LINE == 0)
            text_add(out, i > from ? "\nrestore tokens" : "restore tokens");
        text_printf(out, " %d", (int)patches_old_token(&s->patches, i));
    }
    if (s->trace.n_ids > from) {
        text_add(out, "\n");
        add_origins(out, "restore sampled", &s->origins, from);
    }
}

bool state_add_prompt(struct text *out, const struct session *s, struct error *err)
{
    int first = s->n_prompt < IDS_A_LINE ? s->n_prompt : IDS_A_LINE;
    if (!s->has_prompt)
        return true;
    if (s->model.tokenizer) {
        struct text piece;
        text_init(&piece, s->ledger, MEM_VIEWS);
        bool ok = true;
        for (int i = 0; ok && i < first; i++)
            ok = session_piece(s, s->trace.ids[i], &piece, err);
        text_add(out, "# prompt: ");
        if (ok && piece.data)
            text_add_shown(out, piece.data, piece.n, true);
        text_add(out, first < s->n_prompt ? " ...\n" : "\n");
        text_fini(&piece);
        if (!ok)
            return false;
    }
    text_add(out, "ids");
    for (int i = 0; i < first; i++)
        text_printf(out, " %d", (int)patches_old_token(&s->patches, i));
    text_add(out, "\n");
    state_add_tokens(out, s, first);
    if (first < s->n_prompt)
        text_printf(out, "restore prompt %d\n", s->n_prompt);
    return text_ok(out, err);
}

static bool write_prompt(struct writer *w, struct error *err)
{
    return state_add_prompt(w->out, w->console->session, err);
}

static void add_ids(struct text *t, const char *word, const int32_t *ids, int n)
{
    for (int i = 0; i < n; i++) {
        if (i % IDS_A_LINE == 0)
            text_printf(t, i > 0 ? "\n%s" : "%s", word);
        text_printf(t, " %d", (int)ids[i]);
    }
    text_add(t, n > 0 ? "\n" : "");
}

/* A line each, or several: a line of a script has an end. */
static bool write_continuations(struct writer *w, struct error *err)
{
    const struct continuations *c = &w->console->session->continuations;
    for (int i = 0; i < c->n; i++) {
        const struct continuation *k = &c->list[i];
        int first = k->n < IDS_A_LINE ? k->n : IDS_A_LINE;
        text_printf(w->out, "restore continuation %d", k->n_prompt);
        add_ids(w->out, "", k->ids, first);
        add_ids(w->out, "restore continuation +", k->ids + first, k->n - first);
        add_origins(w->out, "restore continuation sampled", &k->origins, 0);
    }
    return text_ok(w->out, err);
}

static bool write_patch(struct writer *w, const struct patch *p, struct error *err)
{
    static const char *const words[] = {
        [PATCH_SET] = " = ", [PATCH_ADD] = " add ", [PATCH_SCALE] = " scale "};
    struct text *t = w->out;
    char name[32];
    if (p->kind == PATCH_TOKEN) {
        text_printf(t, "restore number patch %d\nrestore token %d %d ", p->id, p->first,
                    (int)p->token);
        add_typed(t, p->text, strlen(p->text));
        text_add(t, "\n");
        if (!p->enabled)
            text_printf(t, "disable patch %d\n", p->id);
        return true;
    }
    snprintf(name, sizeof name, "patch_%d", p->id);
    if (p->operand.n_dims > 0 && !load_array(w, "_restored", name, &p->operand, err))
        return false;
    text_printf(t, "restore number patch %d\npatch ", p->id);
    add_layers(t, p->site, p->layer_first, p->layer_last);
    for (int i = 0; i < p->n_picks; i++) {
        const struct pick *x = &p->picks[i];
        text_printf(t, i ? ",%lld" : "[%lld", (long long)x->first);
        if (x->step != 0)
            text_printf(t, ":%lld", (long long)x->first + (long long)x->count);
    }
    text_add(t, "]");
    add_positions(t, w->console->session, p->first, p->last);
    text_add(t, words[p->kind]);
    if (p->operand.n_dims > 0)
        text_add(t, "$_restored");
    else
        add_double(t, p->operand.number);
    text_printf(t, "\nrestore text patch %d ", p->id);
    add_typed(t, p->text, strlen(p->text));
    text_add(t, "\n");
    if (!p->enabled)
        text_printf(t, "disable patch %d\n", p->id);
    return true;
}

static bool write_patches(struct writer *w, struct error *err)
{
    const struct patches *p = &w->console->session->patches;
    int arrays = w->arrays->n;
    for (int i = 0; i < p->n; i++)
        if (!write_patch(w, &p->list[i], err))
            return false;
    if (w->arrays->n > arrays)
        text_add(w->out, "restore forget $_restored\n");
    if (p->last_id > 0)
        text_printf(w->out, "restore number patch %d\n", p->last_id + 1);
    return true;
}

static void write_breakpoint(struct writer *w, const struct breakpoint *b)
{
    struct text *t = w->out;
    text_printf(t, "restore number breakpoint %d\n", b->id);
    if (b->kind == STOP_SITE) {
        text_add(t, b->temporary ? "tbreak " : "break ");
        add_layers(t, b->site, b->layer_first, b->layer_last);
        add_positions(t, w->console->session, b->first, b->last);
    } else {
        text_add(t, b->kind == STOP_WATCH ? "watch "
                    : b->kind == STOP_NAN ? "catch nan"
                                          : "catch top1");
    }
    if (b->kind == STOP_WATCH) {
        add_typed(t, b->text, strlen(b->text));
    } else if (b->condition) {
        text_add(t, " if ");
        add_typed(t, b->condition, strlen(b->condition));
    }
    text_add(t, "\n");
    if (b->token_id >= 0)
        text_printf(t, "restore at %d %d\n", b->id, (int)b->token_id);
    text_printf(t, "restore text breakpoint %d ", b->id);
    add_typed(t, b->text, strlen(b->text));
    text_add(t, "\n");
    if (b->commands)
        text_printf(t, "commands %d\n%s\nend\n", b->id, b->commands);
    if (!b->enabled)
        text_printf(t, "disable %d\n", b->id);
}

static bool write_breakpoints(struct writer *w, struct error *err)
{
    const struct breakpoints *b = &w->console->session->breakpoints;
    (void)err;
    for (int i = 0; i < b->n; i++)
        write_breakpoint(w, &b->list[i]);
    for (int i = 0; i < b->n; i++)
        if (b->list[i].hits > 0 || b->list[i].ignore > 0)
            text_printf(w->out, "restore hits %d %ld %d\n", b->list[i].id, b->list[i].hits,
                        b->list[i].ignore);
    if (b->last_id > 0)
        text_printf(w->out, "restore number breakpoint %d\n", b->last_id + 1);
    return true;
}

static bool write_displays(struct writer *w, struct error *err)
{
    const struct console *c = w->console;
    (void)err;
    for (int i = 0; i < c->displays.n; i++) {
        const struct display *d = &c->displays.list[i];
        text_printf(w->out, "restore number display %d\ndisplay%s ", d->id, d->all ? "/a" : "");
        add_typed(w->out, d->expr, strlen(d->expr));
        text_add(w->out, "\n");
        if (!d->enabled)
            text_printf(w->out, "disable display %d\n", d->id);
    }
    if (c->displays.last_id > 0)
        text_printf(w->out, "restore number display %d\n", c->displays.last_id + 1);
    return true;
}

void state_add_counts(struct text *out, const struct session *s)
{
    text_printf(out, "restore sampler %" PRIu64 "\nrestore breakpoints", s->sampler.state);
    for (int i = 0; i < s->breakpoints.n; i++)
        text_printf(out, " %d", s->breakpoints.list[i].id);
    text_add(out, "\n");
    for (int i = 0; i < s->breakpoints.n; i++)
        text_printf(out, "restore hits %d %ld %d\n", s->breakpoints.list[i].id,
                    s->breakpoints.list[i].hits, s->breakpoints.list[i].ignore);
}

/* More may be known than the place needs: behind a cursor that went back, and, after an interrupt
 * or an edit, in the lower blocks alone. */
bool state_add_place(struct text *out, const struct session *s, bool exact, struct error *err)
{
    const struct program *p = &s->model.program;
    const struct trace *t = &s->trace;
    if (!s->has_prompt)
        return text_ok(out, err);
    exact = exact || t->pc > 0;
    for (int l = 1; l <= p->n_layers; l++)
        exact = exact || t->done[l] > 0;
    if (exact) {
        text_printf(out, "restore computed %d", t->pc - 1);
        for (int l = 1; l <= p->n_layers; l++)
            text_printf(out, " %d", t->done[l]);
        text_add(out, "\n");
    }
    if (!s->at_start)
        text_printf(out, "restore place %d %d\n", s->position, s->op);
    return text_ok(out, err);
}

static bool write_place(struct writer *w, struct error *err)
{
    return state_add_place(w->out, w->console->session, false, err);
}

/* ---- all of it ---- */

bool state_add_header(struct text *out, const struct console *c, struct error *err)
{
    char real[PATH_MAX];
    if (c->log_header) {
        text_add(out, c->log_header);
        return text_ok(out, err);
    }
    const char *folder = c->session->model.folder;
    return log_header(out, realpath(folder, real) ? real : folder, NULL, 0, err);
}

/* What brought all this back is nothing that undo should take apart. */
static bool write_history(struct writer *w, struct error *err)
{
    (void)err;
    text_add(w->out, "restore history\n");
    return true;
}

/* What is new gets a function and a line here. Variables stand before conditions that name them,
 * patches before the place, so that nothing is computed twice. */
static bool (*const kinds[])(struct writer *w, struct error *err) = {
    write_sampler,     write_variables, write_prompt, write_continuations, write_patches,
    write_breakpoints, write_displays,  write_place,  write_history,
};

bool state_write(struct console *c, struct text *out, struct state_arrays *arrays,
                 struct error *err)
{
    struct writer w = {c, out, arrays};
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof kinds / sizeof kinds[0]; i++)
        ok = kinds[i](&w, err);
    return ok && text_ok(out, err);
}

bool state_save(struct console *c, const char *path, int *n_arrays, struct error *err)
{
    struct text text, beside;
    const char *slash = strrchr(path, '/');
    struct state_arrays arrays = {.ledger = c->ledger};
    struct file_writer file;
    text_init(&text, c->ledger, MEM_OTHER);
    text_init(&beside, c->ledger, MEM_OTHER);
    text_add(&beside, path);
    text_add(&beside, ".safetensors");
    bool ok = state_add_header(&text, c, err) && text_ok(&beside, err);
    text_add(&text, "\n");
    if (ok)
        arrays.file = beside.data + (slash ? slash + 1 - path : 0);
    ok = ok && state_write(c, &text, &arrays, err);
    if (ok && arrays.n > 0 && strpbrk(arrays.file, "\"\n\r\\"))
        ok = error_set(err, ERR_USAGE,
                       "the arrays' file would be named in quotes, and a name with "
                       "quotes, backslashes or line feeds cannot be");
    ok = ok && file_create(&file, c->ledger, path, err);
    if (ok) {
        ok = file_write(&file, text.data, text.n, err) &&
             (arrays.n == 0 || state_arrays_write(&arrays, beside.data, err));
        if (ok)
            ok = file_commit(&file, err);
        else
            file_abandon(&file);
    }
    *n_arrays = arrays.n;
    state_arrays_fini(&arrays);
    text_fini(&text);
    text_fini(&beside);
    return ok;
}
