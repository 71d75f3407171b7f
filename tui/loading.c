#include "tui/loading.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define AFTER 0.3 /* seconds: what is quicker is not told */
#define EVERY 0.1

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void tell(struct load_watch *w)
{
    struct loading *l = (struct loading *)w;
    double t = now(), since = t - l->began;
    char done[24], total[24], rate[24];
    if (since < AFTER || t - l->told < EVERY)
        return;
    size_t n = atomic_load(&w->done);
    /* Spaces wipe what is left of a longer line. */
    fprintf(stderr, "\rmidpass: loading %s of %s, %s a second    ", mem_format(n, done),
            mem_format(atomic_load(&w->total), total),
            mem_format((size_t)((double)n / since), rate));
    fflush(stderr);
    l->told = t;
    l->shown = true;
}

void loading_init(struct loading *l, const volatile int *interrupt)
{
    *l = (struct loading){.began = now()};
    l->watch.interrupt = interrupt;
    l->watch.tell = isatty(STDERR_FILENO) ? tell : NULL;
}

void loading_fini(struct loading *l)
{
    if (l->shown)
        fprintf(stderr, "\r%*s\r", 76, "");
    l->shown = false;
}
