/* test_interrupt.c - Ctrl-C under a terminal, in the middle of a long run of the real program. */
#include "tests/support/folder.h"

#include "engine/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define TOKENS   60000 /* their attention takes many seconds on any machine */
#define PATIENCE 60    /* seconds */

static char said[1 << 16];
static size_t n_said;

/* Reads what the program says until these words came. False: they did not. */
static bool hear(int fd, const char *words, int seconds)
{
    time_t end = time(NULL) + seconds;
    for (;;) {
        said[n_said] = '\0';
        if (strstr(said, words))
            return true;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (time(NULL) >= end || n_said + 1 >= sizeof said)
            return false;
        if (poll(&p, 1, 200) <= 0)
            continue;
        ssize_t n = read(fd, said + n_said, sizeof said - 1 - n_said);
        if (n <= 0)
            return false;
        n_said += (size_t)n;
    }
}

static void expect(int fd, const char *words)
{
    if (!hear(fd, words, PATIENCE))
        fail_msg("it did not say \"%s\" but\n%s", words, said);
}

static void type(int fd, const char *line)
{
    n_said = 0;
    assert_int_equal(write(fd, line, strlen(line)), strlen(line));
}

/* The tiny llama, told that it may have very long sequences. */
static void make_model(struct ledger *l)
{
    static const char *const parts[] = {
        "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
        "model-00003-of-00003.safetensors", "model.safetensors.index.json"};
    char from[200];
    size_t n;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        snprintf(from, sizeof from, "tests/golden/models/llama/%s", parts[i]);
        char *data = file_read(l, MEM_OTHER, from, 1 << 20, &n, NULL);
        assert_non_null(data);
        folder_put(folder_file(parts[i]), data, n);
        mem_free(l, data);
    }
    static const char limit[] = "\"max_position_embeddings\": 128";
    char *text =
        file_read(l, MEM_OTHER, "tests/golden/models/llama/config.json", 1 << 20, &n, NULL);
    assert_non_null(text);
    char *at = strstr(text, limit);
    assert_non_null(at);
    struct text t;
    text_init(&t, l, MEM_OTHER);
    text_add_bytes(&t, text, (size_t)(at - text));
    text_add(&t, "\"max_position_embeddings\": 1000000");
    text_add(&t, at + sizeof limit - 1);
    folder_put(folder_file("config.json"), t.data, t.n);
    text_fini(&t);
    mem_free(l, text);
}

static void test_ctrl_c(void **state)
{
    struct ledger *l = *state;
    const char *program = getenv("MIDPASS");
    if (!program)
        skip();
    make_model(l);
    char *ids = malloc(2 * TOKENS + 1);
    for (int i = 0; i < TOKENS; i++)
        memcpy(ids + 2 * (size_t)i, i % 2 ? "7 " : "5 ", 3);
    n_said = 0;
    int fd;
    pid_t child = forkpty(&fd, NULL, NULL, NULL);
    if (child == 0) {
        setenv("HOME", folder_path(), 1);
        execl(program, program, "--plain", "--no-rc", "--ids", ids, folder_path(), (char *)NULL);
        _exit(127);
    }
    assert_true(child > 0);
    free(ids);
    expect(fd, "(midpass) ");
    type(fd, "finish\n");
    /* It has begun once the terminal has echoed the line, and is far from done. */
    expect(fd, "finish\r\n");
    usleep(300000);
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    type(fd, "\003");
    expect(fd, "midpass: stopped");
    expect(fd, "(midpass) ");
    clock_gettime(CLOCK_MONOTONIC, &after);
    double took =
        (double)(after.tv_sec - before.tv_sec) + 1e-9 * (double)(after.tv_nsec - before.tv_nsec);
    print_message("stopped %.0f ms after Ctrl-C\n", 1e3 * took);
    assert_true(took < 10); /* sanitizers and loaded machines; the whole run takes far longer */
    /* It tells where it stands, unless it was stopped before it came anywhere. */
    const char *place = strchr(said, '#');
    int position = place ? (int)strtol(place + 1, NULL, 10) : 0;
    assert_in_range(position, 0, TOKENS - 2);
    /* Pressed again at the prompt, which comes at once: it gives the line up, and no more. */
    type(fd, "\003");
    expect(fd, "(midpass) ");
    type(fd, "print 40 +\003");
    expect(fd, "(midpass) ");
    /* Values can be read, and continue goes on from there. */
    type(fd, "print 40 + 2\n");
    expect(fd, "= 42");
    char line[80];
    snprintf(line, sizeof line, "break 1.z at %d\n", position + 5);
    type(fd, line);
    expect(fd, "Breakpoint 1 at");
    type(fd, "continue\n");
    snprintf(line, sizeof line, "Breakpoint 1, #%d ", position + 5);
    expect(fd, line);
    /* An edit that is computed on from holds, can be undone, and the session goes on. */
    usleep(300000);
    type(fd, "delete 1\n");
    expect(fd, "(midpass) ");
    usleep(300000);
    snprintf(line, sizeof line, "patch 0.z at %d zero\n", position + 5);
    type(fd, line);
    expect(fd, "Patch 1 at");
    /* A file of commands ends where it is stopped: what follows is not run. */
    static const char script[] = "echo began\\n\nfinish\ngoto -1 logits\necho went on\\n\n";
    folder_put(folder_file("script"), script, sizeof script - 1);
    snprintf(line, sizeof line, "source %s\n", folder_file("script"));
    type(fd, line);
    expect(fd, "began\r\n");
    usleep(300000);
    type(fd, "\003");
    expect(fd, "midpass: ");
    expect(fd, "script:3: stopped");
    expect(fd, "(midpass) ");
    assert_null(strstr(said, "went on"));
    /* So does a breakpoint's list, which says where it was. */
    type(fd,
         "break 0.z at 1\ncommands\necho listed\\n\ngoto -1 logits\nend\ngoto 0 0.z\ncontinue\n");
    expect(fd, "\nlisted\r\n");
    usleep(300000);
    type(fd, "\003");
    expect(fd, "command 2 (goto -1 logits): stopped");
    type(fd, "delete\ninfo breakpoints\n");
    expect(fd, "no breakpoints");
    type(fd, "undo 4\n");
    expect(fd, "undid: patch 0.z");
    type(fd, "print 2 * 21\n");
    expect(fd, "= 42");
    expect(fd, "(midpass) ");
    type(fd, "\003");
    expect(fd, "(midpass) "); /* at the prompt: the line is given up, and no more */
    type(fd, "quit 3\n");
    int status;
    /* A terminal that nobody reads would hold it up. */
    hear(fd, "never", 5);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ctrl_c, folder_set_up, folder_tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
