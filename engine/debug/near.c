#include "engine/debug/near.h"

#include <string.h>

#define LONGEST 24

/* Letters to add, drop, change or swap with their neighbour: the optimal string alignment. */
static int distance(const char *a, size_t n, const char *b, size_t m)
{
    int d[LONGEST + 1][LONGEST + 1];
    for (size_t i = 0; i <= n; i++)
        d[i][0] = (int)i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

bool near_name(const char *word, size_t n, const char *name)
{
    size_t m = strlen(name);
    if (n == 0 || n > LONGEST || m > LONGEST)
        return false;
    if (n >= 2 && m >= 2 && strncmp(word, name, n < m ? n : m) == 0)
        return true;
    return distance(word, n, name, m) <= (n <= 3 ? 1 : 2) && distance(word, n, name, m) < (int)m;
}
