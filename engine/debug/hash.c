#include "engine/debug/hash.h"

#include <string.h>

#define HASH_FLOATS ((size_t)1 << 20) /* held at a time, unless one row is longer */

bool session_hash(struct session *s, uint64_t *hash, int *positions, struct error *err)
{
    struct trace *t = &s->trace;
    int op = program_find(&s->model.program, SITE_LOGITS, 0);
    size_t vocab = (size_t)s->model.config.n_vocab;
    int n = s->has_prompt ? trace_rows(t) : 0;
    int step = vocab >= HASH_FLOATS ? 1 : (int)(HASH_FLOATS / vocab);
    uint64_t h = 0xcbf29ce484222325u;
    step = step > t->chunk ? t->chunk : step;
    step = step > n && n > 0 ? n : step;
    float *rows = mem_alloc_array(s->ledger, MEM_VIEWS, (size_t)step * vocab, sizeof *rows, err);
    bool ok = rows != NULL;
    for (int at = 0; ok && at < n; at += step) {
        int some = n - at < step ? n - at : step;
        ok = trace_read(t, op, at, some, 0, 0, 0, rows, err);
        for (size_t i = 0; ok && i < (size_t)some * vocab; i++) {
            uint32_t bits;
            memcpy(&bits, rows + i, sizeof bits);
            h = (h ^ bits) * 0x100000001b3u;
        }
    }
    mem_free(s->ledger, rows);
    *hash = h;
    *positions = n;
    return ok;
}
