"""Tiny models that look trained: heavy tails, spikes, scales that drift with depth.

Four architectures with odd shapes. `ARCHITECTURES` makes arrays by their names on the Hub, float64
(out x in, Conv1D transposed), and the configuration.
"""

import numpy as np

LAYERS, EXPERTS = 6, 4


def matrix(rng, rows, cols, gain=1.0):
    """Noise with channels of different size, some directions beyond its edge, some large values."""
    x = rng.standard_normal((rows, cols))
    x *= rng.lognormal(0, 0.15, (rows, 1)) * rng.lognormal(0, 0.15, (1, cols))
    x *= np.where(rng.random((rows, cols)) < 0.005, 2.5, 1)
    for k in range(int(rng.integers(3, 7))):
        u, v = rng.standard_normal(rows), rng.standard_normal(cols)
        strength = rng.uniform(1.3, 2.2) / (1 + 0.3 * k)
        x += (
            strength
            * (np.sqrt(rows) + np.sqrt(cols))
            * np.outer(u / np.linalg.norm(u), v / np.linalg.norm(v))
        )
    return 0.03 * gain * x


def table(rng, rows, cols, gain=1.0):
    """An embedding: tokens of different length around a mean vector."""
    x = matrix(rng, rows, cols, gain) * rng.lognormal(0, 0.3, (rows, 1))
    return x + 0.3 * x.std() * rng.standard_normal(cols)


def norm(rng, width, layer):
    """Grows with depth, with a few channels of its own."""
    x = (0.6 + 0.08 * layer) * rng.lognormal(0, 0.15, width)
    x[rng.integers(width)] *= 3
    return x


def bias(rng, width, scale=0.02):
    return scale * rng.standard_t(5, width)


def drift(rng, layer):
    """Gain of a layer: the first one differs, as in most models."""
    return (1.3 if layer == 0 else 1 + 0.06 * layer) * rng.uniform(0.92, 1.08)


def llama(rng):
    hidden, wide, kv, tokens = 64, 172, 32, 317
    arrays = {"model.embed_tokens.weight": table(rng, tokens, hidden)}
    shapes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (wide, hidden),
        "mlp.up_proj": (wide, hidden),
        "mlp.down_proj": (hidden, wide),
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name, shape in shapes.items():
            arrays[f"{prefix}{name}.weight"] = matrix(rng, *shape, drift(rng, layer))
        for name in ("input_layernorm", "post_attention_layernorm"):
            arrays[f"{prefix}{name}.weight"] = norm(rng, hidden, layer)
    arrays["model.norm.weight"] = norm(rng, hidden, 2 * LAYERS)
    arrays["lm_head.weight"] = table(rng, tokens, hidden, 1.8)
    config = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": hidden}
    return arrays, {"model_type": "llama", **config}


def gpt2(rng):
    hidden, tokens = 60, 311
    arrays = {
        "wte.weight": table(rng, tokens, hidden),
        "wpe.weight": table(rng, 64, hidden, 0.3),
    }
    shapes = {
        "attn.c_attn": (hidden, 3 * hidden),
        "attn.c_proj": (hidden, hidden),
        "mlp.c_fc": (hidden, 4 * hidden),
        "mlp.c_proj": (4 * hidden, hidden),
    }
    for layer in range(LAYERS):
        prefix = f"h.{layer}."
        for name, (into, out) in shapes.items():
            arrays[f"{prefix}{name}.weight"] = matrix(rng, into, out, drift(rng, layer))
            arrays[f"{prefix}{name}.bias"] = bias(rng, out)
        for name in ("ln_1", "ln_2"):
            arrays[f"{prefix}{name}.weight"] = norm(rng, hidden, layer)
            arrays[f"{prefix}{name}.bias"] = bias(rng, hidden, 0.05)
    arrays["ln_f.weight"] = norm(rng, hidden, 2 * LAYERS)
    arrays["ln_f.bias"] = bias(rng, hidden, 0.05)
    return arrays, {"model_type": "gpt2", "n_head": 4, "n_embd": hidden}


def bert(rng):
    hidden, wide, tokens = 56, 130, 300
    arrays = {
        "embeddings.word_embeddings.weight": table(rng, tokens, hidden),
        "embeddings.position_embeddings.weight": table(rng, 70, hidden, 0.4),
        "embeddings.token_type_embeddings.weight": table(rng, 2, hidden, 0.4),
        "embeddings.LayerNorm.weight": norm(rng, hidden, 1),
        "embeddings.LayerNorm.bias": bias(rng, hidden, 0.05),
    }
    shapes = {
        "attention.self.query": (hidden, hidden),
        "attention.self.key": (hidden, hidden),
        "attention.self.value": (hidden, hidden),
        "attention.output.dense": (hidden, hidden),
        "intermediate.dense": (wide, hidden),
        "output.dense": (hidden, wide),
    }
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        for name, (out, into) in shapes.items():
            arrays[f"{prefix}{name}.weight"] = matrix(rng, out, into, drift(rng, layer))
            arrays[f"{prefix}{name}.bias"] = bias(rng, out)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            arrays[f"{prefix}{name}.weight"] = norm(rng, hidden, layer)
            arrays[f"{prefix}{name}.bias"] = bias(rng, hidden, 0.05)
    arrays["pooler.dense.weight"] = matrix(rng, hidden, hidden)
    arrays["pooler.dense.bias"] = bias(rng, hidden)
    config = {"num_attention_heads": 4, "hidden_size": hidden}
    return arrays, {"model_type": "bert", **config}


def mixture(rng):
    hidden, wide, kv, tokens = 48, 40, 24, 290
    arrays = {"model.embed_tokens.weight": table(rng, tokens, hidden)}
    for layer in range(LAYERS):
        prefix, gain = f"model.layers.{layer}.", drift(rng, layer)
        for name, out in (("q", hidden), ("k", kv), ("v", kv), ("o", hidden)):
            arrays[f"{prefix}self_attn.{name}_proj.weight"] = matrix(rng, out, hidden, gain)
        arrays[f"{prefix}mlp.gate.weight"] = matrix(rng, EXPERTS, hidden)
        for name, shape in (
            ("gate_proj", (wide, hidden)),
            ("up_proj", (wide, hidden)),
            ("down_proj", (hidden, wide)),
        ):
            common = matrix(rng, *shape, gain)
            for expert in range(EXPERTS):
                own = matrix(rng, *shape, 0.7 * gain)
                arrays[f"{prefix}mlp.experts.{expert}.{name}.weight"] = 0.7 * common + own
        for name in ("input_layernorm", "post_attention_layernorm"):
            arrays[f"{prefix}{name}.weight"] = norm(rng, hidden, layer)
    arrays["model.norm.weight"] = norm(rng, hidden, 2 * LAYERS)
    arrays["lm_head.weight"] = table(rng, tokens, hidden, 1.4)
    config = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": hidden}
    return arrays, {"model_type": "qwen3_moe", "moe_intermediate_size": wide, **config}


ARCHITECTURES = {"llama": llama, "gpt2": gpt2, "bert": bert, "mixture": mixture}
