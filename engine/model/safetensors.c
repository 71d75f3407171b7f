/* safetensors.c - opening checkpoints: files are mapped once their headers were checked. */
#include "engine/model/safetensors.h"
#include "engine/base/json.h"
#include "engine/model/safetensors_header.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEX_MAX 100000000ull

struct shard {
    char *path;
    char *names; /* of its tensors, one after the other */
    void *map;   /* the whole file, or NULL */
    size_t bytes;
    int slot; /* in the registry of mappings, or -1 */
};

struct checkpoint {
    struct ledger *ledger;
    struct shard *shards;
    int n_shards;
    struct tensor *tensors; /* sorted by name once all shards are in */
    int n_tensors;
    size_t bytes;
};

/* ---- the registry of mappings, for a handler of SIGBUS ---- */

/* A fixed table of atomics, since the handler may neither lock nor follow a freed pointer.
 * When it is full, a mapping goes without, and a message about it without the file's name. */
#define SLOTS 1024
static struct {
    atomic_bool used;
    atomic_uintptr_t begin, end; /* end 0: nothing to be found here */
    _Atomic(const char *) path;
} slots[SLOTS];

static int slot_take(const void *begin, size_t bytes, const char *path)
{
    for (int i = 0; i < SLOTS; i++) {
        if (atomic_exchange(&slots[i].used, true))
            continue;
        atomic_store(&slots[i].path, path);
        atomic_store(&slots[i].begin, (uintptr_t)begin);
        atomic_store(&slots[i].end, (uintptr_t)begin + bytes);
        return i;
    }
    return -1;
}

static void slot_give(int i)
{
    if (i < 0)
        return;
    atomic_store(&slots[i].end, 0);
    atomic_store(&slots[i].path, NULL);
    atomic_store(&slots[i].used, false);
}

const char *checkpoint_file_at(const void *p)
{
    for (int i = 0; i < SLOTS; i++)
        if ((uintptr_t)p < atomic_load(&slots[i].end) &&
            (uintptr_t)p >= atomic_load(&slots[i].begin))
            return atomic_load(&slots[i].path);
    return NULL;
}

/* ---- one file ---- */

/* Maps the whole file and counts it. */
static bool map_file(struct checkpoint *c, struct shard *s, int fd, size_t bytes, struct error *err)
{
    void *map = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);

    if (map == MAP_FAILED)
        return error_set(err, ERR_FILE, "cannot map %s: %s", s->path, strerror(errno));
    if (!ledger_take(c->ledger, MEM_WEIGHTS, MEM_MAPPED, bytes, err)) {
        munmap(map, bytes);
        return false;
    }
    s->map = map;
    s->bytes = bytes;
    s->slot = slot_take(map, bytes, s->path);
    return true;
}

/* Moves the header's tensors over, with their data if the file is mapped. */
static bool take_tensors(struct checkpoint *c, struct shard *s, struct header *h, struct error *err)
{
    if (h->n > INT32_MAX - c->n_tensors)
        return error_set(err, ERR_UNSUPPORTED, "%s: has too many tensors", s->path);
    size_t bytes = ((size_t)c->n_tensors + (size_t)h->n) * sizeof *c->tensors;
    struct tensor *more = mem_resize(c->ledger, MEM_OTHER, c->tensors, bytes, err);
    if (more == NULL)
        return error_prefix(err, "%s", s->path);
    c->tensors = more;
    for (int i = 0; i < h->n; i++) {
        struct tensor *t = &c->tensors[c->n_tensors++];
        *t = h->tensors[i];
        t->begin = h->begins[i];
        if (s->map != NULL)
            t->data = (const char *)s->map + h->begins[i];
    }
    s->names = h->names;
    h->names = NULL;
    return true;
}

static bool read_shard(struct checkpoint *c, struct shard *s, int fd, bool map, struct error *err)
{
    struct stat st;
    struct header h;

    if (fstat(fd, &st) != 0)
        return error_set(err, ERR_FILE, "cannot read %s: %s", s->path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERR_FILE, "cannot read %s: it is %s", s->path,
                         S_ISDIR(st.st_mode) ? "a folder" : "not a regular file");
    if (!header_read(&h, c->ledger, fd, s->path, (size_t)st.st_size, err))
        return false;
    bool ok = (!map || map_file(c, s, fd, (size_t)st.st_size, err)) && take_tensors(c, s, &h, err);
    header_fini(&h, c->ledger);
    return ok;
}

/* Adds the file to the checkpoint; c->shards has room for it. */
static bool add_file(struct checkpoint *c, const char *path, bool map, struct error *err)
{
    struct shard *s = &c->shards[c->n_shards];

    *s = (struct shard){.slot = -1};
    s->path = mem_strdup(c->ledger, MEM_OTHER, path, err);
    if (s->path == NULL)
        return error_prefix(err, "%s", path);
    c->n_shards++;
    /* Not to wait for the other end of a pipe that has the name of a checkpoint. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return error_set(err, ERR_FILE, "cannot read %s: %s", path, strerror(errno));
    bool ok = read_shard(c, s, fd, map, err);
    close(fd);
    return ok;
}

/* ---- checkpoints ---- */

static struct checkpoint *open_empty(struct ledger *l, size_t shards, struct error *err)
{
    struct checkpoint *c = mem_alloc(l, MEM_OTHER, sizeof *c, err);

    if (c == NULL)
        return NULL;
    c->ledger = l;
    c->shards = mem_alloc_array(l, MEM_OTHER, shards, sizeof *c->shards, err);
    if (c->shards == NULL) {
        mem_free(l, c);
        return NULL;
    }
    return c;
}

void checkpoint_close(struct checkpoint *c)
{
    if (c == NULL)
        return;
    for (int i = 0; i < c->n_shards; i++) {
        struct shard *s = &c->shards[i];
        slot_give(s->slot);
        if (s->map != NULL) {
            munmap(s->map, s->bytes);
            ledger_give(c->ledger, MEM_WEIGHTS, MEM_MAPPED, s->bytes);
        }
        mem_free(c->ledger, s->names);
        mem_free(c->ledger, s->path);
    }
    mem_free(c->ledger, c->shards);
    mem_free(c->ledger, c->tensors);
    mem_free(c->ledger, c);
}

static int tensor_order(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* All files are in: sorts, finds doubles, adds up. */
static bool finish(struct checkpoint *c, struct error *err)
{
    if (c->n_tensors > 0)
        qsort(c->tensors, (size_t)c->n_tensors, sizeof *c->tensors, tensor_order);
    for (int i = 0; i < c->n_tensors; i++) {
        const struct tensor *t = &c->tensors[i];
        c->bytes += t->bytes;
        if (i == 0 || strcmp(t[-1].name, t->name) != 0)
            continue;
        if (t[-1].file == t->file)
            return error_set(err, ERR_FORMAT, "%s: tensor \"%.120s\": the name is there twice",
                             t->file, t->name);
        return error_set(err, ERR_FORMAT, "%s: tensor \"%.120s\": is also in %s", t->file, t->name,
                         t[-1].file);
    }
    return true;
}

struct checkpoint *checkpoint_open_file(struct ledger *l, const char *path, bool map,
                                        struct error *err)
{
    struct checkpoint *c = open_empty(l, 1, err);

    if (c != NULL && (!add_file(c, path, map, err) || !finish(c, err))) {
        checkpoint_close(c);
        c = NULL;
    }
    return c;
}

/* ---- a folder ---- */

struct listed {
    const char *tensor, *file;
};

static int listed_order(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    int files = strcmp(x->file, y->file);
    return files != 0 ? files : strcmp(x->tensor, y->tensor);
}

static char *join(struct ledger *l, const char *folder, const char *name, struct error *err)
{
    size_t n = strlen(folder), room = n + strlen(name) + 2;
    char *path = mem_alloc(l, MEM_OTHER, room, err);

    if (path != NULL)
        snprintf(path, room, "%s%s%s", folder, n > 0 && folder[n - 1] == '/' ? "" : "/", name);
    return path;
}

/* A name of a file in the folder itself. Where a link of that name leads is the folder's
 * owner's business: the cache of Hugging Face is made of such links. */
static bool is_plain_name(const char *file)
{
    return file[0] != '\0' && strchr(file, '/') == NULL && strcmp(file, ".") != 0 &&
           strcmp(file, "..") != 0;
}

/* The index's pairs of tensor and file, sorted by file; they point into its document. */
static struct listed *read_weight_map(struct ledger *l, const char *index, const struct json *root,
                                      size_t *n, struct error *err)
{
    const struct json *map = json_get(root, "weight_map");
    size_t count = json_count(map);

    if (!json_is_object(map) || count == 0 || count > INT32_MAX) {
        error_set(err, ERR_FORMAT, "%s: has no weight_map that says which tensor is in which file",
                  index);
        return NULL;
    }
    struct listed *all = mem_alloc_array(l, MEM_OTHER, count, sizeof *all, err);
    if (all == NULL)
        return NULL;
    *n = 0;
    for (const struct json *m = json_first(map); m != NULL; m = json_next(m)) {
        const char *file = json_string(m);
        if (file == NULL || !is_plain_name(file)) {
            error_set(err, ERR_FORMAT,
                      "%s: tensor \"%.100s\" is in \"%.100s\", which is not the name of a file in "
                      "that folder",
                      index, json_key(m), file == NULL ? "(no string)" : file);
            mem_free(l, all);
            return NULL;
        }
        all[(*n)++] = (struct listed){json_key(m), file};
    }
    qsort(all, count, sizeof *all, listed_order);
    return all;
}

/* Every tensor is in the file that the index says. */
static bool check_listed(const struct checkpoint *c, const char *index, const struct listed *all,
                         size_t n, struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct tensor *t = checkpoint_find(c, all[i].tensor);
        if (t == NULL)
            return error_set(err, ERR_FORMAT, "%s: tensor \"%.100s\" should be in %s, and is not",
                             index, all[i].tensor, all[i].file);
        if (strcmp(strrchr(t->file, '/') + 1, all[i].file) != 0)
            return error_set(err, ERR_FORMAT, "%s: tensor \"%.100s\" should be in %s, but is in %s",
                             index, all[i].tensor, all[i].file, t->file);
    }
    return true;
}

static bool add_listed_files(struct checkpoint *c, const char *folder, const struct listed *all,
                             size_t n, bool map, struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && strcmp(all[i - 1].file, all[i].file) == 0)
            continue;
        char *path = join(c->ledger, folder, all[i].file, err);
        bool ok = path != NULL && add_file(c, path, map, err);
        mem_free(c->ledger, path);
        if (!ok)
            return false;
    }
    return finish(c, err);
}

static struct checkpoint *open_shards(struct ledger *l, const char *folder, const char *index,
                                      bool map, struct error *err)
{
    struct json_doc *doc = json_read(l, MEM_OTHER, index, INDEX_MAX, err);
    struct checkpoint *c = NULL;
    size_t n = 0, files = 1;

    if (doc == NULL)
        return NULL;
    struct listed *all = read_weight_map(l, index, json_root(doc), &n, err);
    if (all != NULL) {
        for (size_t i = 1; i < n; i++)
            files += strcmp(all[i - 1].file, all[i].file) != 0;
        c = open_empty(l, files, err);
        if (c != NULL && (!add_listed_files(c, folder, all, n, map, err) ||
                          !check_listed(c, index, all, n, err))) {
            checkpoint_close(c);
            c = NULL;
        }
    }
    mem_free(l, all);
    json_close(doc);
    return c;
}

/* Whether there is anything of that name, be it a link that leads nowhere: then opening it
 * tells what is wrong. */
static bool is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void refuse_folder(const char *folder, struct error *err)
{
    struct stat st;

    if (stat(folder, &st) != 0)
        error_set(err, ERR_FILE, "cannot open %s: %s", folder, strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        error_set(err, ERR_FILE, "cannot open %s: it is not a folder", folder);
    else
        error_set(err, ERR_FILE,
                  "%s: has neither model.safetensors nor model.safetensors.index.json", folder);
}

struct checkpoint *checkpoint_open_folder(struct ledger *l, const char *folder, bool map,
                                          struct error *err)
{
    char *whole = join(l, folder, "model.safetensors", err);
    char *index = join(l, folder, "model.safetensors.index.json", err);
    struct checkpoint *c = NULL;

    if (whole != NULL && index != NULL) {
        if (is_there(whole))
            c = checkpoint_open_file(l, whole, map, err);
        else if (is_there(index))
            c = open_shards(l, folder, index, map, err);
        else
            refuse_folder(folder, err);
    }
    mem_free(l, whole);
    mem_free(l, index);
    return c;
}

/* ---- looking ---- */

int checkpoint_count(const struct checkpoint *c)
{
    return c->n_tensors;
}

const struct tensor *checkpoint_tensor(const struct checkpoint *c, int i)
{
    return i >= 0 && i < c->n_tensors ? &c->tensors[i] : NULL;
}

static int name_order(const void *name, const void *tensor)
{
    return strcmp(name, ((const struct tensor *)tensor)->name);
}

const struct tensor *checkpoint_find(const struct checkpoint *c, const char *name)
{
    if (c->n_tensors == 0)
        return NULL;
    return bsearch(name, c->tensors, (size_t)c->n_tensors, sizeof *c->tensors, name_order);
}

size_t checkpoint_bytes(const struct checkpoint *c)
{
    return c->bytes;
}
