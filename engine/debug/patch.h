/* patch.h - edits as data: site, positions, slice, operation; applied right after the op writes.
 *
 * A set of patches hangs in a trace's hooks, so that it holds in every run and every
 * recomputation alike. Adding, removing or switching one makes stale what depends on it, from
 * its first position on in the blocks above, and nothing else; without it the earlier bits
 * come back.
 */
#ifndef MIDPASS_PATCH_H
#define MIDPASS_PATCH_H

#include "engine/debug/value.h"
#include "engine/forward/trace.h"

#define PATCH_TO_THE_END INT32_MAX

enum patch_kind { PATCH_SET, PATCH_ADD, PATCH_SCALE, PATCH_TOKEN /* another token, of no site */ };

/* What a patch is made from. The value at one position has one axis, [D], or two: [H, h],
 * [H, S], [H, D]. picks choose from these; a row's keys that are not there are left out. */
struct patch_spec {
    enum site site;
    int layer_first, layer_last;
    int first, last; /* positions, both included; PATCH_TO_THE_END */
    int n_picks;     /* axes of the value at one position */
    struct pick picks[2];
    enum patch_kind kind;
    const struct value *operand; /* one number, or an array of the picked elements; copied */
    const char *text;            /* as it was typed; copied */
};

struct patch {
    int id; /* never used again */
    bool enabled;
    enum site site;
    int layer_first, layer_last, first, last, n_picks;
    struct pick picks[2];
    enum patch_kind kind;
    struct value operand;
    int32_t token, old_token; /* of PATCH_TOKEN; old_token: as the position is without patches */
    char *text;
    /* The receipt: rows that it changed, and the picked elements' norm there, of the last. */
    long fired;
    double norm_before, norm_after;
};

struct patches {
    struct trace *trace;
    struct patch *list;
    int n, room, last_id;
    bool *watch;           /* [n_ops] */
    unsigned long changes; /* so far, of what is patched */
};

/* Hangs the (empty) set into the trace's hooks. */
bool patches_init(struct patches *p, struct trace *t, struct error *err);
void patches_fini(struct patches *p);

/* Checks the patch against the program and adds it. Its number, or 0 and *err. */
int patches_add(struct patches *set, const struct patch_spec *s, struct error *err);
/* Another token at a position of the sequence. Its number, or 0 and *err. */
int patches_add_token(struct patches *set, int position, int32_t token, const char *text,
                      struct error *err);
/* The same at a position that may be behind the sequence's end, where it waits for tokens. */
int patches_restore_token(struct patches *set, int position, int32_t token, const char *text,
                          struct error *err);
/* Tokens from position `from` on are new: those that a patch replaces are replaced. */
void patches_meet_tokens(struct patches *set, int from);
/* The token at a position as it is without patches. */
int32_t patches_old_token(const struct patches *set, int position);
/* Unknown numbers are errors. */
bool patches_remove(struct patches *set, int id, struct error *err);
bool patches_enable(struct patches *set, int id, bool enabled, struct error *err);
const struct patch *patches_find(const struct patches *set, int id); /* or NULL */

/* ---- whole lists, for undo ---- */

/* Copies the patches of a set to out->list and out->n. */
bool patches_copy_list(struct ledger *l, const struct patches *set, struct patches *out,
                       struct error *err);
void patches_drop_list(struct ledger *l, struct patch *list, int n);
/* Takes over a list in place of the set's. Stale becomes what depends on a patch that only one of
 * them holds, or that is switched otherwise. */
void patches_replace(struct patches *set, struct patch *list, int n);

#endif
