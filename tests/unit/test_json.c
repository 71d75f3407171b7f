/* test_json.c - hostile JSON ends in a named error; sound JSON is walked. */
#include "engine/base/json.h"
#include "engine/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static int set_up(void **state)
{
    *state = ledger_open();
    return *state == NULL;
}

static int tear_down(void **state)
{
    return ledger_close(*state) != 0;
}

/* Parses a text that lies right before a page that cannot be read: one byte too many read by
 * anyone, cJSON included, ends the test. */
static struct json_doc *parse_n(struct ledger *l, const char *text, size_t n, struct error *err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (n + page - 1) / page * page;
    char *map = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(map != MAP_FAILED);
    assert_int_equal(mprotect(map + room, page, PROT_NONE), 0);
    memcpy(map + room - n, text, n);
    struct json_doc *d = json_parse(l, MEM_OTHER, map + room - n, n, "x.json", err);
    munmap(map, room + page);
    return d;
}

static struct json_doc *parse(struct ledger *l, const char *text)
{
    struct error err = {0};
    struct json_doc *d = parse_n(l, text, strlen(text), &err);
    if (d == NULL)
        fail_msg("%s: %s", text, err.text);
    return d;
}

static void walking(void **state)
{
    struct ledger *l = *state;
    struct json_doc *d =
        parse(l, " {\"a\": [1, 2.5, -3e2], \"s\": \"x\\u20ac\\n\\\"\", \"t\": true,"
                 "\"f\": false, \"n\": null, \"o\": {\"A\": 1, \"a\": 2}}\n ");
    const struct json *root = json_root(d), *a = json_get(root, "a");
    int64_t whole = 7;

    assert_true(json_is_object(root));
    assert_int_equal(json_count(root), 6);
    assert_true(json_is_array(a));
    assert_int_equal(json_count(a), 3);
    assert_true(json_number(json_next(json_first(a))) == 2.5);
    assert_true(json_number(json_next(json_next(json_first(a)))) == -300);
    assert_null(json_next(json_next(json_next(json_first(a)))));
    assert_string_equal(json_string(json_get(root, "s")), "x\xe2\x82\xac\n\"");
    assert_true(json_is_bool(json_get(root, "t")) && json_true(json_get(root, "t")));
    assert_true(json_is_bool(json_get(root, "f")) && !json_true(json_get(root, "f")));
    assert_true(json_is_null(json_get(root, "n")) && json_is_null(json_get(root, "absent")));
    assert_false(json_is_null(a));
    assert_string_equal(json_key(json_first(root)), "a");
    assert_null(json_key(json_first(a)));
    assert_true(json_number(json_get(json_get(root, "o"), "A")) == 1);
    assert_true(json_number(json_get(json_get(root, "o"), "a")) == 2);
    assert_true(json_whole(json_first(a), 1, 1, &whole));
    assert_int_equal(whole, 1);

    /* Nothing of the wrong kind gives a value. */
    assert_null(json_get(a, "a"));
    assert_null(json_string(a));
    assert_true(json_number(json_get(root, "s")) == 0);
    assert_false(json_true(json_first(a)));
    assert_null(json_get(NULL, "a"));
    assert_null(json_first(NULL));
    assert_null(json_next(NULL));
    assert_null(json_key(NULL));
    assert_null(json_string(NULL));
    assert_int_equal(json_count(NULL), 0);
    assert_false(json_is_object(NULL) || json_is_array(NULL) || json_is_string(NULL) ||
                 json_is_number(NULL) || json_is_bool(NULL) || json_true(NULL));
    assert_false(json_whole(NULL, 0, 1, &whole));
    json_close(d);
    json_close(NULL);
}

static void of_two_members_the_last_counts(void **state)
{
    struct json_doc *d = parse(*state, "{\"k\": 1, \"x\": 0, \"k\": 2}");

    assert_true(json_number(json_get(json_root(d), "k")) == 2);
    assert_int_equal(json_count(json_root(d)), 3);
    json_close(d);
}

static void whole_numbers(void **state)
{
    struct json_doc *d = parse(*state, "[0, -0, 1.0, 1.5, -1, 9007199254740991, 9007199254740992,"
                                       "-9007199254740993, 1e300, 1e999, \"1\", 1e-400]");
    static const int ok[] = {1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 1};
    const struct json *j = json_first(json_root(d));

    for (size_t i = 0; i < sizeof ok / sizeof ok[0]; i++, j = json_next(j)) {
        int64_t out = 77;
        assert_int_equal(json_whole(j, INT64_MIN, INT64_MAX, &out), ok[i]);
        assert_int_equal(out == 77, !ok[i]);
        if (i == 4) {
            assert_false(json_whole(j, 0, 10, &out));
            assert_true(json_whole(j, -1, -1, &out));
        }
        if (i == 5)
            assert_int_equal(out, 9007199254740991);
        assert_int_equal(json_is_number(j), i != 9 && i != 10);
        assert_true(isfinite(json_number(j)));
    }
    assert_null(j);
    json_close(d);
}

static void roots_of_all_kinds(void **state)
{
    static const char *const texts[] = {"0",
                                        "-1.5e+3",
                                        "\"\"",
                                        "true",
                                        "false",
                                        "null",
                                        "[]",
                                        "{}",
                                        " 1 ",
                                        "\t\r\n[]\n",
                                        "\xef\xbb\xbf{}",
                                        ("\xef\xbb\xbf"
                                         "7"),
                                        "[[],{}]",
                                        "\"\\ud83d\\ude00\""};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        json_close(parse(*state, texts[i]));
}

static void what_is_wrong_is_told_with_its_place(void **state)
{
    static const struct {
        const char *text;
        size_t n; /* 0: strlen */
        const char *said;
    } bad[] = {
        {"", 0, "x.json: is empty"},
        {"  \n", 0, "x.json: is empty"},
        {"\xef\xbb\xbf", 0, "x.json: is empty"},
        {"{", 0, "byte 1 (line 1): the text ends inside an object"},
        {"[1,\n 2", 0, "byte 6 (line 2): the text ends inside a list"},
        {"{\"a\":1,", 0, "byte 7 (line 1): the text ends inside an object"},
        {"{\"a\":1,}", 0, "byte 7 (line 1): this is not JSON"},
        {"[1,]", 0, "byte 3"},
        {"[1 2]", 0, "byte 3"},
        {"{\"a\" 1}", 0, "this is not JSON"},
        {"{a:1}", 0, "this is not JSON"},
        {"{1:1}", 0, "this is not JSON"},
        {"[}", 0, "byte 1 (line 1): a closing bracket without its opening one"},
        {"]", 0, "byte 0 (line 1): a closing bracket without its opening one"},
        {"{} {}", 0, "byte 3 (line 1): there is more after the end"},
        {"1 1", 0, "there is more after the end"},
        {"{}\n\nx", 0, "byte 4 (line 3): there is more after the end"},
        {"tru", 0, "this is not JSON"},
        {"True", 0, "this is not JSON"},
        {"NaN", 0, "this is not JSON"},
        {"[-Infinity]", 0, "byte 1 (line 1): this is not a number"},
        {"01", 0, "this is not a number"},
        {"[1.]", 0, "this is not a number"},
        {"[.5]", 0, "byte 1"},
        {"-", 0, "this is not a number"},
        {"1e", 0, "this is not a number"},
        {"+1", 0, "this is not JSON"},
        {"0x10", 0, "there is more after the end"},
        {"'a'", 0, "this is not JSON"},
        {"// no\n{}", 0, "this is not JSON"},
        {"\"abc", 0, "byte 0 (line 1): the text ends inside the string"},
        {"\"abc\\", 0, "the text ends inside the string"},
        {"\"abc\\\"", 0, "the text ends inside the string"},
        {"\"\\q\"", 0, "this is not JSON"},
        {"\"\\u12\"", 0, "byte 1 (line 1): \\u without four"},
        {"\"\\uZZZZ\"", 0, "\\u without four"},
        {"\"\\u12", 0, "\\u without four"},
        {"\"\\ud800\"", 0, "this is not JSON"},
        {"\"\\ud800\\u0041\"", 0, "this is not JSON"},
        {"\"\\udc00\"", 0, "this is not JSON"},
        {"\"a\\u0000b\"", 0, "byte 2 (line 1): a string has \\u0000 in it"},
        {"{\"\\u0000\": 1}", 0, "a string has \\u0000 in it"},
        {"\"a\nb\"", 0, "byte 2 (line 1): a string has a raw control byte"},
        {"\"a\0b\"", 5, "byte 2 (line 1): a string has a raw control byte"},
        {"{}\0", 3, "byte 2 (line 1): a NUL byte"},
        {"[1,\0 2]", 7, "byte 3 (line 1): a NUL byte"},
        {"[\x0b]", 0, "byte 1 (line 1): a byte outside strings"},
        {"[\xc2\xa0]", 0, "byte 1 (line 1): a byte outside strings"},
        {"\"\xff\"", 0, "byte 1 (line 1): a string is not UTF-8"},
        {"\"\xed\xa0\x80\"", 0, "a string is not UTF-8"},
        {"\"\xc0\x80\"", 0, "a string is not UTF-8"},
        {"\"\xe2\x82", 0, "a string is not UTF-8"},
        {"\xef\xbb\xbf[1,]", 0, "byte 6 (line 1): this is not JSON"},
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct error err = {0};
        size_t n = bad[i].n != 0 ? bad[i].n : strlen(bad[i].text);
        if (parse_n(*state, bad[i].text, n, &err) != NULL)
            fail_msg("passes: %s", bad[i].text);
        if (strstr(err.text, bad[i].said) == NULL || strstr(err.text, "x.json") == NULL)
            fail_msg("%s\n  says: %s\n  not:  %s", bad[i].text, err.text, bad[i].said);
        assert_int_equal(err.code,
                         strstr(bad[i].said, "u0000") != NULL ? ERR_UNSUPPORTED : ERR_FORMAT);
    }
}

static void zero_after_an_escaped_backslash_is_no_zero(void **state)
{
    struct json_doc *d = parse(*state, "\"\\\\u0000\"");

    assert_string_equal(json_string(json_root(d)), "\\u0000");
    json_close(d);
}

static void depth_is_limited(void **state)
{
    struct ledger *l = *state;
    static char deep[200001];
    static const size_t depths[] = {500, 501, 999, 1001, 10000, 100000};

    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
        struct error err = {0};
        memset(deep, '[', depths[i]);
        memset(deep + depths[i], ']', depths[i]);
        struct json_doc *d = parse_n(l, deep, 2 * depths[i], &err);
        assert_int_equal(d != NULL, depths[i] <= 500);
        if (d == NULL)
            assert_non_null(strstr(err.text, "byte 500 (line 1): nested more than 500 deep"));
        json_close(d);
        assert_null(parse_n(l, deep, depths[i], &err));
    }
}

#define SAMPLE                                                                                     \
    "{\"a\":[1,2.5,{\"b\":\"\\u20ac\xe2\x82\xac\\\\\"}],\"c\":[true,false,null],\"d\":{}}"

static void every_cut_and_every_changed_byte_is_survived(void **state)
{
    struct ledger *l = *state;
    char text[] = SAMPLE;
    size_t n = sizeof text - 1;

    for (size_t cut = 0; cut < n; cut++) {
        struct error err = {0};
        assert_null(parse_n(l, text, cut, &err));
        assert_int_equal(err.code, ERR_FORMAT);
    }
    for (size_t i = 0; i < n; i++)
        for (int b = 0; b < 256; b++) {
            struct error err = {0};
            char was = text[i];
            text[i] = (char)b;
            struct json_doc *d = parse_n(l, text, n, &err);
            assert_int_equal(d == NULL, err.code != ERR_NONE);
            json_close(d);
            text[i] = was;
        }
}

static void no_memory_is_told_and_nothing_is_kept(void **state)
{
    struct ledger *l = *state;
    struct json_doc *d = NULL;
    struct text t;

    text_init(&t, l, MEM_OTHER);
    text_add(&t, "[");
    for (int i = 0; i < 2000; i++)
        text_add(&t, SAMPLE ",");
    text_add(&t, "0]");
    size_t before = ledger_total(l);
    long n = 1;
    for (; d == NULL; n++) {
        struct error err = {0};
        ledger_fail_after(l, n);
        d = json_parse(l, MEM_TOKENIZER, t.data, t.n, "x.json", &err);
        assert_int_equal(err.code, d == NULL ? ERR_MEMORY : ERR_NONE);
        if (d == NULL) {
            assert_non_null(strstr(err.text, "x.json: needs"));
            assert_int_equal(ledger_total(l), before);
        }
    }
    ledger_fail_after(l, 0);
    assert_true(n > 5);
    assert_true(ledger_now(l, MEM_TOKENIZER, MEM_HOST) > 2000 * 64);
    json_close(d);
    text_fini(&t);
}

static void *parse_many(void *arg)
{
    struct ledger *l = ledger_open();
    long bad = 0;

    for (int i = 0; i < 300; i++) {
        struct error err = {0};
        struct json_doc *d = json_parse(l, MEM_OTHER, SAMPLE, sizeof SAMPLE - 1, "t", &err);
        bad += d == NULL || json_count(json_root(d)) != 3;
        json_close(d);
        bad += json_parse(l, MEM_OTHER, "[1,]", 4, "t", &err) != NULL;
    }
    bad += ledger_close(l) != 0;
    return bad != 0 ? arg : NULL;
}

static void threads_may_parse(void **state)
{
    pthread_t t[4];

    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, parse_many, state), 0);
    for (int i = 0; i < 4; i++) {
        void *bad;
        pthread_join(t[i], &bad);
        assert_null(bad);
    }
}

static void files(void **state)
{
    struct ledger *l = *state;
    struct error err = {0};
    char path[] = "/tmp/midpass-json-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "{\"a\": 5}", 8), 8);
    close(fd);
    struct json_doc *d = json_read(l, MEM_OTHER, path, 8, &err);
    assert_non_null(d);
    assert_true(json_number(json_get(json_root(d), "a")) == 5);
    json_close(d);
    assert_null(json_read(l, MEM_OTHER, path, 7, &err));
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "7 B"));
    unlink(path);
    assert_null(json_read(l, MEM_OTHER, path, 100, &err));
    assert_int_equal(err.code, ERR_FILE);
    assert_non_null(strstr(err.text, path));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(walking),
        TEST(of_two_members_the_last_counts),
        TEST(whole_numbers),
        TEST(roots_of_all_kinds),
        TEST(what_is_wrong_is_told_with_its_place),
        TEST(zero_after_an_escaped_backslash_is_no_zero),
        TEST(depth_is_limited),
        TEST(every_cut_and_every_changed_byte_is_survived),
        TEST(no_memory_is_told_and_nothing_is_kept),
        TEST(threads_may_parse),
        TEST(files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
