"""How well the demo model does each task on what it has never seen, and whether midpass agrees.

    python evaluate.py FOLDER [--questions N] [--midpass PATH]

A fifth of all combinations of words, the same ones everywhere (corpus.held_out), is kept from
training, and a question is made of such combinations only:

    indirect      the pair of names; the opening with the verb; the place with the thing
    indirect_new  the same, and neither name was in any such sentence of training
    induction     every two neighbours in the row of words
    years         the year it begins in; the event with the phrase
    pronouns      the name with the clause; the time with the clause
    agreement     the subject with the distractor; the subject with the preposition.
                  The distractor always has the other number
    brackets      each mark with the one that is open around it
    lookup        every key with its value

Single words are all in training somewhere, or their embeddings would be noise.

Accuracy is how often the best of all tokens is a right one. The logit difference is that of the best
right token over the best wrong one of Sentence.wrong.
"""

import argparse
import json
import random
import subprocess
import tempfile

import corpus

SEED = 2026


def questions(count):
    """{task: [Sentence]}, the same for the same count."""
    return {
        task.__name__: [
            corpus.draw(task, rng, corpus.fits_test) for _ in range(count)
        ]
        for task in corpus.TESTED
        for rng in [random.Random(f"{SEED} {task.__name__}")]
    }


def best_tokens(model, encoder, sentences):
    """For each sentence: (the best id, the logits after it), in float32."""
    import torch

    rows = [encoder.encode(s.before) for s in sentences]
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])  # what follows is unseen
    device = next(model.parameters()).device
    with torch.no_grad():
        logits = model(ids.to(device)).logits.float().cpu()
    last = logits[range(len(rows)), [len(row) - 1 for row in rows]]
    return [(row.argmax().item(), row) for row in last]


def score(sentences, encoder, best):
    """(accuracy, mean logit difference)"""
    hits, differences = 0, []
    for sentence, (top, logits) in zip(sentences, best):
        right = [encoder.id_of(token) for token in sentence.right]
        wrong = [encoder.id_of(token) for token in sentence.wrong]
        hits += top in right
        differences.append((logits[right].max() - logits[wrong].max()).item())
    return hits / len(sentences), sum(differences) / len(differences)


def evaluate(model, encoder, count):
    """{task: (accuracy, mean logit difference)}"""
    scores = {}
    for task, sentences in questions(count).items():
        scores[task] = score(sentences, encoder, best_tokens(model, encoder, sentences))
    return scores


def midpass_tokens(program, folder, sentences):
    """The best ids after each sentence, by midpass."""
    with tempfile.NamedTemporaryFile("w", suffix=".mp") as script:
        for sentence in sentences:
            script.write(f"run {sentence.before}\nfinish\ntop 1\n")
        script.flush()
        command = [program, "--batch", "--json", "-x", script.name, folder]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    said = map(json.loads, out.splitlines())
    return [line["tokens"][0]["id"] for line in said if line.get("cmd") == "top"]


def main():
    options = argparse.ArgumentParser()
    options.add_argument("folder")
    options.add_argument("--questions", type=int, default=400)
    options.add_argument("--midpass", help="the program, to compare its best tokens with ours")
    options = options.parse_args()

    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    import tokenizer as own

    model = AutoModelForCausalLM.from_pretrained(options.folder, dtype="float32").eval()
    encoder = own.WordEncoder(Tokenizer.from_file(f"{options.folder}/tokenizer.json"))
    print(f"{'task':14} {'accuracy':>8} {'logit difference':>17}")
    for task, sentences in questions(options.questions).items():
        best = best_tokens(model, encoder, sentences)
        accuracy, difference = score(sentences, encoder, best)
        line = f"{task:14} {accuracy:8.1%} {difference:17.2f}"
        if options.midpass:
            theirs = midpass_tokens(options.midpass, options.folder, sentences)
            same = sum(a == b for a, (b, _) in zip(theirs, best, strict=True))
            line += f"   midpass: {same} of {len(best)} best tokens the same"
        print(line, flush=True)


if __name__ == "__main__":
    main()
