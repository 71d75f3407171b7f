/* fuzz_npy.c - any bytes as a .npy file: an array of as many elements as they hold, or an error. */
#include "engine/debug/npy.h"

#include <stdio.h>
#include <stdlib.h>

static void must(bool so, const char *what)
{
    if (so)
        return;
    fprintf(stderr, "fuzz_npy: %s\n", what);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ledger *l = ledger_open();
    struct value v;
    struct error err = {0};
    must(l != NULL, "no memory");
    value_init(&v, l);
    if (npy_parse((const char *)data, size, &v, &err)) {
        size_t count = 1;
        for (int i = 0; i < v.n_dims; i++)
            count *= v.dims[i];
        must(count == v.count && count <= size, "more elements than bytes");
    } else {
        must(err.code != ERR_NONE && err.text[0] != '\0', "a failure without a word");
    }
    value_fini(&v);
    must(ledger_close(l) == 0, "memory is kept");
    return 0;
}
