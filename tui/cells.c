/* cells.c - the grid, and text put into it. */
#include "tui/cells.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <utf8proc.h>

static const struct cell blank = {
    .glyph = " ", .style = {COLOUR_DEFAULT, COLOUR_DEFAULT, 0}, .width = 1};

/* ---- the grid ---- */

bool cells_init(struct cells *c, struct ledger *l, int w, int h, struct error *err)
{
    *c = (struct cells){.ledger = l};
    return cells_resize(c, w, h, err);
}

void cells_fini(struct cells *c)
{
    if (c->ledger)
        mem_free(c->ledger, c->cell);
    c->cell = NULL;
    c->w = c->h = 0;
}

bool cells_resize(struct cells *c, int w, int h, struct error *err)
{
    w = w < 1 ? 1 : w;
    h = h < 1 ? 1 : h;
    struct cell *fresh =
        mem_alloc_array(c->ledger, MEM_VIEWS, (size_t)w * (size_t)h, sizeof *fresh, err);
    if (!fresh)
        return false;
    mem_free(c->ledger, c->cell);
    c->cell = fresh;
    c->w = w;
    c->h = h;
    cells_clear(c);
    return true;
}

void cells_clear(struct cells *c)
{
    for (size_t i = 0; i < (size_t)c->w * (size_t)c->h; i++)
        c->cell[i] = blank;
}

static struct cell *cell_of(const struct cells *c, int x, int y)
{
    if (x < 0 || y < 0 || x >= c->w || y >= c->h)
        return NULL;
    return &c->cell[(size_t)y * (size_t)c->w + (size_t)x];
}

const struct cell *cells_at(const struct cells *c, int x, int y)
{
    return cell_of(c, x, y);
}

void cells_add_row(const struct cells *c, int y, struct text *out)
{
    const struct cell *row = cells_at(c, 0, y);
    int n = row ? c->w : 0;
    while (n > 0 && strcmp(row[n - 1].glyph, " ") == 0)
        n--;
    for (int x = 0; x < n; x++)
        text_add(out, row[x].glyph);
}

void cells_add_text(const struct cells *c, struct text *out)
{
    for (int y = 0; y < c->h; y++) {
        cells_add_row(c, y, out);
        text_add(out, "\n");
    }
}

bool style_equal(struct style a, struct style b)
{
    return a.fg == b.fg && a.bg == b.bg && a.attr == b.attr;
}

/* ---- glyphs ---- */

/* Takes one glyph off the front of *s: a character and the marks that combine with it. A terminal
 * counts columns by characters, so only what takes no column joins another. Variation selectors
 * are left out: terminals disagree about the width that they ask for. Returns its columns. */
int text_next(const char **s, char glyph[GLYPH_BYTES])
{
    utf8proc_int32_t c;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)*s, -1, &c);
    int width = n > 0 ? utf8proc_charwidth(c) : 0;
    size_t used = 1;

    if (n <= 0 || utf8proc_category(c) == UTF8PROC_CATEGORY_CC) {
        *s += 1;
        strcpy(glyph, "?");
        return 1;
    }
    if (width < 1) {
        /* A mark with nothing before it combines with a blank. */
        strcpy(glyph, " ");
        width = 1;
    } else {
        memcpy(glyph, *s, (size_t)n);
        used = (size_t)n;
        *s += n;
    }
    for (;;) {
        n = **s ? utf8proc_iterate((const utf8proc_uint8_t *)*s, -1, &c) : 0;
        if (n <= 0 || utf8proc_category(c) == UTF8PROC_CATEGORY_CC || utf8proc_charwidth(c) > 0)
            break;
        /* More marks than there is room for are not drawn. */
        if (!(c >= 0xfe00 && c <= 0xfe0f) && used + (size_t)n < sizeof blank.glyph) {
            memcpy(glyph + used, *s, (size_t)n);
            used += (size_t)n;
        }
        *s += n;
    }
    glyph[used] = '\0';
    return width > 1 ? 2 : 1;
}

int text_columns(const char *s)
{
    char glyph[sizeof blank.glyph];
    int n = 0;
    while (*s)
        n += text_next(&s, glyph);
    return n;
}

size_t text_wrap(const char *s, int w)
{
    char glyph[sizeof blank.glyph];
    size_t fits = 0;
    const char *at = s;
    for (int columns = 0; *at;) {
        const char *before = at;
        columns += text_next(&at, glyph);
        if (columns > w && before > s)
            return fits > 0 ? fits : (size_t)(before - s);
        /* A line may end where a blank follows, though not where nothing but blanks came. */
        if (*at == ' ' && *before != ' ')
            fits = (size_t)(at - s);
    }
    return (size_t)(at - s);
}

size_t text_take_line(const char **s, int w)
{
    size_t n = text_wrap(*s, w);
    *s += n;
    *s += strspn(*s, " ");
    return n;
}

/* ---- regions ---- */

struct region region_whole(struct cells *c)
{
    return (struct region){.cells = c, .w = c->w, .h = c->h};
}

struct region region_part(struct region r, int x, int y, int w, int h)
{
    int left = x < 0 ? 0 : x > r.w ? r.w : x, top = y < 0 ? 0 : y > r.h ? r.h : y;
    /* In 64 bits, since a width may be "all there is". */
    int64_t right = (int64_t)x + w, bottom = (int64_t)y + h;
    right = right > r.w ? r.w : right;
    bottom = bottom > r.h ? r.h : bottom;
    return (struct region){.cells = r.cells,
                           .x = r.x + left,
                           .y = r.y + top,
                           .w = right > left ? (int)(right - left) : 0,
                           .h = bottom > top ? (int)(bottom - top) : 0};
}

static struct cell *region_cell(struct region r, int x, int y)
{
    if (x < 0 || y < 0 || x >= r.w || y >= r.h)
        return NULL;
    return cell_of(r.cells, r.x + x, r.y + y);
}

/* Half of a wide character cannot stay: what is left of one that is overwritten is a blank. */
static void part_wide(const struct cells *c, int x, int y)
{
    struct cell *at = cell_of(c, x, y), *left = cell_of(c, x - 1, y), *right = cell_of(c, x + 1, y);
    if (at->width == 0 && left) {
        strcpy(left->glyph, " ");
        left->width = 1;
    }
    if (at->width == 2 && right) {
        strcpy(right->glyph, " ");
        right->width = 1;
    }
}

static void set_cell(struct region r, int x, int y, const char *glyph, int width, struct style s)
{
    struct cell *at = region_cell(r, x, y);
    if (!at)
        return;
    part_wide(r.cells, r.x + x, r.y + y);
    /* The whole of it, so that equal cells have equal bytes. */
    memset(at->glyph, 0, sizeof at->glyph);
    memcpy(at->glyph, glyph, strlen(glyph));
    at->style = s;
    at->width = (uint8_t)width;
}

/* glyph is as text_next made it. */
static void put_glyph(struct region r, int x, int y, const char *glyph, int width, struct style s)
{
    if (width == 2 && (x < 0 || x + 1 >= r.w)) {
        set_cell(r, x, y, " ", 1, s);
        set_cell(r, x + 1, y, " ", 1, s);
        return;
    }
    /* The right half first: putting the left one would otherwise part them. */
    if (width == 2)
        set_cell(r, x + 1, y, " ", 1, s);
    set_cell(r, x, y, glyph, width, s);
    if (width == 2) {
        struct cell *right = region_cell(r, x + 1, y);
        if (right) {
            memset(right->glyph, 0, sizeof right->glyph);
            right->width = 0;
        }
    }
}

void region_fill(struct region r, struct style s)
{
    for (int y = 0; y < r.h; y++)
        for (int x = 0; x < r.w; x++)
            set_cell(r, x, y, " ", 1, s);
}

void region_restyle(struct region r, int x, int y, int w, struct style s)
{
    struct region part = region_part(r, x, y, w, 1);
    for (int i = 0; i < part.w && part.h > 0; i++)
        region_cell(part, i, 0)->style = s;
}

void region_put(struct region r, int x, int y, const char *glyph, struct style s)
{
    char one[sizeof blank.glyph] = " ";
    int width = *glyph ? text_next(&glyph, one) : 1;
    put_glyph(r, x, y, one, width, s);
}

int region_text_bytes(struct region r, int x, int y, int max, const char *s, size_t bytes,
                      struct style st)
{
    char glyph[sizeof blank.glyph];
    const char *end = s + bytes;
    int n = 0;
    while (s < end && n < max) {
        int width = text_next(&s, glyph);
        if (n + width > max)
            put_glyph(r, x + n, y, " ", width = 1, st);
        else
            put_glyph(r, x + n, y, glyph, width, st);
        n += width;
    }
    return n;
}

int region_text(struct region r, int x, int y, int max, const char *s, struct style st)
{
    return region_text_bytes(r, x, y, max, s, strlen(s), st);
}

int region_text_cut(struct region r, int x, int y, int max, const char *s, const char *ellipsis,
                    struct style st)
{
    int tail = text_columns(ellipsis);
    if (max < 1 || text_columns(s) <= max)
        return region_text(r, x, y, max, s, st);
    if (tail > max)
        return region_text(r, x, y, max, s, st);
    int n = region_text(r, x, y, max - tail, s, st);
    return n + region_text(r, x + n, y, tail, ellipsis, st);
}

int region_printf(struct region r, int x, int y, struct style st, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    return x < r.w ? region_text(r, x, y, r.w - x, line, st) : 0;
}
