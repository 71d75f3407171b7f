/* command_parts.h - what the command_*.c files share. Nobody else includes this. */
#ifndef MIDPASS_COMMAND_PARTS_H
#define MIDPASS_COMMAND_PARTS_H

#include "engine/debug/command.h"
#include "engine/debug/expr.h"

/* ---- reading what follows a command (arguments.c) ---- */

bool arguments_end(struct arguments *a);   /* nothing but blanks is left */
int arguments_column(struct arguments *a); /* of the next word, 1-based */
/* The next word: what stands up to a blank, or within quotes (then with their escapes, but as
 * it stands). False if there is none. */
bool arguments_word(struct arguments *a, const char **word, size_t *n);
/* A word that must be there, as a string of at most room - 1 bytes. what: "a file's name". */
bool arguments_string(struct arguments *a, const char *what, char *out, size_t room,
                      struct error *err);
/* A whole number in [low, high] that may be left out (fallback). */
bool arguments_int(struct arguments *a, const char *what, int low, int high, int fallback, int *out,
                   struct error *err);
/* Error if something is left. */
bool arguments_done(struct arguments *a, struct error *err);
/* Whether the rest begins with this word; takes it. */
bool arguments_take(struct arguments *a, const char *word);
/* Splits the last word off (a file's name), leaving a->n in front of it. */
bool arguments_last(struct arguments *a, const char *what, char *out, size_t room,
                    struct error *err);
/* If all of the rest is one string in quotes: its contents, from mem_alloc (MEM_OTHER), and
 * *quoted. The rest as it stands otherwise. NULL and *err: no memory, a bad escape. */
char *arguments_text(struct console *c, struct arguments *a, size_t *n, bool *quoted,
                     struct error *err);

/* A number as it stands here, without blanks skipped; false, and nothing taken, if there is none.
 */
bool arguments_number(struct arguments *a, long *out);
/* One character, behind blanks; takes it. */
bool arguments_symbol(struct arguments *a, char c);
/* Positions: 5, -1 (from the end of n_ids), 3-7, *. */
#define POSITIONS_TO_THE_END INT32_MAX
bool arguments_positions(struct arguments *a, int n_ids, int n_ctx, int *first, int *last,
                         struct error *err);

/* ---- evaluating (command_print.c) ---- */

/* Evaluates text[at .. n) of the line. */
bool console_eval(struct console *c, const struct arguments *a, size_t at, size_t n,
                  struct value *out, struct error *err);
/* `$name = EXPR`: *found is false, without an error, for any other line. */
bool console_assign(struct console *c, struct arguments *a, bool *found, struct error *err);

/* ---- motions (command_run.c, command_generate.c) ---- */

/* Says where a motion that began at a place ended, also where it could not go all the way. */
bool motion_end(struct console *c, const char *why, bool ok, int position, int op,
                struct error *err);
/* What follows info continuations. */
bool continuation_list(struct console *c, struct arguments *a, struct error *err);

/* ---- edits (command_patch.c, command_patch_place.c) ---- */

/* Reads SITE[slice] [at POS] into spec's site, layers, picks, first and last. *placed: the position
 * stood among the indices. */
bool patch_read_place(struct console *c, struct arguments *a, struct patch_spec *spec, bool *placed,
                      struct error *err);

/* What follows `set` if it is a site: an edit at this position. And `info patches`. */
bool patch_set(struct console *c, struct arguments *a, struct error *err);
bool patch_list(struct console *c, struct arguments *a, struct error *err);
/* After an edit: computes everything up to the cursor again, so that it shows at once. */
bool patch_settle(struct console *c, struct error *err);

/* ---- breakpoints (command_break.c) ---- */

/* What follows info breakpoints, delete, enable and disable, if it is not "patch". */
bool break_list(struct console *c, struct arguments *a, struct error *err);
bool break_delete(struct console *c, struct arguments *a, struct error *err);
bool break_enable(struct console *c, struct arguments *a, bool enabled, struct error *err);

/* ---- sessions (command_session.c) ---- */

/* What follows `save session`, and `info hash`. */
bool session_save(struct console *c, struct arguments *a, struct error *err);
bool hash_info(struct console *c, struct arguments *a, struct error *err);
/* "FILE [TENSOR]", .npy or .safetensors, as an array. Of a .safetensors file without TENSOR: the
 * one named `site`, or, if that is "", its only one. What stands in a log for the line is its part
 * before `from` and the file's whole path: wherever the log is read, the file is where it is. */
bool array_read(struct console *c, struct arguments *a, const char *site, struct value *out,
                struct error *err);

/* ---- undo, redo (command_undo.c) ---- */

bool undo_list(struct console *c, struct arguments *a, struct error *err);

/* Around what may change the state: it is kept, so that undo finds it. Within another one nothing
 * is done. Short of memory a notice tells that it cannot be undone. */
struct change_mark {
    struct snapshot before;
    bool outermost, taken;
    unsigned prompts;
};
void change_begin(struct console *c, struct change_mark *m);
/* line: what made the change. changed: it is one though nothing may look different. */
void change_end(struct console *c, struct change_mark *m, const char *line, bool changed);

/* ---- what happens at stops (command_stop.c) ---- */

/* A line while `commands` gathers: kept, or the `end`. */
bool stop_gather(struct console *c, const char *line, size_t n, struct error *err);
/* Gives up what was gathered so far. */
void stop_gather_no_more(struct console *c);
/* Behind a command that arrived somewhere: shows the displays, and runs the commands of the
 * breakpoint that stopped it, and of those that these run into. */
bool stop_follow(struct console *c, long arrivals, struct error *err);

/* ---- displays (command_display.c) ---- */

/* Shows all that are enabled. */
bool displays_show(struct console *c, struct error *err);
/* What follows delete, enable, disable and info with "display". */
bool display_list(struct console *c, struct arguments *a, struct error *err);
bool display_delete(struct console *c, struct arguments *a, struct error *err);
bool display_enable(struct console *c, struct arguments *a, bool enabled, struct error *err);

/* One line that is no comment, without what follows a stop (command.c). */
bool console_line(struct console *c, const char *line, size_t n, struct error *err);

/* ---- sites with wildcards (command_save.c) ---- */

/* Marks in chosen[n_ops] the ops that a word names: 5.z, *.pattern, 3-5.resid_post, logits. */
bool sites_match(const struct session *s, const char *word, int column, bool *chosen,
                 struct error *err);

/* All commands, each in the file of its theme. */
extern const struct command command_attn, command_lens, command_dla, command_heads, command_break,
    command_tbreak, command_condition, command_ignore, command_continue, command_reverse_continue,
    command_reverse_step, command_reverse_stepi, command_reverse_next, command_reverse_token,
    command_run, command_ids, command_tokens, command_finish, command_token, command_step,
    command_stepi, command_next, command_until, command_goto, command_generate, command_print,
    command_output, command_examine, command_top, command_info, command_patch, command_delete,
    command_enable, command_disable, command_save, command_dump, command_set, command_echo,
    command_source, command_shell, command_help, command_quit, command_watch, command_catch,
    command_commands, command_undo, command_redo, command_end, command_display, command_undisplay,
    command_load, command_export, command_log, command_restore, command_regenerate, command_recall,
    command_map;

#endif
