/* vector_fetch.h - what is asked for before it is needed, all of it.
 *
 * The hardware's prefetchers follow a stream within a page and need some lines of it to see
 * where it goes. Where the kernels know better they say so, and only there. */
#ifndef MIDPASS_CPU_VECTOR_FETCH_H
#define MIDPASS_CPU_VECTOR_FETCH_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector_load.h"

#define SECOND_LEVEL 2    /* the cache that an errand fetches into, for the compiler */
#define LINE         64   /* bytes that come at once */
#define STREAM_AHEAD 1024 /* bytes: far enough for memory to answer, near enough for a cache */

/* The stream that is being read at p. */
EXPAND void fetch_stream(const void *p)
{
    __builtin_prefetch((const char *)p + STREAM_AHEAD);
}

/* Weights of some outputs and inputs. */
struct rectangle {
    int output, outputs, input, inputs;
};

/* A part of some rows that is fetched into the second-level cache, some lines at a time, while
 * something else is computed: a core waits for few lines at once, and all of them would hold it
 * up. */
struct errand {
    const char *row, *at, *end; /* at: the next line of the row, which ends at `end` */
    ptrdiff_t stride;           /* bytes between rows */
    int rows, width;            /* rows left behind this one; bytes of each */
    int each;                   /* lines at a time, so that `times` are enough */
};

static inline struct errand errand_of(const void *first, ptrdiff_t stride, int rows, int width,
                                      int times)
{
    struct errand e = {.row = first, .at = first, .stride = stride, .width = width};
    if (rows <= 0 || width <= 0)
        return e;
    e.end = e.at + width;
    e.rows = rows - 1;
    e.each = (rows * (width / LINE + 1) + times - 1) / times;
    return e;
}

/* The weights of a rectangle. It is a guess: what lies between groups is not skipped. */
static inline struct errand errand_weights(const struct matrix *w, const struct rectangle *r,
                                           int times)
{
    const int size = w->dtype == DTYPE_F32 ? 4 : 2;
    if (r->inputs <= 0 || r->outputs <= 0)
        return (struct errand){0};
    const void *first = weights_at(w->dtype, matrix_row(w, r->output), r->input * w->in_stride);
    if (w->in_stride == 1)
        return errand_of(first, w->out_stride * size, r->outputs, r->inputs * size, times);
    return errand_of(first, w->in_stride * size, r->inputs, r->outputs * size, times);
}

EXPAND void errand_go(struct errand *e)
{
    for (int i = 0; i < e->each; i++) {
        if (e->at >= e->end) {
            if (e->rows == 0)
                return;
            e->rows--;
            e->row += e->stride;
            e->at = e->row;
            e->end = e->row + e->width;
        }
        __builtin_prefetch(e->at, 0, SECOND_LEVEL);
        e->at += LINE;
    }
}

#endif
