/* test_hub.c - names to folders, in a cache made for the test. */
#include "engine/model/hub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

/* "FOLDER/name"; good until the fourth call after. */
static const char *in(const char *name)
{
    static char paths[4][600];
    static unsigned i;
    char *p = paths[i++ % 4];

    snprintf(p, sizeof paths[0], "%s/%s", folder, name);
    return p;
}

/* Makes the folder and those above it. */
static void make(const char *name)
{
    char path[600];

    snprintf(path, sizeof path, "%s", in(name));
    for (char *p = path + strlen(folder) + 1; *p != '\0'; p++)
        if (*p == '/') {
            *p = '\0';
            mkdir(path, 0700);
            *p = '/';
        }
    assert_true(mkdir(path, 0700) == 0 || access(path, F_OK) == 0);
}

static void put(const char *name, const char *data)
{
    FILE *f = fopen(in(name), "wb");

    assert_non_null(f);
    fputs(data, f);
    fclose(f);
}

/* A model of the cache below FOLDER/hub, with one snapshot; refs/main if main is given. */
static void add_model(const char *hub, const char *entry, const char *snapshot, const char *mainref)
{
    char name[400];

    snprintf(name, sizeof name, "%s/models--%s/snapshots/%s", hub, entry, snapshot);
    make(name);
    if (mainref == NULL)
        return;
    snprintf(name, sizeof name, "%s/models--%s/refs", hub, entry);
    make(name);
    snprintf(name, sizeof name, "%s/models--%s/refs/main", hub, entry);
    put(name, mainref);
}

static int set_up(void **state)
{
    strcpy(folder, "/tmp/midpass-hub-XXXXXX");
    *state = ledger_open();
    if (*state == NULL || mkdtemp(folder) == NULL)
        return 1;
    unsetenv("HF_HUB_CACHE");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HF_HOME");
    setenv("HOME", folder, 1);
    return 0;
}

static int tear_down(void **state)
{
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return ledger_close(*state) != 0;
}

static void found(struct ledger *l, const char *typed, const char *expected)
{
    struct error err = {0};
    char *path = hub_find(l, typed, &err);

    if (path == NULL)
        fail_msg("%s: %s", typed, err.text);
    assert_string_equal(path, in(expected));
    mem_free(l, path);
}

static void lost(struct ledger *l, const char *typed, enum error_code code, const char *said)
{
    struct error err = {0};

    if (hub_find(l, typed, &err) != NULL)
        fail_msg("%s is found", typed);
    assert_int_equal(err.code, code);
    if (strstr(err.text, said) == NULL)
        fail_msg("%s\n  says: %s\n  not:  %s", typed, err.text, said);
}

static void the_cache_s_place(void **state)
{
    struct ledger *l = *state;

    add_model(".cache/huggingface/hub", "o--m", "aaa1", "aaa1");
    add_model("xdg/huggingface/hub", "o--m", "aaa2", "aaa2");
    add_model("hf/hub", "o--m", "aaa3", "aaa3");
    add_model("cache", "o--m", "aaa4", "aaa4");
    found(l, "o/m", ".cache/huggingface/hub/models--o--m/snapshots/aaa1");
    setenv("XDG_CACHE_HOME", in("xdg"), 1);
    found(l, "o/m", "xdg/huggingface/hub/models--o--m/snapshots/aaa2");
    setenv("HF_HOME", in("hf"), 1);
    found(l, "o/m", "hf/hub/models--o--m/snapshots/aaa3");
    setenv("HF_HUB_CACHE", in("cache"), 1);
    found(l, "o/m", "cache/models--o--m/snapshots/aaa4");
    setenv("HF_HUB_CACHE", "~/cache", 1);
    found(l, "o/m", "cache/models--o--m/snapshots/aaa4");
    setenv("HF_HUB_CACHE", "", 1); /* as good as none */
    found(l, "o/m", "hf/hub/models--o--m/snapshots/aaa3");
    setenv("HF_HOME", in("gone"), 1);
    lost(l, "o/m", ERR_FILE, "gone/hub (from $HF_HOME): No such file");
    unsetenv("HF_HOME");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    lost(l, "o/m", ERR_FILE, "no Hugging Face cache");
}

static void names(void **state)
{
    struct ledger *l = *state;

    setenv("HF_HUB_CACHE", in("c"), 1);
    add_model("c", "microsoft--Phi-3.5-mini-instruct", "aa", "aa");
    add_model("c", "gpt2", "bb", "bb");
    add_model("c", "openai-community--gpt2", "cc", "cc");
    add_model("c", "a--same", "dd", "dd");
    add_model("c", "b--same", "ee", "ee");
    make("c/.locks/models--x--locked");
    make("c/datasets--x--data/snapshots/aa");
    found(l, "microsoft/Phi-3.5-mini-instruct",
          "c/models--microsoft--Phi-3.5-mini-instruct/snapshots/aa");
    found(l, "Phi-3.5-mini-instruct", "c/models--microsoft--Phi-3.5-mini-instruct/snapshots/aa");
    found(l, "gpt2", "c/models--gpt2/snapshots/bb"); /* its whole name, so it is meant */
    found(l, "openai-community/gpt2", "c/models--openai-community--gpt2/snapshots/cc");
    found(l, "b/same", "c/models--b--same/snapshots/ee");
    lost(l, "same", ERR_USAGE, "\"same\" may be any of a/same, b/same");
    lost(l, "phi-3.5-MINI", ERR_FILE, "there is microsoft/Phi-3.5-mini-instruct");
    lost(l, "openai/gpt2", ERR_FILE, "; there is gpt2, openai-community/gpt2");
    lost(l, "mistral", ERR_FILE, "there is no folder \"mistral\", and no model of that name in");
    lost(l, "mistral", ERR_FILE, in("c"));
    lost(l, "mistral", ERR_FILE, "$HF_HUB_CACHE");
    lost(l, "data", ERR_FILE, "no model of that name");
    lost(l, "", ERR_USAGE, "empty");
    lost(l, "a/b/c", ERR_FILE, "cannot open the folder a/b/c: No such file");
    lost(l, "../same", ERR_FILE, "cannot open the folder ../same");
    lost(l, "/no/such", ERR_FILE, "cannot open the folder /no/such: No such file");
    lost(l, "./same", ERR_FILE, "cannot open the folder ./same");
    lost(l, "a/", ERR_FILE, "cannot open the folder a/");
    lost(l, "\x1b[2J", ERR_FILE, "\"\\x1b[2J\"");
}

static void snapshots(void **state)
{
    struct ledger *l = *state;

    setenv("HF_HUB_CACHE", in("c"), 1);
    add_model("c", "o--newline", "0123abcd", "0123abcd\n");
    add_model("c", "o--newline", "ffff", NULL);
    found(l, "o/newline", "c/models--o--newline/snapshots/0123abcd");
    add_model("c", "o--noref", "abc", NULL);
    found(l, "o/noref", "c/models--o--noref/snapshots/abc");
    add_model("c", "o--noref", "def", NULL);
    lost(l, "o/noref", ERR_FILE, "o/noref has 2 snapshots in");
    add_model("c", "o--stale", "abc", "def");
    found(l, "o/stale", "c/models--o--stale/snapshots/abc");
    make("secret");
    add_model("c", "o--evil", "abc", "../../../secret");
    found(l, "o/evil", "c/models--o--evil/snapshots/abc");
    make("c/models--o--nothing/refs");
    lost(l, "o/nothing", ERR_FILE, "has no snapshots");
    make("c/models--o--hollow/snapshots");
    lost(l, "o/hollow", ERR_FILE, "has no snapshots");
}

static void folders_go_first(void **state)
{
    struct ledger *l = *state;
    struct error err = {0};

    setenv("HF_HUB_CACHE", in("c"), 1);
    add_model("c", "o--m", "aa", "aa");
    make("plain");
    put("plain/model.safetensors", "x");
    put("m", "a file of the model's name");
    found(l, in("plain"), "plain");
    lost(l, in("plain/model.safetensors"), ERR_USAGE, "is a file; give the folder");
    lost(l, in("gone"), ERR_FILE, "No such file");

    int here = open(".", O_RDONLY | O_DIRECTORY);
    assert_int_equal(chdir(folder), 0);
    char *path = hub_find(l, "plain", &err);
    assert_string_equal(path, "plain");
    mem_free(l, path);
    path = hub_find(l, "./plain", &err);
    assert_string_equal(path, "./plain");
    mem_free(l, path);
    found(l, "m", "c/models--o--m/snapshots/aa");
    make("o/m");
    path = hub_find(l, "o/m", &err);
    assert_string_equal(path, "o/m");
    mem_free(l, path);
    assert_int_equal(fchdir(here), 0);
    close(here);
}

static void no_memory_is_told_and_nothing_is_kept(void **state)
{
    struct ledger *l = *state;
    static const char *const typed[] = {"o/m", "m", "o/n"};

    setenv("HF_HUB_CACHE", in("c"), 1);
    add_model("c", "o--m", "aa", "aa");
    add_model("c", "o--n", "bb", NULL);
    for (size_t i = 0; i < 3; i++) {
        char *path = NULL;
        long n = 1;
        for (; path == NULL; n++) {
            struct error err = {0};
            ledger_fail_after(l, n);
            path = hub_find(l, typed[i], &err);
            assert_int_equal(err.code, path == NULL ? ERR_MEMORY : ERR_NONE);
            if (path == NULL)
                assert_int_equal(ledger_total(l), 0);
        }
        ledger_fail_after(l, 0);
        assert_true(n > 4);
        assert_string_equal(
            path, in(i < 2 ? "c/models--o--m/snapshots/aa" : "c/models--o--n/snapshots/bb"));
        mem_free(l, path);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_cache_s_place),
        TEST(names),
        TEST(snapshots),
        TEST(folders_go_first),
        TEST(no_memory_is_told_and_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
