#include "engine/model/device.h"

#include "engine/model/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHY 256
/* Of a device's free memory left to its driver: code, launches in flight, what fragments. */
#define DEVICE_RESERVE ((size_t)512 << 20)

bool device_parse(const char *name, int *index)
{
    *index = 0;
    if (strcmp(name, "auto") == 0 || strcmp(name, "cpu") == 0 || strcmp(name, "cuda") == 0)
        return true;
    if (strncmp(name, "cuda:", 5) != 0 || name[5] < '0' || name[5] > '9')
        return false;
    char *end;
    long x = strtol(name + 5, &end, 10);
    *index = (int)x;
    return *end == '\0' && x < 1024;
}

/* The type that the checkpoint says it is in; f32 where it cannot be read, which is told when
 * the model is opened. */
static enum dtype stored_dtype(struct ledger *l, const char *folder)
{
    struct config c;
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/config.json", folder);
    if (n < 0 || (size_t)n >= sizeof path || !config_read(&c, l, path, NULL))
        return DTYPE_F32;
    enum dtype t = c.dtype;
    config_fini(&c);
    return t;
}

struct backend *device_open(struct ledger *l, const char *folder, const struct device_options *o,
                            char note[WHY], struct error *err)
{
    struct backend_options options = {.n_threads = o->n_threads, .isa = o->isa, .exact = o->exact};
    const char *name = o->name ? o->name : "cpu";
    bool automatic = strcmp(name, "auto") == 0;
    char why[WHY];
    if (note)
        note[0] = '\0';
    if (!device_parse(name, &options.device)) {
        error_set(err, ERR_USAGE, "there is no device \"%s\": auto, cpu, cuda, cuda:1", name);
        return NULL;
    }
    struct backend *b = NULL;
    if (strcmp(name, "cpu") != 0) {
        enum dtype t = o->dtype ? DTYPE_F32 : stored_dtype(l, folder);
        bool bf16 = o->dtype ? strcmp(o->dtype, "bf16") == 0 : t == DTYPE_BF16;
        options.dtype = bf16 ? DTYPE_BF16 : DTYPE_F32;
        b = backend_open("cuda", &options, why);
    }
    if (!b && automatic && note)
        snprintf(note, WHY, "%s", why);
    if (!b && (automatic || strcmp(name, "cpu") == 0)) {
        if (o->dtype && strcmp(o->dtype, "f32") != 0) {
            error_set(err, ERR_USAGE, "--dtype %s is a GPU's%s%s: the CPU computes in f32",
                      o->dtype, automatic ? "; " : "", automatic ? why : "");
            return NULL;
        }
        b = backend_open("cpu", &options, why);
    }
    if (!b)
        error_set(err, ERR_DEVICE, "%s", why);
    return b;
}

size_t device_budget(struct backend *b)
{
    size_t available, total;
    if (!b->device)
        return mem_available();
    b->memory(b, &available, &total);
    return available > DEVICE_RESERVE ? available - DEVICE_RESERVE : 1;
}
