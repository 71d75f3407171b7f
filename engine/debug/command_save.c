/* command_save.c - values into files that Python reads. */
#include "engine/debug/command_parts.h"

#include "engine/debug/npy.h"
#include "engine/debug/session_scope.h"

#include <stdio.h>
#include <string.h>

#ifndef DUMP_FLOATS                   /* smaller ones give bugs a chance */
#define DUMP_FLOATS ((size_t)4 << 20) /* of a tensor that are held at a time */
#endif

bool sites_match(const struct session *s, const char *word, int column, bool *chosen,
                 struct error *err)
{
    const struct program *p = &s->model.program;
    enum site site;
    int layer, last, n = 0;
    size_t used;
    char name[64];
    bool ok = site_parse(word, &site, &layer, &last, &used, err);
    if (ok && word[used] != '\0')
        ok = error_set(err, ERR_USAGE, "behind the site %.*s stands \"%.40s\"", (int)used, word,
                       word + used);
    for (int i = 0; ok && i < p->n_ops; i++) {
        const struct op *op = &p->ops[i];
        bool fits = op->site == site && (!site_in_block(site) || layer == SITE_ALL_LAYERS ||
                                         (op->layer >= layer && op->layer <= last));
        chosen[i] = chosen[i] || fits;
        n += fits;
    }
    if (ok && n == 0 && site_in_block(site) && layer >= p->n_layers)
        ok = error_set(err, ERR_USAGE, "there is no layer %d: the model has layers 0 to %d", layer,
                       p->n_layers - 1);
    else if (ok && n == 0)
        ok = error_set(err, ERR_USAGE, "%s, a %s model, has no %s", s->model.name,
                       s->model.config.model_type,
                       site_in_block(site) ? site_suffix(site) : site_name(site, 0, name));
    if (!ok && err && err->column == 0)
        err->column = column;
    return ok;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* ---- save ---- */

static bool say_saved(struct console *c, const char *cmd, const char *path, int tensors,
                      size_t floats, struct error *err)
{
    struct report *r = c->report;
    char size[24];
    if (r->json) {
        report_begin(r, "cmd", cmd);
        report_string(r, "file", path, strlen(path));
        report_int(r, "tensors", tensors);
        report_int(r, "elements", (long long)floats);
        return report_end(r, err);
    }
    text_add_shown(&r->text, path, strlen(path), false);
    text_printf(&r->text, ": %d array%s, %s\n", tensors, tensors == 1 ? "" : "s",
                mem_format(floats * sizeof(float), size));
    return report_send(r, err);
}

/* What one save writes: an expression's value; of a site in several layers, one each. */
struct saved {
    struct value *values; /* [n] */
    struct tensor_spec *specs;
    char (*names)[64];
    int n, room;
    size_t floats;
};

static bool saved_init(struct saved *s, struct ledger *l, int room, struct error *err)
{
    size_t n = (size_t)room;
    *s = (struct saved){.room = room};
    s->values = mem_alloc_array(l, MEM_VIEWS, n, sizeof *s->values, err);
    s->specs = s->values ? mem_alloc_array(l, MEM_VIEWS, n, sizeof *s->specs, err) : NULL;
    s->names = s->specs ? mem_alloc_array(l, MEM_VIEWS, n, sizeof *s->names, err) : NULL;
    return s->names != NULL;
}

static void saved_fini(struct saved *s, struct ledger *l)
{
    for (int i = 0; i < s->n; i++)
        value_fini(&s->values[i]);
    mem_free(l, s->values);
    mem_free(l, s->specs);
    mem_free(l, s->names);
}

/* Evaluates one expression. Its tensor is named after its site, if it is one. */
static bool saved_add(struct saved *s, struct console *c, const char *text, size_t n, int column,
                      struct error *err)
{
    struct session_scope scope;
    struct source source;
    struct pick picks[4];
    bool found;
    struct value *v = &s->values[s->n];
    struct expr *e = expr_parse(c->ledger, text, n, column, err);
    if (!e)
        return false;
    value_init(v, c->ledger);
    session_scope_init(&scope, c->session, &c->variables);
    bool ok = expr_eval(e, &scope.scope, v, err);
    if (ok && v->string)
        ok = error_at(err, ERR_USAGE, column, "a string is no array");
    if (ok) {
        char *name = s->names[s->n];
        snprintf(name, 64, "value");
        if (expr_slice(e, &scope.scope, &found, &source, picks, NULL) && found)
            site_name(source.site, source.layer, name);
        s->specs[s->n] = (struct tensor_spec){.name = name, .n_dims = v->n_dims};
        for (int d = 0; d < v->n_dims; d++)
            s->specs[s->n].dims[d] = (int64_t)v->dims[d];
        s->floats += v->count;
        s->n++;
    } else {
        value_fini(v);
    }
    expr_close(e);
    return ok;
}

/* `*.z` and `3-5.z[0]`: the same slice of each layer. *many is false, without an error, for what
 * is no such thing. */
static bool save_layers(struct saved *s, struct console *c, const struct arguments *a, bool *many,
                        struct error *err)
{
    enum site site;
    int first, last;
    size_t used;
    const char *text = a->line + a->at;
    *many = site_parse(text, &site, &first, &last, &used, NULL) && used <= a->n - a->at &&
            (first == SITE_ALL_LAYERS || first != last);
    if (!*many)
        return true;
    if (first == SITE_ALL_LAYERS) {
        first = 0;
        last = c->session->model.program.n_layers - 1;
    }
    struct text one;
    text_init(&one, c->ledger, MEM_OTHER);
    bool ok = true;
    for (int l = first; ok && l <= last; l++) {
        char name[64];
        int op;
        ok = session_find(c->session, site, l, &op, err);
        text_clear(&one);
        text_add(&one, site_name(site, l, name));
        text_add_bytes(&one, text + used, a->n - a->at - used);
        ok = ok && text_ok(&one, err) && saved_add(s, c, one.data, one.n, 1, err);
    }
    /* Columns within a layer's expression are not those of the line. */
    if (!ok && err)
        err->column = (int)a->at + 1;
    text_fini(&one);
    return ok;
}

static bool write_tensors(const struct saved *s, struct ledger *l, const char *path,
                          struct error *err)
{
    struct tensor_writer *w = tensor_writer_open(l, path, s->specs, s->n, err);
    bool ok = w != NULL;
    for (int i = 0; ok && i < s->n; i++) {
        const struct value *v = &s->values[i];
        float one = (float)v->number;
        ok = tensor_writer_add(w, v->n_dims ? v->data : &one, v->count, err);
    }
    if (ok)
        return tensor_writer_commit(w, err);
    tensor_writer_abandon(w);
    return false;
}

static bool run_save(struct console *c, struct arguments *a, struct error *err)
{
    char path[4096];
    struct saved s;
    bool many;
    if (arguments_take(a, "session"))
        return session_save(c, a, err);
    if (!arguments_last(a, "a file's name", path, sizeof path, err))
        return false;
    bool npy = ends_with(path, ".npy");
    if (!npy && !ends_with(path, ".safetensors"))
        return error_at(err, ERR_USAGE, (int)a->n + 1,
                        "the file's name has to end in .npy or .safetensors");
    int column = arguments_column(a);
    if (arguments_end(a))
        return error_at(err, ERR_USAGE, column, "save what? save SITE[slice] FILE");
    bool ok = saved_init(&s, c->ledger, c->session->model.program.n_layers, err) &&
              save_layers(&s, c, a, &many, err) &&
              (many || saved_add(&s, c, a->line + a->at, a->n - a->at, column, err));
    if (ok && npy && s.n > 1)
        ok =
            error_at(err, ERR_USAGE, column, "an .npy file holds one array, and these are %d", s.n);
    ok = ok &&
         (npy ? npy_write(c->ledger, path, &s.values[0], err)
              : write_tensors(&s, c->ledger, path, err)) &&
         say_saved(c, "save", path, s.n, s.floats, err);
    saved_fini(&s, c->ledger);
    return ok;
}

/* ---- dump ---- */

struct dump {
    struct console *console;
    struct tensor_writer *writer;
    float *part; /* [room] */
    size_t room;
};

/* Hands over a block of rows (of heads, for scores and patterns). */
static bool dump_block(struct dump *d, const struct source *s, int row0, int n, int head0,
                       int heads, struct error *err)
{
    struct trace *t = &d->console->session->trace;
    int keys = s->key_axis >= 0 ? (int)s->dims[s->key_axis] : 0;
    size_t floats = trace_read_count(t, s->op, n, heads, keys);
    if (floats > d->room) {
        mem_free(d->console->ledger, d->part);
        d->room = 0;
        d->part = mem_alloc_array(d->console->ledger, MEM_VIEWS, floats, sizeof *d->part, err);
        if (!d->part)
            return false;
        d->room = floats;
    }
    return trace_read(t, s->op, row0, n, head0, heads, keys, d->part, err) &&
           tensor_writer_add(d->writer, d->part, floats, err);
}

static int at_most(size_t n, size_t limit)
{
    return n < limit ? (int)n : (int)limit;
}

/* All known positions of a site, in the file's order, a block at a time. */
static bool dump_site(struct dump *d, const struct source *s, struct error *err)
{
    size_t rows = s->dims[s->position_axis], each = 1;
    bool ok = true;
    if (s->key_axis < 0) {
        for (int i = 1; i < s->n_dims; i++)
            each *= s->dims[i];
        int step = at_most(rows, DUMP_FLOATS / each + 1);
        for (size_t r = 0; ok && r < rows; r += (size_t)step)
            ok = dump_block(d, s, (int)r, at_most(rows - r, (size_t)step), 0, 0, err);
        return ok;
    }
    /* Heads come first in the file. As many whole heads as fit at a time, since each reading
     * starts from the block's residual; if not even one fits, some of its rows. */
    size_t heads = s->dims[0];
    int some = at_most(heads, DUMP_FLOATS / (rows * rows) > 0 ? DUMP_FLOATS / (rows * rows) : 1);
    int step = at_most(rows, some > 1 ? rows : DUMP_FLOATS / rows + 1);
    for (size_t h = 0; ok && h < heads; h += (size_t)some) {
        int n = at_most(heads - h, (size_t)some);
        for (size_t r = 0; ok && r < rows; r += (size_t)step)
            ok = dump_block(d, s, (int)r, at_most(rows - r, (size_t)step), (int)h, n, err);
    }
    return ok;
}

/* The header's entries for what was chosen and is known. Returns how many. */
static int make_specs(const struct session *s, const bool *chosen, struct tensor_spec *specs,
                      char (*names)[64], size_t *floats)
{
    const struct program *p = &s->model.program;
    int n = 0;
    *floats = 0;
    for (int i = 0; i < p->n_ops; i++) {
        struct source source;
        if (!chosen[i])
            continue;
        session_source(s, i, &source);
        if (source.dims[source.position_axis] == 0)
            continue;
        specs[n] = (struct tensor_spec){.name = site_name(source.site, source.layer, names[n]),
                                        .n_dims = source.n_dims};
        size_t count = 1;
        for (int d = 0; d < source.n_dims; d++) {
            specs[n].dims[d] = (int64_t)source.dims[d];
            count *= source.dims[d];
        }
        *floats += count;
        n++;
    }
    return n;
}

static bool dump_all(struct console *c, const char *path, const bool *chosen,
                     struct tensor_spec *specs, char (*names)[64], struct error *err)
{
    struct session *s = c->session;
    struct dump d = {.console = c};
    size_t floats;
    int n = make_specs(s, chosen, specs, names, &floats);
    if (n == 0)
        return error_set(err, ERR_STATE, "nothing of this is computed yet (finish computes it)");
    d.writer = tensor_writer_open(c->ledger, path, specs, n, err);
    if (!d.writer)
        return false;
    bool ok = true;
    for (int i = 0; ok && i < s->model.program.n_ops; i++) {
        struct source source;
        if (!chosen[i])
            continue;
        session_source(s, i, &source);
        ok = source.dims[source.position_axis] == 0 || dump_site(&d, &source, err);
    }
    mem_free(c->ledger, d.part);
    if (!ok) {
        tensor_writer_abandon(d.writer);
        return false;
    }
    return tensor_writer_commit(d.writer, err) && say_saved(c, "dump", path, n, floats, err);
}

static bool run_dump(struct console *c, struct arguments *a, struct error *err)
{
    const struct program *p = &c->session->model.program;
    char path[4096], word[128];
    size_t n = (size_t)p->n_ops;
    int column = arguments_column(a);
    if (!arguments_string(a, "a file's name", path, sizeof path, err))
        return false;
    if (!ends_with(path, ".safetensors"))
        return error_at(err, ERR_USAGE, column, "the file's name has to end in .safetensors");
    if (!c->session->has_prompt)
        return error_set(err, ERR_STATE, "there is no prompt yet (run TEXT)");
    bool *chosen = mem_alloc_array(c->ledger, MEM_OTHER, n, sizeof *chosen, err);
    struct tensor_spec *specs = mem_alloc_array(c->ledger, MEM_OTHER, n, sizeof *specs, err);
    char(*names)[64] = mem_alloc_array(c->ledger, MEM_OTHER, n, sizeof *names, err);
    bool ok = chosen && specs && names, all = arguments_end(a);
    for (int i = 0; ok && all && i < p->n_ops; i++)
        chosen[i] = p->ops[i].site && !p->ops[i].lazy;
    while (ok && !arguments_end(a)) {
        column = arguments_column(a);
        ok = arguments_string(a, "a site", word, sizeof word, err) &&
             sites_match(c->session, word, column, chosen, err);
    }
    ok = ok && dump_all(c, path, chosen, specs, names, err);
    mem_free(c->ledger, chosen);
    mem_free(c->ledger, specs);
    mem_free(c->ledger, names);
    return ok;
}

const struct command command_save = {
    .name = "save",
    .aliases = "",
    .usage = "save SITE[slice] FILE",
    .brief = "a value into FILE.npy or FILE.safetensors; save session FILE",
    .help =
        "Any expression does. A site without brackets is its value at the cursor's position;\n"
        "save 5.resid_post[:] FILE has all positions, save *.z FILE.safetensors all layers. A name "
        "with\nblanks stands in quotes.\nsave session FILE writes the present state as a script: "
        "prompt, patches, breakpoints,\n"
        "variables, sampler, place. Arrays lie beside it in FILE.safetensors.",
    .theme = THEME_SAVE,
    .takes = TAKES_EXPR,
    .outside = true,
    .run = run_save,
};

const struct command command_dump = {
    .name = "dump",
    .aliases = "",
    .usage = "dump FILE [SITE...]",
    .brief = "every site at every known position into FILE.safetensors",
    .help = "Names and shapes are TransformerLens's, without the batch. SITEs may have wildcards: "
            "*.z,\n3-5.resid_post. hook_result is left out unless it is named.",
    .theme = THEME_SAVE,
    .takes = TAKES_FILE,
    .outside = true,
    .run = run_dump,
};
