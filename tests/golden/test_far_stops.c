/* test_far_stops.c - breakpoints on a device: on far.h's backend a session stops where one on the
 * CPU does, and what it reads and computes for that is little. */
#include "engine/debug/watcher.h"
#include "tests/support/checkpoints.h"
#include "tests/support/far.h"
#include "tests/support/side.h"

#include <stdio.h>
#include <string.h>

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
    char where[200];
    snprintf(where, sizeof where, "%s, %s", name, line);
    for (size_t i = 0; i < sizeof turns / sizeof *turns; i++)
        side_alike(cpu, far, turns[i], where);
}

static void conditions_alike(const char *name, int chunk)
{
    struct side cpu, far;
    struct backend *b = far_open(1);
    assert_non_null(b);
    far_unguard();
    side_open(&cpu, name, NULL, chunk, side_any);
    side_open(&far, name, b, chunk, side_any);
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++)
        stop_alike(&cpu, &far, name, conditions[i]);
    /* NaNs where no condition looks: among scores, and hidden by a patch of what they make. */
    static const char *const bad[] = {
        "patch 1.attn_scores[0,3] at 7 = 0/0", "patch 0.q[0,1] at 5 = 1/0",
        "patch 1.pattern[0,2] at 9 = 0/0",     "patch 0.resid_mid[1] at 4 = 0/0",
        "patch 0.attn_scores[0,2] at 6 = 0/0",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        side_say(&cpu, bad[i]), side_say(&far, bad[i]);
        stop_alike(&cpu, &far, name, "catch nan");
        if (i == sizeof bad / sizeof *bad - 2)
            side_say(&cpu, "patch 0.z at 6 = 0"), side_say(&far, "patch 0.z at 6 = 0");
        side_say(&cpu, "delete patch 1"), side_say(&far, "delete patch 1");
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
    side_open(&far, name, b, 0, side_any);
    side_say(&far, "ids 3 1 4 1 5 9 2 6");
    int layers = far.session.model.config.n_layers, armed = 0;
    static const char *const sites[] = {"z", "attn_out", "mlp_out", "resid_post", "q"};
    for (int i = 0; i < 100; i++) {
        char line[100];
        snprintf(line, sizeof line, "break %d.%s if norm(.) > 1e%d", i % layers,
                 sites[i / layers % 5], 9 + i % 20);
        side_say(&far, line);
        armed += far.err.code == ERR_NONE;
    }
    side_say(&far, "catch nan");
    assert_true(armed > 50);
    side_say(&far, "break 0.attn_out if .[3] > 1e9");
    far_count(&reads[0], &bytes[0]);
    side_say(&far, "generate 5");
    if (far.err.code)
        fail_msg("%s: %s", name, far.err.text);
    far_count(&reads[1], &bytes[1]);
    /* A token's measures come together, and its tail is read for catch nan. */
    if (reads[1] - reads[0] > 5 * 24 || bytes[1] - bytes[0] > (size_t)5 * 64 << 10)
        fail_msg("%s: %ld reads and %zu bytes for five tokens", name, reads[1] - reads[0],
                 bytes[1] - bytes[0]);
    side_close(&far);
}

/* No site's rows are read to look for NaN, the tail's neither: a token takes what is measured of
 * each, and what is best. */
static void nan_is_measured(const char *name)
{
    struct side far;
    struct backend *b = far_open(1);
    long reads;
    size_t before, after, each = sizeof(struct best_row) + sizeof(struct best_entry);
    assert_non_null(b);
    far_unguard();
    side_open(&far, name, b, 0, side_any);
    const struct program *p = &far.session.model.program;
    for (int op = 0; op < p->n_ops; op++) {
        const struct op *o = &p->ops[op];
        int heads = o->heads > 1 && op < p->block_op[p->n_layers] ? o->heads : 1;
        if (o->site && !o->lazy && o->kind != OP_SCORES && o->kind != OP_SOFTMAX)
            each += (size_t)heads * sizeof(struct measures);
    }
    side_say(&far, "ids 3 1 4 1 5 9 2 6");
    side_say(&far, "catch nan");
    side_say(&far, "finish");
    far_count(&reads, &before);
    side_say(&far, "token 4");
    far_count(&reads, &after);
    assert_int_equal(far.err.code, ERR_NONE);
    if (after - before > 4 * each)
        fail_msg("%s: %zu bytes for four tokens, %zu are enough", name, after - before, 4 * each);
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
    side_open(&far, name, b, 0, side_any);
    side_say(&far, "ids 3 1 4 1 5 9 2 6 5 3 5 8 9 7 9 3 2 3 8 4");
    side_say(&far, "break 0.attn_out if .[3] > 1e9");
    far_count(&reads[0], &bytes[0]);
    side_say(&far, "continue");
    if (far.err.code)
        fail_msg("%s: %s", name, far.err.text);
    far_count(&reads[1], &bytes[1]);
    if (reads[1] - reads[0] > 8)
        fail_msg("%s: %ld reads for 20 rows", name, reads[1] - reads[0]);
    /* With it on the mix, NaNs in front of that are still found. */
    side_say(&far, "break 1.z if .[0,1] > 1e9");
    side_say(&far, "patch 1.q[0,1] at 5 = 0/0");
    side_say(&far, "catch nan");
    side_say(&far, "goto 0");
    bool found = false;
    for (int i = 0; i < 8 && !found; i++) /* q, its norm's sites, and q rotated, come first */
        found = strstr(side_say(&far, "continue"), "hook_attn_scores") != NULL;
    if (!found)
        fail_msg("%s: no NaN among scores: %s", name, far.said.data ? far.said.data : "");
    side_close(&far);
}

/* ---- what was seen ahead of a stop ---- */

static const char *const prompts[] = {"ids 3 1 4 1 5 9 2 6 5 3 5 8 9 7 9 3 2 3 8 4 6 2",
                                      "ids 3 7 1 8 2 8 1 8 2 8 4 5 9 0 4 5 2 3 5 3 6 0 2"};

/* Up to three breakpoints each. */
static const char *const armed[][3] = {
    {"break *.resid_post if norm(.) > 6"},
    {"break *.resid_post if .[3] > $v * 10", "break 1.resid_mid at 9"},
    {"break *.resid_post if norm(.) > 3", "break 0.z at 0-2"},
    {"break 1.z if max(abs(.)) > $v * 8", "tbreak 0.mlp_out if norm(.) > 1"},
    {"break *.mlp_out if std(.) > 0.8", "catch nan"},
    {"catch nan", "break 0.z at 1-3", "break 1.pattern if min(.[0]) < 0.001"},
    {"break embed if norm(.) > 0.9", "watch argmax(1.resid_post)", "break logits if max(.) > 6"},
};

/* What can happen between two stops, as much of it as there is. */
static const char *const changes[][5] = {
    {"step"},
    {"generate 1"},
    {"goto 3"},
    {"goto 0", "continue", "reverse-continue"},
    {"token 2"},
    {"finish"},
    {"$v = 0.02"},
    {"$v = -1"},
    {"condition 1 norm(.) > 2"},
    {"condition 1"},
    {"disable 1", "continue", "enable 1"},
    {"disable 1", "ids 3 7 1 8 2 8 1 8 2 8 4 5", "continue", "enable 1"},
    {"break *.resid_mid if norm(.) > 3"},
    {"break 1.mlp_out if .[0] > 0"},
    {"delete 2"},
    {"ignore 1 1"},
    {"set . *= 4"},
    {"patch 0.resid_post[1] at 5 = 30"},
    {"patch 0.resid_post[1] at 5 = 30", "continue", "undo"},
    {"patch 1.resid_mid[2] at 4 = 0/0"},
    {"patch 1.attn_scores[0,3] at 7 = 0/0", "continue", "patch 1.z at 7 = 0"},
    {"patch logits[2] at 8 = 0/0"},
    {"patch logits[2] at 2 = 0/0", "continue", "delete patch 1"},
    {"patch ln_final.scale at 6 = 0/0"},
    {"patch token 6 = 4"},
    {"break 0.q if norm(.) > 1", "undo"},
    {"ids 3 7 1 8 2 8 1 8 2 8 4 5"},
    {"ids 8 4 9 7 5 1 1 4"},
    {"catch nan"},
};

/* One side, on the CPU, forgets before each line what it has seen. */
static void alike(struct side *anew, struct side *other, const char *line, const char *where)
{
    watcher_close(anew->session.watcher);
    anew->session.watcher = NULL;
    side_alike(anew, other, line, where);
}

static void change_alike(struct side *anew, struct side *other, size_t arm, size_t change)
{
    char where[200];
    snprintf(where, sizeof where, "%s, %s, %s", anew->session.model.name, armed[arm][0],
             changes[change][0]);
    for (int i = 0; i < 2; i++) { /* numbers begin at 1 again */
        struct side *s = i ? other : anew;
        for (int k = 0; k < 3 && s->session.breakpoints.n > 0; k++)
            side_say(s, "delete");
        s->session.breakpoints.last_id = 0;
        for (int k = s->session.patches.last_id; k > 0; k--) {
            char line[40];
            snprintf(line, sizeof line, "delete patch %d", k);
            side_say(s, line);
        }
        s->session.patches.last_id = 0;
    }
    alike(anew, other, prompts[change % 2], where);
    alike(anew, other, "$v = 0.1", where);
    for (int i = 0; i < 3 && armed[arm][i]; i++)
        alike(anew, other, armed[arm][i], where);
    alike(anew, other, "continue", where);
    for (int i = 0; i < 5 && changes[change][i]; i++)
        alike(anew, other, changes[change][i], where);
    for (int i = 0; i < 4; i++)
        alike(anew, other, "continue", where);
    alike(anew, other, "info breakpoints", where);
}

static void changes_alike(const char *name, struct backend *b, int chunk)
{
    struct side anew, other;
    if (b)
        far_unguard();
    side_open(&anew, name, NULL, chunk, side_any);
    side_open(&other, name, b, chunk, side_any);
    for (size_t i = 0; i < sizeof armed / sizeof *armed; i++)
        for (size_t k = 0; k < sizeof changes / sizeof *changes; k++)
            change_alike(&anew, &other, i, k);
    side_close(&anew);
    side_close(&other);
}

/* ---- how much is computed ---- */

/* So many chunks of so many rows in all, each in so many layers. */
static void attended(struct side *far, const char *line, long calls, long rows, int layers)
{
    long before[2], after[2];
    far_attended(&before[0], &before[1]);
    side_say(far, line);
    if (far->err.code)
        fail_msg("%s: %s", line, far->err.text);
    far_attended(&after[0], &after[1]);
    if (after[0] - before[0] != calls * layers || after[1] - before[1] != rows * layers)
        fail_msg("%s, %s: attention ran %ld times for %ld rows; %ld for %ld are right",
                 far->session.model.name, line, after[0] - before[0], after[1] - before[1],
                 calls * layers, rows * layers);
}

/* A prompt under conditions runs in a device's own chunks; what is known already does not run for
 * them once more, but where nobody has watched it, and then in the layers that are watched. */
static void whole_chunks(const char *name)
{
    struct side far;
    struct backend *b = far_open(1);
    assert_non_null(b);
    far_unguard();
    side_open(&far, name, b, 8, side_any);
    int all = far.session.model.config.n_layers;
    side_say(&far, prompts[0]); /* of 22 */
    for (int i = 0; i < 20; i++)
        side_say(&far,
                 i % 2 ? "break 1.resid_post if norm(.) > 1e9" : "break 0.mlp_out if std(.) > 1e9");
    attended(&far, "continue", 3, 22, all);
    attended(&far, "token 2", 2, 2, all);
    side_say(&far, prompts[1]); /* of 23; the site's rows are read without attention */
    side_say(&far, "break 0.resid_pre at 1 if norm(.) > 0");
    side_say(&far, "break 0.resid_pre at 6 if norm(.) > 0");
    side_say(&far, "break 0.resid_pre at 17 if norm(.) > 0");
    attended(&far, "continue", 1, 8, all);
    assert_int_equal(far.session.position, 1);
    attended(&far, "continue", 0, 0, all);
    assert_int_equal(far.session.position, 6);
    attended(&far, "continue", 2, 15, all);
    assert_int_equal(far.session.position, 17);
    attended(&far, "goto 0", 0, 0, all);
    attended(&far, "continue", 3, 23, 2);
    assert_int_equal(far.session.position, 1);
    attended(&far, "continue", 0, 0, all);
    assert_int_equal(far.session.position, 6);
    side_close(&far);
}

static void test_changes(void **state)
{
    changes_alike(*state, NULL, 512);
    changes_alike(*state, far_open(1), 512);
    changes_alike(*state, far_open(1), 7);
    whole_chunks(*state);
}

static void test_conditions(void **state)
{
    conditions_alike(*state, 512);
    conditions_alike(*state, 5);
    armed_is_cheap(*state);
    nan_is_measured(*state);
    unmeasured_is_fetched(*state);
}

int main(void)
{
    struct CMUnitTest tests[CHECKPOINTS_MOST];
    int n = checkpoints_add(tests, 0, CHECKPOINTS_MOST, test_conditions);
    n = checkpoints_add(tests, n, CHECKPOINTS_MOST, test_changes);
    return _cmocka_run_group_tests("stops on a far device", tests, (size_t)n, NULL, NULL);
}
