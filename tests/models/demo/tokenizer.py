"""The demo model's tokenizer: byte-level BPE in which every word of the corpus is one token.

Text is cut as GPT-2 cuts it, but digits go by twos, so that 1732 is " 17" and "32". There are so few
words that the merges run out before the vocabulary is full.
"""

import random
import re

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import corpus
from words import CONTENT

END = "<|endoftext|>"
CUT = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"  # GPT-2's, by twos
)
WORD = re.compile(r" ?[A-Za-z]+| ?[0-9]{1,2}| ?[^\sA-Za-z0-9]+")  # CUT, for the corpus alone


def train():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CUT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        min_frequency=1,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rng = random.Random(0)
    sentences = [corpus.draw_training(rng) for _ in range(30000)]
    texts = [s.before + s.answer + s.after for s in sentences]
    texts += [f" {word}" for word in CONTENT]
    texts += [f"{space}{n:02}" for n in range(100) for space in ("", " ")]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


class WordEncoder:
    """Encodes the corpus's sentences word by word: many times faster, and the same ids."""

    def __init__(self, tokenizer):
        self.tokenizer, self.ids = tokenizer, {}

    def encode(self, text):
        return [self.id_of(word) for word in WORD.findall(text)]

    def id_of(self, word):
        found = self.ids.get(word)
        if found is None:
            ids = self.tokenizer.encode(word).ids
            if len(ids) != 1:
                raise ValueError(f'"{word}" is {len(ids)} tokens and should be one')
            found = self.ids[word] = ids[0]
        return found
