/* remember.c - layouts from one day to the next: $XDG_STATE_HOME/midpass/layout.
 *
 * A line for each layout, its name and its spec, and `current NAME`. A line that cannot be read
 * is left out: it may be of another version. */
#include "tui/app_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool find_file(char *out, size_t room)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (state && state[0] == '/')
        n = snprintf(out, room, "%s/midpass/layout", state);
    else if (home && *home)
        n = snprintf(out, room, "%s/.local/state/midpass/layout", home);
    return n > 0 && (size_t)n < room;
}

static int layout_index(const char *name)
{
    for (int i = 0; i < N_LAYOUTS; i++)
        if (strcmp(layout_defaults[i].name, name) == 0)
            return i;
    return -1;
}

static void take_line(struct app *a, char *line)
{
    char *rest = line + strcspn(line, " ");
    if (*rest)
        *rest++ = '\0';
    bool current = strcmp(line, "current") == 0;
    int i = layout_index(current ? rest : line);
    if (i >= 0 && current)
        a->layout = i;
    else if (i >= 0)
        layout_parse(&a->layouts[i], layout_defaults[i].name, rest, NULL);
}

void remember_load(struct app *a)
{
    char path[4096];
    size_t n;
    for (int i = 0; i < N_LAYOUTS; i++)
        layout_parse(&a->layouts[i], layout_defaults[i].name, layout_defaults[i].spec, NULL);
    if (!find_file(path, sizeof path))
        return;
    char *text = file_read(a->ledger, MEM_OTHER, path, 65536, &n, NULL);
    for (char *s = text; s && *s;) {
        char *end = s + strcspn(s, "\n");
        char *next = *end ? end + 1 : end;
        *end = '\0';
        take_line(a, s);
        s = next;
    }
    mem_free(a->ledger, text);
}

void remember_save(struct app *a)
{
    char path[4096];
    struct text t;
    struct file_writer w;
    struct error err = {0};
    if (!a->layouts_changed || !find_file(path, sizeof path))
        return;
    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            if (mkdir(path, 0700) != 0 && errno != EEXIST)
                return;
            *p = '/';
        }
    text_init(&t, a->ledger, MEM_OTHER);
    text_printf(&t, "current %s\n", a->layouts[a->layout].name);
    for (int i = 0; i < N_LAYOUTS; i++) {
        text_printf(&t, "%s ", a->layouts[i].name);
        layout_add_spec(&a->layouts[i], &t);
        text_add(&t, "\n");
    }
    /* A layout that could not be kept is no reason to keep the user. */
    if (text_ok(&t, &err) && file_create(&w, a->ledger, path, &err)) {
        if (!file_write(&w, t.data, t.n, &err) || !file_commit(&w, &err))
            file_abandon(&w);
    }
    text_fini(&t);
}
