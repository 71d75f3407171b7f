/* test_numeric_panels.c - attention, residual, lens and value: what they show is what trace_read
 * says, what they write into the prompt runs, and no key at no size harms them. */
#include "tui/panels/attention_parts.h"
#include "tui/panels/lens_parts.h"
#include "tui/panels/residual_parts.h"
#include "tui/panels/value_parts.h"

#include "engine/analysis/lens.h"
#include "engine/analysis/top.h"
#include "engine/model/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER "tests/golden/models"
#define TOKENS 13

struct fixture {
    struct ledger *ledger;
    struct session session;
    struct report report;
    struct console console;
    struct theme theme;
    struct view view;
    struct cells cells;
    struct text line, shown;
    volatile int interrupt;
    struct error err;
};

static void must(bool ok, const struct fixture *f)
{
    if (!ok)
        fail_msg("%s", f->err.text);
}

static bool nowhere(void *context, const char *s, size_t n, struct error *err)
{
    (void)context;
    (void)s;
    (void)n;
    (void)err;
    return true;
}

static void command(struct fixture *f, const char *line)
{
    must(console_run(&f->console, line, strlen(line), &f->err), f);
    f->view.version++;
    f->view.selection.position = f->session.position;
}

/* A long prompt: TOKENS ids again and again. */
static void open_model(struct fixture *f, const char *name, int n_ids)
{
    char path[300];
    static const int32_t some[TOKENS] = {3, 7, 1, 3, 7, 1, 9, 3, 3, 2, 7, 1, 4};
    int32_t *ids = malloc((size_t)n_ids * sizeof *ids);
    memset(f, 0, sizeof *f);
    for (int i = 0; i < n_ids; i++)
        ids[i] = some[(i + i / TOKENS) % TOKENS];
    snprintf(path, sizeof path, FOLDER "/%s", name);
    f->ledger = ledger_open();
    must(session_open(&f->session, f->ledger, path, &(struct session_options){.n_threads = 1},
                      &f->err),
         f);
    f->session.trace.interrupt = &f->interrupt;
    report_init(&f->report, f->ledger, false, nowhere, f);
    console_init(&f->console, &f->session, &f->report);
    theme_init(&f->theme, 256, true, NULL, NULL);
    f->view = (struct view){.ledger = f->ledger, .console = &f->console, .theme = &f->theme};
    f->view.selection.large = mem_alloc_array(
        f->ledger, MEM_VIEWS, (size_t)f->session.model.config.n_heads, sizeof(bool), &f->err);
    must(cells_init(&f->cells, f->ledger, 80, 24, &f->err), f);
    text_init(&f->line, f->ledger, MEM_VIEWS);
    text_init(&f->shown, f->ledger, MEM_VIEWS);
    if (n_ids > 0) {
        must(session_prompt_ids(&f->session, ids, n_ids, &f->err) &&
                 session_finish(&f->session, &f->err),
             f);
        f->view.selection.position = f->session.position;
    }
    free(ids);
}

static void close_model(struct fixture *f)
{
    text_fini(&f->line);
    text_fini(&f->shown);
    cells_fini(&f->cells);
    mem_free(f->ledger, f->view.selection.large);
    console_fini(&f->console);
    report_fini(&f->report);
    session_close(&f->session);
    assert_int_equal(ledger_close(f->ledger), 0);
}

/* panels.c is the app's, so that panels are opened here by hand. */
static struct panel *open_panel(struct fixture *f, const struct panel_kind *k)
{
    struct panel *p = mem_alloc(f->ledger, MEM_VIEWS, k->size, &f->err);
    if (!p) {
        fail_msg("%s", f->err.text);
        return NULL;
    }
    p->kind = k;
    p->view = &f->view;
    must(!k->open || k->open(p, &f->err), f);
    return p;
}

static void shut_panel(struct fixture *f, struct panel *p)
{
    p->kind->close(p);
    mem_free(f->ledger, p);
}

/* As the app does: until there is nothing more to read. The screen's text. */
static const char *show(struct fixture *f, struct panel *p, int w, int h)
{
    int rounds = 0;
    do {
        must(p->kind->refresh(p, w, h, &f->err), f);
        assert_true(++rounds < 100000);
    } while (p->more);
    p->w = w;
    p->h = h;
    must(cells_resize(&f->cells, w, h, &f->err), f);
    p->kind->draw(p, region_whole(&f->cells), true);
    text_clear(&f->shown);
    text_add(&f->shown, "");
    cells_add_text(&f->cells, &f->shown);
    return f->shown.data;
}

static enum key_result press(struct fixture *f, struct panel *p, int key)
{
    text_clear(&f->line);
    return p->kind->key(p, key, &f->line);
}

static void row_text(struct fixture *f, int y, struct text *t)
{
    text_clear(t);
    text_add(t, "");
    cells_add_row(&f->cells, y, t);
}

static void read_at(struct fixture *f, enum site site, int layer, int position, float *out)
{
    int op = program_find(&f->session.model.program, site, layer);
    must(trace_read(&f->session.trace, op, position, 1, 0, f->session.model.config.n_heads,
                    position + 1, out, &f->err),
         f);
}

static double norm(const float *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* ---- attention ---- */

/* The weight under the cursor, in the last line, at every query and key. */
static void test_attention_values(void **state)
{
    struct fixture f;
    open_model(&f, *state, TOKENS);
    struct panel *p = open_panel(&f, &panel_attention);
    struct attention_panel *a = (struct attention_panel *)p;
    int layer = f.session.model.program.n_layers - 1, H = f.session.model.config.n_heads;
    float *row = malloc((size_t)H * TOKENS * sizeof *row);
    char number[NUMBER_BYTES];
    f.view.selection.layer = layer;
    for (int q = 0; q < TOKENS; q++) {
        read_at(&f, SITE_PATTERN, layer, q, row);
        for (int k = 0; k < TOKENS; k++) {
            f.view.selection.position = q;
            f.view.selection.head = (q + k) % H;
            a->key = k;
            show(&f, p, 90, 30);
            row_text(&f, 29, &f.shown);
            const char *want =
                k > q ? "not seen"
                      : numeric_format((double)row[f.view.selection.head * (q + 1) + k], 7, number);
            if (strncmp(f.shown.data, want, strlen(want)) != 0)
                fail_msg("query %d, key %d: \"%s\" instead of %s", q, k, f.shown.data, want);
        }
    }
    free(row);
    shut_panel(&f, p);
    close_model(&f);
}

/* More tokens than cells: each cell holds the largest of what it stands for, and the small maps
 * those of all heads; a few rows at a time and all at once. */
static void test_attention_pooled(void **state)
{
    enum { N = 120 };
    struct fixture f;
    open_model(&f, *state, N);
    struct panel *p = open_panel(&f, &panel_attention);
    struct attention_panel *a = (struct attention_panel *)p;
    int H = f.session.model.config.n_heads,
        op = program_find(&f.session.model.program, SITE_PATTERN, 0);
    float *all = malloc((size_t)H * N * N * sizeof *all);
    must(trace_read(&f.session.trace, op, 0, N, 0, H, N, all, &f.err), &f);
    show(&f, p, 60, 20);
    struct attention_scan *scans[] = {&a->large, &a->strip};
    assert_true(a->strip.spec.n_heads > 0 && a->large.spec.region.rows < N);
    for (int i = 0; i < 2; i++) {
        const struct map_region *s = &scans[i]->spec.region;
        for (int h = 0; h < scans[i]->spec.n_heads; h++)
            for (int r = 0; r < s->rows; r++)
                for (int c = 0; c < s->columns; c++) {
                    float most = -INFINITY;
                    for (int q = r * N / s->rows; q < (r + 1) * N / s->rows; q++)
                        for (int k = c * N / s->columns; k < (c + 1) * N / s->columns; k++)
                            if (k <= q)
                                most = fmaxf(most, all[(scans[i]->map.heads[h] * N + q) * N + k]);
                    float got = scans[i]->map.cells[(h * s->rows + r) * s->columns + c];
                    if (got != most && !(isinf(got) && isinf(most)))
                        fail_msg("scan %d head %d cell %d %d: %g instead of %g", i, h, r, c,
                                 (double)got, (double)most);
                }
    }
    free(all);
    shut_panel(&f, p);
    close_model(&f);
}

static void test_attention_edges(void **state)
{
    struct fixture f;
    open_model(&f, *state, TOKENS);
    struct panel *p = open_panel(&f, &panel_attention);
    struct attention_panel *a = (struct attention_panel *)p;
    int H = f.session.model.config.n_heads,
        op = program_find(&f.session.model.program, SITE_PATTERN, 0);
    float *all = malloc((size_t)H * TOKENS * TOKENS * sizeof *all);
    must(trace_read(&f.session.trace, op, 0, TOKENS, 0, H, TOKENS, all, &f.err), &f);
    f.view.selection.head = H - 1;
    f.view.selection.position = 9;
    a->key = 2;
    show(&f, p, 60, 20);
    for (int mode = ATTENTION_FROM; mode <= ATTENTION_INTO; mode++) {
        assert_int_equal(press(&f, p, 'o'), KEY_REFRESH);
        show(&f, p, 60, 20);
        assert_int_equal(a->mode, mode);
        assert_int_equal(a->n_edges, mode == ATTENTION_FROM ? 10 : TOKENS - 2);
        for (int i = 0; i < a->n_edges; i++) {
            const struct edge *e = &a->edges[i];
            int q = mode == ATTENTION_FROM ? 9 : e->at, k = mode == ATTENTION_FROM ? e->at : 2;
            assert_true(e->weight == all[((H - 1) * TOKENS + q) * TOKENS + k]);
            assert_true(i == 0 || e->weight <= a->edges[i - 1].weight);
        }
        /* The first line is the heaviest. */
        char number[NUMBER_BYTES];
        row_text(&f, a->place.y + 1, &f.shown);
        assert_non_null(
            strstr(f.shown.data, numeric_probability((double)a->edges[0].weight, number)));
    }
    assert_int_equal(press(&f, p, KEY_RETURN), KEY_SHARED);
    assert_int_equal(a->mode, ATTENTION_MAP);
    assert_int_equal(f.view.selection.position, a->edges[0].at);
    free(all);
    shut_panel(&f, p);
    close_model(&f);
}

/* What keys write into the prompt runs, and does what it says. */
static void test_attention_commands(void **state)
{
    struct fixture f;
    open_model(&f, *state, TOKENS);
    struct panel *p = open_panel(&f, &panel_attention);
    struct attention_panel *a = (struct attention_panel *)p;
    int H = f.session.model.config.n_heads;
    float *row = malloc((size_t)H * TOKENS * sizeof *row);
    f.view.selection.head = H - 1;
    for (int q = TOKENS - 1; q > 3; q -= 4) {
        f.view.selection.position = q;
        a->key = 2;
        show(&f, p, 60, 20);
        assert_int_equal(press(&f, p, 'e'), KEY_PROMPT);
        assert_int_equal(strncmp(f.line.data, q == TOKENS - 1 ? "set " : "patch ", 4), 0);
        read_at(&f, SITE_PATTERN, 0, q, row);
        assert_true(row[(H - 1) * (q + 1) + 2] != 0);
        command(&f, f.line.data);
        read_at(&f, SITE_PATTERN, 0, q, row);
        assert_true(row[(H - 1) * (q + 1) + 2] == 0);
        f.view.selection.position = q;
        show(&f, p, 60, 20); /* and it is seen at once */
        row_text(&f, 19, &f.shown);
        assert_int_equal(strncmp(f.shown.data, "0 ", 2), 0);
    }
    assert_int_equal(press(&f, p, 'b'), KEY_PROMPT);
    command(&f, f.line.data);
    assert_int_equal(f.session.breakpoints.n, 1);
    assert_int_equal(press(&f, p, KEY_RETURN), KEY_COMMAND);
    command(&f, f.line.data);
    assert_int_equal(f.session.position, a->query);
    free(row);
    shut_panel(&f, p);
    close_model(&f);
}

/* Stopped in the middle, the panel keeps what it has, and goes on from there. */
static void test_interrupted(void **state)
{
    static const struct panel_kind *const kinds[] = {&panel_attention, &panel_residual, &panel_lens,
                                                     &panel_value};
    struct fixture f;
    open_model(&f, *state, 100);
    for (size_t i = 0; i < 4; i++) {
        struct panel *p = open_panel(&f, kinds[i]), *q = open_panel(&f, kinds[i]);
        f.interrupt = 1;
        assert_false(p->kind->refresh(p, 80, 24, &f.err));
        assert_int_equal(f.err.code, ERR_INTERRUPTED);
        must(cells_resize(&f.cells, 80, 24, &f.err), &f);
        p->kind->draw(p, region_whole(&f.cells), false);
        f.interrupt = 0;
        char *want = strdup(show(&f, q, 80, 24));
        assert_string_equal(show(&f, p, 80, 24), want);
        free(want);
        shut_panel(&f, p);
        shut_panel(&f, q);
    }
    close_model(&f);
}

/* ---- residual ---- */

static void test_residual(void **state)
{
    struct fixture f;
    open_model(&f, *state, TOKENS);
    struct panel *p = open_panel(&f, &panel_residual);
    struct residual_panel *r = (struct residual_panel *)p;
    int L = f.session.model.program.n_layers, D = f.session.model.config.d_model;
    int V = f.session.model.config.n_vocab;
    float *x = malloc((size_t)D * sizeof *x), *last = malloc((size_t)D * sizeof *last),
          *logits = malloc((size_t)V * sizeof *logits);
    char number[NUMBER_BYTES];
    for (int pos = 0; pos < TOKENS; pos += 4) {
        f.view.selection.position = pos;
        show(&f, p, 80, 24);
        read_at(&f, SITE_RESID_POST, L - 1, pos, last);
        for (int l = 0; l < L; l++) {
            const struct residual_row *row = &r->row[l + 1];
            double dot = 0;
            read_at(&f, SITE_RESID_POST, l, pos, x);
            for (int i = 0; i < D; i++)
                dot += (double)x[i] * (double)last[i];
            assert_true(row->norm == norm(x, D));
            assert_float_equal(row->cosine, dot / norm(x, D) / norm(last, D), 1e-5);
            row_text(&f, 1 + l + 1, &f.shown);
            assert_non_null(strstr(f.shown.data, numeric_format(row->norm, 5, number)));
            read_at(&f, SITE_MLP_OUT, l, pos, x);
            assert_true(row->mlp == norm(x, D));
            dot = 0;
            for (int i = 0; i < D; i++)
                dot += (double)x[i] * (double)last[i];
            assert_float_equal(row->mlp_along, dot / norm(last, D), 1e-4);
            read_at(&f, SITE_ATTN_OUT, l, pos, x);
            assert_true(row->attn == norm(x, D));
        }
    }
    /* The maps, in the line under them. */
    for (int mode = RESIDUAL_NORM; mode < RESIDUAL_MODES; mode++) {
        press(&f, p, 'm');
        for (int pos = 0; pos < TOKENS; pos++) {
            f.view.selection.position = pos;
            f.view.selection.layer = pos % L;
            show(&f, p, 80, 24);
            assert_int_equal(r->line, pos % L + 1);
            read_at(&f, SITE_RESID_POST, pos % L, pos, x);
            must(lens_logits(&f.session.trace, x, 1, logits, &f.err), &f);
            struct top_entry best;
            int32_t target = f.session.trace.ids[pos + 1 < TOKENS ? pos + 1 : 0];
            char want[80];
            if (pos + 1 == TOKENS) {
                read_at(&f, SITE_RESID_POST, L - 1, pos, last);
                float *end = malloc((size_t)V * sizeof *end);
                must(lens_logits(&f.session.trace, last, 1, end, &f.err), &f);
                top_tokens(end, V, 1, &best);
                target = best.id;
                free(end);
            }
            if (mode == RESIDUAL_NORM)
                snprintf(want, sizeof want, "norm %s ",
                         numeric_format((double)(float)norm(x, D), 8, number));
            else if (mode == RESIDUAL_RANK)
                snprintf(want, sizeof want, "rank %d ", top_rank(logits, V, target));
            else
                snprintf(want, sizeof want, "p %s ",
                         numeric_probability(exp((double)logits[target] - top_log_sum(logits, V)),
                                             number));
            row_text(&f, 23, &f.shown);
            if (strncmp(f.shown.data, want, strlen(want)) != 0)
                fail_msg("mode %d, position %d: \"%s\" instead of %s", mode, pos, f.shown.data,
                         want);
        }
    }
    assert_int_equal(press(&f, p, KEY_RETURN), KEY_COMMAND);
    command(&f, f.line.data);
    assert_int_equal(f.session.position, TOKENS - 1);
    free(x);
    free(last);
    free(logits);
    shut_panel(&f, p);
    close_model(&f);
}

/* Ranks survive being kept as 1 / (1 + rank) in a float, for any vocabulary. */
static void test_ranks(void **state)
{
    (void)state;
    for (int rank = 0; rank < 300000; rank += rank < 100 ? 1 : 37)
        assert_true(residual_rank_of((double)(1.0f / (1.0f + (float)rank))) == rank);
}

/* ---- lens ---- */

/* e, on each line of the residual stream and of the lens, is a patch of what the line shows. */
static void test_edit_of_a_line(void **state)
{
    static const struct panel_kind *const kinds[] = {&panel_residual, &panel_lens};
    struct fixture f;
    open_model(&f, *state, TOKENS);
    int L = f.session.model.program.n_layers;
    for (int k = 0; k < 2; k++) {
        struct panel *p = open_panel(&f, kinds[k]);
        for (int l = 0; l < L; l++) {
            float x[4096];
            f.view.selection.position = 3;
            f.view.selection.layer = l;
            show(&f, p, 90, 24);
            assert_int_equal(press(&f, p, 'e'), KEY_PROMPT);
            text_add(&f.line, "zero");
            command(&f, f.line.data);
            read_at(&f, SITE_RESID_POST, l, 3, x);
            for (int i = 0; i < f.session.model.config.d_model; i++)
                assert_true(x[i] == 0);
            command(&f, "undo");
        }
        shut_panel(&f, p);
    }
    close_model(&f);
}

static void test_lens(void **state)
{
    struct fixture f;
    open_model(&f, *state, TOKENS);
    struct panel *p = open_panel(&f, &panel_lens);
    struct lens_panel *a = (struct lens_panel *)p;
    int L = f.session.model.program.n_layers, D = f.session.model.config.d_model;
    int V = f.session.model.config.n_vocab;
    float *x = malloc((size_t)D * sizeof *x), *logits = malloc((size_t)V * sizeof *logits);
    char number[NUMBER_BYTES];
    for (int pos = 1; pos < TOKENS - 1; pos += 3) {
        f.view.selection.position = pos;
        show(&f, p, 100, 24);
        for (int l = 0; l < L; l++) {
            struct top_entry best[LENS_CELLS];
            const struct lens_row *row = &a->now[2 * l + 1];
            read_at(&f, SITE_RESID_POST, l, pos, x);
            must(lens_logits(&f.session.trace, x, 1, logits, &f.err), &f);
            int n = top_tokens(logits, V, LENS_CELLS, best);
            assert_true(row->known && row->n == n);
            for (int i = 0; i < n; i++) {
                assert_int_equal(row->cell[i].id, best[i].id);
                assert_true(row->cell[i].p == (float)best[i].probability);
            }
            assert_int_equal(row->rank, top_rank(logits, V, f.session.trace.ids[pos + 1]));
            row_text(&f, 1 + l, &f.shown);
            assert_non_null(strstr(f.shown.data, numeric_probability(best[0].probability, number)));
        }
        assert_false(a->has_before);
    }
    /* Enter chooses a token, whose rank is then told. */
    f.view.selection.layer = L - 1;
    show(&f, p, 100, 24);
    assert_int_equal(press(&f, p, KEY_RETURN), KEY_SHARED);
    assert_true(f.view.selection.chosen);
    show(&f, p, 100, 24);
    assert_int_equal(a->target, a->now[2 * L - 1].cell[0].id);
    assert_int_equal(a->now[2 * L - 1].rank, 0);
    press(&f, p, 'x');
    show(&f, p, 100, 24);
    assert_int_equal(a->target, f.session.trace.ids[a->position + 1]);
    free(x);
    free(logits);
    shut_panel(&f, p);
    close_model(&f);
}

/* An edit: what changed is marked, with what was there before; taken back, it is seen again. */
static void test_lens_before_and_after(void **state)
{
    struct fixture f;
    open_model(&f, *state, TOKENS);
    struct panel *p = open_panel(&f, &panel_lens);
    struct lens_panel *a = (struct lens_panel *)p;
    int last = 2 * f.session.model.program.n_layers - 1;
    f.view.selection.layer = 0;
    assert_null(strchr(show(&f, p, 120, 24), '*'));
    struct lens_row old = a->now[last];
    command(&f, "patch 0.mlp_out scale 30");
    f.view.edits++;
    const char *text = show(&f, p, 120, 24);
    assert_true(a->has_before);
    assert_memory_equal(&a->before[last], &old, sizeof old);
    bool changed = false;
    for (int i = 0; i < a->n_cells; i++)
        changed = changed || lens_changed(a, last, i);
    assert_true(changed);
    assert_non_null(strchr(text, '*'));
    assert_non_null(strchr(text, '<'));
    /* Another look at the same keeps it; another position has no before. */
    f.view.version++;
    show(&f, p, 120, 24);
    assert_true(a->has_before);
    command(&f, "delete patch 1");
    f.view.edits++;
    show(&f, p, 120, 24);
    assert_memory_equal(&a->now[last].cell, &old.cell, sizeof old.cell);
    assert_true(a->has_before);
    f.view.selection.position = 2;
    show(&f, p, 120, 24);
    assert_false(a->has_before);
    shut_panel(&f, p);
    close_model(&f);
}

/* ---- value ---- */

/* Every site: the number under the cursor is the value's, and the edit written out runs. */
static void test_value(void **state)
{
    struct fixture f;
    open_model(&f, *state, TOKENS);
    struct panel *p = open_panel(&f, &panel_value);
    struct value_panel *v = (struct value_panel *)p;
    const struct program *program = &f.session.model.program;
    int H = f.session.model.config.n_heads, sites = 0;
    f.view.selection.position = 6;
    for (int op = 0; op < program->n_ops; op++) {
        const struct op *o = &program->ops[op];
        if (!o->site)
            continue;
        sites++;
        v->pinned = true;
        v->op = op;
        v->row = v->column = -1;
        show(&f, p, 70, 20);
        if (v->count == 0)
            fail_msg("op %d: %s", op, v->words);
        size_t n = trace_read_count(&f.session.trace, op, 1, H, 7);
        float *x = malloc(n * sizeof *x);
        must(trace_read(&f.session.trace, op, 6, 1, 0, H, 7, x, &f.err), &f);
        assert_int_equal(v->count, n);
        assert_memory_equal(v->data, x, n * sizeof *x);
        for (size_t i = 0; i < n; i += n / 5 + 1) {
            char want[64];
            v->at = (int)i;
            show(&f, p, 70, 20);
            row_text(&f, 19, &f.shown);
            snprintf(want, sizeof want, " = %.9g", (double)x[i]);
            assert_non_null(strstr(f.shown.data, want));
        }
        assert_int_equal(press(&f, p, 'e'), KEY_PROMPT);
        text_add(&f.line, "1.5");
        char *line = strdup(f.line.data);
        int at = v->at;
        command(&f, line);
        f.view.selection.position = 6;
        show(&f, p, 70, 20);
        if (v->data[at] != 1.5f)
            fail_msg("%s left %g", line, (double)v->data[at]);
        char undo[40];
        snprintf(undo, sizeof undo, "delete patch %d", f.session.patches.last_id);
        command(&f, undo);
        f.view.selection.position = 6;
        show(&f, p, 70, 20);
        assert_memory_equal(v->data, x, n * sizeof *x);
        free(line);
        free(x);
    }
    assert_true(sites > 10);
    shut_panel(&f, p);
    close_model(&f);
}

static void test_value_slices_and_statistics(void **state)
{
    struct fixture f;
    open_model(&f, *state, TOKENS);
    struct panel *p = open_panel(&f, &panel_value);
    struct value_panel *v = (struct value_panel *)p;
    int H = f.session.model.config.n_heads;
    float *x = malloc((size_t)H * TOKENS * sizeof *x);
    read_at(&f, SITE_PATTERN, 0, TOKENS - 1, x);
    v->pinned = true;
    v->op = program_find(&f.session.model.program, SITE_PATTERN, 0);
    show(&f, p, 70, 20);
    press(&f, p, 'a'); /* the heads */
    for (int h = 0; h < H; h++) {
        press(&f, p, '>');
        show(&f, p, 70, 20);
        assert_int_equal(v->count, TOKENS);
        assert_memory_equal(v->data, x + h * TOKENS, TOKENS * sizeof *x);
        assert_float_equal(v->summary.mean, 1.0 / TOKENS, 1e-6);
        long sum = 0;
        for (int i = 0; i < v->n_bins; i++)
            sum += v->bins[i];
        assert_int_equal(sum, TOKENS);
    }
    press(&f, p, 'v');
    assert_non_null(strstr(show(&f, p, 70, 20), "mean"));
    press(&f, p, 'a'); /* and one key of that head */
    press(&f, p, '>');
    press(&f, p, '>');
    show(&f, p, 70, 20);
    assert_int_equal(v->count, 1);
    assert_true(v->data[0] == x[(H - 1) * TOKENS + 1]);
    free(x);
    shut_panel(&f, p);
    close_model(&f);
}

/* ---- all ---- */

/* Before there is anything: words. */
static void test_nothing(void **state)
{
    static const struct panel_kind *const kinds[] = {&panel_attention, &panel_residual, &panel_lens,
                                                     &panel_value};
    struct fixture f;
    open_model(&f, *state, 0);
    for (size_t i = 0; i < 4; i++) {
        struct panel *p = open_panel(&f, kinds[i]);
        assert_non_null(strstr(show(&f, p, 60, 8), "no prompt yet"));
        shut_panel(&f, p);
    }
    int32_t ids[] = {3, 7, 1};
    must(session_prompt_ids(&f.session, ids, 3, &f.err), &f);
    f.view.version++;
    for (size_t i = 0; i < 3; i++) {
        struct panel *p = open_panel(&f, kinds[i]);
        assert_non_null(strstr(show(&f, p, 100, 8), "not computed yet"));
        shut_panel(&f, p);
    }
    struct panel *p = open_panel(&f, &panel_value);
    assert_non_null(strstr(show(&f, p, 100, 8), "before the first site"));
    shut_panel(&f, p);
    close_model(&f);
}

/* Each allocation of a refresh fails in turn: an error, and afterwards all is well. */
static void test_memory(void **state)
{
    static const struct panel_kind *const kinds[] = {&panel_attention, &panel_residual, &panel_lens,
                                                     &panel_value};
    struct fixture f;
    open_model(&f, *state, TOKENS);
    for (size_t i = 0; i < 4; i++)
        for (long k = 1;; k++) {
            struct panel *p = open_panel(&f, kinds[i]);
            for (int m = 0; i == 1 && m < k % 4; m++)
                press(&f, p, 'm');
            ledger_fail_after(f.ledger, k);
            bool ok = p->kind->refresh(p, 80, 24, &f.err);
            ledger_fail_after(f.ledger, 0);
            must(cells_resize(&f.cells, 80, 24, &f.err), &f);
            p->kind->draw(p, region_whole(&f.cells), false);
            show(&f, p, 80, 24);
            shut_panel(&f, p);
            if (ok && k > 20)
                break;
            assert_true(k < 2000);
        }
    close_model(&f);
}

/* What checkpoints keep, before and after memory got short. */
static void test_kept(void **state)
{
    struct fixture f;
    open_model(&f, *state, TOKENS);
    struct panel *p = open_panel(&f, &panel_memory);
    assert_non_null(strstr(show(&f, p, 60, 20), "every layer"));
    for (int i = 0; i < 2; i++) { /* the second time there is no budget left */
        ledger_set_budget(f.ledger, i ? PLAN_CHECKPOINTS_PART * 16 : 0);
        trace_invalidate(&f.session.trace, 0, 1);
        must(trace_compute(&f.session.trace, TOKENS, &f.err), &f);
    }
    ledger_set_budget(f.ledger, 0);
    assert_non_null(strstr(show(&f, p, 60, 20), "every 2 layers"));
    mem_free(f.ledger, p);
    close_model(&f);
}

/* Weights that a device has a copy of are counted once, as in the total: what is mapped is told
 * on a line of its own. */
static void test_weights_once(void **state)
{
    struct fixture f;
    char size[24], line[80];
    size_t bytes = (size_t)3 << 30;
    open_model(&f, *state, TOKENS);
    size_t mapped = ledger_now(f.ledger, MEM_WEIGHTS, MEM_MAPPED);
    size_t host = ledger_now(f.ledger, MEM_WEIGHTS, MEM_HOST);
    assert_true(mapped > 0);
    struct panel *p = open_panel(&f, &panel_memory);
    snprintf(line, sizeof line, "%-12s%10s ", "weights", mem_format(mapped + host, size));
    assert_non_null(strstr(show(&f, p, 60, 20), line));
    must(ledger_take(f.ledger, MEM_WEIGHTS, MEM_DEVICE, bytes, &f.err), &f);
    snprintf(line, sizeof line, "%-12s%10s ", "weights", mem_format(bytes + host, size));
    assert_non_null(strstr(show(&f, p, 60, 20), line));
    snprintf(line, sizeof line, "%-12s%10s", "mapped", mem_format(mapped, size));
    assert_non_null(strstr(show(&f, p, 60, 20), line));
    ledger_give(f.ledger, MEM_WEIGHTS, MEM_DEVICE, bytes);
    mem_free(f.ledger, p);
    close_model(&f);
}

/* Any keys, sizes, themes and steps in between. */
static void test_random(void **state)
{
    static const struct panel_kind *const kinds[] = {&panel_attention, &panel_residual, &panel_lens,
                                                     &panel_value};
    static const int some[] = {KEY_UP_ARROW,
                               KEY_DOWN_ARROW,
                               KEY_LEFT_ARROW,
                               KEY_RIGHT_ARROW,
                               KEY_PAGE_UP,
                               KEY_PAGE_DOWN,
                               KEY_HOME_KEY,
                               KEY_END_KEY,
                               KEY_RETURN,
                               ' ',
                               '+',
                               '-'};
    static const char *const commands[] = {
        "step", "next", "token", "rs", "finish", "patch 0.z zero", "goto 0 0.resid_pre"};
    static const int colours[] = {256, 16, 8, 0};
    struct fixture f;
    open_model(&f, *state, 30);
    struct panel *p[4];
    for (int i = 0; i < 4; i++)
        p[i] = open_panel(&f, kinds[i]);
    srand(11);
    for (int i = 0; i < 1500; i++) {
        struct panel *q = p[rand() % 4];
        int w = 1 + rand() % (i % 3 ? 60 : 180), h = 1 + rand() % (i % 3 ? 16 : 60);
        if (i % 40 == 0)
            theme_init(&f.theme, colours[i / 40 % 4], i / 160 % 2, NULL, NULL);
        if (i % 25 == 0) {
            const char *line = commands[rand() % 7];
            console_run(&f.console, line, strlen(line), &f.err);
            f.view.version++;
        }
        for (int k = rand() % 6; k > 0; k--) {
            int key = rand() % 3 ? 32 + rand() % 95 : some[rand() % 12];
            press(&f, q, key);
            text_clear(&f.line);
            q->kind->title(q, &f.line);
            if (q->kind->mouse)
                q->kind->mouse(q, (enum mouse_action)(rand() % 4), rand() % w, rand() % h, &f.line);
            if (q->kind->search)
                q->kind->search(q, "#1", k % 2);
        }
        /* A frame of another size may come before the refresh. */
        must(cells_resize(&f.cells, 1 + rand() % 90, 1 + rand() % 30, &f.err), &f);
        q->kind->draw(q, region_whole(&f.cells), true);
        show(&f, q, w, h);
    }
    for (int i = 0; i < 4; i++)
        shut_panel(&f, p[i]);
    close_model(&f);
}

int main(void)
{
    static char llama[] = "llama", gpt2[] = "gpt2", pythia[] = "pythia", qwen3[] = "qwen3",
                window[] = "qwen3-window", phi3[] = "phi3";
    const struct CMUnitTest tests[] = {
        {"attention values, llama", test_attention_values, NULL, NULL, llama},
        {"attention values, window", test_attention_values, NULL, NULL, window},
        {"attention pooled, window", test_attention_pooled, NULL, NULL, window},
        {"attention edges", test_attention_edges, NULL, NULL, phi3},
        {"attention commands", test_attention_commands, NULL, NULL, gpt2},
        {"interrupted", test_interrupted, NULL, NULL, llama},
        {"residual, llama", test_residual, NULL, NULL, llama},
        {"residual, pythia", test_residual, NULL, NULL, pythia},
        {"ranks", test_ranks, NULL, NULL, NULL},
        {"lens, llama", test_lens, NULL, NULL, llama},
        {"lens, pythia", test_lens, NULL, NULL, pythia},
        {"edit of a line, gpt2", test_edit_of_a_line, NULL, NULL, gpt2},
        {"edit of a line, pythia", test_edit_of_a_line, NULL, NULL, pythia},
        {"lens, before and after", test_lens_before_and_after, NULL, NULL, gpt2},
        {"value, gpt2", test_value, NULL, NULL, gpt2},
        {"value, qwen3", test_value, NULL, NULL, qwen3},
        {"value, pythia", test_value, NULL, NULL, pythia},
        {"value, slices", test_value_slices_and_statistics, NULL, NULL, llama},
        {"nothing there", test_nothing, NULL, NULL, gpt2},
        {"what is kept", test_kept, NULL, NULL, llama},
        {"weights once", test_weights_once, NULL, NULL, llama},
        {"memory", test_memory, NULL, NULL, qwen3},
        {"random, gpt2", test_random, NULL, NULL, gpt2},
        {"random, pythia", test_random, NULL, NULL, pythia},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
