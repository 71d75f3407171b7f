/* command_tokens.c - the sequence: what of it was typed, sampled, patched, overtaken by an edit. */
#include "engine/debug/command_parts.h"

#include "engine/debug/place.h"

/* The number of the patch that puts this token here, or 0. */
static int patch_of(const struct session *s, int position)
{
    int id = 0;
    for (int i = 0; i < s->patches.n; i++) {
        const struct patch *p = &s->patches.list[i];
        if (p->kind == PATCH_TOKEN && p->enabled && p->first == position)
            id = p->id;
    }
    return id;
}

static void json_numbers(struct report *r, const char *key, const int *numbers, int n)
{
    report_open(r, key, '[');
    for (int i = 0; i < n && i < STALE_NAMED; i++)
        report_int(r, NULL, numbers[i]);
    report_close(r, ']');
}

static void json_state(struct report *r, const struct session *s, int i)
{
    struct stale stale;
    int patch = patch_of(s, i);
    report_bool(r, "generated", i >= s->n_prompt);
    bool overtaken = session_stale(s, i, &stale);
    report_bool(r, "stale", overtaken);
    if (overtaken) {
        json_numbers(r, "since", stale.since, stale.n_since);
        json_numbers(r, "gone", stale.gone, stale.n_gone);
    }
    if (patch) {
        report_int(r, "patch", patch);
        report_int(r, "was", patches_old_token(&s->patches, i));
    }
}

static bool token_json(struct console *c, int i, int32_t id, bool ours, struct error *err)
{
    struct report *r = c->report;
    struct session *s = c->session;
    struct text piece;
    text_init(&piece, c->ledger, MEM_VIEWS);
    bool ok = session_piece(s, id, &piece, err);
    report_open(r, NULL, '{');
    report_int(r, "position", i);
    report_int(r, "id", id);
    if (ours)
        json_state(r, s, i);
    if (s->model.tokenizer)
        report_string(r, "token", piece.data ? piece.data : "", piece.n);
    else
        report_null(r, "token");
    report_close(r, '}');
    text_fini(&piece);
    return ok;
}

static void add_numbers(struct text *t, const char *words, const int *numbers, int n)
{
    for (int i = 0; i < n && i < STALE_NAMED; i++)
        text_printf(t, "%s %d", i ? "," : words, numbers[i]);
    text_add(t, n > STALE_NAMED ? ", ..." : "");
}

static bool add_state(struct text *t, const struct session *s, int i, struct error *err)
{
    struct stale stale;
    int patch = patch_of(s, i);
    if (patch) {
        text_printf(t, "  by patch %d, was ", patch);
        if (!place_add_token(t, s, patches_old_token(&s->patches, i), err))
            return false;
    }
    text_add(t, i == s->n_prompt ? "  generated from here" : "");
    if (session_stale(s, i, &stale)) {
        add_numbers(t, "  generated before patch", stale.since, stale.n_since);
        add_numbers(t, stale.n_since ? ", with patch" : "  generated with patch", stale.gone,
                    stale.n_gone);
        text_add(t, stale.n_gone ? " that is gone" : "");
    }
    return true;
}

static bool token_text(struct console *c, int i, int32_t id, bool ours, struct error *err)
{
    struct text *t = &c->report->text;
    struct session *s = c->session;
    text_printf(t, "%s#%-5d %6d  ", ours && i == s->position ? "=> " : "   ", i, (int)id);
    if (!place_add_token(t, s, id, err) || (ours && !add_state(t, s, i, err)))
        return false;
    text_add(t, "\n");
    return true;
}

/* ours: they are the session's, not those of a text that was only cut into tokens. */
static bool list_tokens(struct console *c, const int32_t *ids, int n, bool ours, struct error *err)
{
    struct report *r = c->report;
    if (r->json) {
        report_begin(r, "cmd", "tokens");
        report_open(r, "tokens", '[');
    }
    for (int i = 0; i < n; i++)
        if (!(r->json ? token_json : token_text)(c, i, ids[i], ours, err) ||
            !report_trickle(r, err))
            return false;
    if (!r->json)
        return report_send(r, err);
    report_close(r, ']');
    return report_end(r, err);
}

static bool run_tokens(struct console *c, struct arguments *a, struct error *err)
{
    struct session *s = c->session;
    struct arguments probe = *a;
    if (arguments_end(&probe)) {
        if (!s->has_prompt)
            return error_set(err, ERR_STATE, "there is no prompt yet (run TEXT)");
        return list_tokens(c, s->trace.ids, s->trace.n_ids, true, err);
    }
    if (!s->model.tokenizer)
        return error_set(err, ERR_STATE, "%s has no tokenizer.json", s->model.name);
    size_t n;
    bool quoted;
    int32_t *ids;
    int n_ids;
    char *text = arguments_text(c, a, &n, &quoted, err);
    if (!text)
        return false;
    bool ok = tokenizer_encode(s->model.tokenizer, text, n, true, &ids, &n_ids, err);
    mem_free(c->ledger, text);
    if (!ok)
        return false;
    ok = list_tokens(c, ids, n_ids, false, err);
    mem_free(c->ledger, ids);
    return ok;
}

const struct command command_tokens = {
    .name = "tokens",
    .aliases = "",
    .usage = "tokens [TEXT]",
    .brief = "the sequence's tokens, or those that TEXT would give",
    .help = "A generated token stays when an edit would have the model say another: it is then\n"
            "shown as generated before that patch, and regenerate samples anew.",
    .theme = THEME_LOOK,
    .takes = TAKES_TEXT,
    .run = run_tokens,
};
