/* attention.c - where heads look: all of a layer small, the chosen ones large, or as edges. */
#include "tui/panels/attention_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool open_panel(struct panel *p, struct error *err)
{
    struct attention_panel *a = (struct attention_panel *)p;
    struct ledger *l = p->view->ledger;
    (void)err;
    scan_init(&a->strip, l);
    scan_init(&a->large, l);
    scan_init(&a->list, l);
    return true;
}

static void close_panel(struct panel *p)
{
    struct attention_panel *a = (struct attention_panel *)p;
    struct ledger *l = p->view->ledger;
    scan_fini(&a->strip);
    scan_fini(&a->large);
    scan_fini(&a->list);
    mem_free(l, a->labels);
    mem_free(l, a->edges);
    mem_free(l, a->edge_labels);
}

/* ---- placing ---- */

static void place_strip(struct attention_panel *a, int w, int h)
{
    const struct theme *t = a->base.view->theme;
    struct attention_place *p = &a->place;
    int per_line = heatmap_rows(t, 1);
    if (h < 4)
        return;
    if (h < 9 || w < 12) { /* a line of numbers, each as wide as the widest */
        p->tile_w = a->n_heads > 100 ? 5 : a->n_heads > 10 ? 4 : 3;
        p->per_row = w / p->tile_w > 0 ? w / p->tile_w : 1;
        p->strip_rows = p->strip_h = 1;
    } else {
        p->tile_w = numeric_clamp(w / a->n_heads - 1, 5, 14);
        p->tile_h = numeric_clamp((p->tile_w + 1) / 2, 2, h / 5 > 2 ? h / 5 : 2);
        p->tile_h = numeric_least(p->tile_h, (a->n + per_line - 1) / per_line);
        p->per_row = w / (p->tile_w + 1) > 0 ? w / (p->tile_w + 1) : 1;
        int needed = (a->n_heads + p->per_row - 1) / p->per_row;
        int room = h / 3 / (p->tile_h + 1);
        p->strip_rows = numeric_least(needed, room > 0 ? room : 1);
        p->strip_h = p->strip_rows * (p->tile_h + 1);
    }
    int needed = (a->n_heads + p->per_row - 1) / p->per_row;
    a->strip_top = numeric_scroll(a->strip_top, a->head / p->per_row, needed, p->strip_rows);
    p->first_head = a->strip_top * p->per_row;
    p->n_tiles = numeric_least(a->n_heads - p->first_head, p->strip_rows * p->per_row);
}

static void place_maps(struct attention_panel *a, int w)
{
    const struct theme *t = a->base.view->theme;
    struct attention_place *p = &a->place;
    int queries = a->q1 - a->q0, keys = a->k1 - a->k0;
    p->n_maps = numeric_clamp(numeric_least(a->n_chosen, w / 16), 1, MAPS_MOST);
    p->each_w = w / p->n_maps;
    p->label_w = p->each_w >= 24 ? 8 : p->each_w >= 12 ? 4 : 0;
    p->head_h = p->h >= 6 ? 2 : p->h >= 3 ? 1 : 0;
    int room_w = p->each_w - p->label_w - (p->n_maps > 1), room_h = p->h - p->head_h;
    if (room_w < 1 || room_h < 1)
        return;
    p->columns = numeric_least(keys, room_w);
    p->rows = numeric_least(queries, heatmap_rows(t, room_h));
    int cell_w = numeric_least(room_w / p->columns, 8);
    p->map_w = p->columns * cell_w;
    if (p->rows > room_h) {
        p->map_h = (p->rows + 1) / 2;
    } else {
        /* A character is twice as high as it is wide. */
        int lines = numeric_clamp(cell_w / 2, 1, room_h / p->rows);
        p->map_h = p->rows * lines;
    }
}

static void place(struct attention_panel *a, int w, int h)
{
    struct attention_place *p = &a->place;
    *p = (struct attention_place){.info = h >= 2};
    place_strip(a, w, h);
    p->y = p->strip_h;
    p->h = h - p->strip_h - p->info;
    if (a->mode == ATTENTION_MAP)
        place_maps(a, w);
}

/* Which heads are large: the chosen ones, or else the one under the cursor. */
static void choose_maps(struct attention_panel *a, int w)
{
    const struct selection *sel = &a->base.view->selection;
    int most = numeric_clamp(w / 16, 1, MAPS_MOST), from = 0, seen = 0;
    a->n_chosen = 0;
    for (int i = 0; sel->large && i < a->n_heads; i++) {
        from = sel->large[i] && i < a->head ? from + 1 : from;
        a->n_chosen += sel->large[i];
    }
    /* More than fit: those around the cursor's. */
    from = numeric_clamp(from - most / 2, 0, a->n_chosen - most);
    for (int i = 0, k = 0; a->n_chosen && i < a->n_heads && k < most; i++)
        if (sel->large[i] && seen++ >= from)
            a->maps[k++] = i;
    if (a->n_chosen == 0) {
        a->maps[0] = a->head;
        a->n_chosen = 1;
    }
}

/* ---- reading ---- */

static bool read_labels(struct attention_panel *a, const struct session *s, uint64_t stamp,
                        struct error *err)
{
    const struct attention_place *p = &a->place;
    int64_t of[] = {(int64_t)stamp, p->rows, p->columns, a->q0, a->q1, a->k0, a->k1};
    uint64_t mark = 1;
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++)
        mark = (mark ^ (uint64_t)of[i]) * 1099511628211u;
    bool ok = numeric_label(s, s->trace.ids[a->query], a->query_label, err) &&
              numeric_label(s, s->trace.ids[a->key], a->key_label, err);
    if (!ok || (a->labels && a->labels_of == mark))
        return ok;
    mem_free(s->ledger, a->labels);
    a->labels =
        mem_alloc_array(s->ledger, MEM_VIEWS, (size_t)(p->rows + p->columns), LABEL_BYTES, err);
    a->label_rows = a->labels ? p->rows : 0;
    a->label_columns = a->labels ? p->columns : 0;
    if (!a->labels)
        return false;
    for (int i = 0; ok && i < p->rows; i++)
        ok = numeric_label(s, s->trace.ids[a->q0 + heatmap_first(i, a->q1 - a->q0, p->rows)],
                           a->labels[i], err);
    for (int i = 0; ok && i < p->columns; i++)
        ok = numeric_label(s, s->trace.ids[a->k0 + heatmap_first(i, a->k1 - a->k0, p->columns)],
                           a->labels[p->rows + i], err);
    a->labels_of = ok ? mark : 0;
    return ok;
}

static bool read_strip(struct attention_panel *a, struct session *s, uint64_t stamp,
                       double deadline, struct error *err)
{
    const struct attention_place *p = &a->place;
    const struct theme *t = a->base.view->theme;
    if (p->tile_h == 0 || p->n_tiles == 0) {
        scan_fini(&a->strip);
        return true;
    }
    int *heads = mem_alloc_array(s->ledger, MEM_VIEWS, (size_t)p->n_tiles, sizeof *heads, err);
    if (!heads)
        return false;
    for (int i = 0; i < p->n_tiles; i++)
        heads[i] = p->first_head + i;
    struct scan_spec spec = {.stamp = stamp, .layer = a->layer, .n_heads = p->n_tiles};
    spec.region = (struct map_region){.q1 = a->n,
                                      .k1 = a->n,
                                      .rows = numeric_least(a->n, heatmap_rows(t, p->tile_h)),
                                      .columns = numeric_least(a->n, p->tile_w)};
    bool ok = scan_set(&a->strip, s, &spec, heads, err) &&
              scan_run(&a->strip, s, deadline, &a->reading, err);
    mem_free(s->ledger, heads);
    return ok;
}

static bool read_maps(struct attention_panel *a, struct session *s, uint64_t stamp, double deadline,
                      struct error *err)
{
    const struct attention_place *p = &a->place;
    if (p->columns == 0)
        return true;
    struct scan_spec spec = {.stamp = stamp, .layer = a->layer, .n_heads = p->n_maps};
    spec.region = (struct map_region){a->q0, a->q1, a->k0, a->k1, p->rows, p->columns};
    return read_labels(a, s, stamp, err) && scan_set(&a->large, s, &spec, a->maps, err) &&
           scan_run(&a->large, s, deadline, &a->reading, err);
}

static int by_weight(const void *x, const void *y)
{
    const struct edge *a = x, *b = y;
    bool nan_a = isnan(a->weight), nan_b = isnan(b->weight);
    if (nan_a != nan_b)
        return nan_a ? -1 : 1;
    if (!nan_a && a->weight != b->weight)
        return a->weight > b->weight ? -1 : 1;
    return a->at - b->at;
}

static bool read_edges(struct attention_panel *a, struct session *s, uint64_t stamp,
                       double deadline, struct error *err)
{
    bool from = a->mode == ATTENTION_FROM;
    struct scan_spec spec = {.stamp = stamp, .layer = a->layer, .n_heads = 1};
    struct map_region *r = &spec.region;
    r->q0 = from ? a->query : a->key;
    r->q1 = from ? a->query + 1 : a->n;
    r->k0 = from ? 0 : a->key;
    r->k1 = from ? a->query + 1 : a->key + 1;
    r->rows = r->q1 - r->q0;
    r->columns = r->k1 - r->k0;
    int n = r->rows * r->columns, room = a->place.h - 1;
    a->n_edges = a->n_edge_labels = 0;
    a->edges_of = a->mode;
    if (!numeric_label(s, s->trace.ids[a->query], a->query_label, err) ||
        !numeric_label(s, s->trace.ids[a->key], a->key_label, err) ||
        !scan_set(&a->list, s, &spec, &a->head, err) ||
        !scan_run(&a->list, s, deadline, &a->reading, err))
        return false;
    struct edge *edges = mem_resize(s->ledger, MEM_VIEWS, a->edges, (size_t)n * sizeof *edges, err);
    if (!edges)
        return false;
    a->edges = edges;
    for (int i = 0; i < n; i++) /* what was not read yet, or cannot be seen, is no edge */
        if (!(isinf(a->list.map.cells[i]) && a->list.map.cells[i] < 0))
            edges[a->n_edges++] = (struct edge){(from ? 0 : a->key) + i, a->list.map.cells[i]};
    qsort(edges, (size_t)a->n_edges, sizeof *edges, by_weight);
    a->edge_at = numeric_clamp(a->edge_at, 0, a->n_edges - 1);
    a->edge_top = numeric_scroll(a->edge_top, a->edge_at, a->n_edges, room);
    mem_free(s->ledger, a->edge_labels);
    room = numeric_clamp(room, 0, a->n_edges - a->edge_top);
    a->edge_labels = mem_alloc_array(s->ledger, MEM_VIEWS, (size_t)room + 1, LABEL_BYTES, err);
    bool ok = a->edge_labels != NULL;
    for (int i = 0; ok && i < room; i++)
        ok = numeric_label(s, s->trace.ids[edges[a->edge_top + i].at], a->edge_labels[i], err);
    a->n_edges = ok ? a->n_edges : 0;
    a->n_edge_labels = ok ? room : 0;
    return ok;
}

static bool refresh(struct panel *panel, int w, int h, struct error *err)
{
    struct attention_panel *a = (struct attention_panel *)panel;
    struct selection *sel = &panel->view->selection;
    double deadline = numeric_seconds() + REFRESH_SECONDS;
    struct error why;
    panel->more = a->reading = false;
    struct session *s = numeric_session(panel->view, a->words);
    if (!s)
        return true;
    a->n_layers = s->model.program.n_layers;
    a->n_heads = s->model.config.n_heads;
    a->layer = sel->layer = numeric_clamp(sel->layer, 0, a->n_layers - 1);
    a->head = sel->head = numeric_clamp(sel->head, 0, a->n_heads - 1);
    int op = program_find(&s->model.program, SITE_PATTERN, a->layer);
    a->known = op < 0 ? 0 : session_known(s, op);
    if (op < 0) {
        snprintf(a->words, sizeof a->words, "layer %d has no attention pattern", a->layer);
        return true;
    }
    if (a->known == 0 && !session_has(s, 0, op, &why)) {
        snprintf(a->words, sizeof a->words, "%.290s", why.text);
        return true;
    }
    if (a->n != s->trace.n_ids)
        a->zoomed = a->zoomed && a->q1 <= s->trace.n_ids && a->k1 <= s->trace.n_ids;
    a->n = s->trace.n_ids;
    a->position = s->position;
    a->query = numeric_clamp(sel->position, 0, a->n - 1);
    a->key = numeric_clamp(a->key, 0, a->n - 1);
    if (!a->zoomed) {
        a->q0 = a->k0 = 0;
        a->q1 = a->k1 = a->n;
    }
    choose_maps(a, w);
    place(a, w, h);
    uint64_t stamp = numeric_stamp(panel->view);
    bool ok = a->mode == ATTENTION_MAP ? read_maps(a, s, stamp, deadline, err)
                                       : read_edges(a, s, stamp, deadline, err);
    const struct map *m = a->mode == ATTENTION_MAP ? &a->large.map : &a->list.map;
    a->read = m->next;
    a->read_of = a->reading ? m->region.q1 : 0;
    if (ok && !a->reading)
        ok = read_strip(a, s, stamp, deadline, err);
    panel->more = ok && a->reading;
    return ok;
}

/* ---- the panel ---- */

static void title(const struct panel *p, struct text *out)
{
    const struct attention_panel *a = (const struct attention_panel *)p;
    text_printf(out, "attention  L%d  H%d", a->layer, a->head);
    if (a->zoomed && a->mode == ATTENTION_MAP)
        text_printf(out, "  q %d-%d k %d-%d", a->q0, a->q1 - 1, a->k0, a->k1 - 1);
    if (a->n_chosen > a->place.n_maps && a->mode == ATTENTION_MAP)
        text_printf(out, "  +%d more", a->n_chosen - a->place.n_maps);
    if (a->reading && a->read_of > 0)
        text_printf(out, "  reading %d of %d", a->read, a->read_of);
    else if (a->reading)
        text_add(out, "  reading");
}

static const struct key_help keys[] = {
    {"h j k l", "move: query and key"},
    {"< >", "head"},
    {"Space", "show the head large, or not"},
    {"[ ]", "layer"},
    {"f", "follow the debugger's cursor"},
    {"o", "map / edges of this query / into this key"},
    {"+ - 0", "zoom in, out, whole prompt"},
    {"e", "edit the weight"},
    {"b", "break when the head looks hard"},
    {"Enter", "go to the query; of a list: to the edge"},
    {NULL, NULL},
};

const struct panel_kind panel_attention = {
    .name = "attention",
    .size = sizeof(struct attention_panel),
    .min_w = 16,
    .min_h = 4,
    .open = open_panel,
    .close = close_panel,
    .refresh = refresh,
    .draw = attention_draw,
    .title = title,
    .key = attention_key,
    .mouse = attention_mouse,
    .keys = keys,
};
