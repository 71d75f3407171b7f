/* Qwen 2: Llama with biases on q, k, v; a window from max_window_layers on, if it is used. */
#include "engine/families/llama.h"

static bool configure(struct config *c, const struct json *j, struct error *err)
{
    bool used;
    int first;
    if (!llama_sizes(c, j, err) || !config_flag_or(j, "use_sliding_window", false, &used, err) ||
        !config_int_or(j, "max_window_layers", 0, 1 << 20, 28, &first, err))
        return false;
    c->qkv_bias = true;
    return config_windows(c, j, used, first, err) && config_rope(c, j, 10000, 1, err);
}

static void emit(struct builder *b)
{
    llama_emit(b, false);
}

const struct family family_qwen2 = {"qwen2", "model.", configure, emit};
