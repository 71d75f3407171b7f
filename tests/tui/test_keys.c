/* Random keys and sizes: no crash, no hang, a sound terminal at the end.
 *
 *     MIDPASS_KEYS=20000 MIDPASS_SEED=7 test_keys      other than 2000 and 1 */
#include "tests/support/folder.h"
#include "tests/support/pty.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t seed;

static unsigned draw(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % n;
}

/* Whole words now and then, since random letters rarely make a command. No `shell`, `save`,
 * `dump`, `source`, `log`: what a test writes is its own. */
static const char *const words[] = {
    ":s\r",
    ":break 0.z\r",
    ":break 1.pattern if max(.) > 0.5\r",
    ":patch 0.resid_post[1] zero\r",
    ":set 0.resid_post *= 2\r",
    ":delete\r",
    ":delete patch\r",
    ":generate 3\r",
    ":goto 2 1.resid_post\r",
    ":print 1.pattern\r",
    ":attn 1 0 2\r",
    ":attn\r",
    ":layout attention\r",
    ":layout residual\r",
    ":layout memory\r",
    ":layout custom\r",
    ":layout default\r",
    ":focus console\r",
    ":focus program\r",
    ":mouse on\r",
    ":mouse off\r",
    ":info sites\r", /* long */
    ":undo\r",
    ":run\r",
    ":ids 1 2 3 4 5 6 7\r",
    "\033[200~one\rtwo \344\270\255\033[201~\r",
    "\033[<0;10;10M",
    "\033[<0;10;10m",
    "\033[<64;40;12M",
    "/resid\r",
    "\020att\r",
    "?\033",
    "c",
    "c",
    "rc",
};
static const char *const specials[] = {
    "\033[A", "\033[B",   "\033[C",  "\033[D",       "\033[5~", "\033[6~", "\033[H", "\033[F",
    "\t",     "\t",       "\033[Z",  "\r",           "\033",    "\033OP",  "\003",   "\f",
    "\177",   "\303\244", "\033[3~", "\344\270\255", "\377",    "\033[",   "\022"};

static bool is_running(struct pty *p)
{
    if (!p->ended && waitpid(p->pid, &p->status, WNOHANG) == p->pid)
        p->ended = true;
    return !p->ended;
}

/* Back to no overlay and no prompt, whatever was typed before. */
static void calm(struct pty *p)
{
    pty_resize(p, 120, 40);
    for (int i = 0; i < 3; i++) {
        pty_type(p, "\033");
        pty_settle(p, 60);
    }
    pty_type(p, "\003\003");
    pty_settle(p, 60);
}

static void type_some(struct pty *p, char *trail, size_t room)
{
    char one[2] = {0};
    const char *keys = one;
    unsigned kind = draw(10);
    if (kind < 3) {
        keys = words[draw(sizeof words / sizeof words[0])];
    } else if (kind < 6) {
        keys = specials[draw(sizeof specials / sizeof specials[0])];
    } else {
        one[0] = (char)(' ' + draw(95));
        if (one[0] == 'q')
            one[0] = 'j';
    }
    size_t used = strlen(trail), n = strlen(keys);
    if (used + n + 1 >= room) {
        memmove(trail, trail + room / 2, used - room / 2 + 1);
        used = strlen(trail);
    }
    memcpy(trail + used, keys, n + 1);
    pty_type(p, keys);
}

static void test_random_keys(void **s)
{
    static char trail[400];
    char config[600], state[600];
    const char *program = getenv("MIDPASS"), *keys = getenv("MIDPASS_KEYS");
    const char *start = getenv("MIDPASS_SEED");
    /* In a folder of its own, should it chance to write a file. */
    char *model = realpath("tests/golden/models/llama", NULL);
    char *argv[] = {"/usr/bin/env",  "-C",    (char *)folder_path(),
                    (char *)program, "--ids", "1 5 9 2 7 3",
                    model,           NULL};
    struct pty p;
    (void)s;
    assert_non_null(program);
    assert_non_null(model);
    int n = keys ? (int)strtol(keys, NULL, 10) : 2000, left = 0;
    seed = 88172645463325252u ^ (start ? strtoull(start, NULL, 10) : 1);
    snprintf(config, sizeof config, "XDG_CONFIG_HOME=%s/config", folder_path());
    snprintf(state, sizeof state, "XDG_STATE_HOME=%s/state", folder_path());
    const char *const environment[] = {config, state, NULL};
    pty_open(&p, argv, environment, 120, 40);
    pty_expect(&p, "tok 0/6");
    for (int i = 0; i < n; i++) {
        /* Two columns at least: libvterm 0.1 reads beyond its line where there is one. */
        if (draw(20) == 0)
            pty_resize(&p, 2 + (int)draw(draw(4) ? 150 : 25), 1 + (int)draw(draw(4) ? 50 : 8));
        else
            type_some(&p, trail, sizeof trail);
        if (draw(8) == 0)
            pty_settle(&p, 3);
        if (!is_running(&p)) {
            /* quit may be typed by chance; anything else is a crash, or what a sanitizer found. */
            if (!WIFEXITED(p.status) || WEXITSTATUS(p.status) != 0) {
                pty_settle(&p, 200);
                pty_print(&p);
                fail_msg("after %d keys: status %x; the last: %s", i, (unsigned)p.status, trail);
            }
            pty_settle(&p, 20);
            assert_true(pty_restored(&p));
            left++;
            pty_close(&p);
            pty_open(&p, argv, environment, 120, 40);
            pty_expect(&p, "tok 0/6");
        }
        if (i % 500 == 499) {
            calm(&p);
            if (is_running(&p))
                pty_expect(&p, "F1 help");
        }
    }
    calm(&p);
    pty_expect(&p, "F1 help");
    /* It still answers: in the console q is a letter, so leave that first. */
    pty_type(&p, ":quit\r");
    int status = pty_wait(&p);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        pty_settle(&p, 200);
        pty_print(&p);
        fail_msg("after the last key: status %x; the last: %s", (unsigned)status, trail);
    }
    assert_true(pty_restored(&p));
    pty_close(&p);
    free(model);
    print_message("%d keys, left %d times on the way\n", n, left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_random_keys, folder_set_up, folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
