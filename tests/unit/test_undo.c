/* test_undo.c - undo and redo of what a session holds beside its activations. */
#include "engine/debug/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct debugger {
    struct ledger *ledger;
    struct session session;
    struct report report;
    struct console console;
    struct text said;
};

static bool take(void *context, const char *s, size_t n, struct error *err)
{
    text_add_bytes(context, s, n);
    return text_ok(context, err);
}

static int set_up(void **state)
{
    static struct debugger d;
    struct session_options o = {.n_threads = 1};
    struct error err = {0};
    memset(&d, 0, sizeof d);
    d.ledger = ledger_open();
    if (!session_open(&d.session, d.ledger, "tests/golden/models/llama", &o, &err))
        fail_msg("%s", err.text);
    text_init(&d.said, d.ledger, MEM_OTHER);
    report_init(&d.report, d.ledger, false, take, &d.said);
    console_init(&d.console, &d.session, &d.report);
    *state = &d;
    return 0;
}

static int tear_down(void **state)
{
    struct debugger *d = *state;
    console_fini(&d->console);
    report_fini(&d->report);
    text_fini(&d->said);
    session_close(&d->session);
    return ledger_close(d->ledger) == 0 ? 0 : -1;
}

static const char *say(struct debugger *d, const char *line)
{
    struct error err = {0};
    text_clear(&d->said);
    if (!console_run(&d->console, line, strlen(line), &err))
        fail_msg("%s: %s", line, err.text);
    return d->said.data && d->said.n ? d->said.data : "";
}

static void refused(struct debugger *d, const char *line, const char *why)
{
    struct error err = {0};
    assert_false(console_run(&d->console, line, strlen(line), &err));
    if (!strstr(err.text, why))
        fail_msg("%s: %s", line, err.text);
}

static void says(struct debugger *d, const char *line, const char *words)
{
    const char *said = say(d, line);
    if (!strstr(said, words))
        fail_msg("%s said\n%s\nnot %s", line, said, words);
}

/* What lists all that can be undone beside tokens; receipts count on. */
static void describe(struct debugger *d, char *out, size_t room)
{
    static const char *const lines[] = {"info breakpoints", "info display", "set sampler"};
    size_t n = 0;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        n += (size_t)snprintf(out + n, room - n, "%s", say(d, lines[i]));
    for (int i = 0; i < d->session.patches.n; i++)
        n += (size_t)snprintf(out + n, room - n, "patch %d %d\n", d->session.patches.list[i].id,
                              d->session.patches.list[i].enabled);
    for (int i = 0; i < d->console.variables.n_named; i++) {
        const struct variable *x = d->console.variables.named[i];
        n += (size_t)snprintf(out + n, room - n, "$%s: %zu, %g\n", x->name, x->value.count,
                              x->value.string ? 0 : value_at(&x->value, 0));
    }
    assert_true(n < room);
}

/* Each change alone is undone and done again, to the same lists. */
static void test_each(void **state)
{
    static const char *const changes[] = {
        "display norm(.)",
        "display/a 1.z",
        "disable display 1",
        "enable display 1",
        "undisplay 1",
        "delete display 2",
        "$a = 3",
        "set $a = 4",
        "print $b = 1.resid_post",
        "$a = \"text\"",
        "$b = $b[0] * 2",
        "break 1.z",
        "break *.resid_post if norm(.) > 1",
        "ignore 1 3",
        "condition 2 norm(.) > 2",
        "disable 1",
        "enable 1",
        "delete 2",
        "set sampler temp 0.5 top-p 0.9 seed 7",
        "set sampler greedy",
        "patch 0.z zero",
        "disable patch 1",
        "delete patch 1",
    };
    struct debugger *d = *state;
    static char before[20000], after[20000], now[20000];
    say(d, "ids 3 4 5 6 7");
    say(d, "finish");
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        char undid[100];
        int n = d->console.history.n;
        describe(d, before, sizeof before);
        say(d, changes[i]);
        if (d->console.history.n != n + 1)
            fail_msg("%s: %d changes", changes[i], d->console.history.n - n);
        describe(d, after, sizeof after);
        if (strcmp(before, after) == 0)
            fail_msg("%s changes nothing that is listed", changes[i]);
        snprintf(undid, sizeof undid, "undid: %s", changes[i]);
        says(d, "undo", undid);
        describe(d, now, sizeof now);
        assert_string_equal(now, before);
        say(d, "redo");
        describe(d, now, sizeof now);
        assert_string_equal(now, after);
    }
    /* All of them at once, and again. */
    say(d, "undo 100");
    assert_int_equal(d->console.displays.n + d->console.variables.n_named, 0);
    assert_false(d->session.has_prompt);
    say(d, "redo 100");
    describe(d, now, sizeof now);
    assert_string_equal(now, after);
}

/* Looking is no change. */
static void test_looking(void **state)
{
    static const char *const looks[] = {"display", "info display", "set sampler", "print 3",
                                        "step",    "print $a",     "goto 2",      "display"};
    struct debugger *d = *state;
    say(d, "ids 3 4 5 6 7");
    say(d, "display norm(.)");
    say(d, "$a = 2");
    for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++) {
        say(d, looks[i]);
        if (d->console.history.n != 3)
            fail_msg("%s is a change", looks[i]);
    }
    /* What was printed stays, and so do the numbers. */
    says(d, "undo 2", "undid: display norm(.)");
    says(d, "print $1", "$3 = 3");
    refused(d, "print $a", "there is no $a");
    say(d, "display 1");
    says(d, "info display", "2 ");
}

/* A breakpoint's commands, set and replaced; what is undone runs no more. */
static void test_commands(void **state)
{
    struct debugger *d = *state;
    say(d, "ids 3 4 5 6 7");
    say(d, "break 1.z at 2");
    say(d, "commands");
    say(d, "echo one\\n");
    say(d, "end");
    says(d, "undo", "undid: commands 1");
    assert_null(strstr(say(d, "continue"), "one"));
    say(d, "goto 0");
    says(d, "redo", "did again: commands 1");
    say(d, "goto 0");
    says(d, "continue", "one");
    say(d, "commands 1");
    say(d, "end");
    say(d, "goto 0");
    assert_null(strstr(say(d, "continue"), "one"));
    say(d, "undo");
    say(d, "goto 0");
    says(d, "continue", "one");
}

/* A condition reads the value that undo brought back. */
static void test_condition(void **state)
{
    struct debugger *d = *state;
    say(d, "ids 3 4 5 6 7");
    say(d, "$limit = 0");
    say(d, "break 1.z if norm(.) > $limit");
    say(d, "$limit = 1000000");
    says(d, "continue", "logits");
    say(d, "goto 0");
    say(d, "undo");
    says(d, "continue", "Breakpoint 1");
}

/* Large values are shared by all states that hold them, and those that undo alone holds go with
 * the oldest changes. */
static void test_memory(void **state)
{
    struct debugger *d = *state;
    struct value big;
    size_t dims[1] = {(size_t)3 << 20};
    value_init(&big, d->ledger);
    assert_true(value_set_shape(&big, 1, dims, NULL));
    assert_true(variables_set(&d->console.variables, "big", &big, NULL));
    size_t one = value_bytes(&big), before;
    value_fini(&big);
    assert_true(one >= 3 * sizeof(float) << 20);
    say(d, "ids 3 4");
    before = ledger_total(d->ledger);
    for (int i = 0; i < 20; i++)
        say(d, i % 2 ? "set sampler temp 0.5" : "set sampler temp 0.75");
    assert_true(ledger_total(d->ledger) < before + one);
    for (int i = 0; i < 12; i++)
        say(d, "$big = $big + 1");
    assert_true(ledger_total(d->ledger) > before + one);
    assert_true(ledger_total(d->ledger) < before + HISTORY_BYTES + 2 * one);
    /* The last ones are there still. */
    says(d, "undo", "undid: $big");
    says(d, "print $big[0]", "= 11");
    says(d, "redo", "did again: $big");
    says(d, "print $big[0]", "= 12");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {TEST(test_each), TEST(test_looking), TEST(test_commands),
                                       TEST(test_condition), TEST(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
