#include "engine/debug/session_scope.h"

#include "engine/analysis/lens.h"
#include "engine/analysis/top_read.h"

#include <string.h>

#ifndef READ_FLOATS                   /* smaller ones give bugs a chance */
#define READ_FLOATS ((size_t)1 << 20) /* that a read holds beside its result */
#endif

/* ---- axes ---- */

void session_source(const struct session *s, int op, struct source *out)
{
    const struct op *o = &s->model.program.ops[op];
    size_t known = s->has_prompt ? (size_t)session_known(s, op) : 0;
    *out = (struct source){.site = o->site,
                           .layer = o->layer,
                           .op = op,
                           .position_axis = 0,
                           .key_axis = -1,
                           .n_positions = s->trace.n_ids};
    size_t heads = (size_t)o->heads, width = (size_t)o->width;
    switch (site_axes(o->site)) {
    case AXES_HTS:
        out->n_dims = 3;
        out->dims[0] = heads;
        out->dims[1] = out->dims[2] = known;
        out->position_axis = 1;
        out->key_axis = 2;
        return;
    case AXES_THX:
        if (heads > 0) {
            out->n_dims = 3;
            out->dims[0] = known;
            out->dims[1] = heads;
            out->dims[2] = width / heads;
            return;
        }
        break; /* one vector for all heads */
    case AXES_T1:
    case AXES_TD:
        break;
    }
    out->n_dims = 2;
    out->dims[0] = known;
    out->dims[1] = width;
}

bool session_find(const struct session *s, enum site site, int layer, int *op, struct error *err)
{
    const struct program *p = &s->model.program;
    char name[64];
    if (site_in_block(site) && (layer < 0 || layer >= p->n_layers))
        return error_set(err, ERR_USAGE, "there is no layer %d: the model has layers 0 to %d",
                         layer, p->n_layers - 1);
    *op = program_find(p, site, layer);
    if (*op < 0)
        return error_set(err, ERR_USAGE, "%s, a %s model, has no %s (info sites lists what it has)",
                         s->model.name, s->model.config.model_type, site_name(site, layer, name));
    return true;
}

/* ---- reading ---- */

/* A stretch of an axis that is read at once: neighbours where the step is 1 or -1, else one. */
struct stretch {
    int64_t low;
    size_t n;
};

/* The stretch that starts at the i-th element of a pick, of at most `most`. */
static struct stretch stretch_at(const struct pick *p, size_t i, size_t most)
{
    int64_t at = p->first + (int64_t)i * p->step;
    size_t left = p->count - i, n = left < most ? left : most;
    if (p->step != 1 && p->step != -1)
        n = 1;
    return (struct stretch){p->step == -1 ? at - (int64_t)n + 1 : at, n};
}

/* Where the k-th element of a stretch lies in what was read. */
static size_t place_in(const struct pick *p, const struct stretch *s, size_t k)
{
    return p->step == -1 ? s->n - 1 - k : k;
}

/* Scores and patterns: [heads, T, S], a few rows of a few heads at a time. */
static bool read_wide(struct session *s, const struct source *source, const struct pick *picks,
                      float *out, struct error *err)
{
    const struct pick *head = &picks[0], *row = &picks[1], *key = &picks[2];
    size_t all = source->dims[2], most = READ_FLOATS / (all + 1) + 1;
    float *part = NULL;
    bool ok = true;
    for (size_t h = 0, nh; ok && h < head->count; h += nh) {
        struct stretch hs = stretch_at(head, h, most);
        nh = hs.n;
        for (size_t r = 0, nr; ok && r < row->count; r += nr) {
            struct stretch rs = stretch_at(row, r, most / nh + 1);
            nr = rs.n;
            /* A row of keys is as long as the last row needs, and as what was asked for. */
            size_t keys = (size_t)rs.low + nr;
            if (key->count > 0) {
                int64_t last = key->first + (int64_t)(key->count - 1) * key->step;
                int64_t top = last > key->first ? last : key->first;
                keys = (size_t)top + 1 > keys ? (size_t)top + 1 : keys;
            }
            float *more =
                mem_resize(s->ledger, MEM_VIEWS, part, nh * nr * keys * sizeof *part, err);
            ok = more != NULL;
            part = more ? more : part;
            ok = ok && trace_read(&s->trace, source->op, (int)rs.low, (int)nr, (int)hs.low, (int)nh,
                                  (int)keys, part, err);
            for (size_t i = 0; ok && i < nh; i++)
                for (size_t k = 0; k < nr; k++) {
                    const float *from =
                        part + (place_in(head, &hs, i) * nr + place_in(row, &rs, k)) * keys;
                    float *to = out + ((h + i) * row->count + r + k) * key->count;
                    for (size_t x = 0; x < key->count; x++)
                        to[x] = from[key->first + (int64_t)x * key->step];
                }
        }
    }
    mem_free(s->ledger, part);
    return ok;
}

/* All other sites: [T, ...], whole rows, of which the picks then take their part. */
static bool read_rows(struct session *s, const struct source *source, const struct pick *picks,
                      float *out, struct error *err)
{
    const struct pick *row = &picks[0];
    size_t width = 1, n_inner = 1;
    bool whole = row->step == 1 || row->drop;
    for (int d = 1; d < source->n_dims; d++) {
        width *= source->dims[d];
        n_inner *= picks[d].count;
        whole = whole && picks[d].count == source->dims[d] && (picks[d].step == 1 || picks[d].drop);
    }
    size_t most = READ_FLOATS / (width + 1) + 1;
    float *part =
        whole ? NULL
              : mem_alloc_array(s->ledger, MEM_VIEWS,
                                width * (most < row->count ? most : row->count), sizeof *part, err);
    bool ok = whole || part;
    for (size_t r = 0, nr; ok && r < row->count; r += nr) {
        struct stretch rs = stretch_at(row, r, most);
        nr = rs.n;
        float *to = out + r * n_inner;
        ok = trace_read(&s->trace, source->op, (int)rs.low, (int)nr, 0, 0, 0, whole ? to : part,
                        err);
        for (size_t k = 0; ok && !whole && k < nr; k++) {
            const float *from = part + place_in(row, &rs, k) * width;
            const struct pick *a = &picks[1], *b = &picks[2];
            size_t nb = source->n_dims > 2 ? b->count : 1,
                   inner = source->n_dims > 2 ? source->dims[2] : 1;
            for (size_t i = 0; i < a->count; i++)
                for (size_t j = 0; j < nb; j++) {
                    size_t at = (size_t)(a->first + (int64_t)i * a->step) * inner;
                    if (source->n_dims > 2)
                        at += (size_t)(b->first + (int64_t)j * b->step);
                    to[k * n_inner + i * nb + j] = from[at];
                }
        }
    }
    mem_free(s->ledger, part);
    return ok;
}

bool session_read(struct session *s, const struct source *source, const struct pick *picks,
                  float *out, struct error *err)
{
    if (pick_count(picks, source->n_dims) == 0)
        return true;
    return source->key_axis >= 0 ? read_wide(s, source, picks, out, err)
                                 : read_rows(s, source, picks, out, err);
}

/* ---- tokens ---- */

static bool not_one(const struct session *s, const int32_t *ids, int n, const char *piece,
                    size_t length, struct error *err)
{
    struct text shown;
    struct error ignored;
    text_init(&shown, s->ledger, MEM_VIEWS);
    text_add_shown(&shown, piece, length < 60 ? length : 60, true);
    text_add(&shown, " is not one token");
    for (int i = 0; i < n && i < 6; i++) {
        struct text part;
        text_init(&part, s->ledger, MEM_VIEWS);
        if (session_piece(s, ids[i], &part, &ignored) && part.data) {
            text_add(&shown, i ? " " : " but ");
            text_add_shown(&shown, part.data, part.n, true);
        }
        text_fini(&part);
    }
    text_add(&shown, n > 6 ? " ..." : "");
    if (text_ok(&shown, err))
        error_set(err, ERR_USAGE, "%s (tokens TEXT shows how a text is cut)", shown.data);
    text_fini(&shown);
    return false;
}

bool session_token_id(const struct session *s, const char *piece, size_t n, int32_t *id,
                      struct error *err)
{
    const struct tokenizer *t = s->model.tokenizer;
    if (!t)
        return error_set(err, ERR_STATE, "%s has no tokenizer.json: a token is written as its id",
                         s->model.name);
    *id = tokenizer_find(t, piece, n);
    if (*id >= 0 && *id < s->model.config.n_vocab)
        return true;
    int32_t *ids;
    int n_ids;
    if (!tokenizer_encode(t, piece, n, false, &ids, &n_ids, err))
        return false;
    bool ok = n_ids == 1 && ids[0] >= 0 && ids[0] < s->model.config.n_vocab;
    if (ok)
        *id = ids[0];
    else
        not_one(s, ids, n_ids, piece, n, err);
    mem_free(s->ledger, ids);
    return ok;
}

/* ---- the scope ---- */

static struct session *of(void *context)
{
    return ((struct session_scope *)context)->session;
}

static bool scope_site(void *context, enum site site, int layer, struct source *out,
                       struct error *err)
{
    int op = -1;
    if (!session_find(of(context), site, layer, &op, err))
        return false;
    session_source(of(context), op, out);
    if (!of(context)->has_prompt)
        return error_set(err, ERR_STATE, "there is no prompt yet (run TEXT)");
    return true;
}

static bool scope_weight(void *context, const char *name, struct source *out, struct error *err)
{
    *out = (struct source){.is_weight = true, .position_axis = -1, .key_axis = -1};
    if (!weight_find(&of(context)->model, name, &out->weight, err))
        return false;
    out->n_dims = out->weight.n_dims;
    memcpy(out->dims, out->weight.dims, sizeof out->weight.dims);
    return true;
}

static bool scope_known(void *context, const struct source *s, int position, struct error *err)
{
    return session_has(of(context), position, s->op, err);
}

static bool scope_read(void *context, const struct source *s, const struct pick *picks, float *out,
                       struct error *err)
{
    if (!s->is_weight)
        return session_read(of(context), s, picks, out, err);
    weight_read(&s->weight, picks, out);
    return true;
}

static bool scope_token(void *context, const char *piece, size_t n, int32_t *id, struct error *err)
{
    return session_token_id(of(context), piece, n, id, err);
}

static bool scope_lens(void *context, const float *rows, size_t n, float *out, struct error *err)
{
    return lens_logits(&of(context)->trace, rows, n, out, err);
}

static bool scope_standing(void *context, const struct source *logits, int position, int32_t id,
                           bool probability, struct top_row *out, struct error *err)
{
    struct top_ask ask = {.probabilities = probability, .targets = &id};
    struct top_entry none;
    return top_read(&of(context)->trace, logits->op, position, 1, &ask, out, &none, err);
}

static bool scope_variable(void *context, const char *name, struct value *out, struct error *err)
{
    const struct session_scope *s = context;
    if (!s->variables)
        return error_set(err, ERR_USAGE, "$%s has no value here", name);
    return variables_get(s->variables, name, out, err);
}

void session_scope_init(struct session_scope *s, struct session *session,
                        const struct variables *variables)
{
    const struct op *here = session->op >= 0 ? &session->model.program.ops[session->op] : NULL;
    *s = (struct session_scope){
        .scope = {.ledger = session->ledger,
                  .context = s,
                  .interrupt = session->trace.interrupt,
                  .position = session->position,
                  .here = here && session->has_prompt ? here->site : SITE_NONE,
                  .here_layer = here ? here->layer : 0,
                  .d_model = session->model.config.d_model,
                  .n_vocab = session->model.config.n_vocab,
                  .site = scope_site,
                  .weight = scope_weight,
                  .known = scope_known,
                  .read = scope_read,
                  .token = scope_token,
                  .lens = scope_lens,
                  .standing = scope_standing,
                  .variable = scope_variable},
        .session = session,
        .variables = variables,
    };
}
