/* fuzz_tokenizer.c - any bytes as tokenizer.json, NUL, then a text: never a crash, no id out of
 * range, nothing kept.
 */
#include "engine/model/tokenizer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM      (64 * 1024)
#define TEXT_ROOM 2048

static void must(bool so, const char *what)
{
    if (so)
        return;
    fprintf(stderr, "fuzz_tokenizer: %s\n", what);
    abort();
}

static void decode(const struct tokenizer *t, struct ledger *l, const int32_t *ids, int n)
{
    struct error err = {0};
    struct text out;

    text_init(&out, l, MEM_OTHER);
    for (int skip = 0; skip < 2; skip++) {
        text_clear(&out);
        if (!tokenizer_decode(t, ids, n, skip == 1, &out, &err))
            must(err.code != ERR_NONE && err.text[0] != '\0', "decoding fails without a word");
    }
    text_fini(&out);
}

static void encode(const struct tokenizer *t, struct ledger *l, const char *text, size_t n)
{
    for (int special = 0; special < 2; special++) {
        struct error err = {0};
        int32_t *ids;
        int count;
        if (!tokenizer_encode(t, text, n, special == 1, &ids, &count, &err)) {
            must(err.code != ERR_NONE && err.text[0] != '\0', "encoding fails without a word");
            continue;
        }
        for (int i = 0; i < count && special == 0; i++)
            must(ids[i] >= 0 && ids[i] < tokenizer_count(t), "an id out of range");
        decode(t, l, ids, count);
        mem_free(l, ids);
    }
}

/* A piece that is found stands for the same bytes. */
static void name(const struct tokenizer *t, struct ledger *l, int32_t id)
{
    struct text piece, other;

    text_init(&piece, l, MEM_OTHER);
    text_init(&other, l, MEM_OTHER);
    if (tokenizer_piece(t, id, &piece, NULL) && piece.n > 0) {
        int32_t found = tokenizer_find(t, piece.data, piece.n);
        must(found >= 0, "a piece is not found");
        must(tokenizer_piece(t, found, &other, NULL), "no piece");
        must(piece.n == other.n && memcmp(piece.data, other.data, piece.n) == 0,
             "the piece found is another");
    }
    text_fini(&piece);
    text_fini(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *json = (const char *)data;
    const char *end = size > 0 ? memchr(json, '\0', size) : NULL;
    size_t n = end != NULL ? (size_t)(end - json) : size;
    const char *text = end != NULL ? end + 1 : json;
    size_t n_text = end != NULL ? size - n - 1 : 0;
    struct error err = {0};

    if (size > ROOM)
        return 0;
    n_text = n_text < TEXT_ROOM ? n_text : TEXT_ROOM;
    struct ledger *l = ledger_open();
    must(l != NULL, "no memory");
    struct tokenizer *t = tokenizer_parse(l, json, n, "fuzz", &err);
    must((t == NULL) == (err.code != ERR_NONE && err.text[0] != '\0'), "failure without a word");
    if (t != NULL) {
        encode(t, l, text, n_text);
        for (int32_t id = -1; id < 20; id++)
            name(t, l, id);
    }
    tokenizer_close(t);
    must(ledger_close(l) == 0, "memory is kept");
    return 0;
}
