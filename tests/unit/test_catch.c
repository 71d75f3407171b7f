/* test_catch.c - watch, catch nan and catch top1 stop exactly where looking at every place in
 * order finds them to, in chunks of any length, and backwards. */
#include "engine/analysis/lens.h"
#include "engine/analysis/top.h"
#include "engine/debug/session.h"
#include "engine/debug/session_scope.h"
#include "tests/support/checkpoints.h"
#include "tests/support/prompted.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS 21
#define MOST   20000
#define WATCH  "argmax(0.mlp_out) + (norm(1.mlp_out) > 3)"

struct place {
    int position, op;
};

static void add(struct prompted *f, enum stop_kind kind)
{
    struct breakpoint_spec spec = {.kind = kind,
                                   .first = kind == STOP_WATCH,
                                   .last = INT32_MAX,
                                   .token_id = -1,
                                   .condition = WATCH,
                                   .n_condition = strlen(WATCH),
                                   .text = "test"};
    if (!breakpoints_add(&f->s.breakpoints, &f->s, &spec, &f->err))
        fail_msg("%s", f->err.text);
}

static void patch_infinity(struct prompted *f)
{
    struct value x;
    value_init(&x, f->ledger);
    value_set_number(&x, INFINITY);
    struct patch_spec spec = {.site = SITE_MLP_OUT,
                              .layer_first = 0,
                              .layer_last = 0,
                              .first = f->s.trace.n_ids / 2,
                              .last = f->s.trace.n_ids / 2,
                              .n_picks = 1,
                              .picks = {pick_one(1)},
                              .operand = &x};
    assert_int_not_equal(patches_add(&f->s.patches, &spec, &f->err), 0);
}

/* ---- looking at every place ---- */

static void read_rows(struct prompted *f, int op, int position, float *out)
{
    const struct op *o = &f->s.model.program.ops[op];
    bool wide = o->kind == OP_SCORES || o->kind == OP_SOFTMAX;
    if (!trace_read(&f->s.trace, op, position, 1, 0, wide ? o->heads : 0,
                    wide ? f->s.trace.n_ids : 0, out, &f->err))
        fail_msg("%s", f->err.text);
}

static bool finds_nan(struct prompted *f, int position, int op)
{
    const struct op *o = &f->s.model.program.ops[op];
    bool wide = o->kind == OP_SCORES || o->kind == OP_SOFTMAX;
    size_t n = trace_read_count(&f->s.trace, op, 1, o->heads, f->s.trace.n_ids);
    float *x = malloc(n * sizeof *x);
    bool found = false;
    read_rows(f, op, position, x);
    for (size_t i = 0; i < n; i++) {
        int key = (int)(i % (size_t)f->s.trace.n_ids);
        bool seen = !wide || key <= position;
        bool masked = o->kind == OP_SCORES && isinf(x[i]) && x[i] < 0;
        found = found || (seen && !masked && !isfinite(x[i]));
    }
    free(x);
    return found;
}

static int32_t best(struct prompted *f, int op, int position)
{
    size_t D = (size_t)f->s.model.config.d_model, V = (size_t)f->s.model.config.n_vocab;
    float *x = malloc((D + V) * sizeof *x);
    struct top_entry e;
    read_rows(f, op, position, x);
    assert_true(lens_logits(&f->s.trace, x, 1, x + D, &f->err));
    top_tokens(x + D, (int)V, 1, &e);
    free(x);
    return e.id;
}

static double watched(struct prompted *f, int position)
{
    struct session_scope scope;
    struct value v;
    struct expr *e = expr_parse(f->ledger, WATCH, strlen(WATCH), 1, &f->err);
    session_scope_init(&scope, &f->s, NULL);
    scope.scope.position = position;
    value_init(&v, f->ledger);
    if (!e || !expr_eval(e, &scope.scope, &v, &f->err))
        fail_msg("%s", f->err.text);
    double x = v.number;
    value_fini(&v);
    expr_close(e);
    return x;
}

static bool should_stop(struct prompted *f, enum stop_kind kind, int position, int op)
{
    const struct program *p = &f->s.model.program;
    const struct op *o = &p->ops[op];
    if (kind == STOP_NAN)
        return o->site != SITE_NONE && !o->lazy && finds_nan(f, position, op);
    if (kind == STOP_TOP1)
        return o->site == SITE_RESID_POST && best(f, program_find(p, SITE_RESID_PRE, o->layer),
                                                  position) != best(f, op, position);
    return op == program_find(p, SITE_MLP_OUT, 1) && position > 0 &&
           watched(f, position) != watched(f, position - 1);
}

static int every_stop(struct prompted *f, enum stop_kind kind, struct place *out)
{
    int n = 0;
    if (!trace_compute(&f->s.trace, f->s.trace.n_ids, &f->err) ||
        !session_goto(&f->s, f->s.trace.n_ids - 1, f->s.model.program.n_ops - 1, &f->err))
        fail_msg("%s", f->err.text);
    for (int pos = 0; pos < f->s.trace.n_ids; pos++)
        for (int op = 0; op < f->s.model.program.n_ops; op++)
            if (should_stop(f, kind, pos, op)) {
                assert_true(n < MOST);
                out[n++] = (struct place){pos, op};
            }
    return n;
}

static void compare(const char *name, enum stop_kind kind)
{
    static struct place want[MOST];
    static const int chunks[] = {512, 7, 1};
    struct prompted f;
    prompted_open(&f, TOKENS, name, 512);
    if (kind == STOP_NAN)
        patch_infinity(&f);
    int n = every_stop(&f, kind, want);
    prompted_close(&f);
    assert_true(n > 0);
    for (int i = 0; i < 3; i++) {
        prompted_open(&f, TOKENS, name, chunks[i]);
        if (kind == STOP_NAN)
            patch_infinity(&f);
        add(&f, kind);
        int last = n < 40 ? n : 40, logits = f.s.model.program.n_ops - 1;
        for (int k = 0; k < last; k++) {
            if (!session_continue(&f.s, 1, &f.err))
                fail_msg("%s: %s", name, f.err.text);
            if (f.s.position != want[k].position || f.s.op != want[k].op)
                fail_msg("%s, chunks of %d: stop %d is (%d, %d), should be (%d, %d)", name,
                         chunks[i], k, f.s.position, f.s.op, want[k].position, want[k].op);
        }
        for (int k = last - 2; k >= 0; k--) {
            assert_true(session_reverse_continue(&f.s, 1, &f.err));
            assert_int_equal(f.s.position, want[k].position);
            assert_int_equal(f.s.op, want[k].op);
        }
        /* Forwards again over what is computed already, all of it. */
        assert_true(session_goto(&f.s, 0, -1, &f.err));
        int found = 0;
        while (session_continue(&f.s, 1, &f.err) && f.s.stopped_by)
            found++;
        assert_int_equal(found, n);
        assert_int_equal(f.s.op, logits);
        prompted_close(&f);
    }
}

/* An op at a time, from the start to the last logits: the same places, and hits for each. */
static void compare_steps(const char *name, enum stop_kind kind)
{
    static struct place want[MOST];
    struct prompted f;
    prompted_open(&f, TOKENS, name, 512);
    if (kind == STOP_NAN)
        patch_infinity(&f);
    int n = every_stop(&f, kind, want), found = 0;
    prompted_close(&f);
    prompted_open(&f, TOKENS, name, 512);
    if (kind == STOP_NAN)
        patch_infinity(&f);
    add(&f, kind);
    int last = f.s.model.program.n_ops - 1;
    while (f.s.position < f.s.trace.n_ids - 1 || f.s.op < last) {
        if (!session_stepi(&f.s, 1, &f.err))
            fail_msg("%s: %s", name, f.err.text);
        if (!f.s.stopped_by)
            continue;
        assert_true(found < n);
        assert_int_equal(f.s.position, want[found].position);
        assert_int_equal(f.s.op, want[found].op);
        found++;
    }
    assert_int_equal(found, n);
    assert_int_equal(f.s.breakpoints.list[0].hits, n);
    prompted_close(&f);
}

static void test_steps(void **state)
{
    compare_steps(*state, STOP_WATCH);
    compare_steps(*state, STOP_NAN);
    compare_steps(*state, STOP_TOP1);
}

/* Every allocation of a watch's and the catches' lives fails once. */
static void test_every_failing_allocation(void **state)
{
    (void)state;
    for (long n = 1;; n++) {
        struct prompted f;
        prompted_open(&f, TOKENS, "llama", 8);
        patch_infinity(&f);
        struct breakpoint_spec watch = {.kind = STOP_WATCH,
                                        .first = 1,
                                        .last = INT32_MAX,
                                        .token_id = -1,
                                        .condition = WATCH,
                                        .n_condition = strlen(WATCH),
                                        .text = "watch"};
        struct breakpoint_spec nan = {
            .kind = STOP_NAN, .last = INT32_MAX, .token_id = -1, .text = "nan"};
        struct breakpoints *b = &f.s.breakpoints;
        ledger_fail_after(f.ledger, n);
        bool ok = breakpoints_add(b, &f.s, &watch, &f.err) && session_continue(&f.s, 2, &f.err) &&
                  breakpoints_add(b, &f.s, &nan, &f.err) &&
                  breakpoints_commands(b, 2, "silent\np 1\n", 11, &f.err) &&
                  session_continue(&f.s, 12, &f.err) && session_goto(&f.s, 0, -1, &f.err) &&
                  session_continue(&f.s, 5, &f.err) && session_reverse_continue(&f.s, 1, &f.err);
        ledger_fail_after(f.ledger, 0);
        if (!ok)
            assert_int_equal(f.err.code, ERR_MEMORY);
        prompted_close(&f);
        if (ok) {
            assert_true(n > 20);
            return;
        }
    }
}

static void test_watch(void **state)
{
    compare(*state, STOP_WATCH);
}

static void test_nan(void **state)
{
    compare(*state, STOP_NAN);
}

static void test_top1(void **state)
{
    compare(*state, STOP_TOP1);
}

int main(void)
{
    static struct CMUnitTest tests[4 * CHECKPOINTS_MOST + 1];
    int n = checkpoints_add(tests, 0, CHECKPOINTS_MOST, test_watch);
    n = checkpoints_add(tests, n, 2 * CHECKPOINTS_MOST, test_nan);
    n = checkpoints_add(tests, n, 3 * CHECKPOINTS_MOST, test_top1);
    n = checkpoints_add(tests, n, 4 * CHECKPOINTS_MOST, test_steps);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_every_failing_allocation);
    return _cmocka_run_group_tests("catch", tests, (size_t)n, NULL, NULL);
}
