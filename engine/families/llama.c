/* Llama 1 to 3.x and what is built like it. */
#include "engine/families/llama.h"

bool llama_sizes(struct config *c, const struct json *j, struct error *err)
{
    double eps;
    if (!config_int(j, "hidden_size", 1, 1 << 20, &c->d_model, err) ||
        !config_int(j, "num_hidden_layers", 1, 10000, &c->n_layers, err) ||
        !config_int(j, "num_attention_heads", 1, 1 << 16, &c->n_heads, err) ||
        !config_int_or(j, "num_key_value_heads", 1, 1 << 16, c->n_heads, &c->n_kv_heads, err) ||
        !config_int(j, "intermediate_size", 1, 1 << 24, &c->d_mlp, err) ||
        !config_int(j, "max_position_embeddings", 1, 1 << 30, &c->n_ctx, err) ||
        !config_int_or(j, "head_dim", 1, 1 << 16, c->d_model / c->n_heads, &c->d_head, err) ||
        !config_float_or(j, "rms_norm_eps", 0, 1, 1e-6, &eps, err) ||
        !config_activation(j, "hidden_act", "silu", &c->act, err) ||
        !config_flag_or(j, "tie_word_embeddings", false, &c->tied, err))
        return false;
    c->norm_eps = (float)eps;
    if (c->n_heads % c->n_kv_heads)
        return error_set(err, ERR_FORMAT,
                         "num_attention_heads %d is not a multiple of num_key_value_heads %d",
                         c->n_heads, c->n_kv_heads);
    if (c->d_head < 1 || (json_is_null(json_get(j, "head_dim")) && c->d_model % c->n_heads))
        return error_set(err, ERR_FORMAT, "hidden_size %d is not a multiple of %d heads",
                         c->d_model, c->n_heads);
    return true;
}

static bool configure(struct config *c, const struct json *j, struct error *err)
{
    return llama_sizes(c, j, err) &&
           config_flag_or(j, "attention_bias", false, &c->qkv_bias, err) &&
           config_flag_or(j, "attention_bias", false, &c->out_bias, err) &&
           config_flag_or(j, "mlp_bias", false, &c->mlp_bias, err) &&
           config_windows(c, NULL, false, 0, err) && config_rope(c, j, 10000, 1, err);
}

void llama_mlp(struct builder *b, int l, int *x, struct weight gate, struct weight up)
{
    const struct config *c = b->config;
    int y =
        emit_rms_norm(b, SITE_LN2_SCALE, *x, c->norm_eps, "layers.%d.post_attention_layernorm", l);
    int pre = emit_linear(b, SITE_MLP_PRE, y, gate, 0);
    int linear = emit_linear(b, SITE_MLP_PRE_LINEAR, y, up, 0);
    int mlp = emit_linear(
        b, SITE_MLP_OUT, emit_gate(b, pre, linear),
        weight_rows(b, c->d_model, c->d_mlp, 0, 0, c->mlp_bias, "layers.%d.mlp.down_proj", l), 0);
    *x = emit_add(b, SITE_RESID_POST, *x, mlp);
}

void llama_emit(struct builder *b, bool qk_norm)
{
    const struct config *c = b->config;
    int D = c->d_model, M = c->d_mlp, H = c->n_heads, G = c->n_kv_heads, h = c->d_head;
    int rope = builder_rope(b);
    int x = emit_embed(b, weight_table(b, c->n_vocab, D, "embed_tokens.weight"), 1.0f);
    emit_angles(b, rope);
    for (int l = 0; l < c->n_layers; l++) {
        x = emit_block(b, l, x);
        int y = emit_rms_norm(b, SITE_LN1_SCALE, x, c->norm_eps, "layers.%d.input_layernorm", l);
        int q = emit_linear(
            b, SITE_Q, y,
            weight_rows(b, H * h, D, 0, 0, c->qkv_bias, "layers.%d.self_attn.q_proj", l), H);
        int k = emit_linear(
            b, SITE_K, y,
            weight_rows(b, G * h, D, 0, 0, c->qkv_bias, "layers.%d.self_attn.k_proj", l), G);
        int v = emit_linear(
            b, SITE_V, y,
            weight_rows(b, G * h, D, 0, 0, c->qkv_bias, "layers.%d.self_attn.v_proj", l), G);
        if (qk_norm) {
            q = emit_head_norm(b, SITE_Q_NORM_SCALE, q, H, c->norm_eps,
                               "layers.%d.self_attn.q_norm", l);
            k = emit_head_norm(b, SITE_K_NORM_SCALE, k, G, c->norm_eps,
                               "layers.%d.self_attn.k_norm", l);
        }
        int attn = emit_attention(
            b, q, k, v, rope, 0.0f,
            weight_rows(b, D, H * h, 0, 0, c->out_bias, "layers.%d.self_attn.o_proj", l));
        x = emit_add(b, SITE_RESID_MID, x, attn);
        llama_mlp(b, l, &x, weight_rows(b, M, D, 0, 0, c->mlp_bias, "layers.%d.mlp.gate_proj", l),
                  weight_rows(b, M, D, 0, 0, c->mlp_bias, "layers.%d.mlp.up_proj", l));
    }
    x = emit_tail(b, x);
    x = emit_rms_norm(b, SITE_LN_FINAL_SCALE, x, c->norm_eps, "norm");
    emit_unembed(b, x, weight_head(b, "embed_tokens.weight", "lm_head", false));
}

static void emit(struct builder *b)
{
    llama_emit(b, false);
}

const struct family family_llama = {"llama", "model.", configure, emit};
