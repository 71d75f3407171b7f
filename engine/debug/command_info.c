/* command_info.c - what there is: the model, its sites and program, memory, time. */
#include "engine/debug/command_parts.h"

#include "engine/debug/near.h"
#include "engine/debug/session_scope.h"

#include <stdio.h>
#include <string.h>

/* ---- model ---- */

static void model_lines(struct console *c)
{
    struct text *t = &c->report->text;
    const struct session *s = c->session;
    const struct model *m = &s->model;
    const struct config *k = &m->config;
    char size[24];
    text_printf(t, "%s  %s  %s\n", m->name, k->model_type, m->folder);
    text_printf(
        t, "layers %d  heads %d (key/value %d) of %d  d_model %d  d_mlp %d  vocabulary %d\n",
        k->n_layers, k->n_heads, k->n_kv_heads, k->d_head, k->d_model, k->d_mlp, k->n_vocab);
    text_printf(t, "%lld parameters, %s in %s, %s\n", (long long)m->n_params,
                mem_format(m->weight_bytes, size), m->dtypes,
                k->tied ? "embedding and unembedding are one" : "unembedding of its own");
    text_printf(t, "positions up to %d", s->trace.n_ctx);
    if (s->trace.n_ctx < k->n_ctx)
        text_printf(t, " (--ctx; the model's own limit is %d)", k->n_ctx);
    text_printf(t, "\ntokenizer %s\n",
                m->tokenizer ? "tokenizer.json" : "none (ids N... sets a prompt)");
    text_printf(t, "runs on %s: %s\n", s->backend->name, s->backend->detail);
    if (s->device_note[0])
        text_printf(t, "%s\n", s->device_note);
    if (m->notice[0])
        text_printf(t, "%s\n", m->notice);
}

static bool info_model(struct console *c, struct arguments *a, struct error *err)
{
    struct report *r = c->report;
    const struct session *s = c->session;
    const struct config *k = &s->model.config;
    if (!arguments_done(a, err))
        return false;
    if (!r->json) {
        model_lines(c);
        return report_send(r, err);
    }
    report_begin(r, "cmd", "info model");
    report_string(r, "name", s->model.name, strlen(s->model.name));
    report_string(r, "folder", s->model.folder, strlen(s->model.folder));
    report_string(r, "model_type", k->model_type, strlen(k->model_type));
    report_int(r, "n_layers", k->n_layers);
    report_int(r, "n_heads", k->n_heads);
    report_int(r, "n_key_value_heads", k->n_kv_heads);
    report_int(r, "d_head", k->d_head);
    report_int(r, "d_model", k->d_model);
    report_int(r, "d_mlp", k->d_mlp);
    report_int(r, "d_vocab", k->n_vocab);
    report_int(r, "n_ctx", k->n_ctx);
    report_int(r, "n_ctx_allowed", s->trace.n_ctx);
    report_int(r, "n_parameters", (long long)s->model.n_params);
    report_int(r, "weight_bytes", (long long)s->model.weight_bytes);
    report_string(r, "dtype", s->model.dtypes, strlen(s->model.dtypes));
    report_bool(r, "tied", k->tied);
    report_bool(r, "tokenizer", s->model.tokenizer != NULL);
    report_string(r, "device", s->backend->name, strlen(s->backend->name));
    report_string(r, "device_detail", s->backend->detail, strlen(s->backend->detail));
    report_string(r, "device_note", s->device_note, strlen(s->device_note));
    return report_end(r, err);
}

/* ---- sites ---- */

/* The shape with its sizes: "[H=8, T, S]". */
static void add_shape(struct text *t, const struct session *s, int op)
{
    struct source source;
    session_source(s, op, &source);
    const char *p = site_shape_letters(source.site) + 1;
    text_add(t, "[");
    for (int d = 0; d < source.n_dims && *p && *p != ']'; d++) {
        size_t n = strcspn(p, ",]");
        text_printf(t, "%s%.*s", d ? ", " : "", (int)n, p);
        if (d != source.position_axis && d != source.key_axis && *p != '1')
            text_printf(t, "=%zu", source.dims[d]);
        p += n;
        p += strspn(p, ", ");
    }
    text_add(t, "]");
}

static bool add_site(struct console *c, int op, bool all_layers, struct error *err)
{
    const struct op *o = &c->session->model.program.ops[op];
    struct report *r = c->report;
    char name[64], range[100], letters[32];
    site_name(o->site, o->layer, name);
    if (r->json) {
        report_open(r, NULL, '{');
        report_string(r, "site", name, strlen(name));
        site_short_name(o->site, o->layer, range);
        report_string(r, "short", range, strlen(range));
        snprintf(letters, sizeof letters, "%s", site_shape_letters(o->site));
        report_string(r, "axes", letters, strlen(letters));
        report_int(r, "known", session_known(c->session, op));
        report_bool(r, "lazy", o->lazy);
        report_close(r, '}');
        return report_trickle(r, err);
    }
    if (all_layers && site_in_block(o->site))
        snprintf(range, sizeof range, "blocks.{0-%d}.%s", c->session->model.config.n_layers - 1,
                 site_suffix(o->site));
    else
        snprintf(range, sizeof range, "%s", name);
    text_printf(&r->text, "%-44s  %-18s ", range,
                all_layers ? site_short(o->site) : site_short_name(o->site, o->layer, name));
    add_shape(&r->text, c->session, op);
    text_add(&r->text, o->lazy ? "  when looked at\n" : "\n");
    return report_trickle(r, err);
}

static bool info_sites(struct console *c, struct arguments *a, struct error *err)
{
    const struct program *p = &c->session->model.program;
    struct report *r = c->report;
    char word[128];
    int column = arguments_column(a);
    bool all = arguments_end(a); /* then the layers are folded into one */
    bool *chosen = mem_alloc_array(c->ledger, MEM_OTHER, (size_t)p->n_ops, sizeof *chosen, err);
    if (!chosen)
        return false;
    for (int i = 0; all && i < p->n_ops; i++)
        chosen[i] = p->ops[i].site && (r->json || p->ops[i].layer <= 0);
    bool ok = all || (arguments_string(a, "a site", word, sizeof word, err) &&
                      arguments_done(a, err) && sites_match(c->session, word, column, chosen, err));
    if (r->json && ok) {
        report_begin(r, "cmd", "info sites");
        report_open(r, "sites", '[');
    }
    for (int i = 0; ok && i < p->n_ops; i++)
        ok = !chosen[i] || add_site(c, i, all, err);
    mem_free(c->ledger, chosen);
    if (!ok || !r->json)
        return ok && report_send(r, err);
    report_close(r, ']');
    return report_end(r, err);
}

/* ---- program ---- */

/* A layer's number, "prelude" or "tail"; nothing: all of it. */
static bool read_section(struct console *c, struct arguments *a, int *first, int *last,
                         struct error *err)
{
    const struct program *p = &c->session->model.program;
    int layer;
    *first = 0;
    *last = p->n_ops - 1;
    if (arguments_end(a))
        return true;
    if (arguments_take(a, "prelude")) {
        *last = p->block_op[0] - 1;
    } else if (arguments_take(a, "tail")) {
        *first = p->block_op[p->n_layers];
    } else {
        if (!arguments_int(a, "a layer", 0, p->n_layers - 1, 0, &layer, err))
            return error_prefix(err, "info program takes a layer, prelude or tail");
        *first = p->block_op[layer];
        *last = p->block_op[layer + 1] - 1;
    }
    return arguments_done(a, err);
}

static bool info_program(struct console *c, struct arguments *a, struct error *err)
{
    const struct session *s = c->session;
    const struct program *p = &s->model.program;
    struct report *r = c->report;
    char line[512], name[64];
    int first, last;
    if (!read_section(c, a, &first, &last, err))
        return false;
    if (r->json) {
        report_begin(r, "cmd", "info program");
        report_open(r, "ops", '[');
    }
    for (int i = first; i <= last; i++) {
        const struct op *op = &p->ops[i];
        program_describe(p, i, line, sizeof line);
        if (r->json) {
            const char *what = line + strspn(line, " ");
            site_name(op->site, op->layer, name);
            if (op->site)
                what += strlen(name) + strspn(what + strlen(name), " ");
            report_open(r, NULL, '{');
            report_int(r, "op", i);
            if (op->site)
                report_string(r, "site", name, strlen(name));
            else
                report_null(r, "site");
            report_string(r, "does", what, strlen(what));
            report_close(r, '}');
        } else {
            text_printf(&r->text, "%s%5d  %s\n", s->has_prompt && i == s->op ? "=>" : "  ", i,
                        line);
        }
        if (!report_trickle(r, err))
            return false;
    }
    if (!r->json)
        return report_send(r, err);
    report_close(r, ']');
    return report_end(r, err);
}

/* ---- memory ---- */

static void memory_lines(struct console *c)
{
    struct text *t = &c->report->text;
    char now[24], peak[24], mark[24];
    text_printf(t, "%-14s %-8s %12s %12s\n", "", "", "now", "peak");
    for (int k = 0; k < MEM_CATEGORIES; k++)
        for (int p = 0; p < MEM_PLACES; p++) {
            enum mem_category category = (enum mem_category)k;
            enum mem_place place = (enum mem_place)p;
            if (ledger_peak(c->ledger, category, place) == 0)
                continue;
            text_printf(t, "%-14s %-8s %12s %12s\n", mem_category_name(category),
                        mem_place_name(place),
                        mem_format(ledger_now(c->ledger, category, place), now),
                        mem_format(ledger_peak(c->ledger, category, place), peak));
        }
    text_printf(t, "%-23s %12s %12s\n", "all but mapped", mem_format(ledger_total(c->ledger), now),
                mem_format(ledger_total_peak(c->ledger), peak));
    text_printf(t, "budget %s  resident %s (peak %s)", mem_format(c->session->budget, now),
                mem_format(mem_resident(), peak), mem_format(mem_resident_peak(), mark));
    text_printf(t, "  the system could give %s more\n", mem_format(mem_available(), now));
    struct backend *b = c->session->backend;
    size_t available, total;
    b->memory(b, &available, &total);
    if (total > 0)
        text_printf(t, "device: %s free of %s\n", mem_format(available, now),
                    mem_format(total, peak));
    const struct trace *trace = &c->session->trace;
    char words[64];
    text_printf(t, "%d positions in pages of %d: K/V %s a page, checkpoints (%s) %s a page\n",
                trace->n_ids, KV_PAGE, mem_format(trace_kv_page_bytes(trace), now),
                keep_words(trace->keep, words),
                mem_format(trace_checkpoint_page_bytes(trace), peak));
}

static bool info_memory(struct console *c, struct arguments *a, struct error *err)
{
    struct report *r = c->report;
    if (!arguments_done(a, err))
        return false;
    if (!r->json) {
        memory_lines(c);
        return report_send(r, err);
    }
    report_begin(r, "cmd", "info memory");
    report_open(r, "held", '[');
    for (int k = 0; k < MEM_CATEGORIES; k++)
        for (int p = 0; p < MEM_PLACES; p++) {
            enum mem_category category = (enum mem_category)k;
            enum mem_place place = (enum mem_place)p;
            if (ledger_peak(c->ledger, category, place) == 0)
                continue;
            report_open(r, NULL, '{');
            report_string(r, "category", mem_category_name(category),
                          strlen(mem_category_name(category)));
            report_string(r, "place", mem_place_name(place), strlen(mem_place_name(place)));
            report_int(r, "now", (long long)ledger_now(c->ledger, category, place));
            report_int(r, "peak", (long long)ledger_peak(c->ledger, category, place));
            report_close(r, '}');
        }
    report_close(r, ']');
    report_int(r, "total", (long long)ledger_total(c->ledger));
    report_int(r, "total_peak", (long long)ledger_total_peak(c->ledger));
    report_int(r, "budget", (long long)c->session->budget);
    report_int(r, "resident", (long long)mem_resident());
    report_int(r, "resident_peak", (long long)mem_resident_peak());
    report_int(r, "available", (long long)mem_available());
    size_t available, total;
    c->session->backend->memory(c->session->backend, &available, &total);
    report_int(r, "device_free", (long long)available);
    report_int(r, "device_total", (long long)total);
    report_int(r, "kv_page", (long long)trace_kv_page_bytes(&c->session->trace));
    report_int(r, "checkpoint_page", (long long)trace_checkpoint_page_bytes(&c->session->trace));
    report_int(r, "checkpoint_stride", c->session->trace.keep.stride);
    report_bool(r, "checkpoint_attention", c->session->trace.keep.attention);
    return report_end(r, err);
}

/* ---- the rest ---- */

static bool info_timing(struct console *c, struct arguments *a, struct error *err)
{
    struct report *r = c->report;
    const struct session *s = c->session;
    double load = s->model.load_seconds;
    char size[24], rate[24];
    if (!arguments_done(a, err))
        return false;
    if (r->json) {
        report_begin(r, "cmd", "info timing");
        report_number(r, "seconds", s->last_seconds);
        report_int(r, "tokens", s->last_tokens);
        if (load > 0) {
            report_number(r, "load_seconds", load);
            report_number(r, "load_bytes", (double)s->model.load_bytes);
        }
        return report_end(r, err);
    }
    text_printf(&r->text, "the last motion took %.6f s and computed %d token%s", s->last_seconds,
                s->last_tokens, s->last_tokens == 1 ? "" : "s");
    if (s->last_tokens > 0 && s->last_seconds > 0)
        text_printf(&r->text, ", %.1f a second", s->last_tokens / s->last_seconds);
    text_add(&r->text, "\n");
    if (load > 0)
        text_printf(&r->text, "the weights came to the device in %.2f s: %s, %s a second\n", load,
                    mem_format(s->model.load_bytes, size),
                    mem_format((size_t)((double)s->model.load_bytes / load), rate));
    return report_send(r, err);
}

static bool info_tokens(struct console *c, struct arguments *a, struct error *err)
{
    return arguments_done(a, err) && command_tokens.run(c, a, err);
}

static const struct topic {
    const char *name, *brief;
    bool (*run)(struct console *c, struct arguments *a, struct error *err);
} topics[] = {
    {"model", "sizes, data types, device", info_model},
    {"sites", "what can be looked at, and its shape; info sites *.z: those", info_sites},
    {"program", "the ops in order; info program L: of a layer (or prelude, tail)", info_program},
    {"memory", "where every byte is", info_memory},
    {"tokens", "the sequence", info_tokens},
    {"breakpoints", "where it stops, and how often it has", break_list},
    {"continuations", "what was generated before, and kept", continuation_list},
    {"history", "what undo and redo would bring back", undo_list},
    {"display", "what is shown behind every stop", display_list},
    {"patches", "the edits that hold, and what each one did", patch_list},
    {"timing", "how long the last motion took", info_timing},
    {"hash", "one number for the logits of all computed positions", hash_info},
};
#define N_TOPICS ((int)(sizeof topics / sizeof topics[0]))

static const char *const topic_words[] = {
    "model",   "sites",  "program", "memory",  "tokens",        "breakpoints", "display",
    "patches", "timing", "hash",    "history", "continuations", NULL};

static bool run_info(struct console *c, struct arguments *a, struct error *err)
{
    int column = arguments_column(a), found = -1, fits = 0;
    char word[40], list[200] = "";
    size_t at = 0;
    if (arguments_end(a) && !c->report->json) {
        for (int i = 0; i < N_TOPICS; i++)
            text_printf(&c->report->text, "info %-13s  %s\n", topics[i].name, topics[i].brief);
        return report_send(c->report, err);
    }
    if (!arguments_string(a, "a topic", word, sizeof word, err))
        return false;
    for (int i = 0; i < N_TOPICS; i++)
        if (strncmp(topics[i].name, word, strlen(word)) == 0) {
            found = i;
            fits++;
        }
    if (fits == 1)
        return topics[found].run(c, a, err);
    for (int i = 0; i < N_TOPICS; i++)
        if (fits == 0 || strncmp(topics[i].name, word, strlen(word)) == 0)
            at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", at ? ", " : "",
                                   topics[i].name);
    return error_at(err, ERR_USAGE, column, "info knows no \"%s\": %s", word, list);
}

const struct command command_info = {
    .name = "info",
    .aliases = "i",
    .usage = "info TOPIC",
    .brief = "what there is: model, sites, program, memory, tokens, timing",
    .help = "info sites [SITE]      each site with its shape; wildcards work: info sites *.z\n"
            "info program [L]       the ops of layer L, of the prelude, of the tail, or all",
    .theme = THEME_LOOK,
    .takes = TAKES_WORD,
    .run = run_info,
    .words = topic_words,
};
