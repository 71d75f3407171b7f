#include "tui/signals.h"

#include "tui/line.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const int noted[] = {SIGWINCH, SIGTSTP, SIGCONT, SIGTERM, SIGHUP, SIGQUIT, SIGINT};
static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
#define N_NOTED  ((int)(sizeof noted / sizeof noted[0]))
#define N_FAULTS ((int)(sizeof faults / sizeof faults[0]))

static struct sigaction before[N_NOTED + N_FAULTS];
static int channel[2] = {-1, -1};
static volatile int *interrupt_flag;
static volatile sig_atomic_t leave_by;

static void on_signal(int sig)
{
    int why = errno;
    unsigned char note = NOTE_LEAVE;
    switch (sig) {
    case SIGINT:
        *interrupt_flag = 1;
        return;
    case SIGWINCH:
        note = NOTE_RESIZED;
        break;
    case SIGTSTP:
        note = NOTE_SUSPEND;
        break;
    case SIGCONT:
        note = NOTE_CONTINUED;
        break;
    default:
        leave_by = sig;
    }
    /* A full pipe has notes enough. */
    ssize_t n = write(channel[1], &note, 1);
    (void)n;
    errno = why;
}

/* The terminal first; then whoever had the signal before: the message about a file that became
 * shorter, a sanitizer, the default. Returning runs the faulty instruction again. */
static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    line_emergency();
    for (int i = 0; i < N_FAULTS; i++)
        if (faults[i] == sig)
            sigaction(sig, &before[N_NOTED + i], NULL);
    if (info->si_code <= 0)
        raise(sig);
}

bool signals_start(volatile int *interrupt, struct error *err)
{
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct sigaction f = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
    if (pipe2(channel, O_CLOEXEC | O_NONBLOCK) != 0)
        return error_set(err, ERR_FILE, "no pipe for signals: %s", strerror(errno));
    interrupt_flag = interrupt;
    leave_by = 0;
    sigemptyset(&a.sa_mask);
    sigemptyset(&f.sa_mask);
    f.sa_sigaction = on_fault;
    for (int i = 0; i < N_NOTED; i++)
        sigaction(noted[i], &a, &before[i]);
    for (int i = 0; i < N_FAULTS; i++)
        sigaction(faults[i], &f, &before[N_NOTED + i]);
    return true;
}

void signals_stop(void)
{
    if (channel[0] < 0)
        return;
    for (int i = 0; i < N_NOTED; i++)
        sigaction(noted[i], &before[i], NULL);
    for (int i = 0; i < N_FAULTS; i++)
        sigaction(faults[i], &before[N_NOTED + i], NULL);
    close(channel[0]);
    close(channel[1]);
    channel[0] = channel[1] = -1;
}

int signals_fd(void)
{
    return channel[0];
}

enum signal_note signals_take(void)
{
    unsigned char note;
    return read(channel[0], &note, 1) == 1 ? (enum signal_note)note : NOTE_NONE;
}

int signals_last(void)
{
    return leave_by;
}
