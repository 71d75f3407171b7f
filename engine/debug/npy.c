#include "engine/debug/npy.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are written as they lie");

/* The header is a Python dictionary, blank-filled so that the data begins at a multiple of 64. */
static void add_header(struct text *t, const struct value *v)
{
    text_printf(t, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                v->n_dims == 0 ? "<f8" : "<f4");
    for (int i = 0; i < v->n_dims; i++)
        text_printf(t, i > 0 ? ", %zu" : "%zu", v->dims[i]);
    text_add(t, v->n_dims == 1 ? "," : ""); /* as Python writes a tuple */
    text_add(t, "), }");
    while ((10 + t->n + 1) % 64 != 0 && !t->failed)
        text_add(t, " ");
    text_add(t, "\n");
}

bool npy_write(struct ledger *l, const char *path, const struct value *v, struct error *err)
{
    struct file_writer w;
    struct text header;
    if (v->string)
        return error_set(err, ERR_USAGE, "%s: a string is no array", path);
    text_init(&header, l, MEM_OTHER);
    add_header(&header, v);
    bool ok = text_ok(&header, err) && file_create(&w, l, path, err);
    if (!ok) {
        text_fini(&header);
        return false;
    }
    const unsigned char start[] = {0x93,
                                   'N',
                                   'U',
                                   'M',
                                   'P',
                                   'Y',
                                   1,
                                   0,
                                   (unsigned char)(header.n & 0xff),
                                   (unsigned char)(header.n >> 8)};
    ok = file_write(&w, start, sizeof start, err) && file_write(&w, header.data, header.n, err) &&
         (v->n_dims == 0 ? file_write(&w, &v->number, sizeof v->number, err)
                         : file_write(&w, v->data, v->count * sizeof *v->data, err));
    text_fini(&header);
    if (ok)
        return file_commit(&w, err);
    file_abandon(&w);
    return false;
}
