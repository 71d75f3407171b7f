/* config.h - config.json, in the words the families share. */
#ifndef MIDPASS_CONFIG_H
#define MIDPASS_CONFIG_H

#include "engine/base/json.h"
#include "kernels/kernels.h"

struct family;

enum rope_kind { ROPE_NONE, ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3, ROPE_YARN, ROPE_LONG };

/* What config.json says of RoPE, in both generations of keys. */
struct rope_config {
    enum rope_kind kind;
    enum rope_style style;
    double theta;
    double partial; /* of d_head, that is rotated */
    double factor, low_freq_factor, high_freq_factor, beta_fast, beta_slow;
    double attention_factor;           /* 0: not given */
    int original;                      /* original_max_position_embeddings; 0: not given */
    bool truncate;                     /* yarn: round the ramp's ends */
    float *short_factor, *long_factor; /* [n_factors], longrope */
    int n_factors;
};

#define CONFIG_MAX_EOS 16

struct config {
    struct ledger *ledger;
    const struct family *family;
    char model_type[32];
    int n_layers, n_heads, n_kv_heads, d_model, d_head, d_mlp, n_vocab;
    int n_ctx; /* max_position_embeddings and its other names */
    float norm_eps;
    enum activation act;
    bool tied; /* the head is the embedding */
    bool qkv_bias, out_bias, mlp_bias, parallel;
    int *window; /* [n_layers] keys a query sees, itself included; 0: all */
    struct rope_config rope;
    enum dtype dtype;            /* torch_dtype / dtype: what the plan assumes without weights */
    int32_t eos[CONFIG_MAX_EOS]; /* tokens that end a text */
    int n_eos;
};

/* Reads folder/config.json and lets its family check it. Unknown model_type: ERR_UNSUPPORTED
 * with the list of what is supported. */
bool config_read(struct config *c, struct ledger *l, const char *path, struct error *err);
bool config_parse(struct config *c, struct ledger *l, const char *json, size_t bytes,
                  const char *name, struct error *err);
void config_fini(struct config *c);
/* Takes the ends of text of generation_config.json, which outdo config.json's. No such file is
 * fine. */
bool config_read_generation(struct config *c, const char *path, struct error *err);
/* Whether a token ends a text. */
bool config_is_eos(const struct config *c, int32_t id);

/* For the families: a required or optional (fallback >= low) whole number, a number, a flag. */
bool config_int(const struct json *j, const char *key, int low, int high, int *out,
                struct error *err);
bool config_int_or(const struct json *j, const char *key, int low, int high, int fallback, int *out,
                   struct error *err);
bool config_float_or(const struct json *j, const char *key, double low, double high,
                     double fallback, double *out, struct error *err);
bool config_flag_or(const struct json *j, const char *key, bool fallback, bool *out,
                    struct error *err);
/* hidden_act and its values ("gelu_new", "silu", ...). */
bool config_activation(const struct json *j, const char *key, const char *fallback,
                       enum activation *out, struct error *err);
/* RoPE in either generation of keys; sets c->rope. Call after d_head and n_ctx are known. */
bool config_rope(struct config *c, const struct json *j, double theta, double partial,
                 struct error *err);
/* Sets window[l] = sliding_window for the layers that layer_types marks (if there), else for
 * those from first_layer on; 0 for the others. Call after n_layers is known. */
bool config_windows(struct config *c, const struct json *j, bool used, int first_layer,
                    struct error *err);

#endif
