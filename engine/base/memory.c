/* memory.c - sizes as words, and what the system says about memory (the rest of ledger.h). */
#include "engine/base/ledger.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *mem_format(size_t bytes, char out[24])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};

    if (bytes < 1024) {
        snprintf(out, 24, "%zu B", bytes);
        return out;
    }
    double x = (double)bytes / 1024;
    size_t u = 0;
    /* 1023.95 and more would print as 1024.0. */
    while (x >= 1023.95 && u + 1 < sizeof units / sizeof units[0]) {
        x /= 1024;
        u++;
    }
    snprintf(out, 24, "%.1f %s", x, units[u]);
    return out;
}

/* G and GiB are 2^30, GB is 10^9, as for the GNU tools. False if it is no unit. */
static bool parse_unit(const char *s, size_t *factor)
{
    static const char letters[] = "kmgtpe";
    size_t base = 1024;

    *factor = 1;
    if (s[0] == '\0' || strcmp(s, "b") == 0 || strcmp(s, "B") == 0)
        return true;
    const char *at = strchr(letters, s[0] | 0x20);
    if (at == NULL)
        return false;
    if (s[1] != '\0') {
        bool binary = s[1] == 'i';
        const char *b = s + (binary ? 2 : 1);
        if ((b[0] != 'b' && b[0] != 'B') || b[1] != '\0')
            return false;
        base = binary ? 1024 : 1000;
    }
    for (ptrdiff_t i = 0; i <= at - letters; i++)
        *factor *= base;
    return true;
}

bool mem_parse(const char *text, size_t *bytes, struct error *err)
{
    const char *s = text;
    size_t whole = 0, factor, result;
    double fraction = 0, place = 1;
    bool digits = false, fits = true;

    while (*s == ' ')
        s++;
    for (; *s >= '0' && *s <= '9'; s++, digits = true)
        fits = fits && !__builtin_mul_overflow(whole, 10, &whole) &&
               !__builtin_add_overflow(whole, (size_t)(*s - '0'), &whole);
    if (*s == '.')
        for (s++; *s >= '0' && *s <= '9'; s++, digits = true)
            fraction += (place /= 10) * (*s - '0');
    while (*s == ' ')
        s++;
    if (!digits || !parse_unit(s, &factor) || (factor == 1 && fraction > 0))
        return error_set(err, ERR_USAGE,
                         "\"%s\" is not a size; 8G, 512M, 1.5GiB and 4096 (bytes) are", text);
    if (!fits || __builtin_mul_overflow(whole, factor, &result) ||
        __builtin_add_overflow(result, (size_t)(fraction * (double)factor), &result))
        return error_set(err, ERR_USAGE, "\"%s\" is more bytes than can be counted", text);
    *bytes = result;
    return true;
}

/* A small file of /proc or /sys, NUL-terminated, cut at room. False if there is none. */
static bool read_small(const char *path, char *out, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;

    if (fd < 0)
        return false;
    for (ssize_t got = 1; got > 0 && n + 1 < room; n += got > 0 ? (size_t)got : 0)
        got = read(fd, out + n, room - 1 - n);
    close(fd);
    out[n] = '\0';
    return n > 0;
}

/* The number after "name" at the start of a line; SIZE_MAX if it is not there. */
static size_t field(const char *text, const char *name)
{
    size_t n = strlen(name);

    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n) != 0)
            continue;
        char *end;
        unsigned long long x = strtoull(line + n, &end, 10);
        return end == line + n ? SIZE_MAX : (size_t)x;
    }
    return SIZE_MAX;
}

static size_t kib_field(const char *path, const char *name)
{
    char text[8192];
    size_t x = read_small(path, text, sizeof text) ? field(text, name) : SIZE_MAX;

    return x == SIZE_MAX ? 0 : x * 1024;
}

size_t mem_resident(void)
{
    return kib_field("/proc/self/status", "VmRSS:");
}

size_t mem_resident_peak(void)
{
    return kib_field("/proc/self/status", "VmHWM:");
}

/* What is left below the limit of the control group in folder; SIZE_MAX if it has none. */
static size_t group_left(const char *folder)
{
    char path[PATH_MAX], text[8192];
    size_t limit = SIZE_MAX, held = SIZE_MAX, cache = SIZE_MAX;

    if (snprintf(path, sizeof path, "%s/memory.max", folder) < (int)sizeof path &&
        read_small(path, text, sizeof text))
        limit = field(text, ""); /* "max" is no number */
    if (limit == SIZE_MAX)
        return SIZE_MAX;
    if (snprintf(path, sizeof path, "%s/memory.current", folder) < (int)sizeof path &&
        read_small(path, text, sizeof text))
        held = field(text, "");
    if (held == SIZE_MAX)
        return SIZE_MAX;
    /* Pages of files that nobody used of late are given back before anyone is killed. */
    if (snprintf(path, sizeof path, "%s/memory.stat", folder) < (int)sizeof path &&
        read_small(path, text, sizeof text))
        cache = field(text, "inactive_file ");
    if (cache != SIZE_MAX)
        held = held > cache ? held - cache : 0;
    return limit > held ? limit - held : 0;
}

/* The least left in this process's control group (version 2) and those above it. */
static size_t groups_left(void)
{
    static const char root[] = "/sys/fs/cgroup";
    char text[4096], folder[sizeof root + sizeof text];
    size_t least = SIZE_MAX;

    if (!read_small("/proc/self/cgroup", text, sizeof text))
        return SIZE_MAX;
    char *line = strstr(text, "0::/");
    if (line == NULL)
        return SIZE_MAX;
    line[strcspn(line, "\n")] = '\0';
    snprintf(folder, sizeof folder, "%s%s", root, line + strlen("0::"));
    while (strlen(folder) >= sizeof root - 1) {
        size_t left = group_left(folder);
        if (left < least)
            least = left;
        char *slash = strrchr(folder, '/');
        *slash = '\0';
    }
    return least;
}

size_t mem_available(void)
{
    size_t machine = kib_field("/proc/meminfo", "MemAvailable:");
    size_t groups = groups_left();

    return groups < machine ? groups : machine;
}
