/* test_tokenizer_golden.c - the ids and texts that Hugging Face `tokenizers` gives.
 *
 * tests/golden/tokenizer/ has small tokenizers of each style (tokenizer.py made them). The
 * full ones in ../shared are used where that folder is.
 */
#include "engine/base/json.h"
#include "engine/model/tokenizer.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FOLDER "tests/golden/tokenizer"
#define SHARED "../shared/tokenizers"

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "ab" -> 0xab */
static size_t from_hex(const char *hex, char *out)
{
    size_t n = strlen(hex) / 2;

    for (size_t i = 0; i < n; i++) {
        char two[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        out[i] = (char)strtol(two, NULL, 16);
    }
    return n;
}

static void check_ids(const struct tokenizer *t, struct ledger *l, const char *where,
                      const char *text, size_t n, bool special, const struct json *want)
{
    struct error err = {0};
    int32_t *ids;
    int count, i = 0;

    if (!tokenizer_encode(t, text, n, special, &ids, &count, &err))
        fail_msg("%s: %.*s: %s", where, (int)n, text, err.text);
    for (const struct json *j = json_first(want); j != NULL; j = json_next(j), i++)
        if (i >= count || ids[i] != (int32_t)json_number(j))
            fail_msg("%s: \"%.*s\": id %d is %d, not %d", where, (int)n, text, i,
                     i < count ? ids[i] : -1, (int)json_number(j));
    if (i != count)
        fail_msg("%s: \"%.*s\": %d ids, not %d", where, (int)n, text, count, i);
    mem_free(l, ids);
}

static void check_text(const struct tokenizer *t, struct ledger *l, const char *where,
                       const struct json *ids, bool skip, const char *want)
{
    struct error err = {0};
    int32_t list[4096];
    struct text out;
    int n = 0;

    for (const struct json *j = json_first(ids); j != NULL && n < 4096; j = json_next(j))
        list[n++] = (int32_t)json_number(j);
    text_init(&out, l, MEM_OTHER);
    text_add(&out, "");
    if (!tokenizer_decode(t, list, n, skip, &out, &err))
        fail_msg("%s: %s", where, err.text);
    if (out.n != strlen(want) || memcmp(out.data, want, out.n) != 0)
        fail_msg("%s: decoded \"%s\", not \"%s\"", where, out.data, want);
    text_fini(&out);
}

static void check_case(const struct tokenizer *t, struct ledger *l, const char *where,
                       const struct json *c)
{
    const char *text = json_string(json_get(c, "text")), *hex = json_string(json_get(c, "hex"));
    const struct json *ids = json_get(c, "ids"), *special = json_get(c, "special");
    const char *decoded = json_string(json_get(c, "decoded"));
    const char *shown = json_string(json_get(c, "shown"));
    char raw[256];
    size_t n = text != NULL ? strlen(text) : from_hex(hex, raw);

    special = special == NULL ? ids : special;
    check_ids(t, l, where, text != NULL ? text : raw, n, false, ids);
    check_ids(t, l, where, text != NULL ? text : raw, n, true, special);
    if (decoded == NULL)
        return;
    check_text(t, l, where, special, true, decoded);
    check_text(t, l, where, special, false, shown == NULL ? decoded : shown);
}

static void check_file(struct ledger *l, const char *name)
{
    char path[512];
    struct error err = {0};
    int n = 0;

    snprintf(path, sizeof path, FOLDER "/%s.json", name);
    struct tokenizer *t = tokenizer_open(l, path, &err);
    if (t == NULL)
        fail_msg("%s", err.text);
    snprintf(path, sizeof path, FOLDER "/%s.cases.json", name);
    struct json_doc *cases = json_read(l, MEM_OTHER, path, 1 << 24, &err);
    if (cases == NULL)
        fail_msg("%s", err.text);
    for (const struct json *c = json_first(json_root(cases)); c != NULL; c = json_next(c), n++)
        check_case(t, l, path, c);
    assert_true(n > 50);
    json_close(cases);
    tokenizer_close(t);
}

static void golden(void **state)
{
    struct ledger *l = ledger_open();
    char *names[100];
    int n = 0;
    DIR *folder = opendir(FOLDER);

    (void)state;
    if (folder == NULL) {
        fail_msg("no folder " FOLDER);
        return;
    }
    for (struct dirent *e; (e = readdir(folder)) != NULL && n < 100;) {
        char *dot = strstr(e->d_name, ".cases.json");
        if (dot != NULL)
            names[n++] = strndup(e->d_name, (size_t)(dot - e->d_name));
    }
    closedir(folder);
    assert_true(n >= 15);
    qsort(names, (size_t)n, sizeof names[0], compare_names);
    for (int i = 0; i < n; i++) {
        check_file(l, names[i]);
        free(names[i]);
    }
    assert_int_equal(ledger_close(l), 0);
}

/* ---- the full tokenizers ---- */

static void check_vectors(struct ledger *l, const char *name)
{
    static const char between[] = "\n__ggml_vocab_test__\n";
    char path[256];
    struct error err = {0};
    size_t n_in, n_out;
    int count = 0;

    snprintf(path, sizeof path, SHARED "/%s/tokenizer.json", name);
    struct tokenizer *t = tokenizer_open(l, path, &err);
    if (t == NULL)
        fail_msg("%s", err.text);
    snprintf(path, sizeof path, SHARED "/%s/vectors.out", name);
    char *in = file_read(l, MEM_OTHER, SHARED "/vectors.inp", 1 << 20, &n_in, &err);
    char *out = file_read(l, MEM_OTHER, path, 1 << 20, &n_out, &err);
    assert_non_null(in);
    assert_non_null(out);
    for (char *text = in, *line = out; count < 46; count++) {
        char *end = strstr(text, between), *next = strchr(line, '\n');
        size_t length = end != NULL ? (size_t)(end - text) : strlen(text);
        int32_t *ids;
        int n, i = 0;
        assert_non_null(next);
        assert_true(tokenizer_encode(t, text, length, false, &ids, &n, &err));
        for (char *p = line;; i++) {
            char *stop;
            long id = strtol(p, &stop, 10);
            if (stop == p || stop > next)
                break;
            if (i >= n || ids[i] != id)
                fail_msg("%s: vector %d, id %d: %d, not %ld", name, count, i, i < n ? ids[i] : -1,
                         id);
            p = stop;
        }
        assert_int_equal(i, n);
        mem_free(l, ids);
        text = end != NULL ? end + sizeof between - 1 : text + length;
        line = next + 1;
    }
    mem_free(l, in);
    mem_free(l, out);
    tokenizer_close(t);
}

static void full(void **state)
{
    (void)state;
    if (access(SHARED "/vectors.inp", R_OK) != 0) {
        print_message("no " SHARED ": the full tokenizers are not tested\n");
        skip();
    }
    struct ledger *l = ledger_open();
    check_vectors(l, "gpt2");
    check_vectors(l, "neox-20b");
    check_vectors(l, "phi-3");
    assert_int_equal(ledger_close(l), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden), cmocka_unit_test(full)};
    return cmocka_run_group_tests_name("tokenizer_golden", tests, NULL, NULL);
}
