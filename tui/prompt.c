/* prompt.c - the only file that knows readline. */
#include "tui/prompt.h"

#include "tui/history.h"
#include "tui/interrupt.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

static struct {
    bool started, open, ended, remember, plain;
    bool told; /* that the history cannot be kept */
    struct prompt_options o;
    char *line; /* of readline: freed with free */
    char lead[200];
    struct text lead_shown, shown;
    FILE *nowhere;           /* readline's terminal within the screen */
    unsigned char bytes[64]; /* that wait to be read by readline */
    size_t n_bytes, at_byte;
    volatile int *interrupt;
} it;

/* ---- history ---- */

static void add_old(void *context, const char *line)
{
    (void)context;
    add_history(line);
}

/* Told once; without a history one can work. */
static void tell_once(const struct error *e)
{
    char line[600];
    int n = snprintf(line, sizeof line, "%s", e->text);
    if (!it.told && it.o.say && n > 0)
        it.o.say(it.o.context, line, strlen(line));
    it.told = true;
}

static void history_open(void)
{
    struct error err = {0};
    using_history();
    stifle_history(HISTORY_LINES);
    if (!history_load(it.o.ledger, add_old, NULL, &err))
        tell_once(&err);
}

/* At once, so that a dropped connection loses no line. */
static void remember_line(const char *line)
{
    HIST_ENTRY *last = history_length > 0 ? history_get(history_base + history_length - 1) : NULL;
    struct error err = {0};
    if (!*line || (last && strcmp(last->line, line) == 0))
        return;
    add_history(line);
    if (!history_append(it.o.ledger, line, strlen(line), &err))
        tell_once(&err);
}

/* What was changed in a line of the history readline keeps with that line, to undo it there. After
 * some ways of editing (in vi's mode, with a search) two own the same list, and it is freed twice,
 * or used when it is gone. So no list outlives its prompt. Which of them are gone already cannot
 * be known, so none is freed. */
static void forget_changes(void)
{
    HIST_ENTRY **lines = history_list();
    for (int i = 0; lines && lines[i]; i++)
        lines[i]->data = NULL;
}

/* ---- completion ---- */

static int width_now(void)
{
    int rows = 24, columns = 80;
    if (it.plain)
        rl_get_screen_size(&rows, &columns);
    return columns < 20 ? 20 : columns > 200 ? 200 : columns;
}

static void show_candidates(const struct completion *c)
{
    struct text t;
    text_init(&t, it.o.ledger, MEM_OTHER);
    completion_add_list(c, width_now(), &t);
    if (text_ok(&t, NULL) && t.n > 0)
        it.o.say(it.o.context, t.data, t.n);
    text_fini(&t);
}

static int complete(int count, int key)
{
    struct completion c;
    (void)count;
    (void)key;
    if (!it.o.source || !completion_find(&c, it.o.source, rl_line_buffer, (size_t)rl_point, NULL))
        return 0;
    size_t typed = (size_t)rl_point - c.from, common = strlen(c.common);
    bool listed = rl_last_func == complete;
    if (c.found > 0 && common > typed) {
        rl_begin_undo_group();
        rl_insert_text(c.common + typed);
        if (c.found == 1 && c.closes)
            rl_insert_text(" ");
        rl_end_undo_group();
    } else if (c.found == 1 && c.closes) {
        rl_insert_text(" ");
    } else if (c.found > 1 && listed) {
        show_candidates(&c);
    } else if (c.found == 0) {
        rl_ding();
    }
    completion_fini(&c);
    return 0;
}

/* ---- keys handed in ---- */

static int next_byte(FILE *stream)
{
    (void)stream;
    return it.at_byte < it.n_bytes ? it.bytes[it.at_byte++] : EOF;
}

static int bytes_left(void)
{
    return it.at_byte < it.n_bytes;
}

static void redisplay_nothing(void)
{
}

static void prepare_nothing(int meta)
{
    (void)meta;
}

static void restore_nothing(void)
{
}

static void take_line(char *line)
{
    free(it.line);
    it.line = line;
    it.ended = true;
    rl_callback_handler_remove();
}

bool prompt_start(const struct prompt_options *o, struct error *err)
{
    if (it.started)
        return true;
    memset(&it, 0, sizeof it);
    it.o = *o;
    text_init(&it.shown, o->ledger, MEM_OTHER);
    text_init(&it.lead_shown, o->ledger, MEM_OTHER);
    it.nowhere = fopen("/dev/null", "r+");
    if (!it.nowhere)
        return error_set(err, ERR_FILE, "/dev/null: %s", strerror(errno));
    rl_readline_name = "midpass";
    rl_catch_signals = 0;
    rl_catch_sigwinch = 0;
    rl_change_environment = 0;
    rl_startup_hook = NULL;
    rl_bind_key('\t', complete);
    rl_add_defun("midpass-complete", complete, -1);
    history_open();
    it.started = true;
    return true;
}

void prompt_stop(void)
{
    if (!it.started)
        return;
    prompt_close();
    it.started = false;
    forget_changes();
    rl_clear_history();
    rl_instream = rl_outstream = NULL;
    fclose(it.nowhere);
    free(it.line);
    it.line = NULL;
    text_fini(&it.shown);
    text_fini(&it.lead_shown);
}

void prompt_open(const char *lead, const char *text, bool remember)
{
    prompt_close();
    forget_changes();
    /* Within the screen the terminal is not readline's: neither its modes nor its output. */
    rl_instream = rl_outstream = it.nowhere;
    rl_terminal_name = "dumb";
    rl_prep_term_function = prepare_nothing;
    rl_deprep_term_function = restore_nothing;
    rl_redisplay_function = redisplay_nothing;
    rl_getc_function = next_byte;
    rl_input_available_hook = bytes_left;
    rl_completion_display_matches_hook = NULL;
    it.open = true;
    it.ended = false;
    it.remember = remember;
    it.n_bytes = it.at_byte = 0;
    snprintf(it.lead, sizeof it.lead, "%s", lead);
    rl_callback_handler_install(it.lead, take_line);
    rl_bind_key('\t', complete);
    if (text && *text)
        rl_insert_text(text);
}

void prompt_close(void)
{
    if (!it.open)
        return;
    it.open = false;
    if (!it.ended) {
        rl_free_line_state();
        rl_callback_handler_remove();
    }
}

const char *prompt_line(void)
{
    return it.line ? it.line : "";
}

const char *prompt_text(void)
{
    return it.open ? rl_line_buffer : "";
}

static void add_byte(int c)
{
    if (it.n_bytes < sizeof it.bytes)
        it.bytes[it.n_bytes++] = (unsigned char)c;
}

static void add_character(int c)
{
    if (c < 0x80) {
        add_byte(c);
    } else if (c < 0x800) {
        add_byte(0xc0 | c >> 6);
        add_byte(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        add_byte(0xe0 | c >> 12);
        add_byte(0x80 | (c >> 6 & 0x3f));
        add_byte(0x80 | (c & 0x3f));
    } else {
        add_byte(0xf0 | c >> 18);
        add_byte(0x80 | (c >> 12 & 0x3f));
        add_byte(0x80 | (c >> 6 & 0x3f));
        add_byte(0x80 | (c & 0x3f));
    }
}

/* Whether the key is one that readline gets; its bytes wait then. */
static bool add_key(int key)
{
    static const struct {
        int key;
        const char *bytes;
    } special[] = {
        {KEY_UP_ARROW, "\033[A"},   {KEY_DOWN_ARROW, "\033[B"}, {KEY_RIGHT_ARROW, "\033[C"},
        {KEY_LEFT_ARROW, "\033[D"}, {KEY_HOME_KEY, "\001"},     {KEY_END_KEY, "\005"},
        {KEY_DELETE_KEY, "\004"},   {KEY_PAGE_UP, "\033[A"},    {KEY_PAGE_DOWN, "\033[B"}};
    it.n_bytes = it.at_byte = 0;
    if (key < KEY_SPECIAL) {
        add_character(key);
        return true;
    }
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++)
        if (special[i].key == key) {
            /* On an empty line Ctrl-D means the end. */
            if (key == KEY_DELETE_KEY && rl_end == 0)
                return false;
            for (const char *s = special[i].bytes; *s; s++)
                add_byte(*s);
            return true;
        }
    return false;
}

enum prompt_result prompt_key(int key, bool alone)
{
    bool searching = RL_ISSTATE(RL_STATE_ISEARCH | RL_STATE_NSEARCH) != 0;
    if (!it.open)
        return PROMPT_CANCELLED;
    bool escape = key == KEY_ESCAPE && alone && rl_editing_mode != 0;
    if ((escape || key == KEY_CTRL_C) && searching)
        key = 7; /* Ctrl-G leaves the search */
    else if (escape || key == KEY_CTRL_C) {
        prompt_close();
        return PROMPT_CANCELLED;
    }
    /* With nothing left to take away, the line itself goes. */
    if (key == KEY_RUBOUT && rl_end == 0 && !searching) {
        prompt_close();
        return PROMPT_CANCELLED;
    }
    if (!add_key(key))
        return PROMPT_MORE;
    while (bytes_left() && !it.ended)
        rl_callback_read_char();
    if (!it.ended)
        return PROMPT_MORE;
    it.open = false;
    if (!it.line)
        return PROMPT_CANCELLED; /* Ctrl-D */
    if (it.remember)
        remember_line(it.line);
    return PROMPT_DONE;
}

void prompt_look(struct prompt_view *v)
{
    *v = (struct prompt_view){.lead = "", .text = ""};
    if (!it.open)
        return;
    const char *lead = rl_display_prompt ? rl_display_prompt : it.lead;
    text_clear(&it.lead_shown);
    text_clear(&it.shown);
    text_add_shown(&it.lead_shown, lead, strlen(lead), false);
    text_add_shown(&it.shown, rl_line_buffer, (size_t)rl_point, false);
    v->active = true;
    v->cursor = it.shown.data && it.shown.n ? text_columns(it.shown.data) : 0;
    text_add_shown(&it.shown, rl_line_buffer + rl_point, strlen(rl_line_buffer + rl_point), false);
    if (text_ok(&it.lead_shown, NULL) && it.lead_shown.data)
        v->lead = it.lead_shown.data;
    if (text_ok(&it.shown, NULL) && it.shown.data && it.shown.n)
        v->text = it.shown.data;
    it.lead_shown.failed = it.shown.failed = false;
}

/* ---- plain ---- */

static void give_up_line(void)
{
    *it.interrupt = 0;
    fputs("^C\n", rl_outstream);
    rl_replace_line("", 1);
    rl_point = rl_end = 0;
    rl_on_new_line();
    rl_redisplay();
}

/* Waits for a byte. False, with errno EINTR: Ctrl-C or another signal came first. A Ctrl-C between
 * looking at the flag and waiting is not lost, since its descriptor is waited for too. */
static bool wait_for_byte(int fd)
{
    struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = interrupt_fd(), .events = POLLIN}};
    errno = EINTR;
    if (*it.interrupt || poll(p, 2, -1) <= 0)
        return false;
    if (p[1].revents)
        interrupt_drain();
    errno = EINTR;
    return p[0].revents && !*it.interrupt;
}

/* Ctrl-C gives up what was typed and goes on with an empty line. */
static int typed_byte(FILE *stream)
{
    for (;;) {
        unsigned char c;
        if (wait_for_byte(fileno(stream))) {
            ssize_t n = read(fileno(stream), &c, 1);
            if (n == 1)
                return c;
            if (n == 0 || errno != EINTR)
                return EOF;
        } else if (errno != EINTR) {
            return EOF;
        }
        if (*it.interrupt)
            give_up_line();
    }
}

static void say_plain(void *context, const char *s, size_t n)
{
    (void)context;
    fputc('\n', rl_outstream);
    fwrite(s, 1, n, rl_outstream);
    rl_on_new_line();
}

const char *prompt_read(const char *lead, volatile int *interrupt)
{
    if (!it.plain) {
        it.plain = true;
        it.o.say = say_plain;
        rl_instream = stdin;
        rl_outstream = stdout;
        rl_getc_function = typed_byte;
        rl_catch_sigwinch = 1;
    }
    it.interrupt = interrupt;
    free(it.line);
    forget_changes();
    *interrupt = 0; /* what it was meant to stop has ended */
    it.line = readline(lead);
    if (it.line)
        remember_line(it.line);
    return it.line;
}
