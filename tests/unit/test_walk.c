/* test_walk.c - a random walk on every tiny checkpoint: steps, going back, edits, undoing, doing
 * again, generating. Now and then all that is known is compared, bit by bit, with a session that
 * starts anew with the same tokens and patches. */
#include "engine/debug/command.h"
#include "tests/support/checkpoints.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOVES   3000 /* on each checkpoint: 54,000 over all 18 */
#define COMPARE 40   /* moves between comparisons */
#define TOKENS  24   /* the sequence is cut back to its prompt beyond that */

struct walker {
    struct ledger *ledger;
    struct session session;
    struct report report;
    struct console console;
    uint64_t random;
    char model[200];
    char last[12][200]; /* the last moves, for the message */
    long moves;
};

static bool drop(void *context, const char *s, size_t n, struct error *err)
{
    (void)context, (void)s, (void)n, (void)err;
    return true;
}

static void walker_open(struct walker *w, const char *model)
{
    struct error err = {0};
    struct session_options o = {.n_threads = 1,
                                .trace.chunk = 5,
                                .trace.stride = 2,
                                .trace.attention = model[0] != 'p'}; /* not of phi3 and pythia */
    memset(w, 0, sizeof *w);
    snprintf(w->model, sizeof w->model, CHECKPOINTS "/%s", model);
    w->random = 88172645463325252ull;
    w->ledger = ledger_open();
    if (!session_open(&w->session, w->ledger, w->model, &o, &err))
        fail_msg("%s", err.text);
    report_init(&w->report, w->ledger, false, drop, NULL);
    console_init(&w->console, &w->session, &w->report);
}

static void walker_close(struct walker *w)
{
    console_fini(&w->console);
    report_fini(&w->report);
    session_close(&w->session);
    assert_int_equal(ledger_close(w->ledger), 0);
}

static int roll(struct walker *w, int n)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (int)((w->random >> 33) % (unsigned)n);
}

static void lost(const struct walker *w, const char *why)
{
    print_message("%s after %ld moves: %s\n", w->model, w->moves, why);
    for (long i = w->moves > 12 ? w->moves - 12 : 0; i < w->moves; i++)
        print_message("    %s\n", w->last[i % 12]);
    fail();
}

/* Runs a line; what the state does not allow (nothing to undo, the sequence's end) is no failure.
 */
static void move(struct walker *w, const char *line)
{
    struct error err = {0};
    snprintf(w->last[w->moves++ % 12], sizeof w->last[0], "%s", line);
    if (!console_run(&w->console, line, strlen(line), &err) && err.code != ERR_STATE &&
        err.code != ERR_USAGE)
        lost(w, err.text);
}

static void new_prompt(struct walker *w, char *line, size_t room)
{
    int n = 3 + roll(w, 9), vocab = w->session.model.config.n_vocab;
    size_t at = (size_t)snprintf(line, room, "ids");
    for (int i = 0; i < n; i++)
        at += (size_t)snprintf(line + at, room - at, " %d", roll(w, vocab));
}

static void edit(struct walker *w, char *line, size_t room)
{
    static const char *const sites[] = {"z[0]", "mlp_out",    "resid_post[1:3]", "v[0,1]",
                                        "q",    "pattern[0]", "attn_out",        "mlp.post[2]"};
    static const char *const ops[] = {"zero", "scale 1.5", "add 0.25", "= 0.125"};
    int layer = roll(w, w->session.model.config.n_layers);
    const char *site = sites[roll(w, 8)], *op = ops[roll(w, 4)];
    if (roll(w, 3) == 0)
        snprintf(line, room, "patch %d.%s %s", layer, site, op);
    else
        snprintf(line, room, "patch %d.%s at %d %s", layer, site,
                 roll(w, w->session.trace.n_ids > 0 ? w->session.trace.n_ids : 1), op);
}

static void random_move(struct walker *w)
{
    static const char *const plain[] = {
        "step",      "next",       "stepi 3",  "token",       "finish",
        "continue",  "rs 2",       "rn",       "rt",          "rc",
        "undo",      "undo",       "redo",     "top 2",       "generate 2",
        "undo 3",    "redo 2",     "goto 0",   "goto -1 0.z", "b 0.z at 1",
        "catch nan", "regenerate", "recall A", "recall B",    "regenerate from -1 2"};
    char line[200];
    int kind = roll(w, 30);
    if (w->session.trace.n_ids > TOKENS || !w->session.has_prompt || kind == 0)
        new_prompt(w, line, sizeof line);
    else if (kind < 6)
        edit(w, line, sizeof line);
    else if (kind == 6)
        snprintf(line, sizeof line, "delete patch %d", 1 + roll(w, w->session.patches.last_id + 1));
    else if (kind == 7)
        snprintf(line, sizeof line, "disable patch %d",
                 1 + roll(w, w->session.patches.last_id + 1));
    else if (kind == 8)
        snprintf(line, sizeof line, "delete");
    else if (kind == 9)
        snprintf(line, sizeof line, "patch token %d = %d", roll(w, w->session.trace.n_ids),
                 roll(w, w->session.model.config.n_vocab));
    else
        snprintf(line, sizeof line, "%s", plain[roll(w, sizeof plain / sizeof plain[0])]);
    move(w, line);
}

/* The same tokens and patches from nothing. */
static void compare(struct walker *w)
{
    const struct session *s = &w->session;
    struct session fresh;
    struct error err = {0};
    struct session_options o = {.n_threads = 2};
    int n = trace_rows(&s->trace);
    if (n == 0)
        return;
    if (!session_open(&fresh, w->ledger, w->model, &o, &err) ||
        !session_prompt_ids(&fresh, s->trace.ids, s->trace.n_ids, &err))
        lost(w, err.text);
    for (int i = 0; i < s->patches.n; i++) {
        const struct patch *p = &s->patches.list[i];
        if (p->kind == PATCH_TOKEN)
            continue; /* the tokens have it already */
        struct patch_spec spec = {.site = p->site,
                                  .layer_first = p->layer_first,
                                  .layer_last = p->layer_last,
                                  .first = p->first,
                                  .last = p->last,
                                  .n_picks = p->n_picks,
                                  .picks = {p->picks[0], p->picks[1]},
                                  .kind = p->kind,
                                  .operand = &p->operand};
        int id = patches_add(&fresh.patches, &spec, &err);
        if (!id || !patches_enable(&fresh.patches, id, p->enabled, &err))
            lost(w, err.text);
    }
    if (!trace_compute(&fresh.trace, n, &err))
        lost(w, err.text);
    const struct program *p = &s->model.program;
    int op = roll(w, p->n_ops);
    while (p->ops[op].site == SITE_NONE)
        op = roll(w, p->n_ops);
    int logits = program_find(p, SITE_LOGITS, 0);
    for (int k = 0; k < 2; k++) {
        int which = k ? op : logits, heads = p->ops[which].width;
        size_t count = trace_read_count(&s->trace, which, n, heads, n);
        float *a = malloc(2 * count * sizeof *a);
        if (!a || !trace_read(&w->session.trace, which, 0, n, 0, heads, n, a, &err) ||
            !trace_read(&fresh.trace, which, 0, n, 0, heads, n, a + count, &err))
            lost(w, err.text);
        else if (memcmp(a, a + count, count * sizeof *a) != 0)
            lost(w, "other bits than a fresh run's");
        free(a);
    }
    session_close(&fresh);
}

static void test_walk(void **state)
{
    struct walker w;
    walker_open(&w, *state);
    for (int i = 1; i <= MOVES; i++) {
        random_move(&w);
        if (i % COMPARE == 0)
            compare(&w);
    }
    walker_close(&w);
}

int main(void)
{
    static struct CMUnitTest tests[CHECKPOINTS_MOST];
    int n = checkpoints_add(tests, 0, CHECKPOINTS_MOST, test_walk);
    return _cmocka_run_group_tests("walk", tests, (size_t)n, NULL, NULL);
}
