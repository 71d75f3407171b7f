/* test_cuda_model.c - whole models on the GPU, a token at a time: with every value looked at, so
 * that no two ops are launched together, and with none. The residuals and the logits have the same
 * bits.
 *
 * Scores and patterns are not looked at: attention in steps is other arithmetic than all at once.
 */
#include "engine/forward/trace.h"
#include "tests/kernels/gpu.h"

#include <dirent.h>

#define FOLDER "tests/golden/models"
#define TOKENS 32 /* the context of the smallest of them */

static bool look(void *context, const struct op_view *v, struct error *err)
{
    (void)err;
    *(size_t *)context += (size_t)v->n;
    return true;
}

/* Logits and residuals of each position, [TOKENS, V + D], with mem_free. */
static float *run(const char *folder, bool watched, size_t *row, struct ledger *ledger)
{
    struct error err = {0};
    struct model m;
    struct trace t;
    size_t looked = 0;
    if (!model_open(&m, ledger, gpu, folder, true, &err) ||
        !trace_open(&t, &m, &(struct trace_options){0}, &err))
        fail_msg("%s", err.text);
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
        int32_t id = (int32_t)((n * 7 + 3) % m.config.n_vocab);
        if (!trace_append(&t, &id, 1, NULL, &err) || !trace_compute(&t, n + 1, &err) ||
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

static void same_bits_when_looked_at(void **state)
{
    NEEDS_GPU();
    DIR *d = opendir(FOLDER);
    assert_non_null(d);
    int models = 0;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        char folder[400];
        size_t row;
        if (e->d_name[0] == '.')
            continue;
        snprintf(folder, sizeof folder, FOLDER "/%s", e->d_name);
        struct ledger *ledger = ledger_open();
        assert_non_null(ledger);
        float *plain = run(folder, false, &row, ledger), *seen = run(folder, true, &row, ledger);
        expect_same(e->d_name, gpu, seen, plain, TOKENS * row);
        mem_free(ledger, plain);
        mem_free(ledger, seen);
        assert_int_equal(ledger_close(ledger), 0);
        models++;
    }
    closedir(d);
    assert_true(models >= 18);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits_when_looked_at)};
    int failed = cmocka_run_group_tests_name("CUDA: models, f32", tests, open_f32, close_both);
    return failed + cmocka_run_group_tests_name("CUDA: models, bf16", tests, open_bf16, close_both);
}
