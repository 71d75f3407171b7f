/* test_far_ahead.c - a device that runs ahead while tokens are generated: what is said, what is
 * kept and where it stops is what a session on the CPU says, which never does; and no pass is run
 * twice.
 */
#include "engine/forward/map.h"
#include "tests/support/checkpoints.h"
#include "tests/support/far.h"
#include "tests/support/side.h"

#include <stdio.h>

#define PROMPT "ids 3 1 4 1 5 9 2 6"
#define TOKENS 8 /* of it */

/* All that may make of a pass that was run ahead one in vain, and what is read behind it. */
static const char *const lines[] = {
    PROMPT,
    "generate 4",
    "print 1.resid_post",
    "print logits[2]",
    "print 0.k[-1]",
    "reverse-token 2",
    "print 1.z[0]",
    "generate 2", /* from the end of the sequence on */
    "print 0.resid_mid[:,1]",
    "regenerate from 10 2",
    "print logits[3]",
    "recall a",
    "generate 2",
    "info tokens",
    /* Stops within what is generated: measured, and looked at where it stands. */
    PROMPT,
    "break 1.resid_post if norm(.) > 1",
    "generate 5",
    "print 1.resid_post[0]",
    "generate 5",
    "delete",
    PROMPT,
    "break 0.z at 10-11 if max(abs(.)) > 0.01",
    "generate 4",
    "delete",
    "break 0.pattern if max(.[0]) > 0.3",
    "generate 2",
    "delete",
    PROMPT,
    "catch nan",
    "catch top1",
    "generate 3",
    "delete",
    "break 1.resid_mid if norm(.) > 1e9",
    "break 0.attn_out if norm(.) > 1e9",
    "break logits if max(.) > 1e9",
    "generate 4",
    "print logits[1]",
    "top 3",
    /* An edit between: the sequence goes another way. */
    PROMPT,
    "patch 0.resid_mid[1] add 2",
    "generate 3",
    "undo",
    "delete",
    "generate 2",
    "print logits[0]",
    "goto 5",
    "generate 2",
    "set sampler temp 0.8 seed 3",
    "generate 3",
    "set sampler greedy",
    "generate 2",
    "print 1.resid_post",
    PROMPT,
    "generate 15", /* past where two of the models change their rotations */
    "print 0.q[1]",
    "generate 1000", /* to the limit, where one is near */
    "print 1.resid_post[2]",
    "info tokens",
};

/* A map takes what was kept of each row's sum: far.h ends the test if that is not the row's. */
static void maps_hold(struct side *far)
{
    struct trace *t = &far->session.trace;
    const int head = 0;
    const struct map_region all = {0, t->n_ids, 0, t->n_ids, 3, 2};
    for (int layer = 0; layer < far->session.model.config.n_layers; layer++) {
        struct map m;
        if (!map_open(&m, t, layer, &head, 1, &all, &far->err) ||
            !map_read(&m, t->n_ids, &far->err))
            fail_msg("%s", far->err.text);
        assert_true(map_done(&m));
        map_close(&m);
    }
}

static void says_the_same(void **state)
{
    struct side cpu, far;
    struct backend *b = far_open(1);
    assert_non_null(b);
    side_open(&cpu, *state, NULL, 0, side_any);
    side_open(&far, *state, b, 0, side_any);
    int answered = 0;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        side_alike(&cpu, &far, lines[i], *state);
        answered += cpu.err.code == ERR_NONE;
        if (cpu.err.code)
            printf("  %s: %s\n", lines[i], cpu.err.text);
    }
    assert_true(answered > (int)(sizeof lines / sizeof *lines) * 4 / 5);
    maps_hold(&far);
    side_close(&cpu);
    side_close(&far);
}

/* Rows that attention ran for while a line was carried out. */
static long rows_of(struct side *far, const char *line)
{
    long calls, before, after;
    far_attended(&calls, &before);
    side_say(far, line);
    if (far->err.code)
        fail_msg("%s: %s", line, far->err.text);
    far_attended(&calls, &after);
    return after - before;
}

/* One pass for each token that comes, and one in vain where fewer come than were asked for. But for
 * the first of them the device knows the token before the host does. */
static void generates(struct side *far, int n)
{
    char line[40];
    int before = trace_rows(&far->session.trace);
    long chosen = far_chosen();
    snprintf(line, sizeof line, "generate %d", n);
    long rows = rows_of(far, line);
    int prompt = before == 0 ? TOKENS : 0, came = far->session.trace.n_ids - before - prompt;
    assert_true(came > 0);
    assert_int_equal(far_chosen() - chosen, came - 1 + (came < n));
    assert_int_equal(rows, (prompt + came + (came < n)) * far->session.model.config.n_layers);
}

static void runs_each_once(void **state)
{
    struct side far;
    struct backend *b = far_open(1);
    assert_non_null(b);
    far_unguard();
    side_open(&far, *state, b, 0, side_any);
    side_say(&far, PROMPT); /* all stays below 16 positions, where no model's regime changes */
    generates(&far, 3);
    side_say(&far, "break *.resid_post if norm(.) > 1e9");
    generates(&far, 2);
    side_say(&far, "delete");
    side_say(&far, "break 1.resid_pre if norm(.) > 0");
    int before = far.session.trace.n_ids;
    /* The token's, one in vain, and reading what was measured. */
    assert_true(rows_of(&far, "generate 2") <= 3 * far.session.model.config.n_layers);
    assert_int_equal(far.session.trace.n_ids, before + 1);
    assert_true(far.session.stopped_by > 0);
    side_close(&far);
}

/* Generates with the n-th request for memory refused, and all after it. False: it was not reached.
 */
static bool refused_at(const char *name, long n)
{
    struct side far;
    struct backend *b = far_open(1);
    assert_non_null(b);
    far_unguard();
    side_open(&far, name, b, 0, side_any);
    side_say(&far, PROMPT);
    side_say(&far, "break *.z if norm(.) > 1e9");
    ledger_fail_after(far.ledger, n);
    struct error err = {0};
    bool ok = session_generate(&far.session, 4, &err) && session_wait(&far.session, &err);
    ledger_fail_after(far.ledger, 0);
    assert_true(ok || (err.code == ERR_MEMORY && err.text[0]));
    /* What came of it stands, and goes on. */
    int before = far.session.trace.n_ids;
    if (!session_generate(&far.session, 2, &err))
        fail_msg("%s: behind a refusal at %ld: %s", name, n, err.text);
    assert_true(far.session.trace.n_ids == before + 2);
    side_close(&far); /* fails if it leaves anything */
    return !ok;
}

/* Where only running ahead is refused, nobody hears of it. */
static void refusals_are_told(void **state)
{
    long refused = 0, n = 1, quiet = 0;
    (void)state;
    for (; quiet < 20; n++) {
        bool told = refused_at("llama-biased", n);
        refused += told;
        quiet = told ? 0 : quiet + 1;
    }
    assert_true(refused > 3);
}

int main(void)
{
    struct CMUnitTest tests[CHECKPOINTS_MOST + 1];
    int n = checkpoints_add(tests, 0, CHECKPOINTS_MOST, says_the_same);
    n = checkpoints_add(tests, n, CHECKPOINTS_MOST, runs_each_once);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(refusals_are_told);
    return _cmocka_run_group_tests("running ahead", tests, (size_t)n, NULL, NULL);
}
