#include "engine/model/config.h"

#include "engine/families/families.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CONFIG_LIMIT (16u << 20) /* bytes of a config.json */

bool config_int(const struct json *j, const char *key, int low, int high, int *out,
                struct error *err)
{
    const struct json *v = json_get(j, key);
    int64_t x;
    if (json_is_null(v))
        return error_set(err, ERR_FORMAT, "\"%s\" is missing", key);
    if (!json_whole(v, low, high, &x))
        return error_set(err, ERR_FORMAT, "\"%s\" should be a whole number from %d to %d", key, low,
                         high);
    *out = (int)x;
    return true;
}

bool config_int_or(const struct json *j, const char *key, int low, int high, int fallback, int *out,
                   struct error *err)
{
    *out = fallback;
    return json_is_null(json_get(j, key)) || config_int(j, key, low, high, out, err);
}

bool config_float_or(const struct json *j, const char *key, double low, double high,
                     double fallback, double *out, struct error *err)
{
    const struct json *v = json_get(j, key);
    *out = fallback;
    if (json_is_null(v))
        return true;
    double x = json_number(v);
    if (!json_is_number(v) || !(x >= low && x <= high))
        return error_set(err, ERR_FORMAT, "\"%s\" should be a number from %g to %g", key, low,
                         high);
    *out = x;
    return true;
}

bool config_flag_or(const struct json *j, const char *key, bool fallback, bool *out,
                    struct error *err)
{
    const struct json *v = json_get(j, key);
    *out = fallback;
    if (json_is_null(v))
        return true;
    if (!json_is_bool(v))
        return error_set(err, ERR_FORMAT, "\"%s\" should be true or false", key);
    *out = json_true(v);
    return true;
}

bool config_activation(const struct json *j, const char *key, const char *fallback,
                       enum activation *out, struct error *err)
{
    static const struct {
        const char *name;
        enum activation act;
    } known[] = {
        {"silu", ACT_SILU},           {"swish", ACT_SILU},
        {"gelu", ACT_GELU},           {"gelu_new", ACT_GELU_TANH},
        {"gelu_fast", ACT_GELU_TANH}, {"gelu_pytorch_tanh", ACT_GELU_TANH},
        {"relu", ACT_RELU},
    };
    const struct json *v = json_get(j, key);
    const char *name = json_is_null(v) ? fallback : json_string(v);
    for (size_t i = 0; name && i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0) {
            *out = known[i].act;
            return true;
        }
    return error_set(err, ERR_UNSUPPORTED,
                     "\"%s\" is \"%s\"; supported are silu, gelu, gelu_new, gelu_fast, "
                     "gelu_pytorch_tanh and relu",
                     key, name ? name : "not a string");
}

/* A list of n positive numbers. */
static bool read_factors(struct config *c, const struct json *list, const char *key, float **out,
                         int *n, struct error *err)
{
    size_t count = json_count(list);
    if (!json_is_array(list) || count == 0 || count > 1 << 16)
        return error_set(err, ERR_FORMAT, "\"%s\" should be a list of numbers", key);
    float *f = mem_alloc_array(c->ledger, MEM_OTHER, count, sizeof *f, err);
    if (!f)
        return false;
    *out = f;
    *n = (int)count;
    for (const struct json *v = json_first(list); v; v = json_next(v)) {
        double x = json_number(v);
        if (!json_is_number(v) || !(x > 0 && x < 1e30))
            return error_set(err, ERR_FORMAT, "\"%s\" should hold positive numbers", key);
        *f++ = (float)x;
    }
    return true;
}

static bool read_longrope(struct config *c, const struct json *top, const struct json *r,
                          struct error *err)
{
    struct rope_config *rope = &c->rope;
    int n_short = 0, n_long = 0;
    if (!read_factors(c, json_get(r, "short_factor"), "short_factor", &rope->short_factor, &n_short,
                      err) ||
        !read_factors(c, json_get(r, "long_factor"), "long_factor", &rope->long_factor, &n_long,
                      err))
        return false;
    if (n_short != n_long)
        return error_set(err, ERR_FORMAT, "short_factor has %d entries and long_factor %d", n_short,
                         n_long);
    rope->n_factors = n_short;
    /* The original length stands at the top level, or among the RoPE parameters. */
    if (rope->original == 0 &&
        !config_int(top, "original_max_position_embeddings", 2, 1 << 30, &rope->original, err))
        return false;
    /* Of the configuration as published, whatever cap the user sets; transformers takes this
     * over a "factor" in the file, too. */
    rope->factor = (double)c->n_ctx / rope->original;
    return true;
}

bool config_rope(struct config *c, const struct json *j, double theta, double partial,
                 struct error *err)
{
    struct rope_config *rope = &c->rope;
    const struct json *r = json_get(j, "rope_parameters");
    if (json_is_null(r))
        r = json_get(j, "rope_scaling");
    if (!json_is_null(r) && !json_is_object(r))
        return error_set(err, ERR_FORMAT, "\"rope_scaling\" should be an object");
    rope->kind = ROPE_PLAIN;
    rope->style = ROPE_HALVES;
    if (!config_float_or(j, "rope_theta", 1, 1e12, theta, &theta, err) ||
        !config_float_or(r, "rope_theta", 1, 1e12, theta, &rope->theta, err) ||
        !config_float_or(r, "partial_rotary_factor", 0, 1, partial, &rope->partial, err) ||
        !config_float_or(r, "attention_factor", 0, 1e6, 0, &rope->attention_factor, err) ||
        !config_int_or(r, "original_max_position_embeddings", 2, 1 << 30, 0, &rope->original, err))
        return false;
    const struct json *type = json_get(r, "rope_type");
    if (json_is_null(type))
        type = json_get(r, "type");
    const char *name = json_is_null(type) ? "default" : json_string(type);
    if (!name)
        return error_set(err, ERR_FORMAT, "\"rope_type\" should be a string");
    if (strcmp(name, "default") == 0)
        return true;
    /* "su" is longrope's first name, in early Phi-3 files. */
    if (strcmp(name, "longrope") == 0 || strcmp(name, "su") == 0) {
        rope->kind = ROPE_LONG;
        return read_longrope(c, j, r, err);
    }
    if (json_is_null(json_get(r, "factor")))
        return error_set(err, ERR_FORMAT, "RoPE scaling \"%s\" needs a \"factor\"", name);
    if (!config_float_or(r, "factor", 1e-6, 1e9, 1, &rope->factor, err))
        return false;
    if (strcmp(name, "linear") == 0) {
        rope->kind = ROPE_LINEAR;
        return true;
    }
    if (strcmp(name, "llama3") == 0) {
        rope->kind = ROPE_LLAMA3;
        if (!config_float_or(r, "low_freq_factor", 1e-6, 1e9, 1, &rope->low_freq_factor, err) ||
            !config_float_or(r, "high_freq_factor", 1e-6, 1e9, 4, &rope->high_freq_factor, err))
            return false;
        if (rope->high_freq_factor <= rope->low_freq_factor)
            return error_set(err, ERR_FORMAT,
                             "llama3 RoPE: high_freq_factor must be above low_freq_factor");
        if (rope->original == 0)
            return error_set(err, ERR_FORMAT,
                             "llama3 RoPE needs \"original_max_position_embeddings\"");
        return true;
    }
    if (strcmp(name, "yarn") == 0) {
        rope->kind = ROPE_YARN;
        /* The parameters that only DeepSeek's variant has change the formula. */
        if (!json_is_null(json_get(r, "mscale")) || !json_is_null(json_get(r, "mscale_all_dim")))
            return error_set(err, ERR_UNSUPPORTED, "yarn RoPE with \"mscale\" is not supported");
        if (rope->original == 0)
            rope->original = c->n_ctx;
        return config_float_or(r, "beta_fast", 1e-6, 1e6, 32, &rope->beta_fast, err) &&
               config_float_or(r, "beta_slow", 1e-6, 1e6, 1, &rope->beta_slow, err) &&
               config_flag_or(r, "truncate", true, &rope->truncate, err);
    }
    return error_set(err, ERR_UNSUPPORTED,
                     "RoPE scaling \"%.40s\"; supported are default, linear, llama3, yarn and "
                     "longrope",
                     name);
}

bool config_windows(struct config *c, const struct json *j, bool used, int first_layer,
                    struct error *err)
{
    c->window = mem_alloc_array(c->ledger, MEM_OTHER, (size_t)c->n_layers, sizeof *c->window, err);
    if (!c->window)
        return false;
    int window = 0;
    if (used && !config_int_or(j, "sliding_window", 1, 1 << 30, 0, &window, err))
        return false;
    const struct json *types = used ? json_get(j, "layer_types") : NULL;
    if (json_is_null(types)) {
        for (int l = 0; l < c->n_layers; l++)
            c->window[l] = l >= first_layer ? window : 0;
        return true;
    }
    if (!json_is_array(types) || json_count(types) != (size_t)c->n_layers)
        return error_set(err, ERR_FORMAT, "\"layer_types\" should list %d layers", c->n_layers);
    int l = 0;
    for (const struct json *t = json_first(types); t; t = json_next(t), l++) {
        const char *name = json_string(t);
        if (name && strcmp(name, "sliding_attention") == 0)
            c->window[l] = window;
        else if (!name || strcmp(name, "full_attention") != 0)
            return error_set(err, ERR_UNSUPPORTED,
                             "layer_types[%d] is \"%s\"; supported are "
                             "full_attention and sliding_attention",
                             l, name ? name : "not a string");
    }
    return true;
}

static bool read_dtype(struct config *c, const struct json *j)
{
    const struct json *v = json_get(j, "dtype");
    if (json_is_null(v))
        v = json_get(j, "torch_dtype");
    const char *name = json_string(v);
    c->dtype = DTYPE_F32;
    if (name && strcmp(name, "bfloat16") == 0)
        c->dtype = DTYPE_BF16;
    else if (name && strcmp(name, "float16") == 0)
        c->dtype = DTYPE_F16;
    return true;
}

/* eos_token_id: an id or a list of them, or nothing. What is no token of the model never comes. */
static void read_eos(struct config *c, const struct json *j)
{
    const struct json *v = json_get(j, "eos_token_id");
    const struct json *each = json_is_array(v) ? json_first(v) : v;
    int64_t id;
    if (json_is_null(v))
        return;
    c->n_eos = 0;
    for (; each && c->n_eos < CONFIG_MAX_EOS; each = json_is_array(v) ? json_next(each) : NULL)
        if (json_whole(each, 0, c->n_vocab - 1, &id))
            c->eos[c->n_eos++] = (int32_t)id;
}

static bool fill(struct config *c, const struct json *j, struct error *err)
{
    if (!json_is_object(j))
        return error_set(err, ERR_FORMAT, "an object is expected");
    const char *type = json_string(json_get(j, "model_type"));
    char list[200];
    if (!type)
        return error_set(err, ERR_FORMAT, "\"model_type\" is missing; supported are %s",
                         family_list(list, sizeof list));
    c->family = family_find(type);
    if (!c->family)
        return error_set(err, ERR_UNSUPPORTED, "model_type \"%.60s\"; supported are %s", type,
                         family_list(list, sizeof list));
    snprintf(c->model_type, sizeof c->model_type, "%s", type);
    if (!config_int(j, "vocab_size", 1, 1 << 24, &c->n_vocab, err) || !read_dtype(c, j) ||
        !c->family->configure(c, j, err))
        return false;
    int64_t widest = (int64_t)c->n_heads * c->d_head;
    if (widest > 1 << 22)
        return error_set(err, ERR_FORMAT, "%d heads of %d floats are more than midpass takes",
                         c->n_heads, c->d_head);
    read_eos(c, j);
    return true;
}

bool config_parse(struct config *c, struct ledger *l, const char *json, size_t bytes,
                  const char *name, struct error *err)
{
    memset(c, 0, sizeof *c);
    c->ledger = l;
    struct json_doc *doc = json_parse(l, MEM_OTHER, json, bytes, name, err);
    if (!doc)
        return false;
    bool ok = fill(c, json_root(doc), err) || error_prefix(err, "%s", name);
    json_close(doc);
    if (!ok)
        config_fini(c);
    return ok;
}

bool config_read(struct config *c, struct ledger *l, const char *path, struct error *err)
{
    memset(c, 0, sizeof *c);
    size_t n;
    char *text = file_read(l, MEM_OTHER, path, CONFIG_LIMIT, &n, err);
    if (!text)
        return false;
    bool ok = config_parse(c, l, text, n, path, err);
    mem_free(l, text);
    return ok;
}

bool config_read_generation(struct config *c, const char *path, struct error *err)
{
    struct stat st;
    if (stat(path, &st) != 0 && errno == ENOENT)
        return true;
    struct json_doc *doc = json_read(c->ledger, MEM_OTHER, path, CONFIG_LIMIT, err);
    if (!doc)
        return false;
    read_eos(c, json_root(doc));
    json_close(doc);
    return true;
}

bool config_is_eos(const struct config *c, int32_t id)
{
    for (int i = 0; i < c->n_eos; i++)
        if (c->eos[i] == id)
            return true;
    return false;
}

void config_fini(struct config *c)
{
    if (c->ledger) {
        mem_free(c->ledger, c->window);
        mem_free(c->ledger, c->rope.short_factor);
        mem_free(c->ledger, c->rope.long_factor);
    }
    memset(c, 0, sizeof *c);
}
