/* bench_model.c - whole models: generation against the rate of memory, prompts against the rate
 * of arithmetic, the first token of a mapped checkpoint, and memory by length.
 *
 *     bench_model [FOLDER]     default build/bench; checkpoints are made there once
 *
 * Shapes: GPT-2 small (float32, 0.65 GB with both tables), Llama 3.2 1B (bf16, 2.5 GB), and a
 * small Llama with a limit of 131072 positions. Weights are random. */
#include "engine/debug/session.h"
#include "engine/model/safetensors.h"
#include "tests/support/limits.h"

#include <fcntl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- checkpoints ---- */

struct entry {
    char name[80];
    long d0, d1; /* d1 0: a vector */
};

struct maker {
    struct entry *entries;
    int n;
};

static void add(struct maker *m, long d0, long d1, const char *format, int layer)
{
    m->entries = realloc(m->entries, (size_t)(m->n + 1) * sizeof *m->entries);
    struct entry *e = &m->entries[m->n++];
    char name[80];
    snprintf(name, sizeof name, "%s", format);
    char *hash = strchr(name, '#');
    if (hash)
        snprintf(e->name, sizeof e->name, "%.*s%d%s", (int)(hash - name), name, layer, hash + 1);
    else
        snprintf(e->name, sizeof e->name, "%s", name);
    e->d0 = d0;
    e->d1 = d1;
}

static uint32_t random_bits(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return (uint32_t)(*s >> 32);
}

/* Values of about +-0.03: sign and mantissa random, exponent of 2^-6 or 2^-5. */
static void write_values(FILE *f, long count, bool half, uint64_t *seed)
{
    static uint32_t block[4096];
    long words = half ? count / 2 : count;
    while (words > 0) {
        long n = words < 4096 ? words : 4096;
        for (long i = 0; i < n; i++) {
            uint32_t r = random_bits(seed);
            block[i] = half ? (r & 0x80ff80ffu) | 0x3c003c00u : (r & 0x80ffffffu) | 0x3c000000u;
        }
        fwrite(block, 4, (size_t)n, f);
        words -= n;
    }
}

static void make(const char *folder, const char *config, struct maker *m, bool half)
{
    char path[300], temporary[310];
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    struct stat st;
    mkdir(folder, 0777);
    if (stat(path, &st) == 0) {
        free(m->entries);
        return;
    }
    fprintf(stderr, "making %s\n", path);
    size_t each = half ? 2 : 4, at = 0, used = 0, room = (size_t)m->n * 200 + 100;
    char *header = malloc(room);
    used += (size_t)snprintf(header, room, "{");
    for (int i = 0; i < m->n; i++) {
        const struct entry *e = &m->entries[i];
        size_t bytes = (size_t)(e->d0 * (e->d1 ? e->d1 : 1)) * each;
        char shape[48];
        snprintf(shape, sizeof shape, e->d1 ? "%ld,%ld" : "%ld", e->d0, e->d1);
        used +=
            (size_t)snprintf(header + used, room - used,
                             "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,"
                             "%zu]}",
                             i ? "," : "", e->name, half ? "BF16" : "F32", shape, at, at + bytes);
        at += bytes;
    }
    used += (size_t)snprintf(header + used, room - used, "}");
    while (used % 8)
        header[used++] = ' ';
    snprintf(temporary, sizeof temporary, "%s.part", path);
    FILE *f = fopen(temporary, "wb");
    if (!f) {
        perror(temporary);
        exit(1);
    }
    uint64_t n = used, seed = 88172645463325252ull;
    fwrite(&n, 8, 1, f);
    fwrite(header, 1, used, f);
    for (int i = 0; i < m->n; i++)
        write_values(f, m->entries[i].d0 * (m->entries[i].d1 ? m->entries[i].d1 : 1), half, &seed);
    if (fclose(f) != 0 || rename(temporary, path) != 0) {
        perror(path);
        exit(1);
    }
    free(header);
    free(m->entries);
    snprintf(path, sizeof path, "%s/config.json", folder);
    f = fopen(path, "w");
    if (!f || fputs(config, f) == EOF || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

static void make_gpt2(const char *folder)
{
    struct maker m = {0};
    add(&m, 50257, 768, "wte.weight", 0);
    add(&m, 1024, 768, "wpe.weight", 0);
    for (int l = 0; l < 12; l++) {
        static const char *const norms[] = {"h.#.ln_1.weight",      "h.#.ln_1.bias",
                                            "h.#.ln_2.weight",      "h.#.ln_2.bias",
                                            "h.#.attn.c_proj.bias", "h.#.mlp.c_proj.bias"};
        for (int i = 0; i < 6; i++)
            add(&m, 768, 0, norms[i], l);
        add(&m, 768, 2304, "h.#.attn.c_attn.weight", l);
        add(&m, 2304, 0, "h.#.attn.c_attn.bias", l);
        add(&m, 768, 768, "h.#.attn.c_proj.weight", l);
        add(&m, 768, 3072, "h.#.mlp.c_fc.weight", l);
        add(&m, 3072, 0, "h.#.mlp.c_fc.bias", l);
        add(&m, 3072, 768, "h.#.mlp.c_proj.weight", l);
    }
    add(&m, 768, 0, "ln_f.weight", 0);
    add(&m, 768, 0, "ln_f.bias", 0);
    make(
        folder,
        "{\"model_type\":\"gpt2\",\"vocab_size\":50257,\"n_embd\":768,\"n_layer\":12,\"n_head\":12,"
        "\"n_positions\":1024,\"dtype\":\"float32\"}",
        &m, false);
}

static void make_llama(const char *folder, long D, int L, int H, int G, long h, long M, long V,
                       long n_ctx)
{
    struct maker m = {0};
    char config[600];
    add(&m, V, D, "model.embed_tokens.weight", 0);
    for (int l = 0; l < L; l++) {
        add(&m, D, 0, "model.layers.#.input_layernorm.weight", l);
        add(&m, D, 0, "model.layers.#.post_attention_layernorm.weight", l);
        add(&m, H * h, D, "model.layers.#.self_attn.q_proj.weight", l);
        add(&m, G * h, D, "model.layers.#.self_attn.k_proj.weight", l);
        add(&m, G * h, D, "model.layers.#.self_attn.v_proj.weight", l);
        add(&m, D, H * h, "model.layers.#.self_attn.o_proj.weight", l);
        add(&m, M, D, "model.layers.#.mlp.gate_proj.weight", l);
        add(&m, M, D, "model.layers.#.mlp.up_proj.weight", l);
        add(&m, D, M, "model.layers.#.mlp.down_proj.weight", l);
    }
    add(&m, D, 0, "model.norm.weight", 0);
    snprintf(config, sizeof config,
             "{\"model_type\":\"llama\",\"vocab_size\":%ld,\"hidden_size\":%ld,"
             "\"num_hidden_layers\":%d,\"num_attention_heads\":%d,\"num_key_value_heads\":%d,"
             "\"head_dim\":%ld,\"intermediate_size\":%ld,\"max_position_embeddings\":%ld,"
             "\"rope_theta\":500000.0,\"tie_word_embeddings\":true,\"dtype\":\"bfloat16\"}",
             V, D, L, H, G, h, M, n_ctx);
    make(folder, config, &m, true);
}

/* ---- measuring ---- */

static void die(const struct error *e)
{
    fprintf(stderr, "%s\n", e->text);
    exit(1);
}

static void open_session(struct session *s, struct ledger *l, const char *folder)
{
    struct error err;
    if (!session_open(s, l, folder, &(struct session_options){0}, &err))
        die(&err);
}

static void set_prompt(struct session *s, int n)
{
    struct error err;
    int32_t *ids = malloc((size_t)n * sizeof *ids);
    for (int i = 0; i < n; i++)
        ids[i] = (int32_t)((unsigned)i * 2654435761u % (unsigned)s->model.config.n_vocab);
    if (!session_prompt_ids(s, ids, n, &err))
        die(&err);
    free(ids);
}

static void finish(struct session *s)
{
    struct error err;
    if (!session_finish(s, &err))
        die(&err);
}

/* Bytes that one token reads: every matrix of the blocks and the head, each once. */
static size_t bytes_of_token(const struct model *m)
{
    size_t bytes = 0;
    for (int i = 0; i < m->program.n_ops; i++) {
        const struct op *op = &m->program.ops[i];
        if (op->kind == OP_LINEAR)
            bytes += (size_t)op->w.n_out * (size_t)op->w.n_in * dtype_size(op->w.dtype);
    }
    return bytes;
}

/* Multiply-adds x 2 of n positions: the blocks' matrices and the visible half of attention. */
static double work_of_prompt(const struct model *m, int n)
{
    double flops = 0;
    int tail = m->program.block_op[m->program.n_layers];
    for (int i = 0; i < tail; i++) {
        const struct op *op = &m->program.ops[i];
        if (op->kind == OP_LINEAR)
            flops += 2.0 * op->w.n_out * op->w.n_in * n;
        if (op->kind == OP_SCORES)
            flops += 4.0 * op->attention.n_heads * op->attention.d_head * n * (n + 1.0) / 2;
    }
    return flops;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds that a token takes, over some. */
static double generate(struct session *s, int tokens)
{
    struct error err;
    double start = limit_seconds();
    if (!session_generate(s, tokens, &err))
        die(&err);
    return (limit_seconds() - start) / tokens;
}

/* On shared hardware the limits move while one measures: each round holds a figure against the
 * better of its limit just before and just after, and the rounds' median is shown. */
static void measure(const char *label, const char *folder, int prompt)
{
    enum { ROUNDS = 5, TOKENS = 16 };
    struct ledger *l = ledger_open();
    struct session s;
    open_session(&s, l, folder);
    const int threads = s.backend->n_threads;
    double token[ROUNDS], reading[ROUNDS], prompts[ROUNDS], peaks[ROUNDS];
    double token_ratio[ROUNDS], prompt_ratio[ROUNDS];
    double bytes = (double)bytes_of_token(&s.model), work = work_of_prompt(&s.model, prompt);
    /* The very bytes of the weights, from the start of the mapping on. */
    const char *first = checkpoint_tensor(s.model.checkpoint, 0)->data;
    for (int i = 0; i < checkpoint_count(s.model.checkpoint); i++) {
        const struct tensor *u = checkpoint_tensor(s.model.checkpoint, i);
        if ((const char *)u->data < first)
            first = u->data;
    }
    size_t all = checkpoint_bytes(s.model.checkpoint);
    for (int i = 0; i < ROUNDS; i++) {
        set_prompt(&s, 16);
        finish(&s);
        generate(&s, 2);
        double before = limit_read_rate(first, all, threads, 1);
        token[i] = bytes / generate(&s, TOKENS);
        double after = limit_read_rate(first, all, threads, 1);
        reading[i] = before > after ? before : after;
        token_ratio[i] = token[i] / reading[i];
        set_prompt(&s, prompt);
        before = limit_fma_rate(threads);
        double start = limit_seconds();
        finish(&s);
        prompts[i] = work / (limit_seconds() - start);
        after = limit_fma_rate(threads);
        peaks[i] = before > after ? before : after;
        prompt_ratio[i] = prompts[i] / peaks[i];
    }
    double *const lists[] = {token, reading, prompts, peaks, token_ratio, prompt_ratio};
    for (int i = 0; i < 6; i++)
        qsort(lists[i], ROUNDS, sizeof(double), by_size);
    int m = ROUNDS / 2;
    printf("%-16s generation  %7.2f tokens/s, %6.2f GB/s of %6.2f GB/s read   ratio %.2f (%.2f to "
           "%.2f)\n",
           label, token[m] / bytes, token[m] / 1e9, reading[m] / 1e9, token_ratio[m],
           token_ratio[0], token_ratio[ROUNDS - 1]);
    printf("%-16s prompt %4d %7.0f tokens/s, %6.1f GFLOP/s of %6.1f peak     ratio %.2f (%.2f to "
           "%.2f)\n",
           "", prompt, prompts[m] / work * prompt, prompts[m] / 1e9, peaks[m] / 1e9,
           prompt_ratio[m], prompt_ratio[0], prompt_ratio[ROUNDS - 1]);
    session_close(&s);
    ledger_close(l);
}

static void measure_start(const char *folder)
{
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        struct ledger *l = ledger_open();
        double start = limit_seconds();
        struct session s;
        open_session(&s, l, folder);
        set_prompt(&s, 1);
        struct error err;
        if (!session_generate(&s, 1, &err))
            die(&err);
        double took = limit_seconds() - start;
        best = took < best ? took : best;
        session_close(&s);
        ledger_close(l);
    }
    printf("%-16s from opening to the first token: %.3f s (limit 0.3 s)\n", "gpt2-small", best);
}

static void measure_memory(const char *folder)
{
    static const int lengths[] = {10, 1000, 16000};
    printf("\nMemory of a model with a limit of 131072 positions, by length:\n");
    printf("  %8s %14s %14s %14s %14s %12s\n", "tokens", "kv", "checkpoints", "scratch", "peak",
           "per token");
    for (int i = 0; i < 3; i++) {
        struct ledger *l = ledger_open();
        struct session s;
        open_session(&s, l, folder);
        set_prompt(&s, lengths[i]);
        finish(&s);
        char kv[24], ck[24], scratch[24], peak[24], each[24];
        size_t grows = ledger_now(l, MEM_KV, MEM_HOST) + ledger_now(l, MEM_CHECKPOINTS, MEM_HOST);
        printf("  %8d %14s %14s %14s %14s %12s\n", lengths[i],
               mem_format(ledger_now(l, MEM_KV, MEM_HOST), kv),
               mem_format(ledger_now(l, MEM_CHECKPOINTS, MEM_HOST), ck),
               mem_format(ledger_now(l, MEM_SCRATCH, MEM_HOST), scratch),
               mem_format(ledger_total_peak(l), peak),
               mem_format(grows / (size_t)lengths[i], each));
        session_close(&s);
        ledger_close(l);
    }
}

int main(int argc, char **argv)
{
    const char *root = argc > 1 ? argv[1] : "build/bench";
    char gpt2[200], llama[200], small[200];
    snprintf(gpt2, sizeof gpt2, "%s/gpt2-small", root);
    snprintf(llama, sizeof llama, "%s/llama-1b", root);
    snprintf(small, sizeof small, "%s/llama-long", root);
    mkdir(root, 0777);
    make_gpt2(gpt2);
    make_llama(llama, 2048, 16, 32, 8, 64, 8192, 128256, 131072);
    make_llama(small, 256, 4, 4, 2, 64, 768, 2048, 131072);
    measure("gpt2-small f32", gpt2, 512);
    measure("llama-1b bf16", llama, 512);
    measure_start(gpt2);
    measure_memory(small);
    return 0;
}
