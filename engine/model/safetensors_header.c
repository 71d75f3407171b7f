/* safetensors_header.c - every field of a header is checked here, and nothing is mapped yet. */
#include "engine/model/safetensors_header.h"
#include "engine/base/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADER_MAX 100000000ull /* as the reference implementation has it */
#define WHOLE_MAX  INT64_MAX    /* json_whole() stops at 2^53, where doubles get coarse */

/* ---- one tensor of a header ---- */

static const struct {
    const char *name;
    int bytes;
    enum dtype dtype;
} types[] = {
    {"F64", 8, DTYPE_N},     {"F32", 4, DTYPE_F32},   {"F16", 2, DTYPE_F16},
    {"BF16", 2, DTYPE_BF16}, {"I64", 8, DTYPE_N},     {"I32", 4, DTYPE_N},
    {"I16", 2, DTYPE_N},     {"I8", 1, DTYPE_N},      {"U64", 8, DTYPE_N},
    {"U32", 4, DTYPE_N},     {"U16", 2, DTYPE_N},     {"U8", 1, DTYPE_N},
    {"F8_E4M3", 1, DTYPE_N}, {"F8_E5M2", 1, DTYPE_N}, {"BOOL", 1, DTYPE_N},
};

/* Refuses a tensor, naming the file and it. */
static bool refuse(const struct tensor *t, struct error *err, enum error_code code,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));

static bool refuse(const struct tensor *t, struct error *err, enum error_code code,
                   const char *format, ...)
{
    char why[200];
    va_list args;

    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return error_set(err, code, "%s: tensor \"%.120s\": %s", t->file, t->name, why);
}

/* The type and the bytes of one element. */
static bool read_type(struct tensor *t, const struct json *entry, size_t *element,
                      struct error *err)
{
    const char *name = json_string(json_get(entry, "dtype"));

    if (name == NULL)
        return refuse(t, err, ERR_FORMAT, "has no dtype, or one that is not a string");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i].name, name) != 0)
            continue;
        strcpy(t->type, name);
        t->dtype = types[i].dtype;
        *element = (size_t)types[i].bytes;
        return true;
    }
    return refuse(t, err, ERR_UNSUPPORTED, "its dtype \"%.40s\" is not one that midpass knows",
                  name);
}

static bool read_shape(struct tensor *t, const struct json *entry, struct error *err)
{
    const struct json *shape = json_get(entry, "shape");

    if (!json_is_array(shape))
        return refuse(t, err, ERR_FORMAT, "has no shape, or one that is not a list");
    for (const struct json *d = json_first(shape); d != NULL; d = json_next(d)) {
        if (t->n_dims == TENSOR_MAX_DIMS)
            return refuse(t, err, ERR_UNSUPPORTED, "has %zu dimensions; midpass takes up to %d",
                          json_count(shape), TENSOR_MAX_DIMS);
        if (!json_whole(d, 0, WHOLE_MAX, &t->dims[t->n_dims]))
            return refuse(t, err, ERR_FORMAT,
                          "dimension %d of its shape is not a whole number from 0 on", t->n_dims);
        t->n_dims++;
    }
    return true;
}

/* Where the tensor lies in the data, [begin, end), checked against its shape and the file. */
static bool read_offsets(struct tensor *t, const struct json *entry, size_t element,
                         size_t data_bytes, size_t *begin, struct error *err)
{
    const struct json *offsets = json_get(entry, "data_offsets");
    int64_t from, to;
    size_t bytes = element;

    if (!json_is_array(offsets) || json_count(offsets) != 2)
        return refuse(t, err, ERR_FORMAT, "has no data_offsets, or not two of them");
    if (!json_whole(json_first(offsets), 0, WHOLE_MAX, &from) ||
        !json_whole(json_next(json_first(offsets)), 0, WHOLE_MAX, &to))
        return refuse(t, err, ERR_FORMAT, "its data_offsets are not whole numbers from 0 on");
    if (from > to)
        return refuse(t, err, ERR_FORMAT, "its data begins at %lld, after its end at %lld",
                      (long long)from, (long long)to);
    if ((uint64_t)to > data_bytes)
        return refuse(t, err, ERR_FORMAT, "its data ends at %lld, but the file has %zu bytes of it",
                      (long long)to, data_bytes);
    for (int i = 0; i < t->n_dims; i++)
        if (__builtin_mul_overflow(bytes, (size_t)t->dims[i], &bytes))
            return refuse(t, err, ERR_FORMAT, "its shape has more elements than can be counted");
    if (bytes != (size_t)(to - from))
        return refuse(t, err, ERR_FORMAT, "its shape and %s need %zu bytes, but it has %lld",
                      t->type, bytes, (long long)(to - from));
    *begin = (size_t)from;
    t->bytes = bytes;
    return true;
}

/* ---- all of them ---- */

struct span {
    size_t begin, end;
    const struct tensor *tensor;
};

static int span_order(const void *a, const void *b)
{
    const struct span *x = a, *y = b;

    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* Every byte of the file from first on belongs to exactly one tensor. */
static bool check_cover(const struct header *h, struct ledger *l, const char *path, size_t first,
                        size_t file_bytes, struct error *err)
{
    struct span *spans = mem_alloc_array(l, MEM_OTHER, (size_t)h->n, sizeof *spans, err);
    size_t done = first;
    bool ok = true;

    if (spans == NULL)
        return error_prefix(err, "%s", path);
    for (int i = 0; i < h->n; i++)
        spans[i] = (struct span){h->begins[i], h->begins[i] + h->tensors[i].bytes, &h->tensors[i]};
    qsort(spans, (size_t)h->n, sizeof *spans, span_order);
    for (int i = 0; ok && i < h->n; i++) {
        const struct tensor *t = spans[i].tensor;
        if (spans[i].begin < done)
            ok = refuse(t, err, ERR_FORMAT, "its data overlaps that of \"%.60s\"",
                        spans[i - 1].tensor->name);
        else if (spans[i].begin > done)
            ok = refuse(t, err, ERR_FORMAT, "the %zu bytes before its data belong to no tensor",
                        spans[i].begin - done);
        done = spans[i].end;
    }
    if (ok && done != file_bytes)
        ok = error_set(err, ERR_FORMAT, "%s: its last %zu bytes belong to no tensor", path,
                       file_bytes - done);
    mem_free(l, spans);
    return ok;
}

static bool read_exactly(int fd, void *out, size_t n, size_t offset, const char *path,
                         struct error *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(fd, (char *)out + done, n - done, (off_t)(offset + done));
        if (got < 0 && errno != EINTR)
            return error_set(err, ERR_FILE, "cannot read %s: %s", path, strerror(errno));
        if (got == 0)
            return error_set(err, ERR_FILE, "%s: became shorter while it was read", path);
        done += got > 0 ? (size_t)got : 0;
    }
    return true;
}

/* Checks the first 8 bytes against the file. *n is the length of the header. */
static bool read_length(int fd, const char *path, size_t file_bytes, size_t *n, struct error *err)
{
    unsigned char raw[8];
    uint64_t length = 0;
    char size[24];

    if (file_bytes < sizeof raw)
        return error_set(err, ERR_FORMAT, "%s: has %zu bytes, and a header's length alone has 8",
                         path, file_bytes);
    if (!read_exactly(fd, raw, sizeof raw, 0, path, err))
        return false;
    if (memcmp(raw, "version ", 8) == 0)
        return error_set(err, ERR_FORMAT,
                         "%s: is the pointer that Git LFS leaves in the file's place; "
                         "\"git lfs pull\" gets the file",
                         path);
    for (int i = 7; i >= 0; i--)
        length = length << 8 | raw[i];
    if (length > file_bytes - sizeof raw)
        return error_set(err, ERR_FORMAT,
                         "%s: its header should have %llu bytes, but the file has %zu; it is cut "
                         "short, or not in the safetensors format",
                         path, (unsigned long long)length, file_bytes);
    if (length > HEADER_MAX)
        return error_set(err, ERR_FORMAT,
                         "%s: its header has %s; at most 100,000,000 bytes are "
                         "allowed",
                         path, mem_format((size_t)length, size));
    *n = (size_t)length;
    return true;
}

static struct json_doc *read_json(struct ledger *l, int fd, const char *path, size_t n,
                                  struct error *err)
{
    char *text = mem_alloc(l, MEM_OTHER, n, err);
    struct json_doc *doc = NULL;

    if (text == NULL) {
        error_prefix(err, "%s", path);
        return NULL;
    }
    if (read_exactly(fd, text, n, 8, path, err)) {
        doc = json_parse(l, MEM_OTHER, text, n, "header", err);
        if (doc == NULL)
            error_prefix(err, "%s", path);
    }
    if (doc != NULL && (text[0] != '{' || !json_is_object(json_root(doc)))) {
        error_set(err, ERR_FORMAT, "%s: its header is not a JSON object", path);
        json_close(doc);
        doc = NULL;
    }
    mem_free(l, text);
    return doc;
}

static bool make_room(struct header *h, struct ledger *l, const struct json *root, const char *path,
                      struct error *err)
{
    size_t count = 0, names = 0;

    for (const struct json *m = json_first(root); m != NULL; m = json_next(m)) {
        if (strcmp(json_key(m), "__metadata__") == 0)
            continue;
        names += strlen(json_key(m)) + 1;
        count++;
    }
    if (count > INT32_MAX)
        return error_set(err, ERR_UNSUPPORTED, "%s: has too many tensors", path);
    h->n = (int)count;
    h->names = mem_alloc(l, MEM_OTHER, names, err);
    h->tensors = mem_alloc_array(l, MEM_OTHER, count, sizeof *h->tensors, err);
    h->begins = mem_alloc_array(l, MEM_OTHER, count, sizeof *h->begins, err);
    if (h->names == NULL || h->tensors == NULL || h->begins == NULL)
        return error_prefix(err, "%s", path);
    return true;
}

/* Reads all members. Offsets count from first, where the file's data begins. */
static bool read_tensors(struct header *h, const struct json *root, const char *path, size_t first,
                         size_t data_bytes, struct error *err)
{
    char *name = h->names;
    int n = 0;

    for (const struct json *m = json_first(root); m != NULL; m = json_next(m)) {
        if (strcmp(json_key(m), "__metadata__") == 0) {
            if (!json_is_object(m))
                return error_set(err, ERR_FORMAT, "%s: its __metadata__ is not an object", path);
            continue;
        }
        struct tensor *t = &h->tensors[n];
        size_t element = 0, begin = 0;
        *t = (struct tensor){.name = name, .file = path};
        strcpy(name, json_key(m));
        name += strlen(name) + 1;
        if (!json_is_object(m))
            return refuse(t, err, ERR_FORMAT, "its entry in the header is not an object");
        if (!read_type(t, m, &element, err) || !read_shape(t, m, err) ||
            !read_offsets(t, m, element, data_bytes, &begin, err))
            return false;
        h->begins[n++] = first + begin;
    }
    return true;
}

bool header_read(struct header *h, struct ledger *l, int fd, const char *path, size_t file_bytes,
                 struct error *err)
{
    size_t n = 0;

    *h = (struct header){0};
    if (!read_length(fd, path, file_bytes, &n, err))
        return false;
    struct json_doc *doc = read_json(l, fd, path, n, err);
    if (doc == NULL)
        return false;
    size_t first = 8 + n;
    bool ok = make_room(h, l, json_root(doc), path, err) &&
              read_tensors(h, json_root(doc), path, first, file_bytes - first, err) &&
              check_cover(h, l, path, first, file_bytes, err);
    json_close(doc);
    if (!ok)
        header_fini(h, l);
    return ok;
}

void header_fini(struct header *h, struct ledger *l)
{
    mem_free(l, h->names);
    mem_free(l, h->tensors);
    mem_free(l, h->begins);
    *h = (struct header){0};
}
