/* tokenizer.h - text to ids and back, as tokenizer.json says and nothing else.
 *
 * Byte-level BPE (GPT-2's way) and SentencePiece-style BPE with byte fallback: normalizers,
 * regex pre-tokenizers (PCRE2), NFC and friends (utf8proc), added and special tokens, the
 * post-processor's BOS/EOS, decoders. Reference: Hugging Face `tokenizers`.
 */
#ifndef MIDPASS_TOKENIZER_H
#define MIDPASS_TOKENIZER_H

#include "engine/base/ledger.h"
#include "engine/base/text.h"

#include <stdint.h>

struct tokenizer;

/* Reads a tokenizer.json. A model type, normalizer, pre-tokenizer, decoder or post-processor
 * that is not known is ERR_UNSUPPORTED and named. */
struct tokenizer *tokenizer_open(struct ledger *l, const char *path, struct error *err);
/* The same from memory; name appears in messages. */
struct tokenizer *tokenizer_parse(struct ledger *l, const char *json, size_t bytes,
                                  const char *name, struct error *err);
void tokenizer_close(struct tokenizer *t); /* NULL is fine */

/* Highest id + 1, added tokens included. */
int tokenizer_count(const struct tokenizer *t);

/* Ids of n bytes of text (any bytes; invalid UTF-8 is replaced by U+FFFD as Hugging Face's
 * callers do). special: apply the post-processor (BOS and such). Writes a block from
 * mem_alloc (MEM_TOKENIZER) to *ids, to be given back with mem_free. */
bool tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, bool special,
                      int32_t **ids, int *n_ids, struct error *err);
/* Text of ids, appended to out: the decoder as tokenizer.json says. Unknown ids give nothing.
 * skip_special leaves out added tokens marked special. */
bool tokenizer_decode(const struct tokenizer *t, const int32_t *ids, int n, bool skip_special,
                      struct text *out, struct error *err);
/* One token as bytes it stands for, spaces kept (" time", "\n", a lone byte), for labels; an
 * id of no token gives "". Special tokens give their content. Appended to out. */
bool tokenizer_piece(const struct tokenizer *t, int32_t id, struct text *out, struct error *err);
/* The id whose piece is exactly this text (" Mary"), or -1. Special tokens by content too. */
int32_t tokenizer_find(const struct tokenizer *t, const char *piece, size_t n);
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);

#endif
