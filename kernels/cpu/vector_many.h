/* vector_many.h - products of many rows, by either rule.
 *
 * Each lane of a vector is an output: a chain of multiply-adds then needs no sum across lanes, a
 * weight is loaded once for all rows of a tile, and an input of a row once for all its outputs.
 * The rows' strands (struct share) are brought together once for all outputs and threads, the
 * weights' a panel of outputs at a time. A strand of a panel stays in the first-level cache while
 * all rows pass by it. */
#ifndef MIDPASS_CPU_VECTOR_MANY_H
#define MIDPASS_CPU_VECTOR_MANY_H

#include "kernels/cpu/vector_panel.h"

/* Of a tile, for one step of the errand: a core waits for each page's place. */
#define FETCH_STEPS 16

/* ---- tiles ----------------------------------------------------------------------------------- */

/* What becomes of a strand's sums, [rows][PANEL]: earlier ones are added, the last kept first;
 * then they are kept themselves or go out. */
struct outcome {
    const float *add[KEPT];
    int adds;
    float *keep; /* NULL: they go out */
    float *out;  /* of the panel's first output */
    size_t stride;
    int width;         /* outputs that exist */
    bool more;         /* what is out already is added, too */
    const float *bias; /* NULL: none */
};

EXPAND void many_finish(const int n, vec sum[MANY_ROWS][MANY_VECS], const struct outcome *f,
                        int row)
{
    for (int a = 0; a < f->adds; a++) {
        const float *add = f->add[a] + (size_t)row * PANEL;
        UNROLL
        for (int i = 0; i < n; i++) {
            UNROLL
            for (int c = 0; c < MANY_VECS; c++)
                sum[i][c] = vec_add(vec_load(add + i * PANEL + c * VEC_LANES), sum[i][c]);
        }
    }
    float *to = f->out + (size_t)row * f->stride;
    int width[MANY_VECS];
    UNROLL
    for (int c = 0; c < MANY_VECS; c++)
        width[c] = least(VEC_LANES, f->width - c * VEC_LANES);
    if (f->more) {
        UNROLL
        for (int i = 0; i < n; i++) {
            UNROLL
            for (int c = 0; c < MANY_VECS; c++)
                if (width[c] > 0)
                    sum[i][c] = vec_add(vec_load_n(to + (size_t)i * f->stride + c * VEC_LANES,
                                                   width[c], vec_set(0)),
                                        sum[i][c]);
        }
    }
    if (f->keep) {
        UNROLL
        for (int i = 0; i < n; i++) {
            UNROLL
            for (int c = 0; c < MANY_VECS; c++)
                vec_store(f->keep + (size_t)(row + i) * PANEL + c * VEC_LANES, sum[i][c]);
        }
        return;
    }
    UNROLL
    for (int c = 0; c < MANY_VECS; c++) {
        if (width[c] <= 0)
            continue;
        vec bias = f->bias ? vec_load_n(f->bias + c * VEC_LANES, width[c], vec_set(0)) : vec_set(0);
        UNROLL
        for (int i = 0; i < n; i++)
            vec_store_n(to + (size_t)i * f->stride + c * VEC_LANES, width[c],
                        f->bias ? vec_add(sum[i][c], bias) : sum[i][c]);
    }
}

/* One input of n rows by a panel's weights of it. */
EXPAND void many_step(const int n, const float *x, const float *panel,
                      vec sum[MANY_ROWS][MANY_VECS])
{
    vec w[MANY_VECS];
    UNROLL
    for (int c = 0; c < MANY_VECS; c++)
        w[c] = vec_load(panel + c * VEC_LANES);
    UNROLL
    for (int i = 0; i < n; i++) {
        vec v = vec_set(x[i * STRAND]);
        UNROLL
        for (int c = 0; c < MANY_VECS; c++)
            sum[i][c] = vec_fma(v, w[c], sum[i][c]);
    }
}

/* Rows row .. row+n-1 of a strand times a panel's. Meanwhile what is needed next is fetched: the
 * sums that these are added to, the next tile's rows, and whatever the errand is for. */
EXPAND void many_tile(const int n, const float *x, const float *panel, int length,
                      const struct outcome *f, int row, struct errand *errand)
{
    vec sum[MANY_ROWS][MANY_VECS];
    UNROLL
    for (int i = 0; i < n; i++) {
        UNROLL
        for (int c = 0; c < MANY_VECS; c++)
            sum[i][c] = vec_set(0);
    }
    for (int i = 0; i < n * PANEL && f->adds > 0; i += VEC_LANES)
        __builtin_prefetch(f->add[0] + (size_t)row * PANEL + i);
    x += (size_t)row * STRAND;
    const float *ahead = x + n * STRAND;
    int k = 0;
    while (k + FETCH_STEPS <= length) {
        errand_go(errand);
        for (int end = k + FETCH_STEPS; k < end; k += 2, panel += 2 * PANEL, ahead += 2 * n) {
            __builtin_prefetch(ahead);
            many_step(n, x + k, panel, sum);
            many_step(n, x + k + 1, panel + PANEL, sum);
        }
    }
    for (; k < length; k++, panel += PANEL)
        many_step(n, x + k, panel, sum);
    many_finish(n, sum, f, row);
}

/* All rows of a strand, in tiles. */
static void many_strand(int n, const float *x, const float *panel, int length,
                        const struct outcome *f, struct errand *errand)
{
    const int tiles = (n + MANY_ROWS - 1) / MANY_ROWS;
    for (int i = 0; i < tiles; i++) {
        int row = tile_begin(n, MANY_ROWS, i);
        switch (tile_begin(n, MANY_ROWS, i + 1) - row) {
        case 1:
            many_tile(1, x, panel, length, f, row, errand);
            break;
        case 2:
            many_tile(2, x, panel, length, f, row, errand);
            break;
        case 3:
            many_tile(3, x, panel, length, f, row, errand);
            break;
        case 4:
            many_tile(4, x, panel, length, f, row, errand);
            break;
        case 5:
            many_tile(5, x, panel, length, f, row, errand);
            break;
        case 6:
            many_tile(6, x, panel, length, f, row, errand);
            break;
#if MANY_ROWS > 6
        case 7:
            many_tile(7, x, panel, length, f, row, errand);
            break;
        case 8:
            many_tile(8, x, panel, length, f, row, errand);
            break;
#endif
        }
    }
}

/* ---- shares of outputs ----------------------------------------------------------------------- */

/* By the dot rule: the sums of its tree that wait for others are a stack. */
static void many_dot(const struct share *s, float *scratch)
{
    const struct matrix *w = s->w;
    float *panel = scratch, *kept = scratch + PANEL_FLOATS;
    const size_t each = (size_t)s->n * PANEL;
    const int times = (s->n + MANY_ROWS - 1) / MANY_ROWS * (STRAND / FETCH_STEPS);
    for (int o = s->from; o < s->to; o += PANEL) {
        struct rectangle r = {o, least(PANEL, s->to - o), s->input, s->inputs};
        struct rectangle next = {o + PANEL, least(PANEL, s->to - o - PANEL), s->input, s->inputs};
        struct errand errand = errand_weights(w, &next, times * STRANDS);
        int depth = 0;
        panel_dot(w, &r, panel);
        for (int i = 0; i < STRANDS; i++) {
            struct outcome f = {.out = s->out + o, .stride = s->out_stride, .width = r.outputs};
            for (int bits = i; bits & 1; bits >>= 1)
                f.add[f.adds++] = kept + (size_t)--depth * each;
            if (i < STRANDS - 1) {
                f.keep = kept + (size_t)depth++ * each;
            } else {
                f.more = s->input > 0;
                f.bias = s->bias ? s->bias + o : NULL;
            }
            many_strand(s->n, s->strands + (size_t)i * s->apart, panel + (size_t)i * PITCH,
                        (s->inputs + DOT_LANES - 1) / DOT_LANES, &f, &errand);
        }
    }
}

/* The weights of a run and KEPT panels, which share the rows' strand: all runs of these outputs and
 * then the next ones', until there are none. */
static struct rectangle mix_rectangle(const struct share *s, int output, int input)
{
    if (input >= s->input + s->inputs) {
        input = s->input;
        output += KEPT * PANEL;
    }
    return (struct rectangle){output, least(KEPT * PANEL, s->to - output), input,
                              least(STRAND, s->input + s->inputs - input)};
}

/* By the mix rule: each run's sums are added to those of the runs before. */
static void many_mix(const struct share *s, float *scratch)
{
    const int times = (s->n + MANY_ROWS - 1) / MANY_ROWS * (STRAND / FETCH_STEPS);
    float *kept = scratch + PANEL_FLOATS;
    struct rectangle r = mix_rectangle(s, s->from, s->input), next;
    for (; r.outputs > 0; r = next) {
        const bool first = r.input == s->input, last = r.input + r.inputs == s->input + s->inputs;
        next = mix_rectangle(s, r.output, r.input + STRAND);
        struct errand errand =
            errand_weights(s->w, &next, times * ((r.outputs + PANEL - 1) / PANEL));
        panel_mix(s->w, &r, scratch);
        for (int o = 0; o < r.outputs; o += PANEL) {
            float *mine = kept + (size_t)o * (size_t)s->n;
            struct outcome f = {
                .add = {mine},
                .adds = !first,
                .keep = last ? NULL : mine,
                .out = s->out + r.output + o,
                .stride = s->out_stride,
                .width = least(PANEL, r.outputs - o),
                .more = first && s->input > 0,
                .bias = last && s->bias ? s->bias + r.output + o : NULL,
            };
            many_strand(s->n, s->strands + (size_t)((r.input - s->input) / STRAND) * s->apart,
                        scratch + (size_t)o * STRAND, r.inputs, &f, &errand);
        }
    }
}

static void matmul_many(const struct share *s, float *scratch)
{
    if (s->w->in_stride == 1)
        many_dot(s, scratch);
    else
        many_mix(s, scratch);
}

#endif
