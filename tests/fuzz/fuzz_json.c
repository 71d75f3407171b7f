/* fuzz_json.c - any bytes as JSON: never a crash, never a byte read past the end, nothing kept. */
#include "engine/base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROOM (64 * 1024)

static void must(bool so, const char *what)
{
    if (so)
        return;
    fprintf(stderr, "fuzz_json: %s\n", what);
    abort();
}

/* Touches all there is to touch. */
static void walk(const struct json *j)
{
    int64_t whole = 0;
    size_t n = 0;

    if (json_is_string(j))
        must(strlen(json_string(j)) < ROOM, "a string is longer than the text");
    if (json_whole(j, -1000, 1000, &whole))
        must(whole >= -1000 && whole <= 1000 && (double)whole == json_number(j), "not whole");
    for (const struct json *m = json_first(j); m != NULL; m = json_next(m), n++) {
        must(json_is_object(j) == (json_key(m) != NULL), "a key where there is none");
        walk(m);
    }
    must(n == json_count(j), "the count is off");
    if (n > 0 && n < 50 && json_is_object(j))
        for (const struct json *m = json_first(j); m != NULL; m = json_next(m))
            must(json_get(j, json_key(m)) != NULL, "a member is not found");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *page; /* what lies after it cannot be read, not by cJSON either */
    struct error err = {0};

    if (size > ROOM)
        return 0;
    if (page == NULL) {
        size_t guard = (size_t)sysconf(_SC_PAGESIZE);
        page = mmap(NULL, ROOM + guard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        must(page != MAP_FAILED && mprotect(page + ROOM, guard, PROT_NONE) == 0, "no memory");
    }
    char *text = page + ROOM - size;
    if (size > 0)
        memcpy(text, data, size);
    struct ledger *l = ledger_open();
    must(l != NULL, "no memory");
    struct json_doc *d = json_parse(l, MEM_OTHER, text, size, "fuzz", &err);
    must((d == NULL) == (err.code != ERR_NONE && err.text[0] != '\0'), "failure without a word");
    if (d != NULL)
        walk(json_root(d));
    json_close(d);
    must(ledger_close(l) == 0, "memory is kept");
    return 0;
}
