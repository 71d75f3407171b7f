#include "tui/panels/attention_scan.h"

#include "tui/panels/numeric.h"

#include <string.h>

#define STEP_MOST (1 << 20)

void scan_init(struct attention_scan *s, struct ledger *l)
{
    memset(s, 0, sizeof *s);
    s->ledger = l;
}

void scan_fini(struct attention_scan *s)
{
    map_close(&s->map);
    scan_init(s, s->ledger);
}

static bool same_region(const struct map_region *a, const struct map_region *b)
{
    return a->q0 == b->q0 && a->q1 == b->q1 && a->k0 == b->k0 && a->k1 == b->k1 &&
           a->rows == b->rows && a->columns == b->columns;
}

bool scan_set(struct attention_scan *s, struct session *session, const struct scan_spec *p,
              const int *heads, struct error *err)
{
    const struct scan_spec *o = &s->spec;
    if (s->map.cells && o->stamp == p->stamp && o->layer == p->layer &&
        same_region(&o->region, &p->region) && o->n_heads == p->n_heads &&
        memcmp(s->map.heads, heads, (size_t)p->n_heads * sizeof *heads) == 0)
        return true;
    scan_fini(s);
    if (!map_open(&s->map, &session->trace, p->layer, heads, p->n_heads, &p->region, err))
        return false;
    s->spec = *p;
    s->step = 8;
    return true;
}

bool scan_run(struct attention_scan *s, struct session *session, double deadline, bool *more,
              struct error *err)
{
    bool ok = true;
    while (ok && s->map.cells && !map_done(&s->map)) {
        double start = numeric_seconds();
        ok = map_read(&s->map, s->step, err);
        if (numeric_seconds() - start < REFRESH_SECONDS / 4 && s->step < STEP_MOST)
            s->step *= 2;
        if (ok && !map_done(&s->map) && !numeric_go_on(session, deadline, more, &ok, err))
            break;
    }
    return ok;
}

const float *scan_head(const struct attention_scan *s, int head)
{
    size_t each = (size_t)s->spec.region.rows * (size_t)s->spec.region.columns;
    for (int i = 0; s->map.cells && i < s->spec.n_heads; i++)
        if (s->map.heads[i] == head)
            return s->map.cells + (size_t)i * each;
    return NULL;
}
