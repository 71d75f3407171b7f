#include "engine/forward/site.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct site_row {
    const char *suffix; /* behind "blocks.{l}." */
    bool in_block;
    enum site_axes axes;
    const char *letters;
};

static const struct site_row rows[SITES] = {
    [SITE_NONE] = {"", false, AXES_TD, ""},
    [SITE_EMBED] = {"hook_embed", false, AXES_TD, "[T, D]"},
    [SITE_POS_EMBED] = {"hook_pos_embed", false, AXES_TD, "[T, D]"},
    [SITE_EMBED_LN_SCALE] = {"embed.ln.hook_scale", false, AXES_T1, "[T, 1]"},
    [SITE_EMBED_LN_NORMALIZED] = {"embed.ln.hook_normalized", false, AXES_TD, "[T, D]"},
    [SITE_RESID_PRE] = {"hook_resid_pre", true, AXES_TD, "[T, D]"},
    [SITE_LN1_SCALE] = {"ln1.hook_scale", true, AXES_T1, "[T, 1]"},
    [SITE_LN1_NORMALIZED] = {"ln1.hook_normalized", true, AXES_TD, "[T, D]"},
    [SITE_Q] = {"attn.hook_q", true, AXES_THX, "[T, H, h]"},
    [SITE_K] = {"attn.hook_k", true, AXES_THX, "[T, K, h]"},
    [SITE_V] = {"attn.hook_v", true, AXES_THX, "[T, K, h]"},
    [SITE_Q_NORM_SCALE] = {"attn.q_norm.hook_scale", true, AXES_THX, "[T, H, 1]"},
    [SITE_Q_NORM_NORMALIZED] = {"attn.q_norm.hook_normalized", true, AXES_THX, "[T, H, h]"},
    [SITE_K_NORM_SCALE] = {"attn.k_norm.hook_scale", true, AXES_THX, "[T, K, 1]"},
    [SITE_K_NORM_NORMALIZED] = {"attn.k_norm.hook_normalized", true, AXES_THX, "[T, K, h]"},
    [SITE_ROT_Q] = {"attn.hook_rot_q", true, AXES_THX, "[T, H, h]"},
    [SITE_ROT_K] = {"attn.hook_rot_k", true, AXES_THX, "[S, K, h]"},
    [SITE_ATTN_SCORES] = {"attn.hook_attn_scores", true, AXES_HTS, "[H, T, S]"},
    [SITE_PATTERN] = {"attn.hook_pattern", true, AXES_HTS, "[H, T, S]"},
    [SITE_Z] = {"attn.hook_z", true, AXES_THX, "[T, H, h]"},
    [SITE_RESULT] = {"attn.hook_result", true, AXES_THX, "[T, H, D]"},
    [SITE_ATTN_OUT] = {"hook_attn_out", true, AXES_TD, "[T, D]"},
    [SITE_LN1_POST_SCALE] = {"ln1_post.hook_scale", true, AXES_T1, "[T, 1]"},
    [SITE_LN1_POST_NORMALIZED] = {"ln1_post.hook_normalized", true, AXES_TD, "[T, D]"},
    [SITE_RESID_MID] = {"hook_resid_mid", true, AXES_TD, "[T, D]"},
    [SITE_LN2_SCALE] = {"ln2.hook_scale", true, AXES_T1, "[T, 1]"},
    [SITE_LN2_NORMALIZED] = {"ln2.hook_normalized", true, AXES_TD, "[T, D]"},
    [SITE_MLP_PRE] = {"mlp.hook_pre", true, AXES_TD, "[T, M]"},
    [SITE_MLP_PRE_LINEAR] = {"mlp.hook_pre_linear", true, AXES_TD, "[T, M]"},
    [SITE_MLP_POST] = {"mlp.hook_post", true, AXES_TD, "[T, M]"},
    [SITE_MLP_OUT] = {"hook_mlp_out", true, AXES_TD, "[T, D]"},
    [SITE_LN2_POST_SCALE] = {"ln2_post.hook_scale", true, AXES_T1, "[T, 1]"},
    [SITE_LN2_POST_NORMALIZED] = {"ln2_post.hook_normalized", true, AXES_TD, "[T, D]"},
    [SITE_RESID_POST] = {"hook_resid_post", true, AXES_TD, "[T, D]"},
    [SITE_LN_FINAL_SCALE] = {"ln_final.hook_scale", false, AXES_T1, "[T, 1]"},
    [SITE_LN_FINAL_NORMALIZED] = {"ln_final.hook_normalized", false, AXES_TD, "[T, D]"},
    [SITE_UNEMBED_IN] = {"unembed.hook_in", false, AXES_TD, "[T, D]"},
    [SITE_UNEMBED_OUT] = {"unembed.hook_out", false, AXES_TD, "[T, V]"},
    [SITE_LOGITS] = {"logits", false, AXES_TD, "[T, V]"},
};

const char *site_suffix(enum site s)
{
    return rows[s].suffix;
}

bool site_in_block(enum site s)
{
    return rows[s].in_block;
}

enum site_axes site_axes(enum site s)
{
    return rows[s].axes;
}

const char *site_shape_letters(enum site s)
{
    return rows[s].letters;
}

/* Copies a suffix without "attn.", "mlp." and "hook_". out has room for 48. */
static void shorten(const char *suffix, char *out)
{
    if (strncmp(suffix, "attn.", 5) == 0)
        suffix += 5;
    else if (strncmp(suffix, "mlp.", 4) == 0)
        suffix += 4;
    const char *hook = strstr(suffix, "hook_");
    size_t head = hook ? (size_t)(hook - suffix) : 0;
    snprintf(out, 48, "%.*s%s", (int)head, suffix, hook ? hook + 5 : suffix);
}

const char *site_short(enum site s)
{
    static _Thread_local char out[48];
    shorten(rows[s].suffix, out);
    return out;
}

char *site_name(enum site s, int layer, char out[64])
{
    if (rows[s].in_block)
        snprintf(out, 64, "blocks.%d.%s", layer, rows[s].suffix);
    else
        snprintf(out, 64, "%s", rows[s].suffix);
    return out;
}

char *site_short_name(enum site s, int layer, char out[64])
{
    if (rows[s].in_block)
        snprintf(out, 64, "%d.%.47s", layer, site_short(s));
    else
        snprintf(out, 64, "%s", site_short(s));
    return out;
}

/* Whether word (n bytes) spells site s: the suffix with any of its droppable parts left out. */
static bool spells(const char *word, size_t n, enum site s)
{
    const char *suffix = rows[s].suffix;
    char want[48], got[48];
    if (n == 0 || n >= sizeof got)
        return false;
    memcpy(got, word, n);
    got[n] = '\0';
    shorten(suffix, want);
    char bare[48];
    shorten(got, bare);
    if (strcmp(want, bare) != 0)
        return false;
    /* "mlp.pattern" and "attn.pre" are nobody's names. */
    if (strncmp(got, "attn.", 5) == 0)
        return strncmp(suffix, "attn.", 5) == 0;
    if (strncmp(got, "mlp.", 4) == 0)
        return strncmp(suffix, "mlp.", 4) == 0;
    return true;
}

static enum site find(const char *word, size_t n, bool in_block)
{
    for (int s = 1; s < SITES; s++)
        if (rows[s].in_block == in_block && spells(word, n, (enum site)s))
            return (enum site)s;
    return SITE_NONE;
}

static bool read_number(const char **p, int *out)
{
    if (!isdigit((unsigned char)**p))
        return false;
    long v = 0;
    for (; isdigit((unsigned char)**p); (*p)++)
        if (v < 1000000)
            v = v * 10 + (**p - '0');
    *out = (int)v;
    return true;
}

bool site_parse(const char *text, enum site *s, int *layer, int *layer_last, size_t *used,
                struct error *err)
{
    const char *p = text;
    bool blocks = strncmp(p, "blocks.", 7) == 0;
    if (blocks)
        p += 7;
    bool in_block = true;
    *layer = *layer_last = 0;
    if (*p == '*' && p[1] == '.') {
        *layer = *layer_last = SITE_ALL_LAYERS;
        p += 2;
    } else if (read_number(&p, layer)) {
        *layer_last = *layer;
        if (*p == '-') {
            p++;
            if (!read_number(&p, layer_last))
                return error_set(err, ERR_USAGE, "a range of layers is written 3-5.resid_post");
            if (*layer_last < *layer)
                return error_set(err, ERR_USAGE, "the range of layers %d-%d is empty", *layer,
                                 *layer_last);
        }
        if (*p != '.')
            return error_set(err, ERR_USAGE,
                             "behind the layer's number a '.' and a site's name "
                             "are expected, as in 5.pattern");
        p++;
    } else if (blocks) {
        return error_set(err, ERR_USAGE, "behind \"blocks.\" a layer's number or * is expected");
    } else {
        in_block = false;
    }
    const char *word = p;
    while (isalnum((unsigned char)*p) || *p == '_' ||
           (*p == '.' && (isalpha((unsigned char)p[1]) || p[1] == '_')))
        p++;
    *s = find(word, (size_t)(p - word), in_block);
    if (*s == SITE_NONE) {
        int n = (int)(p - word);
        if (find(word, (size_t)n, !in_block) != SITE_NONE)
            return in_block
                       ? error_set(err, ERR_USAGE, "%.*s is there once, without a layer", n, word)
                       : error_set(err, ERR_USAGE, "%.*s needs a layer in front, as in 0.%.*s", n,
                                   word, n, word);
        return error_set(err, ERR_USAGE, "no site is called \"%.*s\" (info sites lists them)",
                         n > 60 ? 60 : n, word);
    }
    *used = (size_t)(p - text);
    return true;
}
