/* test_site.c - names of sites, in full and short. */
#include "engine/forward/site.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_every_name_reads_back(void **state)
{
    (void)state;
    for (int i = 1; i < SITES; i++) {
        enum site site = (enum site)i, got;
        char name[64];
        int layer, last;
        size_t used;
        struct error err;
        for (int form = 0; form < 2; form++) {
            if (form)
                site_short_name(site, 12, name);
            else
                site_name(site, 12, name);
            if (!site_parse(name, &got, &layer, &last, &used, &err))
                fail_msg("%s: %s", name, err.text);
            if (got != site)
                fail_msg("%s reads as %s", name, site_suffix(got));
            assert_int_equal(used, strlen(name));
            assert_int_equal(layer, site_in_block(site) ? 12 : 0);
            assert_int_equal(last, layer);
        }
    }
}

static void test_spellings(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum site site;
        int layer, last;
        size_t used;
    } good[] = {
        {"blocks.5.attn.hook_pattern", SITE_PATTERN, 5, 5, 26},
        {"blocks.5.attn.pattern", SITE_PATTERN, 5, 5, 21},
        {"5.hook_pattern", SITE_PATTERN, 5, 5, 14},
        {"5.pattern[3]", SITE_PATTERN, 5, 5, 9},
        {"0.resid_post)", SITE_RESID_POST, 0, 0, 12},
        {"5.ln1.scale", SITE_LN1_SCALE, 5, 5, 11},
        {"5.ln1.hook_scale", SITE_LN1_SCALE, 5, 5, 16},
        {"5.attn.q_norm.hook_scale", SITE_Q_NORM_SCALE, 5, 5, 24},
        {"5.q_norm.normalized", SITE_Q_NORM_NORMALIZED, 5, 5, 19},
        {"5.mlp.post", SITE_MLP_POST, 5, 5, 10},
        {"5.mlp_out", SITE_MLP_OUT, 5, 5, 9},
        {"*.z", SITE_Z, SITE_ALL_LAYERS, SITE_ALL_LAYERS, 3},
        {"blocks.*.hook_resid_pre", SITE_RESID_PRE, SITE_ALL_LAYERS, SITE_ALL_LAYERS, 23},
        {"3-5.resid_post", SITE_RESID_POST, 3, 5, 14},
        {"embed", SITE_EMBED, 0, 0, 5},
        {"hook_embed", SITE_EMBED, 0, 0, 10},
        {"embed.ln.scale", SITE_EMBED_LN_SCALE, 0, 0, 14},
        {"ln_final.hook_normalized", SITE_LN_FINAL_NORMALIZED, 0, 0, 24},
        {"unembed.hook_in", SITE_UNEMBED_IN, 0, 0, 15},
        {"logits+1", SITE_LOGITS, 0, 0, 6},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        enum site site;
        int layer, last;
        size_t used;
        struct error err;
        if (!site_parse(good[i].text, &site, &layer, &last, &used, &err))
            fail_msg("%s: %s", good[i].text, err.text);
        assert_int_equal(site, good[i].site);
        assert_int_equal(layer, good[i].layer);
        assert_int_equal(last, good[i].last);
        assert_int_equal(used, good[i].used);
    }
    static const char *const bad[] = {
        "",        "5.",          "5",      "nonsense", "5.nonsense",    "pattern",
        "5.embed", "5-3.pattern", "5-.z",   "blocks.z", "5.mlp.pattern", "5.attn.pre",
        "blocks",  "*pattern",    "5.attn", "logits.x",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        enum site site;
        int layer, last;
        size_t used;
        struct error err = {0};
        if (site_parse(bad[i], &site, &layer, &last, &used, &err))
            fail_msg("\"%s\" reads as %s", bad[i], site_suffix(site));
        assert_true(strlen(err.text) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_name_reads_back),
        cmocka_unit_test(test_spellings),
    };
    return cmocka_run_group_tests_name("site", tests, NULL, NULL);
}
