/* line.c - the terminal without curses: bytes, modes, and where 0, 1 and 2 go meanwhile. */
#include "tui/line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static struct {
    int in, out;  /* the terminal itself */
    int saved[3]; /* what 0, 1 and 2 were */
    int log[2];
    struct termios modes; /* as they were */
    char leave[256];      /* what puts the screen back, ready for a signal handler */
    size_t n_leave;
    bool lost;
} it = {.in = -1, .out = -1, .saved = {-1, -1, -1}, .log = {-1, -1}};

/* Set while the modes are ours: read by signal handlers. */
static volatile sig_atomic_t taken;

bool line_open(struct error *err)
{
    for (int fd = 0; fd < 3; fd++)
        it.saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    it.in = it.saved[0];
    it.out = it.saved[1];
    it.lost = false;
    it.n_leave = 0;
    if (it.in >= 0 && it.out >= 0 && tcgetattr(it.in, &it.modes) == 0)
        return true;
    error_set(err, ERR_FILE, "standard input is no terminal: %s", strerror(errno));
    line_close();
    return false;
}

void line_close(void)
{
    int *fds[] = {&it.saved[0], &it.saved[1], &it.saved[2], &it.log[0], &it.log[1]};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
    it.in = it.out = -1;
}

void line_send(const char *s, size_t n)
{
    while (n > 0 && !it.lost) {
        ssize_t k = write(it.out, s, n);
        if (k > 0) {
            s += k;
            n -= (size_t)k;
        } else if (k < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = it.out, .events = POLLOUT};
            poll(&p, 1, 1000);
        } else if (k == 0 || errno != EINTR) {
            it.lost = true;
        }
    }
}

void line_take_modes(void)
{
    struct termios t = it.modes;
    t.c_iflag &= ~(tcflag_t)(BRKINT | ICRNL | INLCR | IGNCR | ISTRIP | IXON | PARMRK);
    t.c_oflag &= ~(tcflag_t)OPOST;
    t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    tcsetattr(it.in, TCSADRAIN, &t);
    taken = 1;
}

void line_give(void)
{
    line_send(it.leave, it.n_leave);
    taken = 0;
    tcsetattr(it.in, TCSADRAIN, &it.modes);
}

void line_emergency(void)
{
    if (!taken)
        return;
    taken = 0;
    for (size_t at = 0; at < it.n_leave;) {
        ssize_t n = write(it.out, it.leave + at, it.n_leave - at);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    tcsetattr(it.in, TCSANOW, &it.modes);
    for (int fd = 0; fd < 3; fd++)
        if (it.saved[fd] >= 0)
            dup2(it.saved[fd], fd);
}

void line_add_leave(const char *s)
{
    size_t n = strlen(s);
    if (it.n_leave + n > sizeof it.leave)
        return;
    memcpy(it.leave + it.n_leave, s, n);
    it.n_leave += n;
}

bool line_redirect(struct error *err)
{
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing < 0 || pipe2(it.log, O_CLOEXEC) != 0) {
        if (nothing >= 0)
            close(nothing);
        return error_set(err, ERR_FILE, "the screen needs a pipe: %s", strerror(errno));
    }
    fcntl(it.log[0], F_SETFL, O_NONBLOCK);
    fflush(stdout);
    dup2(nothing, 0);
    dup2(it.log[1], 1);
    dup2(it.log[1], 2);
    close(nothing);
    return true;
}

int line_in(void)
{
    return it.in;
}

int line_out(void)
{
    return it.out;
}

int line_log(void)
{
    return it.log[0];
}

bool line_lost(void)
{
    return it.lost;
}
