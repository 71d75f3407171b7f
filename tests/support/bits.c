#include "tests/support/bits.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

size_t bits_differ(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t x, y;
        memcpy(&x, &a[i], sizeof x);
        memcpy(&y, &b[i], sizeof y);
        if (x != y && !(isnan(a[i]) && isnan(b[i])))
            return i;
    }
    return n;
}
