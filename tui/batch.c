#include "tui/batch.h"

#include "tui/loading.h"
#include "tui/rc.h"
#include "tui/resume.h"

#include "engine/debug/command.h"
#include "engine/debug/place.h"
#include "engine/debug/record.h"
#include "engine/model/plan.h"
#include "tui/prompt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES ((size_t)1 << 20)

struct batch {
    const struct options *options;
    struct session session;
    struct report report;
    struct console console;
    volatile int *interrupt;
    bool broken; /* standard output takes no more */
    bool typed;  /* a terminal gives the lines: a person is asked for them */
};

/* Every report is flushed: whoever reads a pipe waits for it. */
static bool write_out(void *context, const char *s, size_t n, struct error *err)
{
    bool *broken = context;
    if (fwrite(s, 1, n, stdout) == n && fflush(stdout) == 0)
        return true;
    int why = errno;
    if (broken)
        *broken = true;
    clearerr(stdout);
    return error_set(err, ERR_FILE, "cannot write to standard output: %s", strerror(why));
}

static void print_error(const struct error *e)
{
    fprintf(stderr, "midpass: %s\n", e->text);
}

void batch_error(const struct options *o, const struct error *e)
{
    struct report r;
    print_error(e);
    if (!o->json)
        return;
    report_init(&r, o->ledger, true, write_out, NULL);
    report_error(&r, e, NULL);
    report_fini(&r);
}

/* Points at the column of the line, as far as it can be shown. */
static void print_caret(struct ledger *l, const char *line, size_t n, int column)
{
    struct text shown;
    if (column < 1 || (size_t)column > n + 1 || n > 300)
        return;
    text_init(&shown, l, MEM_OTHER);
    text_add_shown(&shown, line, n, false);
    if (text_ok(&shown, NULL))
        fprintf(stderr, "  %s\n", shown.data);
    text_clear(&shown);
    text_add_shown(&shown, line, (size_t)column - 1, false);
    if (text_ok(&shown, NULL))
        fprintf(stderr, "  %*s^\n", text_columns(shown.data ? shown.data : ""), "");
    text_fini(&shown);
}

/* Tells of a failure. Returns the status that the program would end with. */
static int failed(struct batch *b, const char *line, size_t n, const struct error *e)
{
    if (line)
        print_caret(b->options->ledger, line, n, e->column);
    print_error(e);
    if (b->options->json && !b->broken)
        report_error(&b->report, e, NULL);
    return e->code == ERR_INTERRUPTED ? EXIT_STOPPED : EXIT_FAILED;
}

/* A person's Ctrl-C that came since the line was asked for stops the line. */
static int run_line(struct batch *b, const char *line, size_t n)
{
    struct error err = {0};
    if (!b->typed)
        *b->interrupt = 0;
    return console_run(&b->console, line, n, &err) ? EXIT_FINE : failed(b, line, n, &err);
}

static int run_file(struct batch *b, const char *path)
{
    struct error err = {0};
    *b->interrupt = 0;
    return console_source(&b->console, path, &err) ? EXIT_FINE : failed(b, NULL, 0, &err);
}

static int run_prompt(struct batch *b)
{
    const struct options *o = b->options;
    struct error err = {0};
    if (o->ids) {
        struct text line;
        text_init(&line, o->ledger, MEM_OTHER);
        text_add(&line, "ids ");
        text_add(&line, o->ids);
        int status =
            text_ok(&line, &err) ? run_line(b, line.data, line.n) : failed(b, NULL, 0, &err);
        text_fini(&line);
        return status;
    }
    struct record_mark before = record_mark(&b->console);
    bool set = session_prompt_text(&b->session, o->prompt, strlen(o->prompt), &err);
    if (set)
        record_prompt(&b->console, &before);
    if (set && place_report(&b->report, &b->session, "run", &err))
        return EXIT_FINE;
    return failed(b, NULL, 0, &err);
}

/* One line of standard input, without its end. False: there are no more. */
static bool read_line(struct batch *b, struct text *line)
{
    int c;
    text_clear(line);
    for (;;) {
        c = getc(stdin);
        if (c == EOF && errno == EINTR && *b->interrupt) {
            clearerr(stdin);
            return false;
        }
        if (c == EOF || c == '\n')
            break;
        char x = (char)c;
        /* What is longer than any line may be is read and left. */
        if (line->n <= LINE_MAX_BYTES)
            text_add_bytes(line, &x, 1);
    }
    if (line->n > 0 && line->data[line->n - 1] == '\r')
        line->data[--line->n] = '\0';
    return c != EOF || line->n > 0;
}

/* The same from a person, with history and completion. */
static bool ask_line(struct batch *b, struct text *line)
{
    const char *lead = console_gathers(&b->console) ? PROMPT_MORE_LEAD : PROMPT_LEAD;
    const char *typed = prompt_read(lead, b->interrupt);
    text_clear(line);
    if (typed)
        text_add(line, typed);
    return typed != NULL;
}

static int run_stdin(struct batch *b)
{
    struct text line;
    struct error no_prompt = {0};
    int status = EXIT_FINE;
    struct completion_source source = {.ledger = b->options->ledger, .console = &b->console};
    struct prompt_options prompt = {.ledger = b->options->ledger, .source = &source};
    b->typed = !b->options->batch && isatty(STDIN_FILENO);
    b->console.interactive = b->typed;
    if (b->typed && !prompt_start(&prompt, &no_prompt))
        return failed(b, NULL, 0, &no_prompt);
    text_init(&line, b->options->ledger, MEM_OTHER);
    while (!b->console.quit && !b->broken) {
        errno = 0;
        if (!(b->typed ? ask_line(b, &line) : read_line(b, &line)))
            break;
        struct error err = {0};
        status = text_ok(&line, &err) ? run_line(b, line.data ? line.data : "", line.n)
                                      : failed(b, NULL, 0, &err);
        if (status != EXIT_FINE && b->options->batch)
            break;
        status = EXIT_FINE;
    }
    if (*b->interrupt && !b->typed && status == EXIT_FINE)
        status = EXIT_STOPPED;
    if (b->typed && !b->console.quit)
        putchar('\n');
    prompt_stop();
    text_fini(&line);
    return status;
}

static int run_all(struct batch *b)
{
    const struct options *o = b->options;
    bool given = o->prompt || o->ids;
    int status = given ? run_prompt(b) : EXIT_FINE;
    for (int i = 0; i < o->n_actions && !b->console.quit && !b->broken; i++) {
        if (status != EXIT_FINE && o->batch)
            return status;
        const struct action *a = &o->actions[i];
        status = a->is_file ? run_file(b, a->text) : run_line(b, a->text, strlen(a->text));
    }
    if ((status != EXIT_FINE && o->batch) || b->console.quit || b->broken)
        return status;
    if (!o->batch || o->n_actions == 0)
        status = run_stdin(b);
    if (status == EXIT_FINE && console_gathers(&b->console)) {
        struct error err = {0};
        error_set(&err, ERR_USAGE, "commands without an end");
        status = failed(b, NULL, 0, &err);
    }
    return status;
}

static void tell(void *context, const struct error *e)
{
    failed(context, NULL, 0, e);
}

/* The log, or the one that is done again; then the rc files. */
static int begin(struct batch *b, struct resume *r)
{
    const struct options *o = b->options;
    struct error err = {0};
    char told[512];
    int status = EXIT_FINE;
    *b->interrupt = 0;
    if (!resume_start(r, o, &b->console, told, &err))
        status = failed(b, NULL, 0, &err);
    if (told[0])
        fprintf(stderr, "midpass: %s\n", told);
    if (o->resume) {
        if (b->session.has_prompt && !place_report(&b->report, &b->session, "resume", &err))
            return failed(b, NULL, 0, &err);
        return status;
    }
    if (o->rc || (!o->batch && !o->no_rc))
        rc_run(&b->console, tell, b);
    /* Without a log one can work. */
    return EXIT_FINE;
}

int batch_run(const struct options *o, struct resume *r, volatile int *interrupt)
{
    struct batch b = {.options = o, .interrupt = interrupt};
    struct error err = {0};
    struct loading loading;
    struct session_options session = o->session;
    loading_init(&loading, interrupt);
    session.load = &loading.watch;
    bool opened = session_open(&b.session, o->ledger, o->model, &session, &err);
    loading_fini(&loading);
    if (!opened) {
        batch_error(o, &err);
        return EXIT_FAILED;
    }
    b.session.trace.interrupt = interrupt;
    report_init(&b.report, o->ledger, o->json, write_out, &b.broken);
    console_init(&b.console, &b.session, &b.report);
    if (b.session.notice[0] && !o->json && !o->prompt && !o->ids) {
        fprintf(stderr, "midpass: %s\n", b.session.notice);
        b.session.notice[0] = '\0';
    }
    int status = begin(&b, r);
    if (!b.console.quit && (status == EXIT_FINE || !o->batch))
        status = run_all(&b);
    if (status == EXIT_FINE && b.console.quit)
        status = b.console.exit_code;
    if (b.broken)
        status = EXIT_FAILED;
    console_fini(&b.console);
    report_fini(&b.report);
    session_close(&b.session);
    return status;
}

int batch_sessions(const struct options *o)
{
    struct report r;
    struct error err = {0};
    report_init(&r, o->ledger, o->json, write_out, NULL);
    bool ok = o->allow ? rc_allow(o->ledger, o->allow, &err) : resume_list(o, &r, &err);
    if (!ok)
        batch_error(o, &err);
    report_fini(&r);
    return ok ? EXIT_FINE : EXIT_FAILED;
}

int batch_plan(const struct options *o)
{
    struct report r;
    struct text text;
    struct error err = {0};
    report_init(&r, o->ledger, o->json, write_out, NULL);
    text_init(&text, o->ledger, MEM_OTHER);
    struct device_options device = {o->session.device, o->session.dtype, o->session.n_threads,
                                    o->session.isa, o->session.exact};
    bool ok = plan_report(o->ledger, o->model, &device, o->session.trace.n_ctx, o->session.budget,
                          &text, &err);
    if (ok && o->json) {
        report_begin(&r, "cmd", "plan");
        report_string(&r, "text", text.data, text.n);
        ok = report_end(&r, &err);
    } else if (ok) {
        ok = write_out(NULL, text.data, text.n, &err);
    }
    if (!ok)
        batch_error(o, &err);
    text_fini(&text);
    report_fini(&r);
    return ok ? EXIT_FINE : EXIT_FAILED;
}
