/* theme.c - what each role and each sign looks like. */
#include "tui/theme.h"

#include <stdlib.h>
#include <string.h>

/* COLORFGBG is "foreground;background", with words between at times; 7 and the bright colours but
 * the grey are light. */
static bool is_light(const char *colorfgbg)
{
    const char *last = colorfgbg ? strrchr(colorfgbg, ';') : NULL;
    if (!last || last[1] < '0' || last[1] > '9')
        return false;
    long c = strtol(last + 1, NULL, 10);
    return c == 7 || (c > 8 && c < 16) || c == 231 || (c >= 250 && c <= 255);
}

void theme_init(struct theme *t, int colours, bool utf8, const char *no_color,
                const char *colorfgbg)
{
    /* Any value of NO_COLOR but an empty one counts: no-color.org. */
    if (no_color && *no_color)
        colours = 0;
    *t = (struct theme){
        .colours = colours >= 256  ? 256
                   : colours >= 16 ? 16
                   : colours >= 8  ? 8
                                   : 0,
        .utf8 = utf8,
        .background = is_light(colorfgbg) ? BACKGROUND_LIGHT : BACKGROUND_DARK,
    };
}

#define NO COLOUR_DEFAULT

/* Foreground and background for [dark, light], with 256 colours and with the 8 that all have;
 * attributes with colours, and without. Blue against orange and yellow, never red against green. */
static const struct look {
    int16_t fg_256[2], bg_256[2], fg_8[2], bg_8[2];
    uint8_t coloured, plain;
} looks[ROLES] = {
    [ROLE_TEXT] = {{NO, NO}, {NO, NO}, {NO, NO}, {NO, NO}, 0, 0},
    [ROLE_DIM] = {{245, 243}, {NO, NO}, {NO, NO}, {NO, NO}, 0, 0},
    [ROLE_TITLE] = {{252, 236}, {NO, NO}, {NO, NO}, {NO, NO}, ATTR_BOLD, 0},
    [ROLE_FOCUS] = {{117, 25}, {NO, NO}, {6, 4}, {NO, NO}, ATTR_BOLD, ATTR_BOLD},
    [ROLE_FRAME] = {{240, 248}, {NO, NO}, {NO, NO}, {NO, NO}, 0, 0},
    [ROLE_CURRENT] = {{16, 16}, {221, 221}, {0, 0}, {3, 3}, ATTR_BOLD, ATTR_BOLD | ATTR_UNDERLINE},
    [ROLE_SELECTED] = {{NO, NO}, {NO, NO}, {NO, NO}, {NO, NO}, ATTR_REVERSE, ATTR_REVERSE},
    [ROLE_BREAKPOINT] = {{209, 166}, {NO, NO}, {3, 1}, {NO, NO}, ATTR_BOLD, ATTR_BOLD},
    [ROLE_PATCH] = {{111, 26}, {NO, NO}, {6, 4}, {NO, NO}, ATTR_BOLD, ATTR_BOLD},
    [ROLE_STALE] = {{245, 243}, {NO, NO}, {NO, NO}, {NO, NO}, ATTR_DIM, ATTR_DIM},
    [ROLE_CHANGED] = {{215, 130}, {NO, NO}, {3, 1}, {NO, NO}, ATTR_UNDERLINE, ATTR_UNDERLINE},
    [ROLE_WARNING] = {{221, 130}, {NO, NO}, {3, 1}, {NO, NO}, 0, ATTR_BOLD},
    [ROLE_ERROR] = {{203, 160}, {NO, NO}, {1, 1}, {NO, NO}, ATTR_BOLD, ATTR_BOLD},
    [ROLE_KEY] = {{117, 25}, {NO, NO}, {6, 4}, {NO, NO}, 0, ATTR_REVERSE},
    [ROLE_BAR] = {{75, 26}, {NO, NO}, {6, 4}, {NO, NO}, 0, 0},
    [ROLE_POSITIVE] = {{215, 130}, {NO, NO}, {3, 1}, {NO, NO}, 0, 0},
    [ROLE_NEGATIVE] = {{75, 25}, {NO, NO}, {6, 4}, {NO, NO}, 0, 0},
};

struct style theme_style(const struct theme *t, enum role r)
{
    const struct look *l = &looks[r];
    int light = t->background == BACKGROUND_LIGHT;
    if (t->colours == 256)
        return (struct style){l->fg_256[light], l->bg_256[light], l->coloured};
    if (t->colours > 0)
        return (struct style){l->fg_8[light], l->bg_8[light], l->coloured};
    return (struct style){NO, NO, l->plain};
}

const char *theme_sign(const struct theme *t, enum sign s)
{
    static const struct {
        const char *ascii, *utf8;
    } signs[SIGNS] = {
        [SIGN_HORIZONTAL] = {"-", "─"},
        [SIGN_VERTICAL] = {"|", "│"},
        [SIGN_CORNER_UL] = {"+", "┌"},
        [SIGN_CORNER_UR] = {"+", "┐"},
        [SIGN_CORNER_LL] = {"+", "└"},
        [SIGN_CORNER_LR] = {"+", "┘"},
        [SIGN_TEE_LEFT] = {"+", "├"},
        [SIGN_TEE_RIGHT] = {"+", "┤"},
        [SIGN_TEE_TOP] = {"+", "┬"},
        [SIGN_TEE_BOTTOM] = {"+", "┴"},
        [SIGN_CURSOR] = {">", "▶"},
        /* Letters everywhere: a circle or a diamond would have to be learnt. */
        [SIGN_BREAKPOINT] = {"B", "B"},
        [SIGN_DISABLED] = {"b", "b"},
        [SIGN_PATCH] = {"P", "P"},
        [SIGN_PATCH_OFF] = {"p", "p"},
        [SIGN_BOTH] = {"X", "X"},
        [SIGN_STALE] = {"~", "~"},
        [SIGN_ELLIPSIS] = {"~", "…"},
        [SIGN_HALF] = {"", "▀"},
        [SIGN_UP] = {"^", "▲"},
        [SIGN_DOWN] = {"v", "▼"},
    };
    return t->utf8 ? signs[s].utf8 : signs[s].ascii;
}
