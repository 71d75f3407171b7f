/* Qwen 3: no biases, an RMS norm on each head of q and k before RoPE, head_dim its own. */
#include "engine/families/llama.h"

static bool configure(struct config *c, const struct json *j, struct error *err)
{
    bool used;
    int first;
    if (!llama_sizes(c, j, err) || !config_flag_or(j, "use_sliding_window", false, &used, err) ||
        !config_int_or(j, "max_window_layers", 0, 1 << 20, 28, &first, err) ||
        !config_flag_or(j, "attention_bias", false, &c->qkv_bias, err) ||
        !config_flag_or(j, "attention_bias", false, &c->out_bias, err) ||
        !config_int_or(j, "head_dim", 1, 1 << 16, 128, &c->d_head, err))
        return false;
    return config_windows(c, j, used, first, err) && config_rope(c, j, 10000, 1, err);
}

static void emit(struct builder *b)
{
    llama_emit(b, true);
}

const struct family family_qwen3 = {"qwen3", "model.", configure, emit};
