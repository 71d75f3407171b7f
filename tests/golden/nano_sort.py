"""The biases that the shared gpt-nano-sort checkpoint lacks, recovered from its activations.

Its model.safetensors has no transformer.h.N.attn.c_attn.bias, while the activations beside it
(another implementation's, for three inputs) were made with them. What the activations determine is
found again here: block 0's bias is what its q, k, v have over x W; blocks 1 and 2 are fitted, 1584
values of resid_post against the 96 floats of q's and v's bias (k's cancels in the softmax and is
left 0). Activations that were not fitted, the logits among them, then check the result.
"""

import json

import safetensors.torch
import torch
from transformers import AutoConfig

import explicit

AGREES = 5e-6


def recover(folder):
    """{tensor name: float32 bias}; raises if the activations do not agree with them."""
    config = AutoConfig.from_pretrained(folder)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    activations = safetensors.torch.load_file(folder / "activations.safetensors")
    inputs = json.loads((folder / "inputs.json").read_text())
    facts = explicit.facts_of(config, len(inputs[0]))
    n_layers, biases = facts.n_layers, {}

    def sites(extra):
        runs = [
            explicit.forward(tensors | biases | extra, facts, ids, torch.float64) for ids in inputs
        ]
        return {name: torch.stack([r[name] for r in runs]) for name in runs[0]}

    for l in range(n_layers):
        facts.n_layers = l + 1
        bias_name, out_name = f"transformer.h.{l}.attn.c_attn.bias", f"blocks.{l}.hook_resid_post"
        bias = torch.zeros(3 * config.n_embd, dtype=torch.float64)
        if l == 0:
            plain = sites({bias_name: bias})
            names = [f"blocks.0.attn.hook_{part}" for part in "qkv"]
            bias = torch.cat([(activations[n] - plain[n]).mean((0, 1)).flatten() for n in names])
        else:
            target = activations[out_name].double().flatten()

            def out(b):
                return sites({bias_name: b})[out_name].flatten()

            for _ in range(6):  # Gauss-Newton; least norm leaves what has no effect at 0
                slope = torch.func.jacfwd(out)(bias)
                step = torch.linalg.lstsq(
                    slope, (target - out(bias))[:, None], rcond=1e-9, driver="gelsd"
                )
                bias = bias + step.solution[:, 0]
        biases[bias_name] = bias.float()

    facts.n_layers = n_layers
    ours = sites({})
    for name, value in activations.items():
        if name in ours:
            off = (
                (ours[name].reshape(len(inputs), -1) - value.double().reshape(value.shape[0], -1))
                .abs()
                .max()
            )
            if off > AGREES:
                raise SystemExit(f"nano-sort: {name} is off by {off:g}")
    return biases
