/* tokens_parts.h - the panel of tokens: what it read, and what shows it. */
#ifndef MIDPASS_PANELS_TOKENS_PARTS_H
#define MIDPASS_PANELS_TOKENS_PARTS_H

#include "tui/panels/numeric.h"

enum tokens_colour { COLOUR_LOGPROB, COLOUR_SURPRISE, COLOUR_NORM, TOKENS_COLOURS };

struct token {
    int32_t id;
    uint32_t label; /* where it begins in labels */
    uint8_t width;  /* columns of the label */
    bool patched, has_logprob, has_norm;
    float logprob; /* of this token after those before it */
    float norm;    /* of the residual after the chosen layer */
};

struct tokens_panel {
    struct panel base;
    enum tokens_colour colour;
    struct token *token;
    int n, room; /* those measured: the sequence's, or the first of it */
    struct text labels;
    int *line; /* [n_lines + 1] the first token of each */
    int n_lines, room_lines, line_w;
    int top; /* the first line that is shown */
    int n_ids, n_prompt, position;
    uint64_t stamp; /* of what values depend on beside the ids */
    int layer;      /* whose norm is known */
    float most;     /* the largest norm among those shown */
    char words[300];
};

bool tokens_refresh(struct panel *p, int w, int h, struct error *err);
const char *tokens_label(const struct tokens_panel *p, int i);
int tokens_line_of(const struct tokens_panel *p, int position);
/* How much of the map's colour, [0, 1], a token has; NaN: not known. */
double tokens_value(const struct tokens_panel *p, int i);

#endif
