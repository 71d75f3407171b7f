/* test_command.c - the debugger's words, on a tiny model with a tokenizer of some words. */
#include "engine/base/json.h"
#include "engine/debug/command.h"
#include "engine/model/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64]; /* model, tokenizer, and what tests write */

struct fixture {
    struct ledger *ledger;
    struct session session;
    struct report report;
    struct console console;
    struct text said;
};

static const char *in(const char *name)
{
    static char paths[4][200];
    static unsigned i;
    char *p = paths[i++ % 4];
    snprintf(p, sizeof paths[0], "%s/%s", folder, name);
    return p;
}

static bool take(void *context, const char *s, size_t n, struct error *err)
{
    struct text *said = context;
    text_add_bytes(said, s, n);
    return text_ok(said, err);
}

static int link_in(const char *from, const char *name)
{
    char *path = realpath(from, NULL);
    int failed = path == NULL || symlink(path, in(name)) != 0;
    free(path);
    return failed;
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/midpass-command-XXXXXX");
    return mkdtemp(folder) == NULL ||
           link_in("tests/golden/models/gpt2/config.json", "config.json") ||
           link_in("tests/golden/models/gpt2/model.safetensors", "model.safetensors") ||
           link_in("tests/golden/tokenizer/words.json", "tokenizer.json");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static int remove_folder(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static bool open_all(struct fixture *f, struct error *err)
{
    struct session_options o = {.n_threads = 1};
    if (!session_open(&f->session, f->ledger, folder, &o, err))
        return false;
    text_init(&f->said, f->ledger, MEM_OTHER);
    report_init(&f->report, f->ledger, false, take, &f->said);
    console_init(&f->console, &f->session, &f->report);
    return true;
}

static void close_all(struct fixture *f)
{
    console_fini(&f->console);
    report_fini(&f->report);
    text_fini(&f->said);
    session_close(&f->session);
}

static int set_up(void **state)
{
    static struct fixture f;
    struct error err = {0};
    memset(&f, 0, sizeof f);
    f.ledger = ledger_open();
    *state = &f;
    bool ok = f.ledger && open_all(&f, &err);
    if (!ok)
        print_error("%s\n", err.text);
    return !ok;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    close_all(f);
    return ledger_close(f->ledger) != 0;
}

/* Runs a line that has to succeed; what it said. */
static const char *say(struct fixture *f, const char *line)
{
    struct error err = {0};
    text_clear(&f->said);
    if (!console_run(&f->console, line, strlen(line), &err))
        fail_msg("%s: column %d: %s", line, err.column, err.text);
    return f->said.data ? f->said.data : "";
}

static void expect(struct fixture *f, const char *line, const char *part)
{
    const char *text = say(f, line);
    if (!strstr(text, part))
        fail_msg("%s\n  said   %s\n  wanted %s", line, text, part);
}

/* Runs a line that has to fail with these words at this column (0: none). */
static void refuse(struct fixture *f, const char *line, int column, const char *part)
{
    struct error err = {0};
    text_clear(&f->said);
    if (console_run(&f->console, line, strlen(line), &err))
        fail_msg("%s went through: %s", line, f->said.data ? f->said.data : "");
    if (!strstr(err.text, part) || err.column != column)
        fail_msg("%s\n  said   column %d: %s\n  wanted column %d: %s", line, err.column, err.text,
                 column, part);
}

/* ---- the table ---- */

static const char *found(const char *word)
{
    static struct error err;
    const struct command *c = command_find(word, strlen(word), 1, &err);
    return c ? c->name : err.text;
}

static void commands_are_found(void **state)
{
    (void)state;
    assert_string_equal(found("step"), "step");
    assert_string_equal(found("s"), "step");
    assert_string_equal(found("ste"), "step");
    assert_string_equal(found("stepi"), "stepi");
    assert_string_equal(found("n"), "next");
    assert_string_equal(found("fin"), "finish");
    assert_string_equal(found("fi"), "finish");
    assert_string_equal(found("p"), "print");
    assert_string_equal(found("tok"), "token");
    assert_string_equal(found("tokens"), "tokens");
    assert_string_equal(found("g"), "generate");
    assert_string_equal(found("go"), "goto");
    assert_string_equal(found("q"), "quit");
    assert_string_equal(found("i"), "info");
    assert_non_null(strstr(found("to"), "\"to\" may be "));
    assert_non_null(strstr(found("prnit"), "there is no command \"prnit\" (near: print)"));
    assert_non_null(strstr(found("xyzzy"), "(help lists them)"));
    for (int i = 0; command_at(i); i++) {
        const struct command *c = command_at(i);
        assert_ptr_equal(command_find(c->name, strlen(c->name), 1, NULL), c);
        assert_memory_equal(c->usage, c->name, strlen(c->name));
        assert_true(c->brief[0] != '\0' && c->help != NULL && c->aliases != NULL);
    }
}

static void help_tells_of_all(void **state)
{
    struct fixture *f = *state;
    const char *all = say(f, "help");
    for (int i = 0; command_at(i); i++)
        if (!strstr(all, command_at(i)->brief))
            fail_msg("help leaves out %s", command_at(i)->name);
    expect(f, "help step", "step [n]");
    expect(f, "h p", "print[/a] EXPR");
    expect(f, "help expressions", "softmax(x[, axis])");
    refuse(f, "help nothing", 6, "there is no command");
}

/* ---- moving ---- */

/* The numbers are those of the pattern's own rows. */
static void maps(void **state)
{
    struct fixture *f = *state;
    refuse(f, "map 0.pattern", 5, "no prompt yet");
    say(f, "run the cat sat in a mat");
    refuse(f, "map 0.pattern", 5, "no queries there that are computed");
    say(f, "finish");
    refuse(f, "map", 4, "a pattern is expected");
    refuse(f, "map 0.z", 5, "a map is of a pattern");
    refuse(f, "map 0.pattern[::2]", 5, "have no gaps");
    refuse(f, "map 0.pattern 3x", 15, "a size is ROWSxCOLUMNS");
    expect(f, "map 0.pattern[1] 1x1", "L0H1  queries 0-5 down, keys 0-5 across");
    expect(f, "map 0.pattern[1] 1x1", " 1.0000\n"); /* the first query sees itself alone */
    expect(f, "map 0.pattern[1,0:2,4:] 2x2", "       -       -\n");
    say(f, "patch 0.pattern[2,1] at 4 = 0.8125");
    expect(f, "map 0.pattern[2,4,1]", " 0.8125\n");
    say(f, "delete patch");
}

static void motions(void **state)
{
    struct fixture *f = *state;
    refuse(f, "finish", 0, "no prompt yet");
    refuse(f, "run", 0, "no prompt to run again");
    refuse(f, "generate", 0, "no prompt yet");
    refuse(f, "goto 0", 0, "no prompt yet");
    refuse(f, "p 0.z", 3, "no prompt yet");
    refuse(f, "dump /tmp/none.safetensors", 0, "no prompt yet");
    assert_string_equal(say(f, "run the cat sat in a mat"),
                        "6 tokens\n#0 \"the\"  before its first op\n");
    expect(f, "s", "#0 \"the\"  hook_embed  [D=20]  norm ");
    expect(f, "stepi 2", "#0 \"the\"  op 2  ");
    expect(f, "until *.pattern", "#0 \"the\"  blocks.0.attn.hook_pattern  [H=4, S=1]  max 1 ");
    expect(f, "until *.pattern", "blocks.1.attn.hook_pattern");
    expect(f, "u *.pattern", "#1 \"cat\"  blocks.0.attn.hook_pattern  [H=4, S=2]");
    expect(f, "next", "#1 \"cat\"  blocks.0.hook_resid_post  [D=20]");
    expect(f, "token 2", "#3 \"in\"  blocks.0.hook_resid_post");
    expect(f, "goto 1 0.ln1.scale", "#1 \"cat\"  blocks.0.ln1.hook_scale  0.");
    expect(f, "goto -4", "#2 \"sat\"  blocks.0.ln1.hook_scale");
    expect(f, "fin", "#2 \"sat\"  logits  [V=53]  best ");
    refuse(f, "goto 6", 6, "there is no position 6: the sequence has 6 tokens");
    refuse(f, "goto 1 9.z", 8, "there is no layer 9");
    refuse(f, "goto 1 *.z", 8, "goto takes one site");
    refuse(f, "goto 1 0.zz", 8, "no site is called");
    refuse(f, "goto", 5, "a position is expected");
    refuse(f, "step 0", 6, "a count is a whole number");
    refuse(f, "step 1 2", 8, "nothing more is expected");
    refuse(f, "until 0.rot_q", 7, "a gpt2 model, has no attn.hook_rot_q");
    say(f, "goto -1 logits");
    refuse(f, "step", 0, "the last token's pass ends here");
    refuse(f, "until embed", 0, "the sequence ends before embed");
    expect(f, "run", "6 tokens\n#0 ");
    expect(f, "finish", "#5 \"mat\"  logits");
    expect(f, "run \"the cat\\n\"", "2 tokens");
    expect(f, "ids 6, 22,26", "3 tokens\n#0 \"the\"");
    expect(f, "ids [6 22]", "2 tokens");
    refuse(f, "ids 6 x", 7, "a token's id is a whole number");
    refuse(f, "ids 6 99999999999", 7, "a token's id");
    refuse(f, "ids 99", 0, "token id 99 is outside the vocabulary (0 to 52)");
    refuse(f, "ids", 0, "the prompt is empty");
    expect(f, "tokens", "=> #0          6  \"the\"\n   #1         22  \"cat\"\n");
    expect(f, "tokens the mat", "   #1         24  \"mat\"\n");
}

static void generating(void **state)
{
    struct fixture *f = *state;
    say(f, "run the cat");
    expect(f, "generate 5", "\n#6 ");
    assert_int_equal(f->session.trace.n_ids, 7);
    expect(f, "tokens", "generated from here");
    expect(f, "token", "#7 ");
    expect(f, "run", "2 tokens");
    assert_int_equal(f->session.trace.n_ids, 2);
    expect(f, "set sampler temp 0.8 top-p 0.95 seed 7", "sampler temp 0.8 top-p 0.95 seed 7\n");
    say(f, "g 10");
    int32_t first[12];
    memcpy(first, f->session.trace.ids, sizeof first);
    say(f, "run");
    say(f, "set sampler seed 7");
    say(f, "g 10");
    assert_memory_equal(first, f->session.trace.ids, sizeof first);
    expect(f, "set sampler greedy", "sampler greedy\n");
    refuse(f, "set sampler temp 0", 18, "a temperature lies above 0");
    refuse(f, "set sampler temp", 17, "a temperature is expected");
    refuse(f, "set sampler hot", 13, "a sampler is");
    refuse(f, "set sampler top-p 2", 19, "top-p lies above 0");
    refuse(f, "set nonsense", 5, "nonsense");
    /* The context limit ends it; what was generated stays and is told. */
    refuse(f, "g 1000", 0, "context limit");
    assert_int_equal(f->session.trace.n_ids, 32);
}

/* ---- looking ---- */

static void printing(void **state)
{
    struct fixture *f = *state;
    say(f, "run the cat sat in a mat");
    say(f, "goto 2 1.pattern");
    expect(f, "print 1 + 1", "$1 = 2\n");
    expect(f, "p .", "$2 = [4, 3]\n[[");
    expect(f, "p sum(., -1)", "$3 = [4]\n[");
    expect(f, "p $1 * 21", "$4 = 42\n");
    expect(f, "p $", "$5 = 42\n");
    expect(f, "$5 + 1", "$6 = 43\n");
    assert_string_equal(say(f, "$x = 7 * 6"), "");
    expect(f, "p $x", "$7 = 42\n");
    assert_string_equal(say(f, "set $x = \"the\""), "");
    assert_string_equal(say(f, "print $y = 3"), "");
    expect(f, "output $y == 3", "1\n");
    expect(f, "p $y == 3", "$8 = 1\n");
    expect(f, "p $x", "$9 = \"the\"\n");
    expect(f, "x/3 1.z[0]", "[0,0]  ");
    expect(f, "x 5", "[]  5\n");
    expect(f, "p/a logits[:1]", "$10 = [1, 53]\n[[");
    expect(f, "p 1.pattern[0,:2,:2]", "$11 = [2, 2]\n[[1.0000 0.0000]\n");
    expect(f, "p norm(0.resid_pre + 0.attn_out - 0.resid_mid)", "$12 = 0\n");
    refuse(f, "p/z 1", 2, "/z: only /a is known here");
    refuse(f, "x/y 1", 2, "x/N shows N numbers");
    refuse(f, "step/3", 5, "step takes no /");
    refuse(f, "$1 = 3", 2, "a name is letters");
    refuse(f, "$ = 3", 2, "a name is letters");
    refuse(f, "p 1.pattern + 0.resid_post[9]", 28, "there is no position 9");
    refuse(f, "p 1.z", 3, "1.z of position 2 is not computed yet");
    refuse(f, "p logit(\"mat sat\")", 3, "is not one token but \"mat\" \"sat\"");
    refuse(f, "top", 0, "logits of position 2 is not computed yet");
    say(f, "finish");
    expect(f, "top 3", "behind #2 \"sat\":\nrank  probability");
    expect(f, "p prob(\"cat\") == prob(22)", "= 1\n");
    expect(f, "p rank(argmax(logits))", "= 0\n");
    expect(f, "p max(abs(lens(1.resid_post) - logits))", "= 0\n");
    expect(f, "p max(abs(W(W_E)[6] - dir(\"the\")))", "= 0\n");
    expect(f, "p max(abs(1.result[2,1] - 1.z[2,1] @ W(1.W_O)[1])) < 0.00001", "= 1\n");
    /* Where the last token was run, all of a head's pattern is there. */
    say(f, "goto -1 logits");
    expect(f, "p 1.pattern[3]", "= [6, 6]\n");
    expect(f, "p sum(1.pattern[:], -1)", "= [4, 6]\n");
}

static void infos(void **state)
{
    struct fixture *f = *state;
    expect(f, "info", "info model");
    expect(f, "info model", "gpt2");
    expect(f, "info sites", "blocks.{0-1}.attn.hook_pattern");
    expect(f, "info sites", "[H=4, T, S]");
    expect(f, "info sites *.z", "blocks.1.attn.hook_z");
    expect(f, "info mem", "weights        mapped");
    expect(f, "info timing", "the last motion took");
    expect(f, "info program 1", "blocks.1.attn.hook_pattern");
    expect(f, "info program tail", "logits");
    expect(f, "info program prelude", "hook_embed");
    refuse(f, "info program 9", 14, "a layer is a whole number from 0 to 1");
    refuse(f, "info nothing", 6, "info knows no \"nothing\": model, sites");
    refuse(f, "info t", 6, "info knows no \"t\": tokens, timing");
    refuse(f, "info tokens", 0, "no prompt yet");
    say(f, "run the cat");
    expect(f, "info tokens", "\"cat\"");
}

/* ---- files ---- */

static const struct tensor *need(struct checkpoint *c, const char *name, int n_dims,
                                 const int64_t *dims)
{
    const struct tensor *t = checkpoint_find(c, name);
    if (!t) {
        fail_msg("no %s", name);
        return NULL;
    }
    assert_int_equal(t->n_dims, n_dims);
    assert_memory_equal(t->dims, dims, (size_t)n_dims * sizeof *dims);
    return t;
}

static void dumps(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    char line[300], expr[100];
    say(f, "run the cat sat in a mat");
    snprintf(line, sizeof line, "dump %s", in("all.safetensors"));
    say(f, "goto 4 0.ln1.scale");
    /* Position 4 has no more than its first ops. */
    say(f, line);
    struct checkpoint *c = checkpoint_open_file(f->ledger, in("all.safetensors"), true, &err);
    assert_non_null(c);
    need(c, "hook_embed", 2, (const int64_t[]){6, 20});
    need(c, "blocks.0.ln1.hook_scale", 2, (const int64_t[]){5, 1});
    need(c, "blocks.0.attn.hook_pattern", 3, (const int64_t[]){4, 4, 4});
    need(c, "logits", 2, (const int64_t[]){4, 53});
    assert_null(checkpoint_find(c, "blocks.0.attn.hook_result"));
    checkpoint_close(c);
    say(f, "goto -1 logits");
    say(f, line);
    c = checkpoint_open_file(f->ledger, in("all.safetensors"), true, &err);
    assert_non_null(c);
    const struct tensor *t = need(c, "blocks.1.attn.hook_pattern", 3, (const int64_t[]){4, 6, 6});
    /* Each number is what print shows. */
    for (int i = 0; i < 4 * 6 * 6; i += 5) {
        float x;
        memcpy(&x, (const char *)t->data + (size_t)i * sizeof x, sizeof x);
        snprintf(expr, sizeof expr, "output 1.pattern[%d,%d,%d] == %.17g", i / 36, i / 6 % 6, i % 6,
                 (double)x);
        expect(f, expr, "1\n");
    }
    checkpoint_close(c);
    snprintf(line, sizeof line, "dump %s *.z 1.result", in("some.safetensors"));
    expect(f, line, "3 arrays");
    c = checkpoint_open_file(f->ledger, in("some.safetensors"), true, &err);
    need(c, "blocks.1.attn.hook_result", 3, (const int64_t[]){6, 4, 20});
    checkpoint_close(c);
    snprintf(line, sizeof line, "dump %s 0.foo", in("some.safetensors"));
    refuse(f, line, (int)strlen(line) - 4, "no site is called");
    refuse(f, "dump", 5, "a file's name is expected");
    refuse(f, "dump x.npy", 6, "has to end in .safetensors");
    snprintf(line, sizeof line, "dump %s", in("no/such/folder.safetensors"));
    refuse(f, line, 0, "No such file");
}

static void saves(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    char line[300];
    size_t n;
    say(f, "run the cat sat");
    say(f, "finish");
    snprintf(line, sizeof line, "save 1.z[:,1] %s", in("z.npy"));
    expect(f, line, "z.npy: 1 array, 60 B");
    char *npy = file_read(f->ledger, MEM_OTHER, in("z.npy"), 1 << 20, &n, &err);
    assert_non_null(npy);
    assert_memory_equal(npy, "\x93NUMPY\x01\x00", 8);
    assert_int_equal(n, 128 + 3 * 5 * 4);
    assert_non_null(
        strstr(npy + 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5), }"));
    assert_int_equal(npy[127], '\n');
    mem_free(f->ledger, npy);
    snprintf(line, sizeof line, "save norm(1.z) \"%s\"", in("a name.npy"));
    say(f, line);
    npy = file_read(f->ledger, MEM_OTHER, in("a name.npy"), 1 << 20, &n, &err);
    assert_non_null(npy);
    assert_int_equal(n, 128 + 8);
    mem_free(f->ledger, npy);
    snprintf(line, sizeof line, "save 1.z %s", in("z.safetensors"));
    say(f, line);
    struct checkpoint *c = checkpoint_open_file(f->ledger, in("z.safetensors"), true, &err);
    need(c, "blocks.1.attn.hook_z", 2, (const int64_t[]){4, 5});
    checkpoint_close(c);
    refuse(f, "save", 5, "a file's name is expected");
    refuse(f, "save x.npy", 6, "save what?");
    refuse(f, "save 1.z x.txt", 10, "has to end in .npy or .safetensors");
    refuse(f, "save 1.q[9] x.npy", 10, "there is no position 9");
    snprintf(line, sizeof line, "save *.pattern[:,-1] %s", in("p.safetensors"));
    expect(f, line, "p.safetensors: 2 arrays");
    c = checkpoint_open_file(f->ledger, in("p.safetensors"), true, &err);
    need(c, "blocks.0.attn.hook_pattern", 2, (const int64_t[]){4, 3});
    need(c, "blocks.1.attn.hook_pattern", 2, (const int64_t[]){4, 3});
    checkpoint_close(c);
    refuse(f, "save *.z x.npy", 6, "an .npy file holds one array, and these are 2");
    refuse(f, "save *.z[9] x.safetensors", 6, "there is no position 9");
    refuse(f, "save 0-7.z x.safetensors", 6, "there is no layer 2");
    snprintf(line, sizeof line, "save \"a\" %s", in("s.npy"));
    refuse(f, line, 6, "a string is no array");
    assert_int_equal(symlink("/dev/full", in("full.npy")), 0);
    snprintf(line, sizeof line, "save 1.z %s", in("full.npy"));
    refuse(f, line, 0, "No space left on device");
    assert_int_equal(symlink("/dev/full", in("full.safetensors")), 0);
    snprintf(line, sizeof line, "dump %s", in("full.safetensors"));
    refuse(f, line, 0, "No space left on device");
}

static void write_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0 && fclose(out) == 0);
}

static void scripts(void **state)
{
    struct fixture *f = *state;
    char line[300], text[300];
    write_file(in("a.gdb"), "# a comment\n\nrun the cat\r\nfinish\necho done\\n\n");
    snprintf(line, sizeof line, "source %s", in("a.gdb"));
    expect(f, line, "#1 \"cat\"  logits");
    assert_non_null(strstr(f->said.data, "done\n"));
    write_file(in("b.gdb"), "echo one\nprint 1 +\necho two\n");
    snprintf(line, sizeof line, "source %s", in("b.gdb"));
    refuse(f, line, 0, "b.gdb:2:10: the line ends");
    assert_string_equal(f->said.data, "one");
    snprintf(text, sizeof text, "source %s\n", in("c.gdb"));
    write_file(in("c.gdb"), text);
    snprintf(line, sizeof line, "source %s", in("c.gdb"));
    refuse(f, line, 0, "16 deep");
    snprintf(line, sizeof line, "source %s", in("none.gdb"));
    refuse(f, line, 0, "No such file");
    expect(f, "echo a\\tb \x1b[2J\\\\", "a\tb \\x1b[2J\\");
    say(f, "shell true");
    refuse(f, "shell exit 3", 0, "the command ended with status 3");
    refuse(f, "shell", 6, "a command for the shell");
    refuse(f, "frobnicate", 1, "there is no command \"frobnicate\"");
    refuse(f, "p(1)", 2, "a blank is expected behind \"print\"");
    refuse(f, "\x01", 1, "there is no command \"\\x01\"");
    say(f, "");
    say(f, "   # nothing");
    f->console.untrusted = true;
    refuse(f, line, 1, "source is not allowed here");
    refuse(f, "  shell true", 3, "shell is not allowed here");
    refuse(f, "dump x.safetensors", 1, "dump is not allowed here");
    say(f, "quit 3");
    assert_true(f->console.quit && f->console.exit_code == 3);
}

static void an_empty_line_repeats(void **state)
{
    struct fixture *f = *state;
    say(f, "run the cat sat");
    assert_string_equal(say(f, ""), "");
    f->console.interactive = true;
    say(f, "step 2");
    expect(f, "", "#0 \"the\"  ");
    int op = f->session.op;
    say(f, "");
    assert_true(f->session.op > op);
    say(f, "p 1");
    assert_string_equal(say(f, ""), "");
}

/* ---- for programs ---- */

static void every_line_is_an_object(void **state)
{
    static const char *const lines[] = {"run the cat sat in a mat",
                                        "tokens",
                                        "tokens the \x1b mat",
                                        "s",
                                        "si",
                                        "n",
                                        "u *.pattern",
                                        "p .",
                                        "p nan",
                                        "p \"a\\x1b\\xff\\n\"",
                                        "p 1.attn_scores[0,:1]",
                                        "$v = .[0]",
                                        "p $v",
                                        "x/2 .",
                                        "output 3",
                                        "fin",
                                        "top 4",
                                        "g 3",
                                        "set sampler temp 2 seed 3",
                                        "g 2",
                                        "info model",
                                        "info sites",
                                        "info sites *.z",
                                        "info program",
                                        "info memory",
                                        "info timing",
                                        "info tokens",
                                        "help",
                                        "help step",
                                        "echo a\\nb\x1b",
                                        "goto 0 embed",
                                        "goto 1",
                                        "ids 6 7"};
    struct fixture *f = *state;
    char save[300];
    size_t n = sizeof lines / sizeof lines[0];
    f->report.json = true;
    snprintf(save, sizeof save, "save . %s", in("json.npy"));
    for (size_t i = 0; i < n + 2; i++) {
        struct error err = {0};
        const char *line = i < n ? lines[i] : i == n ? "s" : save;
        const char *text = say(f, line);
        assert_true(*text != '\0');
        assert_int_equal(strcspn(text, "\n"), strlen(text) - 1); /* one line, and it has an end */
        struct json_doc *d = json_parse(f->ledger, MEM_OTHER, text, strlen(text), "line", &err);
        if (!d)
            fail_msg("%s: %s\n%s", line, err.text, text);
        const struct json *j = json_root(d);
        assert_true(json_is_string(json_get(j, "cmd")) || json_is_string(json_get(j, "stopped")));
        if (json_get(j, "stopped")) {
            assert_true(json_is_number(json_get(j, "position")));
            assert_true(json_is_string(json_get(j, "token")));
        }
        json_close(d);
    }
    expect(f, "goto 1 1.pattern",
           "{\"stopped\":\"goto\",\"site\":\"blocks.1.attn.hook_pattern\",\"shape\":[4,2],");
    expect(f, "p 1 + 1 ", "{\"cmd\":\"print\",\"expr\":\"1 + 1\",\"number\":");
    assert_non_null(strstr(f->said.data, "\"shape\":[],\"data\":[2]}\n"));
}

/* ---- no memory ---- */

static void no_memory_is_told_and_nothing_is_kept(void **state)
{
    static const char *const lines[] = {"run the cat sat",
                                        "s 3",
                                        "p .",
                                        "until 1.pattern",
                                        "fin",
                                        "top 3",
                                        "p 1.pattern[1:3,::2]",
                                        "p norm(lens(1.resid_post[:]))",
                                        "g 2",
                                        "info sites",
                                        "help",
                                        "tokens",
                                        "$x = 1.z"};
    struct fixture f = {0};
    char dump[300], save[300];
    (void)state;
    snprintf(dump, sizeof dump, "dump %s", in("m.safetensors"));
    snprintf(save, sizeof save, "save 1.z[:] %s", in("m.npy"));
    long n = 1;
    for (bool done = false; !done; n += n < 3000 ? 1 : 97) {
        struct error err = {0};
        f.ledger = ledger_open();
        ledger_fail_after(f.ledger, n);
        bool ok = open_all(&f, &err), opened = ok;
        f.report.json = n % 2;
        for (size_t i = 0; ok && i < sizeof lines / sizeof lines[0]; i++)
            ok = console_run(&f.console, lines[i], strlen(lines[i]), &err);
        ok = ok && console_run(&f.console, dump, strlen(dump), &err) &&
             console_run(&f.console, save, strlen(save), &err);
        if (!ok && err.code != ERR_MEMORY)
            fail_msg("request %ld: %s", n, err.text);
        if (opened)
            close_all(&f);
        size_t kept = ledger_close(f.ledger);
        if (kept)
            fail_msg("request %ld: %zu bytes kept", n, kept);
        done = ok;
    }
    assert_true(n > 100);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_found),
        TEST(help_tells_of_all),
        TEST(maps),
        TEST(motions),
        TEST(generating),
        TEST(printing),
        TEST(infos),
        TEST(dumps),
        TEST(saves),
        TEST(scripts),
        TEST(an_empty_line_repeats),
        TEST(every_line_is_an_object),
        cmocka_unit_test(no_memory_is_told_and_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
