/* folder.h - a folder for one test's files, gone with all that is in it afterwards. */
#ifndef MIDPASS_TEST_FOLDER_H
#define MIDPASS_TEST_FOLDER_H

#include <stddef.h>

/* cmocka's set-up and tear-down: *state is a struct ledger, which must be empty in the end. */
int folder_set_up(void **state);
int folder_tear_down(void **state);

const char *folder_path(void);
/* "FOLDER/name"; good until the fourth call after. */
const char *folder_file(const char *name);
int folder_entries(void);             /* how many there are */
void folder_remove(const char *path); /* with all that is in it */
void folder_put(const char *path, const void *data, size_t n);

#endif
