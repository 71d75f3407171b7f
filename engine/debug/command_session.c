/* command_session.c - what was done and what there is, as files: log, save session, load. */
#include "engine/debug/command_parts.h"

#include "engine/debug/npy.h"

#include "engine/debug/export_python.h"
#include "engine/debug/hash.h"
#include "engine/debug/state.h"
#include "engine/model/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- log ---- */

static bool say_log(struct console *c, struct error *err)
{
    struct report *r = c->report;
    int n = 0;
    if (r->json) {
        report_begin(r, "cmd", "log");
        report_open(r, "files", '[');
    }
    for (int i = 0; i < 2; i++) {
        const char *path = c->logs[i].path;
        if (c->logs[i].fd < 0)
            continue;
        n++;
        if (r->json) {
            report_string(r, NULL, path, strlen(path));
            continue;
        }
        text_add(&r->text, "logging to ");
        text_add_shown(&r->text, path, strlen(path), false);
        text_add(&r->text, "\n");
    }
    if (r->json) {
        report_close(r, ']');
        return report_end(r, err);
    }
    text_add(&r->text, n ? "" : "nothing is logged (log FILE begins)\n");
    return report_send(r, err);
}

/* A log that begins in the middle begins with what there is. */
static bool begin_log(struct console *c, const char *path, struct error *err)
{
    struct session_log log;
    struct text header, state;
    char beside[PATH_MAX];
    const char *slash = strrchr(path, '/');
    struct state_arrays arrays = {.ledger = c->ledger, .file = beside};
    bool ok = true;
    snprintf(beside, sizeof beside, "%s.safetensors", slash ? slash + 1 : path);
    text_init(&header, c->ledger, MEM_OTHER);
    text_init(&state, c->ledger, MEM_OTHER);
    if (c->session->prompts > 0 || c->session->patches.n > 0 || c->variables.n_named > 0)
        ok = state_write(c, &state, &arrays, err);
    snprintf(beside, sizeof beside, "%s.safetensors", path);
    ok = ok && (arrays.n == 0 || state_arrays_write(&arrays, beside, err)) &&
         state_add_header(&header, c, err) && log_open_file(&log, path, header.data, err);
    if (ok && state.n > 0) {
        /* Its lines are whole, and the last one's end is log_add's. */
        for (size_t at = 0; ok && at < state.n;) {
            size_t n = strcspn(state.data + at, "\n");
            ok = log_add(&log, c->ledger, state.data + at, n, false, err);
            at += n + 1;
        }
    }
    if (ok) {
        log_close(&c->logs[1]);
        c->logs[1] = log;
    }
    state_arrays_fini(&arrays);
    text_fini(&header);
    text_fini(&state);
    return ok;
}

static bool run_log(struct console *c, struct arguments *a, struct error *err)
{
    char path[PATH_MAX - 16];
    if (arguments_end(a))
        return say_log(c, err);
    if (!arguments_string(a, "a file's name, or off,", path, sizeof path, err) ||
        !arguments_done(a, err))
        return false;
    if (strcmp(path, "off") != 0)
        return begin_log(c, path, err) && say_log(c, err);
    log_close(&c->logs[c->logs[1].fd >= 0 ? 1 : 0]);
    return say_log(c, err);
}

/* ---- save session ---- */

bool session_save(struct console *c, struct arguments *a, struct error *err)
{
    char path[PATH_MAX - 16];
    struct report *r = c->report;
    int n;
    if (!arguments_string(a, "a file's name", path, sizeof path, err) || !arguments_done(a, err) ||
        !state_save(c, path, &n, err))
        return false;
    if (r->json) {
        report_begin(r, "cmd", "save session");
        report_string(r, "file", path, strlen(path));
        report_int(r, "arrays", n);
        return report_end(r, err);
    }
    text_add_shown(&r->text, path, strlen(path), false);
    text_add(&r->text, ": source it, or resume with it");
    if (n > 0) {
        text_printf(&r->text, "; %d array%s in ", n, n == 1 ? "" : "s");
        text_add_shown(&r->text, path, strlen(path), false);
        text_add(&r->text, ".safetensors");
    }
    text_add(&r->text, "\n");
    return report_send(r, err);
}

/* ---- load ---- */

/* A relative name in a script is one beside the script, if there is one. */
static void resolve(const struct console *c, char *path, size_t room)
{
    char beside[PATH_MAX];
    const char *slash = c->sourced ? strrchr(c->sourced, '/') : NULL;
    if (path[0] == '/' || !slash)
        return;
    int n = snprintf(beside, sizeof beside, "%.*s/%s", (int)(slash - c->sourced), c->sourced, path);
    if (n > 0 && (size_t)n < sizeof beside && (size_t)n < room && access(beside, F_OK) == 0)
        memcpy(path, beside, (size_t)n + 1);
}

static bool read_tensor(struct console *c, const char *path, const char *name, struct value *out,
                        struct error *err)
{
    struct checkpoint *file = checkpoint_open_file(c->ledger, path, true, err);
    if (!file)
        return false;
    const struct tensor *t = name[0] ? checkpoint_find(file, name) : checkpoint_tensor(file, 0);
    size_t dims[VALUE_MAX_DIMS];
    bool ok = true;
    if (checkpoint_count(file) == 0 || !t)
        ok = error_set(err, ERR_USAGE, "%s has no tensor %.80s", path, name);
    else if (!name[0] && checkpoint_count(file) > 1)
        ok = error_set(err, ERR_USAGE, "%s has %d tensors: load $name FILE TENSOR, as in %.80s",
                       path, checkpoint_count(file), t->name);
    else if (t->dtype == DTYPE_N)
        ok = error_set(err, ERR_UNSUPPORTED, "%s: %.80s is %s; F32, F16 and BF16 can be loaded",
                       path, t->name, t->type);
    if (!ok || !t) {
        checkpoint_close(file);
        return false;
    }
    for (int d = 0; d < t->n_dims; d++)
        dims[d] = (size_t)t->dims[d];
    ok = value_set_shape(out, t->n_dims, dims, err);
    for (size_t i = 0; ok && i < out->count; i++)
        value_put(out, i,
                  (double)dtype_load(t->dtype, (const char *)t->data + i * dtype_size(t->dtype)));
    checkpoint_close(file);
    return ok;
}

bool array_read(struct console *c, struct arguments *a, const char *site, struct value *out,
                struct error *err)
{
    char path[PATH_MAX], real[PATH_MAX], tensor[256] = "";
    size_t from = (size_t)arguments_column(a) - 1;
    if (!arguments_string(a, "a file's name", path, sizeof path, err) ||
        (!arguments_end(a) &&
         !arguments_string(a, "a tensor's name", tensor, sizeof tensor, err)) ||
        !arguments_done(a, err))
        return false;
    resolve(c, path, sizeof path);
    size_t n = strlen(path);
    bool npy = n > 4 && strcmp(path + n - 4, ".npy") == 0;
    if (npy && tensor[0])
        return error_set(err, ERR_USAGE, "%s: a .npy file has one array, without a name", path);
    if (!(npy ? npy_read(c->ledger, path, out, err)
              : read_tensor(c, path, tensor[0] ? tensor : site, out, err)))
        return false;
    if (!realpath(path, real) || strchr(real, '"'))
        return true;
    struct text t;
    text_init(&t, c->ledger, MEM_OTHER);
    text_add_bytes(&t, a->line, from);
    text_printf(&t, "\"%s\" %s", real, tensor);
    mem_free(c->ledger, c->log_as);
    c->log_as = text_ok(&t, err) ? mem_strdup(c->ledger, MEM_OTHER, t.data, err) : NULL;
    text_fini(&t);
    return c->log_as != NULL;
}

static bool run_load(struct console *c, struct arguments *a, struct error *err)
{
    char word[80];
    int column = arguments_column(a);
    if (!arguments_string(a, "a $name", word, sizeof word, err))
        return false;
    if (word[0] != '$' || !variable_name_ok(word + 1, strlen(word + 1)))
        return error_at(err, ERR_USAGE, column, "load takes a name first: load $name FILE");
    struct value v;
    value_init(&v, c->ledger);
    bool ok = array_read(c, a, "", &v, err) && variables_set(&c->variables, word + 1, &v, err);
    struct report *r = c->report;
    char shape[128];
    if (ok && r->json) {
        report_begin(r, "cmd", "load");
        report_string(r, "name", word + 1, strlen(word + 1));
        report_shape(r, "shape", v.n_dims, v.dims);
        ok = report_end(r, err);
    } else if (ok && c->source_depth == 0) {
        text_printf(&r->text, "%s: %s\n", word, value_describe(&v, shape));
        ok = report_send(r, err);
    }
    value_fini(&v);
    return ok;
}

/* ---- info hash ---- */

bool hash_info(struct console *c, struct arguments *a, struct error *err)
{
    struct report *r = c->report;
    uint64_t hash;
    char digits[24];
    int n;
    if (!arguments_done(a, err) || !session_hash(c->session, &hash, &n, err))
        return false;
    snprintf(digits, sizeof digits, "%016" PRIx64, hash);
    if (r->json) {
        report_begin(r, "cmd", "info hash");
        report_string(r, "hash", digits, strlen(digits));
        report_int(r, "positions", n);
        return report_end(r, err);
    }
    text_printf(&r->text, "%s  logits of %d position%s\n", digits, n, n == 1 ? "" : "s");
    return report_send(r, err);
}

/* ---- export ---- */

static bool run_export(struct console *c, struct arguments *a, struct error *err)
{
    char path[PATH_MAX];
    int column = arguments_column(a), left_out;
    struct report *r = c->report;
    if (!arguments_take(a, "python"))
        return error_at(err, ERR_USAGE, column, "export knows python: export python FILE");
    if (!arguments_string(a, "a file's name", path, sizeof path, err) || !arguments_done(a, err) ||
        !export_python(c, path, &left_out, err))
        return false;
    if (r->json) {
        report_begin(r, "cmd", "export");
        report_string(r, "file", path, strlen(path));
        report_int(r, "left_out", left_out);
        return report_end(r, err);
    }
    text_add_shown(&r->text, path, strlen(path), false);
    text_add(&r->text, ": a TransformerLens script");
    if (left_out > 0)
        text_printf(&r->text,
                    "; %d patch%s cannot be said there: comments tell which, and the "
                    "script's logits differ",
                    left_out, left_out == 1 ? "" : "es");
    text_add(&r->text, "\n");
    return report_send(r, err);
}

/* ---- the table ---- */

const struct command command_log = {
    .name = "log",
    .aliases = "",
    .usage = "log [FILE|off]",
    .brief = "write what is done to FILE, as a script that does it again",
    .help = "It begins with what there is already, and is appended to if FILE is there. Without\n"
            "FILE: which logs are written. off ends this log, or else the session's own.",
    .theme = THEME_SAVE,
    .takes = TAKES_FILE,
    .outside = true,
    .run = run_log,
};

const struct command command_load = {
    .name = "load",
    .aliases = "",
    .usage = "load $name FILE [TENSOR]",
    .brief = "an array from a .npy or .safetensors file, under a name",
    .help =
        "TENSOR may be left out if the file has one alone. In a sourced file FILE is looked for\n"
        "beside that file first.",
    .theme = THEME_SAVE,
    .takes = TAKES_FILE,
    .outside = true,
    .changes = true,
    .undoable = true,
    .run = run_load,
};

static const char *const export_words[] = {"python", NULL};

const struct command command_export = {
    .name = "export",
    .aliases = "",
    .usage = "export python FILE",
    .brief = "prompt and patches as a TransformerLens script",
    .help = "The script runs the model with the same edits and prints the five best next tokens.",
    .theme = THEME_SAVE,
    .takes = TAKES_WORD,
    .outside = true,
    .run = run_export,
    .words = export_words,
};
