/* test_safetensors.c - every field of a checkpoint gone wrong, and what is written read back. */
#include "engine/base/text.h"
#include "engine/model/safetensors.h"
#include "tests/support/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A file with this header and data_bytes bytes 0, 1, 2, ... of data. Returns its length. */
static size_t build(char *out, const char *header, size_t data_bytes)
{
    size_t n = strlen(header);

    for (int i = 0; i < 8; i++)
        out[i] = (char)((uint64_t)n >> (8 * i));
    memcpy(out + 8, header, n);
    for (size_t i = 0; i < data_bytes; i++)
        out[8 + n + i] = (char)i;
    return 8 + n + data_bytes;
}

static void put_tensors(const char *path, const char *header, size_t data_bytes)
{
    static char file[20000];
    folder_put(path, file, build(file, header, data_bytes));
}

#define F32_2(name, from, to)                                                                      \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" #from "," #to "]}"

/* ---- what is sound ---- */

static void a_sound_file(void **state)
{
    struct ledger *l = *state;
    struct error err = {0};
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"w\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[8,20]},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"scalar\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[20,28]},"
        "\"none\":{\"dtype\":\"F16\",\"shape\":[0,7],\"data_offsets\":[28,28]},"
        "\"\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,3],\"data_offsets\":[28,31]}}    ";

    put_tensors(folder_file("f"), header, 31);
    struct checkpoint *c = checkpoint_open_file(l, folder_file("f"), true, &err);
    assert_string_equal(err.text, "");
    assert_non_null(c);
    assert_int_equal(checkpoint_count(c), 5);
    assert_int_equal(checkpoint_bytes(c), 31);
    static const char *const sorted[] = {"", "b", "none", "scalar", "w"};
    for (int i = 0; i < 5; i++)
        assert_string_equal(checkpoint_tensor(c, i)->name, sorted[i]);
    assert_null(checkpoint_tensor(c, 5));
    assert_null(checkpoint_tensor(c, -1));

    const struct tensor *w = checkpoint_find(c, "w");
    assert_string_equal(w->type, "BF16");
    assert_int_equal(w->dtype, DTYPE_BF16);
    assert_int_equal(w->n_dims, 2);
    assert_int_equal(w->dims[0], 2);
    assert_int_equal(w->dims[1], 3);
    assert_int_equal(w->bytes, 12);
    assert_int_equal(((const char *)w->data)[0], 8);
    assert_string_equal(w->file, folder_file("f"));
    const struct tensor *s = checkpoint_find(c, "scalar");
    assert_int_equal(s->n_dims, 0);
    assert_int_equal(s->dtype, DTYPE_N);
    assert_int_equal(((const char *)s->data)[7], 27);
    assert_int_equal(checkpoint_find(c, "none")->bytes, 0);
    assert_int_equal(checkpoint_find(c, "")->n_dims, 8);
    assert_null(checkpoint_find(c, "nothing"));
    assert_null(checkpoint_find(c, "__metadata__"));

    size_t file = 8 + sizeof header - 1 + 31;
    assert_int_equal(ledger_now(l, MEM_WEIGHTS, MEM_MAPPED), file);
    const char *data = checkpoint_find(c, "b")->data;
    assert_string_equal(checkpoint_file_at(data), folder_file("f"));
    assert_string_equal(checkpoint_file_at(data + 30), folder_file("f"));
    assert_null(checkpoint_file_at(data + 31));
    assert_null(checkpoint_file_at(data + 31 - file - 1));
    assert_null(checkpoint_file_at(&c));
    checkpoint_close(c);
    assert_null(checkpoint_file_at(data));
    assert_int_equal(ledger_now(l, MEM_WEIGHTS, MEM_MAPPED), 0);

    c = checkpoint_open_file(l, folder_file("f"), false, &err);
    assert_non_null(c);
    assert_int_equal(ledger_now(l, MEM_WEIGHTS, MEM_MAPPED), 0);
    for (int i = 0; i < 5; i++)
        assert_null(checkpoint_tensor(c, i)->data);
    assert_int_equal(checkpoint_find(c, "w")->bytes, 12);
    assert_int_equal(checkpoint_bytes(c), 31);
    checkpoint_close(c);
    checkpoint_close(NULL);
}

static void every_type(void **state)
{
    static const struct {
        const char *name;
        int bytes;
        enum dtype dtype;
    } types[] = {
        {"F64", 8, DTYPE_N},     {"F32", 4, DTYPE_F32},   {"F16", 2, DTYPE_F16},
        {"BF16", 2, DTYPE_BF16}, {"I64", 8, DTYPE_N},     {"I32", 4, DTYPE_N},
        {"I16", 2, DTYPE_N},     {"I8", 1, DTYPE_N},      {"U64", 8, DTYPE_N},
        {"U32", 4, DTYPE_N},     {"U16", 2, DTYPE_N},     {"U8", 1, DTYPE_N},
        {"BOOL", 1, DTYPE_N},    {"F8_E4M3", 1, DTYPE_N}, {"F8_E5M2", 1, DTYPE_N},
    };

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        for (int off = -1; off <= 1; off++) {
            char header[200];
            struct error err = {0};
            int bytes = 3 * types[i].bytes + off;
            snprintf(header, sizeof header,
                     "{\"t\":{\"dtype\":\"%s\",\"shape\":[3],\"data_offsets\":[0,%d]}}",
                     types[i].name, bytes);
            put_tensors(folder_file("f"), header, (size_t)bytes);
            struct checkpoint *c = checkpoint_open_file(*state, folder_file("f"), true, &err);
            assert_int_equal(c != NULL, off == 0);
            if (c != NULL) {
                assert_string_equal(checkpoint_tensor(c, 0)->type, types[i].name);
                assert_int_equal(checkpoint_tensor(c, 0)->dtype, types[i].dtype);
            } else {
                assert_non_null(strstr(err.text, "tensor \"t\""));
                assert_non_null(strstr(err.text, types[i].name));
            }
            checkpoint_close(c);
        }
}

static void no_tensors_at_all(void **state)
{
    struct error err = {0};

    put_tensors(folder_file("f"), "{}", 0);
    struct checkpoint *c = checkpoint_open_file(*state, folder_file("f"), true, &err);
    assert_non_null(c);
    assert_int_equal(checkpoint_count(c), 0);
    assert_null(checkpoint_find(c, "x"));
    assert_null(checkpoint_tensor(c, 0));
    checkpoint_close(c);
    put_tensors(folder_file("f"), "{}", 1);
    assert_null(checkpoint_open_file(*state, folder_file("f"), true, &err));
    assert_non_null(strstr(err.text, "its last 1 bytes belong to no tensor"));
}

/* ---- what is not ---- */

#define ENTRY(dtype, shape, offsets)                                                               \
    "{\"t\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void every_field_gone_wrong(void **state)
{
    static const struct {
        const char *header;
        size_t data;
        const char *said; /* beside the file's name */
    } bad[] = {
        {"", 0, ": header: is empty"},
        {"[]", 0, "not a JSON object"},
        {"7", 0, "not a JSON object"},
        {" {}", 0, "not a JSON object"},
        {"{", 0, "byte 1"},
        {"{\"t\":{\"dtype\":\"F32\",}}", 0, "not JSON"},
        {"{}x", 0, "more after the end"},
        {"{\"__metadata__\":7}", 0, "__metadata__ is not an object"},
        {"{\"t\":7}", 0, "tensor \"t\": its entry in the header is not an object"},
        {"{\"t\":{}}", 0, "tensor \"t\": has no dtype"},
        {ENTRY("7", "[2]", "[0,8]"), 8, "tensor \"t\": has no dtype"},
        {ENTRY("null", "[2]", "[0,8]"), 8, "tensor \"t\": has no dtype"},
        {ENTRY("\"F33\"", "[2]", "[0,8]"), 8, "tensor \"t\": its dtype \"F33\""},
        {ENTRY("\"f32\"", "[2]", "[0,8]"), 8, "tensor \"t\": its dtype \"f32\""},
        {ENTRY("\"\"", "[2]", "[0,8]"), 8, "tensor \"t\": its dtype \"\""},
        {ENTRY("\"F32F32F32F32F32\"", "[2]", "[0,8]"), 8, "F32F32F32F32F32"},
        {"{\"t\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "tensor \"t\": has no shape"},
        {ENTRY("\"F32\"", "2", "[0,8]"), 8, "tensor \"t\": has no shape"},
        {ENTRY("\"F32\"", "{\"a\":2}", "[0,8]"), 8, "tensor \"t\": has no shape"},
        {ENTRY("\"F32\"", "[\"2\"]", "[0,8]"), 8, "dimension 0 of its shape"},
        {ENTRY("\"F32\"", "[2,-1]", "[0,8]"), 8, "dimension 1 of its shape"},
        {ENTRY("\"F32\"", "[1.5]", "[0,8]"), 8, "dimension 0 of its shape"},
        {ENTRY("\"F32\"", "[null]", "[0,8]"), 8, "dimension 0 of its shape"},
        {ENTRY("\"F32\"", "[1e400]", "[0,8]"), 8, "dimension 0 of its shape"},
        {ENTRY("\"F32\"", "[9007199254740993]", "[0,8]"), 8, "dimension 0 of its shape"},
        {ENTRY("\"F32\"", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), 8, "has 9 dimensions"},
        {ENTRY("\"F32\"", "[4294967296,4294967296]", "[0,8]"), 8, "more elements than"},
        {ENTRY("\"F32\"", "[4503599627370496,4503599627370496,0]", "[0,0]"), 0,
         "more elements than"},
        {ENTRY("\"F64\"", "[2147483648,1073741824]", "[0,0]"), 0, "more elements than"},
        {ENTRY("\"F32\"", "[3]", "[0,8]"), 8, "need 12 bytes, but it has 8"},
        {ENTRY("\"F32\"", "[2]", "[0,8]"), 9, "its last 1 bytes belong to no tensor"},
        {ENTRY("\"F32\"", "[2]", "[0,8]"), 7, "its data ends at 8, but the file has 7"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "has no data_offsets"},
        {ENTRY("\"F32\"", "[2]", "8"), 8, "has no data_offsets"},
        {ENTRY("\"F32\"", "[2]", "[]"), 8, "not two of them"},
        {ENTRY("\"F32\"", "[2]", "[0]"), 8, "not two of them"},
        {ENTRY("\"F32\"", "[2]", "[0,8,8]"), 8, "not two of them"},
        {ENTRY("\"F32\"", "[2]", "[\"0\",8]"), 8, "data_offsets are not whole"},
        {ENTRY("\"F32\"", "[2]", "[-1,7]"), 8, "data_offsets are not whole"},
        {ENTRY("\"F32\"", "[2]", "[0,8.5]"), 8, "data_offsets are not whole"},
        {ENTRY("\"F32\"", "[2]", "[0,1e30]"), 8, "data_offsets are not whole"},
        {ENTRY("\"F32\"", "[2]", "[0,9007199254740992]"), 8, "data_offsets are not whole"},
        {ENTRY("\"F32\"", "[2]", "[8,0]"), 8, "begins at 8, after its end at 0"},
        {ENTRY("\"F32\"", "[2]", "[1,9]"), 9, "the 1 bytes before its data"},
        {ENTRY("\"F32\"", "[0]", "[5,5]"), 5, "the 5 bytes before its data"},
        {"{" F32_2("t", 0, 8) "," F32_2("u", 4, 12) "}", 12,
         "tensor \"u\": its data overlaps that of \"t\""},
        {"{" F32_2("u", 4, 12) "," F32_2("t", 0, 8) "}", 12,
         "tensor \"u\": its data overlaps that of \"t\""},
        {"{" F32_2("t", 0, 8) "," F32_2("u", 0, 8) "}", 8, "its data overlaps that of"},
        {"{" F32_2("t", 0, 8) "," F32_2("u", 12, 20) "}", 20,
         "tensor \"u\": the 4 bytes before its data"},
        {"{" F32_2("t", 0, 8) "," F32_2("t", 8, 16) "}", 16,
         "tensor \"t\": the name is there twice"},
        {"{\"\\u0000\":{}}", 0, "\\u0000"},
        {"{\"a\\u001b[2J\":{}}", 0, "tensor \"a\\x1b[2J\": has no dtype"},
        {"{\"\xff\":{}}", 0, "not UTF-8"},
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        for (int map = 0; map < 2; map++) {
            struct error err = {0};
            put_tensors(folder_file("f"), bad[i].header, bad[i].data);
            if (checkpoint_open_file(*state, folder_file("f"), map, &err) != NULL)
                fail_msg("passes: %s", bad[i].header);
            if (strstr(err.text, bad[i].said) == NULL || strstr(err.text, folder_file("f")) == NULL)
                fail_msg("%s\n  says: %s\n  not:  %s", bad[i].header, err.text, bad[i].said);
            assert_true(err.code == ERR_FORMAT || err.code == ERR_UNSUPPORTED);
            assert_int_equal(ledger_now(*state, MEM_WEIGHTS, MEM_MAPPED), 0);
            assert_int_equal(ledger_total(*state), 0);
        }
}

static void the_header_s_length(void **state)
{
    static const struct {
        unsigned char length[8];
        const char *said;
    } bad[] = {
        {{3, 0, 0, 0, 0, 0, 0, 0}, "should have 3 bytes, but the file has 10"},
        {{0, 0, 0, 0, 0, 0, 0, 0}, "is empty"},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "should have 18446744073709551615"},
        {{0, 0, 0, 0, 0, 0, 0, 0x80}, "should have 9223372036854775808"},
        {{0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "should have 18446744073709551608"},
    };
    struct error err = {0};
    char file[10] = {0};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        memcpy(file, bad[i].length, 8);
        memcpy(file + 8, "{}", 2);
        folder_put(folder_file("f"), file, sizeof file);
        assert_null(checkpoint_open_file(*state, folder_file("f"), true, &err));
        assert_int_equal(err.code, ERR_FORMAT);
        if (strstr(err.text, bad[i].said) == NULL)
            fail_msg("says: %s\n  not:  %s", err.text, bad[i].said);
    }
    for (size_t n = 0; n < 8; n++) {
        folder_put(folder_file("f"), file, n);
        assert_null(checkpoint_open_file(*state, folder_file("f"), true, &err));
        assert_int_equal(err.code, ERR_FORMAT);
    }
    /* A file with a hole is long at no cost. */
    folder_put(folder_file("f"), "\x01\xe1\xf5\x05\0\0\0\0", 8); /* 100,000,001 */
    assert_int_equal(truncate(folder_file("f"), 200000000), 0);
    assert_null(checkpoint_open_file(*state, folder_file("f"), true, &err));
    assert_non_null(strstr(err.text, "at most 100,000,000 bytes"));

    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:4f\n";
    folder_put(folder_file("f"), pointer, sizeof pointer - 1);
    assert_null(checkpoint_open_file(*state, folder_file("f"), true, &err));
    assert_non_null(strstr(err.text, "git lfs pull"));
}

static void what_is_no_file(void **state)
{
    struct error err = {0};

    assert_null(checkpoint_open_file(*state, folder_file("none"), true, &err));
    assert_int_equal(err.code, ERR_FILE);
    assert_non_null(strstr(err.text, folder_file("none")));
    assert_null(checkpoint_open_file(*state, folder_path(), true, &err));
    assert_non_null(strstr(err.text, "it is a folder"));
    assert_int_equal(mkfifo(folder_file("pipe"), 0600), 0);
    alarm(20); /* a hang ends the test */
    assert_null(checkpoint_open_file(*state, folder_file("pipe"), true, &err));
    alarm(0);
    assert_non_null(strstr(err.text, "not a regular file"));
    assert_null(checkpoint_open_file(*state, "/dev/null", true, &err));
    assert_non_null(strstr(err.text, "not a regular file"));
}

#define SMALL "{\"__metadata__\":{\"a\":\"b\"}," F32_2("t", 0, 8) "," F32_2("u", 8, 16) "}"

static void every_cut_and_every_changed_byte_is_survived(void **state)
{
    struct ledger *l = *state;
    char file[1000];
    size_t n = build(file, SMALL, 16);
    struct error err = {0};

    for (size_t cut = 0; cut <= n; cut++) {
        folder_put(folder_file("f"), file, cut);
        struct checkpoint *c = checkpoint_open_file(l, folder_file("f"), true, &err);
        assert_int_equal(c != NULL, cut == n);
        checkpoint_close(c);
    }
    static const unsigned char bytes[] = {0,   1,   8,   0x7f, 0x80, 0xff, '"', '\\', '{', '}',
                                          '[', ']', ',', ':',  '0',  '9',  '-', '.',  'e', ' '};
    for (size_t i = 0; i < n - 16; i++)
        for (size_t b = 0; b < sizeof bytes; b++) {
            char was = file[i];
            file[i] = (char)bytes[b];
            folder_put(folder_file("f"), file, n);
            file[i] = was;
            err = (struct error){0};
            struct checkpoint *c = checkpoint_open_file(l, folder_file("f"), true, &err);
            assert_int_equal(c == NULL, err.code != ERR_NONE);
            if (c == NULL) {
                assert_non_null(strstr(err.text, folder_file("f")));
            } else { /* sound by another name: then all of it can be read */
                for (int k = 0; k < checkpoint_count(c); k++) {
                    const struct tensor *t = checkpoint_tensor(c, k);
                    char copy[16];
                    assert_true(t->bytes <= sizeof copy);
                    memcpy(copy, t->data, t->bytes);
                }
            }
            checkpoint_close(c);
            assert_int_equal(ledger_total(l), 0);
        }
}

static void no_memory_is_told_and_nothing_is_kept(void **state)
{
    struct ledger *l = *state;
    struct checkpoint *c = NULL;
    long n = 1;

    put_tensors(folder_file("one.safetensors"), "{" F32_2("t", 0, 8) "}", 8);
    put_tensors(folder_file("two.safetensors"), "{" F32_2("u", 0, 8) "}", 8);
    static const char index[] = "{\"metadata\":{\"total_size\":16},\"weight_map\":"
                                "{\"u\":\"two.safetensors\",\"t\":\"one.safetensors\"}}";
    folder_put(folder_file("model.safetensors.index.json"), index, sizeof index - 1);
    for (; c == NULL; n++) {
        struct error err = {0};
        ledger_fail_after(l, n);
        c = checkpoint_open_folder(l, folder_path(), true, &err);
        assert_int_equal(err.code, c == NULL ? ERR_MEMORY : ERR_NONE);
        if (c == NULL) {
            assert_int_equal(ledger_total(l), 0);
            assert_int_equal(ledger_now(l, MEM_WEIGHTS, MEM_MAPPED), 0);
        }
    }
    ledger_fail_after(l, 0);
    assert_true(n > 15);
    assert_int_equal(checkpoint_count(c), 2);
    checkpoint_close(c);
}

/* ---- folders ---- */

static void put_index(const char *json)
{
    folder_put(folder_file("model.safetensors.index.json"), json, strlen(json));
}

static void shards(void **state)
{
    struct ledger *l = *state;
    struct error err = {0};

    put_tensors(folder_file("a.safetensors"), "{" F32_2("x", 0, 8) "," F32_2("z", 8, 16) "}", 16);
    put_tensors(folder_file("b.safetensors"), "{" F32_2("y", 0, 8) "}", 8);
    put_index("{\"metadata\":{\"total_size\":1},\"weight_map\":{\"z\":\"a.safetensors\","
              "\"y\":\"b.safetensors\",\"x\":\"a.safetensors\"}}");
    for (int slash = 0; slash < 2; slash++) {
        struct checkpoint *c =
            checkpoint_open_folder(l, slash ? folder_file("") : folder_path(), true, &err);
        assert_string_equal(err.text, "");
        assert_non_null(c);
        assert_int_equal(checkpoint_count(c), 3);
        assert_int_equal(checkpoint_bytes(c), 24);
        assert_string_equal(checkpoint_find(c, "y")->file, folder_file("b.safetensors"));
        assert_string_equal(checkpoint_find(c, "z")->file, folder_file("a.safetensors"));
        assert_string_equal(checkpoint_file_at(checkpoint_find(c, "y")->data),
                            folder_file("b.safetensors"));
        assert_int_equal(((const char *)checkpoint_find(c, "z")->data)[0], 8);
        checkpoint_close(c);
    }
    /* The cache's layout: links to files elsewhere. */
    assert_int_equal(mkdir(folder_file("snapshot"), 0700), 0);
    assert_int_equal(symlink("../a.safetensors", folder_file("snapshot/model.safetensors")), 0);
    struct checkpoint *c = checkpoint_open_folder(l, folder_file("snapshot"), true, &err);
    assert_non_null(c);
    assert_int_equal(checkpoint_count(c), 2);
    checkpoint_close(c);
    /* The single file goes before the index. */
    put_tensors(folder_file("model.safetensors"), "{" F32_2("only", 0, 8) "}", 8);
    c = checkpoint_open_folder(l, folder_path(), true, &err);
    assert_int_equal(checkpoint_count(c), 1);
    checkpoint_close(c);
}

static void folders_gone_wrong(void **state)
{
    struct ledger *l = *state;
    static const struct {
        const char *index, *said;
    } bad[] = {
        {"", "index.json: is empty"},
        {"[]", "index.json: has no weight_map"},
        {"{}", "index.json: has no weight_map"},
        {"{\"weight_map\":{}}", "index.json: has no weight_map"},
        {"{\"weight_map\":[\"x\"]}", "index.json: has no weight_map"},
        {"{\"weight_map\":{\"x\":7}}", "tensor \"x\" is in \"(no string)\""},
        {"{\"weight_map\":{\"x\":\"\"}}", "tensor \"x\" is in \"\""},
        {"{\"weight_map\":{\"x\":\".\"}}", "is not the name of a file in that folder"},
        {"{\"weight_map\":{\"x\":\"..\"}}", "is not the name of a file in that folder"},
        {"{\"weight_map\":{\"x\":\"../a.safetensors\"}}", "\"../a.safetensors\", which is not"},
        {"{\"weight_map\":{\"x\":\"./a.safetensors\"}}", "is not the name of a file"},
        {"{\"weight_map\":{\"x\":\"/etc/passwd\"}}", "\"/etc/passwd\", which is not"},
        {"{\"weight_map\":{\"x\":\"sub/a.safetensors\"}}", "is not the name of a file"},
        {"{\"weight_map\":{\"x\":\"gone.safetensors\"}}", "gone.safetensors: No such file"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\",\"w\":\"a.safetensors\"}}",
         "tensor \"w\" should be in a.safetensors, and is not"},
        {"{\"weight_map\":{\"x\":\"b.safetensors\",\"z\":\"a.safetensors\"}}",
         "tensor \"x\" should be in b.safetensors, but is in"},
        {"{\"weight_map\":{\"x\":\"b.safetensors\"}}",
         "tensor \"x\" should be in b.safetensors, and is not"},
        {"{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"c.safetensors\"}}",
         "tensor \"x\": is also in"},
        {"{\"weight_map\":{\"x\":\"model.safetensors.index.json\"}}", "not in the safetensors"},
    };
    struct error err = {0};

    put_tensors(folder_file("a.safetensors"), "{" F32_2("x", 0, 8) "," F32_2("z", 8, 16) "}", 16);
    put_tensors(folder_file("b.safetensors"), "{" F32_2("y", 0, 8) "}", 8);
    put_tensors(folder_file("c.safetensors"), "{" F32_2("y", 0, 8) "," F32_2("x", 8, 16) "}", 16);
    assert_null(checkpoint_open_folder(l, folder_path(), true, &err));
    assert_int_equal(err.code, ERR_FILE);
    assert_non_null(strstr(err.text, "neither model.safetensors nor"));
    assert_null(checkpoint_open_folder(l, folder_file("none"), true, &err));
    assert_int_equal(err.code, ERR_FILE);
    assert_non_null(strstr(err.text, "none: No such file"));
    assert_null(checkpoint_open_folder(l, folder_file("a.safetensors"), true, &err));
    assert_non_null(strstr(err.text, "it is not a folder"));

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err = (struct error){0};
        put_index(bad[i].index);
        if (checkpoint_open_folder(l, folder_path(), true, &err) != NULL)
            fail_msg("passes: %s", bad[i].index);
        if (strstr(err.text, bad[i].said) == NULL || strstr(err.text, folder_path()) == NULL)
            fail_msg("%s\n  says: %s\n  not:  %s", bad[i].index, err.text, bad[i].said);
        assert_int_equal(ledger_total(l), 0);
        assert_int_equal(ledger_now(l, MEM_WEIGHTS, MEM_MAPPED), 0);
    }
    assert_int_equal(symlink("nowhere", folder_file("model.safetensors")), 0);
    assert_null(checkpoint_open_folder(l, folder_path(), true, &err));
    assert_non_null(strstr(err.text, "model.safetensors: No such file"));
}

static void ten_thousand_tensors_are_found(void **state)
{
    struct ledger *l = *state;
    struct text t;
    struct error err = {0};
    char name[40];
    int n = 12000;

    text_init(&t, l, MEM_OTHER);
    text_add_bytes(&t, "\0\0\0\0\0\0\0\0", 8);
    for (int i = 0; i < n; i++) {
        unsigned id = (unsigned)i * 7919u % (unsigned)n; /* in no order */
        text_printf(&t,
                    "%c\"layer.%u.w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":"
                    "[%u,%u]}",
                    i > 0 ? ',' : '{', id, id, id + 1);
    }
    text_add(&t, "}");
    for (int i = 0; i < 8; i++)
        t.data[i] = (char)((t.n - 8) >> (8 * i));
    for (int i = 0; i < n; i++)
        text_add_bytes(&t, &(char){(char)i}, 1);
    folder_put(folder_file("f"), t.data, t.n);
    text_fini(&t);
    struct checkpoint *c = checkpoint_open_file(l, folder_file("f"), true, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(checkpoint_count(c), n);
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "layer.%d.w", i);
        assert_int_equal(*(const char *)checkpoint_find(c, name)->data, (char)i);
    }
    checkpoint_close(c);
}

/* ---- a file that shrinks ---- */

static sigjmp_buf back;
static const char *volatile told;

static void tell_and_return(int signal_number, siginfo_t *info, void *context)
{
    (void)signal_number, (void)context;
    told = checkpoint_file_at(info->si_addr);
    siglongjmp(back, 1);
}

static void a_file_that_shrinks_is_named(void **state)
{
    struct sigaction action = {.sa_sigaction = tell_and_return, .sa_flags = SA_SIGINFO}, old;
    struct error err = {0};

    put_tensors(folder_file("f"),
                "{\"t\":{\"dtype\":\"U8\",\"shape\":[9000],\"data_offsets\":[0,9000]}}", 9000);
    struct checkpoint *c = checkpoint_open_file(*state, folder_file("f"), true, &err);
    assert_non_null(c);
    assert_int_equal(truncate(folder_file("f"), 100), 0);
    const volatile char *data = checkpoint_tensor(c, 0)->data;
    sigaction(SIGBUS, &action, &old);
    told = NULL;
    if (sigsetjmp(back, 1) == 0) {
        static volatile char sink; /* the read must not be dropped as useless */
        sink = data[8999];
        fail_msg("what is gone was read: %d", sink);
    }
    sigaction(SIGBUS, &old, NULL);
    assert_non_null(told);
    assert_string_equal(told, folder_file("f"));
    checkpoint_close(c);
}

static void many_at_once(void **state)
{
    static struct checkpoint *c[1500]; /* more than the registry has room for */
    struct error err = {0};

    put_tensors(folder_file("f"), "{" F32_2("t", 0, 8) "}", 8);
    for (int i = 0; i < 1500; i++) {
        c[i] = checkpoint_open_file(*state, folder_file("f"), true, &err);
        assert_non_null(c[i]);
    }
    assert_non_null(checkpoint_file_at(checkpoint_tensor(c[0], 0)->data));
    assert_null(checkpoint_file_at(checkpoint_tensor(c[1499], 0)->data));
    for (int i = 0; i < 1500; i++)
        checkpoint_close(c[i]);
    c[0] = checkpoint_open_file(*state, folder_file("f"), true, &err);
    assert_non_null(checkpoint_file_at(checkpoint_tensor(c[0], 0)->data));
    checkpoint_close(c[0]);
}

/* ---- writing ---- */

static void what_is_written_is_read_back(void **state)
{
    struct ledger *l = *state;
    struct error err = {0};
    struct tensor_spec specs[] = {
        {"blocks.0.hook_z", 3, {2, 3, 4}},
        {"scalar", 0, {0}},
        {"none", 2, {0, 5}},
        {"a \"quoted\" \xe2\x82\xac\t", 1, {7}},
    };
    float x[32];

    for (int i = 0; i < 32; i++)
        x[i] = (float)i * 0.37f;
    for (size_t step = 1; step <= 32; step += 5) {
        struct tensor_writer *w = tensor_writer_open(l, folder_file("w"), specs, 4, &err);
        assert_non_null(w);
        for (size_t i = 0; i < 32; i += step)
            assert_true(tensor_writer_add(w, x + i, 32 - i < step ? 32 - i : step, &err));
        assert_true(tensor_writer_commit(w, &err));
        assert_int_equal(folder_entries(), 1);
        struct checkpoint *c = checkpoint_open_file(l, folder_file("w"), true, &err);
        assert_string_equal(err.text, "");
        assert_int_equal(checkpoint_count(c), 4);
        size_t at = 0;
        for (int i = 0; i < 4; i++) {
            const struct tensor *t = checkpoint_find(c, specs[i].name);
            assert_non_null(t);
            assert_string_equal(t->type, "F32");
            assert_int_equal(t->n_dims, specs[i].n_dims);
            for (int d = 0; d < t->n_dims; d++)
                assert_int_equal(t->dims[d], specs[i].dims[d]);
            assert_memory_equal(t->data, x + at, t->bytes);
            assert_int_equal((uintptr_t)t->data % 4, 0);
            at += t->bytes / sizeof(float);
        }
        assert_int_equal(at, 32);
        checkpoint_close(c);
    }
    struct tensor_writer *w = tensor_writer_open(l, folder_file("w"), NULL, 0, &err);
    assert_true(tensor_writer_commit(w, &err));
    struct checkpoint *c = checkpoint_open_file(l, folder_file("w"), true, &err);
    assert_int_equal(checkpoint_count(c), 0);
    checkpoint_close(c);
}

static void writing_gone_wrong(void **state)
{
    struct ledger *l = *state;
    struct error err = {0};
    static const float x[50000];
    struct tensor_spec one[] = {{"t", 1, {5}}}, big[] = {{"t", 1, {50000}}};
    static const struct tensor_spec bad[][2] = {
        {{"t", 1, {1}}, {"t", 1, {2}}},         {{"t", 1, {1}}, {"__metadata__", 1, {2}}},
        {{"t", 1, {1}}, {"u", 9, {2}}},         {{"t", 1, {1}}, {"u", -1, {2}}},
        {{"t", 1, {1}}, {"u", 2, {2, -1}}},     {{"t", 1, {1}}, {"u", 2, {INT64_MAX, 3}}},
        {{"t", 1, {1}}, {"u", 1, {INT64_MAX}}},
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err = (struct error){0};
        assert_null(tensor_writer_open(l, folder_file("w"), bad[i], 2, &err));
        assert_int_equal(err.code, ERR_USAGE);
        assert_non_null(strstr(err.text, folder_file("w")));
        assert_int_equal(folder_entries(), 0);
    }
    struct tensor_writer *w = tensor_writer_open(l, folder_file("w"), one, 1, &err);
    assert_true(tensor_writer_add(w, x, 3, &err));
    assert_false(tensor_writer_add(w, x, 3, &err));
    assert_int_equal(err.code, ERR_STATE);
    assert_non_null(strstr(err.text, "1 more numbers came"));
    assert_false(tensor_writer_add(w, x, SIZE_MAX / 4, &err));
    assert_false(tensor_writer_commit(w, &err));
    assert_non_null(strstr(err.text, "of its 5 numbers only 3 came"));
    assert_int_equal(folder_entries(), 0);
    w = tensor_writer_open(l, folder_file("w"), one, 1, &err);
    tensor_writer_abandon(w);
    tensor_writer_abandon(NULL);
    assert_int_equal(folder_entries(), 0);

    assert_null(tensor_writer_open(l, folder_file("no/such"), one, 1, &err));
    assert_int_equal(err.code, ERR_FILE);
    w = tensor_writer_open(l, "/dev/full", one, 1, &err);
    assert_true(tensor_writer_add(w, x, 5, &err));
    assert_false(tensor_writer_commit(w, &err));
    assert_non_null(strstr(err.text, "/dev/full: No space left"));
    w = tensor_writer_open(l, "/dev/full", big, 1, &err);
    assert_false(tensor_writer_add(w, x, 50000, &err));
    assert_non_null(strstr(err.text, "/dev/full: No space left"));
    tensor_writer_abandon(w);

    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){.rlim_cur = 50000, .rlim_max = old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    w = tensor_writer_open(l, folder_file("w"), big, 1, &err);
    bool added = tensor_writer_add(w, x, 50000, &err);
    tensor_writer_abandon(w);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
    assert_false(added);
    assert_non_null(strstr(err.text, folder_file("w")));
    assert_int_equal(folder_entries(), 0);

    long n = 1;
    for (w = NULL; w == NULL; n++) {
        err = (struct error){0};
        ledger_fail_after(l, n);
        w = tensor_writer_open(l, folder_file("w"), one, 1, &err);
        if (w == NULL) {
            assert_int_equal(err.code, ERR_MEMORY);
            assert_int_equal(ledger_total(l), 0);
            assert_int_equal(folder_entries(), 0);
        }
    }
    assert_true(n > 4);
    tensor_writer_abandon(w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, folder_set_up, folder_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_sound_file),
        TEST(every_type),
        TEST(no_tensors_at_all),
        TEST(every_field_gone_wrong),
        TEST(the_header_s_length),
        TEST(what_is_no_file),
        TEST(every_cut_and_every_changed_byte_is_survived),
        TEST(no_memory_is_told_and_nothing_is_kept),
        TEST(shards),
        TEST(folders_gone_wrong),
        TEST(ten_thousand_tensors_are_found),
        TEST(a_file_that_shrinks_is_named),
        TEST(many_at_once),
        TEST(what_is_written_is_read_back),
        TEST(writing_gone_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
