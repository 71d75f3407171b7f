/* backend.c - finds the backend that was asked for, or says why it cannot be had.
 *
 * "cpu" is linked in. "cuda" is midpass_cuda.so beside the program, so that a program
 * built with CUDA still runs on a machine that has none. */
#include "kernels/kernels.h"
#include "kernels/cpu/cpu.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PLUGIN        "midpass_cuda.so"
#define PLUGIN_SYMBOL "midpass_backend_open"
#define WHY           256

typedef struct backend *backend_opener(const struct backend_options *options, char why[WHY]);

/* Writes the plug-in's path: the folder of the running program, then its name. */
static bool plugin_path(char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size);
    if (n <= 0 || (size_t)n >= size)
        return false;
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash || (size_t)(slash + 1 - path) + sizeof PLUGIN > size)
        return false;
    memcpy(slash + 1, PLUGIN, sizeof PLUGIN);
    return true;
}

static struct backend *plugin_open(const struct backend_options *options, char why[WHY])
{
    char path[4096];
    if (!plugin_path(path, sizeof path)) {
        snprintf(why, WHY, "cuda: the program's own folder cannot be found, so neither can %s",
                 PLUGIN);
        return NULL;
    }
    if (access(path, F_OK) != 0) {
        snprintf(why, WHY, "cuda: there is no %.190s; build it with CUDA installed", path);
        return NULL;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *reason = dlerror();
        snprintf(why, WHY, "cuda: %.240s", reason ? reason : "the plug-in cannot be loaded");
        return NULL;
    }
    backend_opener *opener = NULL;
    void *symbol = dlsym(library, PLUGIN_SYMBOL);
    if (!symbol) {
        snprintf(why, WHY, "cuda: %s has no %s", PLUGIN, PLUGIN_SYMBOL);
        dlclose(library);
        return NULL;
    }
    memcpy(&opener, &symbol, sizeof opener); /* C has no cast from object to function */
    why[0] = '\0';
    struct backend *b = opener(options, why);
    if (!b) {
        if (!why[0])
            snprintf(why, WHY, "cuda: %s cannot be used here and does not say why", PLUGIN);
        dlclose(library);
        return NULL;
    }
    if (b->version != KERNELS_VERSION) {
        /* Of another version nothing but the first field can be relied on: b is not closed. */
        snprintf(why, WHY, "cuda: %s is of version %d, this program needs %d; build it again",
                 PLUGIN, b->version, KERNELS_VERSION);
        return NULL;
    }
    return b; /* the library stays: its code runs until the program ends */
}

struct backend *backend_open(const char *name, const struct backend_options *options, char why[WHY])
{
    why[0] = '\0';
    if (name && strcmp(name, "cpu") == 0)
        return cpu_open(options, why);
    if (name && strcmp(name, "cuda") == 0)
        return plugin_open(options, why);
    snprintf(why, WHY, "there is no backend \"%.64s\": it is cpu or cuda", name ? name : "");
    return NULL;
}

void backend_close(struct backend *b)
{
    if (b)
        b->close(b);
}
