#include "tui/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

volatile int interrupt_flag;

static int channel[2] = {-1, -1};

/* Pressed again before anything looked: that something hangs, and the signal does what it does
 * elsewhere. */
static void on_interrupt(int sig)
{
    int why = errno;
    if (interrupt_flag) {
        signal(sig, SIG_DFL);
        raise(sig);
    }
    interrupt_flag = 1;
    /* A full pipe has notes enough. */
    ssize_t n = write(channel[1], "", 1);
    (void)n;
    errno = why;
}

void interrupt_start(void)
{
    struct sigaction a = {.sa_handler = on_interrupt};
    if (pipe2(channel, O_CLOEXEC | O_NONBLOCK) != 0)
        channel[0] = channel[1] = -1;
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
}

int interrupt_fd(void)
{
    return channel[0];
}

void interrupt_drain(void)
{
    char notes[16];
    while (read(channel[0], notes, sizeof notes) > 0)
        ;
}
