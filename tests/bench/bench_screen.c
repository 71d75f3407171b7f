/* bench_screen.c - the screen over a line: how long from a key to its frame, and bytes a step.
 *
 *     bench_screen [MODEL]     default ../shared/models/tinystories-656k; $MIDPASS or build/midpass
 *
 * The real program under a pseudo-terminal of 120 x 40. The time is from writing the key until the
 * last byte of what it causes has come. */
#include "tests/support/pty.h"

#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KEYS 300

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Milliseconds until the last byte that came before 40 ms of silence; *bytes are added up. */
static double press(struct pty *p, const char *key, unsigned long long *bytes)
{
    char buffer[65536];
    double start = now(), last = start;
    struct pollfd f = {.fd = p->master, .events = POLLIN};
    if (write(p->master, key, strlen(key)) < 0)
        return 0;
    while (poll(&f, 1, 40) > 0) {
        ssize_t n = read(p->master, buffer, sizeof buffer);
        if (n <= 0)
            break;
        last = now();
        *bytes += (unsigned long long)n;
        vterm_input_write(p->term, buffer, (size_t)n);
    }
    return last - start;
}

static void measure(struct pty *p, const char *what, const char *const *keys, int n_keys)
{
    static double ms[KEYS];
    unsigned long long bytes = 0;
    for (int i = 0; i < KEYS; i++)
        ms[i] = press(p, keys[i % n_keys], &bytes);
    qsort(ms, KEYS, sizeof *ms, by_size);
    double median = ms[KEYS / 2], p99 = ms[KEYS * 99 / 100];
    printf("%-34s median %6.2f ms  p99 %6.2f ms  %6.0f bytes a key%s\n", what, median, p99,
           (double)bytes / KEYS,
           median < 5 && p99 < 20 && bytes / KEYS < 2000 ? "" : "   above 5 ms, 20 ms, 2000 bytes");
}

int main(int argc, char **argv)
{
    static const char *const steps[] = {"s"}, *const tokens[] = {"t", "rt", "t", "t", "rt", "rt"};
    static const char *const blocks[] = {"n", "n", "rn", "rn"}, *const panels[] = {"\t"};
    static const char *const typed[] = {":", "p", "r", "i", "\003"};
    const char *model = argc > 1 ? argv[1] : "../shared/models/tinystories-656k";
    const char *program = getenv("MIDPASS");
    char *args[] = {(char *)(program ? program : "build/midpass"), (char *)model,
                    "Once upon a time there was a little girl named Lily. She loved to play "
                    "outside with her dog. One day, they went to the park and saw a big",
                    NULL};
    const char *const environment[] = {"XDG_CONFIG_HOME=/nonexistent", "LC_ALL=C.UTF-8",
                                       "XDG_STATE_HOME=/nonexistent", "TERM=xterm-256color", NULL};
    struct pty p;
    if (access(model, R_OK) != 0 || access(args[0], X_OK) != 0) {
        printf("skipped: no %s, or no %s\n", model, args[0]);
        return 0;
    }
    pty_open(&p, args, environment, 120, 40);
    pty_settle(&p, 1000);
    measure(&p, "step (s)", steps, 1);
    measure(&p, "next block, and back (n, r n)", blocks, 4);
    measure(&p, "next token, and back (t, r t)", tokens, 6);
    measure(&p, "to the next panel (Tab)", panels, 1);
    measure(&p, "typing at the prompt", typed, 5);
    printf("%-34s %6llu bytes in 2 s\n", "nothing", pty_settle(&p, 2000));
    pty_close(&p);
    return 0;
}
