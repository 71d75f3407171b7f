/* test_cuda_model.c - whole models on the GPU, a token at a time and as one prompt: with every
 * value looked at, so that no two ops are launched together, and with none; and with the device
 * going on before its token is known. The residuals and the logits have the same bits. And
 * attention's maps, beside the patterns.
 *
 * Scores and patterns are not looked at: attention in steps is other arithmetic than all at once.
 */
#include "engine/analysis/top_read.h"
#include "engine/forward/map.h"
#include "engine/forward/trace.h"
#include "tests/kernels/gpu.h"

#include <dirent.h>

#define FOLDER "tests/golden/models"
#define TOKENS 32 /* the context of the smallest of them */
#define PROMPT 5  /* of them */

static bool look(void *context, const struct op_view *v, struct error *err)
{
    (void)err;
    *(size_t *)context += (size_t)v->n;
    return true;
}

static void open_model(struct model *m, struct trace *t, const char *folder, struct ledger *ledger)
{
    struct error err = {0};
    int32_t ids[TOKENS];
    if (!model_open(m, ledger, gpu, folder, true, &err) ||
        !trace_open(t, m, &(struct trace_options){0}, &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < TOKENS; i++)
        ids[i] = (int32_t)((i * 7 + 3) % m->config.n_vocab);
    if (!trace_append(t, ids, TOKENS, NULL, &err))
        fail_msg("%s", err.text);
}

/* Logits and residuals of each position, [TOKENS, V + D], with mem_free. step: tokens that run at
 * once. */
static float *run(const char *folder, bool watched, int step, size_t *row, struct ledger *ledger)
{
    struct error err = {0};
    struct model m;
    struct trace t;
    size_t looked = 0;
    open_model(&m, &t, folder, ledger);
    const struct program *p = &m.program;
    size_t V = (size_t)m.config.n_vocab, D = (size_t)m.config.d_model;
    int logits = program_find(p, SITE_LOGITS, 0);
    int last = program_find(p, SITE_RESID_POST, m.config.n_layers - 1);
    bool *watch = calloc((size_t)p->n_ops, sizeof *watch);
    assert_non_null(watch);
    for (int i = 0; watched && i < p->n_ops; i++)
        watch[i] = p->ops[i].kind != OP_SCORES && p->ops[i].kind != OP_SOFTMAX && !p->ops[i].lazy;
    if (watched)
        t.observer = (struct hooks){.watch = watch, .written = look, .context = &looked};
    *row = V + D;
    float *found = mem_alloc_array(ledger, MEM_OTHER, TOKENS * *row, sizeof *found, &err);
    assert_non_null(found);
    for (int n = 0; n < TOKENS; n++) {
        if ((n % step == 0 && !trace_compute(&t, n + step, &err)) ||
            !trace_read(&t, logits, n, 1, 0, 0, 0, found + (size_t)n * *row, &err) ||
            !trace_read(&t, last, n, 1, 0, 0, 0, found + (size_t)n * *row + V, &err))
            fail_msg("%s: %s", folder, err.text);
    }
    assert_true((looked > 0) == watched);
    free(watch);
    trace_close(&t);
    model_close(&m);
    return found;
}

static void same_bits_of(const char *folder, struct ledger *ledger)
{
    static const int steps[] = {1, TOKENS};
    for (int i = 0; i < 2; i++) {
        size_t row;
        float *plain = run(folder, false, steps[i], &row, ledger);
        float *seen = run(folder, true, steps[i], &row, ledger);
        expect_same(folder, gpu, seen, plain, TOKENS * row);
        mem_free(ledger, plain);
        mem_free(ledger, seen);
    }
}

/* A cell for each query and key: as far off as bfloat16 queries and weights are. */
static void map_of(const char *folder, struct ledger *ledger)
{
    struct error err = {0};
    struct model m;
    struct trace t;
    struct map map = {0};
    const int head = 0;
    const struct map_region all = {0, TOKENS, 0, TOKENS, TOKENS, TOKENS};
    float rows[TOKENS * TOKENS] = {0};
    open_model(&m, &t, folder, ledger);
    for (int layer = 0; layer < m.config.n_layers; layer++) {
        int op = program_find(&m.program, SITE_PATTERN, layer);
        bool ok = trace_compute(&t, TOKENS, &err) &&
                  trace_read(&t, op, 0, TOKENS, head, 1, TOKENS, rows, &err) &&
                  map_open(&map, &t, layer, &head, 1, &all, &err);
        while (ok && !map_done(&map))
            ok = map_read(&map, TOKENS, &err);
        if (!ok) {
            fail_msg("%s: %s", folder, err.text);
            return;
        }
        for (int q = 0; q < TOKENS; q++)
            for (int k = 0; k <= q; k++)
                expect_near(folder, rows, map.cells, (size_t)(q * TOKENS + k),
                            gpu->dtype == DTYPE_BF16 ? 0.03 : 1e-5);
        map_close(&map);
    }
    trace_close(&t);
    model_close(&m);
}

/* Tokens chosen one after the other, [TOKENS, V + D] as run() has it. ahead: the device goes on
 * with a token before the host has it. */
static float *generate(const char *folder, bool ahead, int32_t ids[TOKENS], size_t *row,
                       struct ledger *ledger)
{
    struct error err = {0};
    struct model m;
    struct trace t;
    open_model(&m, &t, folder, ledger);
    size_t V = (size_t)m.config.n_vocab, D = (size_t)m.config.d_model;
    int logits = program_find(&m.program, SITE_LOGITS, 0);
    int last = program_find(&m.program, SITE_RESID_POST, m.config.n_layers - 1);
    *row = V + D;
    float *found = mem_alloc_array(ledger, MEM_OTHER, TOKENS * *row, sizeof *found, &err);
    assert_non_null(found);
    int went = 0;
    trace_truncate(&t, PROMPT, NULL);
    t.ahead.wanted = ahead;
    for (int n = PROMPT; n < TOKENS; n++) {
        struct top_row best_row;
        struct top_entry best;
        if (!trace_compute(&t, n, &err) || !top_next(&t, logits, &best_row, &best, &err) ||
            !trace_append(&t, &best.id, 1, NULL, &err))
            fail_msg("%s: %s", folder, err.text);
        went += t.ahead.run > 0;
    }
    assert_true(ahead ? went > TOKENS / 2 : went == 0);
    trace_end_ahead(&t);
    for (int n = 0; n < TOKENS; n++)
        if (!trace_compute(&t, TOKENS, &err) ||
            !trace_read(&t, logits, n, 1, 0, 0, 0, found + (size_t)n * *row, &err) ||
            !trace_read(&t, last, n, 1, 0, 0, 0, found + (size_t)n * *row + V, &err))
            fail_msg("%s: %s", folder, err.text);
    memcpy(ids, t.ids, TOKENS * sizeof *ids);
    trace_close(&t);
    model_close(&m);
    return found;
}

static void same_bits_ahead_of(const char *folder, struct ledger *ledger)
{
    int32_t ids[2][TOKENS];
    size_t row;
    float *waiting = generate(folder, false, ids[0], &row, ledger);
    float *ahead = generate(folder, true, ids[1], &row, ledger);
    assert_memory_equal(ids[0], ids[1], sizeof ids[0]);
    expect_same(folder, gpu, ahead, waiting, TOKENS * row);
    mem_free(ledger, waiting);
    mem_free(ledger, ahead);
}

static void each_model(void (*test)(const char *folder, struct ledger *ledger))
{
    DIR *d = opendir(FOLDER);
    assert_non_null(d);
    int models = 0;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        char folder[400];
        if (e->d_name[0] == '.')
            continue;
        snprintf(folder, sizeof folder, FOLDER "/%s", e->d_name);
        struct ledger *ledger = ledger_open();
        assert_non_null(ledger);
        test(folder, ledger);
        assert_int_equal(ledger_close(ledger), 0);
        models++;
    }
    closedir(d);
    assert_true(models >= 18);
}

static void same_bits_when_looked_at(void **state)
{
    NEEDS_GPU();
    each_model(same_bits_of);
}

static void same_bits_when_run_ahead(void **state)
{
    NEEDS_GPU();
    each_model(same_bits_ahead_of);
}

static void maps_are_of_the_patterns(void **state)
{
    NEEDS_GPU();
    each_model(map_of);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits_when_looked_at),
                                       cmocka_unit_test(same_bits_when_run_ahead),
                                       cmocka_unit_test(maps_are_of_the_patterns)};
    int failed = cmocka_run_group_tests_name("CUDA: models, f32", tests, open_f32, close_both);
    return failed + cmocka_run_group_tests_name("CUDA: models, bf16", tests, open_bf16, close_both);
}
