/* families.h - the list of model families. An eighth is one file and one line here. */
#ifndef MIDPASS_FAMILIES_H
#define MIDPASS_FAMILIES_H

#include "engine/families/builder.h"

struct family {
    const char *model_type; /* as config.json says it */
    const char *prefix;     /* that tensor names may carry: "model." */
    /* Reads the family's keys into *c (sizes, epsilon, activation, rope, windows, biases). */
    bool (*configure)(struct config *c, const struct json *j, struct error *err);
    /* Writes the program. Errors are kept in the builder. */
    void (*emit)(struct builder *b);
};

extern const struct family family_gpt2, family_gpt_neox, family_llama, family_mistral, family_qwen2,
    family_qwen3, family_phi3;

/* NULL if no family has this model_type. */
const struct family *family_find(const char *model_type);
/* "gpt2, gpt_neox, ..." */
const char *family_list(char *out, size_t n);

#endif
