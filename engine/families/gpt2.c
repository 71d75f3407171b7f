/* GPT-2: learned positions, layer norms, fused c_attn, Conv1D weights [in, out]. */
#include "engine/families/families.h"

#include <stdio.h>

static bool configure(struct config *c, const struct json *j, struct error *err)
{
    double eps;
    int inner = 4 * c->d_model;
    if (!config_int(j, "n_embd", 1, 1 << 20, &c->d_model, err) ||
        !config_int(j, "n_layer", 1, 10000, &c->n_layers, err) ||
        !config_int(j, "n_head", 1, 1 << 16, &c->n_heads, err) ||
        !config_int(j, "n_positions", 1, 1 << 30, &c->n_ctx, err) ||
        !config_int_or(j, "n_inner", 1, 1 << 24, 4 * c->d_model, &inner, err) ||
        !config_float_or(j, "layer_norm_epsilon", 0, 1, 1e-5, &eps, err) ||
        !config_activation(j, "activation_function", "gelu_new", &c->act, err) ||
        !config_flag_or(j, "tie_word_embeddings", true, &c->tied, err))
        return false;
    /* Two switches of the attention that no published checkpoint of this layout needs. */
    bool by_layer, plain_scale;
    if (!config_flag_or(j, "scale_attn_by_inverse_layer_idx", false, &by_layer, err) ||
        !config_flag_or(j, "scale_attn_weights", true, &plain_scale, err))
        return false;
    if (by_layer || !plain_scale)
        return error_set(
            err, ERR_UNSUPPORTED,
            "scale_attn_by_inverse_layer_idx and unscaled attention are not supported");
    c->d_mlp = inner;
    c->norm_eps = (float)eps;
    c->n_kv_heads = c->n_heads;
    if (c->d_model % c->n_heads)
        return error_set(err, ERR_FORMAT, "n_embd %d is not a multiple of n_head %d", c->d_model,
                         c->n_heads);
    c->d_head = c->d_model / c->n_heads;
    return config_windows(c, NULL, false, 0, err);
}

static void emit(struct builder *b)
{
    const struct config *c = b->config;
    int D = c->d_model, M = c->d_mlp, H = c->n_heads;
    int embed = emit_embed(b, weight_table(b, c->n_vocab, D, "wte.weight"), 1.0f);
    int positions = emit_positions(b, weight_table(b, c->n_ctx, D, "wpe.weight"), 0);
    int x = emit_add(b, SITE_NONE, embed, positions);
    for (int l = 0; l < c->n_layers; l++) {
        x = emit_block(b, l, x);
        int y = emit_layer_norm(b, SITE_LN1_SCALE, x, c->norm_eps, "h.%d.ln_1", l);
        /* Filters against the old masks (attn.bias) have taken this bias from some published
         * files; it then is zero, as in transformers. */
        bool bias = builder_has(b, "h.%d.attn.c_attn.bias", l);
        if (!bias)
            snprintf(b->model->notice, sizeof b->model->notice,
                     "no tensor h.%d.attn.c_attn.bias (and perhaps others): taken as zero", l);
        int qkv[3];
        for (int i = 0; i < 3; i++)
            qkv[i] =
                emit_linear(b, (enum site)(SITE_Q + i), y,
                            weight_columns(b, D, D, i * D, 3 * D, bias, "h.%d.attn.c_attn", l), H);
        int attn = emit_attention(b, qkv[0], qkv[1], qkv[2], -1, 0.0f,
                                  weight_columns(b, D, D, 0, D, true, "h.%d.attn.c_proj", l));
        x = emit_add(b, SITE_RESID_MID, x, attn);
        y = emit_layer_norm(b, SITE_LN2_SCALE, x, c->norm_eps, "h.%d.ln_2", l);
        int pre = emit_linear(b, SITE_MLP_PRE, y,
                              weight_columns(b, M, D, 0, M, true, "h.%d.mlp.c_fc", l), 0);
        int post = emit_activate(b, pre);
        int mlp = emit_linear(b, SITE_MLP_OUT, post,
                              weight_columns(b, D, M, 0, D, true, "h.%d.mlp.c_proj", l), 0);
        x = emit_add(b, SITE_RESID_POST, x, mlp);
    }
    x = emit_tail(b, x);
    x = emit_layer_norm(b, SITE_LN_FINAL_SCALE, x, c->norm_eps, "ln_f");
    emit_unembed(b, x, weight_head(b, "wte.weight", "lm_head", false));
}

const struct family family_gpt2 = {"gpt2", "transformer.", configure, emit};
