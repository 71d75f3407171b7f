/* test_session.c - the cursor's motions, memory of a run, and what happens when it is short. */
#include "engine/debug/session.h"
#include "engine/forward/vm.h"
#include "engine/model/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MODELS "tests/golden/models/"

static const int32_t ids[] = {3, 1, 4, 1, 5, 9, 2, 6};
#define N_IDS 8

struct fixture {
    struct ledger *ledger;
    struct session s;
    struct error err;
};

static void open_model(struct fixture *f, const char *path, struct session_options o)
{
    memset(f, 0, sizeof *f);
    f->ledger = ledger_open();
    o.n_threads = 1;
    if (!session_open(&f->s, f->ledger, path, &o, &f->err))
        fail_msg("%s", f->err.text);
}

static void close_model(struct fixture *f)
{
    session_close(&f->s);
    assert_int_equal(ledger_close(f->ledger), 0);
}

static int setup(void **state)
{
    struct fixture *f = malloc(sizeof *f);
    open_model(f, MODELS "llama", (struct session_options){0});
    *state = f;
    return session_prompt_ids(&f->s, ids, N_IDS, &f->err) ? 0 : -1;
}

static int teardown(void **state)
{
    close_model(*state);
    free(*state);
    return 0;
}

static void assert_at(const struct session *s, int position, enum site site, int layer)
{
    assert_int_equal(s->position, position);
    assert_int_equal(s->op, program_find(&s->model.program, site, layer));
}

static void test_start(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(f->s.position, 0);
    assert_int_equal(f->s.op, -1);
    assert_int_equal(trace_rows(&f->s.trace), 0);
    int op = program_find(&f->s.model.program, SITE_RESID_POST, 0);
    assert_false(session_has(&f->s, 0, op, &f->err));
    assert_non_null(strstr(f->err.text, "not computed yet"));
    assert_int_equal(session_known(&f->s, op), 0);
}

static void test_step_visits_every_site(void **state)
{
    struct fixture *f = *state;
    const struct program *p = &f->s.model.program;
    int visited = 0, expected = 0;
    for (int i = 0; i < p->n_ops; i++)
        expected += p->ops[i].site != SITE_NONE && !p->ops[i].lazy;
    while (f->s.position == 0) {
        assert_true(session_step(&f->s, 1, &f->err));
        visited += f->s.position == 0;
        /* Nothing after the cursor has run. */
        if (f->s.position == 0 && f->s.op + 1 < p->block_op[p->n_layers])
            assert_false(trace_has(&f->s.trace, 0, p->block_op[p->n_layers] - 1) &&
                         f->s.op < p->block_op[p->n_layers] - 1);
    }
    assert_int_equal(visited, expected);
    assert_at(&f->s, 1, SITE_EMBED, 0);
}

static void test_next_and_finish(void **state)
{
    struct fixture *f = *state;
    assert_true(session_next(&f->s, 1, &f->err));
    assert_at(&f->s, 0, SITE_RESID_POST, 0);
    assert_true(session_next(&f->s, 1, &f->err));
    assert_at(&f->s, 0, SITE_RESID_POST, 1);
    assert_true(session_finish(&f->s, &f->err));
    assert_at(&f->s, 0, SITE_LOGITS, 0);
    assert_true(session_next(&f->s, 1, &f->err));
    assert_at(&f->s, 1, SITE_RESID_POST, 0);
    assert_true(session_token(&f->s, 2, &f->err));
    assert_at(&f->s, 3, SITE_RESID_POST, 0);
    assert_int_equal(trace_rows(&f->s.trace), 3);
}

static void test_backwards(void **state)
{
    struct fixture *f = *state;
    const struct program *p = &f->s.model.program;
    assert_false(session_reverse_step(&f->s, 1, &f->err));
    assert_true(session_goto(&f->s, 5, program_find(p, SITE_PATTERN, 1), &f->err));
    int rows = trace_rows(&f->s.trace), there = f->s.op;
    /* Back over every op of two tokens and forth again: the same places, nothing computed. */
    int n = p->n_ops + 20;
    assert_true(session_reverse_stepi(&f->s, n, &f->err));
    assert_true(f->s.position < 5);
    assert_true(session_stepi(&f->s, n, &f->err));
    assert_int_equal(f->s.op, there);
    assert_int_equal(f->s.position, 5);
    assert_true(session_reverse_step(&f->s, 1, &f->err));
    assert_at(&f->s, 5, SITE_ATTN_SCORES, 1);
    assert_true(session_reverse_next(&f->s, 1, &f->err));
    assert_at(&f->s, 5, SITE_RESID_POST, 0);
    assert_true(session_reverse_next(&f->s, 1, &f->err));
    assert_at(&f->s, 4, SITE_LOGITS, 0);
    assert_true(session_reverse_token(&f->s, 3, &f->err));
    assert_at(&f->s, 1, SITE_LOGITS, 0);
    assert_false(session_reverse_token(&f->s, 2, &f->err));
    assert_true(session_reverse_step(&f->s, 1, &f->err));
    assert_at(&f->s, 1, SITE_UNEMBED_OUT, 0);
    assert_int_equal(trace_rows(&f->s.trace), rows);
    /* All the way: it ends at the first site, with a word about it. */
    assert_false(session_reverse_step(&f->s, 100000, &f->err));
    assert_int_equal(f->err.code, ERR_STATE);
    assert_at(&f->s, 0, SITE_EMBED, 0);
}

static void test_finish_from_the_start_runs_the_prompt(void **state)
{
    struct fixture *f = *state;
    assert_true(session_finish(&f->s, &f->err));
    assert_at(&f->s, N_IDS - 1, SITE_LOGITS, 0);
    assert_false(session_step(&f->s, 1, &f->err));
    assert_int_equal(f->err.code, ERR_STATE);
    assert_at(&f->s, N_IDS - 1, SITE_LOGITS, 0);
}

static void test_goto(void **state)
{
    struct fixture *f = *state;
    const struct program *p = &f->s.model.program;
    int pattern = program_find(p, SITE_PATTERN, 1);
    assert_true(session_goto(&f->s, 4, pattern, &f->err));
    assert_at(&f->s, 4, SITE_PATTERN, 1);
    assert_int_equal(trace_rows(&f->s.trace), 4);
    assert_true(session_goto(&f->s, 0, -1, &f->err));
    /* What was computed stays readable. */
    assert_true(session_has(&f->s, 4, pattern, &f->err));
    assert_int_equal(session_known(&f->s, pattern), 5);
    assert_false(session_has(&f->s, 4, pattern + 2, &f->err));
    assert_false(session_goto(&f->s, N_IDS, -1, &f->err));
    assert_false(session_goto(&f->s, -1, -1, &f->err));
}

static void test_generate(void **state)
{
    struct fixture *f = *state;
    assert_true(session_generate(&f->s, 5, &f->err));
    assert_int_equal(f->s.trace.n_ids, N_IDS + 5);
    assert_at(&f->s, N_IDS + 4, SITE_LOGITS, 0);
    int32_t made[5];
    memcpy(made, f->s.trace.ids + N_IDS, sizeof made);
    /* The same tokens by `token`, and again after a new prompt. */
    assert_true(session_prompt_ids(&f->s, ids, N_IDS, &f->err));
    assert_true(session_finish(&f->s, &f->err));
    assert_true(session_token(&f->s, 5, &f->err));
    assert_memory_equal(made, f->s.trace.ids + N_IDS, sizeof made);
}

static void test_sampler_is_seeded(void **state)
{
    struct fixture *f = *state;
    int32_t made[2][6];
    for (int i = 0; i < 2; i++) {
        f->s.sampler = (struct sampler){.temperature = 1.5f, .top_p = 0.9f, .seed = 7, .state = 7};
        assert_true(session_prompt_ids(&f->s, ids, N_IDS, &f->err));
        assert_true(session_generate(&f->s, 6, &f->err));
        memcpy(made[i], f->s.trace.ids + N_IDS, sizeof made[i]);
    }
    assert_memory_equal(made[0], made[1], sizeof made[0]);
}

static void test_bad_prompts(void **state)
{
    struct fixture *f = *state;
    int32_t bad[] = {1, f->s.model.config.n_vocab};
    assert_false(session_prompt_ids(&f->s, bad, 2, &f->err));
    assert_non_null(strstr(f->err.text, "vocabulary"));
    bad[1] = -1;
    assert_false(session_prompt_ids(&f->s, bad, 2, &f->err));
    assert_false(session_prompt_ids(&f->s, ids, 0, &f->err));
    assert_non_null(strstr(f->err.text, "empty"));
    assert_false(session_prompt_text(&f->s, "a", 1, &f->err));
    assert_non_null(strstr(f->err.text, "tokenizer.json"));
    /* The old prompt stands. */
    assert_true(f->s.has_prompt);
    assert_int_equal(f->s.trace.n_ids, N_IDS);
    assert_true(session_finish(&f->s, &f->err));
}

static void test_cap(void **state)
{
    (void)state;
    struct fixture f;
    open_model(&f, MODELS "llama", (struct session_options){.trace.n_ctx = 6});
    assert_false(session_prompt_ids(&f.s, ids, N_IDS, &f.err));
    assert_non_null(strstr(f.err.text, "limit of 6"));
    assert_true(session_prompt_ids(&f.s, ids, 5, &f.err));
    assert_false(session_generate(&f.s, 3, &f.err));
    assert_non_null(strstr(f.err.text, "context limit"));
    assert_int_equal(f.s.trace.n_ids, 6);
    close_model(&f);
}

static void test_refuses_what_cannot_fit(void **state)
{
    (void)state;
    struct error err;
    struct session s;
    struct ledger *l = ledger_open();
    struct session_options o = {.budget = 20000, .n_threads = 1};
    assert_false(session_open(&s, l, MODELS "llama", &o, &err));
    assert_int_equal(err.code, ERR_MEMORY);
    assert_non_null(strstr(err.text, "--mem"));
    assert_false(session_open(&s, l, "no/such/folder", &o, &err));
    assert_int_equal(ledger_close(l), 0);
}

/* A copy of a golden checkpoint whose config.json has a limit of 131072 positions. */
static void make_long_model(char folder[64], const char *name)
{
    strcpy(folder, "/tmp/midpass-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    char command[400];
    snprintf(command, sizeof command,
             "cp " MODELS "%s/*.safetensors* %s && sed 's/\"max_position_embeddings\": "
             "[0-9]*/\"max_position_embeddings\": 131072/' " MODELS "%s/config.json > "
             "%s/config.json",
             name, folder, name, folder);
    assert_int_equal(system(command), 0);
}

static void remove_model(const char *folder)
{
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static float *all_logits(struct fixture *f, const int32_t *prompt, int n)
{
    if (!session_prompt_ids(&f->s, prompt, n, &f->err) || !session_finish(&f->s, &f->err))
        fail_msg("%s", f->err.text);
    float *out = malloc((size_t)n * (size_t)f->s.model.config.n_vocab * sizeof *out);
    int op = program_find(&f->s.model.program, SITE_LOGITS, 0);
    if (!trace_read(&f->s.trace, op, 0, n, 0, 0, 0, out, &f->err))
        fail_msg("%s", f->err.text);
    return out;
}

static void test_cap_changes_no_bit_and_limit_costs_nothing(void **state)
{
    (void)state;
    char folder[64];
    make_long_model(folder, "phi3-long");
    int32_t prompt[100];
    for (int i = 0; i < 100; i++)
        prompt[i] = i * i % 40;
    struct fixture a, b;
    open_model(&a, folder, (struct session_options){0});
    open_model(&b, folder, (struct session_options){.trace.n_ctx = 2048});
    assert_int_equal(a.s.model.config.n_ctx, 131072);
    /* sqrt(1 + ln(131072 / 16) / ln 16): the published limit's, not the cap's. */
    assert_float_equal(b.s.model.ropes[0].scale, 2.0615528f, 1e-6f);
    float *x = all_logits(&a, prompt, 100), *y = all_logits(&b, prompt, 100);
    assert_memory_equal(x, y, 100 * (size_t)a.s.model.config.n_vocab * sizeof *x);
    free(x);
    free(y);
    close_model(&b);
    /* Ten tokens take pages for ten tokens. */
    assert_true(session_prompt_ids(&a.s, prompt, 10, &a.err));
    assert_true(session_finish(&a.s, &a.err));
    assert_int_equal(ledger_now(a.ledger, MEM_KV, MEM_HOST), trace_kv_page_bytes(&a.s.trace));
    assert_int_equal(ledger_now(a.ledger, MEM_CHECKPOINTS, MEM_HOST),
                     trace_checkpoint_page_bytes(&a.s.trace));
    close_model(&a);
    remove_model(folder);
}

static void test_short_memory_widens_the_stride(void **state)
{
    (void)state;
    char folder[64];
    make_long_model(folder, "phi3-long");
    static int32_t prompt[3000];
    for (int i = 0; i < 3000; i++)
        prompt[i] = i * i % 40;
    struct fixture a;
    open_model(&a, folder, (struct session_options){0});
    float *x = all_logits(&a, prompt, 600);
    /* Room for the keys and values of 600 positions, but not for every checkpoint. */
    session_prompt_ids(&a.s, prompt, 1, &a.err);
    size_t pages = (600 + KV_PAGE - 1) / KV_PAGE;
    ledger_set_budget(a.ledger, ledger_total(a.ledger) + vm_room_bytes(&a.s.model, 600) +
                                    pages * (trace_kv_page_bytes(&a.s.trace) +
                                             trace_checkpoint_page_bytes(&a.s.trace) * 3 / 4));
    assert_int_equal(a.s.trace.keep.stride, 1);
    float *y = all_logits(&a, prompt, 600);
    assert_true(a.s.trace.keep.stride > 1);
    assert_memory_equal(x, y, 600 * (size_t)a.s.model.config.n_vocab * sizeof *x);
    /* And far too much is refused in words, with what would fit. */
    if (!session_prompt_ids(&a.s, prompt, 3000, &a.err))
        fail_msg("%s", a.err.text);
    assert_false(session_finish(&a.s, &a.err));
    assert_int_equal(a.err.code, ERR_MEMORY);
    assert_non_null(strstr(a.err.text, "--ctx"));
    assert_int_equal(a.s.trace.n_pages, 0); /* what was taken in vain is given back */
    free(x);
    free(y);
    close_model(&a);
    remove_model(folder);
}

/* What the plan says fits does fit, to run and to look at, within the budget. */
static void test_the_plan_keeps_its_word(void **state)
{
    (void)state;
    char folder[64];
    make_long_model(folder, "phi3-long");
    static int32_t prompt[20000];
    for (int i = 0; i < 20000; i++)
        prompt[i] = i * i % 40;
    struct fixture a;
    struct plan p;
    open_model(&a, folder, (struct session_options){0});
    plan_make(&p, &a.s.model, 4000, a.s.backend->chunk, ledger_total(a.ledger));
    int L = a.s.model.config.n_layers;
    close_model(&a);
    for (int stride = 1; stride <= L; stride += L - 1) {
        size_t budget = plan_bytes(&p, 1500, (struct keep){stride, false});
        int n = plan_positions(&p, 4000, (struct keep){stride, false}, budget);
        assert_true(n >= 1500 && n < 4000);
        open_model(&a, folder, (struct session_options){.budget = budget, .trace.n_ctx = n});
        float *logits = all_logits(&a, prompt, n);
        int pattern = program_find(&a.s.model.program, SITE_PATTERN, L - 1);
        int H = a.s.model.config.n_heads;
        float *row = malloc((size_t)H * (size_t)n * sizeof *row);
        if (!trace_read(&a.s.trace, pattern, n - 1, 1, 0, H, n, row, &a.err) ||
            !session_goto(&a.s, n / 2, pattern, &a.err))
            fail_msg("%s", a.err.text);
        assert_true(ledger_total(a.ledger) + a.s.model.weight_bytes <= budget);
        free(row);
        free(logits);
        close_model(&a);
    }
    remove_model(folder);
}

/* Where all would fit, checkpoints leave most of the room to others; the run does as planned. */
static void test_checkpoints_are_modest(void **state)
{
    const int chunk = 64; /* scratch of larger ones is most of what so small a model takes */
    (void)state;
    char folder[64];
    make_long_model(folder, "phi3-partial");
    static int32_t prompt[20000];
    for (int i = 0; i < 20000; i++)
        prompt[i] = i * i % 40;
    struct fixture a;
    struct plan p;
    open_model(&a, folder, (struct session_options){0});
    plan_make(&p, &a.s.model, 20000, chunk, ledger_total(a.ledger));
    int L = a.s.model.config.n_layers;
    close_model(&a);
    /* At every layer they are 3/5 of what grows, so that they are over their part. */
    size_t every = plan_bytes(&p, 20000, (struct keep){1, false});
    const size_t budgets[] = {p.weights + PLAN_CHECKPOINTS_PART * every, every,
                              plan_bytes(&p, 20000, keep_least(&p.sizes))};
    for (int i = 0; i < 3; i++) {
        struct keep keep = {1, false};
        assert_true(plan_keep(&p, 20000, budgets[i], &keep));
        assert_int_equal(keep.stride, i == 0 ? 1 : L);
        if (i == 2) /* just so with --ctx: see test_the_plan_keeps_its_word */
            continue;
        open_model(&a, folder,
                   (struct session_options){.budget = budgets[i], .trace.chunk = chunk});
        free(all_logits(&a, prompt, 20000));
        assert_int_equal(a.s.trace.keep.stride, keep.stride);
        close_model(&a);
    }
    remove_model(folder);
}

static void test_crossing_the_original_length(void **state)
{
    (void)state;
    struct fixture a, b;
    int32_t prompt[17];
    for (int i = 0; i < 17; i++)
        prompt[i] = i * 3 % 40;
    open_model(&a, MODELS "phi3-long", (struct session_options){0});
    assert_int_equal(a.s.model.ropes[0].original, 16);
    /* Sixteen positions are short; the seventeenth makes all of them long. */
    assert_true(session_prompt_ids(&a.s, prompt, 16, &a.err));
    assert_true(session_finish(&a.s, &a.err));
    assert_false(a.s.trace.long_regime);
    assert_true(session_token(&a.s, 1, &a.err));
    assert_true(a.s.trace.long_regime);
    assert_non_null(strstr(a.s.notice, "recomputed"));
    int n = a.s.model.config.n_vocab, op = program_find(&a.s.model.program, SITE_LOGITS, 0);
    float *x = malloc(17 * (size_t)n * sizeof *x);
    assert_true(trace_read(&a.s.trace, op, 0, 17, 0, 0, 0, x, &a.err));
    int32_t all[17];
    memcpy(all, a.s.trace.ids, sizeof all);
    open_model(&b, MODELS "phi3-long", (struct session_options){0});
    float *y = all_logits(&b, all, 17);
    assert_memory_equal(x, y, 17 * (size_t)n * sizeof *x);
    free(y);
    close_model(&b);
    /* --rope short keeps the short factors. */
    open_model(&b, MODELS "phi3-long", (struct session_options){.trace.regime = REGIME_SHORT});
    y = all_logits(&b, all, 17);
    assert_false(b.s.trace.long_regime);
    assert_memory_not_equal(x, y, 17 * (size_t)n * sizeof *x);
    free(x);
    free(y);
    close_model(&b);
    close_model(&a);
}

static void test_stops_when_told(void **state)
{
    struct fixture *f = *state;
    volatile int flag = 1;
    f->s.trace.interrupt = &flag;
    assert_false(session_finish(&f->s, &f->err));
    assert_int_equal(f->err.code, ERR_INTERRUPTED);
    flag = 0;
    assert_true(session_finish(&f->s, &f->err));
}

static void test_every_failing_allocation(void **state)
{
    (void)state;
    for (long n = 1;; n++) {
        struct ledger *l = ledger_open();
        struct error err = {0};
        struct session s;
        struct session_options o = {.n_threads = 1};
        ledger_fail_after(l, n);
        bool opened = session_open(&s, l, MODELS "gpt2-untied", &o, &err);
        bool ok = opened && session_prompt_ids(&s, ids, N_IDS, &err) && session_step(&s, 9, &err) &&
                  session_finish(&s, &err) && session_generate(&s, 2, &err);
        if (opened)
            session_close(&s);
        ledger_fail_after(l, 0);
        if (!ok) {
            assert_int_equal(err.code, ERR_MEMORY);
            assert_true(strlen(err.text) > 10);
        }
        assert_int_equal(ledger_close(l), 0);
        if (ok) {
            assert_true(n > 20);
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_step_visits_every_site, setup, teardown),
        cmocka_unit_test_setup_teardown(test_next_and_finish, setup, teardown),
        cmocka_unit_test_setup_teardown(test_finish_from_the_start_runs_the_prompt, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_backwards, setup, teardown),
        cmocka_unit_test_setup_teardown(test_goto, setup, teardown),
        cmocka_unit_test_setup_teardown(test_generate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sampler_is_seeded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_prompts, setup, teardown),
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_refuses_what_cannot_fit),
        cmocka_unit_test(test_cap_changes_no_bit_and_limit_costs_nothing),
        cmocka_unit_test(test_short_memory_widens_the_stride),
        cmocka_unit_test(test_the_plan_keeps_its_word),
        cmocka_unit_test(test_checkpoints_are_modest),
        cmocka_unit_test(test_crossing_the_original_length),
        cmocka_unit_test_setup_teardown(test_stops_when_told, setup, teardown),
        cmocka_unit_test(test_every_failing_allocation),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
