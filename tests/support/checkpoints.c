#include "tests/support/checkpoints.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char names[CHECKPOINTS_MOST][64];
static int n_names;

static void find(void)
{
    struct dirent **list;
    int found = scandir(CHECKPOINTS, &list, NULL, alphasort);
    for (int i = 0; i < found; i++) {
        if (list[i]->d_name[0] != '.' && n_names < CHECKPOINTS_MOST)
            snprintf(names[n_names++], sizeof names[0], "%.63s", list[i]->d_name);
        free(list[i]);
    }
    if (found >= 0)
        free(list);
}

int checkpoints_add(struct CMUnitTest *tests, int n, int room, CMUnitTestFunction f)
{
    if (n_names == 0)
        find();
    if (n_names == 0 || n + n_names > room) {
        fprintf(stderr, "%d checkpoints in " CHECKPOINTS ", room for %d tests\n", n_names,
                room - n);
        exit(1);
    }
    for (int i = 0; i < n_names; i++)
        tests[n++] =
            (struct CMUnitTest){.name = names[i], .test_func = f, .initial_state = names[i]};
    return n;
}
