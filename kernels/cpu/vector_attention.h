/* vector_attention.h - scores and values of a tile of queries, over vectors of 16. */
#ifndef MIDPASS_CPU_VECTOR_ATTENTION_H
#define MIDPASS_CPU_VECTOR_ATTENTION_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector_load.h"

/* ---- scores ---------------------------------------------------------------------------------- */

/* Queries j .. j+n-1 and the keys of some pages in a row: a page's 16 scores are a vector. The
 * pages after them are fetched if fetch is set: each is elsewhere in memory. */
EXPAND void scores_of_pages(const struct attend_tile *tile, int j, const int n, int page,
                            const int pages, const bool fetch)
{
    const int h = tile->kv->d_head;
    const float *keys[SCORE_PAGES], *next[SCORE_PAGES], *q[SCORE_QUERIES];
    vec total[SCORE_QUERIES][SCORE_PAGES];
    UNROLL
    for (int p = 0; p < pages; p++)
        keys[p] = kv_keys(tile->kv, page + p, tile->g);
    UNROLL
    for (int p = 0; p < pages; p++)
        next[p] = fetch ? kv_keys(tile->kv, page + pages + p, tile->g) : NULL;
    UNROLL
    for (int i = 0; i < n; i++) {
        q[i] = tile->q[j + i];
        UNROLL
        for (int p = 0; p < pages; p++)
            total[i][p] = vec_set(0);
    }

    for (int run = 0; run < h; run += MIX_RUN) {
        vec sum[SCORE_QUERIES][SCORE_PAGES];
        UNROLL
        for (int i = 0; i < n; i++) {
            UNROLL
            for (int p = 0; p < pages; p++)
                sum[i][p] = vec_set(0);
        }
        int end = h - run < MIX_RUN ? h : run + MIX_RUN;
        for (int k = run; k < end; k++) {
            vec key[SCORE_PAGES];
            UNROLL
            for (int p = 0; p < pages; p++)
                key[p] = vec_load(keys[p] + (size_t)k * KV_PAGE);
            UNROLL
            for (int p = 0; fetch && p < pages; p++)
                __builtin_prefetch(next[p] + (size_t)k * KV_PAGE);
            UNROLL
            for (int i = 0; i < n; i++) {
                vec x = vec_set(q[i][k]);
                UNROLL
                for (int p = 0; p < pages; p++)
                    sum[i][p] = vec_fma(x, key[p], sum[i][p]);
            }
        }
        UNROLL
        for (int i = 0; i < n; i++) {
            UNROLL
            for (int p = 0; p < pages; p++)
                total[i][p] = run == 0 ? sum[i][p] : vec_add(total[i][p], sum[i][p]);
        }
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        UNROLL
        for (int p = 0; p < pages; p++) {
            vec score = vec_mul(vec_set(tile->scale), total[i][p]);
            int s = (page + p) * KV_PAGE;
            if (s + KV_PAGE <= tile->limit)
                vec_store(tile->scores[j + i] + s, score);
            else
                vec_store_n(tile->scores[j + i] + s, tile->limit - s, score);
        }
    }
}

/* The keys that some query of the tile sees. */
static inline void tile_span(const struct attend_tile *tile, int j, int n, int *first, int *last)
{
    *first = tile->first[j];
    *last = tile->last[j];
    for (int i = 1; i < n; i++) {
        if (tile->first[j + i] < *first)
            *first = tile->first[j + i];
        if (tile->last[j + i] > *last)
            *last = tile->last[j + i];
    }
}

EXPAND void scores_of_queries(const struct attend_tile *tile, int page, const int pages,
                              const bool fetch)
{
    for (int j = 0; j < tile->n; j += SCORE_QUERIES) {
        int n = tile->n - j;
        if (n == 1)
            scores_of_pages(tile, j, 1, page, pages, fetch);
        else if (n == 2)
            scores_of_pages(tile, j, 2, page, pages, fetch);
        else if (n == 3)
            scores_of_pages(tile, j, 3, page, pages, fetch);
        else if (fetch)
            scores_of_pages(tile, j, SCORE_QUERIES, page, pages, true);
        else
            scores_of_pages(tile, j, SCORE_QUERIES, page, pages, false);
    }
}

/* All queries take some pages before the next, which are then read from memory once. */
static void scores(const struct attend_tile *tile)
{
    int first, last;
    tile_span(tile, 0, tile->n, &first, &last);
    int page = first / KV_PAGE, end = last / KV_PAGE + 1;
    /* With few queries the time goes into reading: then it pays to ask early. */
    for (; tile->n <= SCORE_QUERIES && page + 2 * SCORE_PAGES <= end; page += SCORE_PAGES)
        scores_of_queries(tile, page, SCORE_PAGES, true);
    for (; page + SCORE_PAGES <= end; page += SCORE_PAGES)
        scores_of_queries(tile, page, SCORE_PAGES, false);
    for (; page < end; page++)
        scores_of_queries(tile, page, 1, false);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* One position's value, from column i, to the sums of the queries that see it. */
EXPAND void mix_position(const struct attend_tile *tile, int j, const int n, const int vecs, int i,
                         const int rest, int s, vec sum[VALUE_QUERIES][VALUE_VECS])
{
    const size_t h = (size_t)tile->kv->d_head;
    const float *value = kv_values(tile->kv, s / KV_PAGE, tile->g) + (size_t)(s % KV_PAGE) * h + i;
    vec v[VALUE_VECS];
    UNROLL
    for (int c = 0; c < vecs; c++)
        v[c] = rest ? vec_load_n(value, rest, vec_set(0)) : vec_load(value + c * VEC_LANES);
    UNROLL
    for (int k = 0; k < n; k++) {
        if (s < tile->first[j + k] || s > tile->last[j + k])
            continue;
        vec x = vec_set(tile->patterns[j + k][s]);
        UNROLL
        for (int c = 0; c < vecs; c++)
            sum[k][c] = vec_fma(x, v[c], sum[k][c]);
    }
}

/* Positions from .. to-1, seen by all queries. A page is walked with plain pointers. */
EXPAND void mix_common(const struct attend_tile *tile, int j, const int n, const int vecs, int i,
                       const int rest, int from, int to, vec sum[VALUE_QUERIES][VALUE_VECS])
{
    const size_t h = (size_t)tile->kv->d_head;
    const float *p[VALUE_QUERIES];
    UNROLL
    for (int k = 0; k < n; k++)
        p[k] = tile->patterns[j + k];
    while (from < to) {
        int end = (from / KV_PAGE + 1) * KV_PAGE;
        const float *value =
            kv_values(tile->kv, from / KV_PAGE, tile->g) + (size_t)(from % KV_PAGE) * h + i;
        /* The next page is elsewhere in memory: few queries, which wait for it, fetch it. */
        const bool fetch = tile->n <= VALUE_QUERIES && end < to;
        const float *next = fetch ? kv_values(tile->kv, end / KV_PAGE, tile->g) + i : value;
        if (end > to)
            end = to;
        for (; from < end; from++, value += h) {
            UNROLL
            for (int c = 0; fetch && c < vecs; c++)
                __builtin_prefetch(next + (size_t)(from % KV_PAGE) * h + c * VEC_LANES);
            vec v[VALUE_VECS];
            UNROLL
            for (int c = 0; c < vecs; c++)
                v[c] = rest ? vec_load_n(value, rest, vec_set(0)) : vec_load(value + c * VEC_LANES);
            UNROLL
            for (int k = 0; k < n; k++) {
                vec x = vec_set(p[k][from]);
                UNROLL
                for (int c = 0; c < vecs; c++)
                    sum[k][c] = vec_fma(x, v[c], sum[k][c]);
            }
        }
    }
}

static inline int clamp(int x, int low, int high)
{
    return x < low ? low : x > high ? high : x;
}

/* One run of positions. Columns i .. of n queries: vecs whole vectors, or where rest > 0 one
 * of rest lanes. */
EXPAND void mix_columns(const struct attend_tile *tile, int j, const int n, int run, const int vecs,
                        int i, const int rest)
{
    int first, last, all_from, all_to; /* seen by some, seen by all */
    tile_span(tile, j, n, &first, &last);
    all_from = tile->first[j];
    all_to = tile->last[j];
    for (int k = 1; k < n; k++) {
        all_from = tile->first[j + k] > all_from ? tile->first[j + k] : all_from;
        all_to = tile->last[j + k] < all_to ? tile->last[j + k] : all_to;
    }
    int from = run < first ? first : run, to = last < run + MIX_RUN ? last + 1 : run + MIX_RUN;
    int middle = clamp(all_from, from, to), end = clamp(all_to + 1, middle, to);
    vec sum[VALUE_QUERIES][VALUE_VECS];
    UNROLL
    for (int k = 0; k < n; k++) {
        UNROLL
        for (int c = 0; c < vecs; c++)
            sum[k][c] = vec_set(0);
    }
    for (int s = from; s < middle; s++)
        mix_position(tile, j, n, vecs, i, rest, s, sum);
    mix_common(tile, j, n, vecs, i, rest, middle, end, sum);
    for (int s = end; s < to; s++)
        mix_position(tile, j, n, vecs, i, rest, s, sum);
    UNROLL
    for (int k = 0; k < n; k++) {
        if (tile->first[j + k] >= run + MIX_RUN || tile->last[j + k] < run)
            continue; /* nothing visible: no run of this query */
        bool begins = tile->first[j + k] >= run;
        UNROLL
        for (int c = 0; c < vecs; c++) {
            float *z = tile->z[j + k] + i + c * VEC_LANES;
            int width = rest ? rest : VEC_LANES;
            vec total = sum[k][c];
            if (!begins)
                total = vec_add(vec_load_n(z, width, vec_set(0)), total);
            vec_store_n(z, width, total);
        }
    }
}

EXPAND void mix_queries(const struct attend_tile *tile, int j, const int n, int run)
{
    int h = tile->kv->d_head, i = 0;
    for (; i + VALUE_VECS * VEC_LANES <= h; i += VALUE_VECS * VEC_LANES)
        mix_columns(tile, j, n, run, VALUE_VECS, i, 0);
    for (; i + VEC_LANES <= h; i += VEC_LANES)
        mix_columns(tile, j, n, run, 1, i, 0);
    if (i < h)
        mix_columns(tile, j, n, run, 1, i, h - i);
}

/* All queries take a run of values before the next, which are then read from memory once. */
static void mix_values(const struct attend_tile *tile)
{
    int first, last;
    tile_span(tile, 0, tile->n, &first, &last);
    for (int run = first - first % MIX_RUN; run <= last; run += MIX_RUN) {
        for (int j = 0; j < tile->n; j += VALUE_QUERIES) {
            int n = tile->n - j;
            if (n == 1)
                mix_queries(tile, j, 1, run);
            else if (n == 2)
                mix_queries(tile, j, 2, run);
            else if (n == 3)
                mix_queries(tile, j, 3, run);
            else
                mix_queries(tile, j, VALUE_QUERIES, run);
        }
    }
}

#endif
