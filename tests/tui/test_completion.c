/* What Tab offers, where in the line. */
#include "tests/support/folder.h"
#include "tui/completion.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct ledger *ledger;
static struct session session;
static struct report report;
static struct console console;
static bool idle;

static bool keep(void *context, const char *s, size_t n, struct error *err)
{
    (void)context, (void)s, (void)n, (void)err;
    return true;
}

static bool is_idle(void *context)
{
    (void)context;
    return idle;
}

static int set_up(void **state)
{
    struct session_options o = {.device = "cpu", .n_threads = 1};
    if (folder_set_up(state) != 0)
        return -1;
    ledger = *state;
    idle = true;
    if (!session_open(&session, ledger, "tests/golden/models/llama", &o, NULL))
        return -1;
    report_init(&report, ledger, false, keep, NULL);
    console_init(&console, &session, &report);
    return 0;
}

static int tear_down(void **state)
{
    console_fini(&console);
    report_fini(&report);
    session_close(&session);
    return folder_tear_down(state);
}

static void run(const char *line)
{
    struct error err = {0};
    if (!console_run(&console, line, strlen(line), &err))
        fail_msg("%s: %s", line, err.text);
}

static void find(struct completion *c, const char *line)
{
    static const char *const words[] = {"layout", "zoom", NULL};
    struct completion_source s = {ledger, &console, words, is_idle, NULL};
    assert_true(completion_find(c, &s, line, strlen(line), NULL));
}

/* What the line becomes if all candidates have this in common. */
static void expect(const char *line, const char *becomes)
{
    char out[600];
    struct completion c;
    find(&c, line);
    snprintf(out, sizeof out, "%.*s%s", (int)c.from, line, c.found ? c.common : line + c.from);
    if (strcmp(out, becomes) != 0)
        fail_msg("\"%s\" becomes \"%s\", not \"%s\"", line, out, becomes);
    completion_fini(&c);
}

static void expect_list(const char *line, const char *list)
{
    char out[2000] = "";
    struct completion c;
    find(&c, line);
    for (size_t i = 0; i < c.n; i++) {
        strcat(out, i ? " " : "");
        strcat(out, c.list[i]);
    }
    if (strcmp(out, list) != 0)
        fail_msg("\"%s\" offers \"%s\", not \"%s\"", line, out, list);
    completion_fini(&c);
}

static void test_commands(void **s)
{
    (void)s;
    expect("fini", "finish");
    expect("  rev", "  reverse-");
    expect("zo", "zoom");
    expect("xyz", "xyz");
    expect_list("step", "step stepi");
}

static void test_sites(void **s)
{
    (void)s;
    expect("break 1.patt", "break 1.pattern");
    expect("break 0.ln1.sc", "break 0.ln1.scale");
    expect("break blocks.1.attn.hook_pat", "break blocks.1.attn.hook_pattern");
    expect("print norm(0.resid_po", "print norm(0.resid_post");
    expect("print 0.resid_post + 1.resid_mi", "print 0.resid_post + 1.resid_mid");
    expect("break *.patt", "break *.pattern");
    expect("print sof", "print softmax(");
}

static void test_words(void **s)
{
    (void)s;
    expect("info mem", "info memory");
    expect("info br", "info breakpoints");
    expect("set samp", "set sampler");
    expect("help fini", "help finish");
}

static void test_numbers(void **s)
{
    (void)s;
    run("ids 1 2 3");
    run("break 0.z");
    run("break 1.z");
    run("patch 0.z zero");
    expect_list("delete ", "1 2");
    expect_list("disable patch ", "1");
    idle = false;
    expect_list("delete ", "");
}

static void test_files(void **s)
{
    char line[700], becomes[700];
    (void)s;
    folder_put(folder_file("script.mp"), "step\n", 5);
    snprintf(line, sizeof line, "source %s/scr", folder_path());
    snprintf(becomes, sizeof becomes, "source %s/script.mp", folder_path());
    expect(line, becomes);
}

static void test_list_is_in_columns(void **s)
{
    struct completion c;
    struct text t;
    (void)s;
    find(&c, "step");
    text_init(&t, ledger, MEM_OTHER);
    completion_add_list(&c, 80, &t);
    assert_string_equal(t.data, "step   stepi\n");
    text_clear(&t);
    completion_add_list(&c, 5, &t);
    assert_string_equal(t.data, "step\nstepi\n");
    text_fini(&t);
    completion_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)
        TEST(commands), TEST(sites), TEST(words),
        TEST(numbers),  TEST(files), TEST(list_is_in_columns),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
