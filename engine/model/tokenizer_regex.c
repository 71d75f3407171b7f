/* tokenizer_regex.c - PCRE2, with every byte from the ledger and an end to every search.
 *
 * A pattern from a stranger may backtrack without end: a search that takes more steps or more
 * memory than any sane pattern needs is an error, never a hang or an overflown stack.
 */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "engine/model/tokenizer_parts.h"

#include <pcre2.h>
#include <stdio.h>
#include <string.h>

#define MAX_STEPS   10000000 /* of one search; Oniguruma's own limit */
#define MAX_HEAP    65536    /* KiB, of the interpreter's backtracking */
#define MAX_NESTING 250
#define MAX_PATTERN 100000

struct tok_regex {
    struct ledger *ledger;
    pcre2_general_context *general;
    pcre2_match_context *limits;
    pcre2_code *code;
    size_t jit_bytes;  /* PCRE2 maps these itself */
    const char *plain; /* a literal without special cases is found by memmem */
    size_t n_plain;
    char where[96];
};

static void *take(PCRE2_SIZE bytes, void *l)
{
    return mem_alloc(l, MEM_TOKENIZER, bytes, NULL);
}

static void give(void *p, void *l)
{
    mem_free(l, p);
}

static bool no_memory(const struct tok_regex *r, struct error *err)
{
    return error_set(err, ERR_MEMORY, "%s: no memory for the regular expression", r->where);
}

void tok_regex_close(struct tok_regex *r)
{
    struct ledger *l;

    if (r == NULL)
        return;
    l = r->ledger;
    if (r->jit_bytes > 0)
        ledger_give(l, MEM_TOKENIZER, MEM_HOST, r->jit_bytes);
    pcre2_code_free(r->code);
    pcre2_match_context_free(r->limits);
    pcre2_general_context_free(r->general);
    mem_free(l, (char *)r->plain);
    mem_free(l, r);
}

static bool is_no_memory(int code)
{
    return code == PCRE2_ERROR_NOMEMORY || code == PCRE2_ERROR_HEAP_FAILED;
}

static bool compile(struct tok_regex *r, const char *pattern, struct error *err)
{
    pcre2_compile_context *context = pcre2_compile_context_create(r->general);
    PCRE2_UCHAR message[128];
    PCRE2_SIZE at;
    int code;

    if (context == NULL)
        return no_memory(r, err);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context, MAX_NESTING);
    pcre2_set_max_pattern_length(context, MAX_PATTERN);
    /* ^ and $ stand at every line, as in Ruby. \C could match half a character. */
    r->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                            &code, &at, context);
    pcre2_compile_context_free(context);
    if (r->code != NULL)
        return true;
    if (is_no_memory(code))
        return no_memory(r, err);
    pcre2_get_error_message(code, message, sizeof message);
    const char *rest = at <= strlen(pattern) ? pattern + at : "";
    char shown[TOK_SHOWN];
    return error_set(err, ERR_UNSUPPORTED, "%s: the regular expression is not understood at %s: %s",
                     r->where, tok_shown(shown, rest, strlen(rest)), (char *)message);
}

/* Without JIT (not built in, or the system gives no executable pages) PCRE2 interprets. */
static bool speed_up(struct tok_regex *r, struct error *err)
{
    size_t bytes = 0;

    if (pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE) != 0)
        return true;
    pcre2_pattern_info(r->code, PCRE2_INFO_JITSIZE, &bytes);
    if (!ledger_take(r->ledger, MEM_TOKENIZER, MEM_HOST, bytes, err))
        return false;
    r->jit_bytes = bytes;
    return true;
}

static bool build(struct tok_regex *r, const char *pattern, struct error *err)
{
    struct text translated;
    bool ok;

    r->general = pcre2_general_context_create(take, give, r->ledger);
    if (r->general == NULL)
        return no_memory(r, err);
    r->limits = pcre2_match_context_create(r->general);
    if (r->limits == NULL)
        return no_memory(r, err);
    pcre2_set_match_limit(r->limits, MAX_STEPS);
    pcre2_set_depth_limit(r->limits, MAX_STEPS);
    pcre2_set_heap_limit(r->limits, MAX_HEAP);
    text_init(&translated, r->ledger, MEM_TOKENIZER);
    text_add(&translated, "");
    ok = tok_pattern_translate(pattern, &translated, r->where, err) && text_ok(&translated, err) &&
         compile(r, translated.data, err) && speed_up(r, err);
    text_fini(&translated);
    return ok;
}

struct tok_regex *tok_regex_open(struct ledger *l, const char *pattern, bool literal,
                                 const char *where, struct error *err)
{
    struct tok_regex *r = mem_alloc(l, MEM_TOKENIZER, sizeof *r, err);

    if (r == NULL)
        return NULL;
    r->ledger = l;
    strncpy(r->where, where, sizeof r->where - 1);
    if (literal) {
        r->n_plain = strlen(pattern);
        r->plain = mem_strdup(l, MEM_TOKENIZER, pattern, err);
    }
    if (literal ? r->plain == NULL : !build(r, pattern, err)) {
        tok_regex_close(r);
        return NULL;
    }
    return r;
}

bool tok_regex_knows(struct ledger *l, const char *name, bool *known, struct error *err)
{
    pcre2_general_context *general = pcre2_general_context_create(take, give, l);
    pcre2_compile_context *context = NULL;
    pcre2_code *code = NULL;
    char pattern[80];
    PCRE2_SIZE at;
    int problem = PCRE2_ERROR_NOMEMORY;

    snprintf(pattern, sizeof pattern, "\\p{%s}", name);
    if (general != NULL)
        context = pcre2_compile_context_create(general);
    if (context != NULL)
        code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                             &problem, &at, context);
    *known = code != NULL;
    pcre2_code_free(code);
    pcre2_compile_context_free(context);
    pcre2_general_context_free(general);
    if (!*known && is_no_memory(problem))
        return error_set(err, ERR_MEMORY, "no memory for a regular expression");
    return true;
}

/* ---- searching ---- */

bool tok_search_init(struct tok_search *s, const struct tok_regex *r, struct error *err)
{
    *s = (struct tok_search){.regex = r};
    if (r == NULL || r->plain != NULL)
        return true;
    s->match = pcre2_match_data_create(1, r->general);
    return s->match != NULL || no_memory(r, err);
}

void tok_search_fini(struct tok_search *s)
{
    if (s->match != NULL)
        pcre2_match_data_free(s->match);
    s->match = NULL;
}

void tok_search_start(struct tok_search *s, const char *text, size_t n)
{
    s->text = text;
    s->n = n;
    s->from = 0;
    s->any = false;
}

static int failure(const struct tok_regex *r, int code, struct error *err)
{
    PCRE2_UCHAR message[128];

    if (code == PCRE2_ERROR_NOMEMORY)
        no_memory(r, err);
    else if (code == PCRE2_ERROR_MATCHLIMIT || code == PCRE2_ERROR_DEPTHLIMIT ||
             code == PCRE2_ERROR_HEAPLIMIT)
        error_set(err, ERR_UNSUPPORTED,
                  "%s: the regular expression backtracks without end on this text", r->where);
    else {
        pcre2_get_error_message(code, message, sizeof message);
        error_set(err, ERR_UNSUPPORTED, "%s: the regular expression fails: %s", r->where,
                  (char *)message);
    }
    return -1;
}

static int find(struct tok_search *s, size_t from, size_t *start, size_t *end, struct error *err)
{
    const struct tok_regex *r = s->regex;

    if (r->plain != NULL) {
        const char *at = memmem(s->text + from, s->n - from, r->plain, r->n_plain);
        if (at == NULL)
            return 0;
        *start = (size_t)(at - s->text);
        *end = *start + r->n_plain;
        return 1;
    }
    /* The text was made valid UTF-8 before it came here. */
    int code = pcre2_match(r->code, (PCRE2_SPTR)s->text, s->n, from, PCRE2_NO_UTF_CHECK, s->match,
                           r->limits);
    if (code == PCRE2_ERROR_JIT_STACKLIMIT)
        code = pcre2_match(r->code, (PCRE2_SPTR)s->text, s->n, from,
                           PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s->match, r->limits);
    if (code == PCRE2_ERROR_NOMATCH)
        return 0;
    if (code < 0)
        return failure(r, code, err);
    PCRE2_SIZE *ends = pcre2_get_ovector_pointer(s->match);
    *start = ends[0];
    *end = ends[1];
    if (*start > *end || *start < from) { /* \K in an odd place */
        error_set(err, ERR_UNSUPPORTED, "%s: the regular expression matches backwards", r->where);
        return -1;
    }
    return 1;
}

/* An empty match right behind the last one is passed over, a character on, as the search that
 * Hugging Face uses does. */
int tok_search_next(struct tok_search *s, size_t *start, size_t *end, struct error *err)
{
    for (;;) {
        int32_t c;
        if (s->from > s->n)
            return 0;
        int found = find(s, s->from, start, end, err);
        if (found <= 0)
            return found;
        if (*start < *end || !s->any || s->last != *end) {
            s->from = s->last = *end;
            s->any = true;
            return 1;
        }
        s->from += s->from < s->n ? tok_char(s->text + s->from, s->n - s->from, &c) : 1;
    }
}

bool tok_replace(struct tok_search *search, const char *s, size_t n, const char *content,
                 struct text *out, struct error *err)
{
    size_t done = 0, start, end;
    int found;

    tok_search_start(search, s, n);
    while (n > 0 && (found = tok_search_next(search, &start, &end, err)) != 0) {
        if (found < 0)
            return false;
        text_add_bytes(out, s + done, start - done);
        text_add(out, content);
        done = end;
    }
    text_add_bytes(out, s + done, n - done);
    return text_ok(out, err);
}
