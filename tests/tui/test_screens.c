/* test_screens.c - every panel as text and styles, at many sizes and on many terminals, compared
 * with files; and random keys at random sizes. */
#include "tests/support/screen.h"
#include "tui/panels/console.h"
#include "tui/panels/panels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MODEL     "tests/golden/models/gpt2"
#define TOKENIZER "tests/golden/tokenizer/words.json"
#define GOLDEN    "tests/tui/golden"

struct fixture {
    struct ledger *ledger;
    struct session session;
    struct report report;
    struct console console;
    struct theme theme;
    struct view view;
    struct cells cells;
    volatile int interrupt;
    struct error err;
};

static void must(bool ok, const struct fixture *f)
{
    if (!ok)
        fail_msg("%s", f->err.text);
}

static bool say(void *context, const char *s, size_t n, struct error *err)
{
    struct fixture *f = context;
    (void)err;
    scrollback_add(f->view.scrollback, SAID_OUTPUT, s, n);
    return true;
}

/* As the app runs it; a line that fails is an error that is said. */
static void command(struct fixture *f, const char *line)
{
    struct error err = {0};
    struct session *s = &f->session;
    int patches = s->patches.last_id;
    scrollback_add(f->view.scrollback, SAID_COMMAND, line, strlen(line));
    if (!console_run(&f->console, line, strlen(line), &err))
        scrollback_add(f->view.scrollback, SAID_ERROR, err.text, strlen(err.text));
    f->view.version++;
    f->view.edits += s->patches.last_id != patches;
    if (s->has_prompt)
        f->view.selection.position = s->position;
}

static void open_model(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    f->ledger = ledger_open();
    struct session_options o = {.n_threads = 1};
    must(session_open(&f->session, f->ledger, MODEL, &o, &f->err), f);
    f->session.model.tokenizer = tokenizer_open(f->ledger, TOKENIZER, &f->err);
    must(f->session.model.tokenizer != NULL, f);
    f->session.trace.interrupt = &f->interrupt;
    report_init(&f->report, f->ledger, false, say, f);
    console_init(&f->console, &f->session, &f->report);
    theme_init(&f->theme, 256, true, NULL, NULL);
    f->view = (struct view){.ledger = f->ledger, .console = &f->console, .theme = &f->theme};
    f->view.scrollback = scrollback_open(f->ledger, &f->err);
    f->view.selection.large = mem_alloc_array(
        f->ledger, MEM_VIEWS, (size_t)f->session.model.config.n_heads, sizeof(bool), &f->err);
    must(f->view.scrollback && f->view.selection.large &&
             cells_init(&f->cells, f->ledger, 1, 1, &f->err),
         f);
}

static void close_model(struct fixture *f)
{
    cells_fini(&f->cells);
    mem_free(f->ledger, f->view.selection.large);
    scrollback_close(f->view.scrollback);
    console_fini(&f->console);
    report_fini(&f->report);
    session_close(&f->session);
    assert_int_equal(ledger_close(f->ledger), 0);
}

/* Something of everything: generated tokens, breakpoints, patches, an error. */
static void set_scene(struct fixture *f)
{
    command(f, "ids 3 7 1 3 7 1 9 3 3 2 7 1 4");
    command(f, "finish");
    command(f, "generate 2");
    command(f, "break 0.pattern if max(.) > 0.5");
    command(f, "break 1.resid_post");
    command(f, "disable 2");
    command(f, "patch 1.mlp_out at 5 scale 0");
    command(f, "no such command");
    command(f, "goto 8 1.pattern");
    assert_int_equal(f->session.position, 8);
    assert_int_equal(f->session.breakpoints.n, 2);
    assert_int_equal(f->session.patches.n, 1);
}

static struct panel *open_named(struct fixture *f, int i)
{
    struct panel *p = panel_open(panels_kind(i), &f->view, &f->err);
    must(p != NULL, f);
    return p;
}

static bool is_memory(int i)
{
    return strcmp(panels_kind(i)->name, "memory") == 0;
}

static const struct {
    const char *name;
    int colours;
    bool utf8;
} terminals[] = {
    {"256", 256, true}, {"16", 16, true}, {"8", 8, true}, {"none", 0, true}, {"ascii", 0, false}};
#define TERMINALS (int)(sizeof terminals / sizeof *terminals)
/* What a panel alone on a screen has: a frame above, a header and the keys less. */
static const int sizes[][2] = {{40, 7}, {80, 21}, {120, 37}, {200, 57}};

static void test_golden(void **state)
{
    (void)state;
    for (int i = 0; i < panels_count(); i++) {
        struct fixture f;
        struct text found;
        char path[200];
        if (is_memory(i)) /* whose numbers are the machine's */
            continue;
        open_model(&f);
        text_init(&found, f.ledger, MEM_OTHER);
        struct panel *p = open_named(&f, i);
        screen_show(p, 40, 7, &f.cells);
        screen_add(p, "empty", &f.cells, &found);
        set_scene(&f);
        for (int k = 0; k < 4; k++) {
            struct text base;
            text_init(&base, f.ledger, MEM_OTHER);
            for (int t = 0; t < TERMINALS; t++) {
                theme_init(&f.theme, terminals[t].colours, terminals[t].utf8, NULL, NULL);
                screen_show(p, sizes[k][0], sizes[k][1], &f.cells);
                /* Of the large ones, and of 8 colours, what is not as with 256. */
                if (t == 0)
                    screen_add(p, terminals[t].name, &f.cells, &base);
                if (t > 0 && (k >= 2 || terminals[t].colours == 8))
                    screen_add_difference(p, terminals[t].name, &f.cells, base.data, &found);
                else
                    screen_add(p, terminals[t].name, &f.cells, &found);
                /* Tokens may be anything, and the terminal sees to them; but no line, block or
                 * arrow (U+2000 to U+2fff) is drawn where none can be shown. */
                for (int c = 0; !terminals[t].utf8 && c < f.cells.w * f.cells.h; c++)
                    assert_int_not_equal((unsigned char)f.cells.cell[c].glyph[0], 0xe2);
            }
            text_fini(&base);
        }
        snprintf(path, sizeof path, GOLDEN "/%s.txt", p->kind->name);
        screen_compare(path, &found);
        text_fini(&found);
        panel_close(p);
        close_model(&f);
    }
}

/* ---- what is set is marked ---- */

/* The letter in the gutter of the line that shows `name`; its row is selected by keys if p is the
 * focused one. */
static char gutter(struct fixture *f, struct panel *p, const char *name)
{
    screen_show(p, 40, 60, &f->cells);
    for (int y = 0; y < f->cells.h; y++) {
        struct text t;
        text_init(&t, f->ledger, MEM_OTHER);
        text_add(&t, "");
        cells_add_row(&f->cells, y, &t);
        bool here = t.data && strstr(t.data, name);
        text_fini(&t);
        if (here)
            return cells_at(&f->cells, 0, y)->glyph[0];
    }
    fail_msg("no line shows %s", name);
    return 0;
}

static void press(struct fixture *f, struct panel *p, int key, const char *runs)
{
    struct text line;
    text_init(&line, f->ledger, MEM_OTHER);
    text_add(&line, "");
    enum key_result r = p->kind->key(p, key, &line);
    assert_string_equal(line.data ? line.data : "", runs);
    if (r == KEY_COMMAND)
        command(f, line.data);
    text_fini(&line);
    screen_show(p, 40, 60, &f->cells);
}

static void test_program_marks_what_is_set(void **state)
{
    struct fixture f;
    (void)state;
    open_model(&f);
    struct panel *p = open_named(&f, panels_find("program"));
    command(&f, "ids 3 7 1 3 7 1");
    command(&f, "finish");
    command(&f, "goto 3 1.z");
    assert_int_equal(gutter(&f, p, "hook_embed"), ' ');
    command(&f, "patch token 2 = 9");
    assert_int_equal(gutter(&f, p, "hook_embed"), 'P');
    command(&f, "disable patch 1");
    assert_int_equal(gutter(&f, p, "hook_embed"), 'p');
    /* Enter where it stands does nothing. */
    press(&f, p, KEY_RETURN, "");
    /* Space: one more, all gone. */
    press(&f, p, ' ', "break 1.z");
    command(&f, "break 1.z at 3");
    screen_show(p, 40, 60, &f.cells);
    press(&f, p, ' ', "delete 1 2");
    command(&f, "break *.z");
    command(&f, "break 1.z");
    command(&f, "disable 4");
    screen_show(p, 40, 60, &f.cells);
    press(&f, p, ' ', "disable 3 4");
    command(&f, "patch 1.z scale 2");
    screen_show(p, 40, 60, &f.cells);
    /* A folded block tells what is in force in it. */
    press(&f, p, 'h', "");
    assert_int_equal(gutter(&f, p, "blocks.1"), 'P');
    command(&f, "disable patch 2");
    assert_int_equal(gutter(&f, p, "blocks.1"), 'b');
    command(&f, "enable 4");
    assert_int_equal(gutter(&f, p, "blocks.1"), 'B');
    command(&f, "enable patch 2");
    assert_int_equal(gutter(&f, p, "blocks.1"), 'X');
    panel_close(p);
    close_model(&f);
}

static void test_other_panels_mark_it(void **state)
{
    struct fixture f;
    (void)state;
    open_model(&f);
    command(&f, "ids 3 7 1 3 7 1");
    command(&f, "finish");
    command(&f, "patch token 0 = 9");
    command(&f, "break 1.z if max(.) > 1");
    command(&f, "condition 1 norm(.) > 22");
    struct panel *p = open_named(&f, panels_find("points"));
    assert_int_equal(gutter(&f, p, "1.z if norm(.) > 22"), 'B');
    panel_close(p);
    p = open_named(&f, panels_find("tokens"));
    screen_show(p, 60, 1, &f.cells);
    assert_string_equal(cells_at(&f.cells, 0, 0)->glyph, "P");
    panel_close(p);
    close_model(&f);
}

/* Also where there is room for little: in a third of 120 columns. */
static void test_lens_shows_before_and_after(void **state)
{
    struct fixture f;
    struct text t;
    (void)state;
    open_model(&f);
    command(&f, "ids 3 7 1 3 7 1");
    command(&f, "finish");
    command(&f, "goto 5 logits");
    struct panel *p = open_named(&f, panels_find("lens"));
    screen_show(p, 39, 10, &f.cells);
    command(&f, "patch 1.resid_post scale -1");
    screen_show(p, 39, 10, &f.cells);
    text_init(&t, f.ledger, MEM_OTHER);
    cells_add_row(&f.cells, 0, &t);
    assert_non_null(strstr(t.data, "now < before"));
    text_clear(&t);
    cells_add_row(&f.cells, 2, &t);
    const char *sign = strchr(t.data, '<');
    assert_non_null(sign);
    assert_true(sign && strchr(sign, '.')); /* the probability that was */
    text_fini(&t);
    panel_close(p);
    close_model(&f);
}

static void test_memory_is_the_ledgers(void **state)
{
    struct fixture f;
    struct text t;
    char size[24], want[64];
    (void)state;
    open_model(&f);
    text_init(&t, f.ledger, MEM_OTHER);
    struct panel *p = open_named(&f, panels_find("memory"));
    screen_show(p, 80, 24, &f.cells);
    for (int c = 0; c < MEM_CATEGORIES; c++) {
        size_t bytes = ledger_now(f.ledger, c, MEM_HOST) + ledger_now(f.ledger, c, MEM_MAPPED);
        text_clear(&t);
        text_add(&t, "");
        cells_add_row(&f.cells, c, &t);
        snprintf(want, sizeof want, "%-12s%10s", mem_category_name(c), mem_format(bytes, size));
        /* What the test itself holds to look at it is not there yet. */
        if (c != MEM_VIEWS && c != MEM_OTHER && strncmp(t.data, want, strlen(want)) != 0)
            fail_msg("\"%s\" instead of \"%s\"", t.data, want);
    }
    text_fini(&t);
    panel_close(p);
    close_model(&f);
}

/* What keys say runs, at any size, and nothing of it harms. */
static void test_random_keys(void **state)
{
    static const int some[] = {'j',
                               'k',
                               'h',
                               'l',
                               'g',
                               'G',
                               'o',
                               'm',
                               'd',
                               'e',
                               '.',
                               ' ',
                               'x',
                               'a',
                               KEY_RETURN,
                               KEY_UP_ARROW,
                               KEY_DOWN_ARROW,
                               KEY_LEFT_ARROW,
                               KEY_RIGHT_ARROW,
                               KEY_PAGE_UP,
                               KEY_PAGE_DOWN,
                               KEY_HOME_KEY,
                               KEY_END_KEY,
                               KEY_DELETE_KEY,
                               KEY_TABULATOR,
                               0x4e2d};
    (void)state;
    srand(11);
    for (int i = 0; i < panels_count(); i++) {
        struct fixture f;
        struct text line;
        open_model(&f);
        text_init(&line, f.ledger, MEM_OTHER);
        struct panel *p = open_named(&f, i);
        for (int round = 0; round < 300; round++) {
            if (round == 20)
                set_scene(&f);
            screen_show(p, 1 + rand() % 90, 1 + rand() % 30, &f.cells);
            text_clear(&line);
            int key = some[rand() % (int)(sizeof some / sizeof *some)];
            enum key_result r = p->kind->key ? p->kind->key(p, key, &line) : KEY_IGNORED;
            assert_true((r != KEY_COMMAND) || (line.data && line.n > 0));
            if (r == KEY_COMMAND && line.data)
                command(&f, line.data);
            if (p->kind->mouse && round % 5 == 0)
                p->kind->mouse(p, rand() % 4, rand() % p->w, rand() % p->h, &line);
            if (p->kind->search && round % 7 == 0)
                p->kind->search(p, rand() % 2 ? "3" : "no such thing", rand() % 2);
        }
        text_fini(&line);
        panel_close(p);
        close_model(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_program_marks_what_is_set),
        cmocka_unit_test(test_other_panels_mark_it),
        cmocka_unit_test(test_lens_shows_before_and_after),
        cmocka_unit_test(test_memory_is_the_ledgers),
        cmocka_unit_test(test_random_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
