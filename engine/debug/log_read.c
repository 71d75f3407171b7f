/* log_read.c - what stands in logs, and which there are. */
#include "engine/debug/log.h"

#include "engine/base/home.h"
#include "engine/base/json.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

bool log_header(struct text *out, const char *model, const char *const *words, int n_words,
                struct error *err)
{
    text_add(out, LOG_MARK "{\"model\":");
    text_add_json(out, model, strlen(model));
    text_add(out, ",\"options\":[");
    for (int i = 0; i < n_words; i++) {
        text_add(out, i ? "," : "");
        text_add_json(out, words[i], strlen(words[i]));
    }
    text_add(out, "]}");
    return text_ok(out, err);
}

static void drop_header(struct log_summary *s, struct ledger *l)
{
    for (int i = 0; i < s->n_words; i++)
        mem_free(l, s->words[i]);
    mem_free(l, s->words);
    mem_free(l, s->model);
    s->words = NULL;
    s->model = NULL;
    s->n_words = 0;
}

/* A header's object. What is none leaves the one before. */
static bool read_header(struct log_summary *s, struct ledger *l, const char *text, size_t n,
                        struct error *err)
{
    struct json_doc *doc = json_parse(l, MEM_OTHER, text, n, s->path, NULL);
    const struct json *root = doc ? json_root(doc) : NULL;
    const char *model = root ? json_string(json_get(root, "model")) : NULL;
    const struct json *options = root ? json_get(root, "options") : NULL;
    bool ok = true;
    if (model) {
        drop_header(s, l);
        s->model = mem_strdup(l, MEM_OTHER, model, err);
        s->words = mem_alloc_array(l, MEM_OTHER, json_count(options) + 1, sizeof *s->words, err);
        ok = s->model && s->words;
        const struct json *j = json_is_array(options) ? json_first(options) : NULL;
        for (; ok && j; j = json_next(j)) {
            if (!json_string(j))
                continue;
            s->words[s->n_words] = mem_strdup(l, MEM_OTHER, json_string(j), err);
            ok = s->words[s->n_words] != NULL;
            s->n_words += ok;
        }
    }
    json_close(doc);
    return ok;
}

static bool begins(const char *line, size_t n, const char *with)
{
    return n >= strlen(with) && memcmp(line, with, strlen(with)) == 0;
}

static const char prompt_mark[] = "# prompt: ";

static bool read_line(struct log_summary *s, struct ledger *l, const char *line, size_t n,
                      struct error *err)
{
    size_t mark = strlen(LOG_MARK);
    if (begins(line, n, LOG_MARK))
        return read_header(s, l, line + mark, n - mark, err);
    size_t said = strlen(prompt_mark);
    bool run = begins(line, n, "run ") || begins(line, n, "r ");
    s->lines += n > 0 && line[0] != '#';
    if (begins(line, n, prompt_mark)) {
        s->prompt = line + said;
        s->n_prompt = n - said;
        return true;
    }
    /* The comment before them says what these ids are. */
    bool told = s->prompt && s->prompt + s->n_prompt + 1 == line && s->prompt >= s->text + said &&
                begins(s->prompt - said, said, prompt_mark);
    if (run || (begins(line, n, "ids ") && !told)) {
        size_t word = run ? strcspn(line, " ") + 1 : 0;
        s->prompt = line + word;
        s->n_prompt = n - word;
    }
    return true;
}

bool log_read(struct log_summary *s, struct ledger *l, const char *path, struct error *err)
{
    struct stat st;
    size_t n;
    *s = (struct log_summary){0};
    snprintf(s->path, sizeof s->path, "%s", path);
    s->text = file_read(l, MEM_OTHER, path, LOG_MAX_BYTES, &n, err);
    if (!s->text)
        return false;
    if (stat(path, &st) == 0)
        s->when = st.st_mtim;
    bool ok = true;
    while (ok && s->n < n) {
        const char *line = s->text + s->n, *end = memchr(line, '\n', n - s->n);
        if (!end)
            break;
        ok = read_line(s, l, line, (size_t)(end - line), err);
        s->n += (size_t)(end - line) + 1;
    }
    s->torn = ok && s->n < n;
    if (!ok)
        log_summary_fini(s, l);
    return ok;
}

void log_summary_fini(struct log_summary *s, struct ledger *l)
{
    drop_header(s, l);
    mem_free(l, s->text);
    *s = (struct log_summary){0};
}

bool log_held(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool held = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (fd >= 0)
        close(fd);
    return held;
}

/* ---- which there are ---- */

struct found {
    char *path;
    struct timespec when;
};

/* Newest first; of the same moment the later name first, since names begin with their time. */
static int by_time(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->when.tv_sec != y->when.tv_sec)
        return x->when.tv_sec < y->when.tv_sec ? 1 : -1;
    if (x->when.tv_nsec != y->when.tv_nsec)
        return x->when.tv_nsec < y->when.tv_nsec ? 1 : -1;
    return strcmp(y->path, x->path);
}

static bool add(struct ledger *l, struct found **list, int *n, int *room, const char *name,
                struct error *err)
{
    char path[PATH_MAX];
    struct stat st;
    size_t length = strlen(name);
    if (length < 5 || strcmp(name + length - 4, ".log") != 0 ||
        !home_path(HOME_STATE, name, path, sizeof path, NULL) || lstat(path, &st) != 0 ||
        !S_ISREG(st.st_mode))
        return true;
    if (*n == *room) {
        int more = *room ? 2 * *room : 64;
        struct found *p = mem_resize(l, MEM_OTHER, *list, (size_t)more * sizeof *p, err);
        if (!p)
            return false;
        *list = p;
        *room = more;
    }
    char *copy = mem_strdup(l, MEM_OTHER, path, err);
    if (!copy)
        return false;
    (*list)[(*n)++] = (struct found){copy, st.st_mtim};
    return true;
}

bool log_list(struct ledger *l, char ***paths, int *n, struct error *err)
{
    char folder[PATH_MAX];
    struct found *list = NULL;
    int room = 0;
    bool ok = true;
    *paths = NULL;
    *n = 0;
    if (!home_path(HOME_STATE, NULL, folder, sizeof folder, err))
        return false;
    DIR *d = opendir(folder);
    if (!d)
        return errno == ENOENT ||
               error_set(err, ERR_FILE, "cannot read the folder %s: %s", folder, strerror(errno));
    for (struct dirent *e; ok && (e = readdir(d));)
        ok = add(l, &list, n, &room, e->d_name, err);
    closedir(d);
    if (*n > 0)
        qsort(list, (size_t)*n, sizeof *list, by_time);
    char **out = ok ? mem_alloc_array(l, MEM_OTHER, (size_t)*n + 1, sizeof *out, err) : NULL;
    for (int i = 0; i < *n; i++) {
        if (out)
            out[i] = list[i].path;
        else
            mem_free(l, list[i].path);
    }
    mem_free(l, list);
    *paths = out;
    *n = out ? *n : 0;
    return out != NULL;
}

void log_list_fini(struct ledger *l, char **paths, int n)
{
    for (int i = 0; i < n; i++)
        mem_free(l, paths[i]);
    mem_free(l, paths);
}
