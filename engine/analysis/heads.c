#include "engine/analysis/heads.h"

#include <string.h>

#define TILE_FLOATS ((size_t)1 << 20) /* of patterns held at a time */

struct counts {
    int previous, duplicate, induction; /* queries that have such keys */
};

/* Which of these a query at t has, alike for all heads. */
static void count_query(const int32_t *ids, int t, struct counts *n)
{
    bool duplicate = false, induction = false;
    for (int s = 0; s < t; s++)
        if (ids[s] == ids[t]) {
            duplicate = true;
            induction = induction || s + 1 < t;
        }
    n->previous += t > 0;
    n->duplicate += duplicate;
    n->induction += induction;
}

static void add_row(const int32_t *ids, int t, const float *pattern, struct head_scores *score)
{
    if (t > 0)
        score->previous += (double)pattern[t - 1];
    for (int s = 0; s < t; s++)
        if (ids[s] == ids[t]) {
            score->duplicate += (double)pattern[s];
            if (s + 1 < t)
                score->induction += (double)pattern[s + 1];
        }
}

bool heads_score(struct trace *t, int n, struct head_scores *out, struct error *err)
{
    const struct program *p = &t->model->program;
    int H = t->model->config.n_heads, L = p->n_layers;
    size_t row = (size_t)H * (size_t)n;
    int tile = TILE_FLOATS / row > 0 ? (int)(TILE_FLOATS / row) : 1;
    tile = tile < n ? tile : n;
    float *patterns =
        mem_alloc_array(t->ledger, MEM_VIEWS, row * (size_t)tile, sizeof *patterns, err);
    if (!patterns)
        return false;
    memset(out, 0, (size_t)L * (size_t)H * sizeof *out);
    struct counts counts = {0};
    for (int pos = 0; pos < n; pos++)
        count_query(t->ids, pos, &counts);
    bool ok = true;
    for (int l = 0; l < L; l++) {
        int op = program_find(p, SITE_PATTERN, l);
        for (int r = 0; ok && op >= 0 && r < n; r += tile) {
            int rows = n - r < tile ? n - r : tile;
            ok = trace_read(t, op, r, rows, 0, H, n, patterns, err);
            for (int i = 0; ok && i < H * rows; i++)
                add_row(t->ids, r + i % rows, patterns + (size_t)i * (size_t)n,
                        &out[l * H + i / rows]);
        }
    }
    for (int i = 0; i < L * H; i++) {
        out[i].previous /= counts.previous ? counts.previous : 1;
        out[i].duplicate /= counts.duplicate ? counts.duplicate : 1;
        out[i].induction /= counts.induction ? counts.induction : 1;
    }
    mem_free(t->ledger, patterns);
    return ok;
}
