#include "engine/forward/room.h"

static void *device_alloc(struct ledger *l, struct backend *b, enum mem_category c, size_t bytes,
                          struct error *err)
{
    if (!ledger_take(l, c, MEM_DEVICE, bytes, err))
        return NULL;
    void *p = b->alloc(b, bytes);
    if (p)
        return p;
    ledger_give(l, c, MEM_DEVICE, bytes);
    size_t available, total;
    char need[24], left[24], all[24];
    b->memory(b, &available, &total);
    error_set(err, ERR_MEMORY, "needs %s of %s on the device, which has %s free of %s",
              mem_format(bytes, need), mem_category_name(c), mem_format(available, left),
              mem_format(total, all));
    return NULL;
}

void *room_alloc(struct ledger *l, struct backend *b, enum mem_category c, size_t bytes,
                 struct error *err)
{
    return b->device ? device_alloc(l, b, c, bytes, err) : mem_alloc(l, c, bytes, err);
}

void room_free(struct ledger *l, struct backend *b, enum mem_category c, void *p, size_t bytes)
{
    if (!b->device) {
        mem_free(l, p);
    } else if (p) {
        b->free(b, p);
        ledger_give(l, c, MEM_DEVICE, bytes);
    }
}

bool room_shrink(struct ledger *l, struct backend *b, enum mem_category c, void **p, size_t bytes,
                 size_t less)
{
    /* On a device both blocks are there for a moment; the budget is not asked, since what is
     * wanted is to hold less. */
    void *q = b->device ? b->alloc(b, less) : mem_resize(l, c, *p, less, NULL);
    if (!q)
        return false;
    if (b->device) {
        b->copy(b, q, *p, less);
        b->free(b, *p);
        ledger_give(l, c, MEM_DEVICE, bytes - less);
    }
    *p = q;
    return true;
}
