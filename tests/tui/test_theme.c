/* test_theme.c - maps whose lightness only grows, signs of one column, and cells that hold what
 * was written, whole characters only. */
#include "tui/theme.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

/* CIE lightness of a palette's colour, as xterm has them. */
static double lightness(int c)
{
    static const uint8_t low[16][3] = {
        {0, 0, 0},     {205, 0, 0},     {0, 205, 0},     {205, 205, 0},  {0, 0, 238}, {205, 0, 205},
        {0, 205, 205}, {229, 229, 229}, {127, 127, 127}, {255, 0, 0},    {0, 255, 0}, {255, 255, 0},
        {92, 92, 255}, {255, 0, 255},   {0, 255, 255},   {255, 255, 255}};
    static const uint8_t level[6] = {0, 95, 135, 175, 215, 255};
    static const double share[3] = {0.2126, 0.7152, 0.0722};
    int rgb[3] = {8 + 10 * (c - 232), 8 + 10 * (c - 232), 8 + 10 * (c - 232)}, cube = c - 16;
    double sum = 0;
    for (int i = 0; i < 3; i++) {
        if (c < 16)
            rgb[i] = low[c][i];
        else if (c < 232)
            rgb[i] = level[i == 0 ? cube / 36 : i == 1 ? cube / 6 % 6 : cube % 6];
        double u = rgb[i] / 255.0;
        sum += share[i] * (u <= 0.04045 ? u / 12.92 : pow((u + 0.055) / 1.055, 2.4));
    }
    return sum > 0.008856 ? 116 * cbrt(sum) - 16 : 903.3 * sum;
}

static const int colours[] = {256, 16, 8};

static void test_heat_grows(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++)
        for (int light = 0; light < 2; light++) {
            struct theme t;
            theme_init(&t, colours[k], true, NULL, light ? "0;15" : "15;0");
            assert_int_equal(t.background, light ? BACKGROUND_LIGHT : BACKGROUND_DARK);
            for (int i = 0; i < 200; i++) {
                int a = theme_heat(&t, i / 200.0), b = theme_heat(&t, (i + 1) / 200.0);
                double grows = (lightness(b) - lightness(a)) * (light ? -1 : 1);
                assert_in_range(a, 0, colours[k] - 1);
                assert_true(a == b || grows > 0);
                assert_true(a != theme_heat(&t, (double)NAN));
            }
            assert_int_equal(theme_heat(&t, -3), theme_heat(&t, 0));
            assert_int_equal(theme_heat(&t, (double)INFINITY), theme_heat(&t, 1));
        }
}

static void test_signed_has_two_sides(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++)
        for (int light = 0; light < 2; light++) {
            struct theme t;
            theme_init(&t, colours[k], true, NULL, light ? "0;15" : "15;0");
            for (int side = -1; side <= 1; side += 2)
                for (int i = 0; i < 100; i++) {
                    int a = theme_signed(&t, side * i / 100.0);
                    int b = theme_signed(&t, side * (i + 1) / 100.0);
                    double grows = (lightness(b) - lightness(a)) * (light ? -1 : 1);
                    assert_true(a == b || grows > 0);
                }
            assert_int_not_equal(theme_signed(&t, 1), theme_signed(&t, -1));
            assert_int_not_equal(theme_signed(&t, 1), theme_signed(&t, 0));
            assert_int_not_equal(theme_signed(&t, (double)NAN), theme_signed(&t, 0));
        }
}

static void test_signs_of_values_differ(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++)
        for (int light = 0; light < 2; light++) {
            struct theme t;
            theme_init(&t, k < 3 ? colours[k] : 0, true, NULL, light ? "0;15" : "15;0");
            int16_t none = theme_signed(&t, 0);
            for (int i = 1; i <= 100; i++) {
                double v = i / 100.0;
                int16_t above = theme_signed(&t, v), below = theme_signed(&t, -v);
                assert_true(t.colours == 0 || (above == none) == (below == none));
                assert_true(above == none || above != below);
                if (above != none) {
                    double gap = lightness(theme_ink(&t, above)) - lightness(above);
                    assert_true(fabs(gap) > 30);
                    gap = lightness(theme_ink(&t, below)) - lightness(below);
                    assert_true(fabs(gap) > 25);
                }
                const char *p = theme_signed_glyph(&t, v), *n = theme_signed_glyph(&t, -v);
                bool zero = strcmp(p, ".") == 0;
                assert_int_equal(zero, strcmp(n, ".") == 0);
                assert_true(zero || strcmp(p, n) != 0);
            }
        }
}

/* The ramps without colours have more ink for more, and come to each step once. */
static void test_glyphs_grow(void **state)
{
    static const char *const ramps[] = {".:-=+*#%@", ".+*#@", ".-nNM"};
    struct theme t;
    (void)state;
    theme_init(&t, 0, false, NULL, NULL);
    for (int k = 0; k < 3; k++) {
        size_t at = 0;
        for (int i = 0; i <= 1000; i++) {
            double v = i / 1000.0;
            const char *g = k == 0   ? theme_heat_glyph(&t, v)
                            : k == 1 ? theme_signed_glyph(&t, v)
                                     : theme_signed_glyph(&t, -v);
            const char *found = strchr(ramps[k], *g);
            assert_non_null(found);
            assert_true((size_t)(found - ramps[k]) - at <= 1);
            at = (size_t)(found - ramps[k]);
        }
        assert_int_equal(at, strlen(ramps[k]) - 1);
    }
}

static void test_without_colours(void **state)
{
    struct theme t;
    (void)state;
    theme_init(&t, 256, false, "1", NULL);
    assert_int_equal(t.colours, 0);
    assert_int_equal(theme_heat(&t, 0.5), COLOUR_DEFAULT);
    for (int r = 0; r < ROLES; r++) {
        struct style s = theme_style(&t, (enum role)r);
        assert_true(s.fg == COLOUR_DEFAULT && s.bg == COLOUR_DEFAULT);
    }
    assert_string_not_equal(theme_signed_glyph(&t, -1), theme_signed_glyph(&t, 1));
    assert_string_not_equal(theme_heat_glyph(&t, 0), " ");
    theme_init(&t, 256, false, "", NULL);
    assert_int_equal(t.colours, 256);
    theme_init(&t, -1, false, NULL, NULL);
    assert_int_equal(t.colours, 0);
}

static void test_signs_take_one_column(void **state)
{
    (void)state;
    for (int utf8 = 0; utf8 < 2; utf8++) {
        struct theme t;
        theme_init(&t, 16, utf8, NULL, NULL);
        for (int s = 0; s < SIGNS; s++) {
            const char *sign = theme_sign(&t, (enum sign)s);
            assert_int_equal(text_columns(sign), s == SIGN_HALF ? utf8 : 1);
            assert_true(utf8 || strlen(sign) <= 1);
        }
        for (int i = 0; i <= 40; i++)
            for (int x = 0; x < 5; x++)
                assert_int_equal(text_columns(theme_bar(&t, i / 40.0, 5, x)), 1);
        assert_string_not_equal(theme_bar(&t, 1e-9, 5, 0), " ");
        assert_string_equal(theme_bar(&t, 0, 5, 0), " ");
    }
}

/* ---- cells ---- */

static void test_wide_characters(void **state)
{
    struct cells c;
    struct ledger *l = ledger_open();
    struct style s = {1, 2, 0};
    struct text t;
    (void)state;
    assert_true(cells_init(&c, l, 6, 2, NULL));
    struct region r = region_whole(&c);
    text_init(&t, l, MEM_OTHER);
    assert_int_equal(region_text(r, 0, 0, 6, "a中e\xcc\x81", s), 4);
    assert_int_equal(cells_at(&c, 1, 0)->width, 2);
    assert_int_equal(cells_at(&c, 2, 0)->width, 0);
    assert_string_equal(cells_at(&c, 3, 0)->glyph, "e\xcc\x81");
    region_put(r, 2, 0, "x", s); /* half of a character cannot stay */
    assert_string_equal(cells_at(&c, 1, 0)->glyph, " ");
    assert_int_equal(cells_at(&c, 1, 0)->width, 1);
    assert_int_equal(region_text(r, 4, 1, 2, "b中", s), 2); /* no room for both halves */
    assert_string_equal(cells_at(&c, 5, 1)->glyph, " ");
    assert_int_equal(region_text(r, 0, 1, 4, "\x01\xff", s), 2);
    cells_add_text(&c, &t);
    assert_string_equal(t.data, "a xe\xcc\x81\n??  b\n");
    assert_int_equal(region_text_cut(r, 0, 0, 3, "abcdef", "~", s), 3);
    assert_string_equal(cells_at(&c, 2, 0)->glyph, "~");
    assert_int_equal(text_wrap("ab cd ef", 5), 5);
    assert_int_equal(text_wrap("abcdef", 4), 4);
    assert_int_equal(text_wrap("中中", 1), 3);
    assert_int_equal(region_part(r, 4, -1, 100, 100).w, 2);
    assert_int_equal(region_part(r, 9, 9, 4, 4).h, 0);
    text_fini(&t);
    cells_fini(&c);
    assert_int_equal(ledger_close(l), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heat_grows),
        cmocka_unit_test(test_signed_has_two_sides),
        cmocka_unit_test(test_signs_of_values_differ),
        cmocka_unit_test(test_glyphs_grow),
        cmocka_unit_test(test_without_colours),
        cmocka_unit_test(test_signs_take_one_column),
        cmocka_unit_test(test_wide_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
