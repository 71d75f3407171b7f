#!/usr/bin/env python3
"""Writes the golden parity data: tiny random checkpoints of every family and, for every site, its
float64 value and the error of transformers' own float32 run against it.

    python3 generate.py                 everything
    python3 generate.py llama phi3-long these only
    python3 generate.py --shared DIR    where models/tinystories-656k and gpt-nano-sort lie
                                        (default ../shared; left out, saying so, if not there)

models/NAME/      config.json, model*.safetensors: as published checkpoints look
                  reference.safetensors: every site in float64, without a batch dimension
                  reference.json: {"ids", "sites": {name: {...}}, "torch", "transformers"}; of a
                  site: "f32_error", how far transformers' float32 run is off; "max", the largest
                  value
                  bfloat16.json: by bfloat16.py
tinystories/      reference.*: the logits only, of a model that is not part of the product
nano-sort/        biases that another such model lacks, see nano_sort.py

The float64 values come from explicit.py; hooked.py reads the same sites out of transformers'
modules. Before anything is written, three runs have to agree: explicit float64, transformers
lifted to float64 (to 1e-11), transformers as it is in float32 (to a few 1e-6).
"""

import argparse
import json
import shutil
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

import explicit
import hooked
import nano_sort

HERE = Path(__file__).resolve().parent
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}

FLOAT64_AGREES = 1e-11  # relative to the site's largest value
FLOAT32_AGREES = 5e-6


@dataclass
class Spec:
    """One checkpoint."""

    name: str
    family: str
    dtype: str
    n_tokens: int
    config: dict
    shard: int = 0  # bytes; 0: one file
    old: bool = False  # config.json in the keys of transformers 4
    overwrite: dict = field(default_factory=dict)  # config.json's keys, set by hand at the end
    extra: str = ""  # "mask": GPT-2's old buffers, no prefix; "pythia": GPT-NeoX's old buffers


def rope(kind="default", theta=10000.0, **more):
    return dict(rope_type=kind, rope_theta=theta, **more)


def gpt2(d, heads, layers, vocab, **more):
    return dict(n_embd=d, n_head=heads, n_layer=layers, vocab_size=vocab, n_positions=32,
                resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
                **more)  # fmt: skip


def other(d, heads, layers, vocab, mlp, **more):
    sizes = dict(hidden_size=d, num_attention_heads=heads, num_hidden_layers=layers,
                 vocab_size=vocab, intermediate_size=mlp, max_position_embeddings=128,
                 bos_token_id=1, eos_token_id=2, pad_token_id=None)  # fmt: skip
    return sizes | more


LONG_3 = dict(short_factor=[1.0, 1.05, 1.1900000572204590], long_factor=[1.08, 2.75, 6.4])
LONG_4 = dict(short_factor=[1.0, 1.02, 1.1, 1.35], long_factor=[1.0299999713897705, 1.9, 4.2, 7.3])

SPECS = [
    Spec("gpt2", "gpt2", "f32", 13, gpt2(20, 4, 2, 53)),
    Spec("gpt2-bare", "gpt2", "f16", 11, gpt2(21, 3, 3, 50, n_inner=46, layer_norm_epsilon=1e-6),
         old=True, extra="mask"),
    Spec("gpt2-untied", "gpt2", "bf16", 12,
         gpt2(28, 4, 2, 57, n_inner=35, tie_word_embeddings=False), shard=12000),
    Spec("pythia", "gpt_neox", "f16", 11,
         other(24, 3, 2, 61, 50, rope_parameters=rope(partial_rotary_factor=0.25)),
         old=True, extra="pythia"),
    Spec("neox-sequential", "gpt_neox", "f32", 12,
         other(27, 3, 2, 51, 30, rope_parameters=rope(theta=700.0, partial_rotary_factor=0.5),
               use_parallel_residual=False, attention_bias=False, tie_word_embeddings=True)),
    Spec("llama", "llama", "f32", 13,
         other(20, 4, 2, 52, 34, num_key_value_heads=2, head_dim=6, rope_parameters=rope()),
         shard=16000),
    Spec("llama-biased", "llama", "bf16", 12,
         other(36, 3, 2, 59, 41, head_dim=12, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-5,
               tie_word_embeddings=True, rope_parameters=rope(theta=500.0)),
         old=True),
    Spec("llama-linear", "llama", "f16", 12,
         other(25, 5, 2, 49, 38, num_key_value_heads=1, head_dim=10,
               rope_parameters=rope("linear", factor=2.5))),
    Spec("llama3", "llama", "f16", 17,
         other(24, 3, 2, 55, 37, num_key_value_heads=1, head_dim=16, max_position_embeddings=256,
               rope_parameters=rope("llama3", 500.0, factor=8.0, low_freq_factor=1.0,
                                    high_freq_factor=4.0, original_max_position_embeddings=64)),
         old=True),
    Spec("mistral", "mistral", "bf16", 13,
         other(24, 4, 2, 54, 41, num_key_value_heads=2, head_dim=8, sliding_window=5,
               rope_parameters=rope()),
         shard=8000, old=True),
    Spec("qwen2", "qwen2", "bf16", 12,
         other(24, 4, 3, 63, 29, num_key_value_heads=2, use_sliding_window=True, sliding_window=4,
               max_window_layers=1, tie_word_embeddings=True, rope_parameters=rope(theta=1e6)),
         shard=8000, old=True),
    Spec("qwen2-yarn", "qwen2", "f16", 12,
         other(36, 3, 2, 56, 31, num_key_value_heads=1, max_position_embeddings=256,
               rope_parameters=rope("yarn", 500.0, factor=4.0,
                                    original_max_position_embeddings=64)),
         # Real ones carry a window that is not used.
         overwrite=dict(sliding_window=3, max_window_layers=1)),
    Spec("qwen3", "qwen3", "f32", 12,
         other(20, 6, 2, 52, 25, num_key_value_heads=2, head_dim=8,
               rope_parameters=rope(theta=1e6))),
    Spec("qwen3-window", "qwen3", "bf16", 11,
         other(24, 4, 3, 50, 27, num_key_value_heads=1, head_dim=6, attention_bias=True,
               use_sliding_window=True, sliding_window=3, max_window_layers=0,
               layer_types=["full_attention", "sliding_attention", "full_attention"],
               tie_word_embeddings=True, rope_parameters=rope())),
    Spec("phi3", "phi3", "f16", 12,
         other(36, 3, 2, 58, 43, original_max_position_embeddings=128, sliding_window=6,
               rope_parameters=rope(partial_rotary_factor=1.0)),
         old=True),
    # As many tokens as original_max_position_embeddings: still the short regime.
    Spec("phi3-short", "phi3", "bf16", 16,
         other(24, 3, 2, 54, 35, max_position_embeddings=64, original_max_position_embeddings=16,
               sliding_window=262144, rope_parameters=rope("longrope", **LONG_4)),
         old=True),
    # One more: the long regime, from position 0 on.
    Spec("phi3-long", "phi3", "f32", 17,
         other(24, 3, 2, 50, 23, max_position_embeddings=64, original_max_position_embeddings=16,
               rope_parameters=rope("longrope", **LONG_4)),
         shard=16000),
    # Phi-4-mini's ways: part of a head rotates, grouped keys, tied.
    Spec("phi3-partial", "phi3", "bf16", 18,
         other(24, 3, 2, 60, 39, num_key_value_heads=1, max_position_embeddings=64,
               original_max_position_embeddings=16, sliding_window=262144, tie_word_embeddings=True,
               rope_parameters=rope("longrope", partial_rotary_factor=0.75, **LONG_3)),
         old=True),
]  # fmt: skip


# --- checkpoints -------------------------------------------------------------------------------


def randomise(model, seed):
    """Fills every parameter so that activations are of order 1 and attention is not uniform."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in sorted(model.named_parameters()):
        noise = torch.randn(p.shape, generator=generator)
        if name.endswith("bias"):
            noise *= 0.3
        elif p.ndim == 1:  # a norm's gain
            noise = 1 + 0.3 * noise
        elif any(part in name for part in ("wte", "wpe", "embed")):
            noise *= 0.5
        else:
            fan_in = (
                p.shape[0] if model.config.model_type == "gpt2" and "c_" in name else p.shape[1]
            )
            # Fused q, k, v are drawn wide as a whole: scores come out at about 1.5.
            wide = any(
                part in name for part in ("c_attn", "query_key_value", "qkv_", "q_proj", "k_proj")
            )
            noise *= (1.3 if wide else 0.9) / fan_in**0.5
        p.data.copy_(noise)


def old_keys(config):
    """config.json as transformers 4 wrote it: torch_dtype, rope_theta, rope_scaling."""
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.41.2"
    config.pop("layer_types", None)
    if config["model_type"] == "gpt2":
        config["n_ctx"] = config["n_positions"]
        return
    scaling = config.pop("rope_parameters")
    theta, partial = scaling.pop("rope_theta"), scaling.pop("partial_rotary_factor", 1.0)
    if config["model_type"] == "gpt_neox":
        config["rotary_emb_base"], config["rotary_pct"] = int(theta), partial
    else:
        config["rope_theta"] = theta
        if partial != 1.0:
            config["partial_rotary_factor"] = partial
    kind = scaling.pop("rope_type")
    if config["model_type"] == "phi3":  # there it lies outside, and the type was "type"
        scaling.pop("original_max_position_embeddings", None)
        scaling["type"] = kind
    else:
        scaling["rope_type"] = kind
    config["rope_scaling"] = None if kind == "default" else scaling


def add_old_buffers(folder, extra, config):
    """What files of old hold beside weights: masks and RoPE's frequencies."""
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    n, layers = 32, config.num_hidden_layers
    mask = torch.ones(n, n).tril().view(1, 1, n, n)
    if extra == "mask":  # openai-community/gpt2: no prefix either
        tensors = {name.removeprefix("transformer."): t for name, t in tensors.items()}
        tensors |= {f"h.{l}.attn.bias": mask.half() for l in range(layers)}
    if extra == "pythia":
        for l in range(layers):
            a = f"gpt_neox.layers.{l}.attention."
            tensors[a + "bias"] = mask.bool()
            tensors[a + "masked_bias"] = torch.tensor(-1e9).clamp(min=-65504).half()
            tensors[a + "rotary_emb.inv_freq"] = torch.ones(1)
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def write_checkpoint(spec, folder):
    """Writes the folder. Returns the parameters as they must come back."""
    config = AutoConfig.for_model(spec.family, **spec.config)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    randomise(model, zlib.crc32(spec.name.encode()))
    model.to(DTYPES[spec.dtype])
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, max_shard_size=spec.shard or "1GB")
    (folder / "generation_config.json").unlink(missing_ok=True)
    if spec.extra:
        add_old_buffers(folder, spec.extra, config)
    path = folder / "config.json"
    written = json.loads(path.read_text())
    if spec.old:
        old_keys(written)
    written |= spec.overwrite
    path.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n")
    return dict(model.named_parameters())


def load_tensors(folder):
    tensors = {}
    for path in sorted(folder.glob("model*.safetensors")):
        tensors |= safetensors.torch.load_file(path)
    return tensors


# --- references --------------------------------------------------------------------------------


def worst(a, b):
    """max |a - b| over the finite entries, in float64; the others must be the same."""
    a, b = a.double(), b.double()
    assert a.shape == b.shape, f"{tuple(a.shape)} against {tuple(b.shape)}"
    finite = torch.isfinite(b)
    assert torch.equal(a[~finite], b[~finite]) and torch.isfinite(a[finite]).all()
    return (a[finite] - b[finite]).abs().max().item()


def largest(x):
    return x[torch.isfinite(x)].abs().max().item()


def evaluate(folder, ids):
    """All sites of a checkpoint folder: ({name: float64 value}, {name: {f32_error, max}})."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", attn_implementation="eager")
    model.eval()
    facts = explicit.facts_of(model.config, len(ids))
    tensors = load_tensors(folder)
    reference = explicit.forward(tensors, facts, ids, torch.float64)
    plain = explicit.forward(tensors, facts, ids, torch.float32)
    float32 = hooked.sites_of(model.float(), facts, ids)
    check_frequencies(model, facts)
    with hooked.float64_throughout(model):
        float64 = hooked.sites_of(model.double(), facts, ids)

    assert set(reference) == set(float32) == set(float64)
    sites = {}
    for name, value in reference.items():
        top = largest(value)
        error = worst(float32[name], value)
        sites[name] = {"f32_error": error, "max": top}
        for what, difference, bound in (
            ("transformers in float64", worst(float64[name], value), FLOAT64_AGREES),
            ("transformers in float32", error, FLOAT32_AGREES),
            ("explicit float32", worst(plain[name], value), FLOAT32_AGREES),
        ):
            if not difference <= bound * top:
                raise SystemExit(
                    f"{folder.name}: {name}: {what} is off by {difference:g} of {top:g}"
                )
    return reference, sites


def check_frequencies(model, facts):
    """RoPE's frequencies must not depend on the machine: transformers' own float32 ones have to be
    those of correctly rounded steps. (To be called after a forward pass, which sets longrope's.)"""
    if facts.inv_freq is None:
        return
    rotary = model.get_submodule(hooked.NAMES[facts.family]["base"]).rotary_emb
    assert np.array_equal(rotary.inv_freq.float().numpy(), facts.inv_freq), "inv_freq differs"
    assert abs(rotary.attention_scaling - facts.rope_scale) < 1e-15


def write_reference(folder, ids, reference, sites):
    tensors = {name: reference[name].contiguous().clone() for name in sites}
    assert all(t.dtype == torch.float64 for t in tensors.values())
    safetensors.torch.save_file(tensors, folder / "reference.safetensors")
    head = {
        "ids": ids,
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
    }
    lines = [f"    {json.dumps(name)}: {json.dumps(s)}" for name, s in sites.items()]
    text = json.dumps(head)[:-1] + ', "sites": {\n' + ",\n".join(lines) + "\n}}\n"
    json.loads(text)
    (folder / "reference.json").write_text(text)


def generate(spec):
    folder = HERE / "models" / spec.name
    parameters = write_checkpoint(spec, folder)
    # What was written must load as what was meant, whatever was rewritten by hand.
    again = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    for name, p in again.named_parameters():
        assert p.dtype == DTYPES[spec.dtype] and torch.equal(p, parameters[name]), name
    rng = np.random.default_rng(zlib.crc32(spec.name.encode()))
    ids = rng.integers(0, spec.config["vocab_size"], spec.n_tokens).tolist()
    reference, sites = evaluate(folder, ids)
    write_reference(folder, ids, reference, sites)
    report(spec, folder, reference, sites)


def report(spec, folder, reference, sites):
    """One line: the sizes, and whether the random model is worth testing with."""
    files = {p.name: p.stat().st_size / 1024 for p in folder.iterdir()}
    model = sum(n for name, n in files.items() if not name.startswith("reference"))
    name, s = max(sites.items(), key=lambda item: item[1]["f32_error"] / item[1]["max"])
    pattern = reference["blocks.1.attn.hook_pattern"]
    print(
        f"{spec.name:16} {spec.dtype:5} {len(sites):3} sites  model {model:4.1f} KiB"
        f"  all {sum(files.values()):5.1f} KiB  logits std {reference['logits'].std():3.1f}"
        f"  top weight {pattern.amax(-1).mean():.2f}"
        f"  worst float32 {s['f32_error'] / s['max']:.1e} {name}"
    )


def generate_tinystories(shared):
    """The logits of a trained model that lies outside the repository."""
    model = shared / "models" / "tinystories-656k"
    if not (model / "model.safetensors").exists():
        print(f"tinystories: left out, {model} is not there")
        return
    ids = [1, 365, 1022, 259, 406, 268, 1737, 1921, 31, 2047]
    reference, sites = evaluate(model, ids)
    folder = HERE / "tinystories"
    folder.mkdir(exist_ok=True)
    write_reference(folder, ids, reference, {"logits": sites["logits"]})
    print(f"tinystories      logits, float32 error {sites['logits']['f32_error']:.1e}")


def generate_nano_sort(shared):
    model = shared / "models" / "gpt-nano-sort"
    if not (model / "activations.safetensors").exists():
        print(f"nano-sort: left out, {model} is not there")
        return
    folder = HERE / "nano-sort"
    folder.mkdir(exist_ok=True)
    safetensors.torch.save_file(nano_sort.recover(model), folder / "biases.safetensors")
    print("nano-sort        biases recovered")


OUTSIDE = {"tinystories": generate_tinystories, "nano-sort": generate_nano_sort}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="checkpoints; all if none")
    parser.add_argument("--shared", type=Path, default=HERE.parents[2] / "shared")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    unknown = set(arguments.names) - {s.name for s in SPECS} - set(OUTSIDE)
    if unknown:
        parser.error(f"no such checkpoint: {', '.join(sorted(unknown))}")
    for spec in SPECS:
        if not arguments.names or spec.name in arguments.names:
            generate(spec)
    for name, write in OUTSIDE.items():
        if not arguments.names or name in arguments.names:
            write(arguments.shared)


if __name__ == "__main__":
    main()
