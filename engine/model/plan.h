/* plan.h - what a model will take, before any of it is taken. */
#ifndef MIDPASS_PLAN_H
#define MIDPASS_PLAN_H

#include "engine/base/text.h"
#include "engine/forward/keep.h"
#include "engine/model/device.h"
#include "engine/model/model.h"

/* Bytes, from config.json and the tensors' headers. */
struct plan {
    size_t weights; /* mapped, or on the device */
    size_t kv_page; /* of all layers, for KV_PAGE positions */
    size_t scratch; /* of one chunk at n_ctx keys */
    size_t other;   /* tokenizer, program, and room to look at values */
    struct keep_sizes sizes;
};

/* held: bytes of the model beside its weights, as far as they are known. */
void plan_make(struct plan *p, const struct model *m, int n_ctx, int chunk, size_t held);
/* All bytes at n positions. */
size_t plan_bytes(const struct plan *p, int n, struct keep keep);
/* Checkpoints only save work when one looks back, so they never take more than this part of the
 * budget beside the weights while less can be kept. */
#define PLAN_CHECKPOINTS_PART 3
/* Makes *keep so much less that n positions fit into budget bytes. False: that is not enough. */
bool plan_keep(const struct plan *p, int n, size_t budget, struct keep *keep);
/* The most positions (at most limit) that fit; 0: none. */
int plan_positions(const struct plan *p, int limit, struct keep keep, size_t budget);

/* The table of `--plan`: loads nothing. n_ctx 0: the model's limit; budget 0: what is free.
 * What does not fit is said, with what would. False only if the model cannot be read. */
bool plan_report(struct ledger *l, const char *model, const struct device_options *device,
                 int n_ctx, size_t budget, struct text *out, struct error *err);

#endif
