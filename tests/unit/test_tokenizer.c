/* test_tokenizer.c - pieces, special tokens, hostile files, and requests that are refused. */
#include "engine/model/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define GOLDEN "tests/golden/tokenizer/"

static int set_up(void **state)
{
    *state = ledger_open();
    return *state == NULL;
}

static int tear_down(void **state)
{
    return ledger_close(*state) != 0;
}

static struct tokenizer *open_it(struct ledger *l, const char *path)
{
    struct error err = {0};
    struct tokenizer *t = tokenizer_open(l, path, &err);

    if (t == NULL)
        fail_msg("%s", err.text);
    return t;
}

static struct tokenizer *parse(struct ledger *l, const char *json, struct error *err)
{
    *err = (struct error){0};
    return tokenizer_parse(l, json, strlen(json), "t.json", err);
}

/* The ids of a text, as "1 2 3". */
static const char *ids_of(const struct tokenizer *t, struct ledger *l, const char *text, size_t n,
                          bool special)
{
    static char shown[4096];
    struct error err = {0};
    int32_t *ids;
    int count;
    size_t k = 0;

    shown[0] = '\0';
    if (!tokenizer_encode(t, text, n, special, &ids, &count, &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < count && k < sizeof shown - 16; i++)
        k += (size_t)snprintf(shown + k, sizeof shown - k, i > 0 ? " %d" : "%d", ids[i]);
    mem_free(l, ids);
    return shown;
}

#define assert_ids(t, text, want)                                                                  \
    assert_string_equal(ids_of(t, *state, text, strlen(text), false), want)

static void expect_piece(const struct tokenizer *t, struct ledger *l, int32_t id, const char *want,
                         size_t n)
{
    struct text out;

    text_init(&out, l, MEM_OTHER);
    text_add(&out, "");
    assert_true(tokenizer_piece(t, id, &out, NULL));
    assert_int_equal(out.n, n);
    assert_memory_equal(out.data, want, n);
    text_fini(&out);
}

/* Every piece is found again, as an id with the same piece. */
static void all_pieces(const struct tokenizer *t, struct ledger *l)
{
    struct text a, b;

    text_init(&a, l, MEM_OTHER);
    text_init(&b, l, MEM_OTHER);
    for (int32_t id = 0; id < tokenizer_count(t); id++) {
        text_clear(&a);
        text_clear(&b);
        assert_true(tokenizer_piece(t, id, &a, NULL));
        if (a.n == 0)
            continue;
        int32_t found = tokenizer_find(t, a.data, a.n);
        assert_true(found >= 0);
        assert_true(tokenizer_piece(t, found, &b, NULL));
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.data, b.data, a.n);
    }
    text_fini(&a);
    text_fini(&b);
}

static void pieces(void **state)
{
    static const char *const files[] = {"gpt2",  "llama2", "metaspace_always", "clip",
                                        "words", "gemma",  "bytes_first"};
    struct tokenizer *t = open_it(*state, GOLDEN "gpt2.json");
    int32_t token = tokenizer_find(t, " token", 6), newline = tokenizer_find(t, "\n", 1);

    expect_piece(t, *state, token, " token", 6);
    expect_piece(t, *state, newline, "\n", 1);
    assert_true(tokenizer_find(t, "\xff", 1) >= 0);
    assert_int_equal(tokenizer_find(t, "no such token", 13), -1);
    assert_int_equal(tokenizer_find(t, "", 0), -1);
    assert_true(tokenizer_is_special(t, tokenizer_find(t, "<|end|>", 7)));
    assert_false(tokenizer_is_special(t, token));
    assert_false(tokenizer_is_special(t, -1));
    assert_false(tokenizer_is_special(t, tokenizer_count(t)));
    expect_piece(t, *state, -1, "", 0);
    expect_piece(t, *state, tokenizer_count(t), "", 0);
    tokenizer_close(t);

    t = open_it(*state, GOLDEN "llama2.json");
    expect_piece(t, *state, tokenizer_find(t, " token", 6), " token", 6);
    expect_piece(t, *state, 1, "<s>", 3);
    assert_int_equal(tokenizer_find(t, "<s>", 3), 1);
    expect_piece(t, *state, 3 + 10, "\n", 1);
    expect_piece(t, *state, 3 + 0, "\0", 1);
    expect_piece(t, *state, 3 + 0xe2, "\xe2", 1);
    assert_int_equal(tokenizer_find(t, "\xe2", 1), 3 + 0xe2);
    tokenizer_close(t);

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[100];
        snprintf(path, sizeof path, GOLDEN "%s.json", files[i]);
        t = open_it(*state, path);
        all_pieces(t, *state);
        tokenizer_close(t);
    }
}

/* What a byte-level tokenizer takes apart it puts together again, whatever the bytes. */
static void round_trip(void **state)
{
    struct tokenizer *t = open_it(*state, GOLDEN "llama3.json");
    struct error err = {0};
    uint32_t seed = 1;

    for (int k = 0; k < 500; k++) {
        char text[64];
        size_t n = (size_t)(k % 60);
        int32_t *ids;
        int count;
        struct text out;
        for (size_t i = 0; i < n; i++) {
            seed = seed * 1664525 + 1013904223;
            text[i] = (char)(seed >> 24 & 0x7f);
        }
        assert_true(tokenizer_encode(t, text, n, true, &ids, &count, &err));
        text_init(&out, *state, MEM_OTHER);
        text_add(&out, "");
        assert_true(tokenizer_decode(t, ids, count, true, &out, &err));
        assert_int_equal(out.n, n);
        assert_memory_equal(out.data, text, n);
        text_fini(&out);
        mem_free(*state, ids);
    }
    tokenizer_close(t);
}

/* ---- small ones, written by hand ---- */

#define MODEL(rest)               "\"model\":{\"type\":\"BPE\"," rest "}"
#define ABC                       "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\" \":4},\"merges\":[\"a b\"]"
#define TOKEN(id, content, flags) "{\"id\":" #id ",\"content\":\"" content "\"" flags "}"

static void added_tokens(void **state)
{
    struct error err;
    struct tokenizer *t = parse(
        *state,
        "{\"added_tokens\":[" TOKEN(9, "<x>", ",\"special\":true,\"rstrip\":true") "," TOKEN(
            7, "<xy>",
            "") "," TOKEN(8, "W",
                          ",\"single_word\":true") "," TOKEN(6, "<l>",
                                                             ",\"lstrip\":true") "," TOKEN(3, "ab",
                                                                                           "") "]"
                                                                                               "," MODEL(
                                                                                                   ABC) "}",
        &err);

    if (t == NULL)
        fail_msg("%s", err.text);
    assert_int_equal(tokenizer_count(t), 10);
    assert_ids(t, "a<x>  b", "0 9 1");
    assert_ids(t, "a<xy>  b", "0 7 4 4 1"); /* the longest */
    assert_ids(t, "<x<x>", "9");            /* what is not in the vocabulary vanishes */
    assert_ids(t, "W aW W", "8 4 0 4 8");
    assert_ids(t, "a  <l>", "0 6");
    assert_ids(t, "aab", "0 3");
    assert_int_equal(tokenizer_find(t, "<xy>", 4), 7);
    assert_int_equal(tokenizer_find(t, "<x>", 3), 9);
    assert_true(tokenizer_is_special(t, 9) && !tokenizer_is_special(t, 7));
    expect_piece(t, *state, 5, "", 0);
    tokenizer_close(t);
}

static void special_ids(void **state)
{
    struct tokenizer *t = open_it(*state, GOLDEN "llama2.json");
    struct text out;
    int32_t ids[] = {1, 99999, -5, 2};

    assert_string_equal(ids_of(t, *state, "", 0, true), "1 2");
    assert_string_equal(ids_of(t, *state, "", 0, false), "");
    text_init(&out, *state, MEM_OTHER);
    text_add(&out, "");
    assert_true(tokenizer_decode(t, ids, 4, true, &out, NULL));
    assert_string_equal(out.data, "");
    assert_true(tokenizer_decode(t, ids, 4, false, &out, NULL));
    assert_string_equal(out.data, "<s></s>");
    text_fini(&out);
    tokenizer_close(t);
}

static void unknown_token(void **state)
{
    struct error err;
    int32_t *ids;
    int n;
    struct tokenizer *t = parse(*state, "{" MODEL(ABC ",\"unk_token\":\"?\"") "}", &err);

    assert_non_null(t);
    assert_ids(t, "ab", "3");
    assert_false(tokenizer_encode(t, "z", 1, false, &ids, &n, &err));
    assert_int_equal(err.code, ERR_FORMAT);
    assert_non_null(strstr(err.text, "unk_token"));
    tokenizer_close(t);
}

/* ---- what is refused ---- */

static void refused(void **state)
{
    static const struct {
        const char *json, *says;
        enum error_code code;
    } cases[] = {
        {"", "empty", ERR_FORMAT},
        {"[]", "an object is expected", ERR_FORMAT},
        {"{}", "model: an object", ERR_FORMAT},
        {"{\"version\":\"2.0\"," MODEL(ABC) "}", "version", ERR_UNSUPPORTED},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", "Unigram", ERR_UNSUPPORTED},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", "WordPiece", ERR_UNSUPPORTED},
        {"{\"model\":{\"type\":3,\"vocab\":{\"a\":0}}}", "model.type", ERR_FORMAT},
        {"{" MODEL("\"merges\":[]") "}", "model.vocab", ERR_FORMAT},
        {"{" MODEL("\"vocab\":{},\"merges\":[]") "}", "empty", ERR_FORMAT},
        {"{" MODEL("\"vocab\":[],\"merges\":[]") "}", "model.vocab", ERR_FORMAT},
        {"{" MODEL("\"vocab\":{\"a\":0}") "}", "model.merges", ERR_FORMAT},
        {"{" MODEL("\"vocab\":{\"a\":-1},\"merges\":[]") "}", "\"a\"", ERR_FORMAT},
        {"{" MODEL("\"vocab\":{\"a\":0.5},\"merges\":[]") "}", "\"a\"", ERR_FORMAT},
        {"{" MODEL("\"vocab\":{\"a\":\"0\"},\"merges\":[]") "}", "\"a\"", ERR_FORMAT},
        {"{" MODEL("\"vocab\":{\"a\":1e99},\"merges\":[]") "}", "\"a\"", ERR_FORMAT},
        {"{" MODEL("\"vocab\":{\"a\":2147483647},\"merges\":[]") "}", "2147483647", ERR_FORMAT},
        {"{" MODEL("\"vocab\":{\"a\":100000000},\"merges\":[]") "}", "100000000", ERR_FORMAT},
        {"{" MODEL("\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]") "}", "id 0", ERR_FORMAT},
        {"{" MODEL("\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]") "}", "twice", ERR_FORMAT},
        {"{" MODEL("\"vocab\":{\"a\":0},\"merges\":[\"a z\"]") "}", "merges[0]: \"z\"", ERR_FORMAT},
        {"{" MODEL("\"vocab\":{\"a\":0},\"merges\":[\"a a\"]") "}", "\"aa\"", ERR_FORMAT},
        {"{" MODEL("\"vocab\":{\"a\":0},\"merges\":[\"aa\"]") "}", "merges[0]", ERR_FORMAT},
        {"{" MODEL("\"vocab\":{\"a\":0},\"merges\":[\"a a a\"]") "}", "merges[0]", ERR_FORMAT},
        {"{" MODEL("\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]") "}", "merges[0]", ERR_FORMAT},
        {"{" MODEL("\"vocab\":{\"a\":0},\"merges\":[7]") "}", "merges[0]", ERR_FORMAT},
        {"{" MODEL(ABC ",\"dropout\":0.1") "}", "dropout", ERR_UNSUPPORTED},
        {"{" MODEL(ABC ",\"fuse_unk\":1") "}", "fuse_unk", ERR_FORMAT},
        {"{" MODEL(ABC ",\"unk_token\":1") "}", "unk_token", ERR_FORMAT},
        {"{" MODEL(ABC) ",\"added_tokens\":{}}", "added_tokens", ERR_FORMAT},
        {"{" MODEL(ABC) ",\"added_tokens\":[{\"id\":9}]}", "added_tokens[0].content", ERR_FORMAT},
        {"{" MODEL(ABC) ",\"added_tokens\":[{\"content\":\"x\"}]}", "added_tokens[0].id",
         ERR_FORMAT},
        {"{" MODEL(ABC) ",\"added_tokens\":[" TOKEN(0, "x", "") "]}", "id 0", ERR_FORMAT},
        {"{" MODEL(ABC) ",\"added_tokens\":[" TOKEN(9, "x", "") "," TOKEN(9, "y", "") "]}", "id 9",
         ERR_FORMAT},
        {"{" MODEL(ABC) ",\"added_tokens\":[" TOKEN(9, "x", ",\"special\":1") "]}", "special",
         ERR_FORMAT},
        {"{" MODEL(ABC) ",\"normalizer\":{\"type\":\"Precompiled\"}}", "Precompiled",
         ERR_UNSUPPORTED},
        {"{" MODEL(ABC) ",\"normalizer\":{}}", "normalizer: type", ERR_FORMAT},
        {"{" MODEL(ABC) ",\"normalizer\":{\"type\":\"Sequence\"}}", "normalizers", ERR_FORMAT},
        {"{" MODEL(ABC) ",\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}}", "UnicodeScripts",
         ERR_UNSUPPORTED},
        {"{" MODEL(ABC) ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},"
                        "\"behavior\":\"Isolated\"}}",
         "pre_tokenizer: the regular expression", ERR_UNSUPPORTED},
        {"{" MODEL(ABC) ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a&&b]\"},"
                        "\"behavior\":\"Isolated\"}}",
         "intersection", ERR_UNSUPPORTED},
        {"{" MODEL(ABC) ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},"
                        "\"behavior\":\"Other\"}}",
         "behavior", ERR_FORMAT},
        {"{" MODEL(ABC) ",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"}}",
         "replacement", ERR_FORMAT},
        {"{" MODEL(ABC) ",\"decoder\":{\"type\":\"CTC\"}}", "decoder: the type \"CTC\"",
         ERR_UNSUPPORTED},
        {"{" MODEL(ABC) ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":"
                        "[{\"SpecialToken\":{\"id\":\"<s>\"}}],\"special_tokens\":{}}}",
         "\"<s>\"", ERR_FORMAT},
        {"{" MODEL(ABC) ",\"post_processor\":{\"type\":\"Other\"}}", "Other", ERR_UNSUPPORTED},
    };
    struct error err;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tokenizer *t = parse(*state, cases[i].json, &err);
        if (t != NULL || err.code != cases[i].code || strstr(err.text, cases[i].says) == NULL ||
            strstr(err.text, "t.json: ") != err.text)
            fail_msg("%s: \"%s\" (%d) does not say \"%s\"", cases[i].json, err.text, err.code,
                     cases[i].says);
    }
    assert_int_equal(ledger_total(*state), 0);
    assert_null(tokenizer_open(*state, "no/such/tokenizer.json", &err));
    assert_non_null(strstr(err.text, "no/such/tokenizer.json"));
}

/* What could steer a terminal is not repeated in a message. */
static void messages_are_safe(void **state)
{
    struct error err;

    assert_null(parse(
        *state, "{" MODEL("\"vocab\":{\"a\\u001b[2J\\u202e\\n\":-1},\"merges\":[]") "}", &err));
    assert_null(strchr(err.text, '\x1b'));
    assert_null(strchr(err.text, '\n'));
    assert_null(strstr(err.text, "\xe2\x80\xae"));
}

static void deep(void **state)
{
    size_t n = 10000;
    char *json = malloc(12 * n + 200);
    struct error err;
    char *p = json + sprintf(json, "{" MODEL(ABC) ",\"normalizer\":");

    for (size_t i = 0; i < n; i++)
        p += sprintf(p, "[");
    for (size_t i = 0; i < n; i++)
        p += sprintf(p, "]");
    sprintf(p, "}");
    assert_null(parse(*state, json, &err));
    assert_int_equal(err.code, ERR_FORMAT);
    /* Not too deep for JSON, but for a sequence. */
    p = json + sprintf(json, "{" MODEL(ABC) ",\"decoder\":");
    for (int i = 0; i < 100; i++)
        p += sprintf(p, "{\"type\":\"Sequence\",\"decoders\":[");
    for (int i = 0; i < 100; i++)
        p += sprintf(p, "]}");
    sprintf(p, "}");
    assert_null(parse(*state, json, &err));
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    free(json);
}

/* A pattern that backtracks without end is an error, and soon. */
static void endless_pattern(void **state)
{
    struct error err;
    int32_t *ids;
    int n;
    char text[64];
    struct tokenizer *t =
        parse(*state,
              "{" MODEL(ABC) ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":"
                             "{\"Regex\":\"(?:a|a|b|ab)*(?=[c-d])\"},\"behavior\":\"Isolated\"}}",
              &err);

    assert_non_null(t);
    memset(text, 'a', sizeof text);
    assert_false(tokenizer_encode(t, text, sizeof text, false, &ids, &n, &err));
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "pre_tokenizer"));
    tokenizer_close(t);
}

/* A megabyte without a place to cut it takes no time worth speaking of. */
static void long_word(void **state)
{
    static const char *const files[] = {GOLDEN "gpt2.json", GOLDEN "llama2.json"};
    size_t n = 1000000;
    char *text = malloc(n);

    for (size_t i = 0; i < n; i++)
        text[i] = "theca"[i * i % 5];
    for (int k = 0; k < 2; k++) {
        struct tokenizer *t = open_it(*state, files[k]);
        struct error err = {0};
        int32_t *ids;
        int count;
        clock_t begin = clock();
        assert_true(tokenizer_encode(t, text, n, false, &ids, &count, &err));
        assert_true((double)(clock() - begin) / CLOCKS_PER_SEC < 20); /* under valgrind too */
        assert_true(count > 100000);
        mem_free(*state, ids);
        tokenizer_close(t);
    }
    free(text);
}

/* ---- memory ---- */

/* Opens, encodes, decodes and names with the n-th request refused; true if all went well. */
static bool try_all(struct ledger *l, const char *path, const char *text)
{
    struct error err = {0};
    struct tokenizer *t = tokenizer_open(l, path, &err);
    int32_t *ids = NULL;
    int n = 0;
    bool ok = t != NULL;
    struct text out;

    text_init(&out, l, MEM_OTHER);
    ok = ok && tokenizer_encode(t, text, strlen(text), true, &ids, &n, &err);
    ok = ok && tokenizer_decode(t, ids, n, false, &out, &err);
    ok = ok && tokenizer_piece(t, 5, &out, &err);
    if (ok)
        tokenizer_find(t, "zz", 2);
    else if (err.code != ERR_MEMORY)
        fail_msg("%s: \"%s\" for want of memory", path, err.text);
    text_fini(&out);
    mem_free(l, ids);
    tokenizer_close(t);
    return ok;
}

static void memory_fails(void **state)
{
    static const char *const files[] = {"llama3", "llama2", "metaspace_always", "bertish", "clip",
                                        "splits", "neox"};

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[100];
        bool ok = false;
        snprintf(path, sizeof path, GOLDEN "%s.json", files[i]);
        for (long n = 1; !ok && n < 100000; n++) {
            struct ledger *l = ledger_open();
            ledger_fail_after(l, n);
            ok = try_all(l, path, "The  cat <s> e\xcc\x81 12,\n\xff <|end|> [W]");
            if (ledger_close(l) != 0)
                fail_msg("%s: request %ld refused: memory is kept", path, n);
        }
        assert_true(ok);
    }
}

/* The file's text and tree are gone once it is read. */
static void memory_held(void **state)
{
    struct tokenizer *t = open_it(*state, GOLDEN "llama2.json");

    assert_true(ledger_now(*state, MEM_TOKENIZER, MEM_HOST) == ledger_total(*state));
    assert_true(ledger_total(*state) < 64 * 1024);
    tokenizer_close(t);
    assert_int_equal(ledger_total(*state), 0);
    tokenizer_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(added_tokens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(special_ids, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_token, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(messages_are_safe, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deep, set_up, tear_down),
        cmocka_unit_test_setup_teardown(endless_pattern, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_word, set_up, tear_down),
        cmocka_unit_test(memory_fails),
        cmocka_unit_test_setup_teardown(memory_held, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
