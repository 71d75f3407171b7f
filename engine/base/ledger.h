/* ledger.h - every byte the engine holds, by what it is for and where it lies.
 *
 * All memory of the engine comes through one ledger, small strings too, so that
 * what is shown is all there is, a budget can be kept, and a test can make the
 * n-th request fail.
 */
#ifndef MIDPASS_LEDGER_H
#define MIDPASS_LEDGER_H

#include "engine/base/error.h"

#include <stddef.h>

enum mem_category {
    MEM_WEIGHTS,
    MEM_KV,
    MEM_CHECKPOINTS,
    MEM_SCRATCH,
    MEM_VIEWS,
    MEM_TOKENIZER,
    MEM_OTHER, /* configuration, program, strings */
    MEM_CATEGORIES
};
enum mem_place { MEM_HOST, MEM_MAPPED /* pages of a file */, MEM_DEVICE, MEM_PLACES };

struct ledger; /* counters are atomic: threads may share it */

struct ledger *ledger_open(void);
/* Returns the bytes still held (0 when all was given back), for tests and leak reports. */
size_t ledger_close(struct ledger *l);

/* budget in bytes over host and device together, mapped files excepted; 0: none. */
void ledger_set_budget(struct ledger *l, size_t bytes);
size_t ledger_budget(const struct ledger *l);
/* Makes the n-th request from now (1 = the next) and all after it fail; 0: none. For tests. */
void ledger_fail_after(struct ledger *l, long n);

/* Host memory aligned to 64 bytes, zeroed. bytes 0 gives a valid pointer. NULL and *err if
 * refused: by the budget (the message has the numbers) or by the system. */
void *mem_alloc(struct ledger *l, enum mem_category c, size_t bytes, struct error *err);
/* n * size with the product checked. */
void *mem_alloc_array(struct ledger *l, enum mem_category c, size_t n, size_t size,
                      struct error *err);
/* Like realloc: the old block stands if NULL is returned. New bytes are not zeroed. */
void *mem_resize(struct ledger *l, enum mem_category c, void *p, size_t bytes, struct error *err);
void mem_free(struct ledger *l, void *p); /* NULL is fine; knows its own size and category */
char *mem_strdup(struct ledger *l, enum mem_category c, const char *s, struct error *err);

/* Counts memory that does not come from mem_alloc (a file's mapping, a device's block).
 * ledger_take fails as mem_alloc does; mapped places are never refused. */
bool ledger_take(struct ledger *l, enum mem_category c, enum mem_place p, size_t bytes,
                 struct error *err);
void ledger_give(struct ledger *l, enum mem_category c, enum mem_place p, size_t bytes);

size_t ledger_now(const struct ledger *l, enum mem_category c, enum mem_place p);
size_t ledger_peak(const struct ledger *l, enum mem_category c, enum mem_place p);
/* Over all categories of host and device. */
size_t ledger_total(const struct ledger *l);
size_t ledger_total_peak(const struct ledger *l);

const char *mem_category_name(enum mem_category c); /* "weights", "kv", ... */
const char *mem_place_name(enum mem_place p);       /* "host", "mapped", "device" */

/* "7.1 GiB", "14.0 KiB", "512 B" into a buffer; returns it. */
char *mem_format(size_t bytes, char out[24]);
/* "8G", "512M", "1.5GiB", "4096": bytes. */
bool mem_parse(const char *text, size_t *bytes, struct error *err);

/* What the system says: resident set, and what could still be had. 0 if it does not say. */
size_t mem_resident(void);
size_t mem_resident_peak(void);
size_t mem_available(void);

#endif
