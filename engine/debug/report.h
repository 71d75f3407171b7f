/* report.h - what commands say: lines for a reader, or JSON objects for a program.
 *
 * A report gathers text and hands it to a sink: standard output, the screen's console, a test.
 * With json set every line is one object. Whoever writes a command asks `json` and says the same
 * thing either way.
 */
#ifndef MIDPASS_REPORT_H
#define MIDPASS_REPORT_H

#include "engine/debug/value.h"

struct report {
    struct ledger *ledger;
    bool json;
    /* Takes n bytes. False with *err ends the command: the disk is full, the pipe is closed. */
    bool (*write)(void *context, const char *s, size_t n, struct error *err);
    void *context;
    struct text text; /* not sent yet */
    long sent;        /* times that something was handed over */
    bool first;       /* no field of the object or array was written yet */
};

void report_init(struct report *r, struct ledger *l, bool json,
                 bool (*write)(void *context, const char *s, size_t n, struct error *err),
                 void *context);
void report_fini(struct report *r);

/* A line's parts are added to r->text; this hands over what is there. */
bool report_send(struct report *r, struct error *err);
/* Hands it over only once it is long, so that a large answer takes little memory. */
bool report_trickle(struct report *r, struct error *err);

/* {"cmd":"top" ... } in between: fields. end adds the closing brace and sends the line. */
void report_begin(struct report *r, const char *key, const char *word);
bool report_end(struct report *r, struct error *err);
void report_key(struct report *r, const char *key);
void report_int(struct report *r, const char *key, long long x);
void report_number(struct report *r, const char *key, double x); /* "nan", "inf" as strings */
void report_string(struct report *r, const char *key, const char *s, size_t n);
void report_bool(struct report *r, const char *key, bool x);
void report_null(struct report *r, const char *key);
/* Inside an object: arrays of objects. key NULL within an array. */
void report_open(struct report *r, const char *key, char bracket);
void report_close(struct report *r, char bracket);
void report_shape(struct report *r, const char *key, int n_dims, const size_t *dims);
/* "shape" and "data" of a value, all of it; or "string". */
bool report_value(struct report *r, const struct value *v, struct error *err);

/* An error as an object, with its number and, if it has one, its column. */
bool report_error(struct report *r, const struct error *e, struct error *err);

/* ---- for readers (report_value.c) ---- */

#define REPORT_SUMMARY 1000 /* elements above which a value is summarised */

/* "3.14159": the shortest form that keeps six digits. */
void add_number(struct text *t, double x);
/* The sign of a NaN says nothing, and "-nan" asks what it says. */
double unsigned_nan(double x);
/* A number as one line, an array as numpy prints it, a string in quotes, each behind `before`
 * ("$1 = "). Large ones are summarised unless all is set. */
bool report_print(struct report *r, const char *before, const struct value *v, bool all,
                  struct error *err);

#endif
