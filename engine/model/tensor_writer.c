/* tensor_writer.c - the writing half of safetensors.h: a header first, then floats as they come. */
#include "engine/base/text.h"
#include "engine/model/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MAX 100000000

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "floats are written as they lie");
_Static_assert(sizeof(float) == 4, "F32");

struct tensor_writer {
    struct ledger *ledger;
    struct file_writer file;
    size_t floats, written; /* of all tensors */
};

static int name_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A reader would refuse what has one name twice, or take __metadata__ for something else. */
static bool check_names(struct ledger *l, const char *path, const struct tensor_spec *specs, int n,
                        struct error *err)
{
    const char **names = mem_alloc_array(l, MEM_OTHER, (size_t)n, sizeof *names, err);
    bool ok = true;

    if (names == NULL)
        return false;
    for (int i = 0; i < n; i++)
        names[i] = specs[i].name;
    qsort(names, (size_t)n, sizeof *names, name_order);
    for (int i = 0; ok && i < n; i++) {
        if (strcmp(names[i], "__metadata__") == 0)
            ok = error_set(err, ERR_USAGE, "%s: no tensor may be named __metadata__", path);
        else if (i > 0 && strcmp(names[i - 1], names[i]) == 0)
            ok = error_set(err, ERR_USAGE, "%s: two tensors are named \"%s\"", path, names[i]);
    }
    mem_free(l, names);
    return ok;
}

/* Adds one member of the header. *floats is where its data begins, then where it ends. */
static bool add_entry(struct text *header, const struct tensor_spec *s, const char *path,
                      size_t *floats, struct error *err)
{
    size_t count = 1, end, bytes;

    if (s->n_dims < 0 || s->n_dims > TENSOR_MAX_DIMS)
        return error_set(err, ERR_USAGE, "%s: tensor \"%s\" has %d dimensions; up to %d are known",
                         path, s->name, s->n_dims, TENSOR_MAX_DIMS);
    text_add_json(header, s->name, strlen(s->name));
    text_add(header, ":{\"dtype\":\"F32\",\"shape\":[");
    for (int i = 0; i < s->n_dims; i++) {
        if (s->dims[i] < 0 || __builtin_mul_overflow(count, (size_t)s->dims[i], &count))
            return error_set(err, ERR_USAGE, "%s: tensor \"%s\": dimension %d cannot be %" PRId64,
                             path, s->name, i, s->dims[i]);
        text_printf(header, "%s%" PRId64, i > 0 ? "," : "", s->dims[i]);
    }
    if (__builtin_add_overflow(*floats, count, &end) ||
        __builtin_mul_overflow(end, sizeof(float), &bytes))
        return error_set(err, ERR_USAGE, "%s: tensor \"%s\" is larger than any file", path,
                         s->name);
    text_printf(header, "],\"data_offsets\":[%zu,%zu]}", *floats * sizeof(float), bytes);
    *floats = end;
    return true;
}

static bool write_header(struct tensor_writer *w, const char *path, const struct tensor_spec *specs,
                         int n, struct error *err)
{
    unsigned char length[8];
    struct text header;
    bool ok = true;

    text_init(&header, w->ledger, MEM_OTHER);
    text_add(&header, "{");
    for (int i = 0; ok && i < n; i++) {
        text_add(&header, i > 0 ? "," : "");
        ok = add_entry(&header, &specs[i], path, &w->floats, err);
    }
    text_add(&header, "}");
    /* So that the data begins at a multiple of 8, as the format asks for. */
    while (header.n % 8 != 0 && !header.failed)
        text_add(&header, " ");
    ok = ok && text_ok(&header, err);
    if (ok && header.n > HEADER_MAX)
        ok = error_set(err, ERR_USAGE, "%s: too many tensors for one file", path);
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)header.n >> (8 * i));
    ok = ok && file_write(&w->file, length, sizeof length, err) &&
         file_write(&w->file, header.data, header.n, err);
    text_fini(&header);
    return ok;
}

struct tensor_writer *tensor_writer_open(struct ledger *l, const char *path,
                                         const struct tensor_spec *specs, int n, struct error *err)
{
    if (!check_names(l, path, specs, n, err))
        return NULL;
    struct tensor_writer *w = mem_alloc(l, MEM_OTHER, sizeof *w, err);
    if (w == NULL)
        return NULL;
    w->ledger = l;
    if (!file_create(&w->file, l, path, err)) {
        mem_free(l, w);
        return NULL;
    }
    if (!write_header(w, path, specs, n, err)) {
        tensor_writer_abandon(w);
        return NULL;
    }
    return w;
}

bool tensor_writer_add(struct tensor_writer *w, const float *data, size_t n, struct error *err)
{
    if (n > w->floats - w->written)
        return error_set(err, ERR_STATE, "%s: %zu more numbers came than its tensors have room for",
                         w->file.path, n - (w->floats - w->written));
    if (!file_write(&w->file, data, n * sizeof *data, err))
        return false;
    w->written += n;
    return true;
}

bool tensor_writer_commit(struct tensor_writer *w, struct error *err)
{
    bool ok = true;

    if (w->written != w->floats)
        ok = error_set(err, ERR_STATE, "%s: of its %zu numbers only %zu came", w->file.path,
                       w->floats, w->written);
    ok = ok && file_commit(&w->file, err);
    tensor_writer_abandon(w);
    return ok;
}

void tensor_writer_abandon(struct tensor_writer *w)
{
    if (w == NULL)
        return;
    file_abandon(&w->file);
    mem_free(w->ledger, w);
}
