/* json.h - reading JSON that may be hostile. The only file that knows cJSON is json.c.
 *
 * A document lives in one arena of the ledger and is freed at once. Depth and size
 * are limited; what is off is told with the document's name and byte offset.
 */
#ifndef MIDPASS_JSON_H
#define MIDPASS_JSON_H

#include "engine/base/ledger.h"

#include <stdint.h>

struct json;     /* one value; valid until the document is closed */
struct json_doc; /* a parsed text */

/* name appears in messages ("config.json"). The text need not end in NUL. */
struct json_doc *json_parse(struct ledger *l, enum mem_category c, const char *text, size_t bytes,
                            const char *name, struct error *err);
/* Reads a whole file; at most limit bytes. path itself is the name in messages. */
struct json_doc *json_read(struct ledger *l, enum mem_category c, const char *path, size_t limit,
                           struct error *err);
void json_close(struct json_doc *d); /* NULL is fine */
const struct json *json_root(const struct json_doc *d);

/* Walking. Keys are case-sensitive; json_get on anything but an object gives NULL. */
const struct json *json_get(const struct json *j, const char *key);
const struct json *json_first(const struct json *j); /* of an array or object */
const struct json *json_next(const struct json *j);
const char *json_key(const struct json *j); /* of an object's member */
size_t json_count(const struct json *j);    /* members; walks the list */

bool json_is_object(const struct json *j); /* all are false for NULL */
bool json_is_array(const struct json *j);
bool json_is_string(const struct json *j);
bool json_is_number(const struct json *j);
bool json_is_bool(const struct json *j);
bool json_is_null(const struct json *j); /* true for NULL too: absent and null are one */

const char *json_string(const struct json *j); /* NULL if not a string */
double json_number(const struct json *j);      /* 0 if not a number */
bool json_true(const struct json *j);
/* A number that is whole and in [low, high]. */
bool json_whole(const struct json *j, int64_t low, int64_t high, int64_t *out);

#endif
