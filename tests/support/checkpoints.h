/* checkpoints.h - the tiny checkpoints of every family: a test for each. */
#ifndef MIDPASS_TEST_CHECKPOINTS_H
#define MIDPASS_TEST_CHECKPOINTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define CHECKPOINTS      "tests/golden/models"
#define CHECKPOINTS_MOST 64

/* Writes to tests[n ..] one test for each checkpoint, named after it, *state being its name; room
 * is that of all tests. Returns how many there are then. None found, or no room: exits, since a
 * test of nothing must not pass. */
int checkpoints_add(struct CMUnitTest *tests, int n, int room, CMUnitTestFunction f);

#endif
