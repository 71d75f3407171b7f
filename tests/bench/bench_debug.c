/* bench_debug.c - what debugging costs: an edit to new logits, going back, breakpoints that never
 * fire.
 *
 *     bench_debug [FOLDER]     default build/bench, where bench_model makes gpt2-small
 *
 * An edit in layer l of L leaves the layers below it alone, so at the last position it should cost
 * (L - l) / L of a token's pass through the blocks, and the final norm and unembedding, which any
 * edit needs; the limit shown adds a tenth. */
#include "engine/debug/command.h"
#include "tests/support/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POSITIONS = 1024, ROUNDS = 9 };

static struct console console;
static struct session session;

static void die(const struct error *e)
{
    fprintf(stderr, "%s\n", e->text);
    exit(1);
}

static bool drop(void *context, const char *s, size_t n, struct error *err)
{
    (void)context, (void)s, (void)n, (void)err;
    return true;
}

static double command(const char *line)
{
    struct error err = {0};
    double start = limit_seconds();
    if (!console_run(&console, line, strlen(line), &err))
        die(&err);
    return limit_seconds() - start;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *times)
{
    qsort(times, ROUNDS, sizeof *times, by_size);
    return times[ROUNDS / 2];
}

static void logits(void)
{
    struct error err = {0};
    int op = session.model.program.n_ops - 1, last = session.trace.n_ids - 1;
    float *row = malloc((size_t)session.model.config.n_vocab * sizeof *row);
    if (!row || !trace_compute(&session.trace, last + 1, &err) ||
        !trace_read(&session.trace, op, last, 1, 0, 0, 0, row, &err))
        die(&err);
    free(row);
}

/* The last position's blocks and logits computed anew, from layer `from` on. */
static double one_token(int from)
{
    double times[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        trace_invalidate(&session.trace, POSITIONS - 1, from);
        double start = limit_seconds();
        logits();
        times[i] = limit_seconds() - start;
    }
    return median(times);
}

static void edits(void)
{
    static const int layers[] = {0, 3, 6, 9, 11};
    int L = session.model.config.n_layers, id = 0;
    double tail = one_token(L), blocks = one_token(0) - tail;
    printf("An edit of a head's z at the last of %d positions, to new logits (a token: %.2f ms in "
           "the blocks, %.2f "
           "ms behind):\n",
           POSITIONS, blocks * 1e3, tail * 1e3);
    for (size_t k = 0; k < sizeof layers / sizeof *layers; k++) {
        int l = layers[k];
        double times[ROUNDS], limit = ((double)(L - l) / L * blocks + tail) * 1.1;
        for (int i = 0; i < ROUNDS; i++) {
            char line[80];
            snprintf(line, sizeof line, "patch %d.z[3] at -1 = %d", l, i);
            double start = limit_seconds();
            command(line);
            logits();
            times[i] = limit_seconds() - start;
            snprintf(line, sizeof line, "delete patch %d", ++id);
            command(line);
            logits();
        }
        double took = median(times);
        printf("  layer %2d  %6.2f ms of %6.2f ms   ratio %.2f\n", l, took * 1e3, limit * 1e3,
               took / limit);
    }
}

static void going_back(void)
{
    static const char *const places[] = {"goto 100 5.resid_post", "goto 900 0.z",
                                         "goto 0 11.mlp.post", "goto 1023 6.resid_mid",
                                         "goto 512 3.attn_out"};
    double worst = 0;
    for (int i = 0; i < 50; i++) {
        double took = command(places[i % 5]) + command("print .");
        worst = took > worst ? took : worst;
    }
    printf(
        "Going anywhere in %d positions and reading a row there: %.2f ms at worst (limit 5 ms)\n",
        POSITIONS, worst * 1e3);
}

static double prompt(void)
{
    double times[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        trace_invalidate(&session.trace, 0, 0);
        command("goto 0");
        times[i] = command("continue");
    }
    return median(times);
}

static void breakpoints(void)
{
    static const char *const never[] = {"break 5.resid_post if norm(.) < 0",
                                        "break 5.pattern if max(.[3]) < 0",
                                        "break *.resid_post if max(.) < -1e9"};
    printf("A prompt of %d with a condition that never fires (limit 1.10):\n", POSITIONS);
    for (int i = 0; i < 3; i++) {
        char line[80];
        double without = prompt();
        command(never[i]);
        double with = prompt();
        snprintf(line, sizeof line, "delete %d", i + 1);
        command(line);
        printf("  %-38s %6.1f ms, %6.1f ms without   ratio %.2f\n", never[i], with * 1e3,
               without * 1e3, with / without);
    }
}

int main(int argc, char **argv)
{
    char folder[300];
    struct error err = {0};
    snprintf(folder, sizeof folder, "%s/gpt2-small", argc > 1 ? argv[1] : "build/bench");
    struct ledger *l = ledger_open();
    struct report report;
    if (!l || !session_open(&session, l, folder, &(struct session_options){0}, &err))
        die(&err);
    report_init(&report, l, false, drop, NULL);
    console_init(&console, &session, &report);
    static int32_t ids[POSITIONS];
    for (int i = 0; i < POSITIONS; i++)
        ids[i] = (int32_t)((unsigned)i * 2654435761u % (unsigned)session.model.config.n_vocab);
    if (!session_prompt_ids(&session, ids, POSITIONS, &err))
        die(&err);
    command("finish");
    edits();
    going_back();
    breakpoints();
    console_fini(&console);
    report_fini(&report);
    session_close(&session);
    return ledger_close(l) != 0;
}
