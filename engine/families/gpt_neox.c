/* GPT-NeoX, Pythia: interleaved query_key_value, partial RoPE, attention and MLP side by side. */
#include "engine/families/families.h"

static bool configure(struct config *c, const struct json *j, struct error *err)
{
    double eps, theta, partial;
    if (!config_int(j, "hidden_size", 1, 1 << 20, &c->d_model, err) ||
        !config_int(j, "num_hidden_layers", 1, 10000, &c->n_layers, err) ||
        !config_int(j, "num_attention_heads", 1, 1 << 16, &c->n_heads, err) ||
        !config_int(j, "intermediate_size", 1, 1 << 24, &c->d_mlp, err) ||
        !config_int(j, "max_position_embeddings", 1, 1 << 30, &c->n_ctx, err) ||
        !config_float_or(j, "layer_norm_eps", 0, 1, 1e-5, &eps, err) ||
        !config_activation(j, "hidden_act", "gelu", &c->act, err) ||
        !config_flag_or(j, "tie_word_embeddings", false, &c->tied, err) ||
        !config_flag_or(j, "attention_bias", true, &c->qkv_bias, err) ||
        !config_flag_or(j, "use_parallel_residual", true, &c->parallel, err) ||
        !config_float_or(j, "rotary_emb_base", 1, 1e12, 10000, &theta, err) ||
        !config_float_or(j, "rotary_pct", 0, 1, 0.25, &partial, err))
        return false;
    c->norm_eps = (float)eps;
    c->n_kv_heads = c->n_heads;
    if (c->d_model % c->n_heads)
        return error_set(err, ERR_FORMAT, "hidden_size %d is not a multiple of %d heads",
                         c->d_model, c->n_heads);
    c->d_head = c->d_model / c->n_heads;
    return config_windows(c, NULL, false, 0, err) && config_rope(c, j, theta, partial, err);
}

static void emit(struct builder *b)
{
    const struct config *c = b->config;
    int D = c->d_model, M = c->d_mlp, H = c->n_heads, h = c->d_head;
    int rope = builder_rope(b);
    int x = emit_embed(b, weight_table(b, c->n_vocab, D, "embed_in.weight"), 1.0f);
    emit_angles(b, rope);
    for (int l = 0; l < c->n_layers; l++) {
        x = emit_block(b, l, x);
        int y = emit_layer_norm(b, SITE_LN1_SCALE, x, c->norm_eps, "layers.%d.input_layernorm", l);
        int qkv[3];
        for (int i = 0; i < 3; i++)
            qkv[i] = emit_linear(b, (enum site)(SITE_Q + i), y,
                                 weight_interleaved(b, H, 3, i, h, D, c->qkv_bias,
                                                    "layers.%d.attention.query_key_value", l),
                                 H);
        int attn =
            emit_attention(b, qkv[0], qkv[1], qkv[2], rope, 0.0f,
                           weight_rows(b, D, D, 0, 0, c->qkv_bias, "layers.%d.attention.dense", l));
        int mid = c->parallel ? x : emit_add(b, SITE_RESID_MID, x, attn);
        y = emit_layer_norm(b, SITE_LN2_SCALE, mid, c->norm_eps,
                            "layers.%d.post_attention_layernorm", l);
        int pre =
            emit_linear(b, SITE_MLP_PRE, y,
                        weight_rows(b, M, D, 0, 0, true, "layers.%d.mlp.dense_h_to_4h", l), 0);
        int mlp =
            emit_linear(b, SITE_MLP_OUT, emit_activate(b, pre),
                        weight_rows(b, D, M, 0, 0, true, "layers.%d.mlp.dense_4h_to_h", l), 0);
        if (c->parallel) /* Hugging Face's order: mlp + attention, then + residual */
            mlp = emit_add(b, SITE_NONE, mlp, attn);
        x = emit_add(b, SITE_RESID_POST, mid, mlp);
    }
    x = emit_tail(b, x);
    x = emit_layer_norm(b, SITE_LN_FINAL_SCALE, x, c->norm_eps, "final_layer_norm");
    emit_unembed(b, x, weight_head(b, "embed_in.weight", "embed_out", false));
}

const struct family family_gpt_neox = {"gpt_neox", "gpt_neox.", configure, emit};
