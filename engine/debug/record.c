#include "engine/debug/record.h"

#include "engine/debug/state.h"

#include <stdio.h>
#include <string.h>

struct record_mark record_mark(const struct console *c)
{
    const struct session *s = c->session;
    struct record_mark m;
    memset(&m, 0, sizeof m);
    m.prompts = s->prompts;
    m.at_start = s->at_start;
    m.position = s->position;
    m.op = s->op;
    m.n_ids = s->trace.n_ids;
    m.cuts = s->cuts;
    m.changes = c->history.added;
    m.rows = trace_rows(&s->trace);
    m.pc = s->trace.pc;
    m.patches = s->patches.n;
    m.last_patch = s->patches.last_id;
    m.breakpoints = s->breakpoints.n;
    m.last_breakpoint = s->breakpoints.last_id;
    m.printed = c->variables.n_history;
    m.named = c->variables.n_named;
    m.displays = c->displays.n;
    m.last_display = c->displays.last_id;
    m.sampler = s->sampler.state;
    for (int l = 1; l <= s->model.program.n_layers; l++)
        m.done += s->trace.done[l];
    for (int i = 0; i < s->patches.n; i++)
        m.enabled_patches += s->patches.list[i].enabled;
    for (int i = 0; i < s->breakpoints.n; i++)
        m.hits += s->breakpoints.list[i].hits;
    return m;
}

static void add_line(struct console *c, const char *line, size_t n, bool comment)
{
    for (size_t i = 0; i < sizeof c->logs / sizeof c->logs[0]; i++) {
        struct error why = {0};
        if (c->logs[i].fd >= 0 && !log_add(&c->logs[i], c->ledger, line, n, comment, &why))
            snprintf(c->session->notice, sizeof c->session->notice,
                     "%.180s; nothing more is logged there", why.text);
    }
}

static void add_lines(struct console *c, const struct text *t)
{
    for (size_t at = 0; at < t->n;) {
        const char *end = memchr(t->data + at, '\n', t->n - at);
        size_t n = end ? (size_t)(end - (t->data + at)) : t->n - at;
        add_line(c, t->data + at, n, false);
        at += n + 1;
    }
}

void record_prompt(struct console *c, const struct record_mark *before)
{
    struct text t;
    if (before->prompts == c->session->prompts)
        return;
    text_init(&t, c->ledger, MEM_OTHER);
    if (state_add_prompt(&t, c->session, NULL))
        add_lines(c, &t);
    text_fini(&t);
}

/* A prompt whose text holds a line feed, or the like, is no single line: its ids are. */
static void add_done(struct console *c, const struct record_mark *before, const char *line,
                     size_t n)
{
    bool odd = memchr(line, '\n', n) || memchr(line, '\r', n) || memchr(line, '\0', n);
    if (odd && before->prompts != c->session->prompts)
        record_prompt(c, before);
    else
        add_line(c, line, n, false);
}

/* What was begun can be undone: what follows is a change that this line made. */
static void add_change(struct console *c, const char *line, size_t n)
{
    struct text t;
    text_init(&t, c->ledger, MEM_OTHER);
    text_add(&t, "restore change ");
    text_add_bytes(&t, line, n);
    if (text_ok(&t, NULL))
        add_line(c, t.data, t.n, false);
    text_fini(&t);
}

static bool same(const struct record_mark *a, const struct record_mark *b)
{
    return a->prompts == b->prompts && a->at_start == b->at_start && a->position == b->position &&
           a->op == b->op && a->n_ids == b->n_ids && a->cuts == b->cuts && a->rows == b->rows &&
           a->pc == b->pc && a->patches == b->patches && a->last_patch == b->last_patch &&
           a->enabled_patches == b->enabled_patches && a->breakpoints == b->breakpoints &&
           a->last_breakpoint == b->last_breakpoint && a->printed == b->printed &&
           a->named == b->named && a->hits == b->hits && a->done == b->done &&
           a->displays == b->displays && a->last_display == b->last_display &&
           a->sampler == b->sampler;
}

void record_add(struct console *c, const struct record_mark *before, bool changes, bool ok,
                const char *line, size_t n)
{
    if (!changes || (c->logs[0].fd < 0 && c->logs[1].fd < 0))
        return;
    struct record_mark now = record_mark(c);
    if (ok) {
        add_done(c, before, line, n);
        return;
    }
    if (same(before, &now))
        return;
    /* It failed behind what it is for: the edit holds, and computing on was interrupted. */
    bool done = before->prompts != now.prompts || before->last_patch != now.last_patch ||
                before->patches != now.patches || before->enabled_patches != now.enabled_patches ||
                before->last_breakpoint != now.last_breakpoint || before->printed != now.printed ||
                before->named != now.named || before->last_display != now.last_display;
    if (done)
        add_done(c, before, line, n);
    else
        add_line(c, line, n, true);
    if (!done && before->changes != now.changes)
        add_change(c, line, n);
    struct text t;
    text_init(&t, c->ledger, MEM_OTHER);
    if (!done) {
        int from = before->n_ids;
        if (before->cuts != now.cuts) { /* regenerate had begun: not the same tokens as before */
            from = c->session->cut_at;
            text_printf(&t, "restore cut %d\n", from);
        }
        state_add_tokens(&t, c->session, from);
        state_add_counts(&t, c->session);
    }
    if (state_add_place(&t, c->session, true, NULL))
        add_lines(c, &t);
    text_fini(&t);
}
