/* theme_map.c - colours and glyphs for numbers.
 *
 * The tables were chosen by their CIE lightness, which grows from entry to entry (tested), so that
 * a map reads the same to eyes that see few colours, and in print.
 */
#include "tui/theme.h"

#include <math.h>

#define LENGTH(a) ((int)(sizeof(a) / sizeof(a)[0]))

/* From black over violet, blue and green to yellow, near viridis. The signs for NaN are in none of
 * them. */
static const uint8_t heat_256[] = {17, 53, 54, 60, 61, 31, 36, 71, 77, 113, 149, 185, 191, 227};
static const uint8_t heat_16[] = {0, 4, 12, 2, 6, 3, 7, 11, 15};
static const uint8_t heat_8[] = {0, 4, 2, 6, 3, 7};

/* Both sides leave the background's end: the nearer to 0, the less is to be seen. */
struct two_sides {
    uint8_t none, n, blue[5], orange[5];
};
static const struct two_sides signed_256[] = {
    {234, 5, {18, 24, 31, 68, 75}, {52, 94, 130, 172, 208}},
    {231, 5, {153, 111, 68, 32, 25}, {223, 215, 172, 130, 94}},
};
static const struct two_sides signed_16[] = {
    {0, 2, {4, 12}, {3, 11}},
    {15, 2, {12, 4}, {11, 3}},
};
static const struct two_sides signed_8[] = {
    {0, 1, {4}, {3}},
    {7, 1, {4}, {3}},
};

static double within(double v, double low)
{
    return v < low ? low : v > 1 ? 1 : v;
}

static int16_t colour_of_nan(const struct theme *t)
{
    return t->colours == 256 ? 201 : t->colours == 16 ? 13 : 5;
}

int16_t theme_heat(const struct theme *t, double v)
{
    const uint8_t *map = t->colours == 256 ? heat_256 : t->colours == 16 ? heat_16 : heat_8;
    int n = t->colours == 256  ? LENGTH(heat_256)
            : t->colours == 16 ? LENGTH(heat_16)
                               : LENGTH(heat_8);
    if (t->colours == 0)
        return COLOUR_DEFAULT;
    if (isnan(v))
        return colour_of_nan(t);
    int k = (int)lround(within(v, 0) * (n - 1));
    /* Much ink for much, little for little. */
    return map[t->background == BACKGROUND_LIGHT ? n - 1 - k : k];
}

int16_t theme_signed(const struct theme *t, double v)
{
    const struct two_sides *sides = t->colours == 256  ? signed_256
                                    : t->colours == 16 ? signed_16
                                                       : signed_8;
    if (t->colours == 0)
        return COLOUR_DEFAULT;
    if (isnan(v))
        return colour_of_nan(t);
    sides += t->background == BACKGROUND_LIGHT;
    v = within(v, -1);
    int k = (int)lround(fabs(v) * sides->n);
    return k == 0 ? sides->none : v < 0 ? sides->blue[k - 1] : sides->orange[k - 1];
}

/* How bright, in [0, 1], roughly as an eye has it: of the first 16 as terminals agree on them. */
static double brightness(int colour)
{
    static const double low[16] = {0,   .25, .55, .65, .15, .3,  .6, .85,
                                   .45, .4,  .75, .95, .35, .45, .8, 1};
    static const double level[6] = {0, .37, .53, .69, .84, 1};
    if (colour < 16)
        return low[colour < 0 ? 0 : colour];
    if (colour >= 232)
        return (8 + 10 * (colour - 232)) / 255.0;
    int cube = colour - 16;
    return .25 * level[cube / 36] + .65 * level[cube / 6 % 6] + .1 * level[cube % 6];
}

int16_t theme_ink(const struct theme *t, int16_t ground)
{
    int16_t black = t->colours == 256 ? 16 : 0;
    int16_t white = t->colours == 256 ? 231 : t->colours == 16 ? 15 : 7;
    return brightness(ground) > 0.5 ? black : white;
}

const char *theme_heat_glyph(const struct theme *t, double v)
{
    /* A blank is where there is no value. */
    static const char *const ramp[] = {".", ":", "-", "=", "+", "*", "#", "%", "@"};
    (void)t;
    if (isnan(v))
        return "?";
    return ramp[lround(within(v, 0) * (LENGTH(ramp) - 1))];
}

const char *theme_signed_glyph(const struct theme *t, double v)
{
    /* Letters below zero, signs above. */
    static const char *const below[] = {"-", "n", "N", "M"}, *const above[] = {"+", "*", "#", "@"};
    (void)t;
    if (isnan(v))
        return "?";
    v = within(v, -1);
    int k = (int)lround(fabs(v) * LENGTH(below));
    return k == 0 ? "." : v < 0 ? below[k - 1] : above[k - 1];
}

/* ---- bars ---- */

const char *theme_bar(const struct theme *t, double v, int width, int i)
{
    static const char *const eighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
    static const char *const halves[] = {" ", "-", "="};
    int steps = t->utf8 ? 8 : 2;
    if (isnan(v))
        return i == 0 ? "?" : " ";
    v = within(v, 0);
    long filled = lround(v * width * steps);
    /* A little is not nothing. */
    if (v > 0 && filled == 0)
        filled = 1;
    long here = filled - (long)i * steps;
    here = here < 0 ? 0 : here > steps ? steps : here;
    return t->utf8 ? eighths[here] : halves[here];
}

const char *theme_spark(const struct theme *t, double v)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const signs[] = {"_", ".", ":", "-", "=", "+", "*", "#"};
    if (isnan(v))
        return "?";
    long k = lround(within(v, 0) * 7);
    return t->utf8 ? blocks[k] : signs[k];
}
