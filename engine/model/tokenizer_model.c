/* tokenizer_model.c - reads the model: its fields, and its merges into a table by pair. */
#include "engine/model/tokenizer_parts.h"

#include <stdio.h>
#include <string.h>

/* ---- merges ---- */

static uint32_t hash_pair(int32_t left, int32_t right)
{
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
    return (uint32_t)((h * 0xd6e8feb86659fd93u) >> 32);
}

static uint32_t *slot_of(const struct tok_model *m, int32_t left, int32_t right)
{
    for (uint32_t k = hash_pair(left, right) & m->mask;; k = (k + 1) & m->mask) {
        uint32_t *slot = &m->slots[k];
        if (*slot == 0 ||
            (m->merges[*slot - 1].left == left && m->merges[*slot - 1].right == right))
            return slot;
    }
}

const struct tok_merge *tok_model_merge(const struct tok_model *m, int32_t left, int32_t right)
{
    uint32_t slot = m->slots == NULL ? 0 : *slot_of(m, left, right);
    return slot == 0 ? NULL : &m->merges[slot - 1];
}

static bool bad_merge(uint32_t i, const char *s, size_t n, struct error *err)
{
    char shown[TOK_SHOWN];
    return error_set(err, ERR_FORMAT, "model.merges[%u]: %s is not in the vocabulary", i,
                     tok_shown(shown, s, n));
}

/* Reads "a b" or ["a", "b"]. */
static bool read_pair(const struct json *j, uint32_t i, const char *side[2], size_t n[2],
                      struct error *err)
{
    const char *s = json_string(j);
    char shown[TOK_SHOWN];

    if (s != NULL) {
        const char *space = strchr(s, ' ');
        if (space == NULL || strchr(space + 1, ' ') != NULL)
            return error_set(err, ERR_FORMAT,
                             "model.merges[%u]: %s is not two tokens with a space between", i,
                             tok_shown(shown, s, strlen(s)));
        side[0] = s;
        n[0] = (size_t)(space - s);
        side[1] = space + 1;
        n[1] = strlen(side[1]);
        return true;
    }
    const struct json *first = json_is_array(j) ? json_first(j) : NULL;
    const struct json *second = json_next(first);
    side[0] = json_string(first);
    side[1] = json_string(second);
    if (side[0] == NULL || side[1] == NULL || json_next(second) != NULL)
        return error_set(err, ERR_FORMAT, "model.merges[%u]: \"a b\" or [\"a\", \"b\"] is expected",
                         i);
    n[0] = strlen(side[0]);
    n[1] = strlen(side[1]);
    return true;
}

static bool read_merge(const struct tok_model *m, const struct tok_vocab *v, const struct json *j,
                       uint32_t i, struct tok_merge *merge, struct error *err)
{
    const char *side[2] = {0};
    size_t n[2] = {0}, skip = strlen(m->prefix);
    char room[256], *joined = room;

    if (!read_pair(j, i, side, n, err))
        return false;
    merge->left = tok_vocab_find(v, side[0], n[0]);
    merge->right = tok_vocab_find(v, side[1], n[1]);
    if (merge->left < 0 || merge->right < 0) {
        int k = merge->left >= 0;
        return bad_merge(i, side[k], n[k], err);
    }
    if (n[1] < skip)
        return error_set(err, ERR_FORMAT,
                         "model.merges[%u]: the second token is shorter than "
                         "model.continuing_subword_prefix",
                         i);
    size_t rest = n[1] - skip;
    if (n[0] + rest > sizeof room) {
        joined = mem_alloc(v->ledger, MEM_TOKENIZER, n[0] + rest, err);
        if (joined == NULL)
            return false;
    }
    for (size_t k = 0; k < n[0]; k++) /* (short; and an empty text may have no place) */
        joined[k] = side[0][k];
    for (size_t k = 0; k < rest; k++)
        joined[n[0] + k] = side[1][skip + k];
    merge->result = tok_vocab_find(v, joined, n[0] + rest);
    if (merge->result < 0)
        bad_merge(i, joined, n[0] + rest, err);
    if (joined != room)
        mem_free(v->ledger, joined);
    return merge->result >= 0;
}

static bool load_merges(struct tok_model *m, const struct tok_vocab *v, const struct json *merges,
                        struct error *err)
{
    size_t n = json_count(merges);
    uint32_t slots = 16;

    if (!json_is_array(merges))
        return error_set(err, ERR_FORMAT, "model.merges: a list is expected");
    if (n > INT32_MAX / 2)
        return error_set(err, ERR_UNSUPPORTED, "model.merges: there are %zu", n);
    while (slots < n + n / 2)
        slots *= 2;
    m->mask = slots - 1;
    m->merges = mem_alloc_array(v->ledger, MEM_TOKENIZER, n, sizeof *m->merges, err);
    m->slots = mem_alloc_array(v->ledger, MEM_TOKENIZER, slots, sizeof *m->slots, err);
    if (m->merges == NULL || m->slots == NULL)
        return false;
    for (const struct json *j = json_first(merges); j != NULL; j = json_next(j)) {
        const char *s = json_string(j);
        if (s != NULL && strncmp(s, "#version", 8) == 0)
            continue;
        struct tok_merge *merge = &m->merges[m->n_merges];
        if (!read_merge(m, v, j, m->n_merges, merge, err))
            return false;
        *slot_of(m, merge->left, merge->right) = ++m->n_merges; /* of two, the later counts */
    }
    return true;
}

/* ---- loading ---- */

static bool load_flag(const struct json *model, const char *key, bool *flag, struct error *err)
{
    const struct json *j = json_get(model, key);

    if (!json_is_null(j) && !json_is_bool(j))
        return error_set(err, ERR_FORMAT, "model.%s: true or false is expected", key);
    *flag = json_true(j);
    return true;
}

static bool load_string(const struct json *model, const char *key, struct ledger *l, char **s,
                        struct error *err)
{
    const struct json *j = json_get(model, key);

    if (!json_is_null(j) && !json_is_string(j))
        return error_set(err, ERR_FORMAT, "model.%s: a string is expected", key);
    *s = mem_strdup(l, MEM_TOKENIZER, json_is_null(j) ? "" : json_string(j), err);
    return *s != NULL;
}

static bool check_dropout(const struct json *model, struct error *err)
{
    const struct json *j = json_get(model, "dropout");

    if (json_is_null(j) || (json_is_number(j) && json_number(j) == 0))
        return true;
    return error_set(err, ERR_UNSUPPORTED,
                     "model.dropout: with it one text has many tokenizations; null is expected");
}

static bool load_affixes(struct tok_model *m, struct error *err)
{
    if (strlen(m->prefix) > TOK_MAX_AFFIX || strlen(m->suffix) > TOK_MAX_AFFIX)
        return error_set(err, ERR_UNSUPPORTED,
                         "model.continuing_subword_prefix and model.end_of_word_suffix: longer "
                         "than %d bytes",
                         TOK_MAX_AFFIX);
    return true;
}

bool tok_model_load(struct tok_model *m, const struct tok_vocab *v, const struct json *model,
                    struct error *err)
{
    const struct json *kind = json_get(model, "type");
    const char *type = json_is_null(kind) ? "BPE" : json_string(kind);

    char shown[TOK_SHOWN];

    if (type == NULL)
        return error_set(err, ERR_FORMAT, "model.type: a string is expected");
    if (strcmp(type, "BPE") != 0 && strcmp(type, "WordLevel") != 0)
        return error_set(err, ERR_UNSUPPORTED, "model.type: %s is not known; BPE and WordLevel are",
                         tok_shown(shown, type, strlen(type)));
    m->is_bpe = strcmp(type, "BPE") == 0;
    m->has_unk = !json_is_null(json_get(model, "unk_token"));
    if (!load_string(model, "unk_token", v->ledger, &m->unk, err))
        return false;
    m->unk_id = m->has_unk ? tok_vocab_find(v, m->unk, strlen(m->unk)) : -1;
    if (!m->is_bpe)
        return true;
    for (int b = 0; b < 256; b++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)b);
        m->bytes[b] = tok_vocab_find(v, name, 6);
    }
    return check_dropout(model, err) && load_flag(model, "fuse_unk", &m->fuse_unk, err) &&
           load_flag(model, "byte_fallback", &m->byte_fallback, err) &&
           load_flag(model, "ignore_merges", &m->ignore_merges, err) &&
           load_string(model, "continuing_subword_prefix", v->ledger, &m->prefix, err) &&
           load_string(model, "end_of_word_suffix", v->ledger, &m->suffix, err) &&
           load_affixes(m, err) && load_merges(m, v, json_get(model, "merges"), err);
}

void tok_model_fini(struct tok_model *m, struct ledger *l)
{
    mem_free(l, m->unk);
    mem_free(l, m->prefix);
    mem_free(l, m->suffix);
    mem_free(l, m->merges);
    mem_free(l, m->slots);
    *m = (struct tok_model){0};
}
