/* options.h - what the command line asks for. */
#ifndef MIDPASS_OPTIONS_H
#define MIDPASS_OPTIONS_H

#include "engine/debug/session.h"

struct action {
    bool is_file; /* -x FILE; else -ex COMMAND */
    const char *text;
};

struct options {
    struct ledger *ledger;
    const char *model, *prompt, *ids; /* NULL: not given */
    bool batch, json, plan, help, version;
    bool no_log, rc, no_rc, sessions, resume;
    const char *resume_file; /* NULL: the last session */
    const char *allow;       /* a folder; NULL: not given */
    bool plain;              /* a prompt without the screen */
    bool slow;               /* the screen draws at most twice a second */
    struct session_options session;
    struct action *actions; /* in the order given */
    int n_actions;
    const char **log_words; /* [n_log_words]: the options that a session needs to be the same */
    int n_log_words;
};

/* Strings point into argv. False and *err: the command line is off. */
bool options_parse(struct options *o, struct ledger *l, int argc, char **argv, struct error *err);
void options_fini(struct options *o);
/* What --help prints. */
extern const char options_help[];

#endif
