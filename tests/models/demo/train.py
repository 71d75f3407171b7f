"""Trains the demo model: python train.py --out FOLDER

A GPT-2 of 4 layers on sentences of corpus.py, drawn as it goes. The learning rate follows the clock:
up in the first twentieth of the time, then down a cosine to zero. Writes a folder that transformers
and midpass open, weights in bfloat16, and reports what evaluate.py measures, on held-out
combinations, now and then and at the end.

The seed fixes the tokenizer, the first weights and each worker's sentences; how many steps the time
is enough for, and so the weights' last bits, is the machine's. The model beside this file is 4223
steps of 128 rows (138 million tokens), in 186 seconds on half of an H100 with the options' defaults.
"""

import argparse
import json
import math
import pathlib
import random
import time

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import GPT2Config, GPT2LMHeadModel

import corpus
import evaluate
import tokenizer as own

CONTEXT = 256
ANSWER_WEIGHT = 5.0  # of the tokens that are asked about; all others weigh 1


class Batches(IterableDataset):
    """(ids [B, CONTEXT], weights [B, CONTEXT]): rows of whole sentences, the last one cut off."""

    def __init__(self, tokenizer, rows, seed):
        self.tokenizer, self.rows, self.seed = tokenizer, rows, seed

    def __iter__(self):
        torch.set_num_threads(1)
        worker = get_worker_info()
        rng = random.Random(f"{self.seed} {worker.id if worker else 0}")
        encoder = own.WordEncoder(self.tokenizer)
        end = self.tokenizer.token_to_id(own.END)
        while True:
            rows = [self.row(rng, encoder, end) for _ in range(self.rows)]
            yield (
                torch.tensor([ids for ids, _ in rows], dtype=torch.int16),
                torch.tensor([weights for _, weights in rows], dtype=torch.float16),
            )

    @staticmethod
    def row(rng, encoder, end):
        ids, weights = [], []
        while len(ids) < CONTEXT:
            sentence = corpus.draw_training(rng)
            before, after = encoder.encode(sentence.before), encoder.encode(sentence.after)
            ids += before + [encoder.id_of(sentence.answer)] + after + [end]
            weights += [1.0] * len(before) + [ANSWER_WEIGHT] + [1.0] * (len(after) + 1)
        return ids[:CONTEXT], weights[:CONTEXT]


def build(vocabulary, end):
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_positions=CONTEXT,
            n_embd=256,
            n_layer=4,
            n_head=8,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=end,
            eos_token_id=end,
            tie_word_embeddings=True,
        )
    )


def rate(done):
    """The share of the learning rate when this share of the time is over."""
    warm = 0.05
    return done / warm if done < warm else 0.5 + 0.5 * math.cos(math.pi * (done - warm) / (1 - warm))


def step(model, optimizer, ids, weights, device):
    ids, weights = ids.to(device).long(), weights.to(device).float()
    with torch.autocast(device.type, dtype=torch.bfloat16):
        logits = model(ids, use_cache=False).logits[:, :-1]
    losses = functional.cross_entropy(
        logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none"
    )
    weights = weights[:, 1:].flatten()
    loss = (losses * weights).sum() / weights.sum()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


def train(model, batches, encoder, options, device):
    plain = [p for p in model.parameters() if p.dim() < 2]
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
        lr=options.rate,
        betas=(0.9, 0.98),
        fused=device.type == "cuda",
    )
    count, loss, seconds, reports = 0, None, options.minutes * 60, 0
    batches = iter(batches)
    next(batches)  # the workers have started
    start = time.monotonic()
    while (done := (time.monotonic() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = options.rate * rate(done)
        loss = step(model, optimizer, *next(batches), device)
        count += 1
        if done * 8 > reports + 1:
            reports += 1
            report(model, encoder, f"{done:4.0%}  step {count}  loss {loss.item():.4f}", 100)
    print(f"{count} steps of {options.rows} rows in {time.monotonic() - start:.0f} s", flush=True)


def report(model, encoder, title, count):
    model.eval()
    print(title)
    for task, (accuracy, difference) in evaluate.evaluate(model, encoder, count).items():
        print(f"  {task:14} {accuracy:7.1%} {difference:8.2f}")
    print(end="", flush=True)
    model.train()


def save(model, tokenizer, folder):
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "bos_token": own.END,
        "eos_token": own.END,
        "unk_token": own.END,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--out", type=pathlib.Path, required=True)
    options.add_argument("--minutes", type=float, default=3.1)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--rows", type=int, default=128, help="sequences in a batch")
    options.add_argument("--rate", type=float, default=1e-3)
    options.add_argument("--workers", type=int, default=7)
    options = options.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(options.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    tokenizer = own.train()
    encoder = own.WordEncoder(tokenizer)
    model = build(tokenizer.get_vocab_size(), tokenizer.token_to_id(own.END)).to(device)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{tokenizer.get_vocab_size()} tokens, {parameters} parameters, {device}", flush=True)
    batches = DataLoader(
        Batches(tokenizer, options.rows, options.seed),
        batch_size=None,
        num_workers=options.workers,
        prefetch_factor=8 if options.workers else None,
        pin_memory=device.type == "cuda",
    )
    train(model, batches, encoder, options, device)
    save(model, tokenizer, options.out)
    report(model, encoder, "in bfloat16, as saved", 400)


if __name__ == "__main__":
    main()
