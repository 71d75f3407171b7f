/* tokenizer_parts.h - what the tokenizer_*.c files share. Nobody else includes this.
 *
 * A text on its way to ids is a passage: bytes, and cuts of them in order. A cut that is an
 * added token has its id; the others are text still to be tokenized. Normalizers and some
 * pre-tokenizers write new bytes, the rest only cut finer. Decoding goes the other way with
 * the same structure: one cut a token, joined at the end.
 */
#ifndef MIDPASS_TOKENIZER_PARTS_H
#define MIDPASS_TOKENIZER_PARTS_H

#include "engine/base/json.h"
#include "engine/model/tokenizer.h"

/* ---- passages ---- */

struct tok_cut {
    size_t at, n;
    int32_t id; /* -1: text */
    bool head;  /* begins where the user's text begins (Metaspace "first" asks) */
};
struct tok_passage {
    struct ledger *ledger;
    struct text bytes;
    struct tok_cut *cuts;
    size_t n, room;
};
void tok_passage_init(struct tok_passage *p, struct ledger *l);
void tok_passage_fini(struct tok_passage *p);
void tok_passage_clear(struct tok_passage *p); /* keeps the room */
bool tok_passage_cut(struct tok_passage *p, size_t at, size_t n, int32_t id, bool head,
                     struct error *err);

/* ---- characters (tokenizer_unicode.c) ---- */

#define TOK_REPLACEMENT 0xfffd /* what stands for bytes that are not UTF-8 */

/* The character at s, of n > 0 bytes of valid UTF-8; returns its length. */
size_t tok_char(const char *s, size_t n, int32_t *c);
/* Where the character that ends at s + n begins; n > 0. */
size_t tok_char_before(const char *s, size_t n, int32_t *c);
void tok_add_char(struct text *out, int32_t c);
/* s in quotes as it may be shown, for messages: cut where it is long. Returns out. */
#define TOK_SHOWN 72
char *tok_shown(char out[TOK_SHOWN], const char *s, size_t n);
bool tok_is_valid(const char *s, size_t n);
/* s with U+FFFD for each longest piece that could begin a character but does not finish it:
 * what Python's errors="replace" and Rust's from_utf8_lossy do. */
void tok_add_valid(struct text *out, const char *s, size_t n);
bool tok_is_space(int32_t c);  /* White_Space */
bool tok_is_word(int32_t c);   /* \w of Rust's regex */
bool tok_is_punct(int32_t c);  /* P*, and all of ASCII's */
bool tok_is_number(int32_t c); /* N* */
bool tok_is_mark(int32_t c);   /* M* */
int32_t tok_lower(int32_t c);
int32_t tok_from_byte(unsigned char b); /* GPT-2's visible character for a byte */
int tok_to_byte(int32_t c);             /* the way back; -1: none */

enum tok_form { TOK_NFD, TOK_NFC, TOK_NFKD, TOK_NFKC };
/* Normalization in linear space from the ledger (utf8proc's own calls use malloc). */
bool tok_add_form(struct text *out, const char *s, size_t n, enum tok_form form, struct error *err);

/* ---- regular expressions (tokenizer_regex.c, tokenizer_pattern.c) ---- */

struct tok_regex;
/* literal: the pattern is the text to find. where appears in messages. */
struct tok_regex *tok_regex_open(struct ledger *l, const char *pattern, bool literal,
                                 const char *where, struct error *err);
void tok_regex_close(struct tok_regex *r); /* NULL is fine */

/* One walk over the matches in many texts; not shared by threads. */
struct tok_search {
    const struct tok_regex *regex;
    void *match; /* pcre2_match_data */
    const char *text;
    size_t n, from, last;
    bool any;
};
bool tok_search_init(struct tok_search *s, const struct tok_regex *r, struct error *err);
void tok_search_fini(struct tok_search *s);
void tok_search_start(struct tok_search *s, const char *text, size_t n);
/* 1 and the match, 0 at the end, -1 and *err. */
int tok_search_next(struct tok_search *s, size_t *start, size_t *end, struct error *err);

/* Oniguruma's Ruby syntax, which Hugging Face uses, in PCRE2's words. Appended to out. */
bool tok_pattern_translate(const char *pattern, struct text *out, const char *where,
                           struct error *err);
/* What PCRE2 calls a property. name is in lower case, without blanks, '-' and '_'. of is a name
 * that PCRE2 knows, or, with set, what goes between brackets. */
struct tok_property {
    const char *name, *of;
    bool set;
};
#define TOK_CLASS_WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define TOK_HEX        "0-9a-fA-F"
const struct tok_property *tok_property_find(const char *name); /* or NULL */
/* Does PCRE2 know \p{name}? False if there is no memory to ask. */
bool tok_regex_knows(struct ledger *l, const char *name, bool *known, struct error *err);

/* ---- the vocabulary (tokenizer_vocab.c) ---- */

enum {
    TOK_THERE = 1,
    TOK_MODEL = 2, /* the model can produce it */
    TOK_ADDED = 4,
    TOK_SPECIAL = 8,
    TOK_SINGLE_WORD = 16,
    TOK_LSTRIP = 32,
    TOK_RSTRIP = 64,
    TOK_NORMALIZED = 128,
};
struct tok_token {
    uint32_t at, n; /* of strings */
};
struct tok_slot {
    uint32_t hash;
    int32_t id; /* -1: free */
};
struct tok_vocab {
    struct ledger *ledger;
    char *strings;
    size_t n_strings;
    struct tok_token *tokens; /* [count] */
    uint8_t *flags;           /* [count] */
    int32_t count;            /* highest id + 1 */
    int32_t model_count;      /* entries of model.vocab */
    struct tok_slot *slots;   /* strings of the model's tokens, open addressing */
    uint32_t mask;
};
bool tok_vocab_load(struct tok_vocab *v, const struct json *vocab, const struct json *added,
                    struct error *err);
void tok_vocab_fini(struct tok_vocab *v);
int32_t tok_vocab_find(const struct tok_vocab *v, const char *s, size_t n); /* or -1 */

/* Index order decides which of two tokens with one text is found, as in Hugging Face. */
struct tok_word {
    const char *s;
    uint32_t n;
    int32_t id, order;
};
/* Finds the longest of a set of words at a place. Sorted, so that the words that begin with
 * what was read so far are one stretch, which each further byte narrows. */
struct tok_matcher {
    struct tok_word *words;
    int32_t n;
    int32_t first[257]; /* words that begin with byte b: first[b] .. first[b + 1] */
};
/* The added tokens that are looked for in normalized text, as they are spelled there. */
struct tok_folded {
    struct tok_word *words; /* by id */
    int32_t n;
    char *strings;
};

/* ---- the model (tokenizer_model.c) ---- */

#define TOK_MAX_AFFIX 64 /* bytes of continuing_subword_prefix and end_of_word_suffix */

struct tok_merge {
    int32_t left, right, result;
};
struct tok_model {
    bool is_bpe; /* else WordLevel */
    bool fuse_unk, byte_fallback, ignore_merges;
    char *unk, *prefix, *suffix; /* "" for none */
    bool has_unk;
    int32_t unk_id; /* -1: unk is not in the vocabulary */
    int32_t bytes[256];
    struct tok_merge *merges; /* by rank */
    uint32_t n_merges;
    uint32_t *slots; /* rank + 1, open addressing by pair; 0: free */
    uint32_t mask;
};
bool tok_model_load(struct tok_model *m, const struct tok_vocab *v, const struct json *model,
                    struct error *err);
void tok_model_fini(struct tok_model *m, struct ledger *l);
/* How two tokens merge, or NULL. Its place in m->merges is its rank. */
const struct tok_merge *tok_model_merge(const struct tok_model *m, int32_t left, int32_t right);

/* ---- merging (tokenizer_bpe.c) ---- */

struct tok_ids {
    struct ledger *ledger;
    int32_t *items;
    size_t n, room;
};
bool tok_ids_add(struct tok_ids *ids, int32_t id, struct error *err);

/* Working memory, reused from word to word. */
struct tok_bpe {
    struct ledger *ledger;
    struct tok_symbol *symbols;
    struct tok_candidate *heap;
    size_t room, n_heap;
};
void tok_bpe_fini(struct tok_bpe *b);
bool tok_model_encode(const struct tok_model *m, const struct tok_vocab *v, struct tok_bpe *work,
                      const char *s, size_t n, struct tok_ids *out, struct error *err);

/* ---- steps: normalizers, pre-tokenizers and decoders, sequences flattened ---- */

enum tok_step_kind {
    /* normalizers */
    TOK_UNICODE,
    TOK_LOWERCASE,
    TOK_STRIP,
    TOK_STRIP_ACCENTS,
    TOK_REPLACE, /* a decoder too */
    TOK_PREPEND,
    TOK_NMT,
    TOK_BYTE_LEVEL, /* all three */
    /* pre-tokenizers */
    TOK_SPLIT,
    TOK_METASPACE, /* a decoder too */
    TOK_WHITESPACE,
    TOK_WHITESPACE_SPLIT,
    TOK_DIGITS,
    TOK_PUNCTUATION,
    TOK_DELIMITER,
    /* decoders */
    TOK_BYTE_FALLBACK,
    TOK_FUSE,
    TOK_STRIP_ENDS,
    TOK_BPE_SUFFIX,
};
enum tok_behavior { TOK_REMOVED, TOK_ISOLATED, TOK_WITH_PREVIOUS, TOK_WITH_NEXT, TOK_CONTIGUOUS };
enum tok_scheme { TOK_ALWAYS, TOK_FIRST, TOK_NEVER };

struct tok_step {
    enum tok_step_kind kind;
    enum tok_form form;
    enum tok_behavior behavior;
    enum tok_scheme scheme;
    bool invert, prefix_space, split, left, right;
    int32_t character;       /* Metaspace's replacement, the delimiter, what is stripped */
    int64_t start, stop;     /* how many are stripped */
    char *content;           /* put in place, in front, or taken off */
    struct tok_regex *regex; /* NULL: none */
};
struct tok_steps {
    struct tok_step *items;
    int n;
};

struct tokenizer {
    struct ledger *ledger;
    struct tok_vocab vocab;
    struct tok_model model;
    struct tok_matcher raw, normalized;
    struct tok_folded folded;
    struct tok_steps normalizers, splitters, decoders;
    bool has_decoder;
    int32_t *template; /* ids around the text; -1 stands for the text */
    int n_template;
};

/* Reads the three sequences and the post-processor. (tokenizer_steps.c) */
bool tok_steps_load(struct tokenizer *t, const struct json *root, struct error *err);
void tok_steps_fini(struct tok_steps *s, struct ledger *l);

/* Applies every normalizer. *text is replaced; head as in struct tok_cut. */
bool tok_normalize(const struct tokenizer *t, struct text *text, bool *head, struct error *err);
/* Applies one pre-tokenizer to all of p; spare is room to work in. */
bool tok_split(const struct tok_step *s, struct tok_passage *p, struct tok_passage *spare,
               struct error *err);
/* Applies one decoder, likewise. */
bool tok_decode_step(const struct tok_step *s, struct tok_passage *p, struct tok_passage *spare,
                     struct error *err);
/* The byte of a token such as "<0x0A>", else -1. */
int tok_fallback_byte(const char *s, size_t n);
void tok_add_byte_level(struct text *out, const char *s, size_t n);
/* Appends s with what matches replaced. */
bool tok_replace(struct tok_search *search, const char *s, size_t n, const char *content,
                 struct text *out, struct error *err);

/* ---- added tokens (tokenizer_added.c) ---- */

bool tok_added_load(struct tokenizer *t, const struct json *added, struct error *err);
void tok_added_fini(struct tokenizer *t);
/* How id is spelled where it is an added token of normalized text, else NULL. */
const struct tok_word *tok_added_folded(const struct tokenizer *t, int32_t id);
/* Cuts n bytes of from at `at` where added tokens stand; the cuts go to `to`. */
bool tok_added_cut(const struct tokenizer *t, const struct tok_matcher *m, const struct text *from,
                   size_t at, size_t n, bool head, struct tok_passage *to, struct error *err);

#endif
