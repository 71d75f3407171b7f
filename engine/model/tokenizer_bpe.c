/* tokenizer_bpe.c - merging: characters to ids, and pairs of ids to one by rank.
 *
 * The symbols of a word are a linked list, and the pairs that can merge wait in a heap, the
 * lowest rank first, of one rank the leftmost. So a word of n characters takes O(n log n),
 * and a megabyte without a space is no trouble.
 */
#include "engine/model/tokenizer_parts.h"

#include <string.h>

struct tok_symbol {
    int32_t id, previous, next; /* -1: none */
    bool gone;
};
struct tok_candidate {
    uint32_t rank;
    int32_t at, result;
};

void tok_bpe_fini(struct tok_bpe *b)
{
    mem_free(b->ledger, b->symbols);
    mem_free(b->ledger, b->heap);
    *b = (struct tok_bpe){.ledger = b->ledger};
}

bool tok_ids_add(struct tok_ids *ids, int32_t id, struct error *err)
{
    if (ids->n == ids->room) {
        size_t room = ids->room == 0 ? 64 : ids->room * 2;
        int32_t *items =
            mem_resize(ids->ledger, MEM_TOKENIZER, ids->items, room * sizeof *items, err);
        if (items == NULL)
            return false;
        ids->items = items;
        ids->room = room;
    }
    ids->items[ids->n++] = id;
    return true;
}

/* Room for the most symbols that a word of n bytes can begin as. */
static bool reserve(struct tok_bpe *work, size_t symbols, struct error *err)
{
    if (symbols <= work->room)
        return true;
    if (symbols > INT32_MAX / 2)
        return error_set(err, ERR_UNSUPPORTED, "a word of %zu bytes is too long", symbols);
    size_t room = symbols < 256 ? 256 : symbols;
    tok_bpe_fini(work);
    work->symbols = mem_alloc_array(work->ledger, MEM_TOKENIZER, room, sizeof *work->symbols, err);
    /* A merge takes one candidate off and puts at most two on. */
    work->heap = mem_alloc_array(work->ledger, MEM_TOKENIZER, 2 * room, sizeof *work->heap, err);
    if (work->symbols == NULL || work->heap == NULL)
        return false;
    work->room = room;
    return true;
}

static bool before(const struct tok_candidate *a, const struct tok_candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(struct tok_bpe *work, struct tok_candidate c)
{
    size_t i = work->n_heap++;

    for (; i > 0 && before(&c, &work->heap[(i - 1) / 2]); i = (i - 1) / 2)
        work->heap[i] = work->heap[(i - 1) / 2];
    work->heap[i] = c;
}

static struct tok_candidate heap_pop(struct tok_bpe *work)
{
    struct tok_candidate top = work->heap[0], last = work->heap[--work->n_heap];
    size_t i = 0, n = work->n_heap;

    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(&work->heap[child + 1], &work->heap[child]))
            child++;
        if (!before(&work->heap[child], &last))
            break;
        work->heap[i] = work->heap[child];
    }
    work->heap[i] = last;
    return top;
}

static void offer(const struct tok_model *m, struct tok_bpe *work, int32_t at)
{
    const struct tok_symbol *s = &work->symbols[at];
    const struct tok_merge *merge = tok_model_merge(m, s->id, work->symbols[s->next].id);

    if (merge != NULL)
        heap_push(work, (struct tok_candidate){.rank = (uint32_t)(merge - m->merges),
                                               .at = at,
                                               .result = merge->result});
}

static void merge_all(const struct tok_model *m, struct tok_bpe *work, int32_t n)
{
    struct tok_symbol *symbols = work->symbols;

    work->n_heap = 0;
    for (int32_t i = 0; i + 1 < n; i++)
        offer(m, work, i);
    while (work->n_heap > 0) {
        struct tok_candidate top = heap_pop(work);
        struct tok_symbol *left = &symbols[top.at];
        if (left->gone || left->next < 0)
            continue;
        struct tok_symbol *right = &symbols[left->next];
        /* One of the two may have become another since. What counts is the result, not the
         * rank: Hugging Face compares so, and two merges can have one result. */
        const struct tok_merge *merge = tok_model_merge(m, left->id, right->id);
        if (merge == NULL || merge->result != top.result)
            continue;
        left->id = top.result;
        left->next = right->next;
        right->gone = true;
        if (left->next >= 0) {
            symbols[left->next].previous = top.at;
            offer(m, work, top.at);
        }
        if (left->previous >= 0)
            offer(m, work, left->previous);
    }
}

static void add_symbol(struct tok_bpe *work, int32_t *n, int32_t id)
{
    work->symbols[*n] = (struct tok_symbol){.id = id, .previous = *n - 1, .next = -1};
    if (*n > 0)
        work->symbols[*n - 1].next = *n;
    ++*n;
}

static bool all_bytes(const struct tok_model *m, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (m->bytes[(unsigned char)s[i]] < 0)
            return false;
    return true;
}

static bool no_unk(const struct tok_model *m, struct error *err)
{
    char shown[TOK_SHOWN];
    return error_set(err, ERR_FORMAT,
                     "the text needs the unknown token, and model.unk_token %s is not in the "
                     "vocabulary",
                     tok_shown(shown, m->unk, strlen(m->unk)));
}

/* One character of the word, with what the model puts around it. *unknown counts characters
 * not yet written as unknown tokens: fused, a run of them is one token, and bytes that follow
 * come before it, as in Hugging Face. */
static bool add_character(const struct tok_model *m, const struct tok_vocab *v,
                          struct tok_bpe *work, const char *s, size_t n, int32_t *count,
                          bool *unknown, struct error *err)
{
    int32_t id = tok_vocab_find(v, s, n);

    if (id >= 0) {
        if (*unknown)
            add_symbol(work, count, m->unk_id);
        *unknown = false;
        add_symbol(work, count, id);
        return true;
    }
    if (m->byte_fallback && all_bytes(m, s, n)) {
        for (size_t i = 0; i < n; i++)
            add_symbol(work, count, m->bytes[(unsigned char)s[i]]);
        return true;
    }
    if (!m->has_unk)
        return true; /* it vanishes */
    if (m->unk_id < 0)
        return no_unk(m, err);
    if (*unknown && !m->fuse_unk)
        add_symbol(work, count, m->unk_id);
    *unknown = true;
    return true;
}

static bool add_characters(const struct tok_model *m, const struct tok_vocab *v,
                           struct tok_bpe *work, const char *s, size_t n, int32_t *count,
                           struct error *err)
{
    size_t prefix = strlen(m->prefix), suffix = strlen(m->suffix);
    bool unknown = false;

    for (size_t i = 0, step; i < n; i += step) {
        char spelled[2 * TOK_MAX_AFFIX + 4];
        const char *one = s + i;
        int32_t c;
        step = tok_char(s + i, n - i, &c);
        size_t length = step;
        bool first = i == 0, last = i + step == n;
        if ((prefix > 0 && !first) || (suffix > 0 && last)) {
            length = 0;
            memcpy(spelled, m->prefix, first ? 0 : prefix);
            length += first ? 0 : prefix;
            memcpy(spelled + length, s + i, step);
            length += step;
            memcpy(spelled + length, m->suffix, last ? suffix : 0);
            length += last ? suffix : 0;
            one = spelled;
        }
        if (!add_character(m, v, work, one, length, count, &unknown, err))
            return false;
    }
    if (unknown)
        add_symbol(work, count, m->unk_id);
    return true;
}

bool tok_model_encode(const struct tok_model *m, const struct tok_vocab *v, struct tok_bpe *work,
                      const char *s, size_t n, struct tok_ids *out, struct error *err)
{
    int32_t count = 0, whole = -1;

    if (n == 0)
        return true;
    if (!m->is_bpe || m->ignore_merges)
        whole = tok_vocab_find(v, s, n);
    if (whole >= 0)
        return tok_ids_add(out, whole, err);
    if (!m->is_bpe)
        return m->unk_id < 0 ? no_unk(m, err) : tok_ids_add(out, m->unk_id, err);
    if (!reserve(work, n * (1 + strlen(m->prefix)) + strlen(m->suffix), err) ||
        !add_characters(m, v, work, s, n, &count, err))
        return false;
    merge_all(m, work, count);
    for (int32_t i = count > 0 ? 0 : -1; i >= 0; i = work->symbols[i].next)
        if (!tok_ids_add(out, work->symbols[i].id, err))
            return false;
    return true;
}
