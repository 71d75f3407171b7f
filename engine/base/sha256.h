/* sha256.h - the digest of FIPS 180-4, to know a file again whoever wrote it. */
#ifndef MIDPASS_SHA256_H
#define MIDPASS_SHA256_H

#include <stddef.h>

/* 64 hexadecimal digits of n bytes, NUL-terminated. */
void sha256_hex(const void *data, size_t n, char out[65]);

#endif
