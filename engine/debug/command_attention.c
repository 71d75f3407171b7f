/* command_attention.c - heads, attn: where heads look. */
#include "engine/debug/command_parts.h"

#include "engine/analysis/heads.h"
#include "engine/debug/place.h"
#include "engine/debug/session_scope.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- heads ---- */

static bool run_heads(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    struct report *r = c->report;
    int H = s->model.config.n_heads, L = s->model.config.n_layers, n = trace_rows(&s->trace);
    if (!arguments_done(a, err))
        return false;
    if (!s->has_prompt || n < 2)
        return error_set(err, ERR_STATE, "heads needs a prompt of which two tokens are computed");
    struct head_scores *scores =
        mem_alloc_array(c->ledger, MEM_VIEWS, (size_t)L * (size_t)H, sizeof *scores, err);
    bool ok = scores && heads_score(&s->trace, n, scores, err);
    if (ok && r->json) {
        report_begin(r, "cmd", "heads");
        report_int(r, "positions", n);
        report_open(r, "heads", '[');
    } else if (ok) {
        text_printf(&r->text,
                    "over %d positions: attention to the token before, to the same token "
                    "earlier, behind it\nhead     previous  duplicate  induction\n",
                    n);
    }
    for (int i = 0; ok && i < L * H; i++) {
        if (r->json) {
            report_open(r, NULL, '{');
            report_int(r, "layer", i / H);
            report_int(r, "head", i % H);
            report_number(r, "previous", scores[i].previous);
            report_number(r, "duplicate", scores[i].duplicate);
            report_number(r, "induction", scores[i].induction);
            report_close(r, '}');
        } else {
            char name[24];
            snprintf(name, sizeof name, "L%dH%d", i / H, i % H);
            text_printf(&r->text, "%-8s %8.4f  %9.4f  %9.4f\n", name,
                        unsigned_nan(scores[i].previous), unsigned_nan(scores[i].duplicate),
                        unsigned_nan(scores[i].induction));
        }
        ok = report_trickle(r, err);
    }
    mem_free(c->ledger, scores);
    if (!ok)
        return false;
    if (!r->json)
        return report_send(r, err);
    report_close(r, ']');
    return report_end(r, err);
}

/* ---- attn ---- */

#define ATTN_SHOWN 8

struct edge {
    int key;
    float weight;
};

static int by_weight(const void *a, const void *b)
{
    float x = ((const struct edge *)a)->weight, y = ((const struct edge *)b)->weight;
    if (isnan(x) || isnan(y)) /* first: it is what is wrong */
        return (isnan(y) != 0) - (isnan(x) != 0);
    return (x < y) - (x > y);
}

/* A head's row of the pattern at the cursor: the keys it looks at most, or all for a program. */
static bool say_head(struct console *c, int layer, int head, const float *row, struct edge *edges,
                     struct error *err)
{
    struct session *s = c->session;
    struct report *r = c->report;
    int n = s->position + 1;
    if (r->json) {
        report_open(r, NULL, '{');
        report_int(r, "layer", layer);
        report_int(r, "head", head);
        report_open(r, "pattern", '[');
        for (int i = 0; i < n; i++)
            report_number(r, NULL, (double)row[i]);
        report_close(r, ']');
        report_close(r, '}');
        return report_trickle(r, err);
    }
    for (int i = 0; i < n; i++)
        edges[i] = (struct edge){i, row[i]};
    qsort(edges, (size_t)n, sizeof *edges, by_weight);
    text_printf(&r->text, "L%dH%d ", layer, head);
    for (int i = 0; i < n && i < ATTN_SHOWN; i++) {
        text_printf(&r->text, "  #%d ", edges[i].key);
        if (!place_add_token(&r->text, s, s->trace.ids[edges[i].key], err))
            return false;
        text_printf(&r->text, " %.3f", unsigned_nan((double)edges[i].weight));
    }
    text_add(&r->text, n > ATTN_SHOWN ? "  ...\n" : "\n");
    return report_trickle(r, err);
}

static bool run_attn(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    struct report *r = c->report;
    int H = s->model.config.n_heads, layer, op;
    int column = arguments_column(a);
    if (arguments_end(a))
        return error_at(err, ERR_USAGE, column, "a layer is expected here, and heads");
    if (!arguments_int(a, "a layer", 0, s->model.config.n_layers - 1, 0, &layer, err) ||
        !session_find(s, SITE_PATTERN, layer, &op, err) || !session_has(s, s->position, op, err))
        return false;
    bool *chosen = mem_alloc_array(c->ledger, MEM_VIEWS, (size_t)H, sizeof *chosen, err);
    size_t n = (size_t)s->position + 1;
    float *rows = mem_alloc_array(c->ledger, MEM_VIEWS, n, sizeof *rows, err);
    struct edge *edges = mem_alloc_array(c->ledger, MEM_VIEWS, n, sizeof *edges, err);
    bool ok = chosen && rows && edges, all = arguments_end(a);
    for (int i = 0; ok && all && i < H; i++)
        chosen[i] = true;
    while (ok && !arguments_end(a)) {
        int head = 0;
        ok = arguments_int(a, "a head", 0, H - 1, 0, &head, err);
        if (ok)
            chosen[head] = true;
    }
    if (ok && r->json) {
        report_begin(r, "cmd", "attn");
        report_int(r, "position", s->position);
        report_open(r, "heads", '[');
    }
    for (int i = 0; ok && i < H; i++)
        ok = !chosen[i] || (trace_read(&s->trace, op, s->position, 1, i, 1, (int)n, rows, err) &&
                            say_head(c, layer, i, rows, edges, err));
    mem_free(c->ledger, chosen);
    mem_free(c->ledger, rows);
    mem_free(c->ledger, edges);
    if (!ok)
        return false;
    if (!r->json)
        return report_send(r, err);
    report_close(r, ']');
    return report_end(r, err);
}

const struct command command_attn = {
    .name = "attn",
    .aliases = "",
    .usage = "attn L [H...]",
    .brief = "where heads look from here; on the screen, also which are shown",
    .help =
        "The keys with the most weight in the pattern's row at this position; all heads of the\n"
        "layer, if none is named.",
    .theme = THEME_LOOK,
    .takes = TAKES_NOTHING,
    .run = run_attn,
};

const struct command command_heads = {
    .name = "heads",
    .aliases = "",
    .usage = "heads",
    .brief = "scores every head: previous token, duplicate token, induction",
    .help = "Means over the computed positions that have such keys.",
    .theme = THEME_LOOK,
    .takes = TAKES_NOTHING,
    .run = run_heads,
};
