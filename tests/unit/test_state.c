/* test_state.c - a log does a session again, a saved session is the session, to the bit. */
#include "engine/debug/command.h"
#include "engine/debug/hash.h"
#include "engine/debug/state.h"
#include "tests/support/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct debugger {
    struct ledger *ledger;
    struct session session;
    struct report report;
    struct console console;
    struct text said;
    volatile int interrupt;
    struct hooks hooks; /* the patches', behind the alarm */
    bool *all;
    int ops_left; /* until the interrupt is raised; 0: never */
};

static bool take(void *context, const char *s, size_t n, struct error *err)
{
    text_add_bytes(context, s, n);
    return text_ok(context, err);
}

static void open_debugger(struct debugger *d, struct ledger *l, const char *model)
{
    struct session_options o = {.n_threads = 1, .trace.chunk = 4};
    struct error err = {0};
    memset(d, 0, sizeof *d);
    d->ledger = l;
    if (!session_open(&d->session, l, model, &o, &err))
        fail_msg("%s", err.text);
    d->session.trace.interrupt = &d->interrupt;
    text_init(&d->said, l, MEM_OTHER);
    report_init(&d->report, l, false, take, &d->said);
    console_init(&d->console, &d->session, &d->report);
}

static void close_debugger(struct debugger *d)
{
    console_fini(&d->console);
    report_fini(&d->report);
    text_fini(&d->said);
    if (d->all)
        d->session.trace.hooks = d->hooks;
    mem_free(d->ledger, d->all);
    session_close(&d->session);
}

static bool run(struct debugger *d, const char *line)
{
    text_clear(&d->said);
    return console_run(&d->console, line, strlen(line), NULL);
}

static const char *say(struct debugger *d, const char *line)
{
    struct error err = {0};
    text_clear(&d->said);
    if (!console_run(&d->console, line, strlen(line), &err))
        fail_msg("%s: %s", line, err.text);
    return d->said.data ? d->said.data : "";
}

static void assert_same_variables(const struct variables *a, const struct variables *b)
{
    assert_int_equal(a->n_named, b->n_named);
    for (int i = 0; i < a->n_named; i++) {
        const struct value *x = &a->named[i]->value, *y = &b->named[i]->value;
        assert_string_equal(a->named[i]->name, b->named[i]->name);
        assert_int_equal(x->count, y->count);
        if (x->string)
            assert_memory_equal(x->string, y->string, x->n_string);
        for (size_t k = 0; !x->string && k < x->count; k++)
            assert_true(value_at(x, k) == value_at(y, k));
    }
}

/* Both stand at the same place, with the same bits behind and before them. */
static void assert_same(struct debugger *a, struct debugger *b, bool with_receipts)
{
    static const char *const lines[] = {"info hash",        "tokens",      "info continuations",
                                        "info breakpoints", "set sampler", "info display",
                                        "info patches"};
    assert_int_equal(a->session.has_prompt, b->session.has_prompt);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0] - !with_receipts; i++) {
        if (i < 2 && !a->session.has_prompt)
            continue;
        const char *text = say(a, lines[i]);
        if (strcmp(text, say(b, lines[i])) != 0)
            fail_msg("%s\n%s\nand\n%s", lines[i], text, b->said.data);
    }
    assert_int_equal(a->session.position, b->session.position);
    assert_int_equal(a->session.op, b->session.op);
    assert_int_equal(a->session.at_start, b->session.at_start);
    assert_int_equal(a->session.n_prompt, b->session.n_prompt);
    assert_int_equal(trace_rows(&a->session.trace), trace_rows(&b->session.trace));
    assert_true(a->session.sampler.state == b->session.sampler.state);
    assert_same_variables(&a->console.variables, &b->console.variables);
}

static void log_to(struct debugger *d, const char *path)
{
    char line[500];
    snprintf(line, sizeof line, "log %s", path);
    say(d, line);
}

/* ---- what is typed ---- */

static const char *const moves[] = {
    "step",
    "step 7",
    "stepi 3",
    "next",
    "finish",
    "token",
    "token 2",
    "continue",
    "continue 2",
    "generate 2",
    "generate",
    "regenerate",
    "regenerate from -1 2",
    "recall A",
    "recall B",
    "undo",
    "undo 2",
    "redo",
    "patch token 2 = 9",
    "patch token -1 = 4",
    "rs 2",
    "rsi",
    "rn",
    "rt",
    "rt 2",
    "rc",
    "goto 3 0.z",
    "goto -1",
    "goto 0",
    "until *.resid_mid",
    "ids 3 4 5 6 7 8 9 10 11",
    "ids 5 6",
    "run",
    "break 1.z at 2",
    "break *.resid_post if norm(.) > 0.01",
    "tbreak 0.z",
    "break 0.attn_out at 3-6",
    "condition 1 max(.) > 0",
    "watch argmax(1.resid_post)",
    "catch nan",
    "catch top1",
    "display norm(.)",
    "display/a .[0]",
    "undisplay 1",
    "disable display 2",
    "delete display 2",
    "commands 1",
    "$n = 3",
    "step",
    "end",
    "ignore 1 2",
    "delete 1",
    "disable 2",
    "enable 2",
    "patch 1.z[1] zero",
    "patch *.pattern[0,1:3] at 2-5 = 0.25",
    "patch 0.resid_post at 1 add 0.resid_pre[0]",
    "patch 0.mlp_out mean",
    "set . *= 1.5",
    "set 1.resid_post += 0.5",
    "patch 0.resid_mid at 2 = $v",
    "delete patch 1",
    "disable patch 2",
    "enable patch 2",
    "set sampler temp 0.8 top-p 0.9 seed 3",
    "set sampler greedy",
    "$v = 0.resid_pre",
    "$s = \"a \\\"b\\\" \\n c\"",
    "$n = 0.1 + 0.2",
    "$v = 3",
    "print $p = 7",
    "print 1.z",
    "print 1 +",
    "wrong",
};
#define MOVES (sizeof moves / sizeof moves[0])

static unsigned seed;

static unsigned draw(unsigned n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

/* Long sequences would only make it slow. */
static const char *any_move(const struct debugger *d)
{
    const char *move = d->session.trace.n_ids > 40 ? "ids 3 4 5 6 7 8 9" : moves[draw(MOVES)];
    /* A breakpoint that samples its tokens anew comes by itself for ever. */
    return console_gathers(&d->console) && strstr(move, "regenerate") ? "step" : move;
}

/* Raises the interrupt once this many more ops have written. */
static bool count_op(void *context, const struct op_view *v, struct error *err)
{
    struct debugger *d = context;
    if (d->ops_left > 0 && --d->ops_left == 0)
        d->interrupt = 1;
    return !d->hooks.watch[v->op] || d->hooks.written(d->hooks.context, v, err);
}

static void set_alarm(struct debugger *d)
{
    size_t n = (size_t)d->session.model.program.n_ops;
    d->all = mem_alloc(d->ledger, MEM_OTHER, n * sizeof *d->all, NULL);
    assert_non_null(d->all);
    memset(d->all, 1, n * sizeof *d->all);
    d->hooks = d->session.trace.hooks;
    d->session.trace.hooks = (struct hooks){.watch = d->all, .written = count_op, .context = d};
}

static const char *const families[] = {"tests/golden/models/gpt2", "tests/golden/models/llama",
                                       "tests/golden/models/pythia",
                                       "tests/golden/models/phi3-long"};
#define FAMILIES (sizeof families / sizeof families[0])

static void source(struct debugger *d, const char *path)
{
    struct error err = {0};
    if (!console_source(&d->console, path, &err))
        fail_msg("%s", err.text);
}

/* A random walk, here and there interrupted at some op; its log, sourced, comes to the same
 * state, to the hash of all logits. */
static void test_log_again(void **state)
{
    int interrupted = 0;
    for (unsigned walk = 0; walk < 24; walk++) {
        struct debugger d, again;
        const char *path = folder_file("walk.log");
        open_debugger(&d, *state, families[walk % FAMILIES]);
        set_alarm(&d);
        unlink(path);
        log_to(&d, path);
        seed = walk + 1;
        say(&d, "ids 3 4 5 6 7 8 9 10");
        for (int i = 0; i < 60; i++) {
            d.ops_left = draw(4) == 0 ? 1 + (int)draw(60) : 0;
            run(&d, any_move(&d));
            interrupted += d.interrupt;
            d.ops_left = d.interrupt = 0;
        }
        while (console_gathers(&d.console))
            run(&d, "end"); /* of commands that were not closed */
        open_debugger(&again, *state, families[walk % FAMILIES]);
        source(&again, path);
        assert_same(&d, &again, false);
        assert_string_equal(say(&d, "info history"), say(&again, "info history"));
        assert_string_equal(say(&d, "print 1"), say(&again, "print 1")); /* $N goes on alike */
        close_debugger(&again);
        close_debugger(&d);
    }
    /* Or the alarm tests nothing. */
    assert_true(interrupted > 50);
}

/* After an interrupt everything goes on, to the bits of a run that never was. */
static void test_interrupt_then_on(void **state)
{
    static const char prompt[] = "ids 3 4 5 6 7 8 9 10 11 12 13 14";
    char want[200];
    for (int at = 1; at < 200; at += 3) {
        struct debugger d;
        struct error err = {0};
        open_debugger(&d, *state, families[1]);
        if (at == 1) {
            say(&d, prompt);
            say(&d, "finish");
            snprintf(want, sizeof want, "%s", say(&d, "info hash"));
        }
        set_alarm(&d);
        say(&d, prompt);
        d.ops_left = at;
        bool ok = console_run(&d.console, "finish", 6, &err);
        bool stopped = d.interrupt != 0;
        assert_true(ok || err.code == ERR_INTERRUPTED);
        assert_true(stopped || at > 60); /* three chunks of two blocks */
        d.interrupt = d.ops_left = 0;
        /* It stands where it says, and what lies behind it can be read. */
        if (d.session.op >= 0)
            say(&d, "print .");
        else if (d.session.position > 0)
            say(&d, "print 1.resid_post[:]");
        /* It may have been saying where it arrived. */
        bool end = d.session.position == 11 &&
                   d.session.op == program_find(&d.session.model.program, SITE_LOGITS, 0);
        if (!ok && !end)
            say(&d, "continue");
        assert_string_equal(say(&d, "info hash"), want);
        close_debugger(&d);
    }
}

/* ---- save session ---- */

/* What was done before is no part of a saved session: nothing can be undone there, in a
 * breakpoint's list either. */
static bool undoes(const char *move)
{
    return strstr(move, "undo") || strstr(move, "redo");
}

/* The state of a random walk, saved and sourced, is the same, and what follows is. */
static void test_save(void **state)
{
    for (unsigned walk = 0; walk < 300; walk++) {
        struct debugger d, again;
        char line[500], path[400];
        open_debugger(&d, *state, families[walk % FAMILIES]);
        seed = 100 + walk;
        snprintf(path, sizeof path, "%s", folder_file("saved session"));
        say(&d, "ids 3 4 5 6 7 8 9 10");
        say(&d, "$kept = 0.3");
        for (int i = 0; i < 40; i++) {
            const char *move = any_move(&d);
            run(&d, console_gathers(&d.console) && undoes(move) ? "step" : move);
        }
        while (console_gathers(&d.console))
            run(&d, "end"); /* of commands that were not closed */
        snprintf(line, sizeof line, "save session \"%s\"", path);
        say(&d, line);
        open_debugger(&again, *state, families[walk % FAMILIES]);
        source(&again, path);
        assert_same(&d, &again, false);
        assert_int_equal(d.session.patches.n, again.session.patches.n);
        for (int i = 0; i < d.session.patches.n; i++) {
            const struct patch *a = &d.session.patches.list[i], *b = &again.session.patches.list[i];
            assert_int_equal(a->id, b->id);
            assert_int_equal(a->enabled, b->enabled);
            assert_int_equal(a->kind, b->kind);
            assert_int_equal(a->first, b->first);
            assert_int_equal(a->last, b->last);
            assert_string_equal(a->text, b->text);
        }
        for (int i = 0; i < 10; i++) {
            const char *move = any_move(&d);
            if (undoes(move))
                continue;
            assert_int_equal(run(&d, move), run(&again, move));
        }
        assert_same(&d, &again, false);
        close_debugger(&again);
        close_debugger(&d);
        unlink(folder_file("saved session.safetensors"));
    }
}

/* A log that begins in the middle begins with what there is. */
static void test_log_in_the_middle(void **state)
{
    struct debugger d, again;
    open_debugger(&d, *state, families[0]);
    say(&d, "ids 3 4 5 6 7");
    say(&d, "finish");
    say(&d, "$v = 0.resid_pre");
    say(&d, "patch 0.resid_post at 2 add $v");
    log_to(&d, folder_file("middle.log"));
    say(&d, "generate 3");
    assert_non_null(strstr(say(&d, "log off"), "nothing is logged"));
    open_debugger(&again, *state, families[0]);
    source(&again, folder_file("middle.log"));
    assert_same(&d, &again, false);
    close_debugger(&again);
    close_debugger(&d);
}

/* What cannot be written is told, once, and the work goes on. */
static void test_full_disk(void **state)
{
    struct debugger d;
    struct error err = {0};
    open_debugger(&d, *state, families[0]);
    assert_false(console_run(&d.console, "log /dev/full", 13, &err));
    assert_non_null(strstr(err.text, "cannot write the log /dev/full"));
    log_to(&d, folder_file("full.log"));
    close(d.console.logs[1].fd);
    d.console.logs[1].fd = 1000; /* a descriptor that takes nothing */
    say(&d, "ids 3 4");          /* written behind what the command says: the next one tells */
    assert_non_null(strstr(say(&d, "step"), "cannot write the log"));
    assert_non_null(strstr(d.said.data, "nothing more is logged"));
    assert_null(strstr(say(&d, "finish"), "cannot write"));
    assert_int_equal(d.console.logs[1].fd, -1);
    close_debugger(&d);
}

/* Prompts of any bytes are one line. */
static void test_odd_lines(void **state)
{
    struct debugger d, again;
    open_debugger(&d, *state, "tests/golden/models/gpt2");
    log_to(&d, folder_file("odd.log"));
    console_run(&d.console, "ids 3 4 5\r", 10, NULL);
    say(&d, "ids 3 4 5");
    say(&d, "finish");
    struct error err = {0};
    static const char odd[] = "$x = \"a\nb\"";
    if (!console_run(&d.console, odd, sizeof odd - 1, &err))
        fail_msg("%s", err.text);
    open_debugger(&again, *state, "tests/golden/models/gpt2");
    source(&again, folder_file("odd.log"));
    assert_string_equal(again.console.variables.named[0]->value.string, "a\nb");
    assert_same(&d, &again, true);
    close_debugger(&again);
    close_debugger(&d);
}

static void test_restore_errors(void **state)
{
    static const char *const lines[] = {
        "restore",
        "restore what 1",
        "restore tokens 1",
        "restore prompt 2",
        "restore place 0 0",
        "restore sampler 0",
        "restore sampler x",
        "restore number 3",
        "restore number patch 0",
        "restore text patch 1 x",
        "restore text 1",
        "restore at 1 2",
        "restore hits 1 2 3",
        "restore breakpoints x",
        "restore forget v",
        "load v x",
        "load $v /none",
        "export",
        "export python",
        "log a b",
        "save session",
    };
    struct debugger d;
    open_debugger(&d, *state, families[0]);
    say(&d, "break 0.z");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        bool known =
            strcmp(lines[i], "restore at 1 2") == 0 || strcmp(lines[i], "restore hits 1 2 3") == 0;
        if (run(&d, lines[i]) != known)
            fail_msg("%s: %s", lines[i], known ? "failed" : "is no error");
    }
    say(&d, "ids 3 4");
    static const char *const later[] = {"restore tokens 100000",     "restore prompt 3",
                                        "restore place 2 0",         "restore place 0 100000",
                                        "restore place 0 -2",        "restore computed -1 3 3",
                                        "restore computed -1 1 2",   "restore computed -1 2",
                                        "restore computed 1000 1 1", "restore number breakpoint 1"};
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++)
        if (run(&d, later[i]))
            fail_msg("%s is no error", later[i]);
    say(&d, "restore tokens 5 6");
    say(&d, "restore prompt 3");
    say(&d, "restore computed 5 2 2");
    say(&d, "restore place 1 5");
    assert_int_equal(d.session.n_prompt, 3);
    close_debugger(&d);
}

/* The hash sees one bit of one logit. */
static void test_hash(void **state)
{
    struct debugger d;
    uint64_t empty, first, second;
    int n;
    open_debugger(&d, *state, families[0]);
    assert_true(session_hash(&d.session, &empty, &n, NULL));
    assert_true(empty == 0xcbf29ce484222325u && n == 0);
    say(&d, "ids 3 4 5");
    say(&d, "finish");
    assert_true(session_hash(&d.session, &first, &n, NULL));
    assert_int_equal(n, 3);
    /* The same by hand. */
    uint64_t h = 0xcbf29ce484222325u;
    size_t vocab = (size_t)d.session.model.config.n_vocab;
    float *rows = malloc(3 * vocab * sizeof *rows);
    int op = program_find(&d.session.model.program, SITE_LOGITS, 0);
    assert_true(trace_read(&d.session.trace, op, 0, 3, 0, 0, 0, rows, NULL));
    for (size_t i = 0; i < 3 * vocab; i++) {
        uint32_t bits;
        memcpy(&bits, &rows[i], 4);
        h = (h ^ bits) * 0x100000001b3u;
    }
    free(rows);
    assert_true(h == first);
    say(&d, "patch logits[7] at 1 *= 1.0000002");
    assert_true(session_hash(&d.session, &second, &n, NULL));
    assert_true(second != first);
    close_debugger(&d);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, folder_set_up, folder_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_log_again),      TEST(test_interrupt_then_on),
        TEST(test_save),           TEST(test_log_in_the_middle),
        TEST(test_full_disk),      TEST(test_odd_lines),
        TEST(test_restore_errors), TEST(test_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
