/* vector_panel.h - rows and weights brought together for products of many rows.
 *
 * A strand has the inputs of one chain of multiply-adds side by side: see struct share. */
#ifndef MIDPASS_CPU_VECTOR_PANEL_H
#define MIDPASS_CPU_VECTOR_PANEL_H

#include "kernels/cpu/vector_tile.h"

#define PANEL        (MANY_VECS * VEC_LANES)      /* outputs of a panel */
#define PITCH        (STRAND * PANEL + VEC_LANES) /* floats between strands: not all in one set */
#define PANEL_FLOATS ((size_t)STRANDS * PITCH)    /* of a stretch, or KEPT panels of a run */

_Static_assert(DOT_RUN == STRETCH, "a run of the dot rule is a stretch");
_Static_assert(KEPT <= STRANDS, "panels of a run lie where a stretch's strands do");

/* The dot rule's tree: strands lie in an order in which a lane's sum is added to the one before as
 * soon as both are there. */
static const unsigned char lane_order[STRANDS] = {0, 8, 4, 12, 2, 10, 6, 14,
                                                  1, 9, 5, 13, 3, 11, 7, 15};

/* ---- rows, brought together ------------------------------------------------------------------ */

/* One row's stretch, to strands `apart` from each other: by the dot rule, */
static void gather_dot(const float *x, int inputs, float *strand, size_t apart)
{
    for (int k = 0; k < inputs; k += VEC_LANES * VEC_LANES, strand += VEC_LANES) {
        vec v[VEC_LANES];
        UNROLL
        for (int i = 0; i < VEC_LANES; i++) {
            int rest = inputs - k - i * VEC_LANES;
            v[i] = rest >= VEC_LANES ? vec_load(x + k + i * VEC_LANES)
                   : rest > 0        ? vec_load_n(x + k + i * VEC_LANES, rest, vec_set(PAD_X))
                                     : vec_set(PAD_X);
        }
        vec_turn(v);
        UNROLL
        for (int i = 0; i < VEC_LANES; i++)
            vec_store(strand + (size_t)lane_order[i] * apart, v[i]);
    }
}

/* and by the mix rule. */
static void gather_mix(const float *x, int inputs, float *strand, size_t apart)
{
    for (int k = 0; k < inputs; k += STRAND, strand += apart)
        memcpy(strand, x + k, sizeof(float) * (size_t)least(STRAND, inputs - k));
}

static void gather_rows(const float *x, size_t x_stride, const struct matrix *w, int inputs, int n,
                        float *strands, size_t apart)
{
    for (int i = 0; i < n; i++, x += x_stride, strands += STRAND) {
        if (w->in_stride == 1)
            gather_dot(x, inputs, strands, apart);
        else
            gather_mix(x, inputs, strands, apart);
    }
}

/* ---- weights, a panel at a time -------------------------------------------------------------- */

/* Sixteen outputs of a panel by the dot rule: strand i of them has the inputs k with
 * k % DOT_LANES == i. What pads a step adds nothing. */
EXPAND void panel_dot_rows(const enum dtype t, const void *const *row, int inputs, float *panel)
{
    for (int k = 0; k < inputs; k += VEC_LANES, panel += PANEL) {
        vec v[VEC_LANES];
        const int rest = inputs - k;
        if (rest >= VEC_LANES) {
            UNROLL
            for (int i = 0; i < VEC_LANES; i++)
                v[i] = weights_load(t, weights_at(t, row[i], k));
        } else {
            for (int i = 0; i < VEC_LANES; i++)
                v[i] = weights_load_n(t, weights_at(t, row[i], k), rest, vec_set(PAD_WEIGHT));
        }
        vec_turn(v);
        UNROLL
        for (int i = 0; i < VEC_LANES; i++)
            vec_store(panel + (size_t)lane_order[i] * PITCH, v[i]);
    }
}

/* Outputs that do not exist are multiplied, too: they are the last one again. */
static void panel_dot(const struct matrix *w, const struct rectangle *r, float *panel)
{
    for (int o = 0; o < PANEL; o += VEC_LANES) {
        const void *row[VEC_LANES];
        for (int i = 0; i < VEC_LANES; i++)
            row[i] = weights_at(w->dtype, matrix_row(w, r->output + least(o + i, r->outputs - 1)),
                                r->input);
        if (w->dtype == DTYPE_F32)
            panel_dot_rows(DTYPE_F32, row, r->inputs, panel + o);
        else if (w->dtype == DTYPE_F16)
            panel_dot_rows(DTYPE_F16, row, r->inputs, panel + o);
        else
            panel_dot_rows(DTYPE_BF16, row, r->inputs, panel + o);
    }
}

/* One strand by the mix rule, of up to KEPT panels one behind the other. Their outputs lie side by
 * side, and long stretches of those are read faster; what is not a whole vector, or lies in
 * several groups, is read by parts. */
EXPAND void panel_mix_rows(const enum dtype t, const struct matrix *w, const struct rectangle *r,
                           float *panel)
{
    const void *first = weights_at(t, matrix_row(w, r->output), r->input * w->in_stride);
    const int whole = r->outputs == side_by_side(w, r->output, r->output + r->outputs, r->outputs)
                          ? r->outputs / VEC_LANES * VEC_LANES
                          : 0;
    for (int i = 0; i < r->inputs; i++, panel += PANEL) {
        const void *row = weights_at(t, first, i * w->in_stride);
        for (int o = 0; o < whole; o += VEC_LANES)
            vec_store(panel + o / PANEL * (STRAND * PANEL) + o % PANEL,
                      weights_load(t, weights_at(t, row, o)));
    }
    panel -= (ptrdiff_t)r->inputs * PANEL;
    for (int o = whole, count; o < r->outputs; o += count) {
        count = side_by_side(w, r->output + o, r->output + r->outputs, VEC_LANES - o % VEC_LANES);
        const void *row = weights_at(t, matrix_row(w, r->output + o), r->input * w->in_stride);
        float *p = panel + o / PANEL * (STRAND * PANEL) + o % PANEL;
        for (int i = 0; i < r->inputs; i++, p += PANEL) {
            vec_store_n(p, count, weights_load_n(t, row, count, vec_set(0)));
            row = weights_at(t, row, w->in_stride);
        }
    }
}

/* Outputs that do not exist are 0. */
static void panel_mix(const struct matrix *w, const struct rectangle *r, float *panel)
{
    if (r->outputs % PANEL)
        memset(panel + r->outputs / PANEL * (STRAND * PANEL), 0,
               sizeof(float) * PANEL * (size_t)r->inputs);
    if (w->dtype == DTYPE_F32)
        panel_mix_rows(DTYPE_F32, w, r, panel);
    else if (w->dtype == DTYPE_F16)
        panel_mix_rows(DTYPE_F16, w, r, panel);
    else
        panel_mix_rows(DTYPE_BF16, w, r, panel);
}

#endif
