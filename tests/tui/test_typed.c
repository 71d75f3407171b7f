/* test_typed.c - the line being typed, and lines that are wrapped, counted in columns: wide
 * characters, marks that combine, blanks at a break. */
#include "tui/panels/console.h"
#include "tui/panels/panels.h"
#include "tui/typed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PLAIN ((struct style){COLOUR_DEFAULT, COLOUR_DEFAULT, 0})

/* Draws a line in w columns with the cursor behind its first `before` bytes. */
static void check(const char *text, size_t before, int w, const char *row, int cursor)
{
    struct ledger *l = ledger_open();
    struct cells c;
    struct text t;
    char front[200];
    snprintf(front, sizeof front, "%.*s", (int)before, text);
    struct prompt_view v = {
        .active = true, .lead = "> ", .text = text, .cursor = text_columns(front)};
    assert_true(cells_init(&c, l, w, 1, NULL));
    text_init(&t, l, MEM_OTHER);
    int at = typed_draw(region_whole(&c), 0, &v, PLAIN);
    cells_add_row(&c, 0, &t);
    assert_string_equal(t.data ? t.data : "", row);
    assert_int_equal(at, cursor);
    text_fini(&t);
    cells_fini(&c);
    assert_int_equal(ledger_close(l), 0);
}

static void test_the_cursor_stands_where_it_is_drawn(void **state)
{
    (void)state;
    check("abc", 3, 10, "> abc", 5);
    check("中文", 6, 10, "> 中文", 6);
    check("e\xcc\x81x", 3, 10, "> e\xcc\x81x", 3);
    /* Too long: the part with the cursor, whole characters only. */
    check("abcdefghij", 10, 8, "> fghij", 7);
    check("中文中文中", 15, 8, "> 文中", 6);
    check("中文中文中文", 0, 8, "> 中文中", 2);
    check("e\xcc\x81"
          "e\xcc\x81"
          "e\xcc\x81xyzuv",
          14, 8, "> xyzuv", 7);
    /* What the cursor is on is seen, also if it is wide. */
    check("abcd中ef", 4, 8, "> abcd中", 6);
    check("abcde中ef", 5, 8, "> bcde中", 6);
    /* Without room for it the lead goes. */
    check("abcdef", 6, 5, "cdef", 4);
}

static bool say(struct scrollback *s, const char *line)
{
    scrollback_add(s, SAID_OUTPUT, line, strlen(line));
    return true;
}

/* The console's rows above its prompt. */
static void check_console(const char *line, int w, int h, const char *rows)
{
    struct ledger *l = ledger_open();
    struct error err = {0};
    struct theme theme;
    struct cells c;
    struct text t;
    theme_init(&theme, 0, true, NULL, NULL);
    struct view v = {.ledger = l, .theme = &theme, .scrollback = scrollback_open(l, &err)};
    struct panel *p = panel_open(&panel_console, &v, &err);
    assert_non_null(p);
    assert_true(say(v.scrollback, line));
    assert_true(cells_init(&c, l, w, h, NULL));
    text_init(&t, l, MEM_OTHER);
    p->kind->draw(p, region_whole(&c), false);
    cells_add_text(&c, &t);
    assert_int_equal(strncmp(t.data, rows, strlen(rows)), 0);
    assert_int_equal(t.n, strlen(rows) + strlen("(midpass)\n"));
    text_fini(&t);
    cells_fini(&c);
    panel_close(p);
    scrollback_close(v.scrollback);
    assert_int_equal(ledger_close(l), 0);
}

static void test_blanks_at_a_break_are_gone(void **state)
{
    (void)state;
    check_console("abcdefgh  ijkl", 10, 3, "abcdefgh\nijkl\n");
    check_console("abcdefghij   ", 10, 3, "\nabcdefghij\n"); /* and make no row of their own */
    check_console("  ab cdefghi", 10, 3, "  ab\ncdefghi\n");
    check_console("中中中中中中", 10, 3, "中中中中中\n中\n");
    check_console("", 10, 3, "\n\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_cursor_stands_where_it_is_drawn),
        cmocka_unit_test(test_blanks_at_a_break_are_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
