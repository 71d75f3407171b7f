/* record.h - what goes into a console's logs after each of its commands.
 *
 * A command that changes the state is written as it was given once it has succeeded. One that
 * failed on its way (interrupted, at the sequence's end) is a comment, and behind it stand lines
 * that restore what it had changed until then.
 */
#ifndef MIDPASS_RECORD_H
#define MIDPASS_RECORD_H

#include "engine/debug/command.h"

/* What a command may change, as it was before. */
struct record_mark {
    unsigned prompts, cuts, changes;
    bool at_start;
    int position, op, n_ids, rows, pc;
    int patches, last_patch, enabled_patches, breakpoints, last_breakpoint, printed, named;
    int displays, last_display;
    long hits, done;
    uint64_t sampler;
};

struct record_mark record_mark(const struct console *c);
/* Writes line[0 .. n) to the logs that are open. changes: the command is one that belongs there.
 * A log that cannot be written is closed, and the session's notice tells why. */
void record_add(struct console *c, const struct record_mark *before, bool changes, bool ok,
                const char *line, size_t n);
/* Writes that the prompt was set, if it was: its ids, with its text as a comment. */
void record_prompt(struct console *c, const struct record_mark *before);

#endif
