/* test_sieve.c - conditions by what was measured of a row: what holds passes, whatever the
 * condition and the row; and what is far from holding does not. */
#include "engine/debug/sieve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST 64

static struct ledger *ledger;
static struct backend *cpu;

/* A row of `parts` heads; 1: of none. */
struct row {
    int parts, d;
    float x[MOST];
    struct measures measures[MOST];
};

static bool row_site(void *context, enum site s, int layer, struct source *out, struct error *err)
{
    const struct row *r = context;
    (void)err;
    *out = (struct source){.site = s,
                           .layer = layer,
                           .n_dims = r->parts > 1 ? 3 : 2,
                           .dims = {1, (size_t)(r->parts > 1 ? r->parts : r->d), (size_t)r->d},
                           .position_axis = 0,
                           .key_axis = -1,
                           .n_positions = 1};
    return true;
}

static bool row_known(void *context, const struct source *s, int position, struct error *err)
{
    (void)context, (void)s, (void)err;
    return position == 0;
}

static bool row_read(void *context, const struct source *s, const struct pick *picks, float *out,
                     struct error *err)
{
    const struct row *r = context;
    (void)err;
    const struct pick *head = &picks[1], *element = &picks[s->n_dims - 1];
    for (size_t h = 0; h < (s->n_dims == 3 ? head->count : 1); h++)
        for (size_t e = 0; e < element->count; e++) {
            int64_t first = s->n_dims == 3 ? (head->first + (int64_t)h * head->step) * r->d : 0;
            *out++ = r->x[first + element->first + (int64_t)e * element->step];
        }
    return true;
}

static struct expr *parse(const char *text)
{
    struct error err = {0};
    struct expr *e = expr_parse(ledger, text, strlen(text), 1, &err);
    if (!e)
        fail_msg("%s: %s", text, err.text);
    return e;
}

/* What reading the row says. An expression that is no condition for such a row is none. */
static bool holds(const struct expr *e, struct row *r, bool *sound)
{
    struct error err = {0};
    struct value v;
    bool truth = false;
    struct scope s = {.ledger = ledger,
                      .context = r,
                      .here = r->parts > 1 ? SITE_Z : SITE_RESID_POST,
                      .site = row_site,
                      .known = row_known,
                      .read = row_read};
    value_init(&v, ledger);
    *sound = expr_eval(e, &s, &v, &err) && expr_truth(&v, &truth, &err);
    value_fini(&v);
    return truth;
}

static bool passes(const struct expr *e, struct row *r)
{
    cpu->measure(cpu, r->x, r->parts, r->d, r->measures);
    struct sieve *s = sieve_open(ledger, e, r->parts, NULL);
    assert_non_null(s);
    bool may = sieve_passes(s, &(struct sieve_row){r->measures, r->parts, r->d, 1e-6});
    sieve_close(s);
    return may;
}

static struct row plain(int parts, int d)
{
    struct row r = {.parts = parts, .d = d};
    for (int i = 0; i < parts * d; i++)
        r.x[i] = (float)(i % 7) - 3 + (float)i / 16;
    return r;
}

static void expect(const char *condition, struct row r, bool wanted)
{
    struct expr *e = parse(condition);
    if (passes(e, &r) != wanted)
        fail_msg("%s: %s", condition, wanted ? "does not pass" : "passes");
    expr_close(e);
}

static void what_cannot_hold_is_left_out(void **state)
{
    (void)state;
    struct row one = plain(1, 32), heads = plain(4, 8);
    static const char *const never[] = {
        "norm(.) > 1e6",
        "max(.) >= 100",
        "min(.) < -100",
        "max(abs(.)) > 50",
        "sum(.) > 1e5 || mean(.) > 1e5",
        "norm(.) > 1 && std(.) > 1000",
        "!(norm(.) < 1e6)",
        "-norm(.) > 0",
        "2 * norm(.) + 1 > 1e6 / 3",
        "norm(.) == 1e6",
        "max(.) - min(.) > 1e4",
        "1e6 < norm(.) && .[3] > 0",
        "mean(abs(.)) > 1000",
        "0",
    };
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        expect(never[i], one, false);
        expect(never[i], heads, false);
    }
    expect("norm(.[2]) > 1e6", heads, false);
    expect("max(.[-1]) > 100 || min(.[0]) < -90", heads, false);
}

static void what_is_not_known_passes(void **state)
{
    (void)state;
    struct row one = plain(1, 32), heads = plain(4, 8);
    static const char *const maybe[] = {
        ".[3] > 1e6",         "norm(.) > 1", "argmax(.) == 1e6",  "norm(.) > 1 && .[3] > 1e6",
        "max(exp(.)) > 1e30", "1",           "norm(.[2:]) > 1e6", "1 / (norm(.) - norm(.)) > 1e6",
        "entropy(.) > 1e6",
    };
    for (size_t i = 0; i < sizeof maybe / sizeof *maybe; i++)
        expect(maybe[i], one, true);
    expect("norm(.) > 0 && 49/49 == 1", one, true);
    expect("49/49 >= 1", one, true);
    expect("98/49 == 2", one, true);
    expect("norm(.[2,3]) > 1e6", heads, true);
    expect("norm(.[9]) > 1e6", heads, true); /* an error: whoever reads it tells */
    expect("norm(.[0]) > 1e6", one, true);   /* an element, not a head */
    for (int k = 0; k < 3; k++) {
        const float odd[] = {NAN, INFINITY, -INFINITY};
        struct row bad = one;
        bad.x[5] = odd[k];
        expect("norm(.) > 1e6", bad, true);
    }
}

/* ---- any condition --------------------------------------------------------------------------- */

static uint64_t state_of_random = 88172645463325252u;

static int below(int n)
{
    state_of_random ^= state_of_random << 13;
    state_of_random ^= state_of_random >> 7;
    state_of_random ^= state_of_random << 17;
    return (int)(state_of_random >> 33) % n;
}

static const char *one_of(const char *const *list, int n)
{
    return list[below(n)];
}

/* Appends a number or a comparison; depth limits it. */
static void add_random(char *out, int depth, bool comparison)
{
    static const char *const functions[] = {"norm", "sum", "mean", "max", "min", "std"};
    static const char *const subjects[] = {".", ".[1]", "abs(.)", ".[-2]", ".[1:]", "-(.)"};
    static const char *const compared[] = {" < ", " <= ", " > ", " >= ", " == ", " != "};
    static const char *const joined[] = {" + ", " - ", " * ", " / "};
    if (comparison && depth > 0 && below(3) == 0) {
        strcat(out, below(4) ? "(" : "!(");
        add_random(out, depth - 1, true);
        strcat(out, below(2) ? " && " : " || ");
        add_random(out, depth - 1, true);
        strcat(out, ")");
    } else if (comparison) {
        add_random(out, depth - 1, false);
        strcat(out, one_of(compared, 6));
        add_random(out, depth - 1, false);
    } else if (depth > 0 && below(3) == 0) {
        strcat(out, "(");
        add_random(out, depth - 1, false);
        strcat(out, one_of(joined, 4));
        add_random(out, depth - 1, false);
        strcat(out, ")");
    } else if (below(2)) {
        sprintf(out + strlen(out), "%.3g",
                below(2) ? below(100) - 20 : (double)(below(4000) - 1000) / 250.0);
    } else {
        sprintf(out + strlen(out), "%s(%s)", one_of(functions, 6), one_of(subjects, 6));
    }
}

static void what_holds_passes(void **state)
{
    (void)state;
    int held = 0, left_out = 0;
    for (int turn = 0; turn < 60000; turn++) {
        char condition[2000] = "";
        struct row r = {.parts = 1 + below(4), .d = 1 + below(12)};
        double scale = pow(10, below(7) - 3);
        for (int i = 0; i < r.parts * r.d; i++)
            r.x[i] = (float)(scale * (below(2001) - 1000) / 500.0);
        if (below(20) == 0)
            r.x[below(r.parts * r.d)] = below(2) ? NAN : INFINITY;
        add_random(condition, 3, true);
        struct expr *e = parse(condition);
        bool sound, truth = holds(e, &r, &sound), through = passes(e, &r);
        if (sound && truth && !through)
            fail_msg("turn %d: %s holds and is left out", turn, condition);
        held += sound && truth;
        left_out += sound && !through;
        expr_close(e);
    }
    /* It was worth the test. */
    assert_true(held > 10000 && left_out > 10000);
}

static int open_all(void **state)
{
    char why[256];
    (void)state;
    ledger = ledger_open();
    cpu = backend_open("cpu", &(struct backend_options){.n_threads = 1}, why);
    return !ledger || !cpu;
}

static int close_all(void **state)
{
    (void)state;
    backend_close(cpu);
    return ledger_close(ledger) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_hold_is_left_out),
        cmocka_unit_test(what_is_not_known_passes),
        cmocka_unit_test(what_holds_passes),
    };
    return cmocka_run_group_tests_name("sieve", tests, open_all, close_all);
}
