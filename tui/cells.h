/* cells.h - a grid of characters with styles, and drawing into parts of it.
 *
 * Panels draw here and never on a terminal, so that a test can look at what they drew.
 * terminal.c shows a grid, and sends only what changed.
 */
#ifndef MIDPASS_CELLS_H
#define MIDPASS_CELLS_H

#include "engine/base/text.h"

#include <stdint.h>

#define COLOUR_DEFAULT (-1) /* the terminal's own */

enum { ATTR_BOLD = 1, ATTR_DIM = 2, ATTR_REVERSE = 4, ATTR_UNDERLINE = 8 };

/* Colours are indices of the terminal's palette: below 8, 16 or 256, as the theme says. */
struct style {
    int16_t fg, bg;
    uint8_t attr;
};

/* One column of one row. glyph: UTF-8 of one character with what combines with it, "" for the
 * right half of a wide one. */
#define GLYPH_BYTES 16
struct cell {
    char glyph[GLYPH_BYTES];
    struct style style;
    uint8_t width; /* 1, 2, or 0 for a right half */
};

struct cells {
    struct ledger *ledger;
    int w, h;
    struct cell *cell; /* [h, w] */
};

/* A grid of blanks. Sizes below 1 count as 1. */
bool cells_init(struct cells *c, struct ledger *l, int w, int h, struct error *err);
void cells_fini(struct cells *c);
bool cells_resize(struct cells *c, int w, int h, struct error *err); /* blank afterwards */
void cells_clear(struct cells *c);
const struct cell *cells_at(const struct cells *c, int x, int y); /* NULL outside */
/* The characters of row y, or of the whole grid a line a row, without trailing blanks. */
void cells_add_row(const struct cells *c, int y, struct text *out);
void cells_add_text(const struct cells *c, struct text *out);
bool style_equal(struct style a, struct style b);

/* A rectangle to draw in. Its (0, 0) is its own upper left; what falls outside is cut off. */
struct region {
    struct cells *cells;
    int x, y, w, h;
};

struct region region_whole(struct cells *c);
/* The part of r at (x, y), cut to r; may be empty (w or h 0). */
struct region region_part(struct region r, int x, int y, int w, int h);
void region_fill(struct region r, struct style s); /* blanks */
/* Changes the style of w columns from (x, y) and leaves the characters. */
void region_restyle(struct region r, int x, int y, int w, struct style s);
/* One glyph (UTF-8, as cell.glyph). */
void region_put(struct region r, int x, int y, const char *glyph, struct style s);
/* At most max columns of a string that was made safe with text_add_shown; what is still a control
 * byte or not UTF-8 is drawn as "?". A wide character that would be cut is a blank. Returns the
 * columns drawn. */
int region_text(struct region r, int x, int y, int max, const char *s, struct style st);
/* The same of so many bytes of s, which are whole glyphs. */
int region_text_bytes(struct region r, int x, int y, int max, const char *s, size_t bytes,
                      struct style st);
/* As region_text; a string longer than max ends in the ellipsis given. */
int region_text_cut(struct region r, int x, int y, int max, const char *s, const char *ellipsis,
                    struct style st);
int region_printf(struct region r, int x, int y, struct style st, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Columns that a safe string takes. */
int text_columns(const char *s);
/* Takes one glyph (as cell.glyph) off the front of a string that is not empty; its columns. */
int text_next(const char **s, char glyph[GLYPH_BYTES]);
/* Bytes of s that a line of w columns (at least 1) takes, broken at a blank where there is one;
 * the blanks at the break are not counted. More than 0 unless s is empty. */
size_t text_wrap(const char *s, int w);
/* Takes such a line off the front of *s, and the blanks at the break; its bytes begin where *s was.
 */
size_t text_take_line(const char **s, int w);

#endif
