"""The forward pass of every family, written out once, in any torch dtype.

Reads a checkpoint's tensors by their published names and its config through transformers' config
classes, and shares no arithmetic with transformers: RoPE's frequencies, masks, norms and
activations are its own. In float64 its values are the golden reference.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch


@dataclass
class Facts:
    """What the forward pass needs to know of a config."""

    family: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    eps: float
    layer_norm: bool  # else RMS
    act: str
    tied: bool  # the unembedding is the embedding
    parallel: bool = False
    windows: list = field(default_factory=list)  # a layer's window, 0: none
    inv_freq: np.ndarray = None  # float32, None: no RoPE
    rope_scale: float = 1.0


def facts_of(config, n_tokens):
    """The facts of a transformers config, for a sequence of n_tokens."""
    family = config.model_type
    heads = config.num_attention_heads
    f = Facts(
        family=family,
        n_layers=config.num_hidden_layers,
        n_heads=heads,
        n_kv_heads=getattr(config, "num_key_value_heads", heads),
        d_head=getattr(config, "head_dim", None) or config.hidden_size // heads,
        eps=_first(config, "rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon"),
        layer_norm=family in ("gpt2", "gpt_neox"),
        act=_first(config, "hidden_act", "activation_function"),
        tied=config.tie_word_embeddings,
        parallel=family == "gpt_neox" and config.use_parallel_residual,
    )
    f.windows = [0] * f.n_layers
    if family in ("mistral", "phi3"):
        f.windows = [config.sliding_window or 0] * f.n_layers
    if family in ("qwen2", "qwen3"):
        f.windows = [
            config.sliding_window if kind == "sliding_attention" else 0
            for kind in config.layer_types
        ]
    if family != "gpt2":
        f.inv_freq, f.rope_scale = rope_frequencies(config, f.d_head, n_tokens)
    return f


def _first(config, *names):
    return next(getattr(config, n) for n in names if hasattr(config, n))


def rope_frequencies(config, d_head, n_tokens):
    """RoPE's inverse frequencies as published models mean them: in float32, step by step, each
    step rounded once (pow through float64). Returns them and the factor on cosines and sines."""
    p = config.rope_parameters
    kind = p["rope_type"]
    dim = int(d_head * p.get("partial_rotary_factor", 1.0))
    one = np.float32(1)
    exponent = np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim)
    power = np.float64(p["rope_theta"]) ** exponent.astype(np.float64)
    power = power.astype(np.float32)
    scale = 1.0

    if kind == "default":
        return one / power, scale

    if kind == "linear":
        return one / power / np.float32(p["factor"]), scale

    if kind == "longrope":
        original = p["original_max_position_embeddings"]
        chosen = p["long_factor"] if n_tokens > original else p["short_factor"]
        ratio = config.max_position_embeddings / original
        if ratio > 1:
            scale = math.sqrt(1 + math.log(ratio) / math.log(original))
        return one / (np.array(chosen, dtype=np.float32) * power), scale

    if kind == "llama3":
        inv = one / power
        factor, low, high = (
            np.float32(p[k]) for k in ("factor", "low_freq_factor", "high_freq_factor")
        )
        original = np.float32(p["original_max_position_embeddings"])
        wavelength = np.float32(2 * math.pi) / inv
        s = (original / wavelength - low) / (high - low)
        blend = (one - s) * inv / factor + s * inv
        long_wave, short_wave = wavelength > original / low, wavelength < original / high
        return np.where(long_wave, inv / factor, np.where(short_wave, inv, blend)), scale

    if kind == "yarn":
        factor = p["factor"]

        def turns_at(r):  # the dimension that turns r times over the original length
            return (
                dim
                * math.log(p["original_max_position_embeddings"] / (2 * math.pi * r))
                / (2 * math.log(p["rope_theta"]))
            )

        low = max(math.floor(turns_at(p.get("beta_fast") or 32)), 0)
        high = min(math.ceil(turns_at(p.get("beta_slow") or 1)), dim - 1)
        ramp = (np.arange(dim // 2, dtype=np.float32) - np.float32(low)) / np.float32(high - low)
        keep = one - np.clip(ramp, np.float32(0), one)
        inv = one / (np.float32(factor) * power) * (one - keep) + one / power * keep
        return inv, 0.1 * math.log(factor) + 1.0

    raise ValueError(f"rope_type {kind}")


# --- weights, by their published names ---------------------------------------------------------


class Tensors:
    """A checkpoint's tensors in one dtype; with or without a prefix."""

    def __init__(self, tensors, prefix, dtype):
        self.tensors, self.dtype = tensors, dtype
        self.prefix = prefix if any(n.startswith(prefix) for n in tensors) else ""

    def get(self, name):
        """The tensor, or None."""
        t = self.tensors.get(self.prefix + name)
        return None if t is None else t.to(self.dtype)

    def affine(self, name):
        """(weight, bias or None) of a linear layer or a norm."""
        return self.get(name + ".weight"), self.get(name + ".bias")

    def head(self):
        """The unembedding lies outside the prefix; GPT-NeoX's files call it embed_out."""
        name = "embed_out.weight" if "embed_out.weight" in self.tensors else "lm_head.weight"
        return self.tensors[name].to(self.dtype)


def _rows(pair, *counts):
    """A fused linear layer's rows, cut in parts."""
    weight, bias = pair
    weights = weight.split(counts)
    biases = [None] * len(counts) if bias is None else bias.split(counts)
    return list(zip(weights, biases))


def _gpt2_layer(t, l, f):
    def conv1d(name):  # stored [in, out]
        weight, bias = t.affine(f"h.{l}.{name}")
        return weight.T.contiguous(), bias

    d = f.n_heads * f.d_head
    q, k, v = _rows(conv1d("attn.c_attn"), d, d, d)
    return dict(
        ln1=t.affine(f"h.{l}.ln_1"), q=q, k=k, v=v, o=conv1d("attn.c_proj"),
        ln2=t.affine(f"h.{l}.ln_2"), up=conv1d("mlp.c_fc"), down=conv1d("mlp.c_proj"),
    )  # fmt: skip


def _gpt_neox_layer(t, l, f):
    p = f"layers.{l}."
    weight, bias = t.affine(p + "attention.query_key_value")
    weight = weight.view(f.n_heads, 3, f.d_head, -1)
    bias = None if bias is None else bias.view(f.n_heads, 3, f.d_head)
    q, k, v = (
        (weight[:, i].flatten(0, 1), None if bias is None else bias[:, i].flatten())
        for i in range(3)
    )
    return dict(
        ln1=t.affine(p + "input_layernorm"), q=q, k=k, v=v, o=t.affine(p + "attention.dense"),
        ln2=t.affine(p + "post_attention_layernorm"),
        up=t.affine(p + "mlp.dense_h_to_4h"), down=t.affine(p + "mlp.dense_4h_to_h"),
    )  # fmt: skip


def _llama_layer(t, l, f):
    p = f"layers.{l}."
    a, m = p + "self_attn.", p + "mlp."
    layer = dict(
        ln1=t.affine(p + "input_layernorm"), o=t.affine(a + "o_proj"),
        ln2=t.affine(p + "post_attention_layernorm"), down=t.affine(m + "down_proj"),
    )  # fmt: skip
    if f.family == "phi3":
        n, g = f.n_heads * f.d_head, f.n_kv_heads * f.d_head
        layer["q"], layer["k"], layer["v"] = _rows(t.affine(a + "qkv_proj"), n, g, g)
        fused = t.affine(m + "gate_up_proj")
        half = fused[0].shape[0] // 2
        layer["gate"], layer["up"] = _rows(fused, half, half)
    else:
        for part in "qkv":
            layer[part] = t.affine(f"{a}{part}_proj")
        layer["gate"], layer["up"] = t.affine(m + "gate_proj"), t.affine(m + "up_proj")
    if f.family == "qwen3":
        layer["q_norm"], layer["k_norm"] = t.affine(a + "q_norm"), t.affine(a + "k_norm")
    return layer


# --- the forward pass --------------------------------------------------------------------------


def linear(x, pair):
    weight, bias = pair
    y = x @ weight.T
    return y if bias is None else y + bias


def activation(name, x):
    if name == "silu":
        return x / (1 + torch.exp(-x))
    if name == "gelu":
        return x / 2 * (1 + torch.erf(x / math.sqrt(2)))
    if name == "gelu_new":
        return x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    raise ValueError(f"activation {name}")


def rotate(x, f, dtype):
    """RoPE on the leading part of each head of x [T, heads, h]. The angle is the float32 product
    of position and frequency, as published; its cosine and sine are taken in dtype."""
    positions = np.arange(x.shape[0], dtype=np.float32)
    angle = torch.from_numpy(positions[:, None] * f.inv_freq[None, :]).to(dtype)
    cos, sin = (angle.cos() * f.rope_scale)[:, None], (angle.sin() * f.rope_scale)[:, None]
    half = angle.shape[1]
    a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], dim=-1)


def visible(n, window):
    """[T, T]: whether the query (row) sees the key (column)."""
    query, key = torch.arange(n)[:, None], torch.arange(n)[None, :]
    seen = key <= query
    return seen & (key > query - window) if window else seen


def forward(tensors, f, ids, dtype):
    """{site: value} of every site, without a batch dimension."""
    sites = {}

    def norm(x, pair, name):
        if f.layer_norm:
            x = x - x.mean(-1, keepdim=True)
        scale = torch.sqrt((x * x).mean(-1, keepdim=True) + f.eps)
        sites[name + ".hook_scale"], sites[name + ".hook_normalized"] = scale, x / scale
        y = x / scale * pair[0]
        return y if pair[1] is None else y + pair[1]

    n = len(ids)
    prefix, layer_of = {
        "gpt2": ("transformer.", _gpt2_layer),
        "gpt_neox": ("gpt_neox.", _gpt_neox_layer),
    }.get(f.family, ("model.", _llama_layer))
    t = Tensors(tensors, prefix, dtype)
    embed = t.get({"gpt2": "wte", "gpt_neox": "embed_in"}.get(f.family, "embed_tokens") + ".weight")
    if embed is None and f.tied:  # a tied matrix may be stored as the head alone
        embed = t.head()
    sites["hook_embed"] = resid = embed[ids]
    if f.family == "gpt2":
        sites["hook_pos_embed"] = t.get("wpe.weight")[:n]
        resid = resid + sites["hook_pos_embed"]

    for l in range(f.n_layers):
        w, b = layer_of(t, l, f), f"blocks.{l}."
        sites[b + "hook_resid_pre"] = resid
        x = norm(resid, w["ln1"], b + "ln1")
        q = linear(x, w["q"]).view(n, f.n_heads, f.d_head)
        k = linear(x, w["k"]).view(n, f.n_kv_heads, f.d_head)
        v = linear(x, w["v"]).view(n, f.n_kv_heads, f.d_head)
        sites[b + "attn.hook_q"], sites[b + "attn.hook_k"], sites[b + "attn.hook_v"] = q, k, v
        if "q_norm" in w:
            q = norm(q, w["q_norm"], b + "attn.q_norm")
            k = norm(k, w["k_norm"], b + "attn.k_norm")
        if f.inv_freq is not None:
            q, k = rotate(q, f, dtype), rotate(k, f, dtype)
            sites[b + "attn.hook_rot_q"], sites[b + "attn.hook_rot_k"] = q, k
        group = f.n_heads // f.n_kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        scores = torch.einsum("thc,shc->hts", q, k) / math.sqrt(f.d_head)
        scores = scores.masked_fill(~visible(n, f.windows[l]), -math.inf)
        e = torch.exp(scores - scores.amax(-1, keepdim=True))
        pattern = e / e.sum(-1, keepdim=True)
        z = torch.einsum("hts,shc->thc", pattern, v)
        out_weight = w["o"][0].view(-1, f.n_heads, f.d_head)
        attn_out = linear(z.flatten(1), w["o"])
        sites[b + "attn.hook_attn_scores"], sites[b + "attn.hook_pattern"] = scores, pattern
        sites[b + "attn.hook_z"] = z
        sites[b + "attn.hook_result"] = torch.einsum("thc,dhc->thd", z, out_weight)
        sites[b + "hook_attn_out"] = attn_out
        mid = resid + attn_out
        if not f.parallel:
            sites[b + "hook_resid_mid"] = mid
        x = norm(resid if f.parallel else mid, w["ln2"], b + "ln2")
        if "gate" in w:
            gate, up = linear(x, w["gate"]), linear(x, w["up"])
            sites[b + "mlp.hook_pre"], sites[b + "mlp.hook_pre_linear"] = gate, up
            post = activation(f.act, gate) * up
        else:
            sites[b + "mlp.hook_pre"] = linear(x, w["up"])
            post = activation(f.act, sites[b + "mlp.hook_pre"])
        sites[b + "mlp.hook_post"] = post
        sites[b + "hook_mlp_out"] = linear(post, w["down"])
        resid = mid + sites[b + "hook_mlp_out"]
        sites[b + "hook_resid_post"] = resid

    x = norm(
        resid,
        t.affine({"gpt2": "ln_f", "gpt_neox": "final_layer_norm"}.get(f.family, "norm")),
        "ln_final",
    )
    sites["unembed.hook_in"] = x
    sites["unembed.hook_out"] = sites["logits"] = x @ (embed if f.tied else t.head()).T
    return sites
