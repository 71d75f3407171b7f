/* text.h - growing strings, and text that is safe to show. */
#ifndef MIDPASS_TEXT_H
#define MIDPASS_TEXT_H

#include "engine/base/ledger.h"

/* A string that grows. data is always NUL-terminated once anything was added (else NULL).
 * A failed request sets `failed` and later additions do nothing, so one check at the end
 * is enough. */
struct text {
    struct ledger *ledger;
    enum mem_category category;
    char *data;
    size_t n, room;
    bool failed;
};

void text_init(struct text *t, struct ledger *l, enum mem_category c);
void text_fini(struct text *t);
void text_clear(struct text *t); /* keeps the room */
void text_add(struct text *t, const char *s);
void text_add_bytes(struct text *t, const char *s, size_t n);
void text_printf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* False and *err if any addition failed. */
bool text_ok(const struct text *t, struct error *err);

/* s as it may be shown on a terminal: control bytes, DEL, C1 controls, bidirectional and
 * zero-width controls and invalid UTF-8 become escapes (\n, \t, \x1b, \u202e); with quote,
 * also " and \ are escaped and the whole is put in quotes. */
void text_add_shown(struct text *t, const char *s, size_t n, bool quote);
/* s as a JSON string, quotes included; invalid UTF-8 becomes U+FFFD. */
void text_add_json(struct text *t, const char *s, size_t n);

/* The whole file, NUL-terminated, at most limit bytes. NULL and *err otherwise. */
char *file_read(struct ledger *l, enum mem_category c, const char *path, size_t limit, size_t *n,
                struct error *err);

/* A file written whole or not at all: written beside and renamed by file_commit. */
struct file_writer {
    struct ledger *ledger;
    void *stream; /* FILE */
    char *path, *temporary;
};
bool file_create(struct file_writer *w, struct ledger *l, const char *path, struct error *err);
bool file_write(struct file_writer *w, const void *data, size_t n, struct error *err);
bool file_commit(struct file_writer *w, struct error *err); /* flushes, syncs, renames, closes */
void file_abandon(struct file_writer *w);                   /* removes what was written */

#endif
