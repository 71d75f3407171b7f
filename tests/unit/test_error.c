/* test_error.c - messages: whole characters, no control bytes, the first words kept. */
#include "engine/base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void every_code_has_a_word(void **state)
{
    (void)state;
    for (int c = ERR_NONE; c <= ERR_DEVICE; c++) {
        const char *name = error_code_name((enum error_code)c);
        assert_string_not_equal(name, "unknown");
        for (int other = ERR_NONE; other < c; other++)
            assert_string_not_equal(name, error_code_name((enum error_code)other));
    }
    assert_string_equal(error_code_name(ERR_USAGE), "usage");
    assert_string_equal(error_code_name((enum error_code)99), "unknown");
}

static void setting(void **state)
{
    (void)state;
    struct error e = {0};

    assert_false(error_set(&e, ERR_FILE, "no %s, %d", "x", 3));
    assert_int_equal(e.code, ERR_FILE);
    assert_int_equal(e.column, 0);
    assert_string_equal(e.text, "no x, 3");
    assert_false(error_at(&e, ERR_USAGE, 7, "what"));
    assert_int_equal(e.column, 7);
    assert_string_equal(e.text, "what");
    assert_false(error_prefix(&e, "line %d", 2));
    assert_string_equal(e.text, "line 2: what");
    assert_int_equal(e.code, ERR_USAGE);
    assert_int_equal(e.column, 7);
    assert_false(error_set(NULL, ERR_FILE, "nobody listens"));
    assert_false(error_at(NULL, ERR_FILE, 1, "nobody listens"));
    assert_false(error_prefix(NULL, "nobody"));
}

static void controls_are_escaped(void **state)
{
    (void)state;
    struct error e = {0};

    error_set(&e, ERR_FORMAT, "tensor %s", "a\x1b[2J\x7f\xc2\x9b\xe2\x80\xae\xff\ttail");
    assert_string_equal(e.text, "tensor a\\x1b[2J\\x7f\\u009b\\u202e\\xff\\ttail");
    error_prefix(&e, "file \x01");
    assert_string_equal(e.text, "file \\x01: tensor a\\x1b[2J\\x7f\\u009b\\u202e\\xff\\ttail");
    error_set(&e, ERR_FORMAT, "two\nlines\n");
    assert_string_equal(e.text, "two\nlines\n");
}

static void long_messages_are_cut_between_characters(void **state)
{
    (void)state;
    struct error e = {0};
    char many[4000];

    for (size_t lead = 0; lead < 4; lead++) {
        memset(many, 'x', lead);
        for (size_t i = lead; i + 3 < sizeof many; i += 3)
            memcpy(many + i, "\xe2\x82\xac\0", 4); /* the euro sign */
        error_set(&e, ERR_FORMAT, "%s", many);
        size_t n = strlen(e.text);
        assert_true(n < sizeof e.text && n > sizeof e.text - 8);
        assert_string_equal(e.text + n - 3, "...");
        assert_int_equal((n - 3 - lead) % 3, 0);
        assert_null(strstr(e.text, "\\x"));
        error_prefix(&e, "%s", many);
        assert_null(strstr(e.text, "\\x"));
        error_prefix(&e, "short");
        assert_memory_equal(e.text, "short: ", 7);
    }
    memset(many, '\x01', sizeof many - 1);
    many[sizeof many - 1] = '\0';
    error_set(&e, ERR_FORMAT, "%s", many);
    assert_memory_equal(e.text, "\\x01\\x01", 8);
    /* What just fits is not cut. */
    many[sizeof e.text - 1] = '\0';
    memset(many, 'y', sizeof e.text - 1);
    error_set(&e, ERR_FORMAT, "%s", many);
    assert_string_equal(e.text, many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_word),
        cmocka_unit_test(setting),
        cmocka_unit_test(controls_are_escaped),
        cmocka_unit_test(long_messages_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
