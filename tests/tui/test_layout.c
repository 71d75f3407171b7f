/* Layouts: reading and writing specs, arranging them in any size, growing. */
#include "tests/support/folder.h"
#include "tui/layout.h"
#include "tui/panels/panels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void spec_of(struct ledger *l, const struct layout *x, char *out, size_t room)
{
    struct text t;
    text_init(&t, l, MEM_OTHER);
    layout_add_spec(x, &t);
    assert_true(text_ok(&t, NULL) && t.n < room);
    memcpy(out, t.data, t.n + 1);
    text_fini(&t);
}

static void test_specs_are_read_back(void **s)
{
    char first[500], second[500];
    struct layout a, b;
    struct error err = {0};
    for (int i = 0; layout_defaults[i].name; i++) {
        assert_true(layout_parse(&a, layout_defaults[i].name, layout_defaults[i].spec, &err));
        spec_of(*s, &a, first, sizeof first);
        assert_true(layout_parse(&b, "again", first, &err));
        spec_of(*s, &b, second, sizeof second);
        assert_string_equal(first, second);
    }
}

static void test_bad_specs_are_told(void **s)
{
    static const struct {
        const char *spec, *message;
    } bad[] = {{"", "share of the height"},
               {"console", "share of the height"},
               {"10", "a panel's name"},
               {"10 nonsense", "there is no panel \"nonsense\""},
               {"10 console | 10 console", "twice"},
               {"10 console; 5 program", "| , / or the end"},
               {"10 console |", "share of the height"},
               {"10 console,", "a panel's name"},
               {"10 aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "a panel's name"}};
    struct layout a = {.name = "old"};
    (void)s;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct error err = {0};
        assert_false(layout_parse(&a, "x", bad[i].spec, &err));
        if (!strstr(err.text, bad[i].message))
            fail_msg("\"%s\": %s", bad[i].spec, err.text);
        assert_string_equal(a.name, "old");
    }
}

/* Whatever the size: what is not dropped lies within it, is as large as its panel needs, and no
 * two overlap; the kept one is there. */
static void check(const struct layout *l, int w, int h, int keep)
{
    int left = 0;
    for (int i = 0; i < l->n; i++) {
        const struct layout_place *p = &l->place[i];
        if (p->dropped)
            continue;
        left++;
        if (p->x < 1 || p->y < 2 || p->x + p->w > w - 1 || p->y + p->h > 1 + h)
            fail_msg("%s at %d,%d %dx%d lies outside of %dx%d", panels_kind(p->kind)->name, p->x,
                     p->y, p->w, p->h, w, h);
        for (int k = 0; k < i; k++) {
            const struct layout_place *q = &l->place[k];
            bool apart = q->dropped || p->x + p->w < q->x || q->x + q->w < p->x ||
                         p->y + p->h < q->y || q->y + q->h < p->y;
            assert_true(apart);
        }
    }
    assert_true(left >= 1);
    assert_false(l->place[keep].dropped);
    for (int i = 0; left > 1 && i < l->n; i++)
        if (!l->place[i].dropped) {
            assert_true(l->place[i].w >= panels_kind(l->place[i].kind)->min_w);
            assert_true(l->place[i].h >= panels_kind(l->place[i].kind)->min_h);
        }
}

static void test_arranges_in_any_size(void **s)
{
    (void)s;
    for (int i = 0; layout_defaults[i].name; i++) {
        struct layout l;
        assert_true(layout_parse(&l, "x", layout_defaults[i].spec, NULL));
        for (int w = LAYOUT_SMALL_W; w < 420; w += 7)
            for (int h = LAYOUT_SMALL_H - 2; h < 130; h += 3)
                for (int keep = 0; keep < l.n; keep++) {
                    layout_arrange(&l, 1, w, h, keep, false);
                    check(&l, w, h, keep);
                    layout_arrange(&l, 1, w, h, keep, true);
                    check(&l, w, h, keep);
                }
    }
}

static void test_all_are_there_at_120x40(void **s)
{
    (void)s;
    for (int i = 0; layout_defaults[i].name; i++) {
        struct layout l;
        assert_true(layout_parse(&l, "x", layout_defaults[i].spec, NULL));
        layout_arrange(&l, 1, 120, 38, 0, false);
        for (int k = 0; k < l.n; k++)
            if (l.place[k].dropped)
                fail_msg("%s: %s is dropped", layout_defaults[i].name,
                         panels_kind(l.place[k].kind)->name);
    }
}

static void test_grows_and_stays_usable(void **s)
{
    (void)s;
    struct layout l;
    assert_true(layout_parse(&l, "x", layout_defaults[0].spec, NULL));
    layout_arrange(&l, 1, 120, 38, 0, false);
    int last = l.n - 1, before = l.place[last].h;
    layout_grow(&l, last, 0, 1);
    layout_arrange(&l, 1, 120, 38, 0, false);
    assert_true(l.place[last].h > before);
    for (int k = 0; k < l.n; k++)
        for (int i = 0; i < 400; i++)
            layout_grow(&l, k, i % 3 ? -1 : 1, i % 5 ? 1 : -1);
    for (int keep = 0; keep < l.n; keep++) {
        layout_arrange(&l, 1, 120, 38, keep, false);
        check(&l, 120, 38, keep);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, folder_set_up, folder_tear_down)
        TEST(specs_are_read_back),     TEST(bad_specs_are_told),     TEST(arranges_in_any_size),
        TEST(all_are_there_at_120x40), TEST(grows_and_stays_usable),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
