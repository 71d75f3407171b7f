#include "tui/panels/numeric.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double numeric_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool numeric_go_on(const struct session *s, double deadline, bool *more, bool *ok,
                   struct error *err)
{
    if (s->trace.interrupt && *s->trace.interrupt) {
        *ok = error_set(err, ERR_INTERRUPTED, "stopped");
        return false;
    }
    *more = numeric_seconds() > deadline;
    return !*more;
}

/* ---- what values depend on ---- */

static uint64_t mix(uint64_t x, uint64_t y)
{
    return (x ^ y) * 1099511628211u; /* FNV */
}

uint64_t numeric_stamp(const struct view *v)
{
    const struct session *s = v->console->session;
    uint64_t x = mix(14695981039346656037u, v->edits);
    x = mix(x, (uint64_t)s->trace.long_regime);
    x = mix(x, (uint64_t)s->trace.n_ids);
    for (int i = 0; i < s->trace.n_ids; i++)
        x = mix(x, (uint32_t)s->trace.ids[i]);
    for (int i = 0; i < s->patches.n; i++)
        x = mix(x, (uint64_t)s->patches.list[i].id * 2 + s->patches.list[i].enabled);
    return x;
}

struct session *numeric_session(const struct view *v, char words[300])
{
    struct session *s = v->console ? v->console->session : NULL;
    if (s && s->has_prompt && s->trace.n_ids > 0) {
        words[0] = '\0';
        return s;
    }
    snprintf(words, 300, "no prompt yet: run TEXT, or ids N...");
    return NULL;
}

/* ---- labels and numbers ---- */

bool numeric_label(const struct session *s, int32_t id, char out[LABEL_BYTES], struct error *err)
{
    struct text piece, shown;
    text_init(&piece, s->ledger, MEM_VIEWS);
    text_init(&shown, s->ledger, MEM_VIEWS);
    bool ok = session_piece(s, id, &piece, err);
    if (ok) {
        size_t n = piece.n;
        const char *p = piece.data ? piece.data : "";
        if (n > 1 && p[0] == ' ') {
            p++;
            n--;
        }
        /* Nothing but blanks would not be seen. */
        text_add_shown(&shown, p, n, strspn(p, " ") >= n);
        ok = text_ok(&shown, err);
    }
    if (ok) {
        size_t n = shown.n < LABEL_BYTES - 1 ? shown.n : LABEL_BYTES - 1;
        /* Never within a character. */
        while (n > 0 && n < shown.n && ((unsigned char)shown.data[n] & 0xc0) == 0x80)
            n--;
        memcpy(out, shown.data, n);
        out[n] = '\0';
    }
    text_fini(&piece);
    text_fini(&shown);
    return ok;
}

const char *numeric_format(double x, int width, char out[NUMBER_BYTES])
{
    if (isnan(x))
        return strcpy(out, "NaN");
    if (isinf(x))
        return strcpy(out, x > 0 ? "inf" : "-inf");
    if (x == 0)
        return strcpy(out, "0");
    for (int digits = 5; digits > 0; digits--) {
        snprintf(out, NUMBER_BYTES, "%.*g", digits, x);
        if ((int)strlen(out) <= width)
            return out;
    }
    return out;
}

const char *numeric_probability(double p, char out[NUMBER_BYTES])
{
    if (isnan(p))
        return strcpy(out, "NaN");
    snprintf(out, NUMBER_BYTES, p < 0.9995 ? "%.3f" : "%.2f", p);
    if (out[0] == '0')
        memmove(out, out + 1, strlen(out));
    return out;
}

/* ---- drawing ---- */

void numeric_words(struct region r, const char *words, struct style s)
{
    for (int y = 0; y < r.h && r.w > 0 && *words; y++) {
        const char *line = words;
        size_t n = text_take_line(&words, r.w);
        region_text_bytes(r, 0, y, r.w, line, n, s);
    }
}

void numeric_bar(const struct theme *t, struct region r, int x, int y, int width, double v,
                 struct style s)
{
    for (int i = 0; i < width; i++)
        region_put(r, x + i, y, theme_bar(t, v, width, i), s);
}

int numeric_clamp(int x, int low, int high)
{
    return x > high ? (high > low ? high : low) : x < low ? low : x;
}

int numeric_least(int x, int y)
{
    return x < y ? x : y;
}

int numeric_scroll(int top, int at, int n, int room)
{
    if (at < top)
        top = at;
    if (room > 0 && at >= top + room)
        top = at - room + 1;
    return numeric_clamp(top, 0, n - room);
}

/* ---- reading ---- */

int numeric_residual_after(const struct session *s, int layer, int position)
{
    const struct program *p = &s->model.program;
    const struct trace *t = &s->trace;
    int post = program_find(p, SITE_RESID_POST, layer);
    int next = layer + 1 < p->n_layers ? program_find(p, SITE_RESID_PRE, layer + 1) : -1;
    /* A patch there would not show in this layer's resid_post. */
    bool patched = next >= 0 && t->hooks.watch && t->hooks.watch[next];
    return next >= 0 && !patched && trace_has(t, position, next) ? next : post;
}
