/* test_expr.c - expressions over a made-up scope: values, shapes, and errors at their columns. */
#include "engine/debug/expr.h"
#include "engine/debug/variables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A sequence of 6 tokens of which 4 are computed; 2 heads of 3, D 3, 5 tokens in the vocabulary.
 * A site's element is the number that its indices spell: 5.z[3,1,2] is 312. */
#define LENGTH 6
#define KNOWN  4
#define D      3
#define V      5

struct fake {
    struct scope scope;
    struct variables variables;
    int reads;
    size_t most_read; /* elements in one read */
};

static bool fake_site(void *context, enum site s, int layer, struct source *out, struct error *err)
{
    (void)context;
    *out = (struct source){.site = s,
                           .layer = layer,
                           .n_dims = 2,
                           .dims = {KNOWN, D},
                           .position_axis = 0,
                           .key_axis = -1,
                           .n_positions = LENGTH};
    if (site_in_block(s) && layer > 9)
        return error_set(err, ERR_USAGE, "there is no layer %d", layer);
    if (site_axes(s) == AXES_T1) {
        out->dims[1] = 1;
    } else if (site_axes(s) == AXES_THX) {
        out->n_dims = 3;
        out->dims[1] = 2;
        out->dims[2] = 3;
    } else if (site_axes(s) == AXES_HTS) {
        *out = (struct source){.site = s,
                               .layer = layer,
                               .n_dims = 3,
                               .dims = {2, KNOWN, KNOWN},
                               .position_axis = 1,
                               .key_axis = 2,
                               .n_positions = LENGTH};
    } else if (s == SITE_LOGITS) {
        out->dims[1] = V;
    }
    return true;
}

static bool fake_weight(void *context, const char *name, struct source *out, struct error *err)
{
    (void)context;
    *out = (struct source){
        .is_weight = true, .n_dims = 3, .dims = {2, 3, D}, .position_axis = -1, .key_axis = -1};
    if (strcmp(name, "unembed.W_U") == 0) {
        out->n_dims = 2;
        out->dims[0] = D;
        out->dims[1] = V;
    } else if (strcmp(name, "5.W_O") != 0) {
        return error_set(err, ERR_USAGE, "no weight is called %s", name);
    }
    return true;
}

static bool fake_known(void *context, const struct source *s, int position, struct error *err)
{
    (void)context;
    (void)s;
    return position < KNOWN ||
           error_set(err, ERR_STATE, "position %d is not computed yet", position);
}

static bool fake_read(void *context, const struct source *s, const struct pick *picks, float *out,
                      struct error *err)
{
    struct fake *f = context;
    size_t at[4] = {0}, n = pick_count(picks, s->n_dims);
    (void)err;
    f->reads++;
    f->most_read = n > f->most_read ? n : f->most_read;
    for (size_t i = 0; i < n; i++) {
        int64_t x = 0;
        for (int d = 0; d < s->n_dims; d++) {
            int64_t index = picks[d].first + (int64_t)at[d] * picks[d].step;
            assert_true(index >= 0 && index < (int64_t)s->dims[d]);
            x = x * 10 + index;
        }
        out[i] = (float)x;
        for (int d = s->n_dims - 1; d >= 0 && ++at[d] == picks[d].count; d--)
            at[d] = 0;
    }
    return true;
}

static bool fake_token(void *context, const char *piece, size_t n, int32_t *id, struct error *err)
{
    (void)context;
    *id = n == 1 ? piece[0] - 'a' : -1;
    return (*id >= 0 && *id < V) || error_set(err, ERR_USAGE, "no such token");
}

static bool fake_lens(void *context, const float *rows, size_t n, float *out, struct error *err)
{
    (void)context;
    (void)err;
    for (size_t i = 0; i < n * V; i++)
        out[i] = rows[i / V * D] + (float)(i % V);
    return true;
}

static bool fake_variable(void *context, const char *name, struct value *out, struct error *err)
{
    return variables_get(&((struct fake *)context)->variables, name, out, err);
}

static int set_up(void **state)
{
    static struct fake fake;
    struct fake *f = &fake;
    struct ledger *l = ledger_open();
    if (!l)
        return 1;
    memset(f, 0, sizeof *f);
    f->scope = (struct scope){.ledger = l,
                              .context = f,
                              .position = 2,
                              .here = SITE_PATTERN,
                              .here_layer = 5,
                              .d_model = D,
                              .n_vocab = V,
                              .site = fake_site,
                              .weight = fake_weight,
                              .known = fake_known,
                              .read = fake_read,
                              .token = fake_token,
                              .lens = fake_lens,
                              .variable = fake_variable};
    variables_init(&f->variables, l);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fake *f = *state;
    variables_fini(&f->variables);
    return ledger_close(f->scope.ledger) != 0;
}

/* "[2, 3] 1 2 3 4 5 6", "3.5", "\"text\"", or "column 5: message". */
static void evaluate(struct fake *f, const char *text, size_t n, char *out, size_t room)
{
    struct error err = {0};
    struct value v;
    value_init(&v, f->scope.ledger);
    struct expr *e = expr_parse(f->scope.ledger, text, n, 1, &err);
    bool ok = e && expr_eval(e, &f->scope, &v, &err);
    expr_close(e);
    if (!ok) {
        assert_int_not_equal(err.code, ERR_NONE);
        snprintf(out, room, "column %d: %s", err.column, err.text);
    } else if (v.string) {
        snprintf(out, room, "\"%s\"", v.string);
    } else {
        char shape[128] = "";
        size_t at = (size_t)snprintf(out, room, "%s", v.n_dims ? value_describe(&v, shape) : "");
        for (size_t i = 0; i < v.count && at < room; i++)
            at += (size_t)snprintf(out + at, room - at, "%s%.6g", at ? " " : "", value_at(&v, i));
    }
    value_fini(&v);
}

struct example {
    const char *text, *result;
};

static void check(struct fake *f, const struct example *examples, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char out[2000];
        evaluate(f, examples[i].text, strlen(examples[i].text), out, sizeof out);
        if (strncmp(out, examples[i].result, strlen(examples[i].result)) != 0 ||
            (strncmp(out, "column", 6) != 0 && strcmp(out, examples[i].result) != 0))
            fail_msg("%s\n  gave   %s\n  wanted %s", examples[i].text, out, examples[i].result);
    }
}
#define CHECK(f, examples) check(f, examples, sizeof(examples) / sizeof(examples)[0])

static void arithmetic(void **state)
{
    static const struct example examples[] = {
        {"1 + 2 * 3", "7"},
        {"(1 + 2) * 3", "9"},
        {"1 - 2 - 3", "-4"},
        {"8 / 4 / 2", "1"},
        {"-2 * -3", "6"},
        {"- - 2", "2"},
        {"1.5", "1.5"},
        {".5", "0.5"},
        {"5.", "5"},
        {"5.e1", "50"},
        {"1e3", "1000"},
        {"1e-3", "0.001"},
        {"2e+2", "200"},
        {"1 / 0", "inf"},
        {"-1 / 0 == -inf", "1"},
        {"isnan(0 / 0)", "1"},
        {"nan == nan", "0"},
        {"1 < 2 && 2 < 3", "1"},
        {"1 < 2 && 3 < 2", "0"},
        {"0 || 2", "1"},
        {"0 || 0 || 0", "0"},
        {"1 || 0 && 0", "1"},
        {"!0", "1"},
        {"!3 == 0", "1"},
        {"1 + 1 == 2", "1"},
        {"1 != 1", "0"},
        {"2 >= 2", "1"},
        {"2 <= 1", "0"},
        {"\"a\" == \"a\"", "1"},
        {"\"a\" == \"b\"", "0"},
        {"\"tab\\tquote\\\"\\x41\"", "\"tab\tquote\"A\""},
        {"exp(0) + sqrt(4) + abs(-3) + log(1)", "6"},
        {"  1  ", "1"},
        /* what need not be known is not evaluated */
        {"1 || 11.z", "1"},
        {"0 && 11.z", "0"},
    };
    CHECK(*state, examples);
}

static void sites(void **state)
{
    static const struct example examples[] = {
        {"5.resid_post", "[3] 20 21 22"},
        {"blocks.5.hook_resid_post", "[3] 20 21 22"},
        {"5.z", "[2, 3] 200 201 202 210 211 212"},
        {"5.ln1.scale", "20"},
        {"embed", "[3] 20 21 22"},
        {"logits", "[5] 20 21 22 23 24"},
        {"5.pattern", "[2, 3] 20 21 22 120 121 122"},
        {"5.pattern[1,2]", "[4] 120 121 122 123"},
        {"5.pattern[1]", "[4, 4] 100 101 102 103 110 111 112 113 120 121 122 123 130 131 132 133"},
        {"5.pattern[0,-3,:]", "[4] 30 31 32 33"},
        {"5.pattern[-1,0,::2]", "[2] 100 102"},
        {"5.pattern[...,0]", "[2, 4] 0 10 20 30 100 110 120 130"},
        {"5.pattern[1,...]",
         "[4, 4] 100 101 102 103 110 111 112 113 120 121 122 123 130 131 132 133"},
        {"5.z[3,1,2]", "312"},
        {"5.z[3,1]", "[3] 310 311 312"},
        {"5.z[0,::-1,-1]", "[2] 12 2"},
        {"5.z[1:3,0,0]", "[2] 100 200"},
        {"5.z[-4:4,0,0]", "[2] 200 300"},
        {"5.z[:,0,0]", "[4] 0 100 200 300"},
        {"5.z[::-1,0,0]", "[4] 300 200 100 0"},
        {"5.z[::-3,0,0]", "[2] 300 0"},
        {"5.z[2:1,0,0]", "[0]"},
        {"5.z[:2][1]", "[2, 3] 100 101 102 110 111 112"},
        {"(5.z)[1]", "[3] 210 211 212"},
        {"(5.z)[-1,0]", "210"},
        {"5.ln1.scale[:]", "[4, 1] 0 10 20 30"},
        {"5.z[1 + 1, 2 - 1, 0]", "210"},
        {"5.z[0, 0, 0:99999999999]", "[3] 0 1 2"},
        {"5.z[0, 0, ::99999999999]", "[1] 0"},
        {"5.z[0, 0, ::-99999999999]", "[1] 2"},
        {".", "[2, 3] 20 21 22 120 121 122"},
        {".[1]", "[3] 120 121 122"},
        {".[1,-1]", "122"},
        {"max(.[1]) > 100", "1"},
        {"W(5.W_O)[1,2]", "[3] 120 121 122"},
        {"W( 5.W_O )[0,:,0]", "[3] 0 10 20"},
        {"dir(\"b\")", "[3] 1 11 21"},
        {"dir(4)", "[3] 4 14 24"},
        {"logit(\"c\")", "22"},
        {"logit(\"c\", 3)", "32"},
        {"logit(\"c\", -4)", "22"},
        {"rank(\"a\")", "4"},
        {"rank(4)", "0"},
        {"prob(\"e\") / prob(\"d\") - exp(1) < 0.000001", "1"},
        {"lens(5.resid_post)", "[5] 20 21 22 23 24"},
        {"lens(5.resid_post[:2])", "[2, 5] 0 1 2 3 4 10 11 12 13 14"},
        {"3 - 5.resid_post", "[3] -17 -18 -19"},
        {"2 * .[0]", "[3] 40 42 44"},
    };
    CHECK(*state, examples);
}

static void functions(void **state)
{
    static const struct example examples[] = {
        {"sum(5.z)", "1236"},
        {"sum(5.z, 0)", "[3] 410 412 414"},
        {"sum(5.z, -1)", "[2] 603 633"},
        {"mean(5.z[0,0])", "1"},
        {"std(5.z[0,0])", "0.816497"},
        {"norm(3 * W(5.W_O)[0,1,0:1])", "30"},
        {"norm(W(5.W_O)[0,:2], 1)", "[2] 2.23607 19.105"},
        {"max(5.z)", "212"},
        {"min(5.z, 1)", "[2] 200 210"},
        {"argmax(5.z)", "5"},
        {"argmin(5.z, 0)", "[3] 0 0 0"},
        {"dot(5.z[0,0], 5.z[0,0])", "5"},
        {"cos(5.z[0,0], 2 * 5.z[0,0])", "1"},
        {"dot(5.z, 5.z[0,0], -1)", "[2] 605 635"},
        {"softmax(0 * 5.z[0])", "[2, 3] 0.333333 0.333333 0.333333 0.333333 0.333333 0.333333"},
        {"softmax(0 * 5.z[0], 0)", "[2, 3] 0.5 0.5 0.5 0.5 0.5 0.5"},
        {"softmax(1000 * 5.z[0,0])", "[3] 0 0 1"},
        {"exp(entropy(softmax(0 * 5.z[0])))", "[2] 3 3"},
        {"entropy(5.z[0,0] == 1)", "0"},
        {"kl(softmax(5.z[0,0]), softmax(5.z[0,0]))", "0"},
        {"isnan(0 / 5.z[0])", "[2, 3] 1 0 0 0 0 0"},
        {"abs(-5.z[0])", "[2, 3] 0 1 2 10 11 12"},
        {"5.z[0] @ W(5.W_O)[0,:,0]", "[2] 50 350"},
        {"5.z[0] @ W(5.W_O)[0]", "[2, 3] 50 53 56 350 383 416"},
        {"W(5.W_O)[0] @ 5.z[0,0]", "[3] 5 35 65"},
        {"sum(W(5.W_O) @ W(5.W_O), 0)",
         "[3, 3] 33400 33706 34012 37000 37366 37732 40600 41026 41452"},
        {"5.z[0,0] @ 5.z[0,0]", "5"},
        {"5.z[0] + 5.z[0,0]", "[2, 3] 0 2 4 10 12 14"},
        {"5.z[0] * 5.z[0,:,0:1]", "[2, 3] 0 0 0 100 110 120"},
        {"5.z[0] > 5", "[2, 3] 0 0 0 1 1 1"},
        {"sum(5.z[0:0])", "0"},
    };
    CHECK(*state, examples);
}

static void errors_point_at_their_column(void **state)
{
    static const struct example examples[] = {
        {"", "column 1: the line ends where a value is expected"},
        {"1 +", "column 4: the line ends"},
        {"1 + * 2", "column 5: \"*\" stands where a value"},
        {"(1", "column 3: the line ends where )"},
        {"1)", "column 2: \")\" stands where an operator"},
        {"1 2", "column 3: an operator"},
        {"norm(", "column 6: the line ends"},
        {"norm()", "column 1: norm takes 1 or more"},
        {"norm(1, 2, 3)", "column 1: norm takes"},
        {"norm(1 2)", "column 8: a comma or )"},
        {"nrom(1)", "column 1: there is no function nrom; near: norm"},
        {"norm", "column 1: norm is a function"},
        {"5.foo", "column 1: no site is called"},
        {"1 + 11.z", "column 5: there is no layer 11"},
        {"z", "column 1: z needs a layer"},
        {"5.logits", "column 1: logits is there once"},
        {"*.z", "column 1: an expression reads one layer"},
        {"norm(*.z)", "column 6: an expression reads one layer"},
        {"3-5.resid_post", "column 1: a range of layers"},
        {"blocks.*.hook_z", "column 1: an expression reads one layer"},
        {"5.z[", "column 5: the line ends"},
        {"5.z[]", "column 5: \"]\" stands where"},
        {"5.z[0", "column 6: the line ends where a comma or ]"},
        {"5.z[0,0,0,0]", "column 4: 4 indices are too many"},
        {"5.z[...,...]", "column 4: more than one ..."},
        {"5.z[0,2]", "column 7: index 2 is out of range: axis 1 of 5.z has 2"},
        {"5.z[0,-3]", "column 7: index -3"},
        {"5.z[6]", "column 5: there is no position 6: the sequence has 6 tokens"},
        {"5.z[-7]", "column 5: there is no position -7"},
        {"5.z[5]", "column 5: position 5 is not computed yet"},
        {"5.z[-1]", "column 5: position 5 is not computed yet"},
        {"5.z[2:5]", "column 5: position 4"},
        {"5.z[-2:]", "column 5: position 4"},
        {"5.z[0.5]", "column 5: an index has to be one whole number"},
        {"5.z[5.z]", "column 5: an index has to be one whole number, not [2, 3]"},
        {"5.z[\"a\"]", "column 5: an index has to be"},
        {"5.z[0:1:0]", "column 9: a step cannot be 0"},
        {"5.z[0:1:2:3]", "column 10: \":\" stands where"},
        {".[2]", "column 3: index 2 is out of range"},
        {".[0,0,0]", "column 2: 3 indices are too many"},
        {"1[0]", "column 2: 1 indices are too many"},
        {"\"a\"[0]", "column 4: a string has no axes"},
        {"..", "column 2: "},
        {"...", "column 1: a value is expected"},
        {".foo", "column 1: . is the site"},
        {"5.z + 5.pattern[0]", "column 5: shapes [2, 3] and [4, 4] do not go together for +"},
        {"5.z @ 5.z", "column 5: shapes [2, 3] and [2, 3] do not go together for @: 3 and 2"},
        {"1 @ 5.z", "column 3: @ needs arrays"},
        {"dot(5.z, 1)", "column 1: dot needs two values of one shape"},
        {"sum(5.z, 2)", "column 1: there is no axis 2 in [2, 3]"},
        {"sum(5.z, 8)", "column 1: an axis has to lie in"},
        {"sum(5.z, 0.5)", "column 1: an axis has to be one whole number"},
        {"max(5.z[0:0])", "column 1: max of no elements"},
        {"5.z && 1", "column 1: true or false needs one number and got [2, 3]"},
        {"1 && \"a\"", "column 6: true or false"},
        {"\"a\" + 1", "column 5: + needs numbers"},
        {"-\"a\"", "column 1: - needs numbers"},
        {"norm(\"a\")", "column 1: norm needs numbers"},
        {"1 < 2 < 3", "column 7: comparisons do not chain"},
        {"1 = 2", "column 3: = gives a value"},
        {"1 & 2", "column 3: \"and\" is &&"},
        {"1 | 2", "column 3: \"and\" is &&"},
        {"1 # 2", "column 3: \"#\" means nothing"},
        {"1 + \xc3\xa9", "column 5: a character that means nothing"},
        {"1e400", "column 1: a number too large"},
        {"0x10", "column 2: a letter in a number"},
        {"\"abc", "column 1: the string has no closing"},
        {"\"a\\q\"", "column 4: in a string"},
        {"$1", "column 1: $1: nothing was printed"},
        {"$nobody", "column 1: there is no $nobody"},
        {"logit(\"zz\")", "column 1: no such token"},
        {"logit(5)", "column 1: a token's id has to lie in 0 to 4"},
        {"logit(0, 6)", "column 1: a position has to lie in"},
        {"logit(0, 5)", "column 1: position 5 is not computed"},
        {"lens(5.z[0,:,0])", "column 1: lens takes residuals, [..., 3], and got [2]"},
        {"W(5.W_X)", "column 3: no weight is called 5.W_X"},
        {"W(5.W_O", "column 3: W takes a weight's name"},
        {"W()", "column 3: W takes a weight's name"},
        {"+1", "column 1: \"+\" stands where"},
    };
    CHECK(*state, examples);
}

static void only_what_is_asked_for_is_read(void **state)
{
    struct fake *f = *state;
    char out[200];
    evaluate(f, "5.pattern[1,2,:]", 16, out, sizeof out);
    assert_int_equal(f->most_read, KNOWN);
    evaluate(f, "norm(0.resid_post)", 18, out, sizeof out);
    assert_int_equal(f->most_read, KNOWN);
    evaluate(f, ".[0]", 4, out, sizeof out);
    assert_int_equal(f->most_read, KNOWN);
    evaluate(f, "W(5.W_O)[1,2]", 13, out, sizeof out);
    assert_int_equal(f->most_read, KNOWN);
    f->reads = 0;
    evaluate(f, "5.z[0:0]", 8, out, sizeof out);
    assert_int_equal(f->reads, 0);
}

static void nowhere_a_dot_is_an_error(void **state)
{
    struct fake *f = *state;
    char out[200];
    f->scope.here = SITE_NONE;
    evaluate(f, "1 + .", 5, out, sizeof out);
    assert_non_null(strstr(out, "column 5: . is the site stood at"));
    f->scope.here = SITE_LN1_SCALE;
    evaluate(f, ".", 1, out, sizeof out);
    assert_string_equal(out, "20");
    f->scope.position = 5;
    evaluate(f, ".", 1, out, sizeof out);
    assert_non_null(strstr(out, "column 1: position 5 is not computed yet"));
}

static void what_was_printed_has_a_number(void **state)
{
    struct fake *f = *state;
    char out[200];
    struct value v;
    value_init(&v, f->scope.ledger);
    for (int i = 1; i <= 40; i++) {
        value_set_number(&v, 10.0 * i);
        assert_int_equal(variables_add(&f->variables, &v, NULL), i);
    }
    evaluate(f, "$3 + $40 + $", 12, out, sizeof out);
    assert_string_equal(out, "830");
    evaluate(f, "$41", 3, out, sizeof out);
    assert_non_null(strstr(out, "there is no $41: $1 to $40"));
    evaluate(f, "$99999999999999999999", 21, out, sizeof out);
    assert_non_null(strstr(out, "column 1"));
    assert_true(variables_set(&f->variables, "x", &v, NULL));
    value_set_number(&v, 1);
    assert_true(variables_set(&f->variables, "x", &v, NULL));
    evaluate(f, "$x * 2", 6, out, sizeof out);
    assert_string_equal(out, "2");
    value_fini(&v);
}

/* n times s. */
static char *repeated(const char *s, size_t n)
{
    size_t length = strlen(s);
    char *text = malloc(n * length + 1);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        memcpy(text + i * length, s, length);
    text[n * length] = '\0';
    return text;
}

static void absurd_ones_are_errors(void **state)
{
    struct fake *f = *state;
    static const char *const units[] = {"(",   "[", "-",  "!",  "1+",   "1 ",  "norm(", "5.z[",
                                        "1&&", "$", "\"", "\\", ".",    "...", "9",     "e",
                                        "W(",  ",", ":",  "5.", "x[0]", "1[",  "\xff",  "0-"};
    static const size_t counts[] = {3, 199, 201, 5000, 400000};
    char out[700];
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
            char *text = repeated(units[i], counts[k]);
            evaluate(f, text, strlen(text), out, sizeof out);
            /* "999...": too large; a few nines are a number */
            if (strcmp(units[i], "9") != 0 || counts[k] > 400)
                assert_int_equal(strncmp(out, "column ", 7), 0);
            free(text);
        }
    /* 150 parentheses are fine, and so is a sum of 900 numbers. */
    char deep[400];
    memset(deep, '(', 150);
    deep[150] = '7';
    memset(deep + 151, ')', 150);
    evaluate(f, deep, 301, out, sizeof out);
    assert_string_equal(out, "7");
    char *sum = repeated("1+", 900);
    sum[1799] = '\0';
    evaluate(f, sum, 1799, out, sizeof out);
    assert_string_equal(out, "900");
    free(sum);
    /* A NUL is a character like any other that means nothing. */
    evaluate(f, "1\0+1", 4, out, sizeof out);
    assert_non_null(strstr(out, "column 2"));
}

static void no_memory_is_told_and_nothing_is_kept(void **state)
{
    struct fake *f = *state;
    struct ledger *l = f->scope.ledger;
    static const char text[] = "softmax(5.z[:, 0] @ W(5.W_O)[1], -1) + norm(dir(\"a\")) * "
                               "sum(lens(5.resid_post)) - kl(5.z, 5.z[0], 1)[0]";
    for (long n = 1;; n++) {
        struct error err = {0};
        struct value v;
        size_t before = ledger_total(l);
        value_init(&v, l);
        ledger_fail_after(l, n);
        struct expr *e = expr_parse(l, text, sizeof text - 1, 1, &err);
        bool ok = e && expr_eval(e, &f->scope, &v, &err);
        ledger_fail_after(l, 0);
        expr_close(e);
        value_fini(&v);
        assert_int_equal(ledger_total(l), before);
        if (ok)
            break;
        assert_int_equal(err.code, ERR_MEMORY);
        assert_true(n < 1000);
    }
}

static void what_an_expression_names(void **state)
{
    struct fake *f = *state;
    struct ledger *l = f->scope.ledger;
    struct source source;
    struct pick picks[4];
    bool found;
    struct expr *e = expr_parse(l, "norm(5.z[0]) + 6.pattern", 24, 1, NULL);
    assert_false(expr_reads_dot(e));
    assert_true(expr_slice(e, &f->scope, &found, &source, picks, NULL) && !found);
    expr_close(e);
    e = expr_parse(l, "5.z[1:3,0]", 10, 1, NULL);
    assert_true(expr_slice(e, &f->scope, &found, &source, picks, NULL) && found);
    assert_int_equal(source.site, SITE_Z);
    assert_true(picks[0].first == 1 && picks[0].count == 2 && picks[1].drop);
    assert_int_equal(picks[2].count, 3);
    expr_close(e);
    e = expr_parse(l, "max(.) > 1", 10, 1, NULL);
    assert_true(expr_reads_dot(e));
    expr_close(e);
    for (int i = 0; expr_function_name(i); i++)
        assert_memory_equal(expr_function_help(i), expr_function_name(i),
                            strlen(expr_function_name(i)));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(arithmetic),
        TEST(sites),
        TEST(functions),
        TEST(errors_point_at_their_column),
        TEST(only_what_is_asked_for_is_read),
        TEST(nowhere_a_dot_is_an_error),
        TEST(what_was_printed_has_a_number),
        TEST(absurd_ones_are_errors),
        TEST(no_memory_is_told_and_nothing_is_kept),
        TEST(what_an_expression_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
