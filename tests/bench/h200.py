"""h200.py - called by h200.sh: runs midpass and transformers on the same weights, prints a table.

Both get the same random token ids. midpass is measured by its own clock (info timing), with its
default of what it keeps of each layer; transformers by the wall clock around a synchronised call,
the last position's logits only, as midpass computes them.
"""
import json
import os
import pathlib
import random
import subprocess
import time

import torch

WORK = pathlib.Path(os.environ["WORK"])
MIDPASS = os.environ["MIDPASS"]
PROMPTS = [int(n) for n in os.environ.get("PROMPTS", "512 4096 32768 131072").split()]
GENERATE = 64
SECONDS = int(os.environ.get("SECONDS_EACH", "150"))
REFERENCE = {512: 0.0235, 4096: 0.090, 32768: 1.09, 131072: 9.9}


def tell(what, ours, theirs="", limit=""):
    print(f"  {what:44} {ours:>26} {theirs:>26} {limit}", flush=True)


def make_checkpoint():
    folder = WORK / "phi"
    folder.mkdir(exist_ok=True)
    config = json.loads(pathlib.Path("tests/bench/phi-3.5-mini-instruct.json").read_text())
    config.pop("auto_map", None)
    (folder / "config.json").write_text(json.dumps(config))
    file = folder / "model.safetensors"
    if file.exists():
        return folder, config
    from safetensors.torch import save_file

    torch.manual_seed(1)
    d, m, v = config["hidden_size"], config["intermediate_size"], config["vocab_size"]

    def matrix(n, k):
        return (torch.randn(n, k, device="cuda") * 0.02).bfloat16().cpu()

    t = {"model.embed_tokens.weight": matrix(v, d), "lm_head.weight": matrix(v, d),
         "model.norm.weight": torch.ones(d).bfloat16()}
    for i in range(config["num_hidden_layers"]):
        p = f"model.layers.{i}."
        t[p + "self_attn.qkv_proj.weight"] = matrix(3 * d, d)
        t[p + "self_attn.o_proj.weight"] = matrix(d, d)
        t[p + "mlp.gate_up_proj.weight"] = matrix(2 * m, d)
        t[p + "mlp.down_proj.weight"] = matrix(d, m)
        t[p + "input_layernorm.weight"] = torch.ones(d).bfloat16()
        t[p + "post_attention_layernorm.weight"] = torch.ones(d).bfloat16()
    save_file(t, file, metadata={"format": "pt"})
    return folder, config


def ids_of(n, vocab):
    r = random.Random(n)
    return [r.randrange(3, min(vocab, 9999)) for _ in range(n)]


def midpass(folder, ids, *commands, options=()):
    """Runs commands behind a prompt; returns the JSON objects, and the seconds it took in all."""
    script = WORK / "script"
    script.write_text("ids " + " ".join(map(str, ids)) + "\n" + "\n".join(commands) + "\n")
    began = time.time()
    r = subprocess.run([MIDPASS, "--batch", "--json", "--device", "cuda", *options, "-x",
                        str(script), str(folder)], capture_output=True, text=True, timeout=SECONDS)
    if r.returncode:
        raise RuntimeError(r.stderr[-400:])
    return [json.loads(line) for line in r.stdout.splitlines()], time.time() - began


def timings(objects):
    return [o for o in objects if o.get("cmd") == "info timing"]


def bandwidth():
    n = 1 << 30
    x, y = torch.empty(n, dtype=torch.uint8, device="cuda"), torch.empty(n, dtype=torch.uint8, device="cuda")
    y.copy_(x)
    torch.cuda.synchronize()
    best = 0
    for _ in range(5):
        began = time.time()
        for _ in range(10):
            y.copy_(x)
        torch.cuda.synchronize()
        best = max(best, 20 * n / (time.time() - began))
    return best


def ours(folder, config, copy):
    """Prompts and generation with midpass; returns what to compare transformers with."""
    weights = (folder / "model.safetensors").stat().st_size
    weights -= 2 * config["vocab_size"] * config["hidden_size"]  # one row of the embedding is read
    found = {}
    for n in PROMPTS:
        try:
            # Thrice: the first pay for loading kernels and for the pages.
            o, wall = midpass(folder, ids_of(n, config["vocab_size"]), "finish", "info timing",
                              "info memory")
            again = n <= 32768
            if again:
                one, other = (" ".join(map(str, ids_of(k, config["vocab_size"])[:n]))
                              for k in (n, n + 1))
                o2, _ = midpass(folder, ids_of(64, config["vocab_size"]), "finish",
                                f"ids {other}", "finish", f"ids {one}", "finish", "info timing")
            first = timings(o)[0]["seconds"]
            best = timings(o2)[0]["seconds"] if again else first
            memory = [x for x in o if x.get("cmd") == "info memory"][0]
            found[n] = best, memory["total_peak"], first, wall
        except Exception as e:  # told, and the others go on
            found[n] = str(e).strip()[-120:]
        print(f"    midpass {n}: {found[n]}", flush=True)
    for n in (512, PROMPTS[-2] if len(PROMPTS) > 2 else 4096):
        try:
            o, _ = midpass(folder, ids_of(n, config["vocab_size"]), "finish", "generate 8",
                           f"generate {GENERATE}", "info timing")
            t = timings(o)[0]
            rate = t["tokens"] / t["seconds"]
            cache = 4 * n * config["hidden_size"] * config["num_hidden_layers"]
            limit = copy / (weights + cache)
            found["generate", n] = rate, limit
        except Exception as e:
            found["generate", n] = str(e).strip()[-120:]
        print(f"    midpass generation at {n}: {found['generate', n]}", flush=True)
    return found


def forget(folder):
    """Has the system drop the files' pages; where it does not, what is told is no cold rate."""
    for f in folder.glob("*.safetensors"):
        with open(f, "rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def loading(folder):
    """How fast the weights come to the device, beside dd reading the same files."""
    for what, cold in (("warm cache", False), ("dropped from the cache", True)):
        if cold:
            forget(folder)
        began = time.time()
        for f in folder.glob("*.safetensors"):
            subprocess.run(["dd", f"if={f}", "of=/dev/null", "bs=16M"], check=True,
                           capture_output=True)
        size = sum(f.stat().st_size for f in folder.glob("*.safetensors"))
        dd = size / (time.time() - began)
        if cold:
            forget(folder)
        o, _ = midpass(folder, [5], "info timing")
        t = timings(o)[0]
        rate = t["load_bytes"] / t["load_seconds"]
        tell(f"loading, {what}", f"{rate / 1e9:.1f} GB/s, {t['load_seconds']:.2f} s",
             f"dd {dd / 1e9:.1f} GB/s")


def logits_of(folder, config):
    import numpy

    out = {}
    for n in (512, 6000):
        for dtype in ("bf16", "f32"):
            file = WORK / f"logits-{n}-{dtype}.npy"
            try:
                midpass(folder, ids_of(n, config["vocab_size"]), "finish", f"save logits[-1] {file}",
                        options=("--dtype", dtype))
                out[n, dtype] = torch.tensor(numpy.load(file).reshape(-1))
            except Exception as e:
                print(f"    logits at {n} in {dtype}: {e}", flush=True)
    return out


MAPS = [("one head's map, 400x400", "map {}.pattern[3] 400x400 {}", 0.1),
        ("all heads of a layer, 400x400", "map {}.pattern 400x400 {}", 2),
        ("1,000 queries by 1,000 keys, 250x250", "map {}.pattern[3,-30000:-29000,-31000:-30000] 250x250 {}", 0)]


def maps(folder, config, layer=16, options=(), what=""):
    """Attention maps at the longest prompt; each twice, with the time of starting `date` in it."""
    n, date = PROMPTS[-1], "shell date +%s%N"
    commands = ["finish"]
    for _, command, _ in MAPS:
        line = command.format(layer, WORK / "map.npy")
        commands += [date, line, date, line, date]
    try:
        o, _ = midpass(folder, ids_of(n, config["vocab_size"]), *commands, "info memory",
                       options=options)
        clock = [x for x in o if isinstance(x, int)]
        for i, (name, _, limit) in enumerate(MAPS):
            first, second, third = clock[3 * i:3 * i + 3]
            tell(f"{name}{what}", f"{(third - second) / 1e6:.1f} ms",
                 f"at first {(second - first) / 1e6:.1f} ms", f"{limit * 1e3:.0f} ms" if limit else "")
    except Exception as e:
        tell(f"maps at {n}{what}", str(e).strip()[-120:])


def edits(folder, config, n=2048, layer=16, times=20):
    """A head's z at the last position changed, and changed back, each time to new logits."""
    change = (f"patch {layer}.z[3] at {n - 1} zero", "top 1", "undo", "top 1")
    date = "shell date +%s%N"
    o, _ = midpass(folder, ids_of(n, config["vocab_size"]), "finish", *change, date, date,
                   *(change * times), date)
    clock = [x for x in o if isinstance(x, int)]
    seconds = (clock[2] - clock[1] - (clock[1] - clock[0])) / 1e9 / (2 * times)
    tell(f"an edit at the last of {n}, to new logits", f"{seconds * 1e3:.2f} ms", "", "3 ms")


def breakpoints(folder, config, n=512):
    """Generation with 100 breakpoints that do not fire, beside none; a prompt with 10."""
    layers, sites = config["num_hidden_layers"], ("attn_out", "mlp_out", "resid_post", "z")
    armed = [f"break {i % layers}.{sites[i // layers % len(sites)]} if norm(.) > 1e9"
             for i in range(100)]
    ids = ids_of(n, config["vocab_size"])
    rates = []
    for lines in ([], armed):
        o, _ = midpass(folder, ids, *lines, "finish", "generate 8", "info timing",
                       f"generate {GENERATE}", "info timing")
        t = timings(o)[1]
        rates.append(t["tokens"] / t["seconds"])
    tell(f"generation behind {n}, 100 breakpoints", f"{rates[1]:.1f} a second",
         f"none: {rates[0]:.1f}")
    seconds = []
    for lines in ([], armed[:10]):
        one, other = (" ".join(map(str, ids_of(k, config["vocab_size"])[:4096]))
                      for k in (4096, 4097))
        o, _ = midpass(folder, ids_of(64, config["vocab_size"]), "finish", f"ids {other}",
                       "finish", *lines, f"ids {one}", "finish", "info timing")
        seconds.append(timings(o)[0]["seconds"])
    tell("prompt of 4096, 10 breakpoints", f"{seconds[1] * 1e3:.1f} ms",
         f"none: {seconds[0] * 1e3:.1f}")


def exact(folder, config):
    """What --exact costs."""
    for n in (512, 4096):
        o, _ = midpass(folder, ids_of(64, config["vocab_size"]), "finish",
                       "ids " + " ".join(map(str, ids_of(n, config["vocab_size"]))), "finish",
                       "info timing", f"generate {GENERATE}", "info timing", options=("--exact",))
        t = timings(o)
        tell(f"--exact, {n}", f"{t[0]['seconds'] * 1e3:.1f} ms, "
             f"{t[1]['tokens'] / t[1]['seconds']:.1f} a second")


def theirs(folder, config, found, logits):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16,
                                                 attn_implementation="sdpa").cuda().eval()
    with torch.inference_mode():
        for n in PROMPTS:
            ids = torch.tensor([ids_of(n, config["vocab_size"])], device="cuda")
            best = None
            try:
                for _ in range(3 if n < 100000 else 1):
                    torch.cuda.synchronize()
                    torch.cuda.reset_peak_memory_stats()
                    began = time.time()
                    result = model(ids, use_cache=True, logits_to_keep=1)
                    torch.cuda.synchronize()
                    best = min(best or 1e9, time.time() - began)
                peak = torch.cuda.max_memory_allocated()
                del result
                text = f"{best * 1e3:.1f} ms, {peak / 2**30:.1f} GiB"
            except Exception as e:
                text = type(e).__name__
            mine = found.get(n, "")
            mine = (f"{mine[0] * 1e3:.1f} ms, {mine[1] / 2**30:.1f} GiB"
                    if isinstance(mine, tuple) else mine)
            tell(f"prompt of {n}", mine, text, f"{REFERENCE.get(n, 0) * 1e3:.1f} ms on an H200")
        for key in [k for k in found if isinstance(k, tuple)]:
            n = key[1]
            ids = torch.tensor([ids_of(n, config["vocab_size"])], device="cuda")
            r = model(ids, use_cache=True, logits_to_keep=1)
            past, token = r.past_key_values, r.logits[:, -1:].argmax(-1)
            for turn in range(24):
                if turn == 8:
                    torch.cuda.synchronize()
                    began = time.time()
                r = model(token, past_key_values=past, use_cache=True)
                token = r.logits[:, -1:].argmax(-1)
            torch.cuda.synchronize()
            rate = 16 / (time.time() - began)
            mine = found[key]
            tell(f"generation behind {n}", f"{mine[0]:.1f} a second" if isinstance(mine, tuple) else mine,
                 f"{rate:.1f} a second",
                 f"80% of the copy rate: {0.8 * mine[1]:.1f}" if isinstance(mine, tuple) else "")
        for n in (512, 6000):
            ids = torch.tensor([ids_of(n, config["vocab_size"])], device="cuda")
            low = model(ids, logits_to_keep=1).logits[0, -1].float().cpu()
            high = model.float()(ids, logits_to_keep=1).logits[0, -1].cpu()
            model = model.bfloat16()
            off = {d: (logits[n, d] - high).abs().max().item() for d in ("bf16", "f32")
                   if (n, d) in logits}
            tell(f"logits at {n}: off transformers' f32 by",
                 ", ".join(f"{d} {x:.2e}" for d, x in off.items()),
                 f"bf16 {(low - high).abs().max().item():.2e}", "bf16: at most twice theirs")


def main():
    parts = os.environ.get("PARTS", "load prompts edits breakpoints exact maps logits").split()
    print("device:", torch.cuda.get_device_name())
    folder, config = make_checkpoint()
    copy = bandwidth()
    print(f"copy: {copy / 1e12:.2f} TB/s, reads and writes counted", flush=True)
    torch.cuda.empty_cache()
    found, logits = {}, {}
    if "load" in parts:
        loading(folder)
    if "prompts" in parts:
        found = ours(folder, config, copy)
    if "edits" in parts:
        edits(folder, config)
    if "breakpoints" in parts:
        breakpoints(folder, config)
    if "exact" in parts:
        exact(folder, config)
    if "maps" in parts:
        maps(folder, config)
        maps(folder, config, 15, (), ", between two checkpoints")
        maps(folder, config, 15, ("--mem", "74G"), ", a checkpoint every 4 layers")
    if "logits" in parts:
        logits = logits_of(folder, config)
    if not os.environ.get("NO_TRANSFORMERS"):
        print(f"\n  {'':44} {'midpass':>26} {'transformers':>26} limit")
        theirs(folder, config, found, logits)


main()
