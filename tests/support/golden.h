/* golden.h - references that tests compare a model's values with.
 *
 * A reference is reference.safetensors (float64 values by site name, no batch dimension) and
 * reference.json (the ids, and for each site how far transformers' float32 run was off), both
 * written by tests/golden/generate.py. bfloat16.json, by tests/golden/bfloat16.py, says how far its
 * bfloat16 run was off.
 */
#ifndef MIDPASS_GOLDEN_H
#define MIDPASS_GOLDEN_H

#include "engine/base/json.h"
#include "engine/model/safetensors.h"

struct golden {
    struct ledger *ledger;
    struct json_doc *json;
    const struct json *sites;
    struct json_doc *bf16; /* NULL until golden_open_bf16 */
    struct checkpoint *values;
    int32_t *ids;
    int n_ids;
};

/* Reads folder/reference.*. Whatever stands in one file and not in the other is an error. */
bool golden_open(struct golden *g, struct ledger *l, const char *folder, struct error *err);
/* From then on golden_bound is for a run in bf16. Every site has to be in the file. */
bool golden_open_bf16(struct golden *g, const char *folder, struct error *err);
void golden_close(struct golden *g);

int golden_count(const struct golden *g);
const char *golden_name(const struct golden *g, int i);

/* The values of a site, or NULL. */
const struct tensor *golden_find(const struct golden *g, const char *site);
/* How far a correct value may be from the reference: see golden.c for the rule. */
double golden_bound(const struct golden *g, const char *site);

/* Numbers in a tensor of type F64 or F32, and one of them; its alignment does not matter. */
size_t tensor_numbers(const struct tensor *t);
double tensor_number(const struct tensor *t, size_t i);

/* max |x - ref| over the finite numbers of `ref` from number `first` on, n of them. Where ref is
 * infinite x has to be the same, and a NaN never agrees: else the result is infinite. *at (may be
 * NULL) is where, counted from `first`. */
double golden_difference(const struct tensor *ref, size_t first, const float *x, size_t n,
                         size_t *at);

#endif
