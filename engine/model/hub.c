/* hub.c - finding a model's folder: as typed, or in the local Hugging Face cache. */
#include "engine/model/hub.h"
#include "engine/base/text.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define PREFIX   "models--"
#define NEAR_MAX 4 /* names offered when there is none as typed */

struct search {
    struct ledger *ledger;
    struct error *err;
    const char *typed;
    struct text cache; /* the folder with the models--... */
    const char *told;  /* what named that folder */
};

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- where the cache is ---- */

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* As a shell would, and Hugging Face's own library does. */
static void add_home(struct text *t, const char *path)
{
    const char *home = variable("HOME");

    if (path[0] == '~' && (path[1] == '/' || path[1] == '\0') && home != NULL) {
        text_add(t, home);
        path++;
    }
    text_add(t, path);
}

static void find_cache(struct search *s)
{
    static const struct {
        const char *variable, *below;
    } places[] = {
        {"HF_HUB_CACHE", ""},
        {"HF_HOME", "/hub"},
        {"XDG_CACHE_HOME", "/huggingface/hub"},
        {"HOME", "/.cache/huggingface/hub"},
    };

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const char *value = variable(places[i].variable);
        if (value == NULL)
            continue;
        add_home(&s->cache, value);
        text_add(&s->cache, places[i].below);
        s->told = places[i].variable;
        return;
    }
}

/* ---- which model ---- */

/* "microsoft/phi" of the entry "models--microsoft--phi"; false if it is no model. */
static bool model_name(const char *entry, struct text *name)
{
    text_clear(name);
    if (strncmp(entry, PREFIX, strlen(PREFIX)) != 0)
        return false;
    entry += strlen(PREFIX);
    const char *cut = strstr(entry, "--");
    if (cut == NULL) {
        text_add(name, entry);
    } else {
        text_add_bytes(name, entry, (size_t)(cut - entry));
        text_add(name, "/");
        text_add(name, cut + 2);
    }
    return !name->failed;
}

static const char *last_part(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash == NULL ? name : slash + 1;
}

/* In small letters, without what people leave out or mistake for each other. */
static void add_plain(struct text *t, const char *name)
{
    for (; *name != '\0'; name++) {
        char c = (char)tolower((unsigned char)*name);
        if (isalnum((unsigned char)c))
            text_add_bytes(t, &c, 1);
    }
    text_add(t, "");
}

/* Near is: the one has the other in it, but for case and punctuation. */
static bool is_near(struct ledger *l, const char *typed, const char *name)
{
    struct text a, b;

    text_init(&a, l, MEM_OTHER);
    text_init(&b, l, MEM_OTHER);
    add_plain(&a, last_part(typed));
    add_plain(&b, last_part(name));
    bool near = !a.failed && !b.failed && a.n > 0 && b.n > 0 &&
                (strstr(a.data, b.data) != NULL || strstr(b.data, a.data) != NULL);
    text_fini(&a);
    text_fini(&b);
    return near;
}

/* Goes through the cache once. Puts the full name that was meant into name, or tells what is
 * wrong: none, or more than one that ends so. */
static bool choose_model(struct search *s, struct text *name)
{
    bool whole = strchr(s->typed, '/') != NULL, exact = false;
    struct text here, near, same;
    int n_near = 0, n_same = 0;
    /* In the alphabet's order, so that a message is the same each time. */
    struct dirent **all = NULL;
    int n_all = s->cache.data == NULL ? -1 : scandir(s->cache.data, &all, NULL, alphasort);
    int why = errno;

    text_init(&here, s->ledger, MEM_OTHER);
    text_init(&near, s->ledger, MEM_OTHER);
    text_init(&same, s->ledger, MEM_OTHER);
    for (int i = 0; i < n_all && !exact; i++) {
        if (!model_name(all[i]->d_name, &here))
            continue;
        exact = strcmp(here.data, s->typed) == 0;
        if (exact || (!whole && strcmp(last_part(here.data), s->typed) == 0)) {
            text_clear(name);
            text_add(name, here.data);
            text_printf(&same, "%s%s", n_same++ > 0 ? ", " : "", here.data);
        } else if (is_near(s->ledger, s->typed, here.data) && n_near < NEAR_MAX) {
            text_printf(&near, "%s%s", n_near++ > 0 ? ", " : "", here.data);
        }
    }
    for (int i = 0; i < n_all; i++)
        free(all[i]);
    free(all);

    bool ok = text_ok(&here, s->err) && text_ok(&near, s->err) && text_ok(&same, s->err) &&
              text_ok(name, s->err);
    if (!ok || exact || n_same == 1)
        ;
    else if (n_same > 1)
        ok = error_set(s->err, ERR_USAGE, "\"%s\" may be any of %s; give the whole name", s->typed,
                       same.data);
    else if (n_all < 0)
        ok = error_set(s->err, ERR_FILE,
                       "there is no folder \"%s\", and no Hugging Face cache to look in: %s (from "
                       "$%s): %s",
                       s->typed, s->cache.data == NULL ? "(none)" : s->cache.data,
                       s->told == NULL ? "HOME" : s->told, strerror(why));
    else
        ok = error_set(s->err, ERR_FILE,
                       "there is no folder \"%s\", and no model of that name in %s (from $%s)%s%s",
                       s->typed, s->cache.data, s->told, n_near > 0 ? "; there is " : "",
                       n_near > 0 ? near.data : "");
    text_fini(&here);
    text_fini(&near);
    text_fini(&same);
    return ok;
}

/* ---- which snapshot ---- */

/* The path of the cache's folder for the model, "CACHE/models--ORG--NAME". */
static void add_model_folder(const struct search *s, struct text *t, const char *name)
{
    text_add(t, s->cache.data);
    text_add(t, "/" PREFIX);
    const char *slash = strchr(name, '/');
    if (slash != NULL) {
        text_add_bytes(t, name, (size_t)(slash - name));
        text_add(t, "--");
        name = slash + 1;
    }
    text_add(t, name);
}

/* Adds the snapshot that refs/main names, if there is such. */
static bool add_main(const struct search *s, struct text *folder)
{
    size_t before = folder->n, n = 0;
    struct error ignored = {0};

    text_add(folder, "/refs/main");
    if (folder->failed)
        return false;
    char *hash = file_read(s->ledger, MEM_OTHER, folder->data, 1000, &n, &ignored);
    folder->n = before;
    folder->data[before] = '\0';
    if (hash == NULL)
        return false;
    hash[strspn(hash, "0123456789abcdefABCDEF")] = '\0';
    if (hash[0] != '\0')
        text_printf(folder, "/snapshots/%s", hash);
    mem_free(s->ledger, hash);
    if (!folder->failed && folder->n > before && is_folder(folder->data))
        return true;
    folder->n = before;
    folder->data[before] = '\0';
    return false;
}

/* Adds the only snapshot; returns how many there are. */
static int add_only(struct text *folder)
{
    size_t before = folder->n, with;
    int n = 0;

    text_add(folder, "/snapshots/");
    with = folder->n;
    DIR *dir = folder->failed ? NULL : opendir(folder->data);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        if (n == 0)
            text_add(folder, e->d_name);
        n++;
    }
    if (dir != NULL)
        closedir(dir);
    if (n != 1 && folder->data != NULL) {
        folder->n = n == 0 ? before : with - 1;
        folder->data[folder->n] = '\0';
    }
    return n;
}

static bool choose_snapshot(const struct search *s, const char *name, struct text *folder)
{
    add_model_folder(s, folder, name);
    if (folder->failed || add_main(s, folder))
        return text_ok(folder, s->err);
    int n = add_only(folder);
    if (!text_ok(folder, s->err))
        return false;
    if (n == 0)
        return error_set(
            s->err, ERR_FILE,
            "%s is in the cache, but nothing of it was downloaded: %s has no snapshots", name,
            folder->data);
    if (n > 1)
        return error_set(s->err, ERR_FILE,
                         "%s has %d snapshots in %s and refs/main names none of them; give the "
                         "folder of one",
                         name, n, folder->data);
    return true;
}

/* ---- all of it ---- */

/* Adds the folder's path. */
static bool find(struct search *s, struct text *folder)
{
    struct stat st;
    bool path_like = strpbrk(s->typed, "/.") != NULL;
    int why = ENOENT;

    if (s->typed[0] == '\0')
        return error_set(s->err, ERR_USAGE, "the model's name is empty");
    if (stat(s->typed, &st) == 0) {
        if (S_ISDIR(st.st_mode)) {
            text_add(folder, s->typed);
            return text_ok(folder, s->err);
        }
        if (path_like)
            return error_set(s->err, ERR_USAGE, "%s is a file; give the folder that it is in",
                             s->typed);
    } else {
        why = errno;
    }
    find_cache(s);
    /* ORG/NAME and NAME are all that a cached model can be called. */
    const char *slash = strchr(s->typed, '/');
    if (s->typed[0] == '/' || s->typed[0] == '.' || s->typed[0] == '~' ||
        (slash != NULL && (slash[1] == '\0' || strchr(slash + 1, '/') != NULL)))
        return error_set(s->err, ERR_FILE, "cannot open the folder %s: %s", s->typed,
                         strerror(why));

    struct text name;
    text_init(&name, s->ledger, MEM_OTHER);
    bool ok = text_ok(&s->cache, s->err) && choose_model(s, &name) &&
              choose_snapshot(s, name.data, folder);
    text_fini(&name);
    return ok;
}

char *hub_find(struct ledger *l, const char *model, struct error *err)
{
    struct search s = {.ledger = l, .err = err, .typed = model};
    struct text folder;

    text_init(&s.cache, l, MEM_OTHER);
    text_init(&folder, l, MEM_OTHER);
    char *path = find(&s, &folder) ? mem_strdup(l, MEM_OTHER, folder.data, err) : NULL;
    text_fini(&s.cache);
    text_fini(&folder);
    return path;
}
