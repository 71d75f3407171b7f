/* session_scope.h - a session's sites and weights, as expressions see them. */
#ifndef MIDPASS_SESSION_SCOPE_H
#define MIDPASS_SESSION_SCOPE_H

#include "engine/debug/expr.h"
#include "engine/debug/session.h"
#include "engine/debug/variables.h"

struct session_scope {
    struct scope scope;
    struct session *session;
    const struct variables *variables; /* may be NULL */
};

/* Fills s for the session's cursor as it stands now. */
void session_scope_init(struct session_scope *s, struct session *session,
                        const struct variables *variables);

/* The axes of op's value: [T, ...] or [heads, T, S], T being the known positions. */
void session_source(const struct session *s, int op, struct source *out);
/* Finds the op of a site of one layer. */
bool session_find(const struct session *s, enum site site, int layer, int *op, struct error *err);
/* Reads the elements that picks take: no row or head that is not among them. */
bool session_read(struct session *s, const struct source *source, const struct pick *picks,
                  float *out, struct error *err);
/* The id of a piece of text that is one token. */
bool session_token_id(const struct session *s, const char *piece, size_t n, int32_t *id,
                      struct error *err);

#endif
