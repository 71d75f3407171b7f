#include "tui/panels/panels.h"

#include <string.h>

/* In the order of Tab where a layout does not say otherwise. */
static const struct panel_kind *const kinds[] = {
    &panel_tokens, &panel_program, &panel_attention, &panel_residual, &panel_lens,
    &panel_top,    &panel_value,   &panel_memory,    &panel_points,   &panel_console,
};

int panels_count(void)
{
    return (int)(sizeof kinds / sizeof kinds[0]);
}

const struct panel_kind *panels_kind(int i)
{
    return kinds[i];
}

int panels_find(const char *name)
{
    for (int i = 0; i < panels_count(); i++)
        if (strcmp(kinds[i]->name, name) == 0)
            return i;
    return -1;
}

struct panel *panel_open(const struct panel_kind *k, struct view *v, struct error *err)
{
    struct panel *p = mem_alloc(v->ledger, MEM_VIEWS, k->size, err);
    if (!p)
        return NULL;
    p->kind = k;
    p->view = v;
    p->wants = true;
    if (k->open && !k->open(p, err)) {
        mem_free(v->ledger, p);
        return NULL;
    }
    return p;
}

void panel_close(struct panel *p)
{
    if (!p)
        return;
    if (p->kind->close)
        p->kind->close(p);
    mem_free(p->view->ledger, p);
}
