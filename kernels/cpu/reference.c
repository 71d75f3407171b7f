/* reference.c - every op in plain C, as kernels.h words it. Slow and meant to be read:
 * it is the oracle that the vector variants are compared with, bit for bit, and it is
 * what runs ("scalar") where there are no vector instructions.
 *
 * fmaf, sqrtf and the four operations are all it takes from C: they are rounded
 * once everywhere. Which NaN comes out of several is the one thing left open. */
#include "kernels/cpu/cpu.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/simd_scalar.h"
#include "kernels/cpu/vector_math.h"
#include "kernels/cpu/rope.h"

/* ---- the three rules of kernels.h: dot, mix, sum ------------------------------------------- */

/* A run of the dot rule: 16 chains side by side. */
struct lanes {
    float lane[DOT_LANES];
};

static float lanes_reduce(struct lanes *l)
{
    for (int half = DOT_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            l->lane[i] += l->lane[i + half];
    return l->lane[0];
}

static float weight(const struct matrix *w, const void *row, int k)
{
    ptrdiff_t bytes = (ptrdiff_t)k * w->in_stride * (ptrdiff_t)dtype_size(w->dtype);
    return dtype_load(w->dtype, (const char *)row + bytes);
}

static float dot(const float *x, const struct matrix *w, const void *row)
{
    float total = 0;
    for (int run = 0; run < w->n_in; run += DOT_RUN) {
        int end = w->n_in - run < DOT_RUN ? w->n_in : run + DOT_RUN;
        struct lanes l = {{0}};
        for (int k = run; k < end; k++)
            l.lane[k % DOT_LANES] = fmaf(x[k], weight(w, row, k), l.lane[k % DOT_LANES]);
        float sum = lanes_reduce(&l);
        total = run == 0 ? sum : total + sum;
    }
    return total;
}

static float mix(const float *x, const struct matrix *w, const void *row)
{
    float total = 0;
    for (int run = 0; run < w->n_in; run += MIX_RUN) {
        int end = w->n_in - run < MIX_RUN ? w->n_in : run + MIX_RUN;
        float sum = 0;
        for (int k = run; k < end; k++)
            sum = fmaf(x[k], weight(w, row, k), sum);
        total = run == 0 ? sum : total + sum;
    }
    return total;
}

/* The sum of x * y, by the dot rule; y NULL: of x alone. */
static float sum(const float *x, const float *y, int d)
{
    float total = 0;
    for (int run = 0; run < d; run += DOT_RUN) {
        int end = d - run < DOT_RUN ? d : run + DOT_RUN;
        struct lanes l = {{0}};
        for (int k = run; k < end; k++)
            l.lane[k % DOT_LANES] = fmaf(x[k], y ? y[k] : 1.0f, l.lane[k % DOT_LANES]);
        float part = lanes_reduce(&l);
        total = run == 0 ? part : total + part;
    }
    return total;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void embed(enum dtype t, const void *row, float scale, float *out, int d)
{
    for (int i = 0; i < d; i++)
        out[i] = scale * dtype_load(t, (const char *)row + (size_t)i * dtype_size(t));
}

static void add(const float *x, const float *y, float *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = x[i] + y[i];
}

static void center(const float *x, float *out, int n, int d)
{
    for (int row = 0; row < n; row++, x += d, out += d) {
        float mean = sum(x, NULL, d) / (float)d;
        for (int i = 0; i < d; i++)
            out[i] = x[i] - mean;
    }
}

static void rms(const float *x, float eps, float *scale, int n, int d)
{
    for (int row = 0; row < n; row++, x += d)
        scale[row] = sqrtf(sum(x, x, d) / (float)d + eps);
}

static void divide(const float *x, const float *scale, float *out, int n, int d)
{
    for (int row = 0; row < n; row++, x += d, out += d)
        for (int i = 0; i < d; i++)
            out[i] = x[i] / scale[row];
}

static void gain(const float *x, const float *gains, const float *bias, float *out, int n, int d)
{
    for (int row = 0; row < n; row++, x += d, out += d) {
        for (int i = 0; i < d; i++) {
            if (gains && bias)
                out[i] = fmaf(x[i], gains[i], bias[i]);
            else if (gains)
                out[i] = x[i] * gains[i];
            else
                out[i] = bias ? x[i] + bias[i] : x[i];
        }
    }
}

static void activate(enum activation f, const float *x, float *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = vec_activate(f, x[i]);
}

static void gate(enum activation f, const float *x, const float *y, float *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = vec_activate(f, x[i]) * y[i];
}

static void matmul(const float *x, size_t x_stride, const struct matrix *w, const float *bias,
                   float *out, size_t out_stride, int n, int from, int to)
{
    for (int row = 0; row < n; row++, x += x_stride, out += out_stride) {
        for (int o = from; o < to; o++) {
            const void *p = matrix_row(w, o);
            float total = w->in_stride == 1 ? dot(x, w, p) : mix(x, w, p);
            out[o] = bias ? total + bias[o] : total;
        }
    }
}

/* ---- attention ------------------------------------------------------------------------------- */

/* q . k by the mix rule over h, then times scale. */
static void scores(const struct attend_tile *tile)
{
    int h = tile->kv->d_head;
    for (int j = 0; j < tile->n; j++) {
        for (int s = tile->first[j]; s <= tile->last[j]; s++) {
            const float *key = kv_keys(tile->kv, s / KV_PAGE, tile->g) + s % KV_PAGE;
            float total = 0;
            for (int run = 0; run < h; run += MIX_RUN) {
                float part = 0;
                for (int i = run; i < h && i < run + MIX_RUN; i++)
                    part = fmaf(tile->q[j][i], key[(size_t)i * KV_PAGE], part);
                total = run == 0 ? part : total + part;
            }
            tile->scores[j][s] = tile->scale * total;
        }
    }
}

/* Runs and lanes are those of the absolute position. What is not visible would add 0 to a
 * sum that is never below 0, so it is left out. */
static void softmax(const float *s, float *p, int first, int last, int limit)
{
    (void)limit;
    float max = s[first], total = 0;
    for (int i = first + 1; i <= last; i++)
        max = vec_max(max, s[i]);
    for (int run = first - first % DOT_RUN; run <= last; run += DOT_RUN) {
        struct lanes l = {{0}};
        for (int i = run < first ? first : run; i <= last && i < run + DOT_RUN; i++) {
            p[i] = vec_exp(s[i] - max);
            l.lane[i % DOT_LANES] += p[i];
        }
        total += lanes_reduce(&l);
    }
    for (int i = first; i <= last; i++)
        p[i] = p[i] / total;
}

/* The mix rule over absolute positions. What is not visible is not multiplied, so that it
 * cannot spoil a row; a run of which nothing is visible is no run: the sum begins with the
 * first that has a visible key. */
static void mix_values(const struct attend_tile *tile)
{
    int h = tile->kv->d_head;
    for (int j = 0; j < tile->n; j++) {
        int first = tile->first[j], last = tile->last[j];
        for (int i = 0; i < h; i++) {
            float total = 0;
            for (int run = first - first % MIX_RUN; run <= last; run += MIX_RUN) {
                float part = 0;
                for (int s = run < first ? first : run; s <= last && s < run + MIX_RUN; s++) {
                    const float *value = kv_values(tile->kv, s / KV_PAGE, tile->g) +
                                         (size_t)(s % KV_PAGE) * (size_t)h;
                    part = fmaf(tile->patterns[j][s], value[i], part);
                }
                total = run <= first ? part : total + part;
            }
            tile->z[j][i] = total;
        }
    }
}

/* Any number of rows is few. */
#define OPS          cpu_ops_scalar
#define ISA_NAME     "scalar"
#define FEW_DOT_ROWS INT_MAX
#define FEW_MIX_ROWS INT_MAX
#define PANEL        0
#define PANEL_FLOATS 0
#define gather_rows  NULL
#define matmul_many  NULL
#include "kernels/cpu/ops_table.h"
