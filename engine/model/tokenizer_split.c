/* tokenizer_split.c - pre-tokenizers: where the text is cut before the model sees it. */
#include "engine/model/tokenizer_parts.h"

#include <string.h>

/* Takes stretches in order, matched or not, and says which belong together. */
struct cutter {
    const struct tok_step *step;
    struct tok_passage *out;
    struct error *err;
    size_t base; /* of the text's bytes in out */
    bool head;
    size_t start, end; /* the group so far */
    bool open, last, removed, ok;
};

static bool joins(enum tok_behavior b, bool before, bool now)
{
    switch (b) {
    case TOK_WITH_PREVIOUS:
        return now && !before;
    case TOK_WITH_NEXT:
        return before && !now;
    case TOK_CONTIGUOUS:
        return before == now;
    default:
        return false;
    }
}

static void cutter_flush(struct cutter *k)
{
    if (k->open && !k->removed && k->end > k->start && k->ok)
        k->ok = tok_passage_cut(k->out, k->base + k->start, k->end - k->start, -1,
                                k->head && k->start == 0, k->err);
    k->open = false;
}

static void cutter_feed(struct cutter *k, enum tok_behavior b, size_t start, size_t end, bool match)
{
    if (k->open && joins(b, k->last, match)) {
        k->end = end;
    } else {
        cutter_flush(k);
        k->open = true;
        k->start = start;
        k->end = end;
        k->removed = b == TOK_REMOVED && match;
    }
    k->last = match;
}

static bool cut_by_regex(struct cutter *k, struct tok_search *search, enum tok_behavior b,
                         const char *s, size_t n)
{
    bool invert = k->step->invert;
    size_t done = 0, start, end;
    int found;

    tok_search_start(search, s, n);
    while ((found = tok_search_next(search, &start, &end, k->err)) == 1) {
        if (start != done)
            cutter_feed(k, b, done, start, invert);
        cutter_feed(k, b, start, end, !invert);
        done = end;
    }
    if (found < 0)
        return false;
    if (done != n)
        cutter_feed(k, b, done, n, invert);
    cutter_flush(k);
    return k->ok;
}

static bool is_match(const struct tok_step *step, int32_t c)
{
    switch (step->kind) {
    case TOK_WHITESPACE_SPLIT:
        return tok_is_space(c);
    case TOK_DIGITS:
        return tok_is_number(c);
    case TOK_PUNCTUATION:
        return tok_is_punct(c);
    default:
        return c == step->character;
    }
}

/* Each matching character is a stretch of its own. */
static bool cut_by_character(struct cutter *k, enum tok_behavior b, const char *s, size_t n)
{
    size_t done = 0;

    for (size_t i = 0, size; i < n; i += size) {
        int32_t c;
        size = tok_char(s + i, n - i, &c);
        if (!is_match(k->step, c))
            continue;
        if (i > done)
            cutter_feed(k, b, done, i, false);
        cutter_feed(k, b, i, i + size, true);
        done = i + size;
    }
    if (n > done)
        cutter_feed(k, b, done, n, false);
    cutter_flush(k);
    return k->ok;
}

/* Words, and runs of what is neither word nor blank; the blanks go. */
static bool cut_words(struct cutter *k, const char *s, size_t n)
{
    int last = 0;

    for (size_t i = 0, size; i < n; i += size) {
        int32_t c;
        size = tok_char(s + i, n - i, &c);
        int kind = tok_is_word(c) ? 1 : tok_is_space(c) ? 0 : 2;
        if (k->open && kind == last)
            k->end = i + size;
        else
            cutter_feed(k, TOK_REMOVED, i, i + size, kind == 0);
        last = kind;
    }
    cutter_flush(k);
    return k->ok;
}

/* The bytes as GPT-2 writes them; a text that is cut first is cut as it was. */
static bool cut_byte_level(struct cutter *k, struct tok_search *search, const struct text *from,
                           const struct tok_cut *cut, struct tok_passage *rough)
{
    const char *s = from->data + cut->at;
    struct cutter inner = *k;
    struct text *bytes = &rough->bytes;

    tok_passage_clear(rough);
    if (k->step->prefix_space && s[0] != ' ')
        text_add(bytes, " ");
    text_add_bytes(bytes, s, cut->n);
    if (!text_ok(bytes, k->err))
        return false;
    inner.out = rough;
    inner.base = 0;
    if (k->step->regex != NULL) {
        if (!cut_by_regex(&inner, search, TOK_ISOLATED, bytes->data, bytes->n))
            return false;
    } else {
        cutter_feed(&inner, TOK_ISOLATED, 0, bytes->n, false);
        cutter_flush(&inner);
    }
    for (size_t i = 0; inner.ok && i < rough->n; i++) {
        const struct tok_cut *c = &rough->cuts[i];
        size_t at = k->out->bytes.n;
        tok_add_byte_level(&k->out->bytes, bytes->data + c->at, c->n);
        inner.ok = text_ok(&k->out->bytes, k->err) &&
                   tok_passage_cut(k->out, at, k->out->bytes.n - at, -1, c->head, k->err);
    }
    return inner.ok;
}

static bool cut_metaspace(struct cutter *k, const struct text *from, const struct tok_cut *cut)
{
    const struct tok_step *step = k->step;
    struct text *out = &k->out->bytes;
    int32_t first;

    tok_char(from->data + cut->at, cut->n, &first);
    if (first != ' ' && first != step->character &&
        (step->scheme == TOK_ALWAYS || (step->scheme == TOK_FIRST && cut->head)))
        tok_add_char(out, step->character);
    for (size_t i = 0; i < cut->n; i++) {
        const char *s = from->data + cut->at + i;
        if (*s == ' ')
            tok_add_char(out, step->character);
        else
            text_add_bytes(out, s, 1);
    }
    if (!text_ok(out, k->err))
        return false;
    if (step->split)
        return cut_by_character(k, TOK_WITH_NEXT, out->data + k->base, out->n - k->base);
    return tok_passage_cut(k->out, k->base, out->n - k->base, -1, cut->head, k->err);
}

static bool cut_one(struct cutter *k, struct tok_search *search, const struct text *from,
                    const struct tok_cut *cut, struct tok_passage *rough)
{
    const char *s = from->data + cut->at;

    switch (k->step->kind) {
    case TOK_SPLIT:
        return cut_by_regex(k, search, k->step->behavior, s, cut->n);
    case TOK_BYTE_LEVEL:
        return cut_byte_level(k, search, from, cut, rough);
    case TOK_METASPACE:
        return cut_metaspace(k, from, cut);
    case TOK_WHITESPACE:
        return cut_words(k, s, cut->n);
    default:
        return cut_by_character(k, k->step->behavior, s, cut->n);
    }
}

/* Those two write new bytes; the others cut the bytes there are. */
static bool rewrites(const struct tok_step *s)
{
    return s->kind == TOK_BYTE_LEVEL || s->kind == TOK_METASPACE;
}

bool tok_split(const struct tok_step *s, struct tok_passage *p, struct tok_passage *spare,
               struct error *err)
{
    struct tok_passage rough;
    struct tok_search search;
    bool ok;

    tok_passage_init(&rough, p->ledger);
    tok_passage_clear(spare);
    ok = tok_search_init(&search, s->regex, err);
    for (size_t i = 0; ok && i < p->n; i++) {
        const struct tok_cut *cut = &p->cuts[i];
        struct cutter k = {.step = s, .out = spare, .err = err, .head = cut->head, .ok = true};
        if (cut->id >= 0) {
            ok = tok_passage_cut(spare, 0, 0, cut->id, false, err);
            continue;
        }
        k.base = rewrites(s) ? spare->bytes.n : cut->at;
        ok = cut_one(&k, &search, &p->bytes, cut, &rough);
    }
    tok_search_fini(&search);
    tok_passage_fini(&rough);
    if (ok && !rewrites(s)) {
        struct text bytes = p->bytes;
        p->bytes = spare->bytes;
        spare->bytes = bytes;
    }
    struct tok_passage swap = *p;
    *p = *spare;
    *spare = swap;
    return ok;
}
