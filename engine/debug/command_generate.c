/* command_generate.c - sampling on, sampling once more, and what was sampled before. */
#include "engine/debug/command_parts.h"

#include "engine/debug/place.h"

#include <string.h>

#define MOST 1000000000

static bool needs_prompt(const struct console *c, struct error *err)
{
    return c->session->has_prompt || error_set(err, ERR_STATE, "there is no prompt yet (run TEXT)");
}

/* Bytes at the end of s that begin a UTF-8 character without ending it: tokens may split one. */
static size_t unfinished(const char *s, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char b = (unsigned char)s[n - back];
        if (b >= 0xc0)
            return back < (b >= 0xf0 ? 4u : b >= 0xe0 ? 3u : 2u) ? back : 0;
        if (b < 0x80)
            return 0;
    }
    return 0;
}

/* Shows what is whole of the text so far, lines as lines, and keeps the rest. */
static bool show_text(struct report *r, struct text *pending, bool all, struct error *err)
{
    size_t n = pending->n - (all ? 0 : unfinished(pending->data, pending->n));
    for (size_t at = 0; at < n;) {
        const char *end = memchr(pending->data + at, '\n', n - at);
        size_t length = end ? (size_t)(end - (pending->data + at)) : n - at;
        text_add_shown(&r->text, pending->data + at, length, false);
        text_add(&r->text, end ? "\n" : "");
        at += length + (end != NULL);
    }
    if (n > 0)
        memmove(pending->data, pending->data + n, pending->n - n + 1);
    pending->n -= n;
    return report_send(r, err);
}

static bool generated_json(struct console *c, const char *cmd, int from, bool ended,
                           struct error *err)
{
    struct session *s = c->session;
    struct report *r = c->report;
    struct text text;
    const struct breakpoint *b = breakpoints_stopper(&s->breakpoints, s->stopped_by);
    bool ok = true, silent = b && b->silent;
    text_init(&text, c->ledger, MEM_VIEWS);
    s->arrivals++;
    /* What was generated is told, even where the stop is not. */
    if (silent)
        report_begin(r, "cmd", cmd);
    else
        place_begin(r, s, cmd);
    report_open(r, "ids", '[');
    for (int i = from; ok && i < s->trace.n_ids; i++) {
        report_int(r, NULL, s->trace.ids[i]);
        ok = session_piece(s, s->trace.ids[i], &text, err);
    }
    report_close(r, ']');
    if (s->model.tokenizer)
        report_string(r, "text", text.data ? text.data : "", text.n);
    report_bool(r, "end_of_text", ended);
    text_fini(&text);
    if (!ok)
        return false;
    return silent ? report_end(r, err) : place_end(r, s, err);
}

/* n tokens sampled and shown as they come; tells the place where it ends. */
static bool generate(struct console *c, const char *cmd, int n, struct error *err)
{
    struct session *s = c->session;
    struct text pending;
    int done = 0;
    double seconds = 0;
    int from = s->trace.n_ids, position = s->position, op = s->op, tokens = 0;
    text_init(&pending, c->ledger, MEM_VIEWS);
    bool ok = true, stopped = false, ended = false;
    for (; ok && !stopped && !ended && done < n; done++) {
        int before = s->trace.n_ids;
        ok = session_generate_one(s, n - done, err);
        stopped = s->stopped_by != 0;
        seconds += s->last_seconds;
        tokens += s->last_tokens;
        ended = s->trace.n_ids > before &&
                config_is_eos(&s->model.config, s->trace.ids[s->trace.n_ids - 1]);
        if (!ok || c->report->json || s->trace.n_ids == before)
            continue;
        ok = session_piece(s, s->trace.ids[s->trace.n_ids - 1], &pending, err) &&
             show_text(c->report, &pending, false, err);
    }
    s->last_seconds = seconds;
    s->last_tokens = tokens;
    ok = ok && session_wait(s, err);
    if (!c->report->json && s->trace.n_ids > from) {
        /* What was generated before it failed is shown, too. */
        bool shown = show_text(c->report, &pending, true, ok ? err : NULL);
        text_add(&c->report->text, ended ? "\nthe text ends here\n" : "\n");
        ok = ok && shown;
    }
    text_fini(&pending);
    if (ok && c->report->json)
        return generated_json(c, cmd, from, ended, err);
    return motion_end(c, cmd, ok, position, op, err);
}

static bool run_generate(struct console *c, struct arguments *a, struct error *err)
{
    int n;
    return arguments_int(a, "a count", 1, MOST, 1, &n, err) && arguments_done(a, err) &&
           needs_prompt(c, err) && generate(c, "generate", n, err);
}

/* ---- once more, and back ---- */

/* What was kept is told before what takes its place; in JSON it is the stop's notice. */
static void say_kept(struct console *c)
{
    struct session *s = c->session;
    if (c->report->json || !s->notice[0])
        return;
    text_printf(&c->report->text, "%s\n", s->notice);
    s->notice[0] = '\0';
}

static bool run_regenerate(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    int n, from, column = arguments_column(a);
    if (!needs_prompt(c, err))
        return false;
    int last = s->trace.n_ids - 1;
    /* At the end of it all, all of it is meant. */
    from = s->position >= s->n_prompt && s->position < last ? s->position + 1 : s->n_prompt;
    if (arguments_take(a, "from")) {
        column = arguments_column(a);
        if (arguments_end(a))
            return error_at(err, ERR_USAGE, column, "a position is expected here");
        if (!arguments_int(a, "a position", -MOST, MOST, 0, &from, err))
            return false;
        from += from < 0 ? s->trace.n_ids : 0;
    }
    if (from < s->n_prompt || from > last)
        return error_at(err, ERR_STATE, column,
                        last < s->n_prompt
                            ? "nothing was generated yet behind the prompt (generate n)"
                            : "tokens %d to %d were generated: from is one of them",
                        s->n_prompt, last);
    if (!arguments_int(a, "a count", 1, MOST, s->trace.n_ids - from, &n, err) ||
        !arguments_done(a, err) || !session_keep(s, err))
        return false;
    say_kept(c);
    session_cut(s, from);
    return generate(c, "regenerate", n, err);
}

static bool run_recall(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    char word[8];
    int column = arguments_column(a);
    if (!arguments_string(a, "a continuation's name", word, sizeof word, err) ||
        !arguments_done(a, err))
        return false;
    int i = continuations_find(&s->continuations, word);
    if (i < 0)
        return error_at(err, ERR_USAGE, column,
                        "there is no continuation %s (info continuations lists them)", word);
    int position = s->position, op = s->op;
    bool ok = session_recall(s, i, err);
    say_kept(c);
    return motion_end(c, "recall", ok, position, op, err);
}

/* In words, or as a list: which patches were in force from which position on. */
static bool add_origins(struct report *r, const struct origins *o, int n_prompt, struct error *err)
{
    bool ok = true;
    for (int i = 0; ok && i < o->n; i++) {
        struct text t;
        text_init(&t, r->ledger, MEM_VIEWS);
        text_add(&t, "");
        origins_describe(&t, o->list[i].patches);
        ok = text_ok(&t, err);
        if (ok && r->json) {
            report_open(r, NULL, '{');
            report_int(r, "from", o->list[i].from);
            report_string(r, "patches", t.n ? t.data : "", t.n);
            report_close(r, '}');
        } else if (ok) {
            if (o->list[i].from > n_prompt)
                text_printf(&r->text, "from #%d ", o->list[i].from);
            text_add(&r->text, t.n ? "patches " : "no patches");
            text_add_shown(&r->text, t.n ? t.data : "", t.n, false);
            text_add(&r->text, "  ");
        }
        text_fini(&t);
    }
    return ok;
}

/* Tokens behind a prompt: a kept continuation, or (name NULL) those that are there, unkept. */
struct listed {
    const char *name;
    const int32_t *ids;
    int n_prompt, n;
    const struct origins *origins;
    struct continuation_place at;
};

static bool list_json(struct report *r, const struct listed *k, const struct text *text,
                      bool has_text, struct error *err)
{
    report_begin(r, "cmd", "info continuations");
    if (k->name)
        report_string(r, "name", k->name, strlen(k->name));
    else
        report_null(r, "name");
    report_int(r, "position", k->n_prompt);
    report_int(r, "count", k->n - k->n_prompt);
    report_bool(r, "this_prompt", k->at.this_prompt);
    report_bool(r, "present", k->at.present);
    if (k->at.this_prompt)
        report_int(r, "branch", k->at.branch);
    else
        report_null(r, "branch");
    report_open(r, "sampled", '[');
    if (!add_origins(r, k->origins, k->n_prompt, err))
        return false;
    report_close(r, ']');
    report_open(r, "ids", '[');
    for (int t = k->n_prompt; t < k->n; t++)
        report_int(r, NULL, k->ids[t]);
    report_close(r, ']');
    if (has_text)
        report_string(r, "text", text->data ? text->data : "", text->n);
    return report_end(r, err);
}

static bool list_text(struct report *r, const struct listed *k, const struct text *text,
                      struct error *err)
{
    int n = k->n - k->n_prompt;
    text_printf(&r->text, "%s%-3s %4d token%s  ", k->at.present ? "=> " : "   ",
                k->name ? k->name : "-", n, n == 1 ? " " : "s");
    if (!k->at.this_prompt)
        text_add(&r->text, "of another prompt  ");
    else if (!k->at.present)
        text_printf(&r->text, "parts at #%d  ", k->at.branch);
    if (!add_origins(r, k->origins, k->n_prompt, err))
        return false;
    text_add_shown(&r->text, text->data ? text->data : "", text->n < 200 ? text->n : 200, true);
    text_add(&r->text, text->n > 200 ? " ...\n" : "\n");
    return report_trickle(r, err);
}

static bool list_one(struct console *c, const struct listed *k, struct error *err)
{
    struct session *s = c->session;
    struct text text;
    bool ok = true;
    text_init(&text, c->ledger, MEM_VIEWS);
    for (int t = k->n_prompt; ok && t < k->n; t++)
        ok = session_piece(s, k->ids[t], &text, err);
    if (ok && c->report->json)
        ok = list_json(c->report, k, &text, s->model.tokenizer != NULL, err);
    else if (ok)
        ok = list_text(c->report, k, &text, err);
    text_fini(&text);
    return ok;
}

/* The tokens that are there, if no kept continuation is the same. */
static bool list_present(struct console *c, struct error *err)
{
    const struct session *s = c->session;
    int n = s->trace.n_ids;
    int32_t *ids = mem_alloc_array(c->ledger, MEM_VIEWS, (size_t)n, sizeof *ids, err);
    if (!ids)
        return false;
    for (int i = 0; i < n; i++)
        ids[i] = patches_old_token(&s->patches, i);
    struct listed k = {.ids = ids,
                       .n_prompt = s->n_prompt,
                       .n = n,
                       .origins = &s->origins,
                       .at = {.this_prompt = true, .present = true, .branch = n}};
    bool ok = list_one(c, &k, err);
    mem_free(c->ledger, ids);
    return ok;
}

bool continuation_list(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    bool present = false;
    if (!arguments_done(a, err))
        return false;
    for (int i = 0; i < s->continuations.n; i++) {
        const struct continuation *kept = &s->continuations.list[i];
        char name[8];
        struct listed k = {
            continuation_name(i, name), kept->ids, kept->n_prompt, kept->n, &kept->origins,
            continuation_place(s, i)};
        if (k.n_prompt > k.n) /* a script may have said anything */
            k.n_prompt = k.n;
        if (!list_one(c, &k, err))
            return false;
        present = present || k.at.present;
    }
    if (!present && s->has_prompt && s->trace.n_ids > s->n_prompt && !list_present(c, err))
        return false;
    if (s->continuations.n == 0 && !c->report->json)
        text_add(&c->report->text, "none was kept yet\n");
    return report_send(c->report, err);
}

const struct command command_generate = {
    .name = "generate",
    .aliases = "g",
    .usage = "generate [n]",
    .brief = "sample n tokens (1) and stand at the last one's logits",
    .help = "It ends early behind a token that ends a text; generate again goes on all the same.\n"
            "set sampler tells how they are chosen: greedily, unless told otherwise.",
    .theme = THEME_RUN,
    .repeats = true,
    .changes = true,
    .undoable = true,
    .run = run_generate,
};

const struct command command_regenerate = {
    .name = "regenerate",
    .aliases = "",
    .usage = "regenerate [from POS] [n]",
    .brief = "sample the tokens behind this one again, and keep the old ones",
    .help =
        "From the token behind the cursor; where there is none, or within the prompt, from the\n"
        "prompt's end. As many as there were, if n is left out. The old ones get a name:\n"
        "info continuations lists them, recall puts them back. tokens tells which ones an edit "
        "has\n"
        "overtaken: they stay as they are until this is asked for.",
    .theme = THEME_RUN,
    .takes = TAKES_NOTHING,
    .changes = true,
    .undoable = true,
    .run = run_regenerate,
};

const struct command command_recall = {
    .name = "recall",
    .aliases = "continuation",
    .usage = "recall NAME",
    .brief = "put a kept continuation back behind the prompt",
    .help = "Those that are there are kept in turn. Patches stay as they are now.",
    .theme = THEME_RUN,
    .takes = TAKES_WORD,
    .changes = true,
    .undoable = true,
    .run = run_recall,
};
