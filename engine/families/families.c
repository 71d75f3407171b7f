#include "engine/families/families.h"

#include <stdio.h>
#include <string.h>

static const struct family *const all[] = {
    &family_gpt2,  &family_gpt_neox, &family_llama, &family_mistral,
    &family_qwen2, &family_qwen3,    &family_phi3,
};

const struct family *family_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i]->model_type, model_type) == 0)
            return all[i];
    return NULL;
}

const char *family_list(char *out, size_t n)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof all / sizeof *all && at < n; i++)
        at += (size_t)snprintf(out + at, n - at, "%s%s", i ? ", " : "", all[i]->model_type);
    return out;
}
