"""The same sites out of transformers' own modules, by forward hooks.

Run in float32 this gives the error bound of every site. Where a module's input or output is the
site, that tensor is taken; what transformers never materialises under a name (scores, a norm's
scale, a head's result) is repeated on the captured inputs with transformers' own expressions.
Run in float64 (with transformers' hard-wired float32 spots lifted) it must agree with explicit.py.
"""

import math
import sys
from contextlib import ExitStack, contextmanager
from unittest import mock

import torch

# For each family: base module, then the names in it.
NAMES = {
    "gpt2": dict(base="transformer", embed="wte", pos="wpe", layers="h", final="ln_f", ln1="ln_1",
                 ln2="ln_2", qkv="attn.c_attn", o="attn.c_proj", up="mlp.c_fc", down="mlp.c_proj"),
    "gpt_neox": dict(base="gpt_neox", embed="embed_in", layers="layers", final="final_layer_norm",
                     ln1="input_layernorm", ln2="post_attention_layernorm",
                     qkv="attention.query_key_value", o="attention.dense", up="mlp.dense_h_to_4h",
                     down="mlp.dense_4h_to_h"),
    "phi3": dict(base="model", embed="embed_tokens", layers="layers", final="norm",
                 ln1="input_layernorm", ln2="post_attention_layernorm", qkv="self_attn.qkv_proj",
                 o="self_attn.o_proj", gate_up="mlp.gate_up_proj", down="mlp.down_proj"),
    "llama": dict(base="model", embed="embed_tokens", layers="layers", final="norm",
                  ln1="input_layernorm", ln2="post_attention_layernorm", q="self_attn.q_proj",
                  k="self_attn.k_proj", v="self_attn.v_proj", q_norm="self_attn.q_norm",
                  k_norm="self_attn.k_norm", o="self_attn.o_proj", gate="mlp.gate_proj",
                  up="mlp.up_proj", down="mlp.down_proj"),
}  # fmt: skip
NAMES["mistral"] = NAMES["qwen2"] = NAMES["qwen3"] = NAMES["llama"]


@contextmanager
def captured(model):
    """Yields {module name: (first input, output)} and {layer: attention's tensors}, filled by the
    next forward pass."""
    seen, attention, handles = {}, {}, []

    def keep(name):
        return lambda _module, args, out: seen.__setitem__(name, (args[0], out))

    for name, module in model.named_modules():
        if name and not any(True for _ in module.children()) and "rotary" not in name:
            handles.append(module.register_forward_hook(keep(name)))

    modeling = sys.modules[type(model).__module__]
    eager = modeling.eager_attention_forward

    def watched(module, query, key, value, attention_mask, scaling=None, **rest):
        z, pattern = eager(module, query, key, value, attention_mask, scaling=scaling, **rest)
        repeated = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
        scores = torch.matmul(query, repeated.transpose(2, 3)) * scaling
        scores = scores.masked_fill(attention_mask < 0, -math.inf)
        attention[module.layer_idx] = dict(q=query, k=key, scores=scores, pattern=pattern, z=z)
        return z, pattern

    try:
        with mock.patch.object(modeling, "eager_attention_forward", watched):
            yield seen, attention
    finally:
        for h in handles:
            h.remove()


@contextmanager
def float64_throughout(model):
    """Lifts the spots where transformers rounds to float32 whatever the model's dtype: RMS norms,
    the softmax, RoPE's cosines and sines. The angles stay float32 products: they are the model."""
    softmax = torch.nn.functional.softmax

    def softmax64(x, dim=None, dtype=None, **rest):
        assert x.dtype == torch.float64
        return softmax(x, dim=dim, **rest)

    def rms64(self, x):
        return self.weight * (
            x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        )

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch.nn.functional, "softmax", softmax64))
        for module in model.modules():
            kind = type(module)
            if kind.__name__.endswith("RMSNorm"):
                stack.enter_context(mock.patch.object(kind, "forward", rms64))
            if kind.__name__.endswith("RotaryEmbedding"):

                def rotary64(x, position_ids, module=module, original=module.forward):
                    original(x, position_ids)  # picks longrope's regime
                    angle = position_ids[..., None].float() * module.inv_freq.float()
                    angle = torch.cat((angle, angle), dim=-1).double()
                    return (
                        angle.cos() * module.attention_scaling,
                        angle.sin() * module.attention_scaling,
                    )

                stack.enter_context(mock.patch.object(module, "forward", rotary64))
        yield


@torch.no_grad()
def sites_of(model, f, ids):
    """{site: value} of the model as it stands, in its dtype; and the model's output."""
    names, sites, n = NAMES[f.family], {}, len(ids)
    with captured(model) as (seen, attention):
        out = model(
            torch.tensor([ids]), use_cache=False, output_hidden_states=True, output_attentions=True
        )

    def module(name, l=None):
        layer = "" if l is None else f".{names['layers']}.{l}"
        value = seen.get(f"{names['base']}{layer}.{names.get(name, '-')}")
        return (
            None if value is None else (value[0][0], value[1][0] if value[1].ndim > 2 else value[1])
        )

    def norm(name, site, l=None):
        x = module(name, l)[0]
        low = x.dtype
        if low == torch.bfloat16:  # norms are float32 inside, and what they give is rounded
            x = x.float()
        if f.layer_norm:
            normalized = torch.nn.functional.layer_norm(x, x.shape[-1:], eps=f.eps)
            x = x - x.mean(-1, keepdim=True)
        else:
            normalized = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + f.eps)
        sites[site + ".hook_scale"] = torch.sqrt(x.pow(2).mean(-1, keepdim=True) + f.eps)
        sites[site + ".hook_normalized"] = normalized.to(low)

    sites["hook_embed"] = module("embed")[1]
    if "pos" in names:
        sites["hook_pos_embed"] = module("pos")[1]
    for l in range(f.n_layers):
        b, a = f"blocks.{l}.", attention[l]
        sites[b + "hook_resid_pre"] = module("ln1", l)[0]
        norm("ln1", b + "ln1", l)
        if f.family == "gpt_neox":
            fused = module("qkv", l)[1].view(n, f.n_heads, 3, f.d_head)
            q, k, v = fused.unbind(2)
        elif "qkv" in names:
            g = f.n_kv_heads * f.d_head
            q, k, v = module("qkv", l)[1].split([f.n_heads * f.d_head, g, g], dim=-1)
        else:
            q, k, v = (module(part, l)[1] for part in "qkv")
        for part, x in zip("qkv", (q, k, v)):
            sites[f"{b}attn.hook_{part}"] = x.reshape(n, -1, f.d_head)
        if module("q_norm", l):
            norm("q_norm", b + "attn.q_norm", l)
            norm("k_norm", b + "attn.k_norm", l)
        if f.inv_freq is not None:
            sites[b + "attn.hook_rot_q"] = a["q"][0].transpose(0, 1)
            sites[b + "attn.hook_rot_k"] = a["k"][0].transpose(0, 1)
        sites[b + "attn.hook_attn_scores"], sites[b + "attn.hook_pattern"] = (
            a["scores"][0],
            a["pattern"][0],
        )
        z, attn_out = module("o", l)
        z = z.reshape(n, f.n_heads, f.d_head)
        weight = model.get_submodule(f"{names['base']}.{names['layers']}.{l}.{names['o']}").weight
        weight = weight.T if f.family == "gpt2" else weight
        sites[b + "attn.hook_z"], sites[b + "hook_attn_out"] = z, attn_out
        sites[b + "attn.hook_result"] = torch.stack(
            [z[:, h] @ weight[:, h * f.d_head : (h + 1) * f.d_head].T for h in range(f.n_heads)],
            dim=1,
        )
        if not f.parallel:
            sites[b + "hook_resid_mid"] = module("ln2", l)[0]
        norm("ln2", b + "ln2", l)
        if "gate_up" in names:
            sites[b + "mlp.hook_pre"], sites[b + "mlp.hook_pre_linear"] = module("gate_up", l)[
                1
            ].chunk(2, -1)
        elif "gate" in names:
            sites[b + "mlp.hook_pre"] = module("gate", l)[1]
            sites[b + "mlp.hook_pre_linear"] = module("up", l)[1]
        else:
            sites[b + "mlp.hook_pre"] = module("up", l)[1]
        sites[b + "mlp.hook_post"], sites[b + "hook_mlp_out"] = module("down", l)
        last = l + 1 == f.n_layers
        sites[b + "hook_resid_post"] = module("final")[0] if last else module("ln1", l + 1)[0]
    norm("final", "ln_final")
    head_in, head_out = seen["lm_head"]
    sites["unembed.hook_in"] = head_in[0]
    sites["unembed.hook_out"] = sites["logits"] = head_out[0]

    # The hooks must have seen what transformers itself reports.
    for l in range(f.n_layers):
        assert torch.equal(out.hidden_states[l][0], sites[f"blocks.{l}.hook_resid_pre"])
        assert torch.equal(out.attentions[l][0], sites[f"blocks.{l}.attn.hook_pattern"])
        assert torch.equal(
            attention[l]["z"][0].reshape(n, -1), sites[f"blocks.{l}.attn.hook_z"].reshape(n, -1)
        )
    assert torch.equal(out.hidden_states[-1][0], sites["unembed.hook_in"])
    assert torch.equal(out.logits[0], sites["logits"])
    return sites
