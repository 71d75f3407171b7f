/* command_map.c - map: an attention pattern of any length, in as many numbers as are wanted. */
#include "engine/debug/command_parts.h"

#include "engine/debug/npy.h"
#include "engine/debug/session_scope.h"
#include "engine/forward/map.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIDE      12   /* rows and columns, if none are asked for */
#define SIDE_MOST 4096 /* a map is for looking at */

struct wish {
    struct source source;
    struct map_region region;
    int head0, n_heads;
    bool one_head; /* its axis is gone */
    char file[4096];
};

/* "400x400" at the end of the line; taken, if it is there. */
static bool take_size(struct arguments *a, struct map_region *m, struct error *err)
{
    struct arguments rest = *a;
    char word[64], *by, *end;
    m->rows = m->columns = SIDE;
    if (!arguments_last(&rest, "a size", word, sizeof word, NULL) ||
        !isdigit((unsigned char)*word) || word[strspn(word, "0123456789")] != 'x')
        return true;
    long rows = strtol(word, &by, 10);
    long columns = isdigit((unsigned char)by[1]) ? strtol(by + 1, &end, 10) : 0;
    if (rows < 1 || rows > SIDE_MOST || columns < 1 || columns > SIDE_MOST || *end != '\0')
        return error_at(err, ERR_USAGE, (int)rest.n + 1,
                        "a size is ROWSxCOLUMNS, each 1 to %d: \"%.20s\" is none", SIDE_MOST, word);
    m->rows = (int)rows;
    m->columns = (int)columns;
    *a = rest;
    return true;
}

static bool take_file(struct console *c, struct arguments *a, char *file, size_t room,
                      struct error *err)
{
    struct arguments rest = *a;
    if (!arguments_last(&rest, "a file's name", file, room, NULL) || strlen(file) < 4 ||
        strcmp(file + strlen(file) - 4, ".npy") != 0) {
        file[0] = '\0';
        return true;
    }
    if (c->untrusted)
        return error_at(err, ERR_STATE, (int)rest.n + 1, "writing files is not allowed here");
    *a = rest;
    return true;
}

static bool take_axis(const struct pick *p, const char *what, int column, int *from, int *to,
                      struct error *err)
{
    if (p->count == 0)
        return error_at(err, ERR_USAGE, column,
                        "no %s there that are computed (finish computes them)", what);
    if (p->count > 1 && p->step != 1)
        return error_at(err, ERR_USAGE, column, "the %s of a map have no gaps", what);
    *from = (int)p->first;
    *to = (int)(p->first + (int64_t)p->count);
    return true;
}

/* A site, whose slice is all of it where nothing is said: "5.pattern", "5.pattern[3,-100:]". */
static bool read_wish(struct console *c, struct arguments *a, struct wish *w, struct error *err)
{
    struct session_scope scope;
    struct pick picks[4];
    struct text text;
    bool found = false;
    int column = arguments_column(a), head_end = 0;
    if (!take_file(c, a, w->file, sizeof w->file, err) || !take_size(a, &w->region, err))
        return false;
    if (arguments_end(a))
        return error_at(err, ERR_USAGE, column, "a pattern is expected here: map 5.pattern[3]");
    text_init(&text, c->ledger, MEM_OTHER);
    text_add_bytes(&text, a->line + a->at, a->n - a->at);
    if (!memchr(a->line + a->at, '[', a->n - a->at))
        text_add(&text, "[...]");
    session_scope_init(&scope, c->session, &c->variables);
    struct expr *e =
        text_ok(&text, err) ? expr_parse(c->ledger, text.data, text.n, column, err) : NULL;
    bool ok = e && expr_slice(e, &scope.scope, &found, &w->source, picks, err);
    if (ok && (!found || w->source.is_weight || w->source.site != SITE_PATTERN))
        ok = error_at(err, ERR_USAGE, column, "a map is of a pattern: map 5.pattern[3]");
    ok = ok && take_axis(&picks[0], "heads", column, &w->head0, &head_end, err) &&
         take_axis(&picks[1], "queries", column, &w->region.q0, &w->region.q1, err) &&
         take_axis(&picks[2], "keys", column, &w->region.k0, &w->region.k1, err);
    if (ok) {
        int queries = w->region.q1 - w->region.q0, keys = w->region.k1 - w->region.k0;
        w->n_heads = head_end - w->head0;
        w->one_head = picks[0].drop;
        w->region.rows = w->region.rows < queries ? w->region.rows : queries;
        w->region.columns = w->region.columns < keys ? w->region.columns : keys;
    }
    expr_close(e);
    text_fini(&text);
    return ok;
}

/* The cells as an array: [heads, rows, columns], or of one head without the first axis. */
static bool read_cells(struct console *c, const struct wish *w, struct value *out,
                       struct error *err)
{
    struct map m;
    size_t dims[] = {(size_t)w->n_heads, (size_t)w->region.rows, (size_t)w->region.columns};
    int *heads = mem_alloc_array(c->ledger, MEM_VIEWS, dims[0], sizeof *heads, err);
    if (!heads)
        return false;
    for (int i = 0; i < w->n_heads; i++)
        heads[i] = w->head0 + i;
    bool opened =
             map_open(&m, &c->session->trace, w->source.layer, heads, w->n_heads, &w->region, err),
         ok = opened && map_read(&m, w->region.q1 - w->region.q0, err) &&
              value_set_shape(out, w->one_head ? 2 : 3, dims + w->one_head, err);
    if (ok)
        memcpy(out->data, m.cells, out->count * sizeof *out->data);
    if (opened)
        map_close(&m);
    mem_free(c->ledger, heads);
    return ok;
}

static void add_weight(struct text *t, float x)
{
    char number[24];
    if (isinf(x) && x < 0)
        snprintf(number, sizeof number, "-");
    else
        snprintf(number, sizeof number, "%.4f", unsigned_nan((double)x));
    text_printf(t, " %7s", number);
}

static bool say_head(struct console *c, const struct wish *w, int i, const float *cells,
                     struct error *err)
{
    const struct map_region *m = &w->region;
    struct text *t = &c->report->text;
    int nq = m->q1 - m->q0, nk = m->k1 - m->k0;
    text_printf(t, "L%dH%d  queries %d-%d down, keys %d-%d across, the largest weights\n        ",
                w->source.layer, w->head0 + i, m->q0, m->q1 - 1, m->k0, m->k1 - 1);
    for (int k = 0; k < m->columns; k++)
        text_printf(t, " %7d", m->k0 + cell_first(k, nk, m->columns));
    text_add(t, "\n");
    for (int r = 0; r < m->rows; r++) {
        text_printf(t, "%8d", m->q0 + cell_first(r, nq, m->rows));
        for (int k = 0; k < m->columns; k++)
            add_weight(
                t,
                cells[((size_t)i * (size_t)m->rows + (size_t)r) * (size_t)m->columns + (size_t)k]);
        text_add(t, "\n");
        if (!report_trickle(c->report, err))
            return false;
    }
    return true;
}

static bool say_json(struct console *c, const struct wish *w, const struct value *v,
                     struct error *err)
{
    struct report *r = c->report;
    const struct map_region *m = &w->region;
    size_t queries[] = {(size_t)m->q0, (size_t)m->q1}, keys[] = {(size_t)m->k0, (size_t)m->k1};
    report_begin(r, "cmd", "map");
    report_int(r, "layer", w->source.layer);
    report_open(r, "heads", '[');
    for (int i = 0; i < w->n_heads; i++)
        report_int(r, NULL, w->head0 + i);
    report_close(r, ']');
    report_shape(r, "queries", 2, queries);
    report_shape(r, "keys", 2, keys);
    if (w->file[0]) {
        report_string(r, "file", w->file, strlen(w->file));
        report_shape(r, "shape", v->n_dims, v->dims);
    } else if (!report_value(r, v, err)) {
        return false;
    }
    return report_end(r, err);
}

static bool say_file(struct console *c, const struct wish *w, const struct value *v,
                     struct error *err)
{
    char shape[128];
    text_add_shown(&c->report->text, w->file, strlen(w->file), false);
    text_printf(&c->report->text, ": %s\n", shape_describe(v->n_dims, v->dims, shape));
    return report_send(c->report, err);
}

static bool run_map(struct console *c, struct arguments *a, struct error *err)
{
    struct wish w = {0};
    struct value v;
    value_init(&v, c->ledger);
    bool ok = read_wish(c, a, &w, err) && read_cells(c, &w, &v, err) &&
              (!w.file[0] || npy_write(c->ledger, w.file, &v, err));
    if (ok && c->report->json) {
        ok = say_json(c, &w, &v, err);
    } else if (ok && w.file[0]) {
        ok = say_file(c, &w, &v, err);
    } else if (ok) {
        for (int i = 0; ok && i < w.n_heads; i++)
            ok = say_head(c, &w, i, v.data, err);
        ok = ok && report_send(c->report, err);
    }
    value_fini(&v);
    return ok;
}

const struct command command_map = {
    .name = "map",
    .aliases = "",
    .usage = "map L.pattern[H,Q,K] [ROWSxCOLUMNS] [FILE.npy]",
    .brief = "attention of any length, the largest weights in ROWS x COLUMNS cells",
    .help =
        "map 16.pattern[3] 400x400 is all of head 3; map 5.pattern[:,-1000:,0:500] the last 1000\n"
        "queries by the first 500 keys, of all heads. 12x12 if no size is given. Cells of which\n"
        "no key is seen are \"-\", in JSON and files -inf. No pattern is kept: it takes memory "
        "for\nthe cells, and Ctrl-C stops it.",
    .theme = THEME_LOOK,
    .takes = TAKES_SITE,
    .run = run_map,
};
