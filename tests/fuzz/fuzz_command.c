/* fuzz_command.c - any lines as commands: never a crash, nothing outside is touched, what is said
 * is clean text or valid JSON, and nothing is kept. */
#include "engine/base/json.h"
#include "engine/debug/command.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL     "tests/golden/models/gpt2"
#define TOKENIZER "tests/golden/tokenizer/words.json"
#define ROOM      (8 * 1024)

static struct ledger *ledger;
static struct session session;

static void must(bool so, const char *what)
{
    if (so)
        return;
    fprintf(stderr, "fuzz_command: %s\n", what);
    abort();
}

/* No control byte but the line feed and the tab, and no escape that came through raw. */
static void check_text(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        must((unsigned char)s[i] >= ' ' || s[i] == '\n' || s[i] == '\t', "a raw control byte");
}

static void check_json(const char *s, size_t n)
{
    struct error err = {0};
    for (size_t at = 0; at < n;) {
        const char *end = memchr(s + at, '\n', n - at);
        must(end != NULL, "a line of JSON without an end");
        size_t length = (size_t)(end - (s + at));
        /* A NUL is sound JSON, but our own reader refuses it. */
        if (memmem(s + at, length, "\\u0000", 6)) {
            at += length + 1;
            continue;
        }
        struct json_doc *d = json_parse(ledger, MEM_OTHER, s + at, length, "said", &err);
        must(d != NULL && json_is_object(json_root(d)), "a line that is no JSON object");
        json_close(d);
        at += length + 1;
    }
}

static bool take(void *context, const char *s, size_t n, struct error *err)
{
    (void)err;
    text_add_bytes(context, s, n);
    return true;
}

static void close_once(void)
{
    session_close(&session);
    must(ledger_close(ledger) == 0, "the session keeps memory");
}

/* One model for all inputs: opening it takes longer than what is looked for. */
static void open_once(void)
{
    struct session_options o = {.n_threads = 1};
    struct error err = {0};
    if (ledger)
        return;
    ledger = ledger_open();
    must(ledger != NULL && atexit(close_once) == 0, "no memory");
    if (!session_open(&session, ledger, MODEL, &o, &err)) {
        fprintf(stderr, "fuzz_command: %s (run it in the repository's root)\n", err.text);
        abort();
    }
    session.model.tokenizer = tokenizer_open(ledger, TOKENIZER, &err);
    must(session.model.tokenizer != NULL, err.text);
}

static void run_lines(struct console *c, struct text *said, const char *s, size_t n)
{
    for (size_t at = 0; at <= n && !c->quit;) {
        const char *end = at < n ? memchr(s + at, '\n', n - at) : NULL;
        size_t length = end ? (size_t)(end - (s + at)) : n - at;
        struct error err = {0}, again = {0};
        if (!console_run(c, s + at, length, &err)) {
            must(err.code != ERR_NONE && err.text[0] != '\0', "a failure without a word");
            must(err.column >= 0 && (size_t)err.column <= ROOM + 1, "a column outside the line");
            if (c->report->json)
                must(report_error(c->report, &err, &again), again.text);
        }
        at += length + 1;
    }
    must(!said->failed, "no memory");
    if (said->n > 0 && c->report->json)
        check_json(said->data, said->n);
    else if (said->n > 0)
        check_text(said->data, said->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int32_t prompt[] = {6, 22, 26};
    struct report report;
    struct console console;
    struct text said;
    struct error err = {0};
    if (size == 0 || size > ROOM)
        return 0;
    open_once();
    must(session_prompt_ids(&session, prompt, 3, &err), err.text);
    session.sampler =
        (struct sampler){.greedy = true, .temperature = 1, .top_p = 1, .seed = 1, .state = 1};
    size_t other = ledger_now(ledger, MEM_VIEWS, MEM_HOST);
    text_init(&said, ledger, MEM_OTHER);
    /* The first byte chooses how things are said, and whether an empty line repeats. */
    report_init(&report, ledger, data[0] & 1, take, &said);
    console_init(&console, &session, &report);
    console.untrusted = true;
    console.interactive = (data[0] & 2) != 0;
    run_lines(&console, &said, (const char *)data + 1, size - 1);
    /* Patches outlive a prompt; the next input starts without any. */
    while (session.patches.n > 0)
        must(patches_remove(&session.patches, session.patches.list[0].id, &err), err.text);
    console_fini(&console);
    report_fini(&report);
    text_fini(&said);
    must(ledger_now(ledger, MEM_VIEWS, MEM_HOST) == other, "views are kept");
    return 0;
}
