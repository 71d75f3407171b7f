/* fuzz_config.c - any bytes as config.json: parsed, and its program emitted without weights. */
#include "engine/families/families.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ledger *l = ledger_open();
    struct config c;
    struct error err;
    /* A large model's program is large: what is asked for is bounded here, not in the parser. */
    ledger_set_budget(l, (size_t)64 << 20);
    if (config_parse(&c, l, (const char *)data, size, "config.json", &err))
        config_fini(&c);
    ledger_set_budget(l, 0);
    if (ledger_close(l) != 0)
        abort();
    return 0;
}
