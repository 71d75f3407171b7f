#include "engine/debug/report.h"

#include <math.h>
#include <string.h>

#define TRICKLE ((size_t)64 * 1024)

void report_init(struct report *r, struct ledger *l, bool json,
                 bool (*write)(void *context, const char *s, size_t n, struct error *err),
                 void *context)
{
    *r = (struct report){.ledger = l, .json = json, .write = write, .context = context};
    text_init(&r->text, l, MEM_OTHER);
}

void report_fini(struct report *r)
{
    text_fini(&r->text);
}

bool report_send(struct report *r, struct error *err)
{
    r->sent += r->text.n > 0;
    bool ok = text_ok(&r->text, err) &&
              (r->text.n == 0 || r->write(r->context, r->text.data, r->text.n, err));
    text_clear(&r->text);
    r->text.failed = false;
    return ok;
}

bool report_trickle(struct report *r, struct error *err)
{
    return (r->text.n < TRICKLE && !r->text.failed) || report_send(r, err);
}

/* ---- objects ---- */

void report_key(struct report *r, const char *key)
{
    text_add(&r->text, r->first ? "" : ",");
    r->first = false;
    if (key) {
        text_add_json(&r->text, key, strlen(key));
        text_add(&r->text, ":");
    }
}

void report_open(struct report *r, const char *key, char bracket)
{
    report_key(r, key);
    text_add_bytes(&r->text, &bracket, 1);
    r->first = true;
}

void report_close(struct report *r, char bracket)
{
    text_add_bytes(&r->text, &bracket, 1);
    r->first = false;
}

void report_begin(struct report *r, const char *key, const char *word)
{
    r->first = true;
    report_open(r, NULL, '{');
    report_string(r, key, word, strlen(word));
}

bool report_end(struct report *r, struct error *err)
{
    report_close(r, '}');
    text_add(&r->text, "\n");
    return report_send(r, err);
}

void report_int(struct report *r, const char *key, long long x)
{
    report_key(r, key);
    text_printf(&r->text, "%lld", x);
}

/* JSON has no word for what is not finite. */
static void json_number_add(struct text *t, double x)
{
    if (isnan(x))
        text_add(t, "\"nan\"");
    else if (isinf(x))
        text_add(t, x > 0 ? "\"inf\"" : "\"-inf\"");
    else
        text_printf(t, "%.9g", x);
}

void report_number(struct report *r, const char *key, double x)
{
    report_key(r, key);
    json_number_add(&r->text, x);
}

void report_string(struct report *r, const char *key, const char *s, size_t n)
{
    report_key(r, key);
    text_add_json(&r->text, s, n);
}

void report_bool(struct report *r, const char *key, bool x)
{
    report_key(r, key);
    text_add(&r->text, x ? "true" : "false");
}

void report_null(struct report *r, const char *key)
{
    report_key(r, key);
    text_add(&r->text, "null");
}

void report_shape(struct report *r, const char *key, int n_dims, const size_t *dims)
{
    report_open(r, key, '[');
    for (int i = 0; i < n_dims; i++)
        report_int(r, NULL, (long long)dims[i]);
    report_close(r, ']');
}

bool report_value(struct report *r, const struct value *v, struct error *err)
{
    if (v->string) {
        report_string(r, "string", v->string, v->n_string);
        return true;
    }
    report_shape(r, "shape", v->n_dims, v->dims);
    report_open(r, "data", '[');
    for (size_t i = 0; i < v->count; i++) {
        report_number(r, NULL, value_at(v, i));
        if (!report_trickle(r, err))
            return false;
    }
    report_close(r, ']');
    return true;
}

bool report_error(struct report *r, const struct error *e, struct error *err)
{
    /* What a failed command had begun to say is not an object; its line ends here. */
    text_clear(&r->text);
    r->text.failed = false;
    report_begin(r, "error", error_code_name(e->code));
    report_string(r, "message", e->text, strlen(e->text));
    report_int(r, "code", e->code);
    if (e->column > 0)
        report_int(r, "column", e->column);
    return report_end(r, err);
}
