#include "tui/resume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool resume_begin(struct resume *r, struct options *o, int argc, char **argv, struct error *err)
{
    struct ledger *l = o->ledger;
    *r = (struct resume){.ledger = l};
    log_init(&r->log);
    if (!o->resume)
        return true;
    if (!log_take_up(&r->log, l, &r->summary, o->resume_file, err))
        return false;
    const struct log_summary *s = &r->summary;
    int n = 0;
    r->argv = mem_alloc_array(l, MEM_OTHER, (size_t)(argc + s->n_words + 1), sizeof *r->argv, err);
    if (!r->argv)
        return false;
    r->argv[n++] = argv[0];
    for (int i = 0; i < s->n_words; i++)
        r->argv[n++] = s->words[i];
    for (int i = 1; i < argc; i++)
        r->argv[n++] = argv[i];
    options_fini(o);
    if (!options_parse(o, l, n, r->argv, err))
        return error_prefix(err, "%s", s->path);
    if (!o->model)
        o->model = s->model;
    return o->model || error_set(err, ERR_USAGE, "%s names no model: give one", s->path);
}

void resume_fini(struct resume *r)
{
    log_close(&r->log);
    log_summary_fini(&r->summary, r->ledger);
    mem_free(r->ledger, r->argv);
    mem_free(r->ledger, r->header);
    r->argv = NULL;
    r->header = NULL;
}

static bool write_nowhere(void *context, const char *s, size_t n, struct error *err)
{
    (void)context, (void)s, (void)n, (void)err;
    return true;
}

/* Runs the log's lines, silently. *done is how many bytes of it did. */
static bool replay(const struct log_summary *s, struct console *c, size_t *done, struct error *err)
{
    struct report *r = c->report;
    bool (*write)(void *, const char *, size_t, struct error *) = r->write;
    bool ok = true;
    int number = 1;
    r->write = write_nowhere;
    c->sourced = s->path;
    c->repeats_log = true;
    c->source_depth++;
    for (*done = 0; *done < s->n; number++) {
        size_t n = strcspn(s->text + *done, "\n");
        ok = console_run(c, s->text + *done, n, err);
        if (!ok)
            break;
        *done += n + 1;
    }
    c->source_depth--;
    c->sourced = NULL;
    c->repeats_log = false;
    r->write = write;
    if (!ok) {
        error_prefix(err, "%s:%d", s->path, number);
        if (err)
            err->column = 0;
    }
    return ok;
}

/* A new log, with the lines of the old one that could be done again. */
static bool begin_new(struct resume *r, struct console *c, size_t done, struct error *err)
{
    struct session_log *log = &c->logs[0];
    if (!log_open_new(log, r->ledger, r->header, err))
        return false;
    for (size_t at = 0; at < done;) {
        const char *line = r->summary.text + at;
        size_t n = strcspn(line, "\n");
        bool comment = n > 0 && line[0] == '#';
        /* Its header is not this log's. */
        if (n > 0 && strncmp(line, LOG_MARK, strlen(LOG_MARK)) != 0 &&
            !log_add(log, r->ledger, comment ? line + 1 : line, comment ? n - 1 : n, comment, err))
            return false;
        at += n + 1;
    }
    return true;
}

/* The log that was taken up is gone on with. Other options than its own are written to it. */
static bool go_on(struct resume *r, struct console *c, struct error *err)
{
    struct text was;
    text_init(&was, r->ledger, MEM_OTHER);
    const struct log_summary *s = &r->summary;
    bool ok =
        log_header(&was, s->model ? s->model : "", (const char *const *)s->words, s->n_words, err);
    c->logs[0] = r->log;
    log_init(&r->log);
    if (ok && strcmp(was.data, r->header) != 0)
        ok = log_add(&c->logs[0], r->ledger, r->header + 2, strlen(r->header) - 2, true, err);
    text_fini(&was);
    return ok;
}

bool resume_start(struct resume *r, const struct options *o, struct console *c, char told[512],
                  struct error *err)
{
    struct text header;
    char real[PATH_MAX];
    const char *folder = c->session->model.folder;
    bool writes = !o->batch && !o->no_log;
    told[0] = '\0';
    text_init(&header, r->ledger, MEM_OTHER);
    bool ok = log_header(&header, realpath(folder, real) ? real : folder, o->log_words,
                         o->n_log_words, err);
    r->header = ok ? mem_strdup(r->ledger, MEM_OTHER, header.data, err) : NULL;
    text_fini(&header);
    if (!r->header)
        return false;
    c->log_header = r->header;
    if (!o->resume)
        return !writes || log_open_new(&c->logs[0], r->ledger, r->header, err);
    size_t done;
    bool torn = r->summary.torn;
    if (!replay(&r->summary, c, &done, err)) {
        struct error why;
        error_prefix(err, "the session stands where this line failed");
        if (writes && !begin_new(r, c, done, &why))
            snprintf(told, 512, "%s", why.text);
        return false;
    }
    snprintf(told, 512, "resumed: %ld command%s of %.400s%s", r->summary.lines,
             r->summary.lines == 1 ? "" : "s", r->summary.path,
             torn ? " (a last line was cut off as the program ended, and is left out)" : "");
    return !writes || go_on(r, c, err);
}

/* ---- --sessions ---- */

static bool list_one(const struct log_summary *s, struct report *r, struct error *err)
{
    char when[32];
    struct tm tm;
    bool held = log_held(s->path);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", localtime_r(&s->when.tv_sec, &tm));
    if (r->json) {
        report_begin(r, "cmd", "sessions");
        report_string(r, "file", s->path, strlen(s->path));
        report_string(r, "when", when, strlen(when));
        report_string(r, "model", s->model, strlen(s->model));
        if (s->prompt)
            report_string(r, "prompt", s->prompt, s->n_prompt);
        else
            report_null(r, "prompt");
        report_int(r, "lines", s->lines);
        report_bool(r, "held", held);
        return report_end(r, err);
    }
    const char *name = strrchr(s->model, '/');
    text_printf(&r->text, "%s  %5ld line%s  ", when, s->lines, s->lines == 1 ? " " : "s");
    text_add_shown(&r->text, name && name[1] ? name + 1 : s->model,
                   strlen(name && name[1] ? name + 1 : s->model), false);
    text_add(&r->text, held ? "  (open)\n    " : "\n    ");
    if (s->prompt) {
        size_t n = s->n_prompt < 60 ? s->n_prompt : 60;
        text_add_shown(&r->text, s->prompt, n, false);
        text_add(&r->text, n < s->n_prompt ? " ...\n    " : "\n    ");
    }
    text_add_shown(&r->text, s->path, strlen(s->path), false);
    text_add(&r->text, "\n");
    return report_send(r, err);
}

bool resume_list(const struct options *o, struct report *r, struct error *err)
{
    char **paths;
    int n, listed = 0;
    if (!log_list(o->ledger, &paths, &n, err))
        return false;
    bool ok = true;
    for (int i = 0; ok && i < n; i++) {
        struct log_summary s;
        /* A file of another kind in this folder is not ours to tell about. */
        if (!log_read(&s, o->ledger, paths[i], NULL))
            continue;
        if (s.model) {
            ok = list_one(&s, r, err);
            listed++;
        }
        log_summary_fini(&s, o->ledger);
    }
    log_list_fini(o->ledger, paths, n);
    if (ok && listed == 0 && !r->json) {
        text_add(&r->text, "no sessions\n");
        ok = report_send(r, err);
    }
    return ok;
}
