/* words.c - commands about the screen itself: attn, focus, layout, mouse, zoom, follow. */
#include "tui/app_parts.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct word screen_words[] = {
    {"attn", "attn [L [H...]]", "choose the layer and the heads shown large; alone: follow again"},
    {"focus", "focus PANEL", "go to a panel"},
    {"follow", "follow", "layer and token follow the cursor again"},
    {"layout", "layout [NAME [SPEC]]", "which panels stand where; SPEC is told by layout alone"},
    {"mouse", "mouse on|off", "click, wheel and read values; takes away text selection"},
    {"zoom", "zoom", "the panel alone, and back"},
    {NULL, NULL, NULL}};

/* Reads whole numbers; at most n. -1: something else stands there. */
static int numbers(const char *s, int *out, int n)
{
    int k = 0;
    for (;;) {
        char *end;
        s += strspn(s, " \t,");
        if (!*s)
            return k;
        errno = 0;
        long x = strtol(s, &end, 10);
        if (end == s || errno || x < 0 || x > 100000 || k == n ||
            (*end && *end != ',' && !isblank((unsigned char)*end)))
            return -1;
        out[k++] = (int)x;
        s = end;
    }
}

static int place_of(const struct layout *l, const char *name)
{
    size_t n = strlen(name);
    for (int i = 0; n > 0 && i < l->n; i++)
        if (strncmp(panels_kind(l->place[i].kind)->name, name, n) == 0)
            return i;
    return -1;
}

static void choose_heads(struct app *a, const char *rest)
{
    const struct config *k = &a->session.model.config;
    struct selection *s = &a->view.selection;
    int x[257];
    int n = numbers(rest, x, 257);
    if (n < 0) {
        app_say(a, SAID_ERROR, "attn takes a layer and heads: attn 1 0 3");
        return;
    }
    if (n > 0 && x[0] >= k->n_layers) {
        app_say(a, SAID_ERROR, "layer %d: the model's layers are 0 to %d", x[0], k->n_layers - 1);
        return;
    }
    for (int i = 1; i < n; i++)
        if (x[i] >= k->n_heads) {
            app_say(a, SAID_ERROR, "head %d: the heads are 0 to %d", x[i], k->n_heads - 1);
            return;
        }
    memset(s->large, 0, (size_t)k->n_heads * sizeof *s->large);
    s->follow = n == 0;
    a->pinned = n > 0;
    if (n > 0)
        s->layer = x[0];
    if (n > 1)
        s->head = x[1];
    for (int i = 1; i < n; i++)
        s->large[x[i]] = true;
    a->view.version++;
}

static void focus_on(struct app *a, const char *name)
{
    int place = place_of(app_layout(a), name);
    for (int i = 0; place < 0 && i < N_LAYOUTS; i++) {
        /* In another layout, then. */
        int there = place_of(&a->layouts[i], name);
        if (there < 0)
            continue;
        a->layout = i;
        a->zoom = false;
        a->layouts_changed = true;
        place = there;
    }
    if (place >= 0)
        keys_focus(a, place);
    else
        app_say(a, SAID_ERROR, "no layout has a panel \"%.40s\"", name);
}

static void show_layouts(struct app *a)
{
    struct text t;
    text_init(&t, a->ledger, MEM_VIEWS);
    for (int i = 0; i < N_LAYOUTS; i++) {
        text_printf(&t, "%s %-10s ", i == a->layout ? theme_sign(&a->theme, SIGN_CURSOR) : " ",
                    a->layouts[i].name);
        layout_add_spec(&a->layouts[i], &t);
        text_add(&t, "\n");
    }
    if (text_ok(&t, NULL))
        scrollback_add(a->view.scrollback, SAID_OUTPUT, t.data, t.n);
    text_fini(&t);
}

static void choose_layout(struct app *a, char *rest)
{
    struct error err = {0};
    size_t n = strcspn(rest, " \t");
    char *spec = rest + n + strspn(rest + n, " \t");
    if (n == 0) {
        show_layouts(a);
        return;
    }
    rest[n] = '\0';
    for (int i = 0; i < N_LAYOUTS; i++) {
        if (strncmp(a->layouts[i].name, rest, n) != 0)
            continue;
        const char *as = strcmp(spec, "reset") == 0 ? layout_defaults[i].spec : spec;
        if (*spec && !layout_parse(&a->layouts[i], layout_defaults[i].name, as, &err)) {
            app_say(a, SAID_ERROR, "layout %s, at %d: %s", rest, err.column, err.text);
            return;
        }
        a->layout = i;
        a->zoom = false;
        a->layouts_changed = true;
        keys_focus(a, 0);
        return;
    }
    app_say(a, SAID_ERROR,
            "there is no layout \"%.40s\": default, attention, residual, memory, custom", rest);
}

static void run_word(struct app *a, const char *name, char *rest)
{
    if (strcmp(name, "attn") == 0) {
        choose_heads(a, rest);
    } else if (strcmp(name, "focus") == 0) {
        focus_on(a, rest);
    } else if (strcmp(name, "follow") == 0) {
        choose_heads(a, "");
        a->view.selection.position = a->here.position;
    } else if (strcmp(name, "layout") == 0) {
        choose_layout(a, rest);
    } else if (strcmp(name, "zoom") == 0) {
        a->zoom = !a->zoom;
        a->arranged = false;
    } else if (strcmp(rest, "on") == 0 || strcmp(rest, "off") == 0) {
        terminal_mouse_on(rest[1] == 'n');
    } else {
        app_say(a, SAID_ERROR, "mouse takes on or off");
    }
    a->dirty = true;
}

bool words_run(struct app *a, const char *line)
{
    char copy[1000];
    line += strspn(line, " \t");
    size_t n = strcspn(line, " \t");
    if (n == 0 || strlen(line) >= sizeof copy)
        return false;
    const struct command *other = command_find(line, n, 0, NULL);
    for (int i = 0; screen_words[i].name; i++) {
        const char *name = screen_words[i].name;
        bool whole = strlen(name) == n && memcmp(name, line, n) == 0;
        bool ours = whole || (other ? strcmp(other->name, name) == 0 : strncmp(name, line, n) == 0);
        if (!ours)
            continue;
        snprintf(copy, sizeof copy, "%s", line + n + strspn(line + n, " \t"));
        size_t end = strlen(copy);
        while (end > 0 && isblank((unsigned char)copy[end - 1]))
            copy[--end] = '\0';
        run_word(a, name, copy);
        return true;
    }
    return false;
}
