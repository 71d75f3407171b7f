/* test_files.c - the user's own files: folders, digests, history, logs. */
#include "engine/base/home.h"
#include "engine/base/sha256.h"
#include "engine/base/text.h"
#include "engine/debug/log.h"
#include "tests/support/folder.h"
#include "tui/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* FIPS 180-4's own examples, and lengths about the block's end. */
static void test_sha256(void **state)
{
    static const struct {
        const char *text;
        int repeat;
        const char *hex;
    } cases[] = {
        {"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
        {"a", 55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"},
        {"a", 63, "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34"},
        {"a", 64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"},
    };
    char hex[65];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n = strlen(cases[i].text), all = n * (size_t)cases[i].repeat;
        char *text = malloc(all + 1);
        for (int r = 0; r < cases[i].repeat; r++)
            memcpy(text + (size_t)r * n, cases[i].text, n);
        sha256_hex(text, all, hex);
        assert_string_equal(hex, cases[i].hex);
        free(text);
    }
}

static void at_home(void)
{
    setenv("HOME", folder_path(), 1);
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("XDG_STATE_HOME");
}

static void test_home(void **state)
{
    char path[400], want[400];
    struct error err = {0};
    struct stat st;
    (void)state;
    at_home();
    assert_true(home_path(HOME_CONFIG, "rc", path, sizeof path, &err));
    snprintf(want, sizeof want, "%s/.config/midpass/rc", folder_path());
    assert_string_equal(path, want);
    assert_true(home_make(HOME_STATE, &err));
    snprintf(want, sizeof want, "%s/.local/state/midpass", folder_path());
    assert_int_equal(stat(want, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    setenv("XDG_STATE_HOME", "/elsewhere", 1);
    assert_true(home_path(HOME_STATE, NULL, path, sizeof path, &err));
    assert_string_equal(path, "/elsewhere/midpass");
    /* A relative one is none. */
    setenv("XDG_STATE_HOME", "elsewhere", 1);
    assert_true(home_path(HOME_STATE, NULL, path, sizeof path, &err));
    assert_string_equal(path, want);
    assert_false(home_path(HOME_STATE, NULL, path, 10, &err));
    unsetenv("HOME");
    unsetenv("XDG_STATE_HOME");
    err = (struct error){0};
    assert_false(home_path(HOME_STATE, NULL, path, sizeof path, &err));
    assert_string_equal(err.text, "neither XDG_STATE_HOME nor HOME names a folder");
    at_home();
    folder_put(folder_file(".config"), "", 0);
    err = (struct error){0};
    assert_false(home_make(HOME_CONFIG, &err));
    assert_non_null(strstr(err.text, "cannot make the folder"));
}

/* ---- history ---- */

struct lines {
    int n;
    char first[80], last[80];
};

static void gather(void *context, const char *line)
{
    struct lines *l = context;
    if (l->n++ == 0)
        snprintf(l->first, sizeof l->first, "%s", line);
    snprintf(l->last, sizeof l->last, "%s", line);
}

static void test_history(void **state)
{
    struct ledger *l = *state;
    struct lines got = {0};
    struct error err = {0};
    char path[400];
    at_home();
    assert_true(history_load(l, gather, &got, &err));
    assert_int_equal(got.n, 0);
    assert_true(history_append(l, "step 3", 6, &err));
    assert_true(history_append(l, "", 0, &err));
    assert_true(history_append(l, "a\nb", 3, &err));
    assert_true(history_append(l, "top", 3, &err));
    assert_true(history_load(l, gather, &got, &err));
    assert_int_equal(got.n, 2);
    assert_string_equal(got.first, "step 3");
    assert_string_equal(got.last, "top");
    /* What is too much goes, the oldest first. */
    assert_true(home_path(HOME_CONFIG, "history", path, sizeof path, &err));
    struct text t;
    text_init(&t, l, MEM_OTHER);
    for (int i = 0; i < HISTORY_LINES + 25; i++)
        text_printf(&t, "line %d\n", i);
    folder_put(path, t.data, t.n);
    text_fini(&t);
    for (int again = 0; again < 2; again++) {
        got = (struct lines){0};
        assert_true(history_load(l, gather, &got, &err));
        assert_int_equal(got.n, HISTORY_LINES);
        assert_string_equal(got.first, "line 25");
        assert_string_equal(got.last, "line 10024");
        size_t n;
        char *text = file_read(l, MEM_OTHER, path, 1 << 20, &n, &err);
        assert_non_null(text);
        assert_memory_equal(text, "line 25\n", 8);
        mem_free(l, text);
    }
}

/* Two programs that append at the same time tear no line. */
static void test_history_together(void **state)
{
    struct lines got = {0};
    at_home();
    for (int p = 0; p < 4; p++)
        if (fork() == 0) {
            bool ok = true;
            for (int i = 0; ok && i < 100; i++)
                ok = history_append(*state, "patch 1.z[3] zero", 17, NULL);
            _exit(!ok);
        }
    for (int p = 0; p < 4; p++) {
        int status;
        wait(&status);
        assert_int_equal(status, 0);
    }
    assert_true(history_load(*state, gather, &got, NULL));
    assert_int_equal(got.n, 400);
    assert_string_equal(got.first, "patch 1.z[3] zero");
    assert_string_equal(got.last, "patch 1.z[3] zero");
}

/* ---- logs ---- */

static const char header[] = LOG_MARK "{\"model\":\"/m\",\"options\":[\"--ctx\",\"9\"]}";

static void test_log(void **state)
{
    struct ledger *l = *state;
    struct session_log log, other;
    struct log_summary s;
    struct error err = {0};
    char path[PATH_MAX];
    at_home();
    /* Nothing done: nothing left. */
    assert_true(log_open_new(&log, l, header, &err));
    snprintf(path, sizeof path, "%s", log.path);
    assert_int_equal(access(path, F_OK), 0);
    log_close(&log);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_false(log_take_up(&log, l, &s, NULL, &err));
    assert_non_null(strstr(err.text, "there is no session to resume"));

    assert_true(log_open_new(&log, l, header, &err));
    assert_true(log_add(&log, l, "run Once upon", 13, false, &err));
    assert_true(log_add(&log, l, "a failure", 9, true, &err));
    assert_true(log_add(&log, l, "$x = \"a\nb\"", 10, false, &err));
    assert_true(log_held(log.path));
    /* Held by us: nobody takes it up. */
    assert_false(log_take_up(&other, l, &s, NULL, NULL));
    err = (struct error){0};
    assert_false(log_take_up(&other, l, &s, log.path, &err));
    assert_non_null(strstr(err.text, "another program is in this session"));
    snprintf(path, sizeof path, "%s", log.path);
    /* Killed in the middle of a line. */
    assert_int_equal(write(log.fd, "patch 1.", 8), 8);
    close(log.fd);
    assert_false(log_held(path));
    err = (struct error){0};
    assert_true(log_take_up(&other, l, &s, NULL, &err));
    assert_true(s.torn);
    assert_int_equal(s.lines, 2);
    assert_string_equal(s.model, "/m");
    assert_int_equal(s.n_words, 2);
    assert_string_equal(s.words[1], "9");
    assert_int_equal(s.n_prompt, 9);
    assert_memory_equal(s.prompt, "Once upon", 9);
    assert_non_null(strstr(s.text, "\n$x = \"a\\nb\"\n"));
    log_summary_fini(&s, l);
    assert_true(log_add(&other, l, "step", 4, false, &err));
    log_close(&other);
    assert_true(log_read(&s, l, path, &err));
    assert_false(s.torn);
    assert_int_equal(s.lines, 3);
    assert_non_null(strstr(s.text, "\"\nstep\n"));
    log_summary_fini(&s, l);
}

/* The newest are kept, and those that somebody holds. */
static void test_prune(void **state)
{
    struct ledger *l = *state;
    struct session_log log, held;
    char name[64], path[PATH_MAX], **paths;
    int n;
    at_home();
    assert_true(log_open_new(&held, l, header, NULL));
    assert_true(log_add(&held, l, "step", 4, false, NULL));
    struct timespec old[2] = {{100, 0}, {100, 0}};
    assert_int_equal(futimens(held.fd, old), 0);
    for (int i = 0; i < LOG_KEPT + 10; i++) {
        snprintf(name, sizeof name, "20000101-000000-%d-0.log", i);
        assert_true(home_path(HOME_STATE, name, path, sizeof path, NULL));
        folder_put(path, header, sizeof header - 1);
    }
    assert_true(home_path(HOME_STATE, "notes.txt", path, sizeof path, NULL));
    folder_put(path, "mine", 4);
    assert_true(log_open_new(&log, l, header, NULL));
    assert_true(log_list(l, &paths, &n, NULL));
    assert_int_equal(n, LOG_KEPT + 1); /* and the old one that is held */
    assert_string_equal(paths[n - 1], held.path);
    log_list_fini(l, paths, n);
    assert_int_equal(access(path, F_OK), 0);
    log_close(&log);
    log_close(&held);
}

/* Whatever stands in a log is no reason to fall over. */
static void test_log_damaged(void **state)
{
    static const char *const texts[] = {
        "",
        "\n\n\n",
        "# midpass session",
        LOG_MARK "\n",
        LOG_MARK "{\n",
        LOG_MARK "{\"model\":3}\n",
        LOG_MARK "{\"model\":\"/m\"}\nrun \n",
        LOG_MARK "{\"model\":\"/m\",\"options\":{\"a\":1}}\nids\n",
        LOG_MARK "{\"model\":\"/m\",\"options\":[1,null,\"--ctx\"]}\n# prompt: \nids 1\n",
    };
    struct ledger *l = *state;
    struct log_summary s;
    const char *path = folder_file("damaged.log");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        folder_put(path, texts[i], strlen(texts[i]));
        assert_true(log_read(&s, l, path, NULL));
        if (i < 6)
            assert_null(s.model);
        else
            assert_string_equal(s.model, "/m");
        log_summary_fini(&s, l);
    }
    /* Short of memory at any request: told, and all given back. */
    folder_put(path, texts[8], strlen(texts[8]));
    for (long n = 1; n < 40; n++) {
        struct error err = {0};
        ledger_fail_after(l, n);
        bool ok = log_read(&s, l, path, &err);
        ledger_fail_after(l, 0);
        assert_true(ok || err.code == ERR_MEMORY);
        if (ok)
            log_summary_fini(&s, l);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, folder_set_up, folder_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_sha256), TEST(test_home),  TEST(test_history),     TEST(test_history_together),
        TEST(test_log),    TEST(test_prune), TEST(test_log_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
