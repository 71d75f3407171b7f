/* tokens.c - the sequence, each token coloured by how likely or how large it was. */
#include "tui/panels/tokens_parts.h"

#include <math.h>
#include <string.h>

static bool open_panel(struct panel *panel, struct error *err)
{
    struct tokens_panel *p = (struct tokens_panel *)panel;
    (void)err;
    text_init(&p->labels, panel->view->ledger, MEM_VIEWS);
    return true;
}

static void close_panel(struct panel *panel)
{
    struct tokens_panel *p = (struct tokens_panel *)panel;
    text_fini(&p->labels);
    mem_free(panel->view->ledger, p->token);
    mem_free(panel->view->ledger, p->line);
}

/* ---- drawing ---- */

static struct style style_of(const struct tokens_panel *p, int i)
{
    const struct theme *t = p->base.view->theme;
    struct style s = theme_style(t, ROLE_TEXT);
    double v = tokens_value(p, i);
    if (isnan(v) || t->colours == 0)
        return s;
    s.bg = theme_heat(t, v);
    s.fg = theme_ink(t, s.bg);
    return s;
}

/* The column before a token tells its state; without colours the value, where it has none. */
static void draw_sign(const struct tokens_panel *p, struct region r, int x, int y, int i)
{
    const struct theme *t = p->base.view->theme;
    double v = tokens_value(p, i);
    if (i == p->position)
        region_put(r, x, y, theme_sign(t, SIGN_CURSOR), theme_style(t, ROLE_CURRENT));
    else if (p->token[i].patched)
        region_put(r, x, y, theme_sign(t, SIGN_PATCH), theme_style(t, ROLE_PATCH));
    else if (i >= p->n_prompt)
        region_put(r, x, y, "+", theme_style(t, ROLE_CHANGED));
    else if (t->colours == 0 && !isnan(v))
        region_put(r, x, y, theme_heat_glyph(t, v), theme_style(t, ROLE_DIM));
}

static void draw(const struct panel *panel, struct region r, bool focused)
{
    const struct tokens_panel *p = (const struct tokens_panel *)panel;
    const struct theme *t = panel->view->theme;
    const char *dots = theme_sign(t, SIGN_ELLIPSIS);
    if (p->n_ids == 0 || p->n == 0 || p->n_lines == 0) {
        numeric_words(r, p->n_ids == 0 ? p->words : "reading", theme_style(t, ROLE_DIM));
        return;
    }
    for (int y = 0; y < r.h && p->top + y < p->n_lines; y++) {
        int x = 0, end = p->line[p->top + y + 1];
        for (int i = p->line[p->top + y]; i < end && x < r.w; i++) {
            struct style s = style_of(p, i);
            draw_sign(p, r, x, y, i);
            if (i == panel->view->selection.position) {
                struct style selected = theme_style(t, ROLE_SELECTED);
                s.attr |= focused ? selected.attr : ATTR_UNDERLINE;
            }
            x++;
            region_text_cut(r, x, y, r.w - x, tokens_label(p, i), dots, s);
            x += p->token[i].width;
        }
    }
}

static void title(const struct panel *panel, struct text *out)
{
    static const char *const names[TOKENS_COLOURS] = {"logprob", "surprise", "norm"};
    const struct tokens_panel *p = (const struct tokens_panel *)panel;
    int at = panel->view->selection.position;
    char number[NUMBER_BYTES];
    text_add(out, "tokens");
    if (p->n_ids == 0)
        return;
    text_printf(out, "  %d/%d", at, p->n_ids);
    text_printf(out, "  colour: %s", names[p->colour]);
    if (p->colour == COLOUR_NORM)
        text_printf(out, " of %d.resid_post", p->layer);
    if (at < 0 || at >= p->n)
        return;
    const struct token *k = &p->token[at];
    if (p->colour == COLOUR_NORM && k->has_norm)
        text_printf(out, "  %s", numeric_format((double)k->norm, 7, number));
    else if (p->colour == COLOUR_SURPRISE && k->has_logprob)
        text_printf(out, "  %s bits", numeric_format(-(double)k->logprob / log(2), 6, number));
    else if (p->colour == COLOUR_LOGPROB && k->has_logprob)
        text_printf(out, "  %s", numeric_format((double)k->logprob, 7, number));
}

/* ---- keys ---- */

static enum key_result select_token(struct tokens_panel *p, int position)
{
    p->base.view->selection.position = numeric_clamp(position, 0, p->n_ids - 1);
    return KEY_SHARED;
}

/* The token at a column of a line. */
static int token_at(const struct tokens_panel *p, int line, int column)
{
    line = numeric_clamp(line, 0, p->n_lines - 1);
    int end = p->line[line + 1], i = p->line[line];
    for (int x = 0; i + 1 < end; i++) {
        x += 1 + p->token[i].width;
        if (x > column)
            break;
    }
    return i;
}

static enum key_result move_lines(struct tokens_panel *p, int by)
{
    int at = numeric_clamp(p->base.view->selection.position, 0, p->n - 1);
    int line = tokens_line_of(p, at), x = 0;
    for (int i = p->line[line]; i < at; i++)
        x += 1 + p->token[i].width;
    return select_token(p, token_at(p, line + by, x));
}

static enum key_result key(struct panel *panel, int k, struct text *line)
{
    struct tokens_panel *p = (struct tokens_panel *)panel;
    int at = panel->view->selection.position, page = panel->h > 1 ? panel->h - 1 : 1;
    if (p->n_ids == 0 || p->n == 0 || p->n_lines == 0)
        return KEY_IGNORED;
    switch (k) {
    case 'h':
    case KEY_LEFT_ARROW:
        return select_token(p, at - 1);
    case 'l':
    case KEY_RIGHT_ARROW:
        return select_token(p, at + 1);
    case 'k':
    case KEY_UP_ARROW:
        return move_lines(p, -1);
    case 'j':
    case KEY_DOWN_ARROW:
        return move_lines(p, 1);
    case KEY_PAGE_UP:
        return move_lines(p, -page);
    case KEY_PAGE_DOWN:
        return move_lines(p, page);
    case 'g':
    case KEY_HOME_KEY:
        return select_token(p, 0);
    case 'G':
    case KEY_END_KEY:
        return select_token(p, p->n_ids - 1);
    case '.':
        return select_token(p, p->position);
    case 'm':
        p->colour = (p->colour + 1) % TOKENS_COLOURS;
        return KEY_REFRESH;
    case KEY_RETURN:
        text_printf(line, "goto %d", at);
        return KEY_COMMAND;
    case 'e':
        text_printf(line, "patch token %d = \"", at);
        return KEY_PROMPT;
    default:
        return KEY_IGNORED;
    }
}

static enum key_result mouse(struct panel *panel, enum mouse_action a, int x, int y,
                             struct text *line)
{
    struct tokens_panel *p = (struct tokens_panel *)panel;
    if (p->n_ids == 0 || p->n == 0 || p->n_lines == 0)
        return KEY_IGNORED;
    if (a == MOUSE_WHEEL_UP || a == MOUSE_WHEEL_DOWN)
        return move_lines(p, a == MOUSE_WHEEL_UP ? -3 : 3);
    int at = token_at(p, p->top + y, x);
    if (a == MOUSE_PRESS)
        return select_token(p, at);
    text_printf(line, "goto %d", at);
    return KEY_COMMAND;
}

static bool search(struct panel *panel, const char *needle, bool back)
{
    struct tokens_panel *p = (struct tokens_panel *)panel;
    int at = numeric_clamp(panel->view->selection.position, 0, p->n - 1);
    for (int i = 1; i <= p->n; i++) {
        int k = (at + (back ? p->n - i : i)) % p->n;
        if (!strstr(tokens_label(p, k), needle))
            continue;
        panel->view->selection.position = k;
        return true;
    }
    return false;
}

static const struct key_help keys[] = {
    {"h l", "token before, after"},
    {"j k", "line"},
    {"Enter", "go there"},
    {"m", "colour: log-probability, surprise (bright: unlikely), norm"},
    {"e", "another token in its place"},
    {".", "where the debugger stands"},
    {NULL, NULL},
};

const struct panel_kind panel_tokens = {
    .name = "tokens",
    .size = sizeof(struct tokens_panel),
    .min_w = 10,
    .min_h = 1,
    .open = open_panel,
    .close = close_panel,
    .refresh = tokens_refresh,
    .draw = draw,
    .title = title,
    .key = key,
    .mouse = mouse,
    .search = search,
    .keys = keys,
};
