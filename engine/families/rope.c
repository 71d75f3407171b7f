/* rope.c - the frequencies of rotary embeddings, in the steps of float32 that the published
 * models were trained and are run with. */
#include "engine/families/builder_parts.h"

#include <math.h>

/* theta^(-2i/r), each step rounded to float32 as the published models' code does. */
static void plain_frequencies(float *inv, int r, double theta)
{
    for (int i = 0; i < r / 2; i++) {
        float e = (float)(2 * i) / (float)r;
        inv[i] = 1.0f / (float)pow(theta, (double)e);
    }
}

/* Llama 3: long wavelengths are stretched by factor, short ones kept, between a blend. */
static void llama3_frequencies(float *inv, int n, const struct rope_config *c)
{
    const float pi2 = 6.283185307179586f;
    float low = (float)(c->original / c->low_freq_factor);
    float high = (float)(c->original / c->high_freq_factor);
    for (int i = 0; i < n; i++) {
        float length = pi2 / inv[i];
        if (length > low) {
            inv[i] = inv[i] / (float)c->factor;
        } else if (length >= high) {
            float s = ((float)c->original / length - (float)c->low_freq_factor) /
                      (float)(c->high_freq_factor - c->low_freq_factor);
            inv[i] = (1.0f - s) * (inv[i] / (float)c->factor) + s * inv[i];
        }
    }
}

/* YaRN (Peng et al. 2023, eq. 17 to 23): a ramp from extrapolation to interpolation. */
static void yarn_frequencies(float *inv, int r, const struct rope_config *c)
{
    const double pi2 = 6.283185307179586;
    double low = r * log(c->original / (c->beta_fast * pi2)) / (2 * log(c->theta));
    double high = r * log(c->original / (c->beta_slow * pi2)) / (2 * log(c->theta));
    if (c->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, r - 1);
    if (low == high)
        high += 0.001;
    for (int i = 0; i < r / 2; i++) {
        float ramp = (float)fmin(fmax((i - low) / (high - low), 0), 1);
        float keep = 1.0f - ramp;
        inv[i] = inv[i] / (float)c->factor * (1.0f - keep) + inv[i] * keep;
    }
}

/* Phi-3's: 1 / (factor_i theta^(2i/r)) in float32. */
static void long_frequencies(float *inv, int r, double theta, const float *factor)
{
    for (int i = 0; i < r / 2; i++) {
        float e = (float)(2 * i) / (float)r;
        inv[i] = 1.0f / (factor[i] * (float)pow(theta, (double)e));
    }
}

int builder_rope(struct builder *b)
{
    struct model *m = b->model;
    const struct rope_config *c = &b->config->rope;
    if (b->failed || c->kind == ROPE_NONE)
        return -1;
    if (m->n_ropes == MODEL_MAX_ROPES) {
        builder_fail(b, ERR_UNSUPPORTED, "more than %d kinds of RoPE", MODEL_MAX_ROPES);
        return -1;
    }
    struct rope *rope = &m->ropes[m->n_ropes];
    int r = (int)(b->config->d_head * c->partial);
    *rope = (struct rope){.style = c->style, .n_rot = r, .scale = 1.0f};
    if (r % 2) {
        builder_fail(b, ERR_FORMAT,
                     "RoPE rotates %d floats of a head of %d: an even number is needed", r,
                     b->config->d_head);
        return -1;
    }
    if (r == 0)
        return m->n_ropes++;
    float *inv = mem_alloc_array(m->ledger, MEM_SCRATCH, (size_t)r, sizeof *inv, b->err);
    if (!inv) {
        b->failed = true;
        return -1;
    }
    plain_frequencies(inv, r, c->theta);
    double attention = 1;
    if (c->kind == ROPE_LINEAR) {
        for (int i = 0; i < r / 2; i++)
            inv[i] = inv[i] / (float)c->factor;
    } else if (c->kind == ROPE_LLAMA3) {
        llama3_frequencies(inv, r / 2, c);
    } else if (c->kind == ROPE_YARN) {
        yarn_frequencies(inv, r, c);
        attention = c->factor > 1 ? 0.1 * log(c->factor) + 1 : 1;
    } else if (c->kind == ROPE_LONG) {
        if (c->n_factors != r / 2) {
            builder_fail(b, ERR_FORMAT,
                         "longrope's factors number %d; %d are needed, half of the %d rotated "
                         "floats of a head",
                         c->n_factors, r / 2, r);
        } else {
            long_frequencies(inv, r, c->theta, c->long_factor);
            rope->inv_freq_long = builder_own(b, inv, r / 2);
            long_frequencies(inv, r, c->theta, c->short_factor);
            rope->original = c->original;
        }
        attention = c->factor > 1 ? sqrt(1 + log(c->factor) / log(c->original)) : 1;
    }
    if (c->attention_factor > 0)
        attention = c->attention_factor;
    rope->scale = (float)attention;
    if (!b->failed)
        rope->inv_freq = builder_own(b, inv, r / 2);
    mem_free(m->ledger, inv);
    return m->n_ropes++;
}
