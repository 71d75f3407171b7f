/* test_report.c - what commands say: numbers as a reader wants them, and JSON that parses. */
#include "engine/base/json.h"
#include "engine/debug/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

static struct ledger *ledger;
static struct text said;
static long writes, fail_after;

static bool take(void *context, const char *s, size_t n, struct error *err)
{
    (void)context;
    writes++;
    if (fail_after > 0 && writes > fail_after)
        return error_set(err, ERR_FILE, "the disk is full");
    text_add_bytes(&said, s, n);
    return true;
}

static int set_up(void **state)
{
    (void)state;
    ledger = ledger_open();
    text_init(&said, ledger, MEM_OTHER);
    writes = fail_after = 0;
    return ledger == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    text_fini(&said);
    return ledger_close(ledger) != 0;
}

static void fill(struct value *v, int n_dims, const size_t *dims, const float *data)
{
    value_init(v, ledger);
    assert_true(value_set_shape(v, n_dims, dims, NULL));
    for (size_t i = 0; data && i < v->count; i++)
        v->data[i] = data[i];
}

static const char *printed(const struct value *v, bool all)
{
    struct report r;
    struct error err = {0};
    text_clear(&said);
    report_init(&r, ledger, false, take, NULL);
    assert_true(report_print(&r, "$1 = ", v, all, &err));
    report_fini(&r);
    return said.data;
}

static void numbers(void **state)
{
    static const struct {
        double x;
        const char *text;
    } rows[] = {{3.14159265, "$1 = 3.14159\n"}, {0, "$1 = 0\n"},           {-1e-9, "$1 = -1e-09\n"},
                {1e20, "$1 = 1e+20\n"},         {NAN, "$1 = nan\n"},       {-NAN, "$1 = nan\n"},
                {INFINITY, "$1 = inf\n"},       {-INFINITY, "$1 = -inf\n"}};
    struct value v;
    (void)state;
    value_init(&v, ledger);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        value_set_number(&v, rows[i].x);
        assert_string_equal(printed(&v, false), rows[i].text);
    }
    assert_true(value_set_string(&v, "a\x1b[2J\"", 6, NULL));
    assert_string_equal(printed(&v, false), "$1 = \"a\\x1b[2J\\\"\"\n");
    value_fini(&v);
}

static void arrays(void **state)
{
    static const float floats[] = {1.5f, -2.25f, 0, 1000.125f, NAN, -INFINITY};
    static const float whole[] = {1, -20, 300, 4, 5, 6};
    static const float wide[] = {1e-9f, 123456.0f, 3, 4, 5, 6};
    static const size_t flat[] = {6}, matrix[] = {2, 3}, cube[] = {2, 1, 3}, none[] = {3, 0};
    struct value v;
    (void)state;
    fill(&v, 1, flat, floats);
    assert_string_equal(
        printed(&v, false),
        "$1 = [6]\n[   1.5000   -2.2500    0.0000 1000.1250       nan      -inf]\n");
    value_fini(&v);
    fill(&v, 2, matrix, whole);
    assert_string_equal(printed(&v, false), "$1 = [2, 3]\n[[  1 -20 300]\n [  4   5   6]]\n");
    value_fini(&v);
    fill(&v, 3, cube, whole);
    assert_string_equal(printed(&v, false),
                        "$1 = [2, 1, 3]\n[[[  1 -20 300]]\n\n [[  4   5   6]]]\n");
    value_fini(&v);
    fill(&v, 2, matrix, wide);
    assert_string_equal(printed(&v, false),
                        "$1 = [2, 3]\n[[ 1e-09 123456      3]\n [     4      5      6]]\n");
    value_fini(&v);
    fill(&v, 2, none, NULL);
    assert_string_equal(printed(&v, false), "$1 = [3, 0]\n");
    value_fini(&v);
}

static void large_ones_are_summarised(void **state)
{
    static const size_t dims[] = {40, 50};
    struct value v;
    (void)state;
    fill(&v, 2, dims, NULL);
    for (size_t i = 0; i < v.count; i++)
        v.data[i] = (float)i;
    v.data[1000] = NAN;
    v.data[1001] = INFINITY;
    const char *text = printed(&v, false);
    assert_non_null(strstr(text, "$1 = [40, 50]\n  min 0  max inf  "));
    assert_non_null(strstr(text, "nan 1  inf 1\n"));
    assert_non_null(strstr(text, "first 0 1 2 3  last 1996 1997 1998 1999"));
    text = printed(&v, true);
    assert_non_null(strstr(text, "1998 1999]]\n"));
    /* Lines are broken, and none is longer than a screen's. */
    for (const char *p = text; *p; p += strcspn(p, "\n") + 1)
        assert_true(strcspn(p, "\n") <= 101);
    value_fini(&v);
}

static void objects_parse(void **state)
{
    static const float data[] = {0.1f, NAN, INFINITY, -INFINITY, -0.0f, 3e38f};
    static const size_t dims[] = {2, 3};
    struct report r;
    struct value v;
    struct error err = {0};
    (void)state;
    report_init(&r, ledger, true, take, NULL);
    fill(&v, 2, dims, data);
    report_begin(&r, "cmd", "print");
    report_string(&r, "expr", "\"\x1b\xff\n", 4);
    assert_true(report_value(&r, &v, &err));
    report_null(&r, "nothing");
    report_bool(&r, "yes", true);
    report_open(&r, "list", '[');
    report_open(&r, NULL, '{');
    report_number(&r, "x", NAN);
    report_close(&r, '}');
    report_open(&r, NULL, '{');
    report_close(&r, '}');
    report_close(&r, ']');
    assert_true(report_end(&r, &err));
    assert_int_equal(said.data[said.n - 1], '\n');
    struct json_doc *d = json_parse(ledger, MEM_OTHER, said.data, said.n, "line", &err);
    if (!d)
        fail_msg("%s\n%s", err.text, said.data);
    const struct json *j = json_root(d);
    assert_int_equal(json_count(json_get(j, "data")), 6);
    const struct json *x = json_first(json_get(j, "data"));
    assert_true((float)json_number(x) == 0.1f);
    x = json_next(x);
    assert_string_equal(json_string(x), "nan");
    assert_string_equal(json_string(json_next(x)), "inf");
    assert_string_equal(json_string(json_next(json_next(x))), "-inf");
    assert_true((float)json_number(json_next(json_next(json_next(json_next(x))))) == 3e38f);
    assert_int_equal(json_count(json_get(j, "shape")), 2);
    assert_int_equal(json_count(json_get(j, "list")), 2);
    json_close(d);
    value_fini(&v);
    report_fini(&r);
}

static void errors_are_objects(void **state)
{
    struct report r;
    struct error e = {0}, err = {0};
    (void)state;
    report_init(&r, ledger, true, take, NULL);
    report_begin(&r, "cmd", "half an object");
    error_at(&e, ERR_STATE, 7, "not \"now\"");
    assert_true(report_error(&r, &e, &err));
    assert_string_equal(
        said.data,
        "{\"error\":\"state\",\"message\":\"not \\\"now\\\"\",\"code\":6,\"column\":7}\n");
    report_fini(&r);
}

static void a_full_disk_is_told(void **state)
{
    static const size_t dims[] = {100000};
    struct report r;
    struct value v;
    struct error err = {0};
    (void)state;
    fill(&v, 1, dims, NULL);
    report_init(&r, ledger, false, take, NULL);
    fail_after = 2;
    assert_false(report_print(&r, "", &v, true, &err));
    assert_int_equal(err.code, ERR_FILE);
    /* What is long is handed over in parts. */
    assert_true(r.text.room < 300000);
    report_fini(&r);
    value_fini(&v);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(numbers),
        TEST(arrays),
        TEST(large_ones_are_summarised),
        TEST(objects_parse),
        TEST(errors_are_objects),
        TEST(a_full_disk_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
