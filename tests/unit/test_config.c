/* test_config.c - config.json: both generations of keys, and what is wrong told by name. */
#include "engine/families/families.h"
#include "engine/model/config.h"
#include "tests/support/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SIZES                                                                                      \
    "\"vocab_size\":50,\"hidden_size\":24,\"num_hidden_layers\":3,\"num_attention_heads\":4,"      \
    "\"intermediate_size\":40,\"max_position_embeddings\":4096"

static bool parse(struct config *c, struct ledger *l, const char *text, struct error *err)
{
    return config_parse(c, l, text, strlen(text), "config.json", err);
}

static void test_generations(void **state)
{
    (void)state;
    struct ledger *l = ledger_open();
    struct config old, new;
    struct error err;
    const char *first = "{\"model_type\":\"llama\"," SIZES
                        ",\"torch_dtype\":\"bfloat16\",\"rope_theta\":500000.0,\"rope_scaling\":{"
                        "\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
                        "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":1024}}";
    const char *second = "{\"model_type\":\"llama\"," SIZES
                         ",\"dtype\":\"bfloat16\",\"rope_parameters\":{\"rope_theta\":500000.0,"
                         "\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
                         "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":1024}}";
    assert_true(parse(&old, l, first, &err));
    assert_true(parse(&new, l, second, &err));
    const struct config *both[] = {&old, &new};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(both[i]->dtype, DTYPE_BF16);
        assert_int_equal(both[i]->rope.kind, ROPE_LLAMA3);
        assert_true(both[i]->rope.theta == 500000.0 && both[i]->rope.factor == 8.0);
        assert_int_equal(both[i]->rope.original, 1024);
        assert_int_equal(both[i]->n_kv_heads, 4);
        assert_int_equal(both[i]->d_head, 6);
        assert_false(both[i]->tied);
    }
    config_fini(&old);
    config_fini(&new);
    assert_int_equal(ledger_close(l), 0);
}

/* One id, a list, what is no token; and generation_config.json, which outdoes it. */
static void test_ends_of_text(void **state)
{
    struct ledger *l = *state;
    struct config c;
    struct error err;
    static const char *const more[] = {"{\"eos_token_id\": 7}", "{}", "[1", NULL};
    assert_true(parse(&c, l, "{\"model_type\":\"llama\"," SIZES ",\"eos_token_id\":2}", &err));
    assert_true(config_is_eos(&c, 2) && !config_is_eos(&c, 0));
    config_fini(&c);
    assert_true(
        parse(&c, l, "{\"model_type\":\"llama\"," SIZES ",\"eos_token_id\":[3,-1,\"x\",50,49,2.5]}",
              &err));
    assert_int_equal(c.n_eos, 2);
    assert_true(config_is_eos(&c, 3) && config_is_eos(&c, 49));
    const char *path = folder_file("generation_config.json");
    for (int i = 0; i < 4; i++) {
        folder_remove(path);
        if (more[i])
            folder_put(path, more[i], strlen(more[i]));
        assert_int_equal(config_read_generation(&c, path, &err), i != 2);
        assert_true(config_is_eos(&c, 7) && !config_is_eos(&c, 3));
    }
    config_fini(&c);
}

static void test_windows(void **state)
{
    (void)state;
    struct ledger *l = ledger_open();
    struct config c;
    struct error err;
    assert_true(parse(&c, l, "{\"model_type\":\"mistral\"," SIZES ",\"sliding_window\":7}", &err));
    for (int i = 0; i < 3; i++)
        assert_int_equal(c.window[i], 7);
    config_fini(&c);
    assert_true(
        parse(&c, l, "{\"model_type\":\"mistral\"," SIZES ",\"sliding_window\":null}", &err));
    assert_int_equal(c.window[0], 0);
    config_fini(&c);
    assert_true(parse(&c, l,
                      "{\"model_type\":\"qwen2\"," SIZES
                      ",\"sliding_window\":7,\"use_sliding_window\":false}",
                      &err));
    assert_int_equal(c.window[2], 0);
    config_fini(&c);
    assert_true(parse(&c, l,
                      "{\"model_type\":\"qwen2\"," SIZES ",\"sliding_window\":7,"
                      "\"use_sliding_window\":true,\"max_window_layers\":2}",
                      &err));
    assert_int_equal(c.window[1], 0);
    assert_int_equal(c.window[2], 7);
    config_fini(&c);
    assert_int_equal(ledger_close(l), 0);
}

static void test_errors_name_the_key(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"[]", "object"},
        {"{}", "model_type"},
        {"{\"model_type\":3}", "model_type"},
        {"{\"model_type\":\"mamba\"," SIZES "}", "supported are gpt2, gpt_neox, llama"},
        {"{\"model_type\":\"llama\"}", "vocab_size"},
        {"{\"model_type\":\"llama\",\"vocab_size\":50}", "hidden_size"},
        {"{\"model_type\":\"llama\"," SIZES ",\"num_key_value_heads\":3}", "num_key_value_heads"},
        {"{\"model_type\":\"llama\"," SIZES ",\"num_key_value_heads\":0}", "num_key_value_heads"},
        {"{\"model_type\":\"llama\"," SIZES ",\"head_dim\":2.5}", "head_dim"},
        {"{\"model_type\":\"llama\"," SIZES ",\"rms_norm_eps\":\"small\"}", "rms_norm_eps"},
        {"{\"model_type\":\"llama\"," SIZES ",\"hidden_act\":\"mish\"}", "mish"},
        {"{\"model_type\":\"llama\"," SIZES ",\"tie_word_embeddings\":1}", "tie_word_embeddings"},
        {"{\"model_type\":\"llama\"," SIZES ",\"rope_scaling\":[]}", "rope_scaling"},
        {"{\"model_type\":\"llama\"," SIZES
         ",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}",
         "dynamic"},
        {"{\"model_type\":\"llama\"," SIZES ",\"rope_scaling\":{\"type\":\"linear\"}}", "factor"},
        {"{\"model_type\":\"llama\",\"vocab_size\":50,\"hidden_size\":25,\"num_hidden_layers\":1,"
         "\"num_attention_heads\":4,\"intermediate_size\":4,\"max_position_embeddings\":4}",
         "multiple"},
        {"{\"model_type\":\"phi3\"," SIZES ",\"rope_scaling\":{\"type\":\"longrope\","
         "\"short_factor\":[1,1,1],\"long_factor\":[1,1]}}",
         "long_factor"},
        {"{\"model_type\":\"phi3\"," SIZES ",\"rope_scaling\":{\"type\":\"longrope\","
         "\"short_factor\":[1,1,1],\"long_factor\":[1,-1,1]}}",
         "long_factor"},
        {"{\"model_type\":\"phi3\"," SIZES ",\"rope_scaling\":{\"type\":\"longrope\","
         "\"short_factor\":[1,1,1],\"long_factor\":[1,1,1]}}",
         "original_max_position_embeddings"},
        {"{\"model_type\":\"qwen3\"," SIZES
         ",\"use_sliding_window\":true,\"sliding_window\":4,\"layer_types\":[\"full_attention\"]}",
         "layer_types"},
        {"{\"model_type\":\"llama\",\"vocab_size\":1e30}", "vocab_size"},
        {"{\"model_type\":\"llama\",\"vocab_size\":-5}", "vocab_size"},
        {"{\"model_type\":\"llama\",", "config.json"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ledger *l = ledger_open();
        struct config c;
        struct error err = {0};
        if (parse(&c, l, bad[i].text, &err))
            fail_msg("accepted: %s", bad[i].text);
        if (!strstr(err.text, bad[i].says))
            fail_msg("%s\n says: %s\n not: %s", bad[i].text, err.text, bad[i].says);
        assert_non_null(strstr(err.text, "config.json"));
        assert_int_equal(ledger_close(l), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generations),
        cmocka_unit_test_setup_teardown(test_ends_of_text, folder_set_up, folder_tear_down),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_errors_name_the_key),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
