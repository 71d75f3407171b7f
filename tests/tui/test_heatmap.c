/* test_heatmap.c - pooling loses no spike, and what is drawn is what is there. */
#include "tui/heatmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_cells_cover_values(void **state)
{
    (void)state;
    for (int n = 1; n < 60; n++)
        for (int cells = 1; cells <= n; cells++) {
            assert_int_equal(heatmap_first(0, n, cells), 0);
            assert_int_equal(heatmap_first(cells, n, cells), n);
            for (int i = 0; i < n; i++) {
                int c = heatmap_cell(i, n, cells);
                assert_in_range(c, 0, cells - 1);
                assert_true(heatmap_first(c, n, cells) <= i && i < heatmap_first(c + 1, n, cells));
            }
        }
    /* As long as a context may be. */
    assert_int_equal(heatmap_cell(2000000000, 2000000001, 400), 399);
}

static void test_pool(void **state)
{
    (void)state;
    float in[100], out[7];
    srand(3);
    for (int round = 0; round < 300; round++) {
        int n = 7 + rand() % 90;
        for (int i = 0; i < n; i++)
            in[i] = (float)(rand() % 2001 - 1000) / 1000.0f;
        in[rand() % n] = round % 2 ? 50.0f : -50.0f;
        heatmap_pool(in, n, out, 7, false);
        bool spike = false;
        for (int c = 0; c < 7; c++) {
            float most = 0;
            for (int i = c * n / 7; i < (c + 1) * n / 7; i++)
                most = fmaxf(most, fabsf(in[i]));
            assert_true(fabsf(out[c]) == most);
            spike = spike || most == 50.0f;
        }
        assert_true(spike);
    }
}

static void test_pool_special(void **state)
{
    (void)state;
    float in[] = {1, NAN, 5, -INFINITY, -INFINITY, -INFINITY, -3, -INFINITY}, out[4];
    heatmap_pool(in, 8, out, 4, false);
    assert_true(isnan(out[0]));
    assert_true(out[1] == 5);
    assert_true(isinf(out[2]) && out[2] < 0);
    assert_true(out[3] == -3);
    float more[] = {9, 9, -6, 1, 2, 2, 2, 2};
    heatmap_pool(more, 8, out, 4, true);
    assert_true(isnan(out[0])); /* nothing hides a NaN */
    assert_true(out[1] == -6 && out[2] == 2 && out[3] == -3);
    float one[] = {4}, wide[3];
    heatmap_pool(one, 1, wide, 3, false);
    for (int i = 0; i < 3; i++)
        assert_true(wide[i] == 4);
}

struct screen {
    struct ledger *ledger;
    struct theme theme;
    struct cells cells;
};

static void open_screen(struct screen *s, int colours, bool utf8, int w, int h)
{
    struct error err;
    s->ledger = ledger_open();
    theme_init(&s->theme, colours, utf8, colours == 0 ? "1" : NULL, NULL);
    assert_true(cells_init(&s->cells, s->ledger, w, h, &err));
}

static void close_screen(struct screen *s)
{
    cells_fini(&s->cells);
    assert_int_equal(ledger_close(s->ledger), 0);
}

static const float square[] = {0, 0.25f, NAN, 1, -INFINITY, 0.5f, 0.75f, 0.1f, 0.9f};

static struct heatmap map_of(int rows, int columns, const float *values)
{
    return (struct heatmap){
        .rows = rows, .columns = columns, .values = values, .cursor_row = -1, .cursor_column = -1};
}

static void test_draw_halves(void **state)
{
    (void)state;
    struct screen s;
    open_screen(&s, 256, true, 3, 2);
    assert_int_equal(heatmap_rows(&s.theme, 2), 4);
    struct heatmap m = map_of(3, 3, square);
    heatmap_draw(&s.theme, &m, region_whole(&s.cells));
    for (int x = 0; x < 3; x++) {
        const struct cell *c = cells_at(&s.cells, x, 0);
        float up = square[x], down = square[3 + x];
        if (x == 1) { /* absent below */
            assert_int_equal(c->style.fg, theme_heat(&s.theme, (double)up));
            assert_int_equal(c->style.bg, COLOUR_DEFAULT);
        } else {
            assert_int_equal(c->style.fg, theme_heat(&s.theme, (double)up));
            assert_int_equal(c->style.bg, theme_heat(&s.theme, (double)down));
        }
        /* The third row has nothing below it. */
        c = cells_at(&s.cells, x, 1);
        assert_int_equal(c->style.fg, theme_heat(&s.theme, (double)square[6 + x]));
        assert_int_equal(c->style.bg, COLOUR_DEFAULT);
    }
    close_screen(&s);
}

static void test_draw_whole_and_cursor(void **state)
{
    (void)state;
    struct screen s;
    open_screen(&s, 256, true, 7, 3);
    struct heatmap m = map_of(3, 3, square);
    m.cursor_row = 2;
    m.cursor_column = 1;
    heatmap_draw(&s.theme, &m, region_whole(&s.cells));
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 6; x++) {
            float v = square[3 * y + x / 2];
            bool absent = isinf(v);
            int16_t want = absent ? COLOUR_DEFAULT : theme_heat(&s.theme, (double)v);
            assert_int_equal(cells_at(&s.cells, x, y)->style.bg, want);
        }
    assert_string_equal(cells_at(&s.cells, 2, 2)->glyph, "+");
    assert_string_equal(cells_at(&s.cells, 6, 0)->glyph, " "); /* does not fit a third time */
    int row, column;
    assert_true(heatmap_at(&s.theme, &m, 7, 3, 5, 2, &row, &column));
    assert_int_equal(row, 2);
    assert_int_equal(column, 2);
    assert_false(heatmap_at(&s.theme, &m, 7, 3, 6, 2, &row, &column));
    close_screen(&s);
}

static void test_draw_without_colours(void **state)
{
    (void)state;
    struct screen s;
    open_screen(&s, 0, false, 3, 3);
    assert_int_equal(heatmap_rows(&s.theme, 3), 3);
    struct heatmap m = map_of(3, 3, square);
    heatmap_draw(&s.theme, &m, region_whole(&s.cells));
    for (int i = 0; i < 9; i++) {
        const struct cell *c = cells_at(&s.cells, i % 3, i / 3);
        const char *want = isinf(square[i]) ? " " : theme_heat_glyph(&s.theme, (double)square[i]);
        assert_string_equal(c->glyph, want);
        assert_int_equal(c->style.bg, COLOUR_DEFAULT);
    }
    assert_string_not_equal(cells_at(&s.cells, 2, 0)->glyph, cells_at(&s.cells, 0, 0)->glyph);
    close_screen(&s);
}

/* Scales: signed around 0 by the largest, limits cut, and nothing but NaNs is no trouble. */
static void test_scales(void **state)
{
    (void)state;
    struct screen s;
    open_screen(&s, 256, false, 4, 1);
    float v[] = {-2, 0, 4, INFINITY}, bad[] = {NAN, NAN, -INFINITY, NAN};
    struct heatmap m = map_of(1, 4, v);
    double want[] = {-0.5, 0, 1, 1};
    m.scale = HEAT_SIGNED;
    heatmap_draw(&s.theme, &m, region_whole(&s.cells));
    for (int i = 0; i < 4; i++)
        assert_int_equal(cells_at(&s.cells, i, 0)->style.bg, theme_signed(&s.theme, want[i]));
    m.limit = 2;
    heatmap_draw(&s.theme, &m, region_whole(&s.cells));
    assert_int_equal(cells_at(&s.cells, 0, 0)->style.bg, theme_signed(&s.theme, -1));
    m = map_of(1, 4, bad);
    m.scale = HEAT_POSITIVE;
    heatmap_draw(&s.theme, &m, region_whole(&s.cells));
    assert_int_equal(cells_at(&s.cells, 0, 0)->style.bg, theme_heat(&s.theme, NAN));
    assert_int_equal(cells_at(&s.cells, 2, 0)->style.bg, COLOUR_DEFAULT);
    close_screen(&s);
}

/* Any shape in any region: nothing outside of it, and no crash. */
static void test_any_size(void **state)
{
    (void)state;
    float *v = calloc(40 * 40, sizeof *v);
    for (int i = 0; i < 1600; i++)
        v[i] = (float)i / 1600;
    srand(5);
    for (int i = 0; i < 400; i++) {
        struct screen s;
        int colours[] = {256, 16, 8, 0};
        open_screen(&s, colours[i % 4], i & 4, 30, 20);
        struct heatmap m = map_of(1 + rand() % 40, 1 + rand() % 40, v);
        m.cursor_row = rand() % 41 - 1;
        m.cursor_column = rand() % 41 - 1;
        int w = rand() % 20, h = rand() % 12;
        heatmap_draw(&s.theme, &m, region_part(region_whole(&s.cells), 5, 4, w, h));
        for (int y = 0; y < 20; y++)
            for (int x = 0; x < 30; x++)
                if (x < 5 || y < 4 || x >= 5 + w || y >= 4 + h) {
                    assert_string_equal(cells_at(&s.cells, x, y)->glyph, " ");
                    assert_int_equal(cells_at(&s.cells, x, y)->style.bg, COLOUR_DEFAULT);
                }
        close_screen(&s);
    }
    free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells_cover_values),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_pool_special),
        cmocka_unit_test(test_draw_halves),
        cmocka_unit_test(test_draw_whole_and_cursor),
        cmocka_unit_test(test_draw_without_colours),
        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_any_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
