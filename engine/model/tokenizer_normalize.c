/* tokenizer_normalize.c - what is done to the text before it is cut. */
#include "engine/model/tokenizer_parts.h"

#include <string.h>

/* What Neural Machine Translation's sentencepiece drops, and what it takes for a blank. */
static bool nmt_drops(int32_t c)
{
    return (c >= 1 && c <= 8) || c == 0x0b || (c >= 0x0e && c <= 0x1f) || c == 0x7f || c == 0x8f ||
           c == 0x9f;
}

static bool nmt_blank(int32_t c)
{
    return c == '\t' || c == '\n' || c == '\f' || c == '\r' || c == 0x1680 ||
           (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
           c == 0xfeff || c == TOK_REPLACEMENT;
}

/* The steps that look at one character at a time. */
static void by_character(const struct tok_step *s, const struct text *in, struct text *out,
                         bool *head)
{
    for (size_t i = 0, step; i < in->n; i += step) {
        int32_t c;
        bool drop = false;
        step = tok_char(in->data + i, in->n - i, &c);
        if (s->kind == TOK_NMT) {
            drop = nmt_drops(c);
            c = nmt_blank(c) ? ' ' : c;
        } else if (s->kind == TOK_STRIP_ACCENTS) {
            drop = tok_is_mark(c);
        } else if (c == 0x130) { /* the one letter that becomes two */
            tok_add_char(out, 'i');
            c = 0x307;
        } else {
            c = tok_lower(c);
        }
        if (!drop)
            tok_add_char(out, c);
        else if (out->n == 0)
            *head = false;
    }
}

static void strip(const struct tok_step *s, const struct text *in, struct text *out, bool *head)
{
    size_t from = 0, to = in->n;
    int32_t c;

    while (s->left && from < to) {
        size_t step = tok_char(in->data + from, to - from, &c);
        if (!tok_is_space(c))
            break;
        from += step;
        *head = false;
    }
    while (s->right && to > from) {
        size_t before = tok_char_before(in->data, to, &c);
        if (!tok_is_space(c))
            break;
        to = before;
    }
    text_add_bytes(out, in->data + from, to - from);
}

static bool replace(const struct tok_step *s, const struct text *in, struct text *out,
                    struct error *err)
{
    struct tok_search search;

    if (!tok_search_init(&search, s->regex, err))
        return false;
    bool ok = tok_replace(&search, in->data, in->n, s->content, out, err);
    tok_search_fini(&search);
    return ok;
}

static bool apply(const struct tok_step *s, const struct text *in, struct text *out, bool *head,
                  struct error *err)
{
    switch (s->kind) {
    case TOK_UNICODE:
        return tok_add_form(out, in->data, in->n, s->form, err);
    case TOK_REPLACE:
        return replace(s, in, out, err);
    case TOK_STRIP:
        strip(s, in, out, head);
        break;
    case TOK_PREPEND:
        text_add(out, s->content);
        text_add_bytes(out, in->data, in->n);
        break;
    case TOK_BYTE_LEVEL:
        tok_add_byte_level(out, in->data, in->n);
        break;
    default:
        by_character(s, in, out, head);
    }
    return text_ok(out, err);
}

bool tok_normalize(const struct tokenizer *t, struct text *text, bool *head, struct error *err)
{
    struct text other;
    bool ok = true;

    text_init(&other, t->ledger, MEM_TOKENIZER);
    /* An empty text stays empty: nothing is put in front of it. */
    for (int i = 0; ok && i < t->normalizers.n && text->n > 0; i++) {
        struct text swap;
        text_clear(&other);
        text_add(&other, "");
        ok = apply(&t->normalizers.items[i], text, &other, head, err);
        swap = *text;
        *text = other;
        other = swap;
    }
    text_fini(&other);
    return ok;
}
