/* fuzz_expr.c - any text as an expression: an error that points into it, or a value that comes out
 * the same twice; a slice holds as many elements as its value; and nothing is kept. */
#include "engine/debug/expr.h"
#include "engine/debug/session_scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL     "tests/golden/models/llama"
#define TOKENIZER "tests/golden/tokenizer/words.json"
#define ROOM      (4 * 1024)
#define COLUMN    7 /* as if it stood behind a command */

static struct ledger *ledger;
static struct session session;
static struct variables variables;

static void must(bool so, const char *what)
{
    if (so)
        return;
    fprintf(stderr, "fuzz_expr: %s\n", what);
    abort();
}

static void close_once(void)
{
    variables_fini(&variables);
    session_close(&session);
    must(ledger_close(ledger) == 0, "the session keeps memory");
}

/* One model, standing in the middle of a computed prompt, for all inputs. */
static void open_once(void)
{
    static const int32_t prompt[] = {6, 22, 26, 6, 22};
    struct session_options o = {.n_threads = 1};
    struct error err = {0};
    if (ledger)
        return;
    ledger = ledger_open();
    must(ledger != NULL && atexit(close_once) == 0, "no memory");
    if (!session_open(&session, ledger, MODEL, &o, &err)) {
        fprintf(stderr, "fuzz_expr: %s (run it in the repository's root)\n", err.text);
        abort();
    }
    session.model.tokenizer = tokenizer_open(ledger, TOKENIZER, &err);
    must(session.model.tokenizer != NULL, err.text);
    must(session_prompt_ids(&session, prompt, 5, &err), err.text);
    int op = program_find(&session.model.program, SITE_PATTERN, 1);
    must(session_finish(&session, &err) && session_goto(&session, 3, op, &err), err.text);
    variables_init(&variables, ledger);
}

static bool same(const struct value *a, const struct value *b)
{
    if (a->n_dims != b->n_dims || a->count != b->count || !a->string != !b->string ||
        memcmp(a->dims, b->dims, (size_t)a->n_dims * sizeof *a->dims) != 0)
        return false;
    if (a->string)
        return a->n_string == b->n_string && memcmp(a->string, b->string, a->n_string) == 0;
    if (a->data)
        return memcmp(a->data, b->data, a->count * sizeof *a->data) == 0;
    uint64_t x, y;
    memcpy(&x, &a->number, sizeof x);
    memcpy(&y, &b->number, sizeof y);
    return x == y;
}

static void check_error(const struct error *e, size_t n)
{
    must(e->code != ERR_NONE && e->text[0] != '\0', "a failure without a word");
    must(e->column == 0 || (e->column >= COLUMN && (size_t)e->column <= COLUMN + n + 1),
         "a column outside the text");
}

static void check_slice(const struct expr *e, const struct scope *scope, const struct value *v,
                        size_t n)
{
    struct error err = {0};
    struct source source;
    struct pick picks[4];
    bool found;
    if (!expr_slice(e, scope, &found, &source, picks, &err))
        check_error(&err, n);
    else if (found)
        must(pick_count(picks, source.n_dims) == v->count, "a slice of another size");
}

static void evaluate(const struct expr *e, size_t n)
{
    struct session_scope s;
    struct value first, again;
    struct error err = {0};
    session_scope_init(&s, &session, &variables);
    value_init(&first, ledger);
    value_init(&again, ledger);
    if (!expr_eval(e, &s.scope, &first, &err)) {
        check_error(&err, n);
    } else {
        must(expr_eval(e, &s.scope, &again, &err), "evaluated only once");
        must(same(&first, &again), "another value at the second time");
        check_slice(e, &s.scope, &first, n);
    }
    value_fini(&first);
    value_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = {0};
    if (size > ROOM)
        return 0;
    open_once();
    size_t views = ledger_now(ledger, MEM_VIEWS, MEM_HOST);
    size_t other = ledger_now(ledger, MEM_OTHER, MEM_HOST);
    struct expr *e = expr_parse(ledger, (const char *)data, size, COLUMN, &err);
    if (e)
        evaluate(e, size);
    else
        check_error(&err, size);
    expr_close(e);
    must(ledger_now(ledger, MEM_VIEWS, MEM_HOST) == views, "views are kept");
    must(ledger_now(ledger, MEM_OTHER, MEM_HOST) == other, "parts of the expression are kept");
    return 0;
}
