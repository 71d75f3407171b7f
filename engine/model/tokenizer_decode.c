/* tokenizer_decode.c - decoders: from the strings of tokens to text. */
#include "engine/model/tokenizer_parts.h"

#include <string.h>

struct decoding {
    const struct tok_step *step;
    const struct tok_passage *in;
    struct tok_passage *out;
    struct error *err;
};

static const char *token_text(const struct decoding *d, size_t i)
{
    return d->in->bytes.data + d->in->cuts[i].at;
}

/* Ends the token whose bytes were added to out since `at`. */
static bool end_token(struct decoding *d, size_t at)
{
    struct text *bytes = &d->out->bytes;
    return text_ok(bytes, d->err) && tok_passage_cut(d->out, at, bytes->n - at, -1, false, d->err);
}

/* The bytes a token's characters stand for, or its own where one stands for none. */
static void add_token_bytes(struct text *out, const char *s, size_t n)
{
    size_t begin = out->n;

    for (size_t i = 0; i < n;) {
        int32_t c;
        i += tok_char(s + i, n - i, &c);
        int b = tok_to_byte(c);
        if (b < 0) {
            if (!out->failed)
                out->n = begin;
            text_add_bytes(out, s, n);
            return;
        }
        text_add_bytes(out, &(char){(char)b}, 1);
    }
}

static bool decode_byte_level(struct decoding *d)
{
    struct text raw;
    bool ok;

    text_init(&raw, d->in->ledger, MEM_TOKENIZER);
    text_add(&raw, "");
    for (size_t i = 0; i < d->in->n; i++)
        add_token_bytes(&raw, token_text(d, i), d->in->cuts[i].n);
    ok = text_ok(&raw, d->err);
    if (ok) {
        tok_add_valid(&d->out->bytes, raw.data, raw.n);
        ok = end_token(d, 0);
    }
    text_fini(&raw);
    return ok;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int tok_fallback_byte(const char *s, size_t n)
{
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>')
        return -1;
    int high = hex_digit(s[3]), low = hex_digit(s[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* A run of byte tokens is text if it is UTF-8 as a whole, else one U+FFFD a byte. */
static bool end_bytes(struct decoding *d, struct text *run)
{
    size_t at = d->out->bytes.n;

    if (run->n == 0)
        return text_ok(run, d->err);
    if (tok_is_valid(run->data, run->n))
        text_add_bytes(&d->out->bytes, run->data, run->n);
    else
        for (size_t i = 0; i < run->n; i++)
            tok_add_char(&d->out->bytes, TOK_REPLACEMENT);
    text_clear(run);
    return end_token(d, at);
}

static bool decode_byte_fallback(struct decoding *d)
{
    struct text run;
    bool ok = true;

    text_init(&run, d->in->ledger, MEM_TOKENIZER);
    for (size_t i = 0; ok && i < d->in->n; i++) {
        const char *s = token_text(d, i);
        size_t n = d->in->cuts[i].n;
        int byte = tok_fallback_byte(s, n);
        if (byte >= 0) {
            text_add_bytes(&run, &(char){(char)byte}, 1);
            continue;
        }
        ok = end_bytes(d, &run);
        size_t at = d->out->bytes.n;
        text_add_bytes(&d->out->bytes, s, n);
        ok = ok && end_token(d, at);
    }
    ok = ok && end_bytes(d, &run);
    text_fini(&run);
    return ok;
}

static bool decode_fuse(struct decoding *d)
{
    for (size_t i = 0; i < d->in->n; i++)
        text_add_bytes(&d->out->bytes, token_text(d, i), d->in->cuts[i].n);
    return end_token(d, 0);
}

static bool decode_replace(struct decoding *d)
{
    struct tok_search search;
    bool ok = tok_search_init(&search, d->step->regex, d->err);

    for (size_t i = 0; ok && i < d->in->n; i++) {
        size_t at = d->out->bytes.n;
        ok = tok_replace(&search, token_text(d, i), d->in->cuts[i].n, d->step->content,
                         &d->out->bytes, d->err) &&
             end_token(d, at);
    }
    tok_search_fini(&search);
    return ok;
}

static bool decode_strip(struct decoding *d)
{
    const struct tok_step *s = d->step;

    for (size_t i = 0; i < d->in->n; i++) {
        const char *text = token_text(d, i);
        size_t from = 0, to = d->in->cuts[i].n, at = d->out->bytes.n;
        int32_t c;
        for (int64_t k = 0; k < s->start && from < to; k++) {
            size_t step = tok_char(text + from, to - from, &c);
            if (c != s->character)
                break;
            from += step;
        }
        for (int64_t k = 0; k < s->stop && to > from; k++) {
            size_t before = tok_char_before(text, to, &c);
            if (c != s->character)
                break;
            to = before;
        }
        text_add_bytes(&d->out->bytes, text + from, to - from);
        if (!end_token(d, at))
            return false;
    }
    return true;
}

/* In the first token the replacement stands for the space that was put in front. */
static bool decode_metaspace(struct decoding *d)
{
    for (size_t i = 0; i < d->in->n; i++) {
        const char *text = token_text(d, i);
        size_t n = d->in->cuts[i].n, at = d->out->bytes.n;
        for (size_t k = 0, step; k < n; k += step) {
            int32_t c;
            step = tok_char(text + k, n - k, &c);
            if (c != d->step->character)
                text_add_bytes(&d->out->bytes, text + k, step);
            else if (i > 0 || d->step->scheme == TOK_NEVER)
                text_add(&d->out->bytes, " ");
        }
        if (!end_token(d, at))
            return false;
    }
    return true;
}

/* A word's end becomes a space, but for the last. */
static bool decode_bpe_suffix(struct decoding *d)
{
    const char *suffix = d->step->content;
    size_t length = strlen(suffix);

    for (size_t i = 0; i < d->in->n; i++) {
        const char *text = token_text(d, i);
        size_t n = d->in->cuts[i].n, at = d->out->bytes.n;
        for (size_t k = 0; k < n;) {
            if (length > 0 && n - k >= length && memcmp(text + k, suffix, length) == 0) {
                text_add(&d->out->bytes, i + 1 < d->in->n ? " " : "");
                k += length;
            } else {
                text_add_bytes(&d->out->bytes, text + k++, 1);
            }
        }
        if (!end_token(d, at))
            return false;
    }
    return true;
}

static bool decode(struct decoding *d)
{
    switch (d->step->kind) {
    case TOK_BYTE_LEVEL:
        return decode_byte_level(d);
    case TOK_BYTE_FALLBACK:
        return decode_byte_fallback(d);
    case TOK_FUSE:
        return decode_fuse(d);
    case TOK_REPLACE:
        return decode_replace(d);
    case TOK_METASPACE:
        return decode_metaspace(d);
    case TOK_BPE_SUFFIX:
        return decode_bpe_suffix(d);
    default:
        return decode_strip(d);
    }
}

bool tok_decode_step(const struct tok_step *s, struct tok_passage *p, struct tok_passage *spare,
                     struct error *err)
{
    struct decoding d = {.step = s, .in = p, .out = spare, .err = err};

    tok_passage_clear(spare);
    text_add(&spare->bytes, ""); /* so that there is a place to point to */
    if (!decode(&d))
        return false;
    struct tok_passage swap = *p;
    *p = *spare;
    *spare = swap;
    return true;
}
