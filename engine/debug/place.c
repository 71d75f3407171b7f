#include "engine/debug/place.h"

#include "engine/analysis/top_read.h"
#include "engine/debug/catch.h"
#include "engine/debug/session_scope.h"

#include <math.h>
#include <string.h>

bool place_add_token(struct text *t, const struct session *s, int32_t id, struct error *err)
{
    struct text piece;
    text_init(&piece, s->ledger, MEM_VIEWS);
    bool ok = session_piece(s, id, &piece, err);
    if (ok && s->model.tokenizer)
        text_add_shown(t, piece.data ? piece.data : "", piece.n, true);
    else if (ok)
        text_add(t, piece.data); /* "#12": our own word for it */
    text_fini(&piece);
    return ok && text_ok(t, err);
}

static bool token_fields(struct report *r, const struct session *s, int32_t id, struct error *err)
{
    struct text piece;
    text_init(&piece, s->ledger, MEM_VIEWS);
    bool ok = session_piece(s, id, &piece, err);
    report_int(r, "token_id", id);
    if (ok && s->model.tokenizer)
        report_string(r, "token", piece.data ? piece.data : "", piece.n);
    else if (ok)
        report_null(r, "token");
    text_fini(&piece);
    return ok;
}

/* "[H=8, S=6]": the letters of the site's axes but the position's, with their sizes. */
static void add_shape(struct text *t, enum site site, int n_dims, const size_t *dims)
{
    const char *p = site_shape_letters(site) + 1;
    int d = 0;
    text_add(t, "  [");
    /* rot_k's own letter for positions is S, the first; a pattern's S is its keys. */
    for (int axis = 0; d < n_dims && *p && *p != ']'; axis++) {
        size_t n = strcspn(p, ",]");
        bool position = *p == 'T' || (*p == 'S' && axis == 0);
        if (!position) {
            text_add(t, d > 0 ? ", " : "");
            if (*p != '1')
                text_printf(t, "%.*s=", (int)n, p);
            text_printf(t, "%zu", dims[d++]);
        }
        p += n;
        p += strspn(p, ", ");
    }
    text_add(t, "]");
}

/* What one would look at first in such a value. */
static void add_summary(struct text *t, enum site site, const struct value *v)
{
    struct value_summary sum = value_summarise(v);
    if (v->n_dims == 0) {
        text_add(t, "  ");
        add_number(t, v->number);
    } else if (site_axes(site) == AXES_HTS && v->count > 0) {
        size_t at = 0, keys = v->dims[v->n_dims - 1];
        for (size_t i = 1; i < v->count; i++)
            if (v->data[i] > v->data[at])
                at = i;
        text_add(t, "  max ");
        add_number(t, (double)v->data[at]);
        text_printf(t, " (head %zu, key %zu)", at / keys, at % keys);
        if (site == SITE_PATTERN) {
            double entropy = 0;
            for (size_t i = 0; i < v->count; i++)
                if (v->data[i] > 0)
                    entropy -= (double)v->data[i] * log((double)v->data[i]);
            size_t heads = v->count / keys;
            text_add(t, "  mean entropy ");
            add_number(t, entropy / (double)heads);
        }
    } else {
        text_add(t, "  norm ");
        add_number(t, sum.norm);
    }
    if (sum.n_nan > 0)
        text_printf(t, "  %zu NaN", sum.n_nan);
}

/* The value of the site stood at. */
static bool value_here(struct session *s, struct value *v, struct error *err)
{
    struct session_scope scope;
    session_scope_init(&scope, s, NULL);
    struct expr *e = expr_parse(s->ledger, ".", 1, 1, err);
    bool ok = e && expr_eval(e, &scope.scope, v, err);
    expr_close(e);
    return ok;
}

/* The best of the logits stood at: a device's are not read for it. */
static bool add_logits(struct text *t, struct session *s, struct error *err)
{
    struct top_ask ask = {.n_best = 1, .probabilities = true};
    struct top_row row;
    struct top_entry best;
    char why[80];
    size_t width = (size_t)s->model.program.ops[s->op].width;
    if (!session_has(s, s->position, s->op, err) ||
        !top_read(&s->trace, s->op, s->position, 1, &ask, &row, &best, err))
        return false;
    add_shape(t, s->model.program.ops[s->op].site, 1, &width);
    if (top_row_trouble(&row, (int)width, why)) {
        text_add(t, "  no best token");
    } else {
        text_add(t, "  best ");
        if (!place_add_token(t, s, best.id, err))
            return false;
        text_printf(t, " %.4f", best.probability);
    }
    if (row.n_nan > 0)
        text_printf(t, "  %d NaN", row.n_nan);
    return true;
}

/* The shape of what is stood at, and what says most about it. */
static bool add_value(struct text *t, struct session *s, struct error *err)
{
    enum site site = s->model.program.ops[s->op].site;
    struct value v;
    if (site == SITE_LOGITS || site == SITE_UNEMBED_OUT)
        return add_logits(t, s, err);
    value_init(&v, s->ledger);
    bool ok = value_here(s, &v, err);
    if (ok && v.n_dims > 0)
        add_shape(t, site, v.n_dims, v.dims);
    if (ok)
        add_summary(t, site, &v);
    value_fini(&v);
    return ok;
}

static bool place_fields(struct report *r, struct session *s, struct error *err)
{
    const struct op *op = s->op >= 0 ? &s->model.program.ops[s->op] : NULL;
    struct source source;
    size_t dims[4];
    char name[64];
    int n = 0;
    if (op && op->site) {
        site_name(op->site, op->layer, name);
        report_string(r, "site", name, strlen(name));
        session_source(s, s->op, &source);
        for (int d = 0; d < source.n_dims; d++) {
            bool one = site_axes(op->site) == AXES_T1;
            if (d != source.position_axis && !one)
                dims[n++] = d == source.key_axis ? (size_t)s->position + 1 : source.dims[d];
        }
        report_shape(r, "shape", n, dims);
    } else {
        report_null(r, "site");
    }
    report_int(r, "op", s->op);
    report_int(r, "position", s->position);
    return token_fields(r, s, s->trace.ids[s->position], err);
}

void place_begin(struct report *r, const struct session *s, const char *why)
{
    const struct breakpoint *b = breakpoints_stopper(&s->breakpoints, s->stopped_by);
    report_begin(r, "stopped", b ? stop_kind_name(b->kind) : s->stopped_by ? "breakpoint" : why);
    if (s->stopped_by)
        report_int(r, "id", s->stopped_by);
}

bool place_end(struct report *r, struct session *s, struct error *err)
{
    const struct breakpoint *b = breakpoints_stopper(&s->breakpoints, s->stopped_by);
    if (!place_fields(r, s, err) || (b && !catch_report(r, s, b, err)))
        return false;
    if (s->notice[0])
        report_string(r, "notice", s->notice, strlen(s->notice));
    s->notice[0] = '\0';
    return report_end(r, err);
}

bool place_report(struct report *r, struct session *s, const char *why, struct error *err)
{
    struct text *t = &r->text;
    char name[256];
    const struct breakpoint *b = breakpoints_stopper(&s->breakpoints, s->stopped_by);
    s->arrivals++;
    if (b && b->silent)
        return true;
    if (r->json) {
        place_begin(r, s, why);
        return place_end(r, s, err);
    }
    if (s->notice[0])
        text_printf(t, "%s\n", s->notice);
    s->notice[0] = '\0';
    if (s->stopped_by) {
        const char *name_of = stop_kind_name(b ? b->kind : STOP_SITE);
        text_printf(t, "%c%s %d, ", name_of[0] - 'a' + 'A', name_of + 1, s->stopped_by);
    }
    text_printf(t, "#%d ", s->position);
    const struct op *op = s->op >= 0 ? &s->model.program.ops[s->op] : NULL;
    bool ok = place_add_token(t, s, s->trace.ids[s->position], err);
    if (ok && op && op->site) {
        text_printf(t, "  %s", site_name(op->site, op->layer, name));
        ok = add_value(t, s, err);
    } else if (ok && !op) {
        text_add(t, "  before its first op");
    } else if (ok) {
        program_describe(&s->model.program, s->op, name, sizeof name);
        text_printf(t, "  op %d  %s", s->op, name + strspn(name, " "));
    }
    text_add(t, "\n");
    return ok && (!b || catch_report(r, s, b, err)) && report_send(r, err);
}
