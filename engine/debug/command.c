#include "engine/debug/command_parts.h"

#include "engine/debug/near.h"
#include "engine/debug/record.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES ((size_t)1 << 20)

/* In the order in which help lists them. */
static const struct command *const commands[] = {
    &command_run,          &command_ids,           &command_tokens,       &command_finish,
    &command_token,        &command_step,          &command_stepi,        &command_next,
    &command_until,        &command_goto,          &command_reverse_step, &command_reverse_stepi,
    &command_reverse_next, &command_reverse_token, &command_continue,     &command_reverse_continue,
    &command_generate,     &command_regenerate,    &command_recall,       &command_print,
    &command_output,       &command_examine,       &command_top,          &command_lens,
    &command_dla,          &command_heads,         &command_attn,         &command_map,
    &command_info,         &command_break,         &command_tbreak,       &command_condition,
    &command_ignore,       &command_watch,         &command_catch,        &command_commands,
    &command_end,          &command_display,       &command_undisplay,    &command_undo,
    &command_redo,         &command_patch,         &command_delete,       &command_enable,
    &command_disable,      &command_save,          &command_dump,         &command_load,
    &command_export,       &command_log,           &command_restore,      &command_set,
    &command_echo,         &command_source,        &command_shell,        &command_help,
    &command_quit,
};
#define N_COMMANDS ((int)(sizeof commands / sizeof commands[0]))

const struct command *command_at(int i)
{
    return i >= 0 && i < N_COMMANDS ? commands[i] : NULL;
}

const char *command_theme_name(enum command_theme t)
{
    static const char *const names[THEMES] = {"Running", "Looking", "Stopping",
                                              "Editing", "Keeping", "Other"};
    return names[t];
}

static bool has_alias(const struct command *c, const char *word, size_t n)
{
    const char *p = c->aliases;
    while (*p) {
        size_t length = strcspn(p, " ");
        if (length == n && memcmp(p, word, n) == 0)
            return true;
        p += length + (p[length] == ' ');
    }
    return false;
}

static bool is_prefix(const char *word, size_t n, const char *name)
{
    return strncmp(word, name, n) == 0;
}

/* Of several commands that a prefix fits, the one that is itself a prefix of all others: "ste" is
 * step, although stepi is there. */
static const struct command *shortest(const char *word, size_t n)
{
    const struct command *best = NULL;
    for (int i = 0; i < N_COMMANDS; i++)
        if (is_prefix(word, n, commands[i]->name) &&
            (!best || strlen(commands[i]->name) < strlen(best->name)))
            best = commands[i];
    for (int i = 0; best && i < N_COMMANDS; i++)
        if (is_prefix(word, n, commands[i]->name) &&
            !is_prefix(best->name, strlen(best->name), commands[i]->name))
            return NULL;
    return best;
}

const struct command *command_find(const char *word, size_t n, int column, struct error *err)
{
    char list[300] = "";
    size_t at = 0;
    for (int i = 0; i < N_COMMANDS; i++)
        if ((strlen(commands[i]->name) == n && memcmp(commands[i]->name, word, n) == 0) ||
            has_alias(commands[i], word, n))
            return commands[i];
    const struct command *found = n > 0 ? shortest(word, n) : NULL;
    if (found)
        return found;
    bool ambiguous = false;
    for (int i = 0; i < N_COMMANDS; i++)
        ambiguous = ambiguous || (n > 0 && is_prefix(word, n, commands[i]->name));
    for (int i = 0; i < N_COMMANDS && at < sizeof list - 40; i++)
        if (ambiguous ? is_prefix(word, n, commands[i]->name)
                      : near_name(word, n, commands[i]->name))
            at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", at ? ", " : "",
                                   commands[i]->name);
    int shown = n > 40 ? 40 : (int)n;
    if (ambiguous)
        error_at(err, ERR_USAGE, column, "\"%.*s\" may be %s", shown, word, list);
    else
        error_at(err, ERR_USAGE, column, "there is no command \"%.*s\"%s%s%s", shown, word,
                 at ? " (near: " : " (help lists them)", list, at ? ")" : "");
    return NULL;
}

/* ---- the console ---- */

void console_init(struct console *c, struct session *s, struct report *r)
{
    *c = (struct console){.ledger = s->ledger, .session = s, .report = r};
    variables_init(&c->variables, s->ledger);
    displays_init(&c->displays, s->ledger);
    history_init(&c->history, s->ledger);
    text_init(&c->gathered, s->ledger, MEM_OTHER);
    s->breakpoints.variables = &c->variables;
    log_init(&c->logs[0]);
    log_init(&c->logs[1]);
}

void console_fini(struct console *c)
{
    if (c->session)
        c->session->breakpoints.variables = NULL;
    variables_fini(&c->variables);
    history_fini(&c->history);
    log_close(&c->logs[0]);
    log_close(&c->logs[1]);
    text_fini(&c->gathered);
    displays_fini(&c->displays);
    mem_free(c->ledger, c->repeat);
    c->repeat = NULL;
}

/* Runs a command, and keeps the state before it if it was changed, so that undo finds it. A motion
 * changes something only where it samples tokens; an edit that was interrupted holds. */
static bool run_undoable(struct console *c, const struct command *command, struct arguments *a,
                         struct error *err)
{
    struct change_mark mark;
    if (!command->undoable)
        return command->run(c, a, err);
    change_begin(c, &mark);
    bool ok = command->run(c, a, err);
    bool always = command->theme == THEME_BREAK || command->theme == THEME_EDIT;
    change_end(c, &mark, a->line, ok && always);
    return ok;
}

/* Reads "print/a" and runs it. */
static bool run_command(struct console *c, struct arguments *a, struct error *err)
{
    const char *word = a->line + a->at;
    int column = arguments_column(a);
    size_t n = 0, whole = a->n;
    while (a->at + n < a->n && (isalpha((unsigned char)word[n]) || word[n] == '-'))
        n++;
    /* A word that is no command is shown whole in the message. */
    if (n == 0)
        while (a->at + n < a->n && word[n] != ' ' && word[n] != '\t')
            n++;
    const struct command *command = command_find(word, n, column, err);
    if (!command)
        return false;
    a->at += n;
    if (a->at < a->n && a->line[a->at] == '/') {
        size_t length = 0;
        a->format_column = (int)a->at + 1;
        a->at++;
        while (a->at < a->n && isalnum((unsigned char)a->line[a->at])) {
            if (length + 1 >= sizeof a->format)
                return error_at(err, ERR_USAGE, a->format_column, "too much behind the slash");
            a->format[length++] = a->line[a->at++];
        }
        const char *usage = command->usage + strlen(command->name);
        if (strncmp(usage, "[/", 2) != 0 && *usage != '/')
            return error_at(err, ERR_USAGE, a->format_column, "%s takes no /", command->name);
    }
    if (a->at < a->n && a->line[a->at] != ' ' && a->line[a->at] != '\t')
        return error_at(err, ERR_USAGE, (int)a->at + 1, "a blank is expected behind \"%s\"",
                        command->name);
    if (command->outside && c->untrusted)
        return error_at(err, ERR_STATE, column, "%s is not allowed here", command->name);
    struct record_mark before = record_mark(c);
    long sent = c->report->sent;
    bool ok = run_undoable(c, command, a, err);
    const char *done = c->log_as ? c->log_as : a->line;
    record_add(c, &before, command->changes, ok, done, c->log_as ? strlen(done) : whole);
    mem_free(c->ledger, c->log_as);
    c->log_as = NULL;
    if (!ok)
        return false;
    /* Whoever reads JSON waits for an answer. */
    if (c->report->json && c->report->sent == sent) {
        report_begin(c->report, "cmd", command->name);
        if (!report_end(c->report, err))
            return false;
    }
    if (c->interactive && c->source_depth == 0) {
        char *line = command->repeats ? mem_strdup(c->ledger, MEM_OTHER, a->line, err) : NULL;
        if (command->repeats && !line)
            return false;
        mem_free(c->ledger, c->repeat);
        c->repeat = line;
    }
    return true;
}

bool console_line(struct console *c, const char *line, size_t n, struct error *err)
{
    struct arguments a = {.line = line, .n = n};
    bool found;
    if (console_gathers(c)) {
        struct record_mark before = record_mark(c);
        bool ok = stop_gather(c, line, n, err);
        record_add(c, &before, true, ok, line, n);
        return ok;
    }
    if (arguments_end(&a) || line[a.at] == '#')
        return true;
    if (line[a.at] == '$') {
        struct record_mark before = record_mark(c);
        bool ok = console_assign(c, &a, &found, err) && (found || command_print.run(c, &a, err));
        record_add(c, &before, true, ok, line, n);
        return ok;
    }
    return run_command(c, &a, err);
}

bool console_gathers(const struct console *c)
{
    return c->first_gathered > 0;
}

static bool run_line(struct console *c, const char *line, size_t n, struct error *err)
{
    long arrivals = c->session->arrivals;
    /* A log has the lines that stops ran among its own. */
    return console_line(c, line, n, err) && (c->repeats_log || stop_follow(c, arrivals, err));
}

bool console_run(struct console *c, const char *line, size_t n, struct error *err)
{
    struct error own = {0};
    if (n > LINE_MAX_BYTES)
        return error_set(err, ERR_USAGE, "a line of more than 1 MiB");
    const char *from = line;
    if (n == 0 && c->interactive && c->repeat && !console_gathers(c)) {
        from = c->repeat;
        n = strlen(from);
    }
    /* A copy, since the line may be one that this command frees. */
    char *copy = mem_alloc(c->ledger, MEM_OTHER, n + 1, err);
    if (!copy)
        return false;
    if (n > 0)
        memcpy(copy, from, n);
    c->placed = false;
    bool ok = run_line(c, copy, n, &own);
    ok = ok ? report_send(c->report, &own) : ok;
    text_clear(&c->report->text);
    c->report->text.failed = false;
    mem_free(c->ledger, copy);
    if (!ok && err)
        *err = own;
    return ok;
}

bool console_source_text(struct console *c, const char *path, const char *text, size_t n,
                         struct error *err)
{
    if (c->source_depth >= 16)
        return error_set(err, ERR_USAGE, "%s: files that source files, 16 deep", path);
    const char *outer = c->sourced;
    bool ok = true;
    int number = 1;
    bool repeats = c->repeats_log;
    c->repeats_log = n >= strlen(LOG_MARK) && memcmp(text, LOG_MARK, strlen(LOG_MARK)) == 0;
    c->source_depth++;
    c->sourced = path;
    for (size_t at = 0; ok && at < n && !c->quit; number++) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t length = end ? (size_t)(end - text) - at : n - at;
        size_t bare = length > 0 && text[at + length - 1] == '\r' ? length - 1 : length;
        ok = console_run(c, text + at, bare, err);
        at += length + 1;
    }
    /* The place becomes part of the message: the column is not one of the line that was typed. Of
     * files that source files the innermost is named. */
    if (!ok && !c->placed && err && err->column > 0)
        error_prefix(err, "%s:%d:%d", path, number - 1, err->column);
    else if (!ok && !c->placed)
        error_prefix(err, "%s:%d", path, number - 1);
    if (!ok && err)
        err->column = 0;
    bool log = c->repeats_log;
    c->placed = true;
    c->sourced = outer;
    c->repeats_log = repeats;
    c->source_depth--;
    /* What comes behind the file is not meant for it. A log may have been cut off anywhere. */
    if (console_gathers(c)) {
        stop_gather_no_more(c);
        if (ok && !log)
            ok = error_set(err, ERR_USAGE, "%s: commands without an end", path);
    }
    return ok;
}

bool console_source(struct console *c, const char *path, struct error *err)
{
    size_t n;
    char *text = file_read(c->ledger, MEM_OTHER, path, (size_t)64 << 20, &n, err);
    bool ok = text && console_source_text(c, path, text, n, err);
    mem_free(c->ledger, text);
    return ok;
}
