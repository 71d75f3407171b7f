/* program_read.c - the program's lines, and what is set at each. */
#include "tui/panels/program_parts.h"

static bool list_program(struct program_panel *p, const struct session *s, struct error *err)
{
    const struct program *g = &s->model.program;
    struct ledger *l = p->base.view->ledger;
    int sections = g->n_layers + 2;
    size_t most = (size_t)g->n_ops + (size_t)sections;
    struct line *lines = mem_alloc_array(l, MEM_VIEWS, most, sizeof *lines, err);
    bool *folded = lines ? mem_alloc_array(l, MEM_VIEWS, (size_t)sections, 1, err) : NULL;
    if (!folded) {
        mem_free(l, lines);
        return false;
    }
    int n = 0, last = -1;
    for (int i = 0; i < g->n_ops; i++) {
        int section = program_section(g, i) + 1;
        if (g->ops[i].site == SITE_NONE)
            continue;
        if (section != last)
            lines[n++] = (struct line){.op = -1, .section = section, .layer = section - 1};
        last = section;
        lines[n++] = (struct line){
            .op = i, .section = section, .site = g->ops[i].site, .layer = g->ops[i].layer};
    }
    p->line = lines;
    p->folded = folded;
    p->n = n;
    p->n_sections = sections;
    p->op = -2;
    return true;
}

bool program_covers(const struct line *l, enum site site, int first, int last)
{
    return site == l->site && (!site_in_block(site) || (first <= l->layer && l->layer <= last));
}

static bool breaks_here(const struct line *l, const struct breakpoint *b)
{
    return b->kind == STOP_SITE && program_covers(l, b->site, b->layer_first, b->layer_last);
}

/* Another token is an edit of what is embedded. */
static bool patches_here(const struct line *l, const struct patch *e)
{
    return e->kind == PATCH_TOKEN ? l->site == SITE_EMBED
                                  : program_covers(l, e->site, e->layer_first, e->layer_last);
}

static void look_at(struct line *l, const struct session *s)
{
    l->breaks_on = l->breaks_off = l->wide = l->patches_on = l->patches_off = 0;
    for (int i = 0; i < s->breakpoints.n; i++) {
        const struct breakpoint *b = &s->breakpoints.list[i];
        if (!breaks_here(l, b))
            continue;
        *(b->enabled ? &l->breaks_on : &l->breaks_off) += 1;
        l->wide += b->layer_first != b->layer_last;
    }
    for (int i = 0; i < s->patches.n; i++)
        if (patches_here(l, &s->patches.list[i]))
            *(s->patches.list[i].enabled ? &l->patches_on : &l->patches_off) += 1;
    l->known = s->has_prompt && session_has(s, s->position, l->op, NULL);
}

/* Copies, for keys that are pressed while a command runs. */
static bool list_stops(struct program_panel *p, const struct session *s, struct error *err)
{
    const struct breakpoints *b = &s->breakpoints;
    p->n_stops = 0;
    if (b->n > p->room_stops) {
        struct stop *more = mem_resize(p->base.view->ledger, MEM_VIEWS, p->stop,
                                       2 * (size_t)b->n * sizeof *more, err);
        if (!more)
            return false;
        p->stop = more;
        p->room_stops = 2 * b->n;
    }
    for (int i = 0; i < b->n; i++)
        if (b->list[i].kind == STOP_SITE)
            p->stop[p->n_stops++] = (struct stop){b->list[i].id, b->list[i].layer_first,
                                                  b->list[i].layer_last, b->list[i].site};
    return true;
}

bool program_refresh(struct panel *panel, int w, int h, struct error *err)
{
    struct program_panel *p = (struct program_panel *)panel;
    const struct session *s = panel->view->console ? panel->view->console->session : NULL;
    (void)w;
    (void)h;
    if (!s)
        return true;
    if (!p->line && !list_program(p, s, err))
        return false;
    if (!list_stops(p, s, err))
        return false;
    for (int i = 0; i < p->n; i++)
        if (p->line[i].op >= 0)
            look_at(&p->line[i], s);
    bool moved = p->op != s->op || p->position != s->position || p->has_prompt != s->has_prompt;
    p->has_prompt = s->has_prompt;
    p->position = s->position;
    p->op = s->op;
    p->current = -1;
    for (int i = 0; s->has_prompt && i < p->n && p->line[i].op <= s->op; i++)
        if (p->line[i].op >= 0)
            p->current = i;
    if (moved && p->current >= 0) {
        p->at = p->current;
        p->folded[p->line[p->at].section] = false;
    }
    return true;
}
