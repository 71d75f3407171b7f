#include "tests/support/folder.h"

#include "engine/base/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char folder[64];

const char *folder_path(void)
{
    return folder;
}

int folder_set_up(void **state)
{
    strcpy(folder, "/tmp/midpass-test-XXXXXX");
    *state = ledger_open();
    return *state == NULL || mkdtemp(folder) == NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

void folder_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int folder_tear_down(void **state)
{
    folder_remove(folder);
    return ledger_close(*state) != 0;
}

const char *folder_file(const char *name)
{
    static char paths[4][400];
    static unsigned i;
    char *p = paths[i++ % 4];

    snprintf(p, sizeof paths[0], "%s/%s", folder, name);
    return p;
}

int folder_entries(void)
{
    DIR *d = opendir(folder);
    int n = -2;

    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

void folder_put(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}
