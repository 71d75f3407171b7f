/* tokenizer.c - text to ids and back: the way through the parts. */
#include "engine/model/tokenizer_parts.h"

#include <limits.h>
#include <string.h>

#define MAX_FILE ((size_t)512 << 20)

/* ---- passages ---- */

void tok_passage_init(struct tok_passage *p, struct ledger *l)
{
    *p = (struct tok_passage){.ledger = l};
    text_init(&p->bytes, l, MEM_TOKENIZER);
}

void tok_passage_fini(struct tok_passage *p)
{
    text_fini(&p->bytes);
    mem_free(p->ledger, p->cuts);
    p->cuts = NULL;
}

void tok_passage_clear(struct tok_passage *p)
{
    text_clear(&p->bytes);
    p->n = 0;
}

bool tok_passage_cut(struct tok_passage *p, size_t at, size_t n, int32_t id, bool head,
                     struct error *err)
{
    if (p->n == p->room) {
        size_t room = p->room == 0 ? 32 : p->room * 2;
        struct tok_cut *cuts =
            mem_resize(p->ledger, MEM_TOKENIZER, p->cuts, room * sizeof *cuts, err);
        if (cuts == NULL)
            return false;
        p->cuts = cuts;
        p->room = room;
    }
    p->cuts[p->n++] = (struct tok_cut){.at = at, .n = n, .id = id, .head = head};
    return true;
}

/* ---- opening ---- */

static bool check_version(const struct json *root, struct error *err)
{
    const struct json *version = json_get(root, "version");
    const char *s = json_string(version);
    char shown[TOK_SHOWN];

    if (!json_is_object(root))
        return error_set(err, ERR_FORMAT, "an object is expected");
    if (json_is_null(version) || (s != NULL && strcmp(s, "1.0") == 0))
        return true;
    return error_set(err, ERR_UNSUPPORTED, "version: %s where \"1.0\" is expected",
                     s == NULL ? "no string" : tok_shown(shown, s, strlen(s)));
}

static bool load(struct tokenizer *t, const struct json *root, struct error *err)
{
    const struct json *model = json_get(root, "model"), *added = json_get(root, "added_tokens");
    const char *type = json_string(json_get(model, "type"));

    if (!check_version(root, err))
        return false;
    if (!json_is_object(model))
        return error_set(err, ERR_FORMAT, "model: an object is expected");
    /* Named first: a Unigram's vocabulary is a list, and that is not what is wrong with it. */
    if (type != NULL && strcmp(type, "BPE") != 0 && strcmp(type, "WordLevel") != 0)
        return tok_model_load(&t->model, &t->vocab, model, err);
    return tok_vocab_load(&t->vocab, json_get(model, "vocab"), added, err) &&
           tok_model_load(&t->model, &t->vocab, model, err) && tok_steps_load(t, root, err) &&
           tok_added_load(t, added, err);
}

static struct tokenizer *build(struct ledger *l, const struct json_doc *doc, const char *name,
                               struct error *err)
{
    struct tokenizer *t = mem_alloc(l, MEM_TOKENIZER, sizeof *t, err);

    if (t != NULL) {
        t->ledger = t->vocab.ledger = l;
        if (load(t, json_root(doc), err))
            return t;
        tokenizer_close(t);
    }
    error_prefix(err, "%s", name);
    return NULL;
}

struct tokenizer *tokenizer_open(struct ledger *l, const char *path, struct error *err)
{
    struct json_doc *doc = json_read(l, MEM_TOKENIZER, path, MAX_FILE, err);

    if (doc == NULL)
        return NULL;
    struct tokenizer *t = build(l, doc, path, err);
    json_close(doc);
    return t;
}

struct tokenizer *tokenizer_parse(struct ledger *l, const char *json, size_t bytes,
                                  const char *name, struct error *err)
{
    struct json_doc *doc = json_parse(l, MEM_TOKENIZER, json, bytes, name, err);

    if (doc == NULL)
        return NULL;
    struct tokenizer *t = build(l, doc, name, err);
    json_close(doc);
    return t;
}

void tokenizer_close(struct tokenizer *t)
{
    struct ledger *l;

    if (t == NULL)
        return;
    l = t->ledger;
    tok_added_fini(t);
    tok_steps_fini(&t->normalizers, l);
    tok_steps_fini(&t->splitters, l);
    tok_steps_fini(&t->decoders, l);
    tok_model_fini(&t->model, l);
    tok_vocab_fini(&t->vocab);
    mem_free(l, t->template);
    mem_free(l, t);
}

int tokenizer_count(const struct tokenizer *t)
{
    return t->vocab.count;
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->vocab.count && (t->vocab.flags[id] & TOK_SPECIAL) != 0;
}

/* ---- encoding ---- */

/* What lies between the added tokens that are found in the raw text is normalized, and cut
 * again where the others stand in it. */
static bool normalize_all(const struct tokenizer *t, const struct tok_passage *from,
                          struct tok_passage *to, struct error *err)
{
    struct text piece;
    bool ok = true;

    text_init(&piece, t->ledger, MEM_TOKENIZER);
    tok_passage_clear(to);
    text_add(&to->bytes, ""); /* so that there is a place to point to */
    for (size_t i = 0; ok && i < from->n; i++) {
        const struct tok_cut *cut = &from->cuts[i];
        bool head = cut->head;
        size_t at = to->bytes.n;
        if (cut->id >= 0) {
            ok = tok_passage_cut(to, 0, 0, cut->id, false, err);
            continue;
        }
        text_clear(&piece);
        text_add(&piece, "");
        text_add_bytes(&piece, from->bytes.data + cut->at, cut->n);
        ok = text_ok(&piece, err) && tok_normalize(t, &piece, &head, err);
        if (!ok)
            break;
        text_add_bytes(&to->bytes, piece.data, piece.n);
        ok = text_ok(&to->bytes, err) &&
             tok_added_cut(t, &t->normalized, &to->bytes, at, piece.n, head, to, err);
    }
    text_fini(&piece);
    return ok;
}

/* The text cut into added tokens and words for the model. */
static bool prepare(const struct tokenizer *t, const char *text, size_t n, struct tok_passage *p,
                    struct tok_passage *spare, struct error *err)
{
    tok_add_valid(&spare->bytes, text, n);
    text_add(&spare->bytes, "");
    if (!text_ok(&spare->bytes, err))
        return false;
    /* The cuts of the raw text stand beside it, in the passage that has its bytes. */
    if (!tok_added_cut(t, &t->raw, &spare->bytes, 0, spare->bytes.n, true, spare, err) ||
        !normalize_all(t, spare, p, err))
        return false;
    for (int i = 0; i < t->splitters.n; i++)
        if (!tok_split(&t->splitters.items[i], p, spare, err))
            return false;
    return true;
}

static bool encode_words(const struct tokenizer *t, const struct tok_passage *p,
                         struct tok_ids *ids, struct error *err)
{
    struct tok_bpe work = {.ledger = t->ledger};
    bool ok = true;

    for (size_t i = 0; ok && i < p->n; i++) {
        const struct tok_cut *cut = &p->cuts[i];
        if (cut->id >= 0)
            ok = tok_ids_add(ids, cut->id, err);
        else
            ok = tok_model_encode(&t->model, &t->vocab, &work, p->bytes.data + cut->at, cut->n, ids,
                                  err);
    }
    tok_bpe_fini(&work);
    return ok;
}

/* Puts the text's ids into the template. */
static bool surround(const struct tokenizer *t, struct tok_ids *ids, struct error *err)
{
    struct tok_ids all = {.ledger = ids->ledger};
    bool ok = true;

    for (int i = 0; ok && i < t->n_template; i++) {
        if (t->template[i] >= 0)
            ok = tok_ids_add(&all, t->template[i], err);
        else
            for (size_t k = 0; ok && k < ids->n; k++)
                ok = tok_ids_add(&all, ids->items[k], err);
    }
    mem_free(ids->ledger, ids->items);
    *ids = all;
    return ok;
}

bool tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, bool special,
                      int32_t **ids, int *n_ids, struct error *err)
{
    struct tok_ids all = {.ledger = t->ledger};
    struct tok_passage p, spare;
    bool ok;

    tok_passage_init(&p, t->ledger);
    tok_passage_init(&spare, t->ledger);
    ok = prepare(t, text, n, &p, &spare, err) && encode_words(t, &p, &all, err);
    tok_passage_fini(&p);
    tok_passage_fini(&spare);
    if (ok && special && t->template != NULL)
        ok = surround(t, &all, err);
    if (ok && all.n > INT_MAX)
        ok = error_set(err, ERR_UNSUPPORTED, "the text has %zu tokens", all.n);
    if (ok && all.items == NULL) { /* no ids are a block too */
        all.items = mem_alloc(t->ledger, MEM_TOKENIZER, 0, err);
        ok = all.items != NULL;
    }
    if (!ok) {
        mem_free(t->ledger, all.items);
        return false;
    }
    *ids = all.items;
    *n_ids = (int)all.n;
    return true;
}

/* ---- decoding ---- */

static bool known(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->vocab.count && (t->vocab.flags[id] & TOK_THERE) != 0;
}

static bool gather(const struct tokenizer *t, const int32_t *ids, int n, bool skip_special,
                   struct tok_passage *p, struct error *err)
{
    text_add(&p->bytes, "");
    for (int i = 0; i < n; i++) {
        size_t at = p->bytes.n;
        if (!known(t, ids[i]) || (skip_special && tokenizer_is_special(t, ids[i])))
            continue;
        /* An added token of normalized text is spelled as there: the decoders undo it. */
        const struct tok_token *token = &t->vocab.tokens[ids[i]];
        const struct tok_word *folded = tok_added_folded(t, ids[i]);
        if (folded != NULL)
            text_add_bytes(&p->bytes, folded->s, folded->n);
        else
            text_add_bytes(&p->bytes, t->vocab.strings + token->at, token->n);
        if (!text_ok(&p->bytes, err) || !tok_passage_cut(p, at, p->bytes.n - at, -1, false, err))
            return false;
    }
    return true;
}

bool tokenizer_decode(const struct tokenizer *t, const int32_t *ids, int n, bool skip_special,
                      struct text *out, struct error *err)
{
    struct tok_passage p, spare;
    bool ok;

    tok_passage_init(&p, t->ledger);
    tok_passage_init(&spare, t->ledger);
    ok = gather(t, ids, n, skip_special, &p, err);
    for (int i = 0; ok && i < t->decoders.n; i++)
        ok = tok_decode_step(&t->decoders.items[i], &p, &spare, err);
    for (size_t i = 0; ok && i < p.n; i++) {
        if (i > 0 && !t->has_decoder)
            text_add(out, " ");
        text_add_bytes(out, p.bytes.data + p.cuts[i].at, p.cuts[i].n);
    }
    tok_passage_fini(&p);
    tok_passage_fini(&spare);
    return ok && text_ok(out, err);
}
