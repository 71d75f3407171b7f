/* json.c - the text is checked by us, then built into a tree by cJSON in our arena.
 *
 * cJSON alone is too lenient for files from strangers: it takes raw controls, reads
 * "\uZZZZ" as NUL, cuts strings at \u0000, skips any control as white space, and looks one
 * byte past a text that ends after a comma. So check_text() goes over every byte first and
 * leaves to cJSON only texts whose strings are sound and whose brackets match.
 *
 * \u0000 is refused: json_string() gives C strings, and a cut one would be a lie.
 * Of two members with one key json_get() gives the last, as Python does.
 */
#include "engine/base/json.h"
#include "engine/base/text.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <utf8proc.h>

#define MAX_DEPTH   500 /* cJSON's own limit is 1000; its recursion stays small */
#define CHUNK_FIRST 4096
#define CHUNK_MAX   (1024 * 1024)

struct chunk {
    struct chunk *next;
    size_t used, room;
    _Alignas(16) char data[];
};

struct json_doc {
    struct ledger *ledger;
    enum mem_category category;
    struct chunk *chunks; /* the newest first */
    cJSON *root;
};

/* ---- the arena that cJSON allocates from ---- */

/* cJSON's hooks are global and take no argument, and it keeps its last error in a global
 * too: one document is parsed at a time. */
static pthread_mutex_t parse_lock = PTHREAD_MUTEX_INITIALIZER;
static struct json_doc *parsing;
static struct error parsing_error; /* of the ledger */

static void *arena_take(size_t bytes)
{
    struct json_doc *d = parsing;
    struct chunk *c = d->chunks;

    bytes = (bytes + 7) & ~(size_t)7;
    if (c == NULL || bytes > c->room - c->used) {
        size_t room = c == NULL ? CHUNK_FIRST : c->room * 2;
        room = room < CHUNK_MAX ? room : CHUNK_MAX;
        room = room > bytes ? room : bytes;
        c = mem_alloc(d->ledger, d->category, sizeof *c + room, &parsing_error);
        if (c == NULL)
            return NULL;
        c->room = room;
        c->next = d->chunks;
        d->chunks = c;
    }
    void *p = c->data + c->used;
    c->used += bytes;
    return p;
}

static void arena_give(void *p)
{
    (void)p; /* all goes at once, with the document */
}

/* ---- what cJSON must not see ---- */

struct scan {
    const char *text, *name;
    size_t n;
    size_t before; /* bytes of the caller's text that were skipped */
    struct error *err;
};

/* The text need not end in NUL: after its end there is a blank. */
static char at(const struct scan *s, size_t k)
{
    return k < s->n ? s->text[k] : ' ';
}

static size_t line_of(const struct scan *s, size_t end)
{
    size_t line = 1;

    for (size_t i = 0; i < end && i < s->n; i++)
        line += s->text[i] == '\n';
    return line;
}

static bool refuse(const struct scan *s, enum error_code code, size_t where, const char *what)
{
    return error_set(s->err, code, "%s: byte %zu (line %zu): %s", s->name, s->before + where,
                     line_of(s, where), what);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* The escape at i, which stands on a backslash; *i is moved past it. Which letters may follow
 * is left to cJSON, but for those after \u. */
static bool check_escape(const struct scan *s, size_t *i)
{
    size_t start = *i;

    if (at(s, start + 1) == 'u') {
        for (size_t k = 2; k < 6; k++)
            if (!is_hex(at(s, start + k)))
                return refuse(s, ERR_FORMAT, start, "\\u without four hexadecimal digits");
        if (memcmp(s->text + start + 2, "0000", 4) == 0)
            return refuse(s, ERR_UNSUPPORTED, start, "a string has \\u0000 in it");
        *i = start + 6;
        return true;
    }
    *i = start + 2;
    return true;
}

/* The string whose opening quote is at i; *i is moved past the closing one. */
static bool check_string(const struct scan *s, size_t *i)
{
    size_t start = *i;

    for (size_t k = start + 1; k < s->n;) {
        unsigned char c = (unsigned char)s->text[k];
        utf8proc_int32_t point;
        if (c == '"') {
            *i = k + 1;
            return true;
        }
        if (c < 0x20)
            return refuse(s, ERR_FORMAT, k, "a string has a raw control byte in it");
        if (c == '\\') {
            if (!check_escape(s, &k))
                return false;
        } else if (c < 0x80) {
            k++;
        } else {
            size_t left = s->n - k < 4 ? s->n - k : 4;
            utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)s->text + k,
                                                    (utf8proc_ssize_t)left, &point);
            if (got <= 0)
                return refuse(s, ERR_FORMAT, k, "a string is not UTF-8");
            k += (size_t)got;
        }
    }
    return refuse(s, ERR_FORMAT, start, "the text ends inside the string that begins here");
}

/* The number at i, after which *i is moved. cJSON would take 01, 1. and -. */
static bool check_number(const struct scan *s, size_t *i)
{
    size_t k = *i;
    bool sound;

    k += at(s, k) == '-';
    sound = is_digit(at(s, k)) && !(at(s, k) == '0' && is_digit(at(s, k + 1)));
    while (is_digit(at(s, k)))
        k++;
    if (at(s, k) == '.') {
        sound = sound && is_digit(at(s, ++k));
        while (is_digit(at(s, k)))
            k++;
    }
    if (at(s, k) == 'e' || at(s, k) == 'E') {
        k++;
        k += at(s, k) == '+' || at(s, k) == '-';
        sound = sound && is_digit(at(s, k));
        while (is_digit(at(s, k)))
            k++;
    }
    if (!sound)
        return refuse(s, ERR_FORMAT, *i, "this is not a number");
    *i = k;
    return true;
}

/* Strings are sound, there are no stray bytes, and brackets match to a depth that is fine. */
static bool check_text(const struct scan *s)
{
    char open[MAX_DEPTH];
    size_t depth = 0, i = 0;

    while (i < s->n) {
        char c = s->text[i];
        if (c == '"') {
            if (!check_string(s, &i))
                return false;
            continue;
        }
        if (c == '-' || is_digit(c)) {
            if (!check_number(s, &i))
                return false;
            continue;
        }
        if (c == '{' || c == '[') {
            if (depth == MAX_DEPTH)
                return refuse(s, ERR_FORMAT, i, "nested more than 500 deep");
            open[depth++] = c == '{' ? '}' : ']';
        } else if (c == '}' || c == ']') {
            if (depth == 0 || open[--depth] != c)
                return refuse(s, ERR_FORMAT, i, "a closing bracket without its opening one");
        } else if (c == '\0') {
            return refuse(s, ERR_FORMAT, i, "a NUL byte, which is no part of JSON");
        } else if ((c < ' ' && c != '\n' && c != '\t' && c != '\r') || c > '~') {
            return refuse(s, ERR_FORMAT, i, "a byte outside strings that is no part of JSON");
        }
        i++;
    }
    if (depth > 0)
        return refuse(s, ERR_FORMAT, s->n,
                      open[depth - 1] == '}' ? "the text ends inside an object"
                                             : "the text ends inside a list");
    return true;
}

/* ---- documents ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static bool build(struct json_doc *d, const struct scan *s)
{
    cJSON_Hooks hooks = {.malloc_fn = arena_take, .free_fn = arena_give};
    const char *end = NULL;

    pthread_mutex_lock(&parse_lock);
    parsing = d;
    parsing_error = (struct error){0};
    cJSON_InitHooks(&hooks);
    d->root = cJSON_ParseWithLengthOpts(s->text, s->n, &end, false);
    struct error memory = parsing_error;
    pthread_mutex_unlock(&parse_lock);

    if (memory.code != ERR_NONE) {
        error_set(s->err, memory.code, "%s: %s", s->name, memory.text);
        return false;
    }
    size_t done = end == NULL ? 0 : (size_t)(end - s->text);
    if (d->root == NULL)
        return refuse(s, ERR_FORMAT, done, "this is not JSON");
    while (done < s->n && is_blank(s->text[done]))
        done++;
    if (done < s->n)
        return refuse(s, ERR_FORMAT, done, "there is more after the end of the JSON value");
    return true;
}

struct json_doc *json_parse(struct ledger *l, enum mem_category c, const char *text, size_t bytes,
                            const char *name, struct error *err)
{
    struct scan s = {.text = text, .name = name, .n = bytes, .err = err};

    /* Some editors put a byte order mark in front. */
    if (bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        s.text += 3;
        s.n -= 3;
        s.before = 3;
    }
    while (s.n > 0 && is_blank(s.text[s.n - 1]))
        s.n--;
    if (s.n == 0) {
        error_set(err, ERR_FORMAT, "%s: is empty, where JSON is expected", name);
        return NULL;
    }
    if (!check_text(&s))
        return NULL;
    struct json_doc *d = mem_alloc(l, c, sizeof *d, err);
    if (d == NULL) {
        error_prefix(err, "%s", name);
        return NULL;
    }
    d->ledger = l;
    d->category = c;
    if (!build(d, &s)) {
        json_close(d);
        return NULL;
    }
    return d;
}

struct json_doc *json_read(struct ledger *l, enum mem_category c, const char *path, size_t limit,
                           struct error *err)
{
    size_t n;
    char *text = file_read(l, c, path, limit, &n, err);
    if (text == NULL)
        return NULL;
    struct json_doc *d = json_parse(l, c, text, n, path, err);
    mem_free(l, text);
    return d;
}

void json_close(struct json_doc *d)
{
    if (d == NULL)
        return;
    for (struct chunk *c = d->chunks, *next; c != NULL; c = next) {
        next = c->next;
        mem_free(d->ledger, c);
    }
    mem_free(d->ledger, d);
}

/* ---- walking: struct json is cJSON, seen from outside ---- */

static const cJSON *in(const struct json *j)
{
    return (const cJSON *)j;
}

const struct json *json_root(const struct json_doc *d)
{
    return (const struct json *)d->root;
}

const struct json *json_get(const struct json *j, const char *key)
{
    const cJSON *found = NULL;

    if (!json_is_object(j))
        return NULL;
    for (const cJSON *m = in(j)->child; m != NULL; m = m->next)
        if (strcmp(m->string, key) == 0)
            found = m;
    return (const struct json *)found;
}

const struct json *json_first(const struct json *j)
{
    return j == NULL ? NULL : (const struct json *)in(j)->child;
}

const struct json *json_next(const struct json *j)
{
    return j == NULL ? NULL : (const struct json *)in(j)->next;
}

const char *json_key(const struct json *j)
{
    return j == NULL ? NULL : in(j)->string;
}

size_t json_count(const struct json *j)
{
    size_t n = 0;

    for (j = json_first(j); j != NULL; j = json_next(j))
        n++;
    return n;
}

bool json_is_object(const struct json *j)
{
    return j != NULL && cJSON_IsObject(in(j));
}

bool json_is_array(const struct json *j)
{
    return j != NULL && cJSON_IsArray(in(j));
}

bool json_is_string(const struct json *j)
{
    return j != NULL && cJSON_IsString(in(j));
}

/* 1e999 is none: nobody who asks for a number wants an infinity. */
bool json_is_number(const struct json *j)
{
    return j != NULL && cJSON_IsNumber(in(j)) && isfinite(in(j)->valuedouble);
}

bool json_is_bool(const struct json *j)
{
    return j != NULL && cJSON_IsBool(in(j));
}

bool json_is_null(const struct json *j)
{
    return j == NULL || cJSON_IsNull(in(j));
}

const char *json_string(const struct json *j)
{
    return json_is_string(j) ? in(j)->valuestring : NULL;
}

double json_number(const struct json *j)
{
    return json_is_number(j) ? in(j)->valuedouble : 0;
}

bool json_true(const struct json *j)
{
    return j != NULL && cJSON_IsTrue(in(j));
}

bool json_whole(const struct json *j, int64_t low, int64_t high, int64_t *out)
{
    if (!json_is_number(j))
        return false;
    double x = in(j)->valuedouble;
    /* From 2^53 on a double may stand for a neighbour of what the text says: refused, so that
     * what is accepted is exact. */
    if (!(fabs(x) < 9007199254740992.0) || x != floor(x))
        return false;
    int64_t whole = (int64_t)x;
    if (whole < low || whole > high)
        return false;
    *out = whole;
    return true;
}
