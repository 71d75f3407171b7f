/* tokenizer_piece.c - one token as the bytes it stands for, and the way back.
 *
 * A piece is what the token gives in the middle of a text: the decoders are asked, but for
 * those that look at the whole (Fuse, Strip) and the rule for a first token.
 */
#include "engine/model/tokenizer_parts.h"

#include <stdio.h>
#include <string.h>

static const struct tok_step *find_step(const struct tok_steps *s, enum tok_step_kind kind)
{
    for (int i = 0; i < s->n; i++)
        if (s->items[i].kind == kind)
            return &s->items[i];
    return NULL;
}

/* The step that says how spaces and bytes are spelled: of the decoders, or, where there are
 * none, of what is done to the text. */
static const struct tok_step *speller(const struct tokenizer *t, enum tok_step_kind kind)
{
    const struct tok_step *s = find_step(&t->decoders, kind);

    if (s == NULL && !t->has_decoder)
        s = find_step(&t->splitters, kind);
    if (s == NULL && !t->has_decoder && kind == TOK_BYTE_LEVEL)
        s = find_step(&t->normalizers, kind);
    return s;
}

/* True, and the bytes, if every character of s stands for one. */
static bool add_bytes(struct text *out, const char *s, size_t n)
{
    int32_t c;

    for (size_t i = 0; i < n;) {
        i += tok_char(s + i, n - i, &c);
        if (tok_to_byte(c) < 0)
            return false;
    }
    for (size_t i = 0; i < n;) {
        i += tok_char(s + i, n - i, &c);
        text_add_bytes(out, &(char){(char)tok_to_byte(c)}, 1);
    }
    return true;
}

static void add_spaced(struct text *out, const char *s, size_t n, int32_t character)
{
    for (size_t i = 0, step; i < n; i += step) {
        int32_t c;
        step = tok_char(s + i, n - i, &c);
        if (c == character)
            text_add(out, " ");
        else
            text_add_bytes(out, s + i, step);
    }
}

static bool replace_one(const struct tok_step *s, struct text *piece, struct text *spare,
                        struct error *err)
{
    struct tok_search search;
    struct text swap;

    text_clear(spare);
    if (!tok_search_init(&search, s->regex, err))
        return false;
    bool ok = tok_replace(&search, piece->data, piece->n, s->content, spare, err);
    tok_search_fini(&search);
    swap = *piece;
    *piece = *spare;
    *spare = swap;
    return ok;
}

static bool add_by_replacing(const struct tokenizer *t, const char *s, size_t n, struct text *out,
                             struct error *err)
{
    struct text piece, spare;
    bool ok;

    text_init(&piece, t->ledger, MEM_TOKENIZER);
    text_init(&spare, t->ledger, MEM_TOKENIZER);
    text_add_bytes(&piece, s, n);
    ok = text_ok(&piece, err);
    for (int i = 0; ok && i < t->decoders.n; i++) {
        const struct tok_step *step = &t->decoders.items[i];
        if (step->kind == TOK_REPLACE)
            ok = replace_one(step, &piece, &spare, err);
    }
    if (ok)
        text_add_bytes(out, piece.data, piece.n);
    text_fini(&piece);
    text_fini(&spare);
    return ok && text_ok(out, err);
}

bool tokenizer_piece(const struct tokenizer *t, int32_t id, struct text *out, struct error *err)
{
    const struct tok_step *metaspace = speller(t, TOK_METASPACE);

    if (id < 0 || id >= t->vocab.count || !(t->vocab.flags[id] & TOK_THERE))
        return text_ok(out, err);
    const char *s = t->vocab.strings + t->vocab.tokens[id].at;
    size_t n = t->vocab.tokens[id].n;
    int byte = tok_fallback_byte(s, n);
    if (t->vocab.flags[id] & TOK_SPECIAL)
        text_add_bytes(out, s, n);
    else if (speller(t, TOK_BYTE_LEVEL) != NULL && add_bytes(out, s, n))
        return text_ok(out, err);
    else if (byte >= 0 && (t->model.byte_fallback || speller(t, TOK_BYTE_FALLBACK) != NULL))
        text_add_bytes(out, &(char){(char)byte}, 1);
    else if (metaspace != NULL)
        add_spaced(out, s, n, metaspace->character);
    else if (find_step(&t->decoders, TOK_REPLACE) != NULL)
        return add_by_replacing(t, s, n, out, err);
    else if (find_step(&t->decoders, TOK_BPE_SUFFIX) != NULL) {
        const char *suffix = find_step(&t->decoders, TOK_BPE_SUFFIX)->content;
        size_t length = strlen(suffix);
        bool ends = length > 0 && n >= length && memcmp(s + n - length, suffix, length) == 0;
        text_add_bytes(out, s, ends ? n - length : n);
        text_add(out, ends ? " " : "");
    } else
        text_add_bytes(out, s, n);
    return text_ok(out, err);
}

/* ---- finding ---- */

static bool is_piece(const struct tokenizer *t, int32_t id, const char *piece, size_t n,
                     struct text *room)
{
    text_clear(room);
    return id >= 0 && tokenizer_piece(t, id, room, NULL) && room->n == n &&
           (n == 0 || memcmp(room->data, piece, n) == 0);
}

/* The id spelled s, if it stands for the piece. */
static int32_t try_spelling(const struct tokenizer *t, const struct text *s, const char *piece,
                            size_t n, struct text *room)
{
    int32_t id = s->failed ? -1 : tok_vocab_find(&t->vocab, s->data, s->n);
    return is_piece(t, id, piece, n, room) ? id : -1;
}

/* How the vocabulary would spell the piece, in the ways there are. */
static int32_t find_spelled(const struct tokenizer *t, const char *piece, size_t n,
                            struct text *spelled, struct text *room)
{
    int32_t id;

    text_clear(spelled);
    tok_add_byte_level(spelled, piece, n);
    if ((id = try_spelling(t, spelled, piece, n, room)) >= 0)
        return id;
    text_clear(spelled);
    for (size_t i = 0; i < n; i++)
        if (piece[i] == ' ')
            text_add(spelled, "\xe2\x96\x81"); /* U+2581, SentencePiece's space */
        else
            text_add_bytes(spelled, piece + i, 1);
    if ((id = try_spelling(t, spelled, piece, n, room)) >= 0)
        return id;
    text_clear(spelled);
    text_add_bytes(spelled, piece, n);
    if ((id = try_spelling(t, spelled, piece, n, room)) >= 0 || n != 1)
        return id;
    text_clear(spelled);
    text_printf(spelled, "<0x%02X>", (unsigned)(unsigned char)piece[0]);
    return try_spelling(t, spelled, piece, n, room);
}

int32_t tokenizer_find(const struct tokenizer *t, const char *piece, size_t n)
{
    struct text spelled, room;
    int32_t id = -1;

    if (n == 0)
        return -1;
    for (int32_t i = 0; i < t->raw.n + t->normalized.n && id < 0; i++) {
        int32_t added = i < t->raw.n ? t->raw.words[i].id : t->normalized.words[i - t->raw.n].id;
        const struct tok_token *token = &t->vocab.tokens[added];
        if ((t->vocab.flags[added] & TOK_SPECIAL) && token->n == n &&
            memcmp(t->vocab.strings + token->at, piece, n) == 0)
            id = added;
    }
    text_init(&spelled, t->ledger, MEM_TOKENIZER);
    text_init(&room, t->ledger, MEM_TOKENIZER);
    if (id < 0)
        id = find_spelled(t, piece, n, &spelled, &room);
    /* What is spelled in no common way, an added token beyond the model's for one. */
    for (int32_t i = 0; id < 0 && i < t->vocab.count; i++)
        if (is_piece(t, i, piece, n, &room))
            id = i;
    text_fini(&spelled);
    text_fini(&room);
    return id;
}
