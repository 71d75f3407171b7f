#!/usr/bin/env python3
"""Makes tests/golden/tokenizer/: small tokenizers of each style, and what Hugging Face
`tokenizers` makes of hard strings with each of them.

    python3 tests/golden/tokenizer.py [FOLDER]

Needs the `tokenizers` package. Each NAME.json is a tokenizer.json; NAME.cases.json beside it
is a list of {"text" or "hex", "ids", "special", "decoded", "shown"}: ids without and with the
post-processor, and the text of the latter without and with special tokens ("special" and
"shown" are left out where they are the same; with NUL in them there is no text). A text that is not
UTF-8 goes to Hugging Face as errors="replace" makes it.
"""
import json
import os
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers import processors, trainers
from tokenizers.models import BPE, WordLevel

CORPUS = [
    "The cat sat on the mat, and the other cat sat beside the mat.",
    "A model reads a token, then another token, and predicts the next token.",
    "In 1999 there were 365 days; in 2024 there were 366. That is 1 more day!",
    "def forward(x):\n    return x + 1\n\n    # indented comment\n\tif x:\n\t\tpass\n",
    "It's what we'd said: they're here, I'm there, you'll see, we've been. DON'T SHOUT!",
    "Größe, Straße, naïve café, señor, déjà vu, coöperate, Œuvre.",
    "Привет, мир! Это проверка. Здравствуй, мир, ещё раз.",
    "今天天气很好。我们去公园吧。明天也很好。", "こんにちは世界。カタカナとひらがな。", "안녕하세요 세계 여러분",
    "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดีชาวโลก",
    "🙂🙃 👩‍👩‍👧‍👦 🇫🇷 emoji and 🎉🎉", "x = y * (z - 3.14159) / 2 ** 10;  // done",
    "    four spaces        eight spaces", "http://example.org/path?query=1&other=two#frag",
]

TEXTS = [
    "", " ", "  ", "\n", "\n\n", "\t", " \n \n", "Hello", " Hello", "Hello world", " Hello  world ",
    "The cat sat on the mat.", "the  the   the    the", "a" * 60, " " * 33 + "x", "\r\n\r\n a\r",
    "It's, they'RE, we'Ve, I'M, you'll, he'd 'tis 'ſ", "DON'T camelCase HTTPServer iPhone15Pro",
    "1 12 123 1234 12345678901234567890", "3.14 1,000,000 ½ ² ٣٤ ⅷ 五", "x=1;y+=2//3**4%5&&6||7",
    "def f(a, b):\n    return a+b\n\n\nclass X:\n\tpass", "naïve café Größe", "e\u0301 a\u030a\u0323 n\u0303o",
    "\u1e9b\u0323 \ufb01 \u2460 \u00bd \uff21\uff22 \u212b", "Привет, мир!", "今天天气很好。 明天呢？", "こんにちは世界カタカナ",
    "안녕하세요 세계", "\u1112\u1161\u11ab", "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดี", "🙂 👩‍👩‍👧‍👦 🇫🇷 ✈️", "\u200b\u200d\ufeff\u00ad",
    "a\u00a0b\u2003c\u3000d\u1680e\u180ef\u0085g", "tab\tsep\x0bvt\x0cff", "\x01\x02\x1b[31m\x7f", "\ufffd \U0010ffff \ue000",
    "▁under▁score▁", "Ġbyte Ċ level", "<0x41><0x0A>", "<s>hello</s>", "a <s> b", "x<|end|>y <|end|> z<|end|><|end|>",
    "<mask>  a <mask>b", "word [W] aword[W] [W]s [W]", "[N] café [N]CAFÉ [n]", "  <L>  a  <R>  b<LR>  ", "<L><R><LR> <L> <R>",
    "<|end|", "<|end|>>", "<<|end|>", "ANSWER answer Answer", "İstanbul ΑΣΣ ßẞ ǅ", "foo, bar. baz; qux: «quoted» “curly” —dash…",
    "ab12cd34, ef56 gh", "aeiou,bcdfg,,hijkl", "“ ” ‘ ’ ´ ` ~ ^", "𝕳𝖊𝖑𝖑𝖔 𠀀𪛖", "\u0300lone mark", "$100 €5 £3 ¥2 + < = > | ~",
]
RAW = [b"\xff", b"ok \xc3", b"\xe2\x82", b"\xf0\x9f\x98 x", b"\xed\xa0\x80", b"a\xc0\xafb", b"\xf4\x90\x80\x80", b"nul\x00byte"]

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")


def special(s, **k):
    return AddedToken(s, special=True, normalized=k.pop("normalized", False), **k)


def plain(s, **k):
    return AddedToken(s, special=False, normalized=k.pop("normalized", True), **k)


ODD = [special("<|end|>"), special("<s>"), special("</s>"), special("<mask>", lstrip=True), plain("[W]", single_word=True),
       plain("[N] café"), plain("<L>", lstrip=True, normalized=False), plain("<R>", rstrip=True), plain("Answer"),
       special("<LR>", lstrip=True, rstrip=True)]


def train(model, size, normalizer=None, pre=None, alphabet=None, tokens=(), **k):
    t = Tokenizer(model)
    if normalizer:
        t.normalizer = normalizer
    if pre:
        t.pre_tokenizer = pre
    trainer = trainers.BpeTrainer if isinstance(model, BPE) else trainers.WordLevelTrainer
    if alphabet:
        k["initial_alphabet"] = alphabet
    if isinstance(model, BPE):
        k["limit_alphabet"] = 300
    t.train_from_iterator(CORPUS, trainer(vocab_size=size, special_tokens=list(tokens), show_progress=False, **k))
    return t


def byte_bpe(size, normalizer=None, pre=None, **k):
    return train(BPE(**k), size, normalizer, pre, pre_tokenizers.ByteLevel.alphabet())


def sp_bpe(size, normalizer=None, pre=None, fallback=True, fuse=True):
    tokens = ["<unk>", "<s>", "</s>"] + (["<0x%02X>" % b for b in range(256)] if fallback else [])
    t = train(BPE(unk_token="<unk>", fuse_unk=fuse, byte_fallback=fallback), size, normalizer, pre, tokens=tokens)
    j = json.loads(t.to_str())  # the byte tokens are no added tokens
    j["added_tokens"] = [a for a in j["added_tokens"] if not a["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(j))


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(pattern if isinstance(pattern, str) else Regex(pattern[0]), behavior, invert)


def bytes_after(*first):
    return pre_tokenizers.Sequence(list(first) + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def make():
    ByteLevel = pre_tokenizers.ByteLevel
    out = {}

    t = byte_bpe(330, pre=ByteLevel(add_prefix_space=False))
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.add_special_tokens([AddedToken("<|end|>", special=True, normalized=True)])
    out["gpt2"] = t

    t = byte_bpe(330, normalizers.NFC(), ByteLevel(add_prefix_space=False))
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([special("<|end|>")])
    t.add_tokens([plain(" " * n) for n in range(12, 1, -1)])
    out["neox"] = t

    t = byte_bpe(340, pre=bytes_after(split([LLAMA3])), ignore_merges=True)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([special("<s>"), special("<|end|>")])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", t.token_to_id("<s>"))])])
    out["llama3"] = t

    t = byte_bpe(330, normalizers.NFC(), bytes_after(split([QWEN2])))
    t.decoder = decoders.ByteLevel()
    t.add_tokens(ODD)
    out["qwen2"] = t

    t = byte_bpe(330, pre=bytes_after(split([GPT4O])))
    t.decoder = decoders.ByteLevel()
    out["gpt4o"] = t

    t = byte_bpe(330, pre=bytes_after(split([CL100K], "removed", True)))
    t.decoder = decoders.ByteLevel()
    out["cl100k"] = t

    t = byte_bpe(330, pre=bytes_after(split(["[\r\n]"]), split([r"\s?\p{L}+"]), split([r"\s?\p{P}+"]),
                                      split(["[一-龥ࠀ-一가-퟿]+"]), pre_tokenizers.Digits(individual_digits=True)))
    t.decoder = decoders.ByteLevel()
    t.add_tokens([special("<s>"), plain("<|end|>", normalized=False)])
    out["deepseek"] = t

    t = byte_bpe(330, pre=pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]))
    t.decoder = decoders.ByteLevel()
    out["starcoder"] = t

    t = byte_bpe(330, pre=ByteLevel(add_prefix_space=True))
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([special("<s>"), special("</s>"), special("<mask>", lstrip=True)])
    t.post_processor = processors.RobertaProcessing(("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")))
    out["roberta"] = t

    legacy = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    unspell = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]

    def bos(t):
        t.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", t.token_to_id("<s>")), ("</s>", t.token_to_id("</s>"))])

    t = sp_bpe(480, legacy)
    t.decoder = decoders.Sequence(unspell + [decoders.Strip(" ", 1, 0)])
    bos(t)
    t.add_tokens(ODD)
    out["llama2"] = t

    t = sp_bpe(460, pre=pre_tokenizers.Metaspace(prepend_scheme="first", split=False))
    t.decoder = decoders.Sequence(unspell + [decoders.Strip(" ", 1, 0)])
    bos(t)
    t.add_tokens(ODD)
    out["metaspace_first"] = t

    t = sp_bpe(220, normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]),
               pre_tokenizers.Metaspace(prepend_scheme="always"), fallback=False, fuse=False)
    t.decoder = decoders.Metaspace()
    t.add_tokens(ODD)
    out["metaspace_always"] = t

    t = sp_bpe(460, normalizers.Replace(" ", "▁"), split(" ", "merged_with_previous"))
    t.decoder = decoders.Sequence(unspell)
    t.add_tokens([plain("\n\n", normalized=False), plain("▁▁", normalized=False), plain("▁▁▁", normalized=False), special("<mask>", rstrip=True)])
    out["gemma"] = t

    t = train(BPE(unk_token="[UNK]", continuing_subword_prefix="##", fuse_unk=True), 160,
              normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase(), normalizers.StripAccents(), normalizers.Strip()]),
              pre_tokenizers.BertPreTokenizer(), tokens=["[UNK]", "[CLS]", "[SEP]"], continuing_subword_prefix="##", min_frequency=3)
    t.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    t.add_tokens(ODD)
    out["bertish"] = t

    t = train(BPE(unk_token="<unk>", end_of_word_suffix="</w>"), 190,
              normalizers.Sequence([normalizers.NFD(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]),
              pre_tokenizers.Whitespace(), tokens=["<unk>"], end_of_word_suffix="</w>")
    t.decoder = decoders.BPEDecoder("</w>")
    out["clip"] = t

    t = train(WordLevel(unk_token="<unk>"), 120, normalizers.Lowercase(),
              pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")]), tokens=["<unk>", "<s>"])
    out["words"] = t

    t = train(BPE(unk_token="<unk>", fuse_unk=False), 200, normalizers.Sequence([]),
              pre_tokenizers.Sequence([split(",", "removed"), split(["[aeiou]+"], "merged_with_next"), split([r"\d"], "contiguous"),
                                       split(["[A-Z]"], "merged_with_previous"), pre_tokenizers.Punctuation("merged_with_next"),
                                       pre_tokenizers.CharDelimiterSplit(" ")]), tokens=["<unk>"])
    t.decoder = decoders.Sequence([decoders.Replace(Regex("[aeiou]"), "*"), decoders.Strip("t", 1, 0), decoders.Fuse()])
    out["splits"] = t

    t = byte_bpe(320, normalizers.Sequence([normalizers.NFC(), normalizers.ByteLevel()]), split(["Ġ?[^Ġ]+"]))
    t.decoder = decoders.ByteLevel()
    out["bytes_first"] = t
    return out


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "tokenizer")
    os.makedirs(folder, exist_ok=True)
    for name, t in make().items():
        j = json.loads(t.to_str())
        if name in ("gpt2", "neox", "llama3", "llama2"):  # older files write merges as strings
            j["model"]["merges"] = [" ".join(m) for m in j["model"]["merges"]]
        path = os.path.join(folder, name + ".json")
        if os.path.exists(path):  # some trainings differ from run to run: what is there is kept, to train again remove it
            with open(path, encoding="utf-8") as f:
                j = json.load(f)
        else:
            with open(path, "w", encoding="utf-8") as f:
                json.dump(j, f, ensure_ascii=False, separators=(",", ":"))
                f.write("\n")
        t = Tokenizer.from_str(json.dumps(j))
        cases = []
        for text in TEXTS + RAW:
            raw = isinstance(text, bytes)
            s = text.decode("utf-8", errors="replace") if raw else text
            ids, with_special = (t.encode(s, add_special_tokens=k).ids for k in (False, True))
            case = {"hex": text.hex()} if raw else {"text": text}
            case["ids"] = ids
            if with_special != ids:
                case["special"] = with_special
            decoded, shown = t.decode(with_special), t.decode(with_special, skip_special_tokens=False)
            if "\0" not in decoded + shown:
                case["decoded"] = decoded
                if shown != decoded:
                    case["shown"] = shown
            cases.append(case)
        with open(os.path.join(folder, name + ".cases.json"), "w", encoding="utf-8") as f:
            f.write("[" + ",\n".join(json.dumps(c, ensure_ascii=True, separators=(",", ":")) for c in cases) + "]\n")


if __name__ == "__main__":
    main()
