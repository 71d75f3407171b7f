#include "tests/support/golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define JSON_LIMIT (1 << 20)

static bool read_ids(struct golden *g, struct error *err)
{
    const struct json *ids = json_get(json_root(g->json), "ids");
    size_t n = json_is_array(ids) ? json_count(ids) : 0;
    if (n == 0)
        return error_set(err, ERR_FORMAT, "reference.json has no ids");
    g->ids = mem_alloc_array(g->ledger, MEM_OTHER, n, sizeof *g->ids, err);
    if (!g->ids)
        return false;
    for (const struct json *j = json_first(ids); j; j = json_next(j)) {
        int64_t id;
        if (!json_whole(j, 0, INT32_MAX, &id))
            return error_set(err, ERR_FORMAT, "id %d of reference.json is off", g->n_ids);
        g->ids[g->n_ids++] = (int32_t)id;
    }
    return true;
}

static bool check_sites(const struct golden *g, struct error *err)
{
    for (const struct json *j = json_first(g->sites); j; j = json_next(j)) {
        const struct tensor *t = checkpoint_find(g->values, json_key(j));
        if (!t || strcmp(t->type, "F64") != 0)
            return error_set(err, ERR_FORMAT, "%s has no float64 values", json_key(j));
        if (!json_is_number(json_get(j, "f32_error")) || !json_is_number(json_get(j, "max")))
            return error_set(err, ERR_FORMAT, "%s lacks its f32_error or max", json_key(j));
    }
    if (json_count(g->sites) != (size_t)checkpoint_count(g->values))
        return error_set(err, ERR_FORMAT, "%zu sites in reference.json, %d in the tensors",
                         json_count(g->sites), checkpoint_count(g->values));
    return true;
}

bool golden_open(struct golden *g, struct ledger *l, const char *folder, struct error *err)
{
    char path[500];
    *g = (struct golden){.ledger = l};
    snprintf(path, sizeof path, "%s/reference.json", folder);
    g->json = json_read(l, MEM_OTHER, path, JSON_LIMIT, err);
    if (!g->json)
        return false;
    snprintf(path, sizeof path, "%s/reference.safetensors", folder);
    g->values = checkpoint_open_file(l, path, true, err);
    g->sites = json_get(json_root(g->json), "sites");
    if (!g->values || !read_ids(g, err) || !check_sites(g, err)) {
        error_prefix(err, "%s", folder);
        golden_close(g);
        return false;
    }
    return true;
}

bool golden_open_bf16(struct golden *g, const char *folder, struct error *err)
{
    char path[500];
    snprintf(path, sizeof path, "%s/bfloat16.json", folder);
    g->bf16 = json_read(g->ledger, MEM_OTHER, path, JSON_LIMIT, err);
    if (!g->bf16)
        return false;
    const struct json *errors = json_get(json_root(g->bf16), "sites");
    for (const struct json *j = json_first(g->sites); j; j = json_next(j))
        if (!json_is_number(json_get(errors, json_key(j))))
            return error_set(err, ERR_FORMAT, "%s has no error of %s", path, json_key(j));
    return true;
}

void golden_close(struct golden *g)
{
    json_close(g->bf16);
    mem_free(g->ledger, g->ids);
    checkpoint_close(g->values);
    json_close(g->json);
    *g = (struct golden){0};
}

int golden_count(const struct golden *g)
{
    return checkpoint_count(g->values);
}

const char *golden_name(const struct golden *g, int i)
{
    return checkpoint_tensor(g->values, i)->name;
}

const struct tensor *golden_find(const struct golden *g, const char *site)
{
    return checkpoint_find(g->values, site);
}

/* Twice what transformers' own run in float32 (or bfloat16) is off, as the design asks, and two
 * roundings of the site's largest value. Those are for where transformers rounds not at all (an
 * embedding row; the sum of two f16 numbers) or came out luckily: a site like a norm's scale is a
 * dozen numbers, each off by at most a few roundings, and the largest of a dozen can be half of
 * what the next dozen gives. One operation is off by up to 2^-24 of its result at best, and a
 * site's value is one operation on values that carry one each. (Half of all sites are off by more
 * than four.) */
double golden_bound(const struct golden *g, const char *site)
{
    const struct json *j = json_get(g->sites, site);
    double error = json_number(json_get(j, "f32_error"));
    double max = json_number(json_get(j, "max"));
    if (g->bf16)
        error = json_number(json_get(json_get(json_root(g->bf16), "sites"), site));
    return 2 * error + 2 * 0x1p-24 * max;
}

static bool is_f64(const struct tensor *t)
{
    return strcmp(t->type, "F64") == 0;
}

size_t tensor_numbers(const struct tensor *t)
{
    return t->bytes / (is_f64(t) ? sizeof(double) : sizeof(float));
}

double tensor_number(const struct tensor *t, size_t i)
{
    double d;
    float f;
    if (is_f64(t)) {
        memcpy(&d, (const char *)t->data + i * sizeof d, sizeof d);
        return d;
    }
    memcpy(&f, (const char *)t->data + i * sizeof f, sizeof f);
    return f;
}

double golden_difference(const struct tensor *ref, size_t first, const float *x, size_t n,
                         size_t *at)
{
    double worst = 0;
    size_t where = 0;
    for (size_t i = 0; i < n; i++) {
        double want = tensor_number(ref, first + i), got = x[i];
        double off = got == want ? 0 : fabs(got - want);
        if (!(off <= worst)) { /* a NaN too */
            worst = isnan(off) ? INFINITY : off;
            where = i;
        }
    }
    if (at)
        *at = where;
    return worst;
}
