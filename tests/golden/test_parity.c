/* test_parity.c - every site of every family against float64.
 *
 *     test_parity [DEVICE [ISA]]      default: cpu, the best the CPU has
 *     test_parity cuda bf16           against transformers' bfloat16 run, the tiny checkpoints
 * alone
 *
 * For each folder of tests/golden/models (or $MIDPASS_GOLDEN/models): open the checkpoint, run the
 * reference's ids, read every site at every position. The engine's sites have to be exactly the
 * reference's, and each at most twice as far from float64 as transformers' own float32 run is.
 * Two trained models from outside the repository (../shared or $MIDPASS_SHARED) are compared where
 * they are found. Run it in the repository's root.
 */
#include "engine/forward/trace.h"
#include "tests/support/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MAX_MODELS     64
#define MAX_COMPLAINTS 12 /* told one by one; the rest is counted */

static const char *device = "cpu", *isa;
static bool bf16; /* the device computes in it */
static const char *golden_folder = "tests/golden", *shared_folder = "../shared";

/* Everything that one comparison holds; fails the test where something cannot be opened. */
struct fixture {
    struct ledger *ledger;
    struct backend *backend;
    struct model model;
    struct trace trace;
    struct error err;
};

static void fixture_open(struct fixture *f, const char *folder)
{
    char why[256] = "";
    memset(f, 0, sizeof *f);
    f->ledger = ledger_open();
    assert_non_null(f->ledger);
    struct backend_options options = {.isa = isa, .dtype = bf16 ? DTYPE_BF16 : DTYPE_F32};
    f->backend = backend_open(device, &options, why);
    if (!f->backend)
        fail_msg("%s: %s", device, why);
    if (!model_open(&f->model, f->ledger, f->backend, folder, true, &f->err))
        fail_msg("%s", f->err.text);
    if (!trace_open(&f->trace, &f->model, &(struct trace_options){0}, &f->err))
        fail_msg("%s", f->err.text);
}

static void fixture_close(struct fixture *f)
{
    trace_close(&f->trace);
    model_close(&f->model);
    backend_close(f->backend);
    assert_int_equal(ledger_close(f->ledger), 0);
}

/* Sets the sequence to these ids, computed. */
static void run(struct fixture *f, const int32_t *ids, int n)
{
    bool recompute;
    trace_truncate(&f->trace, 0, &recompute);
    if (!trace_append(&f->trace, ids, n, &recompute, &f->err) ||
        !trace_compute(&f->trace, n, &f->err))
        fail_msg("%s", f->err.text);
}

/* A site's value at all positions, to be given back with mem_free. */
static float *read_op(struct fixture *f, int op, size_t *count)
{
    const struct op *o = &f->model.program.ops[op];
    int n = f->trace.n_ids, heads = site_axes(o->site) == AXES_HTS ? o->width : 0;
    *count = trace_read_count(&f->trace, op, n, heads, n);
    float *x = mem_alloc_array(f->ledger, MEM_VIEWS, *count, sizeof *x, &f->err);
    if (!x || !trace_read(&f->trace, op, 0, n, 0, heads, n, x, &f->err))
        fail_msg("%s", f->err.text);
    return x;
}

/* The op behind a full site name, or -1. */
static int find_op(const struct program *p, const char *name)
{
    char full[64];
    for (int op = 0; op < p->n_ops; op++)
        if (p->ops[op].site != SITE_NONE &&
            strcmp(site_name(p->ops[op].site, p->ops[op].layer, full), name) == 0)
            return op;
    return -1;
}

struct verdict {
    int bad;      /* sites missing or off */
    double ratio; /* of the worst site: its difference over its bound */
    double difference;
    char worst[64];
};

static void complain(struct verdict *v, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void complain(struct verdict *v, const char *format, ...)
{
    va_list args;
    if (v->bad++ < MAX_COMPLAINTS) {
        va_start(args, format);
        fputs("    ", stdout);
        vprintf(format, args);
        putchar('\n');
        va_end(args);
    }
}

static void compare(struct fixture *f, const struct golden *g, const char *name, struct verdict *v)
{
    int op = find_op(&f->model.program, name);
    if (op < 0) {
        complain(v, "%s: the engine has no such site", name);
        return;
    }
    const struct tensor *want = golden_find(g, name);
    size_t count, at;
    float *x = read_op(f, op, &count);
    if (count != tensor_numbers(want)) {
        complain(v, "%s: %zu numbers, the reference has %zu", name, count, tensor_numbers(want));
    } else {
        double bound = golden_bound(g, name);
        double difference = golden_difference(want, 0, x, count, &at);
        double ratio = difference > 0 ? difference / bound : 0;
        if (!(ratio <= 1))
            complain(v, "%s: %.9g at %zu, the reference says %.9g; off by %.2e, allowed %.2e", name,
                     x[at], at, tensor_number(want, at), difference, bound);
        if (!(ratio <= v->ratio)) {
            v->ratio = ratio;
            v->difference = difference;
            snprintf(v->worst, sizeof v->worst, "%s", name);
        }
    }
    mem_free(f->ledger, x);
}

/* One line of the table, and the test's result. */
static void conclude(const char *name, const struct fixture *f, const struct golden *g,
                     const struct verdict *v)
{
    printf("  %-17s %-8s %-9s %3d sites  worst %5.2f of what is allowed (%.1e) at %s\n", name,
           f->model.config.model_type, f->model.dtypes, golden_count(g), v->ratio, v->difference,
           v->worst);
    if (v->bad)
        fail_msg("%s: %d sites are missing or off", name, v->bad);
}

/* All sites, both ways. */
static void test_model(void **state)
{
    const char *name = *state;
    char folder[400], full[64];
    struct fixture f;
    struct golden g;
    struct verdict v = {0};

    snprintf(folder, sizeof folder, "%s/models/%s", golden_folder, name);
    fixture_open(&f, folder);
    if (!golden_open(&g, f.ledger, folder, &f.err) ||
        (bf16 && !golden_open_bf16(&g, folder, &f.err)))
        fail_msg("%s", f.err.text);
    run(&f, g.ids, g.n_ids);
    for (int i = 0; i < golden_count(&g); i++)
        compare(&f, &g, golden_name(&g, i), &v);
    for (int op = 0; op < f.model.program.n_ops; op++) {
        const struct op *o = &f.model.program.ops[op];
        if (o->site != SITE_NONE && !golden_find(&g, site_name(o->site, o->layer, full)))
            complain(&v, "%s: the reference has no such site", full);
    }
    conclude(name, &f, &g, &v);
    golden_close(&g);
    fixture_close(&f);
}

static bool shared_model(const char *name, char folder[400])
{
    char file[500];
    snprintf(folder, 400, "%s/models/%s", shared_folder, name);
    snprintf(file, sizeof file, "%s/model.safetensors", folder);
    if (access(file, R_OK) == 0)
        return true;
    printf("  %-17s SKIPPED: %s is not there\n", name, folder);
    return false;
}

/* A trained Llama; the reference has its logits only. */
static void test_tinystories(void **state)
{
    (void)state;
    char folder[400], reference[400];
    struct fixture f;
    struct golden g;
    struct verdict v = {0};

    if (!shared_model("tinystories-656k", folder))
        skip();
    snprintf(reference, sizeof reference, "%s/tinystories", golden_folder);
    fixture_open(&f, folder);
    if (!golden_open(&g, f.ledger, reference, &f.err))
        fail_msg("%s", f.err.text);
    run(&f, g.ids, g.n_ids);
    for (int i = 0; i < golden_count(&g); i++)
        compare(&f, &g, golden_name(&g, i), &v);
    conclude("tinystories-656k", &f, &g, &v);
    golden_close(&g);
    fixture_close(&f);
}

/* --- gpt-nano-sort: a trained GPT-2 with another implementation's activations ---------------- */

#define NANO_AGREES 1e-5 /* between two float32 implementations of 3 layers, values up to 8 */

/* Writes the checkpoint to `folder` with the biases that the shared file lacks. */
static void complete_nano_sort(struct ledger *l, const char *from, const char *folder)
{
    struct error err = {0};
    struct tensor_spec specs[64];
    const struct tensor *tensors[64];
    struct checkpoint *sources[2];
    char path[500];
    int n = 0;

    snprintf(path, sizeof path, "%s/model.safetensors", from);
    sources[0] = checkpoint_open_file(l, path, true, &err);
    snprintf(path, sizeof path, "%s/nano-sort/biases.safetensors", golden_folder);
    sources[1] = checkpoint_open_file(l, path, true, &err);
    if (!sources[0] || !sources[1])
        fail_msg("%s", err.text);
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < checkpoint_count(sources[s]); i++) {
            const struct tensor *t = checkpoint_tensor(sources[s], i);
            if (s == 1 && checkpoint_find(sources[0], t->name))
                continue; /* a whole checkpoint: its own */
            assert_true(n < 64 && t->dtype == DTYPE_F32);
            specs[n] = (struct tensor_spec){.name = t->name, .n_dims = t->n_dims};
            memcpy(specs[n].dims, t->dims, sizeof t->dims);
            tensors[n++] = t;
        }
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    struct tensor_writer *w = tensor_writer_open(l, path, specs, n, &err);
    for (int i = 0; w && i < n; i++) {
        size_t count = tensor_numbers(tensors[i]);
        float *x = mem_alloc_array(l, MEM_OTHER, count, sizeof *x, &err);
        assert_non_null(x);
        memcpy(x, tensors[i]->data, count * sizeof *x);
        bool ok = tensor_writer_add(w, x, count, &err);
        mem_free(l, x);
        if (!ok)
            fail_msg("%s", err.text);
    }
    if (!w || !tensor_writer_commit(w, &err))
        fail_msg("%s", err.text);
    checkpoint_close(sources[0]);
    checkpoint_close(sources[1]);
}

static void copy_config(struct ledger *l, const char *from, const char *folder)
{
    struct error err = {0};
    struct file_writer w;
    char path[500];
    size_t n;

    snprintf(path, sizeof path, "%s/config.json", from);
    char *text = file_read(l, MEM_OTHER, path, 1 << 20, &n, &err);
    snprintf(path, sizeof path, "%s/config.json", folder);
    if (!text || !file_create(&w, l, path, &err) || !file_write(&w, text, n, &err) ||
        !file_commit(&w, &err))
        fail_msg("%s", err.text);
    mem_free(l, text);
}

/* One input's activations, its names being site names; others (after a gain) are no sites. */
static int compare_input(struct fixture *f, const struct checkpoint *activations, int input,
                         double *worst, char where[64])
{
    int compared = 0;
    for (int i = 0; i < checkpoint_count(activations); i++) {
        const struct tensor *t = checkpoint_tensor(activations, i);
        int op = find_op(&f->model.program, t->name);
        if (op < 0) {
            bool known = strchr(t->name, '*') || strcmp(t->name, "probs") == 0;
            if (!known)
                fail_msg("%s: the engine has no such site", t->name);
            continue;
        }
        size_t count, at, batch = (size_t)t->dims[0];
        float *x = read_op(f, op, &count);
        assert_int_equal(count * batch, tensor_numbers(t));
        size_t first = batch > 1 ? (size_t)input * count : 0;
        double off = golden_difference(t, first, x, count, &at);
        mem_free(f->ledger, x);
        if (!(off <= *worst)) {
            *worst = off;
            snprintf(where, 64, "%s", t->name);
        }
        compared++;
    }
    return compared;
}

static void test_nano_sort(void **state)
{
    (void)state;
    char from[400], path[500], folder[] = "/tmp/midpass-parity-XXXXXX";
    struct fixture f;
    struct error err = {0};
    double worst = 0;
    char where[64] = "";
    int compared = 0, n_inputs = 0;

    if (!shared_model("gpt-nano-sort", from))
        skip();
    assert_non_null(mkdtemp(folder));
    struct ledger *l = ledger_open();
    complete_nano_sort(l, from, folder);
    copy_config(l, from, folder);
    fixture_open(&f, folder);
    snprintf(path, sizeof path, "%s/activations.safetensors", from);
    struct checkpoint *activations = checkpoint_open_file(l, path, true, &err);
    snprintf(path, sizeof path, "%s/inputs.json", from);
    struct json_doc *inputs = json_read(l, MEM_OTHER, path, 1 << 20, &err);
    if (!activations || !inputs)
        fail_msg("%s", err.text);

    for (const struct json *j = json_first(json_root(inputs)); j; j = json_next(j)) {
        int32_t ids[64];
        int n = 0;
        for (const struct json *id = json_first(j); id && n < 64; id = json_next(id))
            ids[n++] = (int32_t)json_number(id);
        run(&f, ids, n);
        compared += compare_input(&f, activations, n_inputs++, &worst, where);
    }
    printf("  %-17s %-8s %-9s %3d values of %d inputs  off by %.1e at %s, allowed %.0e\n",
           "gpt-nano-sort", "gpt2", f.model.dtypes, compared, n_inputs, worst, where, NANO_AGREES);
    json_close(inputs);
    checkpoint_close(activations);
    fixture_close(&f);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/config.json", folder);
    unlink(path);
    rmdir(folder);
    assert_int_equal(ledger_close(l), 0);
    assert_int_equal(n_inputs, 3);
    if (!(worst <= NANO_AGREES))
        fail_msg("%s is off by %g", where, worst);
}

/* --- one test a folder ------------------------------------------------------------------------ */

static int is_model(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    static struct CMUnitTest tests[MAX_MODELS + 2];
    struct dirent **folders;
    char path[400];

    if (argc > 1)
        device = argv[1];
    bf16 = argc > 2 && strcmp(argv[2], "bf16") == 0;
    if (argc > 2 && !bf16)
        isa = argv[2];
    if (bf16 && strncmp(device, "cuda", 4) != 0) {
        fprintf(stderr, "%s does not compute in bf16\n", device);
        return 1;
    }
    if (getenv("MIDPASS_GOLDEN"))
        golden_folder = getenv("MIDPASS_GOLDEN");
    if (getenv("MIDPASS_SHARED"))
        shared_folder = getenv("MIDPASS_SHARED");
    snprintf(path, sizeof path, "%s/models", golden_folder);
    int n = scandir(path, &folders, is_model, alphasort);
    if (n < 1 || n > MAX_MODELS) {
        fprintf(stderr, "%s: no checkpoints there, or too many\n", path);
        return 1;
    }
    for (int i = 0; i < n; i++)
        tests[i] = (struct CMUnitTest){.name = folders[i]->d_name,
                                       .test_func = test_model,
                                       .initial_state = folders[i]->d_name};
    tests[n] = (struct CMUnitTest){.name = "tinystories", .test_func = test_tinystories};
    tests[n + 1] = (struct CMUnitTest){.name = "nano-sort", .test_func = test_nano_sort};
    size_t outside = bf16 ? 0 : 2; /* of these two there is no bfloat16 run */
    int failed = _cmocka_run_group_tests("parity", tests, (size_t)n + outside, NULL, NULL);
    for (int i = 0; i < n; i++)
        free(folders[i]);
    free(folders);
    return failed;
}
