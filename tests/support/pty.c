#include "tests/support/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <utmp.h>

/* cmocka wants these before it. */
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#define PATIENCE 20.0 /* seconds */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int on_property(VTermProp prop, VTermValue *value, void *user)
{
    struct pty *p = user;
    if (prop == VTERM_PROP_ALTSCREEN)
        p->alternate = value->boolean;
    if (prop == VTERM_PROP_CURSORVISIBLE)
        p->cursor = value->boolean;
    return 1;
}

static const VTermScreenCallbacks callbacks = {.settermprop = on_property};

static void set_environment(const char *const *environment)
{
    for (int i = 0; environment && environment[i]; i++) {
        char name[64];
        const char *equals = strchr(environment[i], '=');
        if (!equals) {
            unsetenv(environment[i]);
            continue;
        }
        snprintf(name, sizeof name, "%.*s", (int)(equals - environment[i]), environment[i]);
        setenv(name, equals + 1, 1);
    }
}

void pty_open(struct pty *p, char *const *argv, const char *const *environment, int w, int h)
{
    struct winsize size = {.ws_row = (unsigned short)h, .ws_col = (unsigned short)w};
    memset(p, 0, sizeof *p);
    p->w = w;
    p->h = h;
    p->cursor = true;
    if (openpty(&p->master, &p->slave, NULL, NULL, &size) != 0)
        fail_msg("no pseudo-terminal: %s", strerror(errno));
    tcgetattr(p->slave, &p->before);
    fflush(NULL);
    p->pid = fork();
    if (p->pid < 0)
        fail_msg("fork: %s", strerror(errno));
    if (p->pid == 0) {
        close(p->master);
        login_tty(p->slave);
        set_environment(environment);
        execv(argv[0], argv);
        fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    fcntl(p->master, F_SETFL, O_NONBLOCK);
    fcntl(p->master, F_SETFD, FD_CLOEXEC);
    fcntl(p->slave, F_SETFD, FD_CLOEXEC);
    p->term = vterm_new(h, w);
    vterm_set_utf8(p->term, 1);
    p->screen = vterm_obtain_screen(p->term);
    vterm_screen_enable_altscreen(p->screen, 1);
    vterm_screen_set_callbacks(p->screen, &callbacks, p);
    vterm_screen_reset(p->screen, 1);
}

void pty_close(struct pty *p)
{
    if (p->pid > 0 && !p->ended) {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, &p->status, 0);
    }
    if (p->term)
        vterm_free(p->term);
    if (p->master > 0)
        close(p->master);
    if (p->slave > 0)
        close(p->slave);
    memset(p, 0, sizeof *p);
}

/* Takes what has come, waiting at most so long for a first byte. */
static size_t take(struct pty *p, int ms)
{
    char buffer[16384];
    size_t all = 0;
    struct pollfd f = {.fd = p->master, .events = POLLIN};
    if (poll(&f, 1, ms) <= 0)
        return 0;
    for (;;) {
        ssize_t n = read(p->master, buffer, sizeof buffer);
        if (n <= 0)
            break;
        vterm_input_write(p->term, buffer, (size_t)n);
        all += (size_t)n;
        p->bytes += (unsigned long long)n;
    }
    return all;
}

void pty_type(struct pty *p, const char *keys)
{
    size_t n = strlen(keys);
    while (n > 0) {
        ssize_t k = write(p->master, keys, n);
        if (k > 0) {
            keys += k;
            n -= (size_t)k;
        } else if (k < 0 && errno != EAGAIN && errno != EINTR) {
            fail_msg("typing: %s", strerror(errno));
        } else {
            take(p, 10);
        }
    }
}

void pty_resize(struct pty *p, int w, int h)
{
    struct winsize size = {.ws_row = (unsigned short)h, .ws_col = (unsigned short)w};
    take(p, 0);
    p->w = w;
    p->h = h;
    vterm_set_size(p->term, h, w);
    ioctl(p->master, TIOCSWINSZ, &size);
}

const char *pty_row(struct pty *p, int y)
{
    static char row[8192];
    size_t n = 0;
    for (int x = 0; x < p->w && n + 40 < sizeof row; x++) {
        VTermScreenCell cell;
        VTermPos at = {y, x};
        if (!vterm_screen_get_cell(p->screen, at, &cell) || cell.chars[0] == (uint32_t)-1)
            continue;
        if (cell.chars[0] == 0)
            row[n++] = ' ';
        for (int i = 0; i < VTERM_MAX_CHARS_PER_CELL && cell.chars[i]; i++) {
            uint32_t c = cell.chars[i];
            if (c < 0x80) {
                row[n++] = (char)c;
                continue;
            }
            if (c >= 0x10000) {
                row[n++] = (char)(0xf0 | c >> 18);
                row[n++] = (char)(0x80 | (c >> 12 & 0x3f));
            } else if (c >= 0x800) {
                row[n++] = (char)(0xe0 | c >> 12);
            }
            row[n++] = (char)(c >= 0x800 ? 0x80 | (c >> 6 & 0x3f) : 0xc0 | c >> 6);
            row[n++] = (char)(0x80 | (c & 0x3f));
        }
    }
    while (n > 0 && row[n - 1] == ' ')
        n--;
    row[n] = '\0';
    return row;
}

void pty_print(struct pty *p)
{
    for (int y = 0; y < p->h; y++)
        fprintf(stderr, "|%s\n", pty_row(p, y));
}

bool pty_shows(struct pty *p, const char *text)
{
    for (int y = 0; y < p->h; y++)
        if (strstr(pty_row(p, y), text))
            return true;
    return false;
}

static void note_end(struct pty *p)
{
    if (!p->ended && waitpid(p->pid, &p->status, WNOHANG) == p->pid)
        p->ended = true;
}

static void expect(struct pty *p, const char *text, bool there)
{
    double end = now() + PATIENCE;
    while (pty_shows(p, text) != there) {
        size_t n = take(p, 50);
        note_end(p);
        if (n == 0 && (p->ended || now() > end)) {
            pty_print(p);
            fail_msg("the screen %s \"%s\"%s", there ? "never shows" : "still shows", text,
                     p->ended ? ", and the program has ended" : "");
        }
    }
}

void pty_expect(struct pty *p, const char *text)
{
    expect(p, text, true);
}

void pty_expect_gone(struct pty *p, const char *text)
{
    expect(p, text, false);
}

unsigned long long pty_settle(struct pty *p, int quiet_ms)
{
    unsigned long long before = p->bytes;
    while (take(p, quiet_ms) > 0)
        ;
    return p->bytes - before;
}

int pty_wait(struct pty *p)
{
    double end = now() + PATIENCE;
    while (!p->ended) {
        take(p, 20);
        note_end(p);
        if (!p->ended && now() > end) {
            pty_print(p);
            fail_msg("the program does not end");
        }
    }
    take(p, 0);
    return p->status;
}

bool pty_restored(struct pty *p)
{
    struct termios t;
    return !p->alternate && p->cursor && tcgetattr(p->slave, &t) == 0 &&
           t.c_iflag == p->before.c_iflag && t.c_oflag == p->before.c_oflag &&
           t.c_lflag == p->before.c_lflag && t.c_cflag == p->before.c_cflag;
}
