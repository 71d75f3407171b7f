/* command_misc.c - settings, scripts, help. */
#include "engine/debug/command_parts.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* ---- set ---- */

static bool read_real(struct arguments *a, const char *what, double low, double high, double *out,
                      struct error *err)
{
    char word[40], *end;
    int column = arguments_column(a);
    if (!arguments_string(a, what, word, sizeof word, err))
        return false;
    *out = strtod(word, &end);
    if (*end || end == word || !(*out > low) || *out > high)
        return error_at(err, ERR_USAGE, column, "%s lies above %g and is at most %g", what, low,
                        high);
    return true;
}

static bool say_sampler(struct console *c, struct error *err)
{
    const struct sampler *s = &c->session->sampler;
    struct report *r = c->report;
    if (r->json) {
        report_begin(r, "cmd", "set sampler");
        report_bool(r, "greedy", s->greedy);
        report_number(r, "temperature", (double)s->temperature);
        report_number(r, "top_p", (double)s->top_p);
        report_int(r, "seed", (long long)s->seed);
        return report_end(r, err);
    }
    if (s->greedy)
        text_add(&r->text, "sampler greedy\n");
    else
        text_printf(&r->text, "sampler temp %g top-p %g seed %llu\n", (double)s->temperature,
                    (double)s->top_p, (unsigned long long)s->seed);
    return report_send(r, err);
}

static bool set_sampler(struct console *c, struct arguments *a, struct error *err)
{
    /* Read whole before any of it holds. */
    struct sampler s = c->session->sampler;
    double x;
    int seed;
    bool changed = false;
    while (!arguments_end(a)) {
        int column = arguments_column(a);
        changed = true;
        if (arguments_take(a, "greedy")) {
            s.greedy = true;
            continue;
        }
        if (arguments_take(a, "temp") || arguments_take(a, "temperature")) {
            if (!read_real(a, "a temperature", 0, 1000, &x, err))
                return false;
            s.temperature = (float)x;
        } else if (arguments_take(a, "top-p")) {
            if (!read_real(a, "top-p", 0, 1, &x, err))
                return false;
            s.top_p = (float)x;
        } else if (arguments_take(a, "seed")) {
            int at = arguments_column(a);
            if (arguments_end(a))
                return error_at(err, ERR_USAGE, at, "a seed is expected here");
            if (!arguments_int(a, "a seed", 0, 2147483647, 1, &seed, err))
                return false;
            s.seed = (uint64_t)seed;
            /* The generator's state may be anything but 0. */
            s.state = s.seed ? s.seed * 0x9e3779b97f4a7c15ull : 0x9e3779b97f4a7c15ull;
        } else {
            return error_at(err, ERR_USAGE, column,
                            "a sampler is: greedy, or temp X, top-p X, seed N");
        }
        s.greedy = false;
    }
    if (changed)
        c->session->sampler = s;
    return say_sampler(c, err);
}

static bool run_set(struct console *c, struct arguments *a, struct error *err)
{
    bool found;
    if (!console_assign(c, a, &found, err))
        return false;
    if (found)
        return true;
    if (arguments_take(a, "sampler"))
        return set_sampler(c, a, err);
    return patch_set(c, a, err);
}

/* ---- echo, source, shell, quit ---- */

/* Text with \n, \t and \\ read, as gdb's echo has it. Lines stay lines, and nothing else of a
 * script's reaches the terminal raw. */
static bool run_echo(struct console *c, struct arguments *a, struct error *err)
{
    struct text said;
    arguments_end(a);
    text_init(&said, c->ledger, MEM_OTHER);
    for (size_t i = a->at; i < a->n; i++) {
        char x = a->line[i];
        if (x == '\\' && i + 1 < a->n) {
            char e = a->line[++i];
            x = e == 'n' ? '\n' : e == 't' ? '\t' : e;
        }
        text_add_bytes(&said, &x, 1);
    }
    bool ok = text_ok(&said, err);
    struct report *r = c->report;
    if (ok && r->json) {
        report_begin(r, "cmd", "echo");
        report_string(r, "text", said.data ? said.data : "", said.n);
        ok = report_end(r, err);
    } else if (ok) {
        for (size_t at = 0; at < said.n;) {
            size_t n = 0;
            while (at + n < said.n && said.data[at + n] != '\n' && said.data[at + n] != '\t')
                n++;
            text_add_shown(&r->text, said.data + at, n, false);
            at += n;
            if (at < said.n)
                text_add_bytes(&r->text, said.data + at++, 1);
        }
        ok = report_send(r, err);
    }
    text_fini(&said);
    return ok;
}

static bool run_source(struct console *c, struct arguments *a, struct error *err)
{
    char path[4096];
    return arguments_string(a, "a file's name", path, sizeof path, err) && arguments_done(a, err) &&
           console_source(c, path, err);
}

static bool run_shell(struct console *c, struct arguments *a, struct error *err)
{
    int column = arguments_column(a);
    if (arguments_end(a))
        return error_at(err, ERR_USAGE, column, "a command for the shell is expected here");
    if (memchr(a->line + a->at, '\0', a->n - a->at))
        return error_at(err, ERR_USAGE, column, "the command holds a NUL");
    if (!report_send(c->report, err))
        return false;
    fflush(NULL);
    int status = system(a->line + a->at);
    if (status == -1)
        return error_set(err, ERR_FILE, "the shell cannot be started: %s", strerror(errno));
    if (WIFSIGNALED(status))
        return error_set(err, ERR_FILE, "the command ended by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return error_set(err, ERR_FILE, "the command ended with status %d", WEXITSTATUS(status));
    return true;
}

static bool run_quit(struct console *c, struct arguments *a, struct error *err)
{
    if (!arguments_int(a, "an exit code", 0, 125, 0, &c->exit_code, err) || !arguments_done(a, err))
        return false;
    c->quit = true;
    return true;
}

/* ---- help ---- */

static const char expressions_help[] =
    "5.pattern              a site at the cursor's position: [H, S] (blocks.5.attn.hook_pattern)\n"
    "5.pattern[3,-1,:]      a slice of all of it: head, query, key; z[-1,6] is position, head\n"
    ".  .[3]                the site stood at, at the cursor's position; its head 3\n"
    "+ - * / @              as in numpy, with broadcasting; == != < <= > >= && || !\n"
    "W(5.attn.W_O)[3]       a weight by TransformerLens's name and shape: W_Q W_K W_V W_O W_in\n"
    "                       W_gate W_out W_E W_pos W_U, b_Q ..., 5.ln1.w, ln_final.w\n"
    "\" Mary\"  1.5  inf  nan  strings and numbers\n"
    "$  $3  $name           the last value printed, the third, one that was kept\n"
    "A negative position counts from the sequence's end. Axes as in numpy.\n";

static void help_functions(struct text *t)
{
    for (int i = 0; expr_function_help(i); i++)
        text_printf(t, "%s\n", expr_function_help(i));
}

static void help_all(struct text *t)
{
    for (int theme = 0; theme < THEMES; theme++) {
        text_printf(t, "%s%s\n", theme ? "\n" : "", command_theme_name((enum command_theme)theme));
        for (int i = 0; command_at(i); i++) {
            const struct command *k = command_at(i);
            if (k->theme != (enum command_theme)theme)
                continue;
            /* A long usage has a line to itself. */
            if (strlen(k->usage) > 28)
                text_printf(t, "  %s\n  %-28s %s\n", k->usage, "", k->brief);
            else
                text_printf(t, "  %-28s %s\n", k->usage, k->brief);
        }
    }
    text_add(t,
             "\nhelp COMMAND tells more, help expressions what can be printed. Unique prefixes of "
             "a name do.\n");
}

static void help_command(struct text *t, const struct command *k)
{
    text_printf(t, "%s\n  %s\n", k->usage, k->brief);
    if (*k->aliases)
        text_printf(t, "  also: %s\n", k->aliases);
    if (*k->help)
        text_printf(t, "%s\n", k->help);
}

static bool run_help(struct console *c, struct arguments *a, struct error *err)
{
    struct report *r = c->report;
    struct text t;
    const char *word;
    size_t n;
    int column = arguments_column(a);
    bool ok = true;
    text_init(&t, c->ledger, MEM_OTHER);
    if (!arguments_word(a, &word, &n)) {
        help_all(&t);
    } else if (n >= 4 && n <= 11 && memcmp(word, "expressions", n) == 0) {
        text_add(&t, expressions_help);
        help_functions(&t);
    } else if (n >= 4 && n <= 9 && memcmp(word, "functions", n) == 0) {
        help_functions(&t);
    } else {
        const struct command *k = command_find(word, n, column, err);
        ok = k && arguments_done(a, err);
        if (ok)
            help_command(&t, k);
    }
    ok = ok && text_ok(&t, err);
    if (ok && r->json) {
        report_begin(r, "cmd", "help");
        report_string(r, "text", t.data, t.n);
        ok = report_end(r, err);
    } else if (ok) {
        text_add_bytes(&r->text, t.data, t.n);
        ok = report_send(r, err);
    }
    text_fini(&t);
    return ok;
}

/* ---- the table ---- */

static const char *const set_words[] = {"sampler", NULL};

const struct command command_set = {
    .name = "set",
    .aliases = "",
    .usage = "set sampler|$name|SITE ...",
    .brief = "how tokens are sampled; a value under a name; an edit here",
    .help = "set sampler greedy\nset sampler temp 0.8 top-p 0.95 seed 1\nset $name = EXPR\n"
            "set SITE[slice] = EXPR   (+=, *=) an edit at this position; . is the site stood at",
    .theme = THEME_OTHER,
    .takes = TAKES_WORD,
    .changes = true,
    .undoable = true,
    .run = run_set,
    .words = set_words,
};

const struct command command_echo = {
    .name = "echo",
    .aliases = "",
    .usage = "echo TEXT",
    .brief = "say TEXT; \\n ends a line",
    .help = "",
    .theme = THEME_OTHER,
    .takes = TAKES_TEXT,
    .run = run_echo,
};

const struct command command_source = {
    .name = "source",
    .aliases = "",
    .usage = "source FILE",
    .brief = "run the commands in a file, until one fails",
    .help = "A line that begins with # is a comment.",
    .theme = THEME_OTHER,
    .takes = TAKES_FILE,
    .outside = true,
    .run = run_source,
};

const struct command command_shell = {
    .name = "shell",
    .aliases = "",
    .usage = "shell COMMAND",
    .brief = "run a shell command",
    .help = "",
    .theme = THEME_OTHER,
    .takes = TAKES_TEXT,
    .outside = true,
    .run = run_shell,
};

const struct command command_help = {
    .name = "help",
    .aliases = "h",
    .usage = "help [COMMAND]",
    .brief = "this list; what a command does; help expressions",
    .help = "",
    .theme = THEME_OTHER,
    .takes = TAKES_TEXT,
    .run = run_help,
};

const struct command command_quit = {
    .name = "quit",
    .aliases = "q exit",
    .usage = "quit [CODE]",
    .brief = "leave",
    .help = "",
    .theme = THEME_OTHER,
    .run = run_quit,
};
