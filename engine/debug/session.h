/* session.h - a model, a sequence and a cursor: what the commands and the screen move.
 *
 * The cursor is (position, op): all earlier positions are computed and, of this one, the ops
 * up to and including `op`; op -1 is the place before a token's first op. Values behind the
 * cursor that were computed before stay readable; moving back computes nothing.
 */
#ifndef MIDPASS_SESSION_H
#define MIDPASS_SESSION_H

#include "engine/debug/breakpoint.h"
#include "engine/debug/continuation.h"
#include "engine/debug/patch.h"
#include "engine/debug/sampler.h"
#include "engine/model/load.h"

struct session_options {
    const char *device;      /* "auto", "cpu", "cuda", "cuda:1"; NULL: the CPU */
    const char *dtype;       /* "f32", "bf16"; NULL: as the checkpoint is, see device.h */
    int n_threads;           /* 0: all */
    const char *isa;         /* NULL: best */
    bool exact;              /* of a GPU: see device_options */
    size_t budget;           /* bytes; 0: what is free */
    struct backend *backend; /* opened already, and from then on the session's; NULL: none */
    struct load_watch *load; /* sees the weights come to a device; NULL: nobody looks */
    struct trace_options trace;
};

struct session { /* the trace points into it: not to be copied */
    struct ledger *ledger;
    struct backend *backend;
    struct model model;
    struct trace trace;
    struct patches patches;
    struct breakpoints breakpoints;
    struct watcher *watcher; /* of the breakpoints' conditions (watcher.h); NULL until one is met */
    struct continuations continuations;
    struct origins origins; /* of the tokens that were generated */
    int stopped_by;         /* the breakpoint that ended the last motion, or 0 */
    long arrivals; /* motions whose end was told: displays and a breakpoint's commands follow */
    bool has_prompt;
    int n_prompt;     /* ids of the prompt; those after it were generated */
    unsigned prompts; /* that were set so far */
    unsigned cuts;    /* of generated tokens so far, the last one from cut_at on */
    int cut_at;
    int position, op; /* the cursor */
    bool at_start;    /* nothing executed since the prompt was set */
    bool hurries;     /* motions do not wait for a device, as more is to come */
    struct sampler sampler;
    size_t budget;
    size_t held;           /* bytes that are counted for the backend */
    char device_note[256]; /* why the device is not a GPU, where one would have been taken; "" */
    char notice[256];      /* something the user must be told (regime changed); "" */
    double last_seconds;   /* that the last motion took */
    int last_tokens;       /* positions that it computed */
};

/* Opens a model (folder or cached name). Refuses what cannot fit, with numbers. */
bool session_open(struct session *s, struct ledger *l, const char *model,
                  const struct session_options *o, struct error *err);
void session_close(struct session *s);

/* Sets the prompt; stands before its first op. Text needs a tokenizer. An empty sequence
 * (no BOS and no text) is an error. What was generated behind the old one is kept. */
bool session_prompt_text(struct session *s, const char *text, size_t n, struct error *err);
bool session_prompt_ids(struct session *s, const int32_t *ids, int n, struct error *err);

/* Appends ids to the sequence, and leaves a notice if that changed RoPE's regime. */
bool session_append(struct session *s, const int32_t *ids, int n, struct error *err);

/* Motions. Each ends at the place named or, interrupted, where it stands. Past the end of the
 * sequence `token` and `generate` sample. All need a prompt. */
bool session_step(struct session *s, int n, struct error *err);  /* n sites on */
bool session_stepi(struct session *s, int n, struct error *err); /* n ops on */
bool session_next(struct session *s, int n, struct error *err);  /* n blocks on: resid_post */
bool session_token(struct session *s, int n, struct error *err); /* same op, n tokens on */
/* To this token's logits; right after the prompt was set, to the logits of its last token. */
bool session_finish(struct session *s, struct error *err);
/* To the next breakpoint, n - 1 of them passed by, or to the last token's logits; and back, to
 * the one before, or to the start. Where breakpoints stand, the other motions stop at them too:
 * stopped_by tells. */
bool session_continue(struct session *s, int n, struct error *err);
bool session_reverse_continue(struct session *s, int n, struct error *err);
/* The same backwards. Computes nothing; what lies ahead stays known. */
bool session_reverse_step(struct session *s, int n, struct error *err);
bool session_reverse_stepi(struct session *s, int n, struct error *err);
bool session_reverse_next(struct session *s, int n, struct error *err);
bool session_reverse_token(struct session *s, int n, struct error *err);
/* n tokens sampled, each computed; stands at the last one's logits. A device may be at work on that
 * one still: session_wait waits, tells if it failed, and adds the time to the motion's. */
bool session_generate(struct session *s, int n, struct error *err);
/* The first of `left` tokens, for who looks at each: a device goes ahead with those that are to
 * follow, until they do not come, or session_wait. */
bool session_generate_one(struct session *s, int left, struct error *err);
bool session_wait(struct session *s, struct error *err);
/* Forward to a place, stopping at breakpoints on the way. */
bool session_forward(struct session *s, int position, int op, struct error *err);
/* To any place of the sequence, either way, past breakpoints; op -1: before the token's first op.
 */
bool session_goto(struct session *s, int position, int op, struct error *err);

/* Whether op's value at this position can be read now; false sets *err to the reason in
 * words ("position 8 is not computed yet: the cursor is at ..."). */
bool session_has(const struct session *s, int position, int op, struct error *err);
/* Whether all before the cursor is computed, as an edit may have undone. */
bool session_stands_on_known(const struct session *s);
/* Positions whose value of this op can be read now: 0 .. result-1. */
int session_known(const struct session *s, int op);

/* The token at a position as bytes it stands for, appended to out ("#123" without tokenizer). */
bool session_piece(const struct session *s, int32_t id, struct text *out, struct error *err);

#endif
