/* here.c - what the loop shows of the session, copied while the worker is idle. */
#include "tui/app_parts.h"

#include "engine/debug/place.h"

/* A number that changes whenever a patch is set, taken away or switched. */
static uint64_t mark_patches(const struct session *s)
{
    uint64_t x = (uint64_t)s->patches.last_id;
    for (int i = 0; i < s->patches.n; i++)
        x = (x ^ (uint64_t)(2 * s->patches.list[i].id + s->patches.list[i].enabled)) *
            1099511628211u;
    return x;
}

/* Copies what the loop shows of the session. */
void here_look(struct app *a)
{
    struct session *s = &a->session;
    const struct program *p = &s->model.program;
    struct selection *sel = &a->view.selection;
    struct here *h = &a->here;
    bool moved = h->position != s->position || h->op != s->op || h->has_prompt != s->has_prompt;
    h->has_prompt = s->has_prompt;
    h->position = s->position;
    h->op = s->op;
    h->n_ids = s->trace.n_ids;
    h->site[0] = '\0';
    text_clear(&h->token);
    if (s->has_prompt) {
        int op = s->op;
        while (op >= 0 && !p->ops[op].site)
            op--;
        if (op >= 0)
            site_name(p->ops[op].site, p->ops[op].layer, h->site);
        place_add_token(&h->token, s, s->trace.ids[s->position], NULL);
    }
    if (moved && s->has_prompt) {
        int section = s->op < 0 ? 0 : program_section(p, s->op);
        /* Whoever moves on wants to see where to, unless attn has chosen the layer. */
        sel->position = s->position;
        sel->follow = !a->pinned;
        if (sel->follow)
            sel->layer = section < 0 ? 0 : section >= p->n_layers ? p->n_layers - 1 : section;
    }
    if (sel->position >= h->n_ids)
        sel->position = h->n_ids > 0 ? h->n_ids - 1 : 0;
    uint64_t mark = mark_patches(s);
    if (mark != a->patches_mark)
        a->view.edits++;
    a->patches_mark = mark;
    a->view.version++;
}
