/* test_far.c - the engine with a device's memory: on every golden checkpoint a session on far.h's
 * backend says, command by command, what a session on the CPU says. What reads a device's memory as
 * if it were the host's ends the test. */
#include "engine/debug/command.h"
#include "tests/support/checkpoints.h"
#include "tests/support/far.h"

#include <stdio.h>
#include <string.h>

struct side {
    struct ledger *ledger;
    struct session session;
    struct report report;
    struct console console;
    struct text said;
    struct error err;
};

static const struct keep any = {0, false}; /* as memory allows */

static bool take(void *context, const char *s, size_t n, struct error *err)
{
    struct text *said = context;
    text_add_bytes(said, s, n);
    return text_ok(said, err);
}

static void side_open(struct side *s, const char *name, struct backend *b, int chunk,
                      struct keep keep)
{
    char path[300];
    memset(s, 0, sizeof *s);
    snprintf(path, sizeof path, CHECKPOINTS "/%s", name);
    s->ledger = ledger_open();
    assert_non_null(s->ledger);
    struct session_options o = {.n_threads = 1,
                                .budget = (size_t)64 << 20,
                                .backend = b,
                                .trace.chunk = chunk,
                                .trace.stride = keep.stride,
                                .trace.attention = keep.attention};
    if (!session_open(&s->session, s->ledger, path, &o, &s->err))
        fail_msg("%s", s->err.text);
    text_init(&s->said, s->ledger, MEM_OTHER);
    report_init(&s->report, s->ledger, true, take, &s->said);
    console_init(&s->console, &s->session, &s->report);
}

static void side_close(struct side *s)
{
    console_fini(&s->console);
    report_fini(&s->report);
    text_fini(&s->said);
    session_close(&s->session);
    assert_int_equal(ledger_close(s->ledger), 0);
}

static const char *say(struct side *s, const char *line)
{
    s->err = (struct error){0};
    text_clear(&s->said);
    if (!console_run(&s->console, line, strlen(line), &s->err))
        text_add(&s->said, s->err.text);
    return s->said.data ? s->said.data : "";
}

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
    "top 5",
    "dla 7 8",
    "heads",
    "patch 0.z[1] at 3 = 2",
    "patch 1.pattern[0,2] at 5: = 0.5",
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
    "generate 5",
    "reverse-token 3",
    "print 1.k",
    "goto 2",
    "catch nan",
    "set 0.resid_pre[0] = 0/0",
    "continue",
    "info tokens",
};

/* Conditions that hold at some places, by thresholds that some model's rows lie about; with what
 * they are `continue`d through. */
static const char *const conditions[] = {
    "break *.resid_post if norm(.) > 1",
    "break *.resid_post if norm(.) > 4",
    "break *.z if max(abs(.)) > 0.5",
    "break *.z if norm(.[0]) > 0.2",
    "break *.attn_out if mean(.) > 0.01",
    "break *.mlp_out if std(.) > 0.1",
    "break *.resid_mid if min(.) < -1",
    "break *.q if norm(.[-1]) < 0.3",
    "break *.post if max(.) > 0.05",
    "break *.k if sum(.) > 0.5 && .[0,1] > 0",
    "break *.pattern if max(.[0]) < 0.9",
    "break embed if norm(.) > 0.9",
    "break *.resid_post if .[3] > 1",
    "break *.v if !(norm(.) < 1)",
    "break *.ln1.scale if max(.) > 0.2 || 0.9",
    "break logits if max(.) > 1",
};

/* The two sides stop at the same places, with the same things said there. */
static void stop_alike(struct side *cpu, struct side *far, const char *name, const char *line)
{
    static const char *const prompt = "ids 3 1 4 1 5 9 2 6 5 3 5 8 9 7 9 3 2 3 8 4";
    const char *const turns[] = {prompt,     line,       "continue",         "continue", "continue",
                                 "continue", "continue", "reverse-continue", "continue", "delete"};
    for (size_t i = 0; i < sizeof turns / sizeof *turns; i++) {
        const char *want = say(cpu, turns[i]), *got = say(far, turns[i]);
        if (strcmp(want, got) != 0)
            fail_msg("%s: %s: %s\n  the CPU %.400s\n  far     %.400s", name, line, turns[i], want,
                     got);
    }
}

static void conditions_alike(const char *name, int chunk)
{
    struct side cpu, far;
    struct backend *b = far_open(1);
    assert_non_null(b);
    far_unguard();
    side_open(&cpu, name, NULL, chunk, any);
    side_open(&far, name, b, chunk, any);
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++)
        stop_alike(&cpu, &far, name, conditions[i]);
    /* NaNs where no condition looks: among scores, and hidden by a patch of what they make. */
    static const char *const bad[] = {
        "patch 1.attn_scores[0,3] at 7 = 0/0", "patch 0.q[0,1] at 5 = 1/0",
        "patch 1.pattern[0,2] at 9 = 0/0",     "patch 0.resid_mid[1] at 4 = 0/0",
        "patch 0.attn_scores[0,2] at 6 = 0/0",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        say(&cpu, bad[i]), say(&far, bad[i]);
        stop_alike(&cpu, &far, name, "catch nan");
        if (i == sizeof bad / sizeof *bad - 2)
            say(&cpu, "patch 0.z at 6 = 0"), say(&far, "patch 0.z at 6 = 0");
        say(&cpu, "delete patch 1"), say(&far, "delete patch 1");
    }
    side_close(&cpu);
    side_close(&far);
}

/* Breakpoints that never fire leave a device's rows where they are. */
static void armed_is_cheap(const char *name)
{
    struct side far;
    struct backend *b = far_open(1);
    long reads[2];
    size_t bytes[2];
    assert_non_null(b);
    far_unguard();
    side_open(&far, name, b, 0, any);
    say(&far, "ids 3 1 4 1 5 9 2 6");
    int layers = far.session.model.config.n_layers, armed = 0;
    static const char *const sites[] = {"z", "attn_out", "mlp_out", "resid_post", "q"};
    for (int i = 0; i < 100; i++) {
        char line[100];
        snprintf(line, sizeof line, "break %d.%s if norm(.) > 1e%d", i % layers,
                 sites[i / layers % 5], 9 + i % 20);
        say(&far, line);
        armed += far.err.code == ERR_NONE;
    }
    say(&far, "catch nan");
    assert_true(armed > 50);
    say(&far, "break 0.attn_out if .[3] > 1e9");
    far_count(&reads[0], &bytes[0]);
    say(&far, "generate 5");
    if (far.err.code)
        fail_msg("%s: %s", name, far.err.text);
    far_count(&reads[1], &bytes[1]);
    /* A token's measures come together, and its tail is read for catch nan. */
    if (reads[1] - reads[0] > 5 * 24 || bytes[1] - bytes[0] > (size_t)5 * 64 << 10)
        fail_msg("%s: %ld reads and %zu bytes for five tokens", name, reads[1] - reads[0],
                 bytes[1] - bytes[0]);
    side_close(&far);
}

/* A condition that measures say nothing about takes a read a chunk, not one a row. */
static void unmeasured_is_fetched(const char *name)
{
    struct side far;
    struct backend *b = far_open(1);
    long reads[2];
    size_t bytes[2];
    assert_non_null(b);
    far_unguard();
    side_open(&far, name, b, 0, any);
    say(&far, "ids 3 1 4 1 5 9 2 6 5 3 5 8 9 7 9 3 2 3 8 4");
    say(&far, "break 0.attn_out if .[3] > 1e9");
    far_count(&reads[0], &bytes[0]);
    say(&far, "continue");
    if (far.err.code)
        fail_msg("%s: %s", name, far.err.text);
    far_count(&reads[1], &bytes[1]);
    if (reads[1] - reads[0] > 8)
        fail_msg("%s: %ld reads for 20 rows", name, reads[1] - reads[0]);
    /* With it on the mix, NaNs in front of that are still found. */
    say(&far, "break 1.z if .[0,1] > 1e9");
    say(&far, "patch 1.q[0,1] at 5 = 0/0");
    say(&far, "catch nan");
    say(&far, "goto 0");
    bool found = false;
    for (int i = 0; i < 8 && !found; i++) /* q, its norm's sites, and q rotated, come first */
        found = strstr(say(&far, "continue"), "hook_attn_scores") != NULL;
    if (!found)
        fail_msg("%s: no NaN among scores: %s", name, far.said.data ? far.said.data : "");
    side_close(&far);
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
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const char *want = say(&cpu, lines[i]), *got = say(&far, lines[i]);
        answered += cpu.err.code == ERR_NONE;
        if (strcmp(want, got) != 0)
            fail_msg("%s, chunks of %d, stride %d%s: %s\n  the CPU %.400s\n  far     %.400s", name,
                     chunk, far_keep.stride, far_keep.attention ? " with z" : "", lines[i], want,
                     got);
    }
    assert_true(answered > (int)(sizeof lines / sizeof *lines) / 2);
    /* It was far indeed. */
    assert_true(ledger_now(far.ledger, MEM_WEIGHTS, MEM_DEVICE) > 0);
    assert_true(ledger_now(far.ledger, MEM_KV, MEM_DEVICE) > 0);
    assert_true(ledger_now(far.ledger, MEM_CHECKPOINTS, MEM_DEVICE) > 0);
    assert_int_equal(ledger_now(far.ledger, MEM_KV, MEM_HOST), 0);
    side_close(&cpu);
    side_close(&far);
}

static void test_model(void **state)
{
    const struct keep half = {2, false}, half_z = {2, true};
    compare(*state, 512, any, any);
    compare(*state, 7, half, half);
    compare(*state, 5, any, half_z);
}

static void test_conditions(void **state)
{
    conditions_alike(*state, 512);
    conditions_alike(*state, 5);
    armed_is_cheap(*state);
    unmeasured_is_fetched(*state);
}

int main(void)
{
    struct CMUnitTest tests[CHECKPOINTS_MOST];
    int n = checkpoints_add(tests, 0, CHECKPOINTS_MOST, test_model);
    n = checkpoints_add(tests, n, CHECKPOINTS_MOST, test_conditions);
    return _cmocka_run_group_tests("far", tests, (size_t)n, NULL, NULL);
}
