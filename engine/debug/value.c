/* value.c - holding values: their memory, shapes and elements. */
#include "engine/debug/value.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void value_init(struct value *v, struct ledger *l)
{
    *v = (struct value){.ledger = l, .count = 1};
}

void value_fini(struct value *v)
{
    if (v->ledger) {
        mem_free(v->ledger, v->data);
        mem_free(v->ledger, v->string);
    }
    value_init(v, v->ledger);
}

void value_set_number(struct value *v, double x)
{
    value_fini(v);
    v->number = x;
}

bool value_set_string(struct value *v, const char *s, size_t n, struct error *err)
{
    value_fini(v);
    v->string = mem_alloc(v->ledger, MEM_VIEWS, n + 1, err);
    if (!v->string)
        return false;
    if (n > 0)
        memcpy(v->string, s, n);
    v->n_string = n;
    return true;
}

bool value_set_shape(struct value *v, int n_dims, const size_t *dims, struct error *err)
{
    size_t count = 1;
    value_fini(v);
    if (n_dims > VALUE_MAX_DIMS)
        return error_set(err, ERR_USAGE, "an array of %d axes; up to %d are known", n_dims,
                         VALUE_MAX_DIMS);
    for (int i = 0; i < n_dims; i++)
        if (__builtin_mul_overflow(count, dims[i], &count))
            return error_set(err, ERR_MEMORY, "an array too large for any memory");
    if (n_dims == 0)
        return true;
    v->data = mem_alloc_array(v->ledger, MEM_VIEWS, count, sizeof *v->data, err);
    if (!v->data)
        return false;
    v->n_dims = n_dims;
    memcpy(v->dims, dims, (size_t)n_dims * sizeof *dims);
    v->count = count;
    return true;
}

bool value_copy(struct value *to, const struct value *from, struct error *err)
{
    if (from->string)
        return value_set_string(to, from->string, from->n_string, err);
    if (!value_set_shape(to, from->n_dims, from->dims, err))
        return false;
    if (from->n_dims == 0)
        to->number = from->number;
    else if (from->count > 0)
        memcpy(to->data, from->data, from->count * sizeof *from->data);
    return true;
}

void value_move(struct value *to, struct value *from)
{
    value_fini(to);
    *to = *from;
    value_init(from, from->ledger);
}

double value_at(const struct value *v, size_t i)
{
    return v->n_dims == 0 ? v->number : (double)v->data[i];
}

void value_put(struct value *v, size_t i, double x)
{
    if (v->n_dims == 0)
        v->number = x;
    else
        v->data[i] = (float)x;
}

size_t value_bytes(const struct value *v)
{
    return v->string ? v->n_string + 1 : v->data ? v->count * sizeof *v->data : 0;
}

char *shape_describe(int n_dims, const size_t *dims, char out[128])
{
    size_t at = (size_t)snprintf(out, 128, "[");
    for (int i = 0; i < n_dims && at < 120; i++)
        at += (size_t)snprintf(out + at, 128 - at, "%s%zu", i ? ", " : "", dims[i]);
    if (at < 127)
        snprintf(out + at, 128 - at, "]");
    return out;
}

char *value_describe(const struct value *v, char out[128])
{
    if (v->string)
        snprintf(out, 128, "a string");
    else if (v->n_dims == 0)
        snprintf(out, 128, "a number");
    else
        shape_describe(v->n_dims, v->dims, out);
    return out;
}

/* ---- picking ---- */

struct pick pick_all(size_t n)
{
    return (struct pick){.step = 1, .count = n};
}

struct pick pick_one(int64_t i)
{
    return (struct pick){.first = i, .count = 1, .drop = true};
}

int pick_shape(const struct pick *picks, int n_dims, size_t *dims)
{
    int n = 0;
    for (int i = 0; i < n_dims; i++)
        if (!picks[i].drop)
            dims[n++] = picks[i].count;
    return n;
}

size_t pick_count(const struct pick *picks, int n_dims)
{
    size_t count = 1;
    for (int i = 0; i < n_dims; i++)
        count *= picks[i].count;
    return count;
}

bool value_pick(const struct value *a, const struct pick *picks, struct value *out,
                struct error *err)
{
    size_t dims[VALUE_MAX_DIMS], at[VALUE_MAX_DIMS] = {0};
    if (!value_set_shape(out, pick_shape(picks, a->n_dims, dims), dims, err))
        return false;
    for (size_t i = 0; i < out->count; i++) {
        int64_t from = 0;
        for (int d = 0; d < a->n_dims; d++)
            from = from * (int64_t)a->dims[d] + picks[d].first + (int64_t)at[d] * picks[d].step;
        value_put(out, i, value_at(a, (size_t)from));
        for (int d = a->n_dims - 1; d >= 0 && ++at[d] == picks[d].count; d--)
            at[d] = 0;
    }
    return true;
}

struct value_summary value_summarise(const struct value *v)
{
    struct value_summary s = {.min = INFINITY, .max = -INFINITY};
    double sum = 0, squares = 0;
    size_t n = 0;
    for (size_t i = 0; i < v->count; i++) {
        double x = value_at(v, i);
        if (isnan(x)) {
            s.n_nan++;
            continue;
        }
        s.n_inf += isinf(x) != 0;
        n++;
        sum += x;
        squares += x * x;
        s.min = x < s.min ? x : s.min;
        s.max = x > s.max ? x : s.max;
    }
    s.mean = n > 0 ? sum / (double)n : NAN;
    s.norm = sqrt(squares);
    if (n == 0)
        s.min = s.max = NAN;
    return s;
}
