/* test_far.c - the engine with a device's memory: on every golden checkpoint a session on far.h's
 * backend says, command by command, what a session on the CPU says. What reads a device's memory as
 * if it were the host's ends the test. */
#include "tests/support/checkpoints.h"
#include "tests/support/far.h"
#include "tests/support/side.h"

#include <stdio.h>

/* Everything that reads, changes or keeps values. What a model has not is refused alike. */
static const char *const lines[] = {
    "ids 3 1 4 1 5 9 2 6 5 3 5 8 9 7 9 3 2 3 8 4",
    "step 5",
    "print .",
    "set .[0] = 3",
    "next",
    "token 2",
    "break 1.pattern if max(.[0]) > 0.2",
    "break 0.z if norm(.) > 1000",
    "continue",
    "info breakpoints",
    "delete",
    "finish",
    "print logits[2]",
    "goto 19", /* behind a stop a device may have computed more than the CPU */
    "finish",
    "print logits[-1]",
    "print 0.attn_scores",
    "print 1.pattern[0,-3:,:]",
    "print *.z[:,0]",
    "print 1.result[2]",
    "print 0.resid_pre[:,3]",
    "print W(0.attn.W_O)[0]",
    "print W(0.ln1.w)",
    "print embed[4]",
    "lens",
    "lens 1.resid_mid 7",
    "top 5",
    "top 70", /* more than a device finds at a time */
    "print logit(5)",
    "print prob(3, 4)",
    "print rank(7)",
    "catch top1",
    "goto 2",
    "continue",
    "delete",
    "finish",
    "dla 7 8",
    "dla",
    "heads",
    "patch 0.z[1] at 3 = 2",
    "patch 1.pattern[0,2] at 5 = 0.5",
    "patch 0.result[0,1] at 4 add 1.5",
    "patch 1.resid_mid[2] at 2 zero",
    "patch embed[1] at 7 scale 3",
    "finish",
    "info patches",
    "print logits",
    "undo",
    "delete patch 2",
    "finish",
    "print 1.resid_post",
    "patch logits[3] = 0/0",
    "patch logits[9] at 20 = 1/0",
    "finish",
    "top 3",
    "print rank(3)",
    "generate 2",
    "lens",
    "delete patch 6",
    "delete patch 7",
    "generate 5",
    "reverse-token 3",
    "print 1.k",
    "goto 2",
    "catch nan",
    "set 0.resid_pre[0] = 0/0",
    "continue",
    "info tokens",
};

/* What a line reads of the device: no more than so many bytes. */
static void reads_at_most(struct side *far, const char *line, size_t most)
{
    long reads[2];
    size_t bytes[2];
    far_count(&reads[0], &bytes[0]);
    side_say(far, line);
    if (far->err.code)
        fail_msg("%s: %s", line, far->err.text);
    far_count(&reads[1], &bytes[1]);
    if (bytes[1] - bytes[0] > most)
        fail_msg("%s: %zu bytes were read, %zu are enough", line, bytes[1] - bytes[0], most);
}

/* The best of a row's logits, and what one token's place among them is, take no row of them. */
static void logits_stay(const char *name)
{
    struct side far;
    struct backend *b = far_open(1);
    assert_non_null(b);
    side_open(&far, name, b, 0, side_any);
    const struct config *c = &far.session.model.config;
    size_t row = sizeof(struct best_row), entry = sizeof(struct best_entry);
    size_t residual = (size_t)c->d_model * sizeof(float), layers = (size_t)c->n_layers;
    reads_at_most(&far, "ids 3 1 4 1 5 9 2 6", 0);
    far.report.json = false;
    reads_at_most(&far, "finish", row + entry); /* the best is told */
    far.report.json = true;
    reads_at_most(&far, "generate 5", 6 * (row + entry)); /* the last pass finds the best, too */
    reads_at_most(&far, "top 9", row + 9 * entry);
    reads_at_most(&far, "print prob(7)", row);
    reads_at_most(&far, "print rank(7, 3)", row);
    reads_at_most(&far, "lens", (layers + 1) * residual + layers * (row + 3 * entry) + row + entry);
    reads_at_most(&far, "goto 0", 0);
    side_say(&far, "catch top1");
    /* Two residuals at each place, and once more where it is told. */
    size_t pair = 2 * (residual + row + entry);
    reads_at_most(&far, "continue", 14 * layers * pair);
    side_close(&far);
}

/* In words, too, which say more of a place. */
static void words_alike(struct side *cpu, struct side *far, const char *name)
{
    static const char *const told[] = {"goto 2", "finish", "generate 1", "patch logits[1] = 0/0",
                                       "finish", "lens",   "top 4"};
    cpu->report.json = far->report.json = false;
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        side_alike(cpu, far, told[i], name);
}

/* The two may keep different things. */
static void compare(const char *name, int chunk, struct keep cpu_keep, struct keep far_keep)
{
    struct side cpu, far;
    struct backend *b = far_open(1);
    assert_non_null(b);
    side_open(&cpu, name, NULL, chunk, cpu_keep);
    side_open(&far, name, b, chunk, far_keep);
    int answered = 0;
    char where[100];
    snprintf(where, sizeof where, "%s, chunks of %d, stride %d%s", name, chunk, far_keep.stride,
             far_keep.attention ? " with z" : "");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        side_alike(&cpu, &far, lines[i], where);
        answered += cpu.err.code == ERR_NONE;
    }
    words_alike(&cpu, &far, name);
    assert_true(answered > (int)(sizeof lines / sizeof *lines) / 2);
    /* It was far indeed. */
    assert_true(ledger_now(far.ledger, MEM_WEIGHTS, MEM_DEVICE) > 0);
    assert_true(ledger_now(far.ledger, MEM_KV, MEM_DEVICE) > 0);
    assert_true(ledger_now(far.ledger, MEM_CHECKPOINTS, MEM_DEVICE) > 0);
    assert_int_equal(ledger_now(far.ledger, MEM_KV, MEM_HOST), 0);
    assert_true(ledger_now(far.ledger, MEM_SCRATCH, MEM_HOST) >= FAR_HELD);
    side_close(&cpu);
    side_close(&far);
}

static void test_model(void **state)
{
    const struct keep half = {2, false}, half_z = {2, true};
    compare(*state, 512, side_any, side_any);
    compare(*state, 7, half, half);
    compare(*state, 5, side_any, half_z);
    logits_stay(*state);
}

int main(void)
{
    struct CMUnitTest tests[CHECKPOINTS_MOST];
    int n = checkpoints_add(tests, 0, CHECKPOINTS_MOST, test_model);
    return _cmocka_run_group_tests("far", tests, (size_t)n, NULL, NULL);
}
