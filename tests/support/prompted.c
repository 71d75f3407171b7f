#include "tests/support/prompted.h"

#include "tests/support/checkpoints.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void prompted_open(struct prompted *f, int tokens, const char *name, int chunk)
{
    char path[300];
    memset(f, 0, sizeof *f);
    snprintf(path, sizeof path, CHECKPOINTS "/%s", name);
    f->ledger = ledger_open();
    struct session_options o = {.n_threads = 1, .trace.chunk = chunk};
    if (!session_open(&f->s, f->ledger, path, &o, &f->err))
        fail_msg("%s", f->err.text);
    int n = f->s.model.config.n_ctx < tokens ? f->s.model.config.n_ctx : tokens;
    int32_t *ids = malloc((size_t)n * sizeof *ids);
    assert_non_null(ids);
    for (int i = 0; i < n; i++)
        ids[i] = (int32_t)((i * i * 7 + i + 2) % f->s.model.config.n_vocab);
    if (!session_prompt_ids(&f->s, ids, n, &f->err))
        fail_msg("%s", f->err.text);
    free(ids);
}

void prompted_close(struct prompted *f)
{
    session_close(&f->s);
    assert_int_equal(ledger_close(f->ledger), 0);
}
