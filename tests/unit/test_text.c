/* test_text.c - growing strings, what may be shown, and files written whole or not at all. */
#include "engine/base/json.h"
#include "engine/base/text.h"
#include "tests/support/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <utf8proc.h>

static void assert_file(const char *path, const char *data)
{
    char got[1000];
    FILE *f = fopen(path, "rb");

    assert_non_null(f);
    got[fread(got, 1, sizeof got - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(got, data);
}

/* ---- strings ---- */

static void strings_grow(void **state)
{
    struct ledger *l = *state;
    struct text t;
    struct error err = {0};

    text_init(&t, l, MEM_VIEWS);
    assert_null(t.data);
    text_add(&t, "");
    assert_string_equal(t.data, "");
    for (int i = 0; i < 1000; i++) {
        text_printf(&t, "%d,", i);
        text_add(&t, "ab");
        text_add_bytes(&t, "c\0d", 3);
        assert_int_equal(t.data[t.n], 0);
        assert_true(t.n < t.room);
    }
    assert_int_equal(t.n, 10 * 2 + 90 * 3 + 900 * 4 + 5000);
    assert_memory_equal(t.data, "0,abc\0d1,abc\0d", 14);
    assert_true(text_ok(&t, &err));
    assert_int_equal(ledger_now(l, MEM_VIEWS, MEM_HOST), t.room);
    size_t room = t.room;
    text_clear(&t);
    assert_string_equal(t.data, "");
    assert_int_equal(t.room, room);
    text_fini(&t);
    assert_int_equal(ledger_total(l), 0);
    text_fini(&t);
}

static void failing_stays_until_the_end(void **state)
{
    struct ledger *l = *state;
    struct text t;
    struct error err = {0};

    text_init(&t, l, MEM_OTHER);
    text_add(&t, "kept");
    ledger_set_budget(l, 200);
    for (int i = 0; i < 100; i++)
        text_printf(&t, "%10d", i);
    text_add(&t, "x");
    assert_true(t.failed);
    assert_int_equal(strlen(t.data), t.n);
    assert_int_equal(t.n % 10, 4); /* no addition is done by half */
    ledger_set_budget(l, 0);
    size_t n = t.n;
    text_add(&t, "x");
    text_add_shown(&t, "\x01", 1, true);
    text_add_json(&t, "\x01", 1);
    assert_int_equal(t.n, n);
    assert_false(text_ok(&t, &err));
    assert_int_equal(err.code, ERR_MEMORY);
    text_clear(&t);
    assert_false(text_ok(&t, NULL));
    text_fini(&t);
    assert_true(text_ok(&t, NULL));

    ledger_fail_after(l, 1);
    text_add(&t, "x");
    assert_null(t.data);
    assert_false(text_ok(&t, &err));
    text_clear(&t);
    text_fini(&t);
}

static void shown(void **state)
{
    static const struct {
        const char *s;
        size_t n;
        bool quote;
        const char *out;
    } table[] = {
        {"plain ~text", 11, false, "plain ~text"},
        {"", 0, false, ""},
        {"", 0, true, "\"\""},
        {"a\"b\\c", 5, false, "a\"b\\c"},
        {"a\"b\\c", 5, true, "\"a\\\"b\\\\c\""},
        {"\n\t\r\0\x1b[0m\x7f", 9, false, "\\n\\t\\r\\x00\\x1b[0m\\x7f"},
        {"\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80", 9, false, "\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80"},
        {"\xc2\x85\xc2\x9b", 4, false, "\\u0085\\u009b"},
        {"\xc2\xad", 2, false, "\\u00ad"}, /* soft hyphen */
        {"\xd8\x9c", 2, false, "\\u061c"}, /* Arabic letter mark */
        {"\xe2\x80\x8b\xe2\x80\x8f", 6, false, "\\u200b\\u200f"},
        {"\xe2\x80\xaa\xe2\x80\xae", 6, false, "\\u202a\\u202e"},
        {"\xe2\x80\xa8\xe2\x80\xa9", 6, false, "\\u2028\\u2029"},
        {"\xe2\x81\xa6\xe2\x81\xa9\xe2\x81\xa0", 9, false, "\\u2066\\u2069\\u2060"},
        {"\xef\xbb\xbf", 3, false, "\\ufeff"},
        {"a\xef\xb8\x8f", 4, false, "a\\ufe0f"},       /* variation selector */
        {"\xe3\x85\xa4", 3, false, "\\u3164"},         /* invisible filler */
        {"\xee\x80\x80", 3, false, "\\ue000"},         /* private */
        {"\xf3\xa0\x80\x81", 4, false, "\\U000e0001"}, /* tag */
        {"e\xcc\x81", 3, false, "e\xcc\x81"},          /* a mark on its letter */
        {"\xcc\x81", 2, false, "\\u0301"},             /* a mark that would sit on ours */
        {"\x01\xcc\x81", 3, false, "\\x01\\u0301"},
        {"\xff\xc3(\xe2\x82", 5, false, "\\xff\\xc3(\\xe2\\x82"},
        {"\xed\xa0\x80", 3, false, "\\xed\\xa0\\x80"}, /* a surrogate */
        {"\xc0\x80", 2, false, "\\xc0\\x80"},          /* overlong */
        {"\xf4\x90\x80\x80", 4, false, "\\xf4\\x90\\x80\\x80"},
        {"\xf0\x9f\x98", 3, true, "\"\\xf0\\x9f\\x98\""},
    };
    struct text t;

    text_init(&t, *state, MEM_OTHER);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        text_clear(&t);
        text_add_shown(&t, table[i].s, table[i].n, table[i].quote);
        assert_string_equal(t.data, table[i].out);
    }
    text_fini(&t);
}

/* Over all of Unicode: what is shown is printable ASCII, or the character itself, which is
 * then neither a control nor without width. JSON gives back what went in. */
static void all_characters(void **state)
{
    struct text t, j;

    text_init(&t, *state, MEM_OTHER);
    text_init(&j, *state, MEM_OTHER);
    text_add(&j, "[");
    for (int32_t c = 1; c < 0x110000; c++) {
        char s[4];
        size_t n = (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)s);
        if (c >= 0xd800 && c < 0xe000)
            continue;
        text_clear(&t);
        text_add_shown(&t, s, n, false);
        if (t.n == n && memcmp(t.data, s, n) == 0) {
            if (c < 0x20 || (c >= 0x7f && c < 0xa0) || utf8proc_charwidth(c) < 1)
                fail_msg("U+%04X is shown", (unsigned)c);
        } else {
            for (size_t i = 0; i < t.n; i++)
                assert_true(t.data[i] >= ' ' && t.data[i] <= '~');
        }
        text_add(&j, c > 1 ? "," : "");
        text_add_json(&j, s, n);
    }
    text_add(&j, "]");
    assert_true(text_ok(&j, NULL));
    for (size_t i = 0; i < j.n; i++)
        assert_true((unsigned char)j.data[i] >= ' ' && j.data[i] != 0x7f);

    struct error err = {0};
    struct json_doc *d = json_parse(*state, MEM_OTHER, j.data, j.n, "all", &err);
    assert_string_equal(err.text, "");
    const struct json *v = json_first(json_root(d));
    for (int32_t c = 1; c < 0x110000; c++) {
        char s[5] = {0};
        if (c >= 0xd800 && c < 0xe000)
            continue;
        utf8proc_encode_char(c, (utf8proc_uint8_t *)s);
        assert_string_equal(json_string(v), s);
        v = json_next(v);
    }
    assert_null(v);
    json_close(d);
    text_fini(&t);
    text_fini(&j);
}

static void json_strings(void **state)
{
    struct text t;

    text_init(&t, *state, MEM_OTHER);
    text_add_json(&t, "a\"\\\n\t\r\0\x1b\x7f\xff\xc2\x9b\xe2\x80\xae\xf3\xa0\x80\x81/", 20);
    assert_string_equal(t.data,
                        "\"a\\\"\\\\\\n\\t\\r\\u0000\\u001b\\u007f\xef\xbf\xbd\\u009b\\u202e"
                        "\\udb40\\udc01/\"");
    text_clear(&t);
    text_add_json(&t, NULL, 0);
    assert_string_equal(t.data, "\"\"");
    text_fini(&t);
}

/* ---- files ---- */

static void reading(void **state)
{
    struct ledger *l = *state;
    struct error err = {0};
    size_t n = 0;

    folder_put(folder_file("f"), "ab\0cd", 5);
    char *s = file_read(l, MEM_OTHER, folder_file("f"), 5, &n, &err);
    assert_int_equal(n, 5);
    assert_memory_equal(s, "ab\0cd", 6);
    mem_free(l, s);
    assert_null(file_read(l, MEM_OTHER, folder_file("f"), 4, &n, &err));
    assert_int_equal(err.code, ERR_FORMAT);
    assert_non_null(strstr(err.text, folder_file("f")));
    assert_non_null(strstr(err.text, "4 B"));

    folder_put(folder_file("empty"), "", 0);
    s = file_read(l, MEM_OTHER, folder_file("empty"), 0, &n, &err);
    assert_int_equal(n, 0);
    assert_string_equal(s, "");
    mem_free(l, s);

    assert_null(file_read(l, MEM_OTHER, folder_file("none"), 100, &n, &err));
    assert_int_equal(err.code, ERR_FILE);
    assert_non_null(strstr(err.text, "none: No such file"));
    assert_null(file_read(l, MEM_OTHER, folder_path(), 100, &n, &err));
    assert_non_null(strstr(err.text, "it is a folder"));
    assert_int_equal(mkfifo(folder_file("pipe"), 0600), 0);
    alarm(20); /* a hang ends the test */
    assert_null(file_read(l, MEM_OTHER, folder_file("pipe"), 100, &n, &err));
    alarm(0);
    assert_non_null(strstr(err.text, "not a regular file"));
    assert_null(file_read(l, MEM_OTHER, "/dev/zero", 100000, &n, &err));
    assert_non_null(strstr(err.text, "97.7 KiB"));
    s = file_read(l, MEM_OTHER, "/dev/null", 100000, &n, &err);
    assert_int_equal(n, 0);
    mem_free(l, s);

    int ends[2];
    char name[40];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "piped", 5), 5);
    close(ends[1]);
    snprintf(name, sizeof name, "/dev/fd/%d", ends[0]);
    s = file_read(l, MEM_OTHER, name, 100, NULL, &err);
    assert_string_equal(s, "piped");
    mem_free(l, s);
    close(ends[0]);
    for (long i = 1; i < 3; i++) {
        ledger_fail_after(l, i);
        s = file_read(l, MEM_OTHER, i == 1 ? folder_file("f") : "/dev/zero", 100000, &n, &err);
        assert_null(s);
        assert_int_equal(err.code, ERR_MEMORY);
    }
}

static void writing(void **state)
{
    struct ledger *l = *state;
    struct error err = {0};
    struct file_writer w;
    struct stat st;

    assert_true(file_create(&w, l, folder_file("new"), &err));
    assert_true(file_write(&w, "abc", 3, &err));
    assert_true(file_write(&w, NULL, 0, &err));
    assert_int_equal(access(folder_file("new"), F_OK), -1); /* not there before it is whole */
    assert_int_equal(folder_entries(), 1);
    assert_true(file_commit(&w, &err));
    assert_file(folder_file("new"), "abc");
    assert_int_equal(folder_entries(), 1);
    assert_int_equal(ledger_total(l), 0);
    file_abandon(&w); /* harmless */

    mode_t mask = umask(027);
    assert_true(file_create(&w, l, folder_file("masked"), &err));
    assert_true(file_commit(&w, &err));
    umask(mask);
    assert_int_equal(stat(folder_file("masked"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);

    /* What was there stands until the end, and its permissions stay. */
    assert_int_equal(chmod(folder_file("new"), 0600), 0);
    assert_true(file_create(&w, l, folder_file("new"), &err));
    assert_true(file_write(&w, "longer than before", 18, &err));
    assert_file(folder_file("new"), "abc");
    file_abandon(&w);
    assert_file(folder_file("new"), "abc");
    assert_int_equal(folder_entries(), 2);
    assert_true(file_create(&w, l, folder_file("new"), &err));
    assert_true(file_write(&w, "x", 1, &err));
    assert_true(file_commit(&w, &err));
    assert_file(folder_file("new"), "x");
    assert_int_equal(stat(folder_file("new"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    /* A link stays a link. */
    assert_int_equal(symlink("new", folder_file("link")), 0);
    assert_true(file_create(&w, l, folder_file("link"), &err));
    assert_true(file_write(&w, "through", 7, &err));
    assert_true(file_commit(&w, &err));
    assert_file(folder_file("new"), "through");
    assert_int_equal(lstat(folder_file("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));

    /* Two at once do not meet; the name may be as long as names get. */
    struct file_writer v;
    char name[256];
    memset(name, 'n', 255);
    name[255] = '\0';
    assert_true(file_create(&w, l, folder_file("a"), &err));
    assert_true(file_create(&v, l, folder_file(name), &err));
    assert_true(file_write(&w, "A", 1, &err) && file_write(&v, "B", 1, &err));
    assert_true(file_commit(&w, &err) && file_commit(&v, &err));
    assert_file(folder_file("a"), "A");
    assert_file(folder_file(name), "B");
    assert_int_equal(folder_entries(), 5);

    /* In the working folder, by a bare name. */
    int here = open(".", O_RDONLY | O_DIRECTORY);
    assert_int_equal(chdir(folder_path()), 0);
    assert_true(file_create(&w, l, "bare", &err) && file_commit(&w, &err));
    assert_int_equal(fchdir(here), 0);
    close(here);
    assert_file(folder_file("bare"), "");
}

static void places_that_cannot_be_written(void **state)
{
    struct ledger *l = *state;
    struct error err = {0};
    struct file_writer w;

    assert_false(file_create(&w, l, folder_path(), &err));
    assert_int_equal(err.code, ERR_FILE);
    assert_non_null(strstr(err.text, folder_path()));
    assert_non_null(strstr(err.text, "it is a folder"));
    assert_false(file_create(&w, l, folder_file("no/such"), &err));
    assert_non_null(strstr(err.text, folder_file("no/such")));
    assert_non_null(strstr(err.text, "No such file"));
    assert_false(file_create(&w, l, "", &err));
    assert_int_equal(err.code, ERR_FILE);
    char longer[300];
    memset(longer, 'n', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_false(file_create(&w, l, folder_file(longer), &err));
    assert_non_null(strstr(err.text, "File name too long"));
    if (geteuid() != 0) { /* root may write to all */
        folder_put(folder_file("locked"), "x", 1);
        chmod(folder_file("locked"), 0400);
        assert_false(file_create(&w, l, folder_file("locked"), &err));
        assert_non_null(strstr(err.text, "locked: Permission denied"));
        unlink(folder_file("locked"));
    }
    /* The folder goes while it is written. */
    assert_int_equal(mkdir(folder_file("sub"), 0700), 0);
    assert_true(file_create(&w, l, folder_file("sub/f"), &err));
    folder_remove(folder_file("sub"));
    assert_false(file_commit(&w, &err));
    assert_non_null(strstr(err.text, folder_file("sub/f")));
    assert_int_equal(folder_entries(), 0);
    assert_int_equal(ledger_total(l), 0);
}

static void a_full_disk_is_told(void **state)
{
    struct ledger *l = *state;
    struct error err = {0};
    struct file_writer w;
    static const char much[100000];

    /* Told by the write, if it is more than the stream holds back ... */
    assert_true(file_create(&w, l, "/dev/full", &err));
    assert_false(file_write(&w, much, sizeof much, &err));
    assert_int_equal(err.code, ERR_FILE);
    assert_string_equal(err.text, "cannot write /dev/full: No space left on device");
    assert_false(file_commit(&w, &err)); /* though the caller overlooked it */
    assert_int_equal(err.code, ERR_FILE);
    /* ... else by the commit. */
    err = (struct error){0};
    assert_true(file_create(&w, l, "/dev/full", &err));
    assert_true(file_write(&w, "x", 1, &err));
    assert_false(file_commit(&w, &err));
    assert_string_equal(err.text, "cannot write /dev/full: No space left on device");
    assert_int_equal(access("/dev/full", F_OK), 0);

    /* A file that may not grow, in place of a disk that is full. */
    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){.rlim_cur = 1000, .rlim_max = old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    folder_put(folder_file("f"), "old", 3);
    for (int commit = 0; commit < 2; commit++) {
        size_t n = commit ? 2000 : sizeof much;
        assert_true(file_create(&w, l, folder_file("f"), &err));
        setrlimit(RLIMIT_FSIZE, &small);
        err = (struct error){0};
        bool wrote = file_write(&w, much, n, &err);
        bool done = wrote && file_commit(&w, &err);
        setrlimit(RLIMIT_FSIZE, &old);
        assert_int_equal(wrote, commit);
        assert_false(done);
        assert_int_equal(err.code, ERR_FILE);
        assert_non_null(strstr(err.text, folder_file("f")));
        file_abandon(&w);
        assert_file(folder_file("f"), "old");
        assert_int_equal(folder_entries(), 1);
    }
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(ledger_total(l), 0);
}

static void a_device_is_written_to_and_not_replaced(void **state)
{
    struct file_writer w;
    struct error err = {0};
    struct stat st;

    assert_true(file_create(&w, *state, "/dev/null", &err));
    assert_true(file_write(&w, "x", 1, &err));
    assert_true(file_commit(&w, &err));
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
}

static void no_memory_leaves_nothing(void **state)
{
    struct ledger *l = *state;
    struct error err = {0};
    struct file_writer w;
    long n = 1;

    for (bool ok = false; !ok; n++) {
        ledger_fail_after(l, n);
        ok = file_create(&w, l, folder_file("f"), &err);
        assert_int_equal(ok ? ERR_MEMORY : err.code, ERR_MEMORY);
        if (!ok)
            assert_int_equal(ledger_total(l), 0);
        file_abandon(&w);
        assert_int_equal(folder_entries(), 0);
    }
    assert_true(n > 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, folder_set_up, folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(strings_grow),
        TEST(failing_stays_until_the_end),
        TEST(shown),
        TEST(all_characters),
        TEST(json_strings),
        TEST(reading),
        TEST(writing),
        TEST(places_that_cannot_be_written),
        TEST(a_full_disk_is_told),
        TEST(a_device_is_written_to_and_not_replaced),
        TEST(no_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
