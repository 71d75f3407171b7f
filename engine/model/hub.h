/* hub.h - from what the user typed to a folder.
 *
 * MODEL is a folder, or a model's name ("microsoft/Phi-3.5-mini-instruct", or its last part
 * if only one cached model has it) in the local Hugging Face cache: $HF_HUB_CACHE, else
 * $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub; there
 * models--ORG--NAME/snapshots/HASH with HASH from refs/main, else the only snapshot.
 * Nothing is ever downloaded.
 */
#ifndef MIDPASS_HUB_H
#define MIDPASS_HUB_H

#include "engine/base/ledger.h"

/* The folder's path, from mem_alloc (MEM_OTHER). NULL and *err: every place that was looked
 * at is named, with near names if there are any. */
char *hub_find(struct ledger *l, const char *model, struct error *err);

#endif
