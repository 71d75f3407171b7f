/* test_load.c - tensors on their way to a device: every byte arrives, whatever the shards, sizes
 * and types; and what can go wrong on the way is told. */
#include "engine/base/error.h"
#include "engine/model/load.h"
#include "tests/support/far.h"
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

#define MOST 64

struct fixture {
    struct ledger *ledger;
    struct backend *far;
    struct checkpoint *checkpoint;
    struct load_job jobs[MOST];
    int n;
    struct error err;
};

/* A shard of `n` tensors whose bytes are all different from their neighbours'. */
static void put_shard(const char *path, const char *const *specs, int n, size_t data)
{
    char header[4000] = "{";
    for (int i = 0; i < n; i++) {
        strcat(header, i ? "," : "");
        strcat(header, specs[i]);
    }
    strcat(header, "}");
    size_t length = strlen(header);
    char *file = malloc(8 + length + data);
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        file[i] = (char)((uint64_t)length >> (8 * i));
    memcpy(file + 8, header, length);
    for (size_t i = 0; i < data; i++)
        file[8 + length + i] = (char)(i * 2654435761u >> 13);
    folder_put(path, file, 8 + length + data);
    free(file);
}

/* Three shards: odd sizes, a tensor of nothing, each type; 'large' is of so many floats. */
static void put_checkpoint(size_t large)
{
    char spec[200];
    static const char index[] =
        "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"one.safetensors\","
        "\"c\":\"two.safetensors\",\"none\":\"two.safetensors\","
        "\"large\":\"three.safetensors\",\"d\":\"three.safetensors\"}}";
    folder_put(folder_file("model.safetensors.index.json"), index, sizeof index - 1);
    const char *one[] = {
        "\"a\":{\"dtype\":\"BF16\",\"shape\":[3,5],\"data_offsets\":[0,30]}",
        "\"b\":{\"dtype\":\"F32\",\"shape\":[7],\"data_offsets\":[30,58]}",
    };
    put_shard(folder_file("one.safetensors"), one, 2, 58);
    const char *two[] = {
        "\"c\":{\"dtype\":\"F16\",\"shape\":[100,333],\"data_offsets\":[0,66600]}",
        "\"none\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[66600,66600]}",
    };
    put_shard(folder_file("two.safetensors"), two, 2, 66600);
    snprintf(spec, sizeof spec,
             "\"large\":{\"dtype\":\"F32\",\"shape\":[%zu],\"data_offsets\":[6,%zu]}", large,
             6 + 4 * large);
    const char *three[] = {"\"d\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[0,6]}", spec};
    put_shard(folder_file("three.safetensors"), three, 2, 6 + 4 * large);
}

static void fixture_open(struct fixture *f, struct ledger *l, bool rounded)
{
    memset(f, 0, sizeof *f);
    f->ledger = l;
    f->far = far_open(1);
    assert_non_null(f->far);
    f->checkpoint = checkpoint_open_folder(l, folder_path(), true, &f->err);
    if (!f->checkpoint)
        fail_msg("%s", f->err.text);
    for (int i = 0; i < checkpoint_count(f->checkpoint); i++) {
        const struct tensor *t = checkpoint_tensor(f->checkpoint, i);
        enum dtype to = rounded ? DTYPE_BF16 : t->dtype;
        size_t bytes = t->bytes / dtype_size(t->dtype) * dtype_size(to);
        f->jobs[f->n++] = (struct load_job){t, f->far->alloc(f->far, bytes), to};
    }
}

static void fixture_close(struct fixture *f)
{
    for (int i = 0; i < f->n; i++)
        f->far->free(f->far, f->jobs[i].to);
    backend_close(f->far);
    checkpoint_close(f->checkpoint);
}

static void expect_arrived(struct fixture *f)
{
    for (int i = 0; i < f->n; i++) {
        const struct load_job *j = &f->jobs[i];
        size_t from = dtype_size(j->tensor->dtype), to = dtype_size(j->dtype);
        size_t n = j->tensor->bytes / from;
        char *got = malloc(n * to + 1);
        assert_non_null(got);
        f->far->read(f->far, got, j->to, n * to);
        for (size_t k = 0; k < n; k++) {
            const char *want = (const char *)j->tensor->data + k * from;
            uint16_t bits = 0;
            if (j->dtype != j->tensor->dtype) {
                bits = dtype_to_bf16(dtype_load(j->tensor->dtype, want));
                want = (const char *)&bits;
            }
            if (memcmp(got + k * to, want, to) != 0)
                fail_msg("%s: element %zu of %zu is another", j->tensor->name, k, n);
        }
        free(got);
    }
}

/* How the loader was seen to come on. */
struct seen {
    struct load_watch watch;
    size_t last;
    int told, stop_after;
    volatile int stop;
};

static void tell(struct load_watch *w)
{
    struct seen *s = (struct seen *)w;
    size_t done = atomic_load(&w->done);
    assert_true(done > s->last && done <= atomic_load(&w->total));
    s->last = done;
    if (++s->told == s->stop_after)
        s->stop = 1;
}

static void check(struct ledger *l, size_t large, bool rounded, size_t budget)
{
    struct fixture f;
    struct seen seen = {.watch.tell = tell};
    put_checkpoint(large);
    fixture_open(&f, l, rounded);
    if (budget)
        ledger_set_budget(l, ledger_total(l) + budget);
    bool ok = load_tensors(l, f.far, f.jobs, f.n, &seen.watch, &f.err);
    if (!ok)
        fail_msg("%s", f.err.text);
    ledger_set_budget(l, 0);
    assert_int_equal(seen.last, checkpoint_bytes(f.checkpoint));
    assert_int_equal(atomic_load(&seen.watch.total), seen.last);
    if (budget) /* so little memory holds a part of it at a time */
        assert_true(seen.told > 4 * (int)large / (int)budget);
    expect_arrived(&f);
    fixture_close(&f);
}

static void everything_arrives(void **state)
{
    check(*state, 5, false, 0);
    check(*state, 5, true, 0);
    check(*state, 1 << 20, false, 0);
    check(*state, 1 << 20, true, 0);
}

static void little_memory_is_enough(void **state)
{
    check(*state, 1000003, false, 300 << 10);
    check(*state, 1000003, true, 300 << 10);
}

/* Loads what put_checkpoint has put, and expects this of it. */
static void expect_failure(struct ledger *l, struct load_watch *w, enum error_code code,
                           const char *said)
{
    struct fixture f;
    put_checkpoint(1 << 18);
    fixture_open(&f, l, false);
    if (!w)
        assert_int_equal(truncate(folder_file("three.safetensors"), 1 << 17), 0);
    assert_false(load_tensors(l, f.far, f.jobs, f.n, w, &f.err));
    assert_int_equal(f.err.code, code);
    if (!strstr(f.err.text, said))
        fail_msg("\"%s\" does not say \"%s\"", f.err.text, said);
    fixture_close(&f);
}

static void a_file_that_shrinks_is_told(void **state)
{
    expect_failure(*state, NULL, ERR_FILE, "three.safetensors: became shorter");
}

static void it_can_be_stopped(void **state)
{
    struct seen seen = {.watch.tell = tell, .stop_after = 1};
    seen.watch.interrupt = &seen.stop;
    expect_failure(*state, &seen.watch, ERR_INTERRUPTED, "stopped");
    assert_int_equal(seen.told, 1);
}

static void a_file_that_is_gone_is_told(void **state)
{
    struct fixture f;
    put_checkpoint(100);
    fixture_open(&f, *state, false);
    assert_int_equal(unlink(folder_file("two.safetensors")), 0);
    assert_false(load_tensors(*state, f.far, f.jobs, f.n, NULL, &f.err));
    assert_int_equal(f.err.code, ERR_FILE);
    assert_non_null(strstr(f.err.text, "two.safetensors"));
    fixture_close(&f);
}

/* Each request in its turn fails, once. */
static void no_memory_is_told(void **state)
{
    struct fixture f;
    bool ok = false;
    put_checkpoint(1000);
    fixture_open(&f, *state, true);
    for (long n = 1; !ok && n < 50; n++) {
        size_t before = ledger_total(*state);
        f.err = (struct error){0};
        ledger_fail_after(*state, n);
        ok = load_tensors(*state, f.far, f.jobs, f.n, NULL, &f.err);
        ledger_fail_after(*state, 0);
        assert_int_equal(ledger_total(*state), before);
        assert_true(ok || (f.err.code == ERR_MEMORY && f.err.text[0]));
        assert_true(n > 1 || !ok);
    }
    assert_true(ok);
    expect_arrived(&f);
    fixture_close(&f);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, folder_set_up, folder_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(everything_arrives),          TEST(little_memory_is_enough),
        TEST(a_file_that_shrinks_is_told), TEST(it_can_be_stopped),
        TEST(a_file_that_is_gone_is_told), TEST(no_memory_is_told),
    };
    return cmocka_run_group_tests_name("load", tests, NULL, NULL);
}
