#include "tui/completion.h"

#include "tui/cells.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct finder {
    struct completion *c;
    const struct completion_source *s;
    const char *word; /* what was typed of it */
    size_t n;
    bool ok;
};

static bool grow(struct completion *c)
{
    if (c->n < c->room)
        return true;
    size_t room = c->room ? 2 * c->room : 32;
    char **p = mem_resize(c->ledger, MEM_OTHER, c->list, room * sizeof *p, NULL);
    if (!p)
        return false;
    c->list = p;
    c->room = room;
    return true;
}

/* Keeps what the longer of two have in common, up to a whole character. */
static void shorten_common(struct completion *c, const char *s)
{
    size_t i = 0;
    while (c->common[i] && c->common[i] == s[i])
        i++;
    while (i > 0 && ((unsigned char)c->common[i] & 0xc0) == 0x80)
        i--;
    c->common[i] = '\0';
}

static void add_bytes(struct finder *f, const char *s, size_t n)
{
    struct completion *c = f->c;
    if (!f->ok || n < f->n || memcmp(s, f->word, f->n) != 0)
        return;
    for (size_t i = 0; i < c->n; i++)
        if (strlen(c->list[i]) == n && memcmp(c->list[i], s, n) == 0)
            return;
    char *copy = n < 4096 ? mem_alloc(c->ledger, MEM_OTHER, n + 1, NULL) : NULL;
    if (!copy || (c->n < COMPLETION_MOST && !grow(c))) {
        mem_free(c->ledger, copy);
        f->ok = false;
        return;
    }
    memcpy(copy, s, n);
    if (c->found++ == 0)
        snprintf(c->common, sizeof c->common, "%.255s", copy);
    else
        shorten_common(c, copy);
    if (c->n < COMPLETION_MOST)
        c->list[c->n++] = copy;
    else
        mem_free(c->ledger, copy);
}

static void add(struct finder *f, const char *s)
{
    add_bytes(f, s, strlen(s));
}

/* ---- kinds of words ---- */

static void add_commands(struct finder *f)
{
    for (int i = 0; command_at(i); i++)
        add(f, command_at(i)->name);
    for (int i = 0; f->s->words && f->s->words[i]; i++)
        add(f, f->s->words[i]);
}

/* Short names as long as nobody writes the long ones: both lists at once would be twice as long
 * as anybody wants. */
static void add_sites(struct finder *f)
{
    if (!f->s->console)
        return;
    const struct program *p = &f->s->console->session->model.program;
    char name[64];
    bool all = f->n >= 2 && memcmp(f->word, "*.", 2) == 0;
    for (int i = 0; i < p->n_ops; i++) {
        const struct op *o = &p->ops[i];
        if (!o->site)
            continue;
        site_short_name(o->site, o->layer, name);
        add(f, name);
        if (f->n > 0) {
            add(f, site_name(o->site, o->layer, name));
            snprintf(name, sizeof name, "*.%s", site_short(o->site));
            if (all && site_in_block(o->site))
                add(f, name);
        }
    }
}

static void add_functions(struct finder *f)
{
    static const char *const names[] = {
        "norm(",   "sum(",    "mean(", "max(",     "min(",     "std(", "abs(",   "argmax(",
        "argmin(", "cos(",    "dot(",  "softmax(", "entropy(", "kl(",  "isnan(", "logit(\"",
        "prob(\"", "rank(\"", "lens(", "W(",       "dir(\"",   NULL};
    for (int i = 0; f->n > 0 && names[i]; i++)
        add(f, names[i]);
}

static void add_words(struct finder *f, const char *const *words)
{
    for (int i = 0; words && words[i]; i++)
        add(f, words[i]);
}

static void add_numbers(struct finder *f, bool patches)
{
    char number[24];
    if (!f->s->console || (f->s->idle && !f->s->idle(f->s->context)))
        return;
    const struct session *s = f->s->console->session;
    for (int i = 0; patches && i < s->patches.n; i++) {
        snprintf(number, sizeof number, "%d", s->patches.list[i].id);
        add(f, number);
    }
    for (int i = 0; !patches && i < s->breakpoints.n; i++) {
        snprintf(number, sizeof number, "%d", s->breakpoints.list[i].id);
        add(f, number);
    }
}

/* Token strings behind a quote, as text that the expression reader takes back. */
static void add_tokens(struct finder *f)
{
    if (!f->s->console || !f->s->console->session->model.tokenizer)
        return;
    const struct tokenizer *t = f->s->console->session->model.tokenizer;
    struct text piece, shown;
    text_init(&piece, f->c->ledger, MEM_OTHER);
    text_init(&shown, f->c->ledger, MEM_OTHER);
    for (int32_t id = 0; f->ok && id < tokenizer_count(t); id++) {
        text_clear(&piece);
        text_clear(&shown);
        if (!tokenizer_piece(t, id, &piece, NULL) || piece.n == 0 || piece.n > 200)
            continue;
        text_add_shown(&shown, piece.data, piece.n, true);
        if (!text_ok(&shown, NULL))
            f->ok = false;
        else
            add_bytes(f, shown.data + 1, shown.n - 1); /* the quote stands there already */
    }
    text_fini(&piece);
    text_fini(&shown);
}

static void add_files(struct finder *f)
{
    char folder[4096], path[8192];
    size_t n = f->n;
    while (n > 0 && f->word[n - 1] != '/')
        n--;
    if (n >= sizeof folder)
        return;
    memcpy(folder, f->word, n);
    folder[n] = '\0';
    DIR *d = opendir(n ? folder : ".");
    for (struct dirent *e; d && (e = readdir(d));) {
        struct stat st;
        if (e->d_name[0] == '.' && (f->n == n || f->word[n] != '.'))
            continue;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        int k = snprintf(path, sizeof path - 1, "%s%s", folder, e->d_name);
        if (k <= 0 || k >= (int)sizeof path - 1)
            continue;
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
            strcat(path, "/");
        add(f, path);
    }
    if (d)
        closedir(d);
}

/* ---- where in the line ---- */

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '.' || c == '_' || c == '*' || c == '-' || c == '$';
}

/* Where the quoted string begins that the cursor is in; SIZE_MAX: in none. */
static size_t open_quote(const char *line, size_t at)
{
    size_t from = SIZE_MAX;
    for (size_t i = 0; i < at; i++) {
        if (line[i] == '\\' && from != SIZE_MAX)
            i++;
        else if (line[i] == '"')
            from = from == SIZE_MAX ? i + 1 : SIZE_MAX;
    }
    return from;
}

static int by_name(const void *a, const void *b)
{
    return strverscmp(*(char *const *)a, *(char *const *)b);
}

/* The word behind the command: "delete patch 1", "info br", "set sampler". */
static bool has_word(const char *rest, size_t n, const char *word)
{
    size_t length = strlen(word);
    return n > length && strncmp(rest, word, length) == 0 && isblank((unsigned char)rest[length]);
}

static void find_argument(struct finder *f, const struct command *k, const char *rest, size_t n)
{
    bool first = n <= f->n + strspn(rest, " \t");
    bool numbered = strcmp(k->name, "delete") == 0 || strcmp(k->name, "enable") == 0 ||
                    strcmp(k->name, "disable") == 0 || strcmp(k->name, "condition") == 0 ||
                    strcmp(k->name, "ignore") == 0;
    rest += strspn(rest, " \t");
    if (first)
        add_words(f, k->words);
    if (numbered) {
        if (first && f->n > 0)
            add(f, "patch");
        add_numbers(f, has_word(rest, n, "patch"));
        return;
    }
    if (strcmp(k->name, "help") == 0) {
        add_commands(f);
        add(f, "expressions");
        return;
    }
    switch (k->takes) {
    case TAKES_FILE:
        add_files(f);
        break;
    case TAKES_WORD:
        if (!first && strcmp(k->name, "info") != 0)
            break;
        if (strcmp(k->name, "set") == 0)
            add_sites(f);
        break;
    case TAKES_EXPR:
    case TAKES_SITE:
        add_sites(f);
        add_functions(f);
        break;
    case TAKES_TEXT:
    case TAKES_NOTHING:
        break;
    }
    if (k->outside && k->takes == TAKES_SITE)
        add_files(f); /* save SITE FILE */
}

bool completion_find(struct completion *c, const struct completion_source *s, const char *line,
                     size_t at, struct error *err)
{
    *c = (struct completion){.ledger = s->ledger};
    struct finder f = {.c = c, .s = s, .ok = true};
    size_t start = strspn(line, " \t"), end = start;
    while (end < at && !isblank((unsigned char)line[end]))
        end++;
    size_t quote = open_quote(line, at);
    if (end >= at) {
        c->from = start < at ? start : at;
        f.word = line + c->from;
        f.n = at - c->from;
        c->closes = true;
        add_commands(&f);
    } else {
        size_t slash = start;
        while (slash < end && line[slash] != '/')
            slash++;
        const struct command *k = command_find(line + start, slash - start, 0, NULL);
        bool file = k && k->takes == TAKES_FILE;
        c->from = at;
        if (quote != SIZE_MAX)
            c->from = quote;
        else
            while (c->from > end &&
                   (file ? !isblank((unsigned char)line[c->from - 1]) : is_word(line[c->from - 1])))
                c->from--;
        f.word = line + c->from;
        f.n = at - c->from;
        c->closes = quote == SIZE_MAX;
        if (quote != SIZE_MAX)
            add_tokens(&f);
        else if (k)
            find_argument(&f, k, line + end, at - end);
    }
    if (c->n > 1)
        qsort(c->list, c->n, sizeof *c->list, by_name);
    size_t length = strlen(c->common);
    if (c->found == 1 && length > 0 && strchr("(/\"", c->common[length - 1]))
        c->closes = false;
    return f.ok || error_set(err, ERR_MEMORY, "no memory to complete the line");
}

void completion_fini(struct completion *c)
{
    for (size_t i = 0; i < c->n; i++)
        mem_free(c->ledger, c->list[i]);
    mem_free(c->ledger, c->list);
    c->list = NULL;
    c->n = c->room = 0;
}

#define LISTED 120 /* more are counted, not shown */

/* Columns of a candidate as it will be shown, control bytes as escapes. */
static int shown_columns(const struct completion *c, size_t i)
{
    struct text t;
    text_init(&t, c->ledger, MEM_OTHER);
    text_add_shown(&t, c->list[i], strlen(c->list[i]), false);
    int n = text_ok(&t, NULL) && t.data ? text_columns(t.data) : 0;
    text_fini(&t);
    return n;
}

void completion_add_list(const struct completion *c, int width, struct text *out)
{
    size_t shown = c->n < LISTED ? c->n : LISTED;
    int widest = 1;
    for (size_t i = 0; i < shown; i++)
        if (shown_columns(c, i) > widest)
            widest = shown_columns(c, i);
    int columns = width / (widest + 2);
    columns = columns < 1 ? 1 : columns;
    for (size_t i = 0; i < shown; i++) {
        bool last = (int)(i % (size_t)columns) == columns - 1 || i + 1 == shown;
        text_add_shown(out, c->list[i], strlen(c->list[i]), false);
        if (last)
            text_add(out, "\n");
        else
            text_printf(out, "%*s", widest + 2 - shown_columns(c, i), "");
    }
    if (c->found > shown)
        text_printf(out, "and %zu more\n", c->found - shown);
}
