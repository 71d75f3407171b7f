/* test_analysis.c - attributions add up to the logit, the lens of the last residual is the logits,
 * heads are scored by what their patterns say: on every golden checkpoint. */
#include "engine/analysis/attribution.h"
#include "engine/analysis/heads.h"
#include "engine/analysis/lens.h"
#include "engine/debug/session.h"
#include "tests/support/checkpoints.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS 13

struct fixture {
    struct ledger *ledger;
    struct session s;
    struct error err;
};

static void must(bool ok, const struct fixture *f)
{
    if (!ok)
        fail_msg("%s", f->err.text);
}

static void open_model(struct fixture *f, const char *name)
{
    char path[300];
    /* Repetitions, so that there is something to be a duplicate of. */
    static const int32_t ids[TOKENS] = {3, 7, 1, 3, 7, 1, 9, 3, 3, 2, 7, 1, 4};
    memset(f, 0, sizeof *f);
    snprintf(path, sizeof path, CHECKPOINTS "/%s", name);
    f->ledger = ledger_open();
    must(session_open(&f->s, f->ledger, path, &(struct session_options){.n_threads = 1}, &f->err),
         f);
    must(session_prompt_ids(&f->s, ids, TOKENS, &f->err) && session_finish(&f->s, &f->err), f);
}

static void close_model(struct fixture *f)
{
    session_close(&f->s);
    assert_int_equal(ledger_close(f->ledger), 0);
}

/* The sum of the parts' sizes bounds how exactly they can add up in float32. */
static void assert_adds_up(struct fixture *f, int position, int32_t a, int32_t b)
{
    int n = attribution_count(&f->s.model);
    struct part *parts = calloc((size_t)n, sizeof *parts);
    double total, sum = 0, size = 0;
    must(attribution_compute(&f->s.trace, position, a, b, parts, &total, &f->err), f);
    for (int i = 0; i < n; i++) {
        sum += parts[i].logit;
        size += fabs(parts[i].logit);
    }
    if (fabs(sum - total) > 1e-5 * size)
        fail_msg("%s, position %d: the parts add up to %.9g, the logit is %.9g", f->s.model.name,
                 position, sum, total);
    free(parts);
}

static void test_model(void **state)
{
    struct fixture f;
    open_model(&f, *state);
    const struct config *c = &f.s.model.config;
    for (int pos = 0; pos < TOKENS; pos += 4) {
        assert_adds_up(&f, pos, 5, -1);
        assert_adds_up(&f, pos, c->n_vocab - 1, 2);
    }
    /* The lens of the last residual: the same ops, so the same bits. */
    int last = program_find(&f.s.model.program, SITE_RESID_POST, c->n_layers - 1);
    int logits = program_find(&f.s.model.program, SITE_LOGITS, 0);
    size_t d = (size_t)c->d_model, v = (size_t)c->n_vocab;
    float *rows = malloc(TOKENS * d * sizeof *rows), *x = malloc(TOKENS * v * sizeof *x),
          *y = malloc(TOKENS * v * sizeof *y);
    must(trace_read(&f.s.trace, last, 0, TOKENS, 0, 0, 0, rows, &f.err), &f);
    must(trace_read(&f.s.trace, logits, 0, TOKENS, 0, 0, 0, x, &f.err), &f);
    must(lens_logits(&f.s.trace, rows, TOKENS, y, &f.err), &f);
    assert_memory_equal(x, y, TOKENS * v * sizeof *x);
    free(rows);
    free(x);
    free(y);
    close_model(&f);
}

static void test_heads(void **state)
{
    struct fixture f;
    open_model(&f, *state);
    int H = f.s.model.config.n_heads, L = f.s.model.config.n_layers;
    struct head_scores *got = calloc((size_t)(L * H), sizeof *got);
    float *pattern = malloc((size_t)H * TOKENS * TOKENS * sizeof *pattern);
    const int32_t *ids = f.s.trace.ids;
    must(heads_score(&f.s.trace, TOKENS, got, &f.err), &f);
    for (int l = 0; l < L; l++) {
        int op = program_find(&f.s.model.program, SITE_PATTERN, l);
        must(trace_read(&f.s.trace, op, 0, TOKENS, 0, H, TOKENS, pattern, &f.err), &f);
        for (int h = 0; h < H; h++) {
            const float *p = pattern + h * TOKENS * TOKENS;
            double previous = 0, duplicate = 0, induction = 0;
            int n = 0, m = 0;
            for (int t = 0; t < TOKENS; t++) {
                bool any = false, behind = false;
                previous += t > 0 ? (double)p[t * TOKENS + t - 1] : 0;
                for (int s = 0; s < t; s++) {
                    any = any || ids[s] == ids[t];
                    duplicate += ids[s] == ids[t] ? (double)p[t * TOKENS + s] : 0;
                    if (s > 0 && ids[s - 1] == ids[t]) {
                        behind = true;
                        induction += (double)p[t * TOKENS + s];
                    }
                }
                n += any;
                m += behind;
            }
            assert_true(fabs(got[l * H + h].previous - previous / (TOKENS - 1)) < 1e-9);
            assert_true(fabs(got[l * H + h].duplicate - duplicate / n) < 1e-9);
            assert_true(fabs(got[l * H + h].induction - induction / m) < 1e-9);
        }
    }
    free(got);
    free(pattern);
    close_model(&f);
}

int main(void)
{
    static struct CMUnitTest tests[2 * CHECKPOINTS_MOST];
    int n = checkpoints_add(tests, 0, CHECKPOINTS_MOST, test_model);
    n = checkpoints_add(tests, n, 2 * CHECKPOINTS_MOST, test_heads);
    return _cmocka_run_group_tests("analysis", tests, (size_t)n, NULL, NULL);
}
