#include "engine/model/model.h"

#include "engine/families/families.h"
#include "engine/model/place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char *join(struct ledger *l, const char *folder, const char *file, struct error *err)
{
    size_t n = strlen(folder) + strlen(file) + 2;
    char *path = mem_alloc(l, MEM_OTHER, n, err);
    if (path)
        snprintf(path, n, "%s/%s", folder, file);
    return path;
}

static bool read_config(struct model *m, struct error *err)
{
    char *path = join(m->ledger, m->folder, "config.json", err);
    char *more = path ? join(m->ledger, m->folder, "generation_config.json", err) : NULL;
    bool ok = more && config_read(&m->config, m->ledger, path, err) &&
              config_read_generation(&m->config, more, err);
    mem_free(m->ledger, path);
    mem_free(m->ledger, more);
    return ok;
}

/* A folder without tokenizer.json is fine: prompts are then given as ids. */
static bool read_tokenizer(struct model *m, struct error *err)
{
    char *path = join(m->ledger, m->folder, "tokenizer.json", err);
    if (!path)
        return false;
    struct stat st;
    bool ok = true;
    if (stat(path, &st) == 0 || errno != ENOENT) {
        m->tokenizer = tokenizer_open(m->ledger, path, err);
        ok = m->tokenizer != NULL;
    }
    mem_free(m->ledger, path);
    return ok;
}

static bool emit(struct model *m, struct error *err)
{
    struct program *p = &m->program;
    p->ledger = m->ledger;
    p->n_layers = m->config.n_layers;
    size_t sections = (size_t)p->n_layers + 1;
    p->block_op = mem_alloc_array(m->ledger, MEM_OTHER, sections, sizeof *p->block_op, err);
    p->block_slot = mem_alloc_array(m->ledger, MEM_OTHER, sections, sizeof *p->block_slot, err);
    m->builder = mem_alloc(m->ledger, MEM_OTHER, sizeof *m->builder, err);
    if (!p->block_op || !p->block_slot || !m->builder)
        return false;
    *m->builder = (struct builder){.model = m,
                                   .config = &m->config,
                                   .program = p,
                                   .prefix = m->config.family->prefix,
                                   .layer = -1,
                                   .err = err};
    for (int i = 0; i < MODEL_MAX_ROPES; i++)
        m->builder->angles[i] = -1;
    m->config.family->emit(m->builder);
    if (!m->dtypes[0])
        snprintf(m->dtypes, sizeof m->dtypes, "%s", dtype_name(m->config.dtype));
    return !m->builder->failed && program_place(p, m->backend->together, err);
}

bool model_map(struct model *m, struct ledger *l, struct backend *b, const char *folder,
               bool weights, struct error *err)
{
    memset(m, 0, sizeof *m);
    m->ledger = l;
    m->backend = b;
    m->program.ledger = l;
    m->folder = mem_strdup(l, MEM_OTHER, folder, err);
    if (!m->folder)
        return false;
    for (size_t n = strlen(m->folder); n > 1 && m->folder[n - 1] == '/'; n--)
        m->folder[n - 1] = '\0';
    const char *slash = strrchr(m->folder, '/');
    m->name = slash ? slash + 1 : m->folder;
    bool ok = read_config(m, err);
    if (ok && weights) {
        m->checkpoint = checkpoint_open_folder(l, m->folder, true, err);
        ok = m->checkpoint && read_tokenizer(m, err);
    }
    ok = ok && emit(m, err);
    if (!ok)
        model_close(m);
    return ok;
}

bool model_open(struct model *m, struct ledger *l, struct backend *b, const char *folder,
                bool weights, struct error *err)
{
    if (!model_map(m, l, b, folder, weights, err))
        return false;
    if (!weights || model_place(m, NULL, err))
        return true;
    model_close(m);
    return false;
}

void model_close(struct model *m)
{
    struct ledger *l = m->ledger;
    if (!l)
        return;
    model_unplace(m);
    program_fini(&m->program);
    for (int i = 0; i < m->n_vectors; i++)
        mem_free(l, m->vectors[i].data);
    mem_free(l, m->vectors);
    if (m->builder) {
        for (int i = 0; i < m->builder->n_counted; i++)
            mem_free(l, m->builder->counted[i]);
        mem_free(l, m->builder->counted);
        mem_free(l, m->builder);
    }
    tokenizer_close(m->tokenizer);
    checkpoint_close(m->checkpoint);
    config_fini(&m->config);
    mem_free(l, m->folder);
    memset(m, 0, sizeof *m);
}
