/* Mistral: Llama with a sliding window in every layer. */
#include "engine/families/llama.h"

static bool configure(struct config *c, const struct json *j, struct error *err)
{
    return llama_sizes(c, j, err) && config_windows(c, j, true, 0, err) &&
           config_rope(c, j, 10000, 1, err);
}

static void emit(struct builder *b)
{
    llama_emit(b, false);
}

const struct family family_mistral = {"mistral", "model.", configure, emit};
