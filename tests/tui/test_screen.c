/* The real program on a terminal: sessions typed key by key. */
#include "tests/support/folder.h"
#include "tests/support/pty.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SMALL_MODEL "tests/golden/models/llama"
#define STORIES     "../shared/models/tinystories-656k"

static char config[600], state[600];

static const char *program(void)
{
    const char *s = getenv("MIDPASS");
    if (!s)
        fail_msg("MIDPASS does not name the program");
    return s;
}

/* Settings of this test alone; extra: further entries, NULL at the end, or NULL. */
static const char *const *environment(const char *const *extra)
{
    static const char *list[16];
    int n = 0;
    snprintf(config, sizeof config, "XDG_CONFIG_HOME=%s/config", folder_path());
    snprintf(state, sizeof state, "XDG_STATE_HOME=%s/state", folder_path());
    list[n++] = config;
    list[n++] = state;
    for (int i = 0; extra && extra[i]; i++)
        list[n++] = extra[i];
    list[n] = NULL;
    return list;
}

static void open_ids(struct pty *p, int w, int h)
{
    char *argv[] = {(char *)program(), "--ids", "1 5 9 2 7 3", SMALL_MODEL, NULL};
    pty_open(p, argv, environment(NULL), w, h);
    pty_expect(p, "tok 0/6");
    pty_settle(p, 100);
}

static bool open_stories(struct pty *p, int w, int h)
{
    /* Slow, so that there is something to interrupt. */
    char *argv[] = {(char *)program(),
                    "--isa",
                    "scalar",
                    "--threads",
                    "1",
                    STORIES,
                    "Once upon a time there was a little",
                    NULL};
    if (access(STORIES "/model.safetensors", R_OK) != 0)
        return false;
    pty_open(p, argv, environment(NULL), w, h);
    pty_expect(p, "tok 0/");
    pty_settle(p, 200);
    return true;
}

static void quit(struct pty *p)
{
    pty_type(p, "q");
    int status = pty_wait(p);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(pty_restored(p));
    pty_close(p);
}

/* ---- whole sessions ---- */

static void test_opens_and_quits(void **s)
{
    struct pty p;
    (void)s;
    open_ids(&p, 120, 40);
    assert_true(p.alternate);
    assert_non_null(strstr(pty_row(&p, 0), " midpass  llama  llama 2L"));
    assert_non_null(strstr(pty_row(&p, 39), "F1 help"));
    assert_true(pty_shows(&p, "console"));
    quit(&p);
}

static void test_steps_by_key(void **s)
{
    struct pty p;
    (void)s;
    open_ids(&p, 120, 40);
    pty_type(&p, "s");
    pty_expect(&p, "hook_embed");
    pty_type(&p, "n");
    pty_expect(&p, "blocks.0.hook_resid_post");
    pty_type(&p, "t");
    pty_expect(&p, "tok 1/6");
    pty_type(&p, "rt");
    pty_expect(&p, "tok 0/6");
    pty_type(&p, "rs");
    pty_expect(&p, "blocks.0.hook_mlp_out");
    pty_type(&p, "f");
    pty_expect(&p, "logits");
    quit(&p);
}

static void test_a_command_shows_the_newest_lines(void **s)
{
    struct pty p;
    (void)s;
    open_ids(&p, 120, 40);
    pty_type(&p, ":help\r:focus console\r");
    pty_expect(&p, "help COMMAND tells more");
    pty_type(&p, "\033[5~");
    pty_expect(&p, "more, End shows them");
    pty_type(&p, "echo here\r");
    pty_expect_gone(&p, "more, End shows them");
    pty_expect(&p, "here");
    pty_type(&p, "quit\r");
    assert_int_equal(WEXITSTATUS(pty_wait(&p)), 0);
    pty_close(&p);
}

static void test_undoes_by_key(void **s)
{
    struct pty p;
    (void)s;
    open_ids(&p, 120, 40);
    pty_type(&p, "f");
    pty_expect(&p, "logits");
    pty_type(&p, ":patch 1.z zero\r");
    pty_expect(&p, "changed 6 rows");
    pty_type(&p, "u");
    pty_expect(&p, "undid: patch 1.z zero");
    quit(&p);
}

static void test_breaks_and_continues(void **s)
{
    struct pty p;
    (void)s;
    open_ids(&p, 120, 40);
    pty_type(&p, ":break 1.pattern at 3\r");
    pty_expect(&p, "Breakpoint 1");
    pty_type(&p, "c");
    pty_expect(&p, "tok 3/6");
    assert_non_null(strstr(pty_row(&p, 0), "blocks.1.attn.hook_pattern"));
    pty_type(&p, "rc");
    pty_expect(&p, "tok 0/6");
    pty_type(&p, ":delete 1\rc");
    pty_expect(&p, "tok 5/6");
    quit(&p);
}

static void test_edits_and_takes_back(void **s)
{
    struct pty p;
    (void)s;
    open_ids(&p, 120, 40);
    pty_type(&p, ":patch 0.resid_post zero\r");
    pty_expect(&p, "atch 1");
    pty_type(&p, "c");
    pty_expect(&p, "tok 5/6");
    pty_type(&p, ":info patches\r");
    pty_expect(&p, "0.resid_post zero");
    pty_type(&p, ":print norm(0.resid_post)\r");
    pty_expect(&p, "$1 = 0");
    pty_type(&p, ":delete patch 1\r:print norm(0.resid_post) > 0\r");
    pty_expect(&p, "$2 = 1");
    quit(&p);
}

static void test_chooses_heads(void **s)
{
    struct pty p;
    (void)s;
    open_ids(&p, 120, 40);
    pty_type(&p, "c:attn 1 0 2\r");
    pty_settle(&p, 100);
    pty_type(&p, ":attn 7\r");
    pty_expect(&p, "layer 7: the model's layers are 0 to");
    pty_type(&p, ":attn 0 99\r");
    pty_expect(&p, "head 99: the heads are 0 to");
    quit(&p);
}

static void test_completes_and_remembers(void **s)
{
    struct pty p;
    (void)s;
    open_ids(&p, 100, 30);
    pty_type(&p, ":fini\t");
    pty_expect(&p, "(midpass) finish");
    pty_type(&p, "\r");
    pty_expect(&p, "logits");
    pty_type(&p, ":p 1.patt\t");
    pty_expect(&p, "p 1.pattern");
    pty_type(&p, "\025info br\t");
    pty_expect(&p, "info breakpoints");
    pty_type(&p, "\003:\033[A");
    pty_expect(&p, "(midpass) finish");
    pty_type(&p, "\003:\022fini");
    pty_expect(&p, "i-search)");
    pty_expect(&p, "fini': finish");
    pty_type(&p, "\007\003");
    quit(&p);
    /* The next session finds it. */
    open_ids(&p, 100, 30);
    pty_type(&p, ":\033[A");
    pty_expect(&p, "(midpass) finish");
    pty_type(&p, "\003");
    quit(&p);
}

static void test_help_and_palette(void **s)
{
    struct pty p;
    (void)s;
    open_ids(&p, 120, 40);
    pty_type(&p, "?");
    pty_expect(&p, "Everywhere");
    pty_type(&p, "\033");
    pty_expect_gone(&p, "Everywhere");
    pty_type(&p, "\020finish");
    pty_expect(&p, "to this token's logits");
    pty_type(&p, "\r");
    pty_expect_gone(&p, "Esc leaves");
    pty_expect(&p, "logits");
    quit(&p);
}

static void test_errors_point_at_the_column(void **s)
{
    struct pty p;
    (void)s;
    open_ids(&p, 100, 30);
    pty_type(&p, ":break 9.pattern\r");
    pty_expect(&p, "there is no layer 9");
    pty_expect(&p, "                ^");
    pty_type(&p, ":nonsense\r");
    pty_expect(&p, "there is no command \"nonsense\"");
    pty_type(&p, "s");
    pty_expect(&p, "hook_embed");
    quit(&p);
}

static void test_others_write_to_the_console(void **s)
{
    struct pty p;
    (void)s;
    open_ids(&p, 100, 30);
    pty_type(&p, ":shell echo to-out; echo to-err >&2\r");
    pty_expect(&p, "to-out");
    pty_expect(&p, "to-err");
    quit(&p);
}

static void test_text_is_pasted_whole(void **s)
{
    struct pty p;
    (void)s;
    open_ids(&p, 100, 30);
    pty_type(&p, "\033[200~echo one\recho two\033[201~");
    pty_expect(&p, "(midpass) echo two");
    assert_true(pty_shows(&p, "one"));
    pty_type(&p, "\r");
    pty_settle(&p, 50);
    quit(&p);
}

/* ---- sizes ---- */

static void test_resizes_in_the_middle(void **s)
{
    static const int sizes[][2] = {{80, 24}, {40, 10}, {1, 1},     {19, 4},  {20, 5},  {300, 100},
                                   {2, 60},  {200, 2}, {400, 120}, {81, 25}, {120, 40}};
    struct pty p;
    (void)s;
    open_ids(&p, 120, 40);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        pty_resize(&p, sizes[i][0], sizes[i][1]);
        pty_type(&p, "s");
        pty_settle(&p, 60);
        if (sizes[i][0] >= 40 && sizes[i][1] >= 10)
            pty_expect(&p, "tok 0/6");
    }
    pty_expect(&p, " midpass  llama");
    assert_non_null(strstr(pty_row(&p, 39), "F1 help"));
    quit(&p);
}

static void test_tiny_terminal_can_be_left(void **s)
{
    struct pty p;
    char *argv[] = {(char *)program(), "--ids", "1 5 9", SMALL_MODEL, NULL};
    (void)s;
    pty_open(&p, argv, environment(NULL), 12, 2);
    pty_expect(&p, "midpass");
    quit(&p);
    pty_open(&p, argv, environment(NULL), 1, 1);
    pty_settle(&p, 300);
    quit(&p);
}

static void test_small_sizes_are_usable(void **s)
{
    struct pty p;
    (void)s;
    open_ids(&p, 40, 10);
    pty_type(&p, "s:print 1+1\r");
    pty_expect(&p, "$1 = 2");
    pty_expect(&p, "hook_embed");
    quit(&p);
}

/* ---- long work ---- */

static void test_answers_while_something_runs(void **s)
{
    struct pty p;
    (void)s;
    open_ids(&p, 120, 40);
    pty_type(&p, ":shell sleep 60\r");
    pty_expect(&p, "running shell sleep 60");
    pty_type(&p, "?");
    pty_expect(&p, "Everywhere");
    pty_type(&p, "\033");
    pty_expect_gone(&p, "Everywhere");
    pty_resize(&p, 100, 30);
    pty_expect(&p, "running shell sleep 60");
    pty_type(&p, "\003");
    pty_settle(&p, 150);
    pty_type(&p, "\003");
    pty_expect(&p, "ended by signal 2");
    pty_type(&p, "s");
    pty_expect(&p, "hook_embed");
    quit(&p);
}

static void test_ids_of_any_length(void **s)
{
    char ids[6000];
    char *argv[] = {(char *)program(), "--ids", ids, SMALL_MODEL, NULL};
    struct pty p;
    (void)s;
    snprintf(ids, sizeof ids, "1 5%*s", (int)sizeof ids - 4, "9");
    pty_open(&p, argv, environment(NULL), 120, 40);
    pty_expect(&p, "tok 0/3");
    quit(&p);
}

/* Seconds of work: a condition that takes long at every place and never holds. */
static void start_long_work(struct pty *p)
{
    char line[4096] = ":ids 1";
    size_t n = strlen(line);
    for (int i = 1; i < 480; i++)
        n += (size_t)snprintf(line + n, sizeof line - n, " %d", 300 + i * 7 % 900);
    pty_type(p, line);
    pty_type(p, "\r");
    pty_expect(p, "tok 0/480");
    pty_type(p, ":break *.z if norm(W(0.mlp.W_in) @ W(0.mlp.W_out)) < 0\rc");
}

static void test_interrupt_stops_work(void **s)
{
    struct pty p;
    (void)s;
    if (!open_stories(&p, 120, 40))
        skip();
    start_long_work(&p);
    pty_expect(&p, "Ctrl-C stops");
    pty_expect_gone(&p, "kv 0 B"); /* the memory panel goes on meanwhile */
    pty_expect(&p, "Ctrl-C stops");
    pty_type(&p, "\003");
    pty_expect(&p, "stopped"); /* behind the place, if one was reached */
    pty_expect_gone(&p, "Ctrl-C stops");
    pty_type(&p, "rt");
    pty_settle(&p, 100);
    quit(&p);
}

static void test_quits_while_something_runs(void **s)
{
    struct pty p;
    (void)s;
    if (!open_stories(&p, 120, 40))
        skip();
    start_long_work(&p);
    pty_expect(&p, "Ctrl-C stops");
    quit(&p);
}

/* ---- nothing is left behind ---- */

static void test_signals_leave_a_sound_terminal(void **s)
{
    static const int signals[] = {SIGTERM, SIGHUP, SIGQUIT, SIGSEGV, SIGABRT};
    struct pty p;
    (void)s;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        open_ids(&p, 80, 24);
        pty_type(&p, "s");
        pty_settle(&p, 50);
        kill(p.pid, signals[i]);
        int status = pty_wait(&p);
        if (!pty_restored(&p))
            fail_msg("signal %d: the terminal is not as it was", signals[i]);
        if (i < 3 && (!WIFEXITED(status) || WEXITSTATUS(status) != 128 + signals[i]))
            fail_msg("signal %d: status %x", signals[i], (unsigned)status);
        if (i >= 3 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
            fail_msg("signal %d went unnoticed", signals[i]);
        pty_close(&p);
    }
}

static void test_hangup_ends_it(void **s)
{
    struct pty p;
    int status = 0;
    pid_t taken = 0;
    (void)s;
    open_ids(&p, 80, 24);
    close(p.master);
    close(p.slave);
    p.master = p.slave = -1;
    for (int i = 0; i < 200 && taken == 0; i++) {
        usleep(50000);
        taken = waitpid(p.pid, &status, WNOHANG);
    }
    assert_int_equal(taken, p.pid);
    p.ended = true;
    pty_close(&p);
}

static void test_failing_to_open_is_told_afterwards(void **s)
{
    struct pty p;
    char *argv[] = {(char *)program(), "tests/golden", NULL};
    (void)s;
    pty_open(&p, argv, environment(NULL), 80, 24);
    int status = pty_wait(&p);
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_true(pty_restored(&p));
    assert_true(pty_shows(&p, "midpass: "));
    assert_true(pty_shows(&p, "config.json"));
    pty_close(&p);
}

static void test_suspends_and_comes_back(void **s)
{
    struct pty p;
    char line[1200];
    char *argv[] = {"/bin/bash", "--norc", "--noprofile", "-i", NULL};
    static const char *const extra[] = {"PS1=shell> ", "HISTFILE", NULL};
    (void)s;
    pty_open(&p, argv, environment(extra), 100, 30);
    pty_expect(&p, "shell>");
    snprintf(line, sizeof line, "'%s' --ids '1 5 9' %s\r", program(), SMALL_MODEL);
    pty_type(&p, line);
    pty_expect(&p, "tok 0/3");
    pty_type(&p, "\032");
    pty_expect(&p, "Stopped");
    assert_false(p.alternate);
    pty_type(&p, "fg\r");
    pty_expect(&p, "tok 0/3");
    assert_true(p.alternate);
    pty_type(&p, "s");
    pty_expect(&p, "hook_embed");
    pty_type(&p, "q");
    pty_expect_gone(&p, "tok 0/3");
    assert_false(p.alternate);
    pty_type(&p, "exit\r");
    pty_wait(&p);
    pty_close(&p);
}

static void test_layouts_are_remembered(void **s)
{
    struct pty p;
    (void)s;
    open_ids(&p, 120, 40);
    pty_type(&p, "=");
    pty_expect(&p, "layout attention");
    pty_type(&p, ":layout custom 60 program | 30 console\r");
    pty_settle(&p, 50);
    quit(&p);
    open_ids(&p, 120, 40);
    pty_type(&p, "\033:layout\r");
    pty_expect(&p, "custom     60 program | 30 console");
    pty_type(&p, "\033");
    quit(&p);
}

/* ---- other terminals ---- */

static void test_unsuited_terminals_get_the_prompt(void **s)
{
    static const char *const names[] = {"TERM=dumb", "TERM=no-such-terminal", "TERM="};
    char *argv[] = {(char *)program(), "--ids", "1 5 9", SMALL_MODEL, NULL};
    struct pty p;
    (void)s;
    for (int i = 0; i < 3; i++) {
        const char *const extra[] = {names[i], NULL};
        pty_open(&p, argv, environment(extra), 100, 30);
        pty_expect(&p, "going on without the screen");
        pty_expect(&p, "(midpass)");
        pty_type(&p, "step\r");
        pty_expect(&p, "embed");
        pty_type(&p, "quit\r");
        assert_int_equal(WEXITSTATUS(pty_wait(&p)), 0);
        pty_close(&p);
    }
}

/* A small system describes the common terminals alone. */
static bool is_described(const char *term)
{
    char line[80];
    snprintf(line, sizeof line, "infocmp %s >/dev/null 2>&1", term + strlen("TERM="));
    return system(line) == 0;
}

static void test_many_terminals(void **s)
{
    static const char *const names[] = {"TERM=xterm",  "TERM=linux", "TERM=vt100",
                                        "TERM=screen", "TERM=putty", "TERM=tmux-256color",
                                        "TERM=ansi",   "TERM=rxvt",  "TERM=xterm-16color"};
    char *argv[] = {(char *)program(), "--ids", "1 5 9", SMALL_MODEL, NULL};
    struct pty p;
    (void)s;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *const extra[] = {names[i], NULL};
        if (i > 0 && !is_described(names[i])) {
            print_message("%s is not described here\n", names[i]);
            continue;
        }
        pty_open(&p, argv, environment(extra), 80, 24);
        pty_expect(&p, "tok 0/3");
        pty_type(&p, "s");
        pty_expect(&p, "hook_embed");
        pty_type(&p, "q");
        assert_int_equal(WEXITSTATUS(pty_wait(&p)), 0);
        pty_close(&p);
    }
}

static void test_without_utf8_everything_is_ascii(void **s)
{
    static const char *const extra[] = {"LC_ALL=C", "NO_COLOR=1", NULL};
    char *argv[] = {(char *)program(), "--ids", "1 5 9", SMALL_MODEL, NULL};
    struct pty p;
    (void)s;
    pty_open(&p, argv, environment(extra), 120, 40);
    pty_expect(&p, "tok 0/3");
    pty_type(&p, "c");
    pty_settle(&p, 200);
    for (int y = 0; y < 40; y++)
        for (const char *c = pty_row(&p, y); *c; c++)
            assert_true((unsigned char)*c < 0x80);
    for (int y = 0; y < 40; y++)
        for (int x = 0; x < 120; x++) {
            VTermScreenCell cell;
            VTermPos at = {y, x};
            vterm_screen_get_cell(p.screen, at, &cell);
            assert_true(VTERM_COLOR_IS_DEFAULT_FG(&cell.fg) || cell.attrs.reverse);
            assert_true(VTERM_COLOR_IS_DEFAULT_BG(&cell.bg) || cell.attrs.reverse);
        }
    quit(&p);
}

static void test_plain_prompt(void **s)
{
    char *argv[] = {(char *)program(), "--plain", "--ids", "1 5 9", SMALL_MODEL, NULL};
    struct pty p;
    (void)s;
    pty_open(&p, argv, environment(NULL), 100, 30);
    pty_expect(&p, "(midpass)");
    assert_false(p.alternate);
    pty_type(&p, "fini\t");
    pty_expect(&p, "(midpass) finish");
    pty_type(&p, "\r");
    pty_expect(&p, "logits");
    pty_type(&p, "print 12\003print 3\r");
    pty_expect(&p, "$1 = 3");
    pty_settle(&p, 200); /* until it asks again: between lines Ctrl-D means nothing */
    pty_type(&p, "\004");
    assert_int_equal(WEXITSTATUS(pty_wait(&p)), 0);
    assert_true(pty_restored(&p));
    pty_close(&p);
}

/* ---- a slow line ---- */

static void test_steps_take_few_bytes(void **s)
{
    struct pty p;
    (void)s;
    if (!open_stories(&p, 120, 40))
        skip();
    unsigned long long bytes = 0;
    for (int i = 0; i < 40; i++) {
        pty_type(&p, i % 10 == 9 ? "t" : i % 4 == 3 ? "n" : "s");
        bytes += pty_settle(&p, 60);
    }
    print_message("%llu bytes a step\n", bytes / 40);
    assert_in_range(bytes / 40, 1, 2000);
    /* And nothing at all while nobody does anything. */
    assert_int_equal(pty_settle(&p, 1500), 0);
    quit(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, folder_set_up, folder_tear_down)
        TEST(opens_and_quits),
        TEST(steps_by_key),
        TEST(a_command_shows_the_newest_lines),
        TEST(undoes_by_key),
        TEST(breaks_and_continues),
        TEST(edits_and_takes_back),
        TEST(chooses_heads),
        TEST(completes_and_remembers),
        TEST(help_and_palette),
        TEST(errors_point_at_the_column),
        TEST(others_write_to_the_console),
        TEST(text_is_pasted_whole),
        TEST(resizes_in_the_middle),
        TEST(tiny_terminal_can_be_left),
        TEST(small_sizes_are_usable),
        TEST(answers_while_something_runs),
        TEST(ids_of_any_length),
        TEST(interrupt_stops_work),
        TEST(quits_while_something_runs),
        TEST(signals_leave_a_sound_terminal),
        TEST(hangup_ends_it),
        TEST(failing_to_open_is_told_afterwards),
        TEST(suspends_and_comes_back),
        TEST(layouts_are_remembered),
        TEST(unsuited_terminals_get_the_prompt),
        TEST(many_terminals),
        TEST(without_utf8_everything_is_ascii),
        TEST(plain_prompt),
        TEST(steps_take_few_bytes),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
