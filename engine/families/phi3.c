/* Phi-3, 3.5 and 4: Llama with q, k, v in one tensor, gate and up in another; longrope. */
#include "engine/families/llama.h"

static bool configure(struct config *c, const struct json *j, struct error *err)
{
    double partial;
    return llama_sizes(c, j, err) &&
           config_float_or(j, "partial_rotary_factor", 0, 1, 1, &partial, err) &&
           config_windows(c, j, true, 0, err) && config_rope(c, j, 10000, partial, err);
}

static void emit(struct builder *b)
{
    const struct config *c = b->config;
    int D = c->d_model, M = c->d_mlp, H = c->n_heads, G = c->n_kv_heads, h = c->d_head;
    int rope = builder_rope(b);
    int x = emit_embed(b, weight_table(b, c->n_vocab, D, "embed_tokens.weight"), 1.0f);
    emit_angles(b, rope);
    for (int l = 0; l < c->n_layers; l++) {
        const char *qkv = "layers.%d.self_attn.qkv_proj";
        int rows = (H + 2 * G) * h;
        x = emit_block(b, l, x);
        int y = emit_rms_norm(b, SITE_LN1_SCALE, x, c->norm_eps, "layers.%d.input_layernorm", l);
        int q = emit_linear(b, SITE_Q, y, weight_rows(b, H * h, D, 0, rows, false, qkv, l), H);
        int k = emit_linear(b, SITE_K, y, weight_rows(b, G * h, D, H * h, rows, false, qkv, l), G);
        int v = emit_linear(b, SITE_V, y,
                            weight_rows(b, G * h, D, (H + G) * h, rows, false, qkv, l), G);
        int attn =
            emit_attention(b, q, k, v, rope, 0.0f,
                           weight_rows(b, D, H * h, 0, 0, false, "layers.%d.self_attn.o_proj", l));
        x = emit_add(b, SITE_RESID_MID, x, attn);
        const char *gate_up = "layers.%d.mlp.gate_up_proj";
        llama_mlp(b, l, &x, weight_rows(b, M, D, 0, 2 * M, false, gate_up, l),
                  weight_rows(b, M, D, M, 2 * M, false, gate_up, l));
    }
    x = emit_tail(b, x);
    x = emit_rms_norm(b, SITE_LN_FINAL_SCALE, x, c->norm_eps, "norm");
    emit_unembed(b, x, weight_head(b, "embed_tokens.weight", "lm_head", false));
}

const struct family family_phi3 = {"phi3", "model.", configure, emit};
