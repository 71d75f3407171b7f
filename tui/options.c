#include "tui/options.h"

#include "engine/model/device.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char options_help[] =
    "usage: midpass [options] MODEL [PROMPT]\n"
    "\n"
    "MODEL is a folder with config.json, model.safetensors and tokenizer.json, or a model's name "
    "in\n"
    "the local Hugging Face cache. PROMPT is run before any command.\n"
    "\n"
    "  --plain          a prompt without the screen, for screen readers and logs\n"
    "  --slow           the screen draws at most twice a second\n"
    "  --batch          no questions; end with a non-zero status at the first error\n"
    "  -ex COMMAND      run a command (any number of these, mixed with -x, in order)\n"
    "  -x FILE          run the commands in a file\n"
    "  --json           one JSON object a line\n"
    "  --ids \"1 2 3\"    a prompt as token ids\n"
    "  --ctx N          at most N positions; changes nothing else\n"
    "  --mem SIZE       memory to stay within: 8G, 512M; else what is free\n"
    "  --rope MODE      auto, short, long: which factors a longrope model uses\n"
    "  --device NAME    auto, cpu, cuda, cuda:1 (the second GPU); auto: a GPU if there is one\n"
    "  --dtype NAME     what a GPU computes in: f32; bf16 (sums and residual f32). Without it\n"
    "                   bf16 where the checkpoint is bf16, else f32\n"
    "  --exact          on a GPU, recomputed values have the run's bits, at a price in speed;\n"
    "                   on the CPU they always have\n"
    "  --threads N      else one for each CPU\n"
    "  --plan           what the model will take, and load nothing\n"
    "  --stride N       keep a checkpoint of the residual every N layers\n"
    "  --chunk N        positions that a prompt runs in at once\n"
    "  --isa NAME       scalar, avx2, avx512: the same bits, another speed\n"
    "  --resume [FILE]  the last session again, or that of a log: model, prompt, edits, place\n"
    "  --sessions       list the sessions that can be resumed\n"
    "  --no-log         keep no log of this session (--batch keeps none)\n"
    "  --no-rc          do not run the rc files; --rc runs them with --batch, too\n"
    "  --allow FOLDER   let FOLDER/.midpassrc run, as it is now, when midpass starts there\n"
    "  --help, --version\n"
    "\n"
    "On a terminal this opens the screen: F1 tells its keys. Otherwise, without -ex and -x, "
    "commands\n"
    "are read from standard input; help lists them.\n";

struct parse {
    struct options *o;
    struct error *err;
    char **argv;
    int at, argc;
};

/* The option's value: behind "=", or the next word. */
static const char *value_of(struct parse *p, const char *name, const char *inside)
{
    if (inside)
        return inside;
    if (p->at + 1 < p->argc)
        return p->argv[++p->at];
    error_set(p->err, ERR_USAGE, "%s needs a value", name);
    return NULL;
}

static bool whole(struct parse *p, const char *name, const char *value, int *out)
{
    char *end;
    long x = strtol(value, &end, 10);
    if (end == value || *end || x < 1 || x > INT_MAX)
        return error_set(p->err, ERR_USAGE, "%s takes a whole number from 1 on, not \"%s\"", name,
                         value);
    *out = (int)x;
    return true;
}

static bool one_of(struct parse *p, const char *name, const char *value, const char *const *words)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(value, words[i]) == 0)
            return true;
    return error_set(p->err, ERR_USAGE, "%s takes %s, %s or %s, not \"%s\"", name, words[0],
                     words[1], words[2], value);
}

static bool add_action(struct options *o, bool is_file, const char *text)
{
    o->actions[o->n_actions++] = (struct action){is_file, text};
    return true;
}

/* Options without a value. */
static bool *flag(struct options *o, const char *name)
{
    if (strcmp(name, "--batch") == 0 || strcmp(name, "-batch") == 0)
        return &o->batch;
    if (strcmp(name, "--json") == 0)
        return &o->json;
    if (strcmp(name, "--plan") == 0)
        return &o->plan;
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return &o->help;
    if (strcmp(name, "--plain") == 0)
        return &o->plain;
    if (strcmp(name, "--slow") == 0)
        return &o->slow;
    if (strcmp(name, "--version") == 0)
        return &o->version;
    if (strcmp(name, "--no-log") == 0)
        return &o->no_log;
    if (strcmp(name, "--no-rc") == 0)
        return &o->no_rc;
    if (strcmp(name, "--rc") == 0)
        return &o->rc;
    if (strcmp(name, "--sessions") == 0)
        return &o->sessions;
    if (strcmp(name, "--exact") == 0)
        return &o->session.exact;
    return NULL;
}

/* The name, as long as the program runs; NULL: no option of this name takes a value. */
static const char *name_of(const char *name)
{
    static const char *const names[] = {"-x",      "-ex",      "--ex",     "--ids",     "--allow",
                                        "--ctx",   "--mem",    "--rope",   "--threads", "--isa",
                                        "--chunk", "--stride", "--device", "--dtype"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return names[i];
    return NULL;
}

/* --resume, --resume=FILE, --resume FILE: the next word is taken if it is a file, which no
 * model is. */
static bool set_resume(struct parse *p, const char *inside)
{
    struct stat st;
    p->o->resume = true;
    p->o->resume_file = inside;
    if (!inside && p->at + 1 < p->argc && stat(p->argv[p->at + 1], &st) == 0 && S_ISREG(st.st_mode))
        p->o->resume_file = p->argv[++p->at];
    return true;
}

static bool set_value(struct parse *p, const char *name, const char *value)
{
    static const char *const regimes[] = {"auto", "short", "long", NULL};
    int index;
    static const char *const isas[] = {"scalar", "avx2", "avx512", NULL};
    struct options *o = p->o;
    struct session_options *s = &o->session;
    if (strcmp(name, "-x") == 0)
        return add_action(o, true, value);
    if (strcmp(name, "-ex") == 0 || strcmp(name, "--ex") == 0)
        return add_action(o, false, value);
    if (strcmp(name, "--ids") == 0) {
        o->ids = value;
        return true;
    }
    if (strcmp(name, "--allow") == 0) {
        o->allow = value;
        return true;
    }
    /* All others make the session what it is. */
    o->log_words[o->n_log_words++] = name_of(name);
    o->log_words[o->n_log_words++] = value;
    if (strcmp(name, "--threads") == 0)
        return whole(p, name, value, &s->n_threads);
    if (strcmp(name, "--ctx") == 0)
        return whole(p, name, value, &s->trace.n_ctx);
    if (strcmp(name, "--stride") == 0)
        return whole(p, name, value, &s->trace.stride);
    if (strcmp(name, "--chunk") == 0)
        return whole(p, name, value, &s->trace.chunk);
    if (strcmp(name, "--mem") == 0) {
        if (!mem_parse(value, &s->budget, p->err))
            return error_prefix(p->err, "--mem");
        return s->budget > 0 || error_set(p->err, ERR_USAGE, "--mem 0 leaves nothing to run in");
    }
    if (strcmp(name, "--rope") == 0) {
        s->trace.regime = *value == 's' ? REGIME_SHORT : *value == 'l' ? REGIME_LONG : REGIME_AUTO;
        return one_of(p, name, value, regimes);
    }
    if (strcmp(name, "--device") == 0) {
        s->device = value;
        return device_parse(value, &index) ||
               error_set(p->err, ERR_USAGE, "%s takes auto, cpu, cuda or cuda:1, not \"%s\"", name,
                         value);
    }
    if (strcmp(name, "--dtype") == 0) {
        s->dtype = value;
        return strcmp(value, "f32") == 0 || strcmp(value, "bf16") == 0 ||
               error_set(p->err, ERR_USAGE, "%s takes f32 or bf16, not \"%s\"", name, value);
    }
    s->isa = value;
    return one_of(p, name, value, isas);
}

static bool parse_option(struct parse *p, const char *word)
{
    char name[32];
    const char *equals = word[1] == '-' ? strchr(word, '=') : NULL;
    size_t n = equals ? (size_t)(equals - word) : strlen(word);
    if (n >= sizeof name)
        return error_set(p->err, ERR_USAGE, "there is no option %.60s", word);
    memcpy(name, word, n);
    name[n] = '\0';
    bool *on = flag(p->o, name);
    if (on && equals)
        return error_set(p->err, ERR_USAGE, "%s takes no value", name);
    if (on) {
        *on = true;
        /* This one, too, makes the session what it is. */
        if (on == &p->o->session.exact)
            p->o->log_words[p->o->n_log_words++] = "--exact";
        return true;
    }
    if (strcmp(name, "--resume") == 0)
        return set_resume(p, equals ? equals + 1 : NULL);
    if (!name_of(name))
        return error_set(p->err, ERR_USAGE, "there is no option %s", name);
    const char *value = value_of(p, name, equals ? equals + 1 : NULL);
    return value && set_value(p, name, value);
}

bool options_parse(struct options *o, struct ledger *l, int argc, char **argv, struct error *err)
{
    struct parse p = {.o = o, .err = err, .argv = argv, .argc = argc};
    bool ended = false;
    *o = (struct options){.ledger = l, .session.device = "auto"};
    o->actions = mem_alloc_array(l, MEM_OTHER, (size_t)argc + 1, sizeof *o->actions, err);
    o->log_words = mem_alloc_array(l, MEM_OTHER, 2 * (size_t)argc + 2, sizeof *o->log_words, err);
    if (!o->actions || !o->log_words)
        return false;
    for (p.at = 1; p.at < argc; p.at++) {
        const char *word = argv[p.at];
        if (!ended && strcmp(word, "--") == 0) {
            ended = true;
        } else if (!ended && word[0] == '-' && word[1]) {
            if (!parse_option(&p, word))
                return false;
        } else if (!o->model) {
            o->model = word;
        } else if (!o->prompt) {
            o->prompt = word;
        } else {
            return error_set(err, ERR_USAGE,
                             "\"%.40s\" is one word too many: a prompt of several "
                             "words stands in quotes",
                             word);
        }
    }
    if (o->help || o->version || o->sessions || o->allow)
        return true;
    if (o->resume && (o->prompt || o->ids))
        return error_set(err, ERR_USAGE, "--resume brings its prompt: another one is one too many");
    if (!o->model && !o->resume)
        return error_set(err, ERR_USAGE, "a MODEL is needed: a folder, or a cached model's name");
    if (o->prompt && o->ids)
        return error_set(err, ERR_USAGE, "a PROMPT and --ids are one too many");
    return true;
}

void options_fini(struct options *o)
{
    mem_free(o->ledger, o->actions);
    mem_free(o->ledger, o->log_words);
    o->actions = NULL;
    o->log_words = NULL;
}
