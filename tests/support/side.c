#include "tests/support/side.h"

#include "tests/support/checkpoints.h"

#include <stdio.h>
#include <string.h>

static bool take(void *context, const char *s, size_t n, struct error *err)
{
    struct text *said = context;
    text_add_bytes(said, s, n);
    return text_ok(said, err);
}

void side_open(struct side *s, const char *name, struct backend *b, int chunk, struct keep keep)
{
    char path[300];
    memset(s, 0, sizeof *s);
    snprintf(path, sizeof path, CHECKPOINTS "/%s", name);
    s->ledger = ledger_open();
    assert_non_null(s->ledger);
    struct session_options o = {.n_threads = 1,
                                .budget = (size_t)64 << 20,
                                .backend = b,
                                .trace.chunk = chunk,
                                .trace.stride = keep.stride,
                                .trace.attention = keep.attention};
    if (!session_open(&s->session, s->ledger, path, &o, &s->err))
        fail_msg("%s", s->err.text);
    text_init(&s->said, s->ledger, MEM_OTHER);
    report_init(&s->report, s->ledger, true, take, &s->said);
    console_init(&s->console, &s->session, &s->report);
}

void side_close(struct side *s)
{
    console_fini(&s->console);
    report_fini(&s->report);
    text_fini(&s->said);
    session_close(&s->session);
    assert_int_equal(ledger_close(s->ledger), 0);
}

const char *side_say(struct side *s, const char *line)
{
    s->err = (struct error){0};
    text_clear(&s->said);
    if (!console_run(&s->console, line, strlen(line), &s->err))
        text_add(&s->said, s->err.text);
    return s->said.data ? s->said.data : "";
}

void side_alike(struct side *want, struct side *got, const char *line, const char *where)
{
    const char *a = side_say(want, line), *b = side_say(got, line);
    if (strcmp(a, b) != 0)
        fail_msg("%s: %s\n  %-4s %.400s\n  %-4s %.400s", where, line, want->session.backend->name,
                 a, got->session.backend->name, b);
}
