#include "tests/support/screen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST_STYLES 400
#define MOST_BYTES  ((size_t)16 << 20)

void screen_show(struct panel *p, int w, int h, struct cells *cells)
{
    struct error err = {0};
    int rounds = 0;
    do {
        if (p->kind->refresh && !p->kind->refresh(p, w, h, &err))
            fail_msg("%s: %s", p->kind->name, err.text);
        assert_true(++rounds < 100000);
    } while (p->more);
    p->w = w;
    p->h = h;
    p->version = p->view->version;
    p->wants = false;
    if (!cells_resize(cells, w, h, &err))
        fail_msg("%s", err.text);
    p->kind->draw(p, region_whole(cells), true);
}

struct legend {
    struct style style[MOST_STYLES];
    int n;
};

static int find_style(struct legend *l, struct style s)
{
    for (int i = 0; i < l->n; i++)
        if (style_equal(l->style[i], s))
            return i;
    assert_true(l->n < MOST_STYLES);
    l->style[l->n] = s;
    return l->n++;
}

static void add_name(struct text *out, int i)
{
    if (i >= 26)
        text_printf(out, "%c", 'a' + i / 26 - 1);
    text_printf(out, "%c", 'A' + i % 26);
}

static void add_styles(const struct cells *cells, int y, struct legend *l, struct text *out)
{
    text_add(out, " ");
    for (int x = 0; x < cells->w;) {
        int n = 1, style = find_style(l, cells_at(cells, x, y)->style);
        while (x + n < cells->w && find_style(l, cells_at(cells, x + n, y)->style) == style)
            n++;
        text_add(out, " ");
        add_name(out, style);
        text_printf(out, "%d", n);
        x += n;
    }
    text_add(out, "\n");
}

void screen_add(const struct panel *p, const char *name, const struct cells *cells,
                struct text *out)
{
    struct legend *l = calloc(1, sizeof *l);
    text_printf(out, "== %s %s %dx%d\ntitle: ", p->kind->name, name, cells->w, cells->h);
    if (p->kind->title)
        p->kind->title(p, out);
    text_add(out, "\n");
    for (int y = 0; y < cells->h; y++) {
        text_add(out, "|");
        cells_add_row(cells, y, out);
        text_add(out, "|\n");
    }
    text_add(out, "styles:\n");
    for (int y = 0; y < cells->h; y++)
        add_styles(cells, y, l, out);
    for (int i = 0; i < l->n; i++) {
        add_name(out, i);
        text_printf(out, ": fg %d bg %d attr %d\n", l->style[i].fg, l->style[i].bg,
                    l->style[i].attr);
    }
    free(l);
}

static size_t line_length(const char *s)
{
    return strcspn(s, "\n");
}

void screen_add_difference(const struct panel *p, const char *name, const struct cells *cells,
                           const char *base, struct text *out)
{
    struct text whole;
    text_init(&whole, out->ledger, MEM_OTHER);
    screen_add(p, name, cells, &whole);
    const char *at = whole.data;
    for (int line = 1; at && *at; line++) {
        size_t n = line_length(at), as = line_length(base);
        if (line == 1)
            text_printf(out, "%.*s, as 256 but for\n", (int)n, at);
        else if (n != as || memcmp(at, base, n) != 0)
            text_printf(out, "%d %.*s\n", line, (int)n, at);
        at += n + (at[n] == '\n');
        base += as + (base[as] == '\n');
    }
    text_fini(&whole);
}

static void write_file(const char *path, const struct text *found)
{
    FILE *f = fopen(path, "w");
    if (!f) {
        fail_msg("%s cannot be written", path);
        return;
    }
    assert_int_equal(fwrite(found->data, 1, found->n, f), found->n);
    assert_int_equal(fclose(f), 0);
}

void screen_compare(const char *path, const struct text *found)
{
    struct error err = {0};
    size_t n = 0;
    const char *golden = getenv("MIDPASS_GOLDEN"), *b = found->data;
    if (!text_ok(found, &err) || !b)
        fail_msg("%s", err.text);
    if (golden && *golden) {
        write_file(path, found);
        return;
    }
    char *want = file_read(found->ledger, MEM_OTHER, path, MOST_BYTES, &n, &err);
    if (!want) {
        fail_msg("%s (make golden-screens writes it)", err.text);
        return;
    }
    const char *a = want, *part = "";
    for (int line = 1; strcmp(a, b ? b : "") != 0 && b; line++) {
        size_t an = line_length(a), bn = line_length(b);
        if (strncmp(a, "== ", 3) == 0)
            part = a;
        if (an != bn || memcmp(a, b, an) != 0 || !a[an] != !b[bn])
            fail_msg("%s:%d (in \"%.*s\")\n  expected: %.*s\n  found:    %.*s", path, line,
                     (int)line_length(part), part, (int)an, a, (int)bn, b);
        a += an + (a[an] == '\n');
        b += bn + (b[bn] == '\n');
    }
    mem_free(found->ledger, want);
}
