/* tokenizer_vocab.c - strings and ids: the model's vocabulary and the added tokens.
 *
 * All strings lie one behind the other in one block, and a token is its place there. An added
 * token whose text the model has too is that token of the model, whatever id the file gives
 * it, as in Hugging Face; else it has the id that the file gives it.
 */
#include "engine/model/tokenizer_parts.h"

#include <string.h>

/* Ids index tables here and rows of the embedding: one far beyond the tokens there are is a
 * mistake that would only cost memory. */
#define FREE_IDS (1 << 20)

static uint32_t hash_of(const char *s, size_t n)
{
    uint64_t h = n * 0x9e3779b97f4a7c15u, word;

    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&word, s, 8);
        h = (h ^ word) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    word = 0;
    memcpy(&word, s, n);
    h = (h ^ word) * 0xff51afd7ed558ccdu;
    h ^= h >> 29;
    h *= 0xc4ceb9fe1a85ec53u;
    return (uint32_t)(h >> 32);
}

static bool equals(const struct tok_vocab *v, int32_t id, const char *s, size_t n)
{
    return v->tokens[id].n == n && memcmp(v->strings + v->tokens[id].at, s, n) == 0;
}

/* Where s is, or the free slot where it would be. */
static struct tok_slot *slot_of(const struct tok_vocab *v, const char *s, size_t n, uint32_t hash)
{
    for (uint32_t k = hash & v->mask;; k = (k + 1) & v->mask) {
        struct tok_slot *slot = &v->slots[k];
        if (slot->id < 0 || (slot->hash == hash && equals(v, slot->id, s, n)))
            return slot;
    }
}

int32_t tok_vocab_find(const struct tok_vocab *v, const char *s, size_t n)
{
    return slot_of(v, s, n, hash_of(s, n))->id;
}

void tok_vocab_fini(struct tok_vocab *v)
{
    mem_free(v->ledger, v->strings);
    mem_free(v->ledger, v->tokens);
    mem_free(v->ledger, v->flags);
    mem_free(v->ledger, v->slots);
    *v = (struct tok_vocab){.ledger = v->ledger};
}

/* ---- measuring: what the file has, before anything is allocated ---- */

struct measure {
    int64_t model, added, highest;
    size_t bytes;
};

static bool measure_model(const struct json *vocab, struct measure *m, struct error *err)
{
    char shown[TOK_SHOWN];
    int64_t id;

    if (!json_is_object(vocab))
        return error_set(err, ERR_FORMAT, "model.vocab: an object is expected");
    for (const struct json *j = json_first(vocab); j != NULL; j = json_next(j)) {
        if (!json_whole(j, 0, INT32_MAX, &id))
            return error_set(err, ERR_FORMAT,
                             "model.vocab: %s has no id (a whole number from 0 to %d)",
                             tok_shown(shown, json_key(j), strlen(json_key(j))), INT32_MAX);
        m->model++;
        m->bytes += strlen(json_key(j));
        m->highest = id > m->highest ? id : m->highest;
    }
    if (m->model == 0)
        return error_set(err, ERR_FORMAT, "model.vocab: it is empty");
    return true;
}

static bool measure_added(const struct json *added, struct measure *m, struct error *err)
{
    char shown[TOK_SHOWN];
    int64_t id;

    if (json_is_null(added))
        return true;
    if (!json_is_array(added))
        return error_set(err, ERR_FORMAT, "added_tokens: a list is expected");
    for (const struct json *j = json_first(added); j != NULL; j = json_next(j)) {
        const char *content = json_string(json_get(j, "content"));
        if (content == NULL)
            return error_set(err, ERR_FORMAT, "added_tokens[%lld].content: a string is expected",
                             (long long)m->added);
        if (!json_whole(json_get(j, "id"), 0, INT32_MAX, &id))
            return error_set(
                err, ERR_FORMAT, "added_tokens[%lld].id: %s has none (a whole number from 0 to %d)",
                (long long)m->added, tok_shown(shown, content, strlen(content)), INT32_MAX);
        m->added++;
        m->bytes += strlen(content);
        m->highest = id > m->highest ? id : m->highest;
    }
    return true;
}

static bool allocate(struct tok_vocab *v, const struct measure *m, struct error *err)
{
    uint32_t slots = 16;

    if (m->highest >= FREE_IDS + 16 * (m->model + m->added))
        return error_set(err, ERR_FORMAT, "the highest id is %lld, with only %lld tokens",
                         (long long)m->highest, (long long)(m->model + m->added));
    if (m->bytes > UINT32_MAX)
        return error_set(err, ERR_UNSUPPORTED, "the tokens' texts are longer than 4 GiB");
    while ((int64_t)slots < m->model + m->model / 2)
        slots *= 2;
    v->count = (int32_t)m->highest + 1;
    v->mask = slots - 1;
    v->strings = mem_alloc(v->ledger, MEM_TOKENIZER, m->bytes, err);
    v->tokens = mem_alloc_array(v->ledger, MEM_TOKENIZER, (size_t)v->count, sizeof *v->tokens, err);
    v->flags = mem_alloc(v->ledger, MEM_TOKENIZER, (size_t)v->count, err);
    v->slots = mem_alloc_array(v->ledger, MEM_TOKENIZER, slots, sizeof *v->slots, err);
    if (v->strings == NULL || v->tokens == NULL || v->flags == NULL || v->slots == NULL)
        return false;
    for (uint32_t i = 0; i < slots; i++)
        v->slots[i].id = -1;
    return true;
}

/* ---- filling ---- */

static bool put(struct tok_vocab *v, int32_t id, const char *s, size_t n, const char *where,
                struct error *err)
{
    char one[TOK_SHOWN], other[TOK_SHOWN];

    if (v->flags[id] & TOK_THERE)
        return error_set(err, ERR_FORMAT, "%s: id %d is given to %s and to %s", where, id,
                         tok_shown(one, v->strings + v->tokens[id].at, v->tokens[id].n),
                         tok_shown(other, s, n));
    memcpy(v->strings + v->n_strings, s, n);
    v->tokens[id] = (struct tok_token){.at = (uint32_t)v->n_strings, .n = (uint32_t)n};
    v->n_strings += n;
    v->flags[id] = TOK_THERE;
    return true;
}

static bool fill_model(struct tok_vocab *v, const struct json *vocab, struct error *err)
{
    char shown[TOK_SHOWN];

    for (const struct json *j = json_first(vocab); j != NULL; j = json_next(j)) {
        const char *s = json_key(j);
        size_t n = strlen(s);
        uint32_t hash = hash_of(s, n);
        int64_t id;
        json_whole(j, 0, INT32_MAX, &id);
        struct tok_slot *slot = slot_of(v, s, n, hash);
        if (slot->id >= 0)
            return error_set(err, ERR_FORMAT, "model.vocab: %s is there twice",
                             tok_shown(shown, s, n));
        if (!put(v, (int32_t)id, s, n, "model.vocab", err))
            return false;
        v->flags[id] |= TOK_MODEL;
        *slot = (struct tok_slot){.hash = hash, .id = (int32_t)id};
        v->model_count++;
    }
    return true;
}

static bool flag_of(const struct json *token, const char *key, uint8_t flag, uint8_t *flags,
                    struct error *err)
{
    const struct json *j = json_get(token, key);
    const char *content = json_string(json_get(token, "content"));
    char shown[TOK_SHOWN];

    if (!json_is_null(j) && !json_is_bool(j))
        return error_set(err, ERR_FORMAT, "added_tokens: %s of %s: true or false is expected", key,
                         tok_shown(shown, content, strlen(content)));
    if (json_true(j))
        *flags |= flag;
    return true;
}

static bool fill_added(struct tok_vocab *v, const struct json *added, struct error *err)
{
    for (const struct json *j = json_first(added); j != NULL; j = json_next(j)) {
        const char *s = json_string(json_get(j, "content"));
        size_t n = strlen(s);
        uint8_t flags = TOK_ADDED;
        int64_t id = tok_vocab_find(v, s, n);

        if (!flag_of(j, "special", TOK_SPECIAL, &flags, err) ||
            !flag_of(j, "single_word", TOK_SINGLE_WORD, &flags, err) ||
            !flag_of(j, "lstrip", TOK_LSTRIP, &flags, err) ||
            !flag_of(j, "rstrip", TOK_RSTRIP, &flags, err) ||
            !flag_of(j, "normalized", TOK_NORMALIZED, &flags, err))
            return false;
        if (n == 0) /* Hugging Face passes over it, and it could never be found */
            continue;
        if (id < 0) {
            json_whole(json_get(j, "id"), 0, INT32_MAX, &id);
            bool again = (v->flags[id] & TOK_ADDED) && equals(v, (int32_t)id, s, n);
            if (!again && !put(v, (int32_t)id, s, n, "added_tokens", err))
                return false;
        }
        v->flags[id] = (uint8_t)((v->flags[id] & (TOK_THERE | TOK_MODEL | TOK_SPECIAL)) | flags);
    }
    return true;
}

bool tok_vocab_load(struct tok_vocab *v, const struct json *vocab, const struct json *added,
                    struct error *err)
{
    struct measure m = {0};

    return measure_model(vocab, &m, err) && measure_added(added, &m, err) && allocate(v, &m, err) &&
           fill_model(v, vocab, err) && fill_added(v, added, err);
}
