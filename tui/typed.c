#include "tui/typed.h"

/* The column of the text at which the shown part begins, so that what the cursor is on has room. */
static int first_column(const struct prompt_view *v, int room)
{
    const char *at = v->text;
    char glyph[GLYPH_BYTES];
    int x = 0;
    while (*at && x < v->cursor)
        x += text_next(&at, glyph);
    int under = *at ? text_next(&at, glyph) : 1;
    return v->cursor + under > room ? v->cursor + under - room : 0;
}

int typed_draw(struct region r, int y, const struct prompt_view *v, struct style s)
{
    int lead = text_columns(v->lead), x = 0, skipped = 0;
    char glyph[GLYPH_BYTES];
    const char *text = v->text;
    /* Where there is next to no room, what is typed matters more. */
    if (lead + 4 <= r.w)
        x = region_text(r, 0, y, lead, v->lead, s);
    int first = first_column(v, r.w - x);
    while (*text && skipped < first)
        skipped += text_next(&text, glyph);
    region_text(r, x, y, r.w - x, text, s);
    int cursor = x + v->cursor - skipped;
    return cursor < r.w ? cursor : r.w - 1;
}
