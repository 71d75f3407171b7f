/* tokenizer_steps.c - normalizer, pre_tokenizer, decoder and post_processor out of the file.
 *
 * Sequences, nested or not, become one list of steps: their order is all they mean.
 */
#include "engine/model/tokenizer_parts.h"

#include <stdio.h>
#include <string.h>

#define MAX_STEPS 256
#define MAX_DEPTH 16

/* What GPT-2 cuts its text with. */
static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

struct loading {
    struct ledger *ledger;
    const char *where; /* "normalizer" */
    struct error *err;
};

static bool expected(const struct loading *in, const char *key, const char *what)
{
    return error_set(in->err, ERR_FORMAT, "%s: %s: %s is expected", in->where, key, what);
}

/* ---- fields ---- */

static bool get_flag(const struct loading *in, const struct json *j, const char *key, bool fallback,
                     bool *flag)
{
    const struct json *value = json_get(j, key);

    *flag = json_is_null(value) ? fallback : json_true(value);
    return json_is_null(value) || json_is_bool(value) || expected(in, key, "true or false");
}

static bool get_string(const struct loading *in, const struct json *j, const char *key,
                       struct tok_step *s)
{
    const char *value = json_string(json_get(j, key));

    if (value == NULL)
        return expected(in, key, "a string");
    s->content = mem_strdup(in->ledger, MEM_TOKENIZER, value, in->err);
    return s->content != NULL;
}

static bool get_character(const struct loading *in, const struct json *j, const char *key,
                          struct tok_step *s)
{
    const char *value = json_string(json_get(j, key));
    size_t n = value == NULL ? 0 : strlen(value);

    if (n == 0 || tok_char(value, n, &s->character) != n)
        return expected(in, key, "one character");
    return true;
}

/* {"String": "..."} or {"Regex": "..."}; older files have the bare string. */
static bool get_pattern(const struct loading *in, const struct json *j, struct tok_step *s)
{
    const struct json *pattern = json_get(j, "pattern");
    const char *regex = json_string(json_get(pattern, "Regex"));
    const char *plain = json_string(json_get(pattern, "String"));

    if (plain == NULL)
        plain = json_string(pattern);
    if (regex == NULL && plain == NULL)
        return expected(in, "pattern", "{\"String\": ...} or {\"Regex\": ...}");
    s->regex = tok_regex_open(in->ledger, regex != NULL ? regex : plain, regex == NULL, in->where,
                              in->err);
    return s->regex != NULL;
}

static bool get_behavior(const struct loading *in, const struct json *j, bool needed,
                         struct tok_step *s)
{
    static const char *const names[] = {[TOK_REMOVED] = "Removed",
                                        [TOK_ISOLATED] = "Isolated",
                                        [TOK_WITH_PREVIOUS] = "MergedWithPrevious",
                                        [TOK_WITH_NEXT] = "MergedWithNext",
                                        [TOK_CONTIGUOUS] = "Contiguous"};
    const struct json *value = json_get(j, "behavior");
    const char *name = json_string(value);

    s->behavior = TOK_ISOLATED;
    if (json_is_null(value) && !needed)
        return true;
    for (size_t i = 0; name != NULL && i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0) {
            s->behavior = (enum tok_behavior)i;
            return true;
        }
    return expected(in, "behavior",
                    "Removed, Isolated, MergedWithPrevious, MergedWithNext or "
                    "Contiguous");
}

static bool get_metaspace(const struct loading *in, const struct json *j, struct tok_step *s)
{
    const struct json *scheme = json_get(j, "prepend_scheme");
    const char *name = json_string(scheme);

    s->kind = TOK_METASPACE;
    /* Files from before prepend_scheme have only this. */
    if (!get_character(in, j, "replacement", s) || !get_flag(in, j, "split", true, &s->split) ||
        !get_flag(in, j, "add_prefix_space", true, &s->prefix_space))
        return false;
    s->scheme = s->prefix_space ? TOK_ALWAYS : TOK_NEVER;
    if (json_is_null(scheme))
        return true;
    if (name != NULL && strcmp(name, "always") == 0)
        s->scheme = TOK_ALWAYS;
    else if (name != NULL && strcmp(name, "first") == 0)
        s->scheme = TOK_FIRST;
    else if (name != NULL && strcmp(name, "never") == 0)
        s->scheme = TOK_NEVER;
    else
        return expected(in, "prepend_scheme", "always, first or never");
    return true;
}

static bool get_count(const struct loading *in, const struct json *j, const char *key, int64_t *n)
{
    return json_whole(json_get(j, key), 0, INT32_MAX, n) || expected(in, key, "a whole number");
}

/* ---- kinds ---- */

/* Each reads one step of its list. *known stays false for a type it does not know. */
typedef bool (*step_reader)(const struct loading *in, const char *type, const struct json *j,
                            struct tok_step *s, bool *known);

static bool read_normalizer(const struct loading *in, const char *type, const struct json *j,
                            struct tok_step *s, bool *known)
{
    static const struct {
        const char *type;
        enum tok_step_kind kind;
        enum tok_form form;
    } plain[] = {{"NFC", TOK_UNICODE, TOK_NFC},
                 {"NFD", TOK_UNICODE, TOK_NFD},
                 {"NFKC", TOK_UNICODE, TOK_NFKC},
                 {"NFKD", TOK_UNICODE, TOK_NFKD},
                 {"Lowercase", TOK_LOWERCASE, 0},
                 {"StripAccents", TOK_STRIP_ACCENTS, 0},
                 {"Nmt", TOK_NMT, 0},
                 {"ByteLevel", TOK_BYTE_LEVEL, 0}};

    *known = true;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (strcmp(type, plain[i].type) == 0) {
            s->kind = plain[i].kind;
            s->form = plain[i].form;
            return true;
        }
    if (strcmp(type, "Strip") == 0) {
        s->kind = TOK_STRIP;
        return get_flag(in, j, "strip_left", true, &s->left) &&
               get_flag(in, j, "strip_right", true, &s->right);
    }
    if (strcmp(type, "Replace") == 0) {
        s->kind = TOK_REPLACE;
        return get_pattern(in, j, s) && get_string(in, j, "content", s);
    }
    if (strcmp(type, "Prepend") == 0) {
        s->kind = TOK_PREPEND;
        return get_string(in, j, "prepend", s);
    }
    *known = false;
    return true;
}

static bool read_byte_level(const struct loading *in, const struct json *j, struct tok_step *s)
{
    bool cut;

    s->kind = TOK_BYTE_LEVEL;
    if (!get_flag(in, j, "add_prefix_space", true, &s->prefix_space) ||
        !get_flag(in, j, "use_regex", true, &cut))
        return false;
    if (cut)
        s->regex = tok_regex_open(in->ledger, gpt2_pattern, false, in->where, in->err);
    return !cut || s->regex != NULL;
}

static bool read_splitter(const struct loading *in, const char *type, const struct json *j,
                          struct tok_step *s, bool *known)
{
    bool individual;

    *known = true;
    if (strcmp(type, "ByteLevel") == 0)
        return read_byte_level(in, j, s);
    if (strcmp(type, "Metaspace") == 0)
        return get_metaspace(in, j, s);
    if (strcmp(type, "Split") == 0) {
        s->kind = TOK_SPLIT;
        return get_pattern(in, j, s) && get_behavior(in, j, true, s) &&
               get_flag(in, j, "invert", false, &s->invert);
    }
    if (strcmp(type, "Digits") == 0) {
        s->kind = TOK_DIGITS;
        if (!get_flag(in, j, "individual_digits", false, &individual))
            return false;
        s->behavior = individual ? TOK_ISOLATED : TOK_CONTIGUOUS;
        return true;
    }
    if (strcmp(type, "Punctuation") == 0) {
        s->kind = TOK_PUNCTUATION;
        return get_behavior(in, j, false, s);
    }
    if (strcmp(type, "CharDelimiterSplit") == 0) {
        s->kind = TOK_DELIMITER;
        s->behavior = TOK_REMOVED;
        return get_character(in, j, "delimiter", s);
    }
    if (strcmp(type, "Whitespace") == 0) {
        s->kind = TOK_WHITESPACE;
        return true;
    }
    /* BertPreTokenizer is this and then Punctuation: see read_step(). */
    if (strcmp(type, "WhitespaceSplit") == 0 || strcmp(type, "BertPreTokenizer") == 0) {
        s->kind = TOK_WHITESPACE_SPLIT;
        s->behavior = TOK_REMOVED;
        return true;
    }
    *known = false;
    return true;
}

static bool read_decoder(const struct loading *in, const char *type, const struct json *j,
                         struct tok_step *s, bool *known)
{
    *known = true;
    if (strcmp(type, "ByteLevel") == 0) {
        s->kind = TOK_BYTE_LEVEL;
        return true;
    }
    if (strcmp(type, "ByteFallback") == 0) {
        s->kind = TOK_BYTE_FALLBACK;
        return true;
    }
    if (strcmp(type, "Fuse") == 0) {
        s->kind = TOK_FUSE;
        return true;
    }
    if (strcmp(type, "Metaspace") == 0)
        return get_metaspace(in, j, s);
    if (strcmp(type, "Replace") == 0) {
        s->kind = TOK_REPLACE;
        return get_pattern(in, j, s) && get_string(in, j, "content", s);
    }
    if (strcmp(type, "Strip") == 0) {
        s->kind = TOK_STRIP_ENDS;
        return get_character(in, j, "content", s) && get_count(in, j, "start", &s->start) &&
               get_count(in, j, "stop", &s->stop);
    }
    if (strcmp(type, "BPEDecoder") == 0) {
        s->kind = TOK_BPE_SUFFIX;
        return get_string(in, j, "suffix", s);
    }
    *known = false;
    return true;
}

/* ---- lists ---- */

static bool unknown(const struct loading *in, const char *type)
{
    char shown[TOK_SHOWN];
    return error_set(in->err, ERR_UNSUPPORTED, "%s: the type %s is not known", in->where,
                     tok_shown(shown, type, strlen(type)));
}

/* A step more, all zero; NULL and the error if that is not possible. */
static struct tok_step *append(const struct loading *in, struct tok_steps *steps)
{
    if (steps->n == MAX_STEPS) {
        error_set(in->err, ERR_UNSUPPORTED, "%s: more than %d steps", in->where, MAX_STEPS);
        return NULL;
    }
    if ((steps->n & (steps->n - 1)) == 0) { /* doubled at each power of two */
        size_t room = steps->n == 0 ? 1 : 2 * (size_t)steps->n;
        struct tok_step *items =
            mem_resize(in->ledger, MEM_TOKENIZER, steps->items, room * sizeof *items, in->err);
        if (items == NULL)
            return NULL;
        steps->items = items;
    }
    struct tok_step *s = &steps->items[steps->n++];
    *s = (struct tok_step){0};
    return s;
}

static bool read_steps(const struct loading *in, const struct json *j, const char *list,
                       step_reader reader, int depth, struct tok_steps *steps)
{
    const char *type = json_string(json_get(j, "type"));
    struct tok_step *s;
    bool known = false;

    if (json_is_null(j))
        return true;
    if (type == NULL)
        return expected(in, "type", "a string");
    if (strcmp(type, "Sequence") == 0) {
        const struct json *items = json_get(j, list);
        if (!json_is_array(items))
            return expected(in, list, "a list");
        if (depth == MAX_DEPTH)
            return error_set(in->err, ERR_UNSUPPORTED, "%s: sequences nested too deep", in->where);
        for (const struct json *k = json_first(items); k != NULL; k = json_next(k))
            if (!read_steps(in, k, list, reader, depth + 1, steps))
                return false;
        return true;
    }
    s = append(in, steps);
    if (s == NULL || !reader(in, type, j, s, &known))
        return false;
    if (!known)
        return unknown(in, type);
    if (strcmp(type, "BertPreTokenizer") == 0) {
        s = append(in, steps);
        if (s == NULL)
            return false;
        s->kind = TOK_PUNCTUATION;
        s->behavior = TOK_ISOLATED;
    }
    return true;
}

void tok_steps_fini(struct tok_steps *s, struct ledger *l)
{
    for (int i = 0; i < s->n; i++) {
        mem_free(l, s->items[i].content);
        tok_regex_close(s->items[i].regex);
    }
    mem_free(l, s->items);
    *s = (struct tok_steps){0};
}

/* ---- the post-processor ---- */

static bool set_template(const struct loading *in, struct tokenizer *t, const struct tok_ids *ids)
{
    if (t->template != NULL)
        return error_set(in->err, ERR_UNSUPPORTED, "%s: two parts of it add tokens", in->where);
    t->template = ids->items;
    t->n_template = (int)ids->n;
    return true;
}

/* Adds the ids that a template's special token stands for. */
static bool add_special(const struct loading *in, const struct json *table, const char *name,
                        struct tok_ids *ids)
{
    const struct json *list = json_get(json_get(table, name), "ids");
    char shown[TOK_SHOWN];
    int64_t id;

    if (!json_is_array(list))
        return error_set(in->err, ERR_FORMAT, "%s: special_tokens has no ids for %s", in->where,
                         tok_shown(shown, name, strlen(name)));
    for (const struct json *j = json_first(list); j != NULL; j = json_next(j)) {
        if (!json_whole(j, 0, INT32_MAX, &id))
            return expected(in, "special_tokens", "a whole number");
        if (!tok_ids_add(ids, (int32_t)id, in->err))
            return false;
    }
    return true;
}

static bool read_template(const struct loading *in, const struct json *j, struct tok_ids *ids)
{
    const struct json *single = json_get(j, "single");

    if (!json_is_array(single))
        return expected(in, "single", "a list");
    for (const struct json *k = json_first(single); k != NULL; k = json_next(k)) {
        const char *special = json_string(json_get(json_get(k, "SpecialToken"), "id"));
        const char *sequence = json_string(json_get(json_get(k, "Sequence"), "id"));
        if (special != NULL) {
            if (!add_special(in, json_get(j, "special_tokens"), special, ids))
                return false;
        } else if (sequence == NULL || strcmp(sequence, "A") != 0) {
            return expected(in, "single", "a SpecialToken or the Sequence A");
        } else if (!tok_ids_add(ids, -1, in->err)) {
            return false;
        }
    }
    return true;
}

/* ["</s>", 2] */
static bool read_named_id(const struct loading *in, const struct json *j, const char *key,
                          struct tok_ids *ids)
{
    const struct json *pair = json_get(j, key);
    int64_t id;

    if (!json_is_array(pair) || !json_whole(json_next(json_first(pair)), 0, INT32_MAX, &id))
        return expected(in, key, "a token and its id");
    return tok_ids_add(ids, (int32_t)id, in->err);
}

static bool read_processor(const struct loading *in, struct tokenizer *t, const struct json *j,
                           int depth)
{
    const char *type = json_string(json_get(j, "type"));
    struct tok_ids ids = {.ledger = in->ledger};
    bool ok;

    if (json_is_null(j))
        return true;
    if (type == NULL)
        return expected(in, "type", "a string");
    if (strcmp(type, "ByteLevel") == 0) /* it only trims offsets */
        return true;
    if (strcmp(type, "Sequence") == 0) {
        const struct json *items = json_get(j, "processors");
        if (!json_is_array(items))
            return expected(in, "processors", "a list");
        if (depth == MAX_DEPTH)
            return error_set(in->err, ERR_UNSUPPORTED, "%s: sequences nested too deep", in->where);
        for (const struct json *k = json_first(items); k != NULL; k = json_next(k))
            if (!read_processor(in, t, k, depth + 1))
                return false;
        return true;
    }
    if (strcmp(type, "TemplateProcessing") == 0)
        ok = read_template(in, j, &ids);
    else if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)
        ok = read_named_id(in, j, "cls", &ids) && tok_ids_add(&ids, -1, in->err) &&
             read_named_id(in, j, "sep", &ids);
    else
        ok = unknown(in, type);
    if (ok && ids.items != NULL)
        ok = set_template(in, t, &ids);
    if (!ok)
        mem_free(in->ledger, ids.items);
    return ok;
}

bool tok_steps_load(struct tokenizer *t, const struct json *root, struct error *err)
{
    struct loading in = {.ledger = t->ledger, .err = err};

    in.where = "normalizer";
    if (!read_steps(&in, json_get(root, in.where), "normalizers", read_normalizer, 0,
                    &t->normalizers))
        return false;
    in.where = "pre_tokenizer";
    if (!read_steps(&in, json_get(root, in.where), "pretokenizers", read_splitter, 0,
                    &t->splitters))
        return false;
    in.where = "decoder";
    t->has_decoder = !json_is_null(json_get(root, in.where));
    if (!read_steps(&in, json_get(root, in.where), "decoders", read_decoder, 0, &t->decoders))
        return false;
    in.where = "post_processor";
    return read_processor(&in, t, json_get(root, in.where), 0);
}
