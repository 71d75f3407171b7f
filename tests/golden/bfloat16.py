#!/usr/bin/env python3
"""Writes how far transformers' own bfloat16 run is off, site by site, for what generate.py wrote.

    python3 bfloat16.py [NAME...]

models/NAME/bfloat16.json: {"sites": {name: max |bfloat16 run - float64 reference|}, "torch",
"transformers"}. The weights are rounded as transformers does it, attention is its eager one, on
the CPU. A GPU run in bf16 may be off by twice that (tests/golden/test_parity cuda bf16).
"""

import json
import sys

import safetensors.torch
import torch
import transformers
from transformers import AutoModelForCausalLM

import explicit
import generate
import hooked


def errors(folder):
    reference = safetensors.torch.load_file(folder / "reference.safetensors")
    ids = json.loads((folder / "reference.json").read_text())["ids"]
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, attn_implementation="eager"
    ).eval()
    facts = explicit.facts_of(model.config, len(ids))
    sites = hooked.sites_of(model, facts, ids)
    assert set(sites) == set(reference)
    return {name: generate.worst(sites[name], value) for name, value in reference.items()}


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for folder in sorted((generate.HERE / "models").iterdir()):
        if len(sys.argv) > 1 and folder.name not in sys.argv[1:]:
            continue
        found = errors(folder)
        head = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}
        lines = [f"    {json.dumps(name)}: {error:.6g}" for name, error in found.items()]
        text = json.dumps(head)[:-1] + ', "sites": {\n' + ",\n".join(lines) + "\n}}\n"
        json.loads(text)
        (folder / "bfloat16.json").write_text(text)
        print(f"{folder.name:16} {len(found):3} sites  logits off by {found['logits']:.2g}")


if __name__ == "__main__":
    main()
