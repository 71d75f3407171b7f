#include "engine/debug/npy.h"

#include "kernels/kernels.h"

#include <stdlib.h>
#include <string.h>

#define FILE_LIMIT ((size_t)4 << 30)

struct npy {
    char kind; /* 'f', 'i', 'u', 'b' */
    size_t size;
    bool swapped;
    int n_dims;
    size_t dims[VALUE_MAX_DIMS], count;
};

/* What stands behind 'key': in the header, a Python dictionary; NULL if it is not there. */
static const char *entry(const char *header, const char *key)
{
    char quoted[32];
    size_t n = strlen(key);
    memcpy(quoted + 1, key, n);
    quoted[0] = quoted[n + 1] = '\'';
    quoted[n + 2] = '\0';
    const char *p = strstr(header, quoted);
    if (!p)
        return NULL;
    p += n + 2;
    p += strspn(p, " ");
    if (*p != ':')
        return NULL;
    return p + 1 + strspn(p + 1, " ");
}

/* '<f4', '>i8', '|u1': order, kind, bytes. */
static bool read_descr(struct npy *f, const char *p, struct error *err)
{
    static const char *const known[] = {"f2", "f4", "f8", "i1", "i2", "i4",
                                        "i8", "u1", "u2", "u4", "u8", "b1"};
    if (!p || *p != '\'')
        return error_set(err, ERR_FORMAT, "\"descr\" is no single type");
    size_t n = strcspn(p + 1, "'");
    for (size_t i = 0; n == 3 && i < sizeof known / sizeof *known; i++)
        if (strchr("<>|=", p[1]) && memcmp(p + 2, known[i], 2) == 0) {
            f->kind = p[2];
            f->size = (size_t)(p[3] - '0');
            f->swapped = p[1] == '>';
            return true;
        }
    return error_set(err, ERR_UNSUPPORTED,
                     "\"descr\" is '%.*s'; floats of 2, 4 and 8 bytes, integers and bools can be "
                     "read",
                     n > 20 ? 20 : (int)n, p + 1);
}

static bool read_shape(struct npy *f, const char *p, struct error *err)
{
    f->count = 1;
    if (!p || *p != '(')
        return error_set(err, ERR_FORMAT, "\"shape\" is no tuple");
    for (p++; *(p += strspn(p, " ,")) != ')';) {
        char *end;
        unsigned long long n = strtoull(p, &end, 10);
        if (*p < '0' || *p > '9' || n > (size_t)1 << 40)
            return error_set(err, ERR_FORMAT, "\"shape\" holds no size at \"%.20s\"", p);
        if (f->n_dims == VALUE_MAX_DIMS)
            return error_set(err, ERR_UNSUPPORTED, "\"shape\" has more than %d axes",
                             VALUE_MAX_DIMS);
        f->dims[f->n_dims++] = (size_t)n;
        if (n > 0 && f->count > ((size_t)1 << 40) / (size_t)n)
            return error_set(err, ERR_FORMAT, "\"shape\" is too large");
        f->count *= (size_t)n;
        p = end;
    }
    return true;
}

static bool read_header(struct npy *f, const char *header, struct error *err)
{
    const char *fortran = entry(header, "fortran_order");
    if (!read_descr(f, entry(header, "descr"), err) || !read_shape(f, entry(header, "shape"), err))
        return false;
    if (!fortran || strncmp(fortran, "False", 5) != 0)
        return error_set(err, ERR_UNSUPPORTED,
                         "\"fortran_order\" is not False: save numpy.ascontiguousarray(x)");
    return true;
}

static double element(const struct npy *f, const char *p)
{
    char b[8];
    for (size_t i = 0; i < f->size; i++)
        b[i] = p[f->swapped ? f->size - 1 - i : i];
    if (f->kind == 'f' && f->size == 8) {
        double x;
        memcpy(&x, b, sizeof x);
        return x;
    }
    if (f->kind == 'f')
        return (double)dtype_load(f->size == 4 ? DTYPE_F32 : DTYPE_F16, b);
    uint64_t x = 0;
    for (size_t i = 0; i < f->size; i++)
        x |= (uint64_t)(unsigned char)b[i] << (8 * i);
    if (f->kind != 'i')
        return (double)x;
    unsigned unused = f->size > 0 && f->size < 8 ? 64 - 8 * (unsigned)f->size : 0;
    return (double)((int64_t)(x << unused) >> unused);
}

bool npy_parse(const char *bytes, size_t n, struct value *out, struct error *err)
{
    struct npy f = {0};
    char *header;
    if (n < 12 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return error_set(err, ERR_FORMAT, "this is no .npy file");
    const unsigned char *u = (const unsigned char *)bytes;
    bool wide = u[6] >= 2; /* versions 2 and 3 have four bytes of length */
    if (u[6] < 1 || u[6] > 3)
        return error_set(err, ERR_UNSUPPORTED, "version %d of .npy", u[6]);
    size_t length =
        wide ? (size_t)u[8] | (size_t)u[9] << 8 | (size_t)u[10] << 16 | (size_t)u[11] << 24
             : (size_t)u[8] | (size_t)u[9] << 8;
    size_t start = wide ? 12 : 10;
    if (length > n - start)
        return error_set(err, ERR_FORMAT, "the header of %zu bytes goes beyond the file's end",
                         length);
    header = mem_alloc(out->ledger, MEM_OTHER, length + 1, err);
    if (!header)
        return false;
    memcpy(header, bytes + start, length);
    bool ok = read_header(&f, header, err);
    mem_free(out->ledger, header);
    const char *data = bytes + start + length;
    size_t left = n - start - length;
    if (ok && left != f.count * f.size)
        ok = error_set(err, ERR_FORMAT, "the shape takes %zu bytes and the file has %zu",
                       f.count * f.size, left);
    ok = ok && value_set_shape(out, f.n_dims, f.dims, err);
    for (size_t i = 0; ok && i < f.count; i++)
        value_put(out, i, element(&f, data + i * f.size));
    return ok;
}

bool npy_read(struct ledger *l, const char *path, struct value *out, struct error *err)
{
    size_t n;
    char *bytes = file_read(l, MEM_VIEWS, path, FILE_LIMIT, &n, err);
    if (!bytes)
        return false;
    bool ok = npy_parse(bytes, n, out, err) || error_prefix(err, "%s", path);
    mem_free(l, bytes);
    return ok;
}
