/* tokens_read.c - labels of all tokens, where their lines begin, and values of those shown. */
#include "tui/panels/tokens_parts.h"

#include "engine/analysis/top_read.h"

#include <math.h>
#include <string.h>

#define BATCH_FLOATS ((size_t)1 << 18) /* floats computed at a time */
#define BATCH_ROWS   16

const char *tokens_label(const struct tokens_panel *p, int i)
{
    return p->labels.data + p->token[i].label;
}

int tokens_line_of(const struct tokens_panel *p, int position)
{
    int low = 0, high = p->n_lines;
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (p->line[middle] <= position)
            low = middle;
        else
            high = middle;
    }
    return low;
}

double tokens_value(const struct tokens_panel *p, int i)
{
    const struct token *k = &p->token[i];
    if (p->colour == COLOUR_NORM)
        return k->has_norm && p->most > 0 ? (double)(k->norm / p->most) : (double)NAN;
    if (!k->has_logprob)
        return (double)NAN;
    /* 1 in 20,000 (10 nats) is as good as never. */
    double rare = -(double)k->logprob / 10;
    rare = rare > 1 ? 1 : rare;
    return p->colour == COLOUR_SURPRISE ? rare : 1 - rare;
}

/* ---- labels ---- */

static void forget_from(struct tokens_panel *p, int from)
{
    if (from < p->n) {
        p->labels.n = p->token[from].label;
        p->n = from;
        p->line_w = 0;
    }
}

/* Labels of tokens that are new, as many as there is time for. */
static bool measure(struct tokens_panel *p, const struct session *s, double deadline,
                    struct error *err)
{
    const int32_t *ids = s->trace.ids;
    int same = 0, n = s->trace.n_ids;
    bool ok = true;
    while (same < p->n && same < n && p->token[same].id == ids[same])
        same++;
    forget_from(p, same);
    if (n > p->room) {
        int room = n + n / 2 + 64;
        struct token *more =
            mem_resize(p->base.view->ledger, MEM_VIEWS, p->token, (size_t)room * sizeof *more, err);
        if (!more)
            return false;
        p->token = more;
        p->room = room;
    }
    while (ok && p->n < n) {
        char label[LABEL_BYTES];
        if (!numeric_label(s, ids[p->n], label, err))
            return false;
        p->token[p->n] = (struct token){
            .id = ids[p->n], .label = (uint32_t)p->labels.n, .width = (uint8_t)text_columns(label)};
        text_add_bytes(&p->labels, label, strlen(label) + 1);
        if (!text_ok(&p->labels, err)) {
            text_fini(&p->labels);
            text_init(&p->labels, p->base.view->ledger, MEM_VIEWS);
            p->n = p->n_lines = p->line_w = 0;
            return false;
        }
        p->n++;
        p->line_w = 0;
        if (p->n % 256 == 0 && !numeric_go_on(s, deadline, &p->base.more, &ok, err))
            break;
    }
    return ok;
}

/* Each token takes a column for its sign and the label's. */
static bool break_lines(struct tokens_panel *p, int w, struct error *err)
{
    int x = 0;
    if (p->line_w == w)
        return true;
    p->n_lines = 0;
    for (int i = 0; i < p->n; i++) {
        int width = 1 + p->token[i].width;
        if (p->n_lines + 2 > p->room_lines) {
            int room = 2 * p->room_lines + 64;
            int *more = mem_resize(p->base.view->ledger, MEM_VIEWS, p->line,
                                   (size_t)room * sizeof *more, err);
            if (!more)
                return false;
            p->line = more;
            p->room_lines = room;
        }
        if (i == 0 || (x > 0 && x + width > w)) {
            p->line[p->n_lines++] = i;
            x = 0;
        }
        x += width;
    }
    p->line[p->n_lines] = p->n;
    p->line_w = w;
    return true;
}

/* ---- values ---- */

static uint64_t stamp_of(const struct tokens_panel *p, const struct session *s)
{
    uint64_t x = p->base.view->edits * 2 + s->trace.long_regime + 1;
    for (int i = 0; i < s->patches.n; i++)
        x = (x ^ ((uint64_t)s->patches.list[i].id * 2 + s->patches.list[i].enabled)) *
            1099511628211u;
    return x;
}

/* A patch that holds to the end is marked where it begins. */
static bool is_patched(const struct session *s, int position)
{
    for (int i = 0; i < s->patches.n; i++) {
        const struct patch *e = &s->patches.list[i];
        if (e->enabled && (position == e->first || (position > e->first && position <= e->last &&
                                                    e->last != PATCH_TO_THE_END)))
            return true;
    }
    return false;
}

static bool is_missing(const struct tokens_panel *p, const struct session *s, int i, int op,
                       int shift)
{
    const struct token *k = &p->token[i];
    bool has = p->colour == COLOUR_NORM ? k->has_norm : k->has_logprob;
    return !has && i >= shift && trace_has(&s->trace, i - shift, op);
}

static bool read_norms(struct tokens_panel *p, struct session *s, int op, int i, int n,
                       struct error *err)
{
    size_t width = (size_t)s->model.program.ops[op].width;
    float *rows = mem_alloc_array(s->ledger, MEM_VIEWS, (size_t)n * width, sizeof *rows, err);
    bool ok = rows && trace_read(&s->trace, op, i, n, 0, 0, 0, rows, err);
    for (int k = 0; ok && k < n; k++) {
        double sum = 0;
        for (size_t d = 0; d < width; d++)
            sum += (double)rows[(size_t)k * width + d] * (double)rows[(size_t)k * width + d];
        p->token[i + k].norm = (float)sqrt(sum);
        p->token[i + k].has_norm = true;
    }
    mem_free(s->ledger, rows);
    return ok;
}

/* What the logits before each token say of it. */
static bool read_logprobs(struct tokens_panel *p, struct session *s, int op, int i, int n,
                          struct error *err)
{
    int32_t targets[BATCH_ROWS];
    struct top_row found[BATCH_ROWS];
    struct top_entry none;
    struct top_ask ask = {.probabilities = true, .targets = targets};
    for (int k = 0; k < n; k++)
        targets[k] = p->token[i + k].id;
    if (!top_read(&s->trace, op, i - 1, n, &ask, found, &none, err))
        return false;
    for (int k = 0; k < n; k++) {
        p->token[i + k].logprob = (float)((double)found[k].target.logit - found[k].log_sum);
        p->token[i + k].has_logprob = true;
    }
    return true;
}

/* Of tokens first to end - 1, a few rows at a time. */
static bool read_values(struct tokens_panel *p, struct session *s, int first, int end,
                        double deadline, struct error *err)
{
    const struct program *g = &s->model.program;
    bool norm = p->colour == COLOUR_NORM, ok = true;
    int op = norm ? program_find(g, SITE_RESID_POST, p->layer) : program_find(g, SITE_LOGITS, 0);
    int shift = norm ? 0 : 1;
    if (op < 0)
        return true;
    int batch = numeric_clamp((int)(BATCH_FLOATS / (size_t)g->ops[op].width), 1, BATCH_ROWS);
    for (int i = first; ok && i < end;) {
        int n = 0;
        while (n < batch && i + n < end && is_missing(p, s, i + n, op, shift))
            n++;
        if (n == 0) {
            i++;
            continue;
        }
        ok = (norm ? read_norms : read_logprobs)(p, s, op, i, n, err);
        i += n;
        if (ok && i < end && !numeric_go_on(s, deadline, &p->base.more, &ok, err))
            break;
    }
    return ok;
}

/* What was read stays until what it depends on changes. */
static void forget_values(struct tokens_panel *p, const struct session *s)
{
    int last = s->model.program.n_layers - 1;
    int layer = numeric_clamp(p->base.view->selection.layer, 0, last);
    uint64_t stamp = stamp_of(p, s);
    for (int i = 0; i < p->n && (stamp != p->stamp || layer != p->layer); i++) {
        p->token[i].has_norm = false;
        p->token[i].has_logprob &= stamp == p->stamp;
    }
    p->stamp = stamp;
    p->layer = layer;
}

bool tokens_refresh(struct panel *panel, int w, int h, struct error *err)
{
    struct tokens_panel *p = (struct tokens_panel *)panel;
    struct session *s = numeric_session(panel->view, p->words);
    double deadline = numeric_seconds() + REFRESH_SECONDS;
    panel->more = false;
    p->n_ids = 0;
    if (!s || w < 1 || h < 1) {
        forget_from(p, 0);
        return true;
    }
    p->n_ids = s->trace.n_ids;
    p->n_prompt = s->n_prompt;
    p->position = s->position;
    if (!measure(p, s, deadline, err))
        return false;
    forget_values(p, s);
    if (!break_lines(p, w, err))
        return false;
    int at = tokens_line_of(p, panel->view->selection.position);
    p->top = numeric_scroll(p->top, at, p->n_lines, h);
    int end = p->line[numeric_least(p->top + h, p->n_lines)];
    for (int i = p->line[p->top]; i < end; i++)
        p->token[i].patched = is_patched(s, i);
    bool ok = panel->more || read_values(p, s, p->line[p->top], end, deadline, err);
    p->most = 0;
    for (int i = p->line[p->top]; i < end; i++)
        if (p->token[i].has_norm && p->token[i].norm > p->most)
            p->most = p->token[i].norm;
    return ok;
}
