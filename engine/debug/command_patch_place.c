/* command_patch_place.c - what a patch is of: SITE[slice] [at POS]. */
#include "engine/debug/command_parts.h"

#include "engine/debug/session_scope.h"

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
    struct pick pick = {0};
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

bool patch_read_place(struct console *c, struct arguments *a, struct patch_spec *spec, bool *placed,
                      struct error *err)
{
    return read_site(c, a, spec, placed, err) && read_positions(c, a, spec, *placed, err);
}
