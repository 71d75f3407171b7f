/* top.c - the best next tokens as bars, before the last edit and now. */
#include "tui/panels/numeric.h"

#include "engine/analysis/top.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MOST   100 /* tokens that are kept */
#define NAME_W 14

struct best {
    int32_t id;
    double p, before; /* probabilities; before NaN: not known */
    char label[LABEL_BYTES];
    size_t quoted; /* where it begins in quoted */
};

struct top_panel {
    struct panel base;
    struct best best[MOST];
    int n, at, top;
    int position; /* whose logits these are */
    uint64_t edits, stamp;
    struct text quoted; /* the tokens as commands take them, each with its NUL */
    /* What the logits were, as they are compared: of the same position, one edit ago. */
    float *now, *old; /* [n_vocab] */
    bool has_now, has_old;
    double now_sum, old_sum;
    char words[300];
};

static bool open_panel(struct panel *panel, struct error *err)
{
    struct top_panel *p = (struct top_panel *)panel;
    (void)err;
    text_init(&p->quoted, panel->view->ledger, MEM_VIEWS);
    return true;
}

static void close_panel(struct panel *panel)
{
    struct top_panel *p = (struct top_panel *)panel;
    text_fini(&p->quoted);
    mem_free(panel->view->ledger, p->now);
    mem_free(panel->view->ledger, p->old);
}

/* ---- reading ---- */

/* What was read before an edit is what the next is compared with. */
static void keep_before(struct top_panel *p, int position)
{
    uint64_t edits = p->base.view->edits;
    if (position != p->position)
        p->has_now = p->has_old = false;
    if (edits != p->edits && p->has_now) {
        float *other = p->old;
        p->old = p->now;
        p->old_sum = p->now_sum;
        p->has_old = true;
        p->now = other;
        p->has_now = false;
    }
    p->edits = edits;
    p->position = position;
}

static bool add_quoted(struct top_panel *p, const struct session *s, struct best *b,
                       struct error *err)
{
    struct text piece;
    text_init(&piece, p->base.view->ledger, MEM_VIEWS);
    bool ok = session_piece(s, b->id, &piece, err);
    b->quoted = p->quoted.n;
    if (ok)
        text_add_shown(&p->quoted, piece.data ? piece.data : "", piece.n, true);
    text_add_bytes(&p->quoted, "", 1);
    text_fini(&piece);
    return ok && text_ok(&p->quoted, err);
}

static bool fill(struct top_panel *p, const struct session *s, int vocab, struct error *err)
{
    struct top_entry entry[MOST];
    p->now_sum = top_log_sum(p->now, vocab);
    int n = top_tokens(p->now, vocab, MOST, entry);
    text_fini(&p->quoted);
    text_init(&p->quoted, p->base.view->ledger, MEM_VIEWS);
    for (int i = 0; i < n; i++) {
        struct best *b = &p->best[i];
        b->id = entry[i].id;
        b->p = exp((double)p->now[b->id] - p->now_sum);
        b->before = p->has_old ? exp((double)p->old[b->id] - p->old_sum) : (double)NAN;
        if (!numeric_label(s, b->id, b->label, err) || !add_quoted(p, s, b, err))
            return false;
    }
    p->n = n;
    p->at = numeric_clamp(p->at, 0, p->n - 1);
    return true;
}

static bool refresh(struct panel *panel, int w, int h, struct error *err)
{
    struct top_panel *p = (struct top_panel *)panel;
    struct session *s = numeric_session(panel->view, p->words);
    struct error why;
    (void)w;
    (void)h;
    p->n = 0;
    if (!s)
        return true;
    int vocab = s->model.config.n_vocab, op = program_find(&s->model.program, SITE_LOGITS, 0);
    int position = numeric_clamp(panel->view->selection.position, 0, s->trace.n_ids - 1);
    keep_before(p, position);
    if (op < 0 || !trace_has(&s->trace, position, op)) {
        if (op >= 0)
            session_has(s, position, op, &why);
        snprintf(p->words, sizeof p->words, "%.280s",
                 op < 0 ? "no logits in this model" : why.text);
        return true;
    }
    struct ledger *l = panel->view->ledger;
    if (!p->now)
        p->now = mem_alloc_array(l, MEM_VIEWS, (size_t)vocab, sizeof *p->now, err);
    if (!p->now)
        return false;
    uint64_t stamp = numeric_stamp(panel->view);
    if (!p->has_now || stamp != p->stamp)
        p->has_now = trace_read(&s->trace, op, position, 1, 0, 0, 0, p->now, err);
    p->stamp = stamp;
    return p->has_now && fill(p, s, vocab, err);
}

/* ---- drawing ---- */

static void draw_line(const struct top_panel *p, struct region r, int y, int i, bool focused)
{
    const struct theme *t = p->base.view->theme;
    const struct best *b = &p->best[i];
    char number[NUMBER_BYTES];
    bool pair = !isnan(b->before) && r.w >= 34;
    /* By what is shown: three digits. */
    bool changed = !isnan(b->before) && lrint(1000 * b->p) != lrint(1000 * b->before);
    int name = r.w >= 24 ? NAME_W : r.w > 8 ? r.w - 6 : r.w, x = name + 1;
    region_text_cut(r, 0, y, name, b->label, theme_sign(t, SIGN_ELLIPSIS),
                    theme_style(t, ROLE_TEXT));
    if (pair) {
        region_text(r, x, y, 4, numeric_probability(b->before, number), theme_style(t, ROLE_DIM));
        x += 5;
    }
    if (changed) {
        enum sign sign = b->p > b->before ? SIGN_UP : SIGN_DOWN;
        region_put(r, x - 1, y, theme_sign(t, sign), theme_style(t, ROLE_CHANGED));
    }
    region_text(r, x, y, 4, numeric_probability(b->p, number),
                theme_style(t, changed ? ROLE_CHANGED : ROLE_TEXT));
    x += 5;
    numeric_bar(t, r, x, y, r.w - x, b->p, theme_style(t, ROLE_BAR));
    if (focused && i == p->at)
        region_restyle(r, 0, y, numeric_least(name, r.w), theme_style(t, ROLE_SELECTED));
}

static void draw(const struct panel *panel, struct region r, bool focused)
{
    const struct top_panel *p = (const struct top_panel *)panel;
    int top = numeric_scroll(p->top, p->at, p->n, r.h);
    if (p->n == 0)
        numeric_words(r, p->words, theme_style(panel->view->theme, ROLE_DIM));
    for (int y = 0; y < r.h && top + y < p->n; y++)
        draw_line(p, r, y, top + y, focused);
}

static void title(const struct panel *panel, struct text *out)
{
    const struct top_panel *p = (const struct top_panel *)panel;
    text_add(out, "next token");
    if (p->n > 0)
        text_printf(out, "  after tok %d%s", p->position, p->has_old ? "  before, now" : "");
}

/* ---- keys ---- */

static enum key_result move(struct top_panel *p, int by)
{
    p->at = numeric_clamp(p->at + by, 0, p->n - 1);
    p->top = numeric_scroll(p->top, p->at, p->n, p->base.h);
    return KEY_DONE;
}

static enum key_result key(struct panel *panel, int k, struct text *line)
{
    struct top_panel *p = (struct top_panel *)panel;
    struct selection *sel = &panel->view->selection;
    int page = panel->h > 1 ? panel->h - 1 : 1;
    if (p->n == 0)
        return KEY_IGNORED;
    switch (k) {
    case 'j':
    case KEY_DOWN_ARROW:
        return move(p, 1);
    case 'k':
    case KEY_UP_ARROW:
        return move(p, -1);
    case KEY_PAGE_DOWN:
        return move(p, page);
    case KEY_PAGE_UP:
        return move(p, -page);
    case 'g':
    case KEY_HOME_KEY:
        return move(p, -MOST);
    case 'G':
    case KEY_END_KEY:
        return move(p, MOST);
    case ' ':
        sel->chosen = !sel->chosen || sel->token != p->best[p->at].id;
        sel->token = p->best[p->at].id;
        return KEY_SHARED;
    case KEY_RETURN:
        text_printf(line, "dla %s", p->quoted.data + p->best[p->at].quoted);
        return KEY_COMMAND;
    default:
        return KEY_IGNORED;
    }
}

static bool search(struct panel *panel, const char *needle, bool back)
{
    struct top_panel *p = (struct top_panel *)panel;
    for (int i = 1; i <= p->n; i++) {
        int k = (p->at + (back ? p->n - i : i)) % p->n;
        if (!strstr(p->best[k].label, needle))
            continue;
        move(p, k - p->at);
        return true;
    }
    return false;
}

static const struct key_help keys[] = {
    {"j k", "token"},
    {"Enter", "what wrote it: dla"},
    {"Space", "tell this token's rank and probability everywhere"},
    {NULL, NULL},
};

const struct panel_kind panel_top = {
    .name = "top",
    .size = sizeof(struct top_panel),
    .min_w = 12,
    .min_h = 2,
    .open = open_panel,
    .close = close_panel,
    .refresh = refresh,
    .draw = draw,
    .title = title,
    .key = key,
    .search = search,
    .keys = keys,
};
