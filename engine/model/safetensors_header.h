/* safetensors_header.h - what a file says of its tensors; for safetensors.c alone. */
#ifndef MIDPASS_SAFETENSORS_HEADER_H
#define MIDPASS_SAFETENSORS_HEADER_H

#include "engine/model/safetensors.h"

struct header {
    struct tensor *tensors; /* [n], in the file's order, with data NULL */
    size_t *begins;         /* [n], where in the file the tensor's data begins */
    char *names;            /* that the tensors point into */
    int n;
};

/* Reads and checks the header of a file of file_bytes, so that every tensor lies inside it and
 * every byte of data belongs to one. path must outlive the tensors: they point to it. */
bool header_read(struct header *h, struct ledger *l, int fd, const char *path, size_t file_bytes,
                 struct error *err);
void header_fini(struct header *h, struct ledger *l);

#endif
