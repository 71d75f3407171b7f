/* tokenizer_added.c - added tokens: found in the text before anything else looks at it. */
#include "engine/model/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

void tok_added_fini(struct tokenizer *t)
{
    mem_free(t->ledger, t->raw.words);
    mem_free(t->ledger, t->normalized.words);
    mem_free(t->ledger, t->folded.words);
    mem_free(t->ledger, t->folded.strings);
}

static int compare(const void *a, const void *b)
{
    const struct tok_word *x = a, *y = b;
    uint32_t n = x->n < y->n ? x->n : y->n;
    int c = memcmp(x->s, y->s, n);

    if (c != 0)
        return c;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

/* Sorts the words and keeps one of each. */
static void matcher_finish(struct tok_matcher *m)
{
    int32_t kept = 0;

    if (m->n > 1)
        qsort(m->words, (size_t)m->n, sizeof m->words[0], compare);
    for (int32_t i = 0; i < m->n; i++) {
        const struct tok_word *w = &m->words[i], *last = &m->words[kept - (kept > 0)];
        if (w->n == 0 || (kept > 0 && w->n == last->n && memcmp(w->s, last->s, w->n) == 0))
            continue;
        m->words[kept++] = *w;
    }
    m->n = kept;
    for (int b = 0, i = 0; b <= 256; b++) {
        while (i < kept && (unsigned char)m->words[i].s[0] < b)
            i++;
        m->first[b] = i;
    }
}

/* The first of words[low .. high) whose byte at depth is c or more. */
static int32_t bound(const struct tok_matcher *m, int32_t low, int32_t high, size_t depth, int c)
{
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if ((unsigned char)m->words[middle].s[depth] < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest word at s, or NULL. */
static const struct tok_word *longest(const struct tok_matcher *m, const char *s, size_t n)
{
    const struct tok_word *best = NULL;
    int32_t low = m->first[(unsigned char)s[0]], high = m->first[(unsigned char)s[0] + 1];

    for (size_t depth = 1; low < high; depth++) {
        if (m->words[low].n == depth)
            best = &m->words[low++];
        if (depth == n)
            break;
        low = bound(m, low, high, depth, (unsigned char)s[depth]);
        high = bound(m, low, high, depth, (unsigned char)s[depth] + 1);
    }
    return best;
}

/* ---- loading ---- */

static bool normalize_content(const struct tokenizer *t, const struct tok_token *token,
                              struct text *all, struct error *err)
{
    struct text one;
    bool head = true, ok;

    text_init(&one, t->ledger, MEM_TOKENIZER);
    text_add_bytes(&one, t->vocab.strings + token->at, token->n);
    ok = text_ok(&one, err) && tok_normalize(t, &one, &head, err);
    if (ok)
        text_add_bytes(all, one.data, one.n);
    text_fini(&one);
    return ok && text_ok(all, err);
}

/* The words of t's added tokens, the special ones first, as Hugging Face orders them. */
static bool fill(struct tokenizer *t, const int32_t *ids, int32_t n, struct error *err)
{
    struct text all;
    bool ok = true;

    text_init(&all, t->ledger, MEM_TOKENIZER);
    text_add(&all, "");
    for (int pass = 0; ok && pass < 2; pass++)
        for (int32_t i = 0; ok && i < n; i++) {
            const struct tok_token *token = &t->vocab.tokens[ids[i]];
            uint8_t flags = t->vocab.flags[ids[i]];
            bool folded = (flags & TOK_NORMALIZED) != 0;
            struct tok_matcher *m = folded ? &t->normalized : &t->raw;
            size_t before = all.n;
            if (((flags & TOK_SPECIAL) != 0) != (pass == 0))
                continue;
            if (folded)
                ok = normalize_content(t, token, &all, err);
            /* `all` may still move: the words in it are pointed to below. */
            m->words[m->n] = (struct tok_word){.s = folded ? NULL : t->vocab.strings + token->at,
                                               .n = folded ? (uint32_t)(all.n - before) : token->n,
                                               .id = ids[i],
                                               .order = m->n};
            m->n++;
        }
    if (!ok || !text_ok(&all, err)) {
        text_fini(&all);
        return false;
    }
    t->folded.strings = all.data;
    const char *s = all.data;
    for (int32_t i = 0; i < t->normalized.n; s += t->normalized.words[i++].n)
        t->normalized.words[i].s = s;
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    const struct tok_word *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* The words by id, before of two with one text the second is dropped. */
static bool keep_folded(struct tokenizer *t, struct error *err)
{
    size_t n = (size_t)t->normalized.n;

    t->folded.words = mem_alloc_array(t->ledger, MEM_TOKENIZER, n, sizeof(struct tok_word), err);
    if (t->folded.words == NULL)
        return false;
    memcpy(t->folded.words, t->normalized.words, n * sizeof(struct tok_word));
    qsort(t->folded.words, n, sizeof(struct tok_word), compare_ids);
    t->folded.n = t->normalized.n;
    return true;
}

const struct tok_word *tok_added_folded(const struct tokenizer *t, int32_t id)
{
    struct tok_word key = {.id = id};

    if (!(t->vocab.flags[id] & TOK_NORMALIZED))
        return NULL;
    return bsearch(&key, t->folded.words, (size_t)t->folded.n, sizeof key, compare_ids);
}

bool tok_added_load(struct tokenizer *t, const struct json *added, struct error *err)
{
    const struct tok_vocab *v = &t->vocab;
    int32_t n = 0;
    int32_t *ids;
    bool ok;

    /* In the order of the file, each token once. */
    size_t most = json_count(added);
    ids = mem_alloc_array(t->ledger, MEM_TOKENIZER, most, sizeof *ids, err);
    uint8_t *seen = mem_alloc(t->ledger, MEM_TOKENIZER, (size_t)v->count, err);
    t->raw.words = mem_alloc_array(t->ledger, MEM_TOKENIZER, most, sizeof(struct tok_word), err);
    t->normalized.words =
        mem_alloc_array(t->ledger, MEM_TOKENIZER, most, sizeof(struct tok_word), err);
    ok = ids != NULL && seen != NULL && t->raw.words != NULL && t->normalized.words != NULL;
    for (const struct json *j = json_first(added); ok && j != NULL; j = json_next(j)) {
        const char *content = json_string(json_get(j, "content"));
        int64_t id = tok_vocab_find(v, content, strlen(content));
        if (id < 0)
            json_whole(json_get(j, "id"), 0, INT32_MAX, &id);
        if (id < 0 || seen[id] || content[0] == '\0')
            continue;
        seen[id] = 1;
        ids[n++] = (int32_t)id;
    }
    ok = ok && fill(t, ids, n, err) && keep_folded(t, err);
    mem_free(t->ledger, ids);
    mem_free(t->ledger, seen);
    if (!ok)
        return false;
    matcher_finish(&t->raw);
    matcher_finish(&t->normalized);
    return true;
}

/* ---- cutting ---- */

static bool stands_alone(const char *s, size_t n, size_t start, size_t end)
{
    int32_t c;

    if (start > 0) {
        tok_char_before(s, start, &c);
        if (tok_is_word(c))
            return false;
    }
    if (end < n) {
        tok_char(s + end, n - end, &c);
        if (tok_is_word(c))
            return false;
    }
    return true;
}

static size_t blanks_begin(const char *s, size_t end, size_t from)
{
    while (end > from) {
        int32_t c;
        size_t before = tok_char_before(s, end, &c);
        if (!tok_is_space(c))
            break;
        end = before;
    }
    return end;
}

static size_t blanks_end(const char *s, size_t n, size_t from)
{
    while (from < n) {
        int32_t c;
        size_t step = tok_char(s + from, n - from, &c);
        if (!tok_is_space(c))
            break;
        from += step;
    }
    return from;
}

bool tok_added_cut(const struct tokenizer *t, const struct tok_matcher *m, const struct text *from,
                   size_t at, size_t n, bool head, struct tok_passage *to, struct error *err)
{
    const char *s = from->data + at;
    size_t done = 0; /* what was cut, blanks that a token took included */

    for (size_t i = 0; m->n > 0 && i < n;) {
        const struct tok_word *w = longest(m, s + i, n - i);
        if (w == NULL) {
            i++;
            continue;
        }
        size_t start = i, end = i + w->n;
        uint8_t flags = t->vocab.flags[w->id];
        i = end; /* the search goes on behind the token, refused or not, blanks or not */
        if ((flags & TOK_SINGLE_WORD) && !stands_alone(s, n, start, end))
            continue;
        if (flags & TOK_LSTRIP)
            start = start > done ? blanks_begin(s, start, done) : done;
        if (flags & TOK_RSTRIP)
            end = blanks_end(s, n, end);
        if (start > done &&
            !tok_passage_cut(to, at + done, start - done, -1, head && done == 0, err))
            return false;
        /* One that takes blanks on its left, and lies in those that the last one took, has
         * nothing left. */
        if (start < end && !tok_passage_cut(to, 0, 0, w->id, false, err))
            return false;
        done = end;
    }
    if (done < n)
        return tok_passage_cut(to, at + done, n - done, -1, head && done == 0, err);
    return true;
}
