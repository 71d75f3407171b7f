/* fuzz_safetensors.c - any bytes as a checkpoint. What is accepted lies inside the file, each
 * byte of the data in exactly one tensor. An input that begins with '{' is taken for a header,
 * and gets its length and zeros for data, so that the fuzzer need not guess a length. */
#include "engine/model/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DATA_MAX 4096

static void must(bool so, const char *what)
{
    if (so)
        return;
    fprintf(stderr, "fuzz_safetensors: %s\n", what);
    abort();
}

static void put(int fd, const void *data, size_t n)
{
    must(n == 0 || write(fd, data, n) == (ssize_t)n, "cannot write");
}

/* Reads all of the data; returns how many bytes it has. */
static size_t check(const struct checkpoint *c, bool mapped, const char *path)
{
    unsigned sum = 0;
    size_t bytes = 0;

    for (int i = 0; i < checkpoint_count(c); i++) {
        const struct tensor *t = checkpoint_tensor(c, i);
        must(checkpoint_find(c, t->name) == t, "a tensor is not found");
        must((t->data != NULL) == mapped, "mapped, or not");
        must(t->n_dims >= 0 && t->n_dims <= TENSOR_MAX_DIMS, "dimensions");
        for (int d = 0; d < t->n_dims; d++)
            must(t->dims[d] >= 0, "a negative dimension");
        for (size_t k = 0; mapped && k < t->bytes; k++)
            sum += ((const unsigned char *)t->data)[k];
        if (mapped && t->bytes > 0) {
            const char *last = (const char *)t->data + t->bytes - 1;
            must(checkpoint_file_at(last) != NULL && strcmp(checkpoint_file_at(last), path) == 0,
                 "data outside the file");
        }
        bytes += t->bytes;
    }
    static volatile unsigned kept; /* so that the reads are not dropped */
    kept = sum;
    (void)kept;
    must(bytes == checkpoint_bytes(c), "the bytes do not add up");
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[40];
    static const char zeros[DATA_MAX];
    bool bare = size > 0 && data[0] == '{';

    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        must(fd >= 0, "no memory");
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    must(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0, "cannot empty the file");
    if (bare) {
        uint64_t length = size;
        put(fd, &length, sizeof length);
    }
    put(fd, data, size);
    /* Of a bare header, the end of the last tensor says how much data it wants. */
    const char *comma = bare ? memrchr(data, ',', size) : NULL;
    size_t wanted = 0;
    for (const char *p = comma; p != NULL && ++p < (const char *)data + size && *p >= '0' &&
                                *p <= '9' && wanted < DATA_MAX;)
        wanted = wanted * 10 + (size_t)(*p - '0');
    put(fd, zeros, wanted < DATA_MAX ? wanted : 0);

    struct ledger *l = ledger_open();
    size_t bytes[2] = {0, 0};
    bool opened[2];
    must(l != NULL, "no memory");
    for (int map = 0; map < 2; map++) {
        struct error err = {0};
        struct checkpoint *c = checkpoint_open_file(l, path, map, &err);
        opened[map] = c != NULL;
        must(opened[map] == (err.code == ERR_NONE), "failure without a word");
        if (c != NULL)
            bytes[map] = check(c, map, path);
        else
            must(strstr(err.text, path) != NULL, "the message does not name the file");
        checkpoint_close(c);
    }
    must(opened[0] == opened[1] && bytes[0] == bytes[1], "mapped and not mapped differ");
    must(ledger_close(l) == 0, "memory is kept");
    return 0;
}
