/* command_analysis.c - lens, dla: what a residual says, and who wrote it. */
#include "engine/debug/command_parts.h"

#include "engine/analysis/attribution.h"
#include "engine/analysis/lens.h"
#include "engine/analysis/top_read.h"
#include "engine/debug/place.h"
#include "engine/debug/session_scope.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A token in quotes, or its id as a number. *there is false at the end of the line. */
static bool read_token(struct console *c, struct arguments *a, int32_t *id, bool *there,
                       struct error *err)
{
    const char *word;
    size_t n;
    long number;
    int column = arguments_column(a);
    *there = !arguments_end(a);
    if (!*there)
        return true;
    if (a->line[a->at] != '"' && arguments_number(a, &number)) {
        if (number < 0 || number >= c->session->model.config.n_vocab)
            return error_at(err, ERR_USAGE, column, "there is no token %ld", number);
        *id = (int32_t)number;
        return true;
    }
    arguments_word(a, &word, &n);
    if (n < 2 || word[0] != '"' || word[n - 1] != '"')
        return error_at(err, ERR_USAGE, column, "a token in quotes, or its id, is expected here");
    if (session_token_id(c->session, word + 1, n - 2, id, err))
        return true;
    if (err)
        err->column = column;
    return false;
}

/* ---- lens ---- */

#define LENS_TOP 3

/* What the lens says at the cursor's position behind op. */
static bool lens_at(struct session *s, int op, float *row, const struct top_ask *ask,
                    struct top_row *found, struct top_entry *best, struct error *err)
{
    return session_has(s, s->position, op, err) &&
           trace_read(&s->trace, op, s->position, 1, 0, 0, 0, row, err) &&
           lens_top(&s->trace, row, 1, ask, found, best, err);
}

static bool lens_line(struct console *c, const char *name, const struct top_row *found,
                      const struct top_entry *best, struct error *err)
{
    struct report *r = c->report;
    char why[80];
    const char *trouble = top_row_trouble(found, c->session->model.config.n_vocab, why);
    int n = found->n_best;
    double p = trouble ? (double)NAN : found->target.probability;
    if (r->json) {
        report_open(r, NULL, '{');
        report_string(r, "site", name, strlen(name));
        report_number(r, "probability", p);
        if (trouble) {
            report_null(r, "rank");
            report_string(r, "trouble", trouble, strlen(trouble));
        } else {
            report_int(r, "rank", found->rank);
        }
        report_open(r, "top", '[');
        for (int i = 0; i < n; i++) {
            report_open(r, NULL, '{');
            report_int(r, "token_id", best[i].id);
            report_number(r, "probability", best[i].probability);
            report_close(r, '}');
        }
        report_close(r, ']');
        report_close(r, '}');
        return report_trickle(r, err);
    }
    if (trouble) {
        text_printf(&r->text, "%-14s      nan      -  %s\n", name, trouble);
        return report_trickle(r, err);
    }
    text_printf(&r->text, "%-14s %8.6f %6d  ", name, p, found->rank);
    for (int i = 0; i < n; i++) {
        text_add(&r->text, i ? "  " : "");
        if (!place_add_token(&r->text, c->session, best[i].id, err))
            return false;
        text_printf(&r->text, " %.3f", best[i].probability);
    }
    text_add(&r->text, "\n");
    return report_trickle(r, err);
}

/* The lens over each layer's `site` at the cursor's position. */
static bool lens_table(struct console *c, enum site site, int first, int last, int32_t target,
                       float *row, struct error *err)
{
    struct session *s = c->session;
    struct report *r = c->report;
    struct top_ask ask = {.n_best = LENS_TOP, .probabilities = true, .targets = &target};
    for (int l = first; l <= last; l++) {
        struct top_row found;
        struct top_entry best[LENS_TOP];
        char name[64];
        int op;
        if (!session_find(s, site, l, &op, err) || !lens_at(s, op, row, &ask, &found, best, err))
            return false;
        site_short_name(site, l, name);
        if (!lens_line(c, name, &found, best, err))
            return false;
    }
    if (!r->json)
        return report_send(r, err);
    report_close(r, ']');
    return report_end(r, err);
}

static bool run_lens(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    struct report *r = c->report;
    int first = 0, last = s->model.program.n_layers - 1, op, vocab = s->model.config.n_vocab;
    enum site site = SITE_RESID_POST;
    int32_t target = -1;
    bool there;
    int column = arguments_column(a);
    if (!arguments_end(a) && a->line[a->at] != '"') {
        size_t used;
        if (!site_parse(a->line + a->at, &site, &first, &last, &used, err)) {
            if (err)
                err->column = column;
            return false;
        }
        a->at += used;
        if (first == SITE_ALL_LAYERS) {
            first = 0;
            last = s->model.program.n_layers - 1;
        }
    }
    if (!read_token(c, a, &target, &there, err) || !arguments_done(a, err) ||
        !session_find(s, site, first, &op, err) || !session_has(s, s->position, op, err))
        return false;
    if (s->model.program.ops[op].width != s->model.config.d_model)
        return error_at(err, ERR_USAGE, column, "the lens needs a residual, [D]: %s is none",
                        site_suffix(site));
    float *row =
        mem_alloc_array(c->ledger, MEM_VIEWS, (size_t)s->model.config.d_model, sizeof *row, err);
    bool ok = row != NULL;
    /* The token that the last of these layers says; one that says none is passed by. */
    for (int l = last; ok && target < 0 && l >= first; l--) {
        struct top_ask ask = {.n_best = 1};
        struct top_row found;
        struct top_entry best;
        char why[80];
        ok = session_find(s, site, l, &op, err) && lens_at(s, op, row, &ask, &found, &best, err);
        if (ok && !top_row_trouble(&found, vocab, why))
            target = best.id;
    }
    if (ok && r->json) {
        report_begin(r, "cmd", "lens");
        report_int(r, "position", s->position);
        if (target < 0)
            report_null(r, "token_id");
        else
            report_int(r, "token_id", target);
        report_open(r, "layers", '[');
    } else if (ok && target < 0) {
        text_add(&r->text, "               no layer has a best token\n");
    } else if (ok) {
        text_add(&r->text, "               p of ");
        ok = place_add_token(&r->text, s, target, err);
        text_add(&r->text, ", its rank, and the best\n");
    }
    ok = ok && lens_table(c, site, first, last, target, row, err);
    mem_free(c->ledger, row);
    return ok;
}

/* ---- dla ---- */

#define DLA_SHOWN 20

static int by_size(const void *a, const void *b)
{
    double x = fabs(((const struct part *)a)->logit), y = fabs(((const struct part *)b)->logit);
    if (isnan(x) || isnan(y)) /* first: it is what is wrong */
        return (isnan(y) != 0) - (isnan(x) != 0);
    return (x < y) - (x > y);
}

static void part_name(const struct part *p, char out[32])
{
    switch (p->kind) {
    case PART_EMBED:
        snprintf(out, 32, "embed");
        break;
    case PART_POS_EMBED:
        snprintf(out, 32, "pos_embed");
        break;
    case PART_HEAD:
        snprintf(out, 32, "L%dH%d", p->layer, p->head);
        break;
    case PART_ATTN_BIAS:
        snprintf(out, 32, "%d_attn_bias", p->layer);
        break;
    case PART_MLP:
        snprintf(out, 32, "%d_mlp_out", p->layer);
        break;
    case PART_CONSTANT:
        snprintf(out, 32, "bias");
        break;
    }
}

static bool say_parts(struct console *c, struct part *parts, int n, double total, int32_t a,
                      int32_t b, bool all, struct error *err)
{
    struct report *r = c->report;
    double sum = 0;
    char name[32];
    for (int i = 0; i < n; i++)
        sum += parts[i].logit;
    if (r->json) {
        report_begin(r, "cmd", "dla");
        report_int(r, "position", c->session->position);
        report_int(r, "token_id", a);
        if (b >= 0)
            report_int(r, "minus_token_id", b);
        report_number(r, "logit", total);
        report_number(r, "sum", sum);
        report_open(r, "parts", '[');
        for (int i = 0; i < n; i++) {
            part_name(&parts[i], name);
            report_open(r, NULL, '{');
            report_string(r, "part", name, strlen(name));
            report_number(r, "logit", parts[i].logit);
            report_close(r, '}');
        }
        report_close(r, ']');
        return report_end(r, err);
    }
    qsort(parts, (size_t)n, sizeof *parts, by_size);
    text_add(&r->text, "logit of ");
    if (!place_add_token(&r->text, c->session, a, err))
        return false;
    text_add(&r->text, b >= 0 ? " minus that of " : "");
    if (b >= 0 && !place_add_token(&r->text, c->session, b, err))
        return false;
    text_printf(&r->text, ": %.4f, the sum of\n", unsigned_nan(total));
    int shown = all || n < DLA_SHOWN ? n : DLA_SHOWN;
    double rest = 0;
    for (int i = 0; i < n; i++) {
        if (i >= shown) {
            rest += parts[i].logit;
            continue;
        }
        part_name(&parts[i], name);
        text_printf(&r->text, "  %-12s %+9.4f\n", name, unsigned_nan(parts[i].logit));
    }
    if (shown < n)
        text_printf(&r->text, "  %-12s %+9.4f  (%d smaller ones; dla/a shows them)\n", "the rest",
                    unsigned_nan(rest), n - shown);
    return report_send(r, err);
}

static bool knows_logits(const struct session *s, int *op, struct error *err)
{
    return session_find(s, SITE_LOGITS, 0, op, err) && session_has(s, s->position, *op, err);
}

/* The best token of the logits at the cursor's position. */
static bool best_here(struct session *s, int32_t *id, struct error *err)
{
    struct top_ask ask = {.n_best = 1};
    struct top_row row;
    struct top_entry best;
    char why[80];
    int op;
    if (!knows_logits(s, &op, err) ||
        !top_read(&s->trace, op, s->position, 1, &ask, &row, &best, err))
        return false;
    const char *trouble = top_row_trouble(&row, s->model.config.n_vocab, why);
    *id = best.id;
    return !trouble || error_set(err, ERR_STATE, "%s, so none is the best: name a token", trouble);
}

static bool run_dla(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    int32_t ids[2] = {-1, -1};
    bool there[2], all = strcmp(a->format, "a") == 0;
    int n = attribution_count(&s->model), op;
    double total;
    if (!all && a->format[0])
        return error_at(err, ERR_USAGE, a->format_column, "dla knows the letter a: all parts");
    if (!read_token(c, a, &ids[0], &there[0], err) || !read_token(c, a, &ids[1], &there[1], err) ||
        !arguments_done(a, err))
        return false;
    struct part *parts = mem_alloc_array(c->ledger, MEM_VIEWS, (size_t)n, sizeof *parts, err);
    bool ok = parts && (there[0] ? knows_logits(s, &op, err) : best_here(s, &ids[0], err));
    ok = ok && attribution_compute(&s->trace, s->position, ids[0], ids[1], parts, &total, err) &&
         say_parts(c, parts, n, total, ids[0], ids[1], all, err);
    mem_free(c->ledger, parts);
    return ok;
}

const struct command command_lens = {
    .name = "lens",
    .aliases = "",
    .usage = "lens [SITE] [\"token\"]",
    .brief = "what each layer's residual says: best tokens, a token's p and rank",
    .help = "SITE is *.resid_post if left out, or any other residual: *.resid_mid, 3-5.resid_pre.\n"
            "The token is the last layer's best, if left out.",
    .theme = THEME_LOOK,
    .takes = TAKES_SITE,
    .run = run_lens,
};

const struct command command_dla = {
    .name = "dla",
    .aliases = "",
    .usage = "dla[/a] [\"a\" [\"b\"]]",
    .brief = "direct logit attribution of heads and MLPs to a token, or a difference",
    .help =
        "The parts add up to the logit; largest first, /a shows all. The token is the best one,\n"
        "if left out. The final norm's scale is taken as it was.",
    .theme = THEME_LOOK,
    .takes = TAKES_TEXT,
    .run = run_dla,
};
