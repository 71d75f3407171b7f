/* fuzz_config.c - any bytes as config.json: parsed, its program emitted without weights, and the
 * plan of its memory made, as --plan does. */
#include "engine/model/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/tmp/midpass-fuzz-XXXXXX";
static char path[64];

static void clean_up(void)
{
    unlink(path);
    rmdir(folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!path[0]) {
        if (!mkdtemp(folder))
            abort();
        snprintf(path, sizeof path, "%s/config.json", folder);
        atexit(clean_up);
    }
    FILE *f = fopen(path, "wb");
    if (!f || (size > 0 && fwrite(data, 1, size, f) != size) || fclose(f) != 0)
        abort();
    struct ledger *l = ledger_open();
    struct error err;
    struct text out;
    /* A large model's program is large: what is asked for is bounded here, not in the parser. */
    ledger_set_budget(l, (size_t)16 << 20);
    text_init(&out, l, MEM_OTHER);
    plan_report(l, folder, &(struct device_options){0}, 0, (size_t)8 << 30, &out, &err);
    text_fini(&out);
    ledger_set_budget(l, 0);
    if (ledger_close(l) != 0)
        abort();
    return 0;
}
