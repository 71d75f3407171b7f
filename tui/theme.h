/* theme.h - colours and signs for what the terminal can show.
 *
 * Roles, not colours, stand in the panels. State is never told by colour or bold alone: each
 * state has a sign of its own too. The default palette can be told apart by colour-blind eyes.
 */
#ifndef MIDPASS_THEME_H
#define MIDPASS_THEME_H

#include "tui/cells.h"

enum background { BACKGROUND_DARK, BACKGROUND_LIGHT };

struct theme {
    int colours; /* 256, 16, 8, or 0: none (NO_COLOR, a terminal without) */
    bool utf8;
    enum background background;
};

enum role {
    ROLE_TEXT,
    ROLE_DIM,
    ROLE_TITLE,
    ROLE_FOCUS, /* the focused panel's title and frame */
    ROLE_FRAME,
    ROLE_CURRENT,  /* where the debugger stands */
    ROLE_SELECTED, /* what keys of the panel act on */
    ROLE_BREAKPOINT,
    ROLE_PATCH,
    ROLE_STALE,
    ROLE_CHANGED, /* since the last edit */
    ROLE_WARNING,
    ROLE_ERROR,
    ROLE_KEY, /* a key in the bar of keys */
    ROLE_BAR,
    ROLE_POSITIVE,
    ROLE_NEGATIVE,
    ROLES
};

enum sign {
    SIGN_HORIZONTAL,
    SIGN_VERTICAL,
    SIGN_CORNER_UL,
    SIGN_CORNER_UR,
    SIGN_CORNER_LL,
    SIGN_CORNER_LR,
    SIGN_TEE_LEFT, /* |- on a left edge */
    SIGN_TEE_RIGHT,
    SIGN_TEE_TOP,
    SIGN_TEE_BOTTOM,
    SIGN_CURSOR,     /* ">" */
    SIGN_BREAKPOINT, /* "B" */
    SIGN_DISABLED,   /* "b" */
    SIGN_PATCH,      /* "P" */
    SIGN_PATCH_OFF,  /* "p" */
    SIGN_BOTH,       /* a breakpoint and a patch, "X" */
    SIGN_STALE,
    SIGN_ELLIPSIS,
    SIGN_HALF, /* upper half block, or "" where only whole cells can be coloured */
    SIGN_UP,
    SIGN_DOWN,
    SIGNS
};

/* From the environment's words; each may be NULL. colours as the terminal claims, -1: unknown. */
void theme_init(struct theme *t, int colours, bool utf8, const char *no_color,
                const char *colorfgbg);
struct style theme_style(const struct theme *t, enum role r);
const char *theme_sign(const struct theme *t, enum sign s); /* one column wide */

/* A bar of v in [0, 1] over `width` columns, in eighths where the terminal can: the glyph of its
 * i-th column. */
const char *theme_bar(const struct theme *t, double v, int width, int i);
/* One column of a sparkline, v in [0, 1]. */
const char *theme_spark(const struct theme *t, double v);

/* Maps. Monotone in luminance; signed from -1 (blue) over 0 to 1 (orange). NaN has a colour and a
 * glyph of its own. */
int16_t theme_heat(const struct theme *t, double v); /* COLOUR_DEFAULT without colours */
int16_t theme_signed(const struct theme *t, double v);
/* Black or white: what can be read on a colour of the maps. */
int16_t theme_ink(const struct theme *t, int16_t ground);
/* The maps without colours: a ramp of glyphs, one column; two for signed. */
const char *theme_heat_glyph(const struct theme *t, double v);
const char *theme_signed_glyph(const struct theme *t, double v);

#endif
