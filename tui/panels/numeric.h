/* numeric.h - what the panels that show numbers share. */
#ifndef MIDPASS_PANELS_NUMERIC_H
#define MIDPASS_PANELS_NUMERIC_H

#include "tui/panel.h"

/* How long a refresh reads before it lets what it has be drawn. */
#define REFRESH_SECONDS 0.04

double numeric_seconds(void); /* a clock */
/* Whether to go on reading. False: the time is over (*more is set), or the user interrupted (*err
 * says so). */
bool numeric_go_on(const struct session *s, double deadline, bool *more, bool *ok,
                   struct error *err);

/* A number that changes with anything that a value read from the session depends on: the ids, the
 * patches, RoPE's regime. What is computed later of the same sequence leaves it as it is. */
uint64_t numeric_stamp(const struct view *v);

/* The session that is looked at; NULL, with the reason in words, while there is no prompt. */
struct session *numeric_session(const struct view *v, char words[300]);

/* A token as a label: safe to show, without the blank in front; blanks alone in quotes. */
#define LABEL_BYTES 48
bool numeric_label(const struct session *s, int32_t id, char out[LABEL_BYTES], struct error *err);

/* The shortest of "0.8123", "0.81", "8e-05" with at most `width` columns that still tells. */
#define NUMBER_BYTES 32
const char *numeric_format(double x, int width, char out[NUMBER_BYTES]);
/* A probability in 4 columns: ".313", "1.00". */
const char *numeric_probability(double p, char out[NUMBER_BYTES]);

/* Text over several lines, broken at blanks where it can be. */
void numeric_words(struct region r, const char *words, struct style s);
/* A bar of v in [0, 1]. */
void numeric_bar(const struct theme *t, struct region r, int x, int y, int width, double v,
                 struct style s);

/* The first of n lines that is shown where `room` are, so that `at` is among them and `top`
 * changes as little as can be. */
int numeric_scroll(int top, int at, int n, int room);
int numeric_clamp(int x, int low, int high);
int numeric_least(int x, int y);

/* An op whose value at this position is the residual after a layer, with the same bits as its
 * resid_post, and cheaper to read where it can be (a checkpoint). -1: the layer has none. */
int numeric_residual_after(const struct session *s, int layer, int position);

#endif
