/* test_breakpoint.c - stopping: the places that `continue` finds while the prompt runs in chunks
 * are those that looking at every place in token-major order finds, on every golden checkpoint. */
#include "engine/debug/session.h"
#include "engine/debug/session_scope.h"
#include "tests/support/checkpoints.h"
#include "tests/support/prompted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS 29
#define MOST   4000

struct place {
    int position, op;
};

static int add(struct prompted *f, enum site site, int first_layer, int last_layer, int first,
               int last, const char *condition)
{
    struct breakpoint_spec spec = {.site = site,
                                   .layer_first = first_layer,
                                   .layer_last = last_layer,
                                   .first = first,
                                   .last = last,
                                   .token_id = -1,
                                   .condition = condition,
                                   .n_condition = condition ? strlen(condition) : 0,
                                   .text = "test"};
    return breakpoints_add(&f->s.breakpoints, &f->s, &spec, &f->err);
}

/* Every place, in order, at which one breakpoint of the list stops, by reading each value. */
static int every_stop(struct prompted *f, struct place *out)
{
    struct session *s = &f->s;
    int n = 0, positions = s->trace.n_ids;
    if (!trace_compute(&s->trace, positions, &f->err))
        fail_msg("%s", f->err.text);
    for (int pos = 0; pos < positions; pos++)
        for (int op = 0; op < s->model.program.n_ops; op++) {
            bool stop = false;
            for (int i = 0; i < s->breakpoints.n && !stop; i++) {
                const struct breakpoint *b = &s->breakpoints.list[i];
                if (!breakpoint_covers(b, s, pos, op))
                    continue;
                stop = b->expr == NULL;
                if (stop)
                    continue;
                struct session_scope scope;
                struct value v;
                s->position = pos;
                s->op = op;
                session_scope_init(&scope, s, NULL);
                value_init(&v, f->ledger);
                if (!expr_eval(b->expr, &scope.scope, &v, &f->err) ||
                    !expr_truth(&v, &stop, &f->err))
                    fail_msg("%s", f->err.text);
                value_fini(&v);
            }
            if (stop && n < MOST)
                out[n++] = (struct place){pos, op};
        }
    return n;
}

static int continue_all(struct prompted *f, struct place *out)
{
    int n = 0;
    for (;;) {
        if (!session_continue(&f->s, 1, &f->err)) {
            if (f->err.code != ERR_STATE)
                fail_msg("%s", f->err.text);
            return n; /* at the end already */
        }
        if (!f->s.stopped_by)
            return n;
        if (n < MOST)
            out[n++] = (struct place){f->s.position, f->s.op};
    }
}

static void add_some(struct prompted *f)
{
    int L = f->s.model.config.n_layers;
    assert_int_not_equal(add(f, SITE_PATTERN, 0, L - 1, 0, INT32_MAX, "max(.[0]) > 0.6"), 0);
    assert_int_not_equal(add(f, SITE_RESID_POST, L - 1, L - 1, 3, 20, "norm(.) > 4 && .[0] < 0"),
                         0);
    assert_int_not_equal(add(f, SITE_Z, 0, 0, 5, 5, NULL), 0);
    assert_int_not_equal(add(f, SITE_Q, 1, 1, 0, INT32_MAX, ".[0,0] > 0.9"), 0);
    /* One that looks elsewhere, and one on the tail. */
    assert_int_not_equal(
        add(f, SITE_MLP_OUT, 0, 0, 0, INT32_MAX, "norm(.) > 1.5 * norm(0.resid_pre)"), 0);
    assert_int_not_equal(add(f, SITE_EMBED, 0, 0, 0, INT32_MAX, ".[0] > 0.5"), 0);
    assert_int_not_equal(add(f, SITE_LOGITS, 0, 0, 0, INT32_MAX, "argmax(.) < 5"), 0);
    assert_true(f->s.breakpoints.list[0].here_only && f->s.breakpoints.list[5].here_only);
    assert_false(f->s.breakpoints.list[4].here_only);
}

static void test_same_stops(void **state)
{
    static struct place want[MOST], got[MOST];
    struct prompted f;
    prompted_open(&f, TOKENS, *state, 512);
    add_some(&f);
    int n = every_stop(&f, want);
    prompted_close(&f);
    static const int chunks[] = {512, 7, 1};
    for (int i = 0; i < 3; i++) {
        prompted_open(&f, TOKENS, *state, chunks[i]);
        add_some(&f);
        int m = continue_all(&f, got);
        if (m != n)
            fail_msg("%s: %d stops in chunks of %d, %d one by one", (char *)*state, m, chunks[i],
                     n);
        for (int k = 0; k < n; k++)
            if (got[k].position != want[k].position || got[k].op != want[k].op)
                fail_msg("%s: stop %d is (%d, %d), should be (%d, %d)", (char *)*state, k,
                         got[k].position, got[k].op, want[k].position, want[k].op);
        /* And back over all of them. */
        bool at_last = f.s.position == want[n - 1].position && f.s.op == want[n - 1].op;
        for (int k = n - (at_last ? 2 : 1); k >= 0; k--) {
            assert_true(session_reverse_continue(&f.s, 1, &f.err));
            assert_int_equal(f.s.position, want[k].position);
            assert_int_equal(f.s.op, want[k].op);
        }
        assert_true(session_reverse_continue(&f.s, 1, &f.err));
        assert_int_equal(f.s.stopped_by, 0);
        assert_int_equal(f.s.op, -1);
        prompted_close(&f);
    }
    assert_true(n > 1);
}

/* After an edit only the layers above it run again; stops in those below are found all the same. */
static void test_same_stops_after_an_edit(void **state)
{
    static struct place want[MOST], got[MOST];
    struct prompted f;
    struct value x;
    int counts[2];
    for (int by_chunks = 0; by_chunks < 2; by_chunks++) {
        prompted_open(&f, TOKENS, *state, 512);
        int L = f.s.model.config.n_layers, n = f.s.trace.n_ids;
        add_some(&f);
        if (by_chunks && !trace_compute(&f.s.trace, n - 4, &f.err))
            fail_msg("%s", f.err.text);
        value_init(&x, f.ledger);
        value_set_number(&x, 0.25);
        struct patch_spec spec = {.site = SITE_MLP_OUT,
                                  .layer_first = L - 1,
                                  .layer_last = L - 1,
                                  .first = n / 2,
                                  .last = n - 2,
                                  .n_picks = 1,
                                  .picks = {pick_one(1)},
                                  .operand = &x};
        assert_int_not_equal(patches_add(&f.s.patches, &spec, &f.err), 0);
        counts[by_chunks] = by_chunks ? continue_all(&f, got) : every_stop(&f, want);
        prompted_close(&f);
    }
    assert_int_equal(counts[0], counts[1]);
    for (int k = 0; k < counts[0]; k++)
        if (got[k].position != want[k].position || got[k].op != want[k].op)
            fail_msg("%s: stop %d is (%d, %d), should be (%d, %d)", (char *)*state, k,
                     got[k].position, got[k].op, want[k].position, want[k].op);
}

static void test_counts(void **state)
{
    (void)state;
    struct prompted f;
    prompted_open(&f, TOKENS, "llama", 512);
    int one = add(&f, SITE_Z, 0, 0, 0, INT32_MAX, NULL);
    breakpoints_find(&f.s.breakpoints, one, NULL)->ignore = 4;
    assert_true(session_continue(&f.s, 1, &f.err));
    assert_int_equal(f.s.position, 4);
    assert_int_equal(breakpoints_find(&f.s.breakpoints, one, NULL)->hits, 5);
    assert_true(session_continue(&f.s, 3, &f.err));
    assert_int_equal(f.s.position, 7);
    /* Other motions stop as well; a temporary one is gone afterwards. */
    struct breakpoint_spec spec = {.site = SITE_Q,
                                   .last = INT32_MAX,
                                   .token_id = f.s.trace.ids[9],
                                   .temporary = true,
                                   .text = "once"};
    int two = breakpoints_add(&f.s.breakpoints, &f.s, &spec, &f.err);
    breakpoints_find(&f.s.breakpoints, one, NULL)->enabled = false;
    assert_true(session_token(&f.s, 20, &f.err));
    assert_int_equal(f.s.stopped_by, two);
    assert_int_equal(f.s.trace.ids[f.s.position], spec.token_id);
    assert_null(breakpoints_find(&f.s.breakpoints, two, NULL));
    /* A number is not given again, and generation stops, too. */
    int three = add(&f, SITE_RESID_PRE, 1, 1, f.s.trace.n_ids + 1, f.s.trace.n_ids + 1, NULL);
    assert_int_equal(three, two + 1);
    int n = f.s.trace.n_ids;
    assert_true(session_generate(&f.s, 5, &f.err));
    assert_int_equal(f.s.stopped_by, three);
    assert_int_equal(f.s.trace.n_ids, n + 2);
    assert_int_equal(f.s.position, n + 1);
    prompted_close(&f);
}

static void test_bad_conditions_are_told_at_once(void **state)
{
    (void)state;
    struct prompted f;
    static const char *const bad[] = {
        "", "1 +", ".[99] > 0", ". > 1", "nonsense(.)", "9.z[0]", "$gone > 1", "norm(.) > \"x\""};
    prompted_open(&f, TOKENS, "llama", 512);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        f.err = (struct error){0};
        if (add(&f, SITE_Z, 0, 0, 0, INT32_MAX, bad[i]))
            fail_msg("taken: %s", bad[i]);
        assert_true(strlen(f.err.text) > 0);
    }
    assert_int_equal(add(&f, SITE_POS_EMBED, 0, 0, 0, INT32_MAX, NULL), 0);
    assert_int_equal(add(&f, SITE_Z, 0, 77, 0, INT32_MAX, NULL), 0);
    assert_int_equal(f.s.breakpoints.n, 0);
    /* A condition may be changed, and a bad one leaves the old. */
    int id = add(&f, SITE_Z, 0, 0, 0, INT32_MAX, "norm(.) < 0");
    assert_false(breakpoints_condition(&f.s.breakpoints, &f.s, id, "1 +", 3, 1, &f.err));
    assert_true(session_continue(&f.s, 1, &f.err));
    assert_int_equal(f.s.stopped_by, 0);
    assert_true(breakpoints_condition(&f.s.breakpoints, &f.s, id, NULL, 0, 1, &f.err));
    assert_true(session_reverse_continue(&f.s, 1, &f.err));
    assert_int_equal(f.s.stopped_by, id);
    prompted_close(&f);
}

/* Listings show the condition that holds now. */
static void test_the_text_follows_the_condition(void **state)
{
    struct prompted f;
    (void)state;
    prompted_open(&f, TOKENS, "llama", 8);
    struct breakpoint_spec spec = {.site = SITE_Z,
                                   .last = INT32_MAX,
                                   .token_id = -1,
                                   .condition = "max(.) > 1",
                                   .n_condition = 10,
                                   .text = "0.z at 2 if max(.) > 1"};
    struct breakpoints *b = &f.s.breakpoints;
    int id = breakpoints_add(b, &f.s, &spec, &f.err);
    assert_true(id > 0);
    assert_true(breakpoints_condition(b, &f.s, id, "norm(.) > 3", 11, 1, &f.err));
    assert_string_equal(breakpoints_find(b, id, NULL)->text, "0.z at 2 if norm(.) > 3");
    assert_false(breakpoints_condition(b, &f.s, id, "1 +", 3, 1, &f.err));
    assert_string_equal(breakpoints_find(b, id, NULL)->text, "0.z at 2 if norm(.) > 3");
    assert_true(breakpoints_condition(b, &f.s, id, NULL, 0, 1, &f.err));
    assert_string_equal(breakpoints_find(b, id, NULL)->text, "0.z at 2");
    assert_true(breakpoints_condition(b, &f.s, id, "1", 1, 1, &f.err));
    assert_string_equal(breakpoints_find(b, id, NULL)->text, "0.z at 2 if 1");
    prompted_close(&f);
}

static void test_every_failing_allocation(void **state)
{
    (void)state;
    for (long n = 1;; n++) {
        struct prompted f;
        prompted_open(&f, TOKENS, "llama", 8);
        ledger_fail_after(f.ledger, n);
        bool ok = add(&f, SITE_PATTERN, 0, 1, 0, INT32_MAX, "max(.[0]) > 0.9") &&
                  session_continue(&f.s, 3, &f.err) && session_reverse_continue(&f.s, 1, &f.err);
        ledger_fail_after(f.ledger, 0);
        if (!ok)
            assert_int_equal(f.err.code, ERR_MEMORY);
        /* What failed is made anew: the stops are all there. */
        f.s.stopped_by = 0;
        if (f.s.breakpoints.n > 0)
            assert_true(session_goto(&f.s, 0, -1, &f.err) && session_continue(&f.s, 1, &f.err) &&
                        f.s.stopped_by == 1 && f.s.position == 0);
        prompted_close(&f);
        if (ok) {
            assert_true(n > 10);
            return;
        }
    }
}

int main(void)
{
    static struct CMUnitTest tests[2 * CHECKPOINTS_MOST + 3];
    int n = checkpoints_add(tests, 0, CHECKPOINTS_MOST, test_same_stops);
    n = checkpoints_add(tests, n, 2 * CHECKPOINTS_MOST, test_same_stops_after_an_edit);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_counts);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_bad_conditions_are_told_at_once);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_the_text_follows_the_condition);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_every_failing_allocation);
    return _cmocka_run_group_tests("breakpoint", tests, (size_t)n, NULL, NULL);
}
