/* main.c - midpass MODEL [PROMPT]: options, signals, and who takes over from there. */
#include "tui/app.h"
#include "tui/batch.h"
#include "tui/interrupt.h"

#include "engine/model/safetensors.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef MIDPASS_VERSION
#define MIDPASS_VERSION "unknown"
#endif

/* A closed pipe is told by the write that fails. Not SIG_IGN, which a shell command's children
 * would inherit. */
static void on_pipe(int sig)
{
    (void)sig;
}

static void say(const char *s)
{
    ssize_t n = write(STDERR_FILENO, s, strlen(s));
    (void)n;
}

/* A checkpoint's file that became shorter while it is mapped. */
static void on_bus_error(int sig, siginfo_t *info, void *context)
{
    (void)context;
    const char *file = checkpoint_file_at(info->si_addr);
    if (!file) {
        signal(sig, SIG_DFL);
        raise(sig);
        return;
    }
    say("midpass: ");
    say(file);
    say(" became shorter, or cannot be read any more, while midpass was using it\n");
    _exit(EXIT_FAILED);
}

static void handle_signals(void)
{
    struct sigaction a = {0};
    sigemptyset(&a.sa_mask);
    interrupt_start();
    a.sa_handler = on_pipe;
    sigaction(SIGPIPE, &a, NULL);
    a.sa_flags = SA_SIGINFO;
    a.sa_sigaction = on_bus_error;
    sigaction(SIGBUS, &a, NULL);
}

static int print(const char *s)
{
    if (fputs(s, stdout) >= 0 && fflush(stdout) == 0)
        return EXIT_FINE;
    perror("midpass: cannot write to standard output");
    return EXIT_FAILED;
}

/* The screen where there is a terminal for it; else the prompt. */
static int open_front(const struct options *o, struct resume *r)
{
    struct error err = {0};
    bool unsuited = true;
    int status = EXIT_FINE;
    if (!o->batch && !o->plain && !o->json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
        status = app_run(o, r, &interrupt_flag, &unsuited, &err);
        if (unsuited)
            fprintf(stderr, "midpass: %s; going on without the screen, as with --plain\n",
                    err.text);
        else if (err.code)
            batch_error(o, &err);
    }
    return unsuited ? batch_run(o, r, &interrupt_flag) : status;
}

static int open_session(struct options *o, int argc, char **argv)
{
    struct resume r;
    struct error err = {0};
    int status = EXIT_FAILED;
    if (resume_begin(&r, o, argc, argv, &err))
        status = open_front(o, &r);
    else
        batch_error(o, &err);
    resume_fini(&r);
    return status;
}

static int run(struct ledger *l, int argc, char **argv)
{
    struct options o;
    struct error err = {0};
    int status;
    if (!options_parse(&o, l, argc, argv, &err)) {
        batch_error(&o, &err);
        fputs("midpass: --help tells the usage\n", stderr);
        status = EXIT_USAGE;
    } else if (o.help) {
        status = print(options_help);
    } else if (o.version) {
        status = print("midpass " MIDPASS_VERSION "\n");
    } else if (o.sessions || o.allow) {
        status = batch_sessions(&o);
    } else if (o.plan) {
        status = batch_plan(&o);
    } else {
        status = open_session(&o, argc, argv);
    }
    options_fini(&o);
    return status;
}

/* Threads that wait for work spin a few tens of microseconds, then sleep. libgomp's own choice is
 * milliseconds: where other programs run beside, or a container has less than the CPUs that are
 * seen, that takes the time from the thread that works (a key's slowest frame 1.9 ms instead of
 * 12). Sleeping at once costs a fifth of the tokens a second. libgomp looks at its settings before
 * main begins, so the program begins anew with this one, unless the user has chosen. What it runs
 * does not inherit it. */
#define ANEW "MIDPASS_ANEW"
static void choose_spinning(char **argv)
{
    char path[4096];
    if (getenv(ANEW)) {
        unsetenv(ANEW);
        unsetenv("GOMP_SPINCOUNT");
        return;
    }
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0 || getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return;
    path[n] = '\0';
    if (setenv(ANEW, "1", 1) == 0 && setenv("GOMP_SPINCOUNT", "5000", 1) == 0)
        execv(path, argv);
    unsetenv(ANEW); /* it could not begin anew: it goes on as it is */
    unsetenv("GOMP_SPINCOUNT");
}

int main(int argc, char **argv)
{
    choose_spinning(argv);
    /* Characters are the user's; numbers are not: "1.5" means the same everywhere. */
    setlocale(LC_CTYPE, "");
    handle_signals();
    struct ledger *l = ledger_open();
    if (!l) {
        fputs("midpass: no memory\n", stderr);
        return EXIT_FAILED;
    }
    int status = run(l, argc, argv);
    ledger_close(l);
    return status;
}
