"""Small models of several layers, to take samples of: dense, and mixtures stored in two ways."""

import json

import numpy as np
from weightfiles import write_safetensors

LAYERS, EXPERTS, HIDDEN, WIDTH = 7, 6, 20, 12
# The first layer has no experts, as in DeepSeek V3.
DENSE_LAYERS = 1


def arrays(rng, experts=EXPERTS, fused=False, count=LAYERS):
    """Every tensor of a model, by name; ``experts`` 0 for a dense one."""

    def normal(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    tensors = {"model.embed_tokens.weight": normal(30, HIDDEN)}
    for layer in range(count):
        prefix = f"model.layers.{layer}"
        tensors[f"{prefix}.input_layernorm.weight"] = normal(HIDDEN)
        for kind in "qkvo":
            tensors[f"{prefix}.self_attn.{kind}_proj.weight"] = normal(HIDDEN, HIDDEN)
        tensors |= {
            f"{prefix}.mlp.{name}": array
            for name, array in _mlp(normal, experts * (layer >= DENSE_LAYERS), fused).items()
        }
    return {**tensors, "model.norm.weight": normal(HIDDEN), "lm_head.weight": normal(30, HIDDEN)}


def _mlp(normal, experts, fused):
    inside = {"gate_proj": (WIDTH, HIDDEN), "up_proj": (WIDTH, HIDDEN)}
    shapes = {**inside, "down_proj": (HIDDEN, WIDTH)}
    if not experts:
        return {f"{kind}.weight": normal(*shape) for kind, shape in shapes.items()}
    beside = {f"shared_experts.{kind}.weight": normal(*shape) for kind, shape in shapes.items()}
    beside["gate.weight"] = normal(experts, HIDDEN)
    if fused:
        stacks = {"gate_up_proj": (2 * WIDTH, HIDDEN), "down_proj": (HIDDEN, WIDTH)}
        return beside | {f"experts.{k}": normal(experts, *shape) for k, shape in stacks.items()}
    return beside | {
        f"experts.{i}.{kind}.weight": normal(*shape)
        for i in range(experts)
        for kind, shape in shapes.items()
    }


def model(folder, rng, **shape):
    """A folder with such a model."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "deepseek_v3",
        "hidden_size": HIDDEN,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "moe_intermediate_size": WIDTH,
        "n_routed_experts": shape.get("experts", EXPERTS),
    }
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    write_safetensors(folder / "model.safetensors", arrays(rng, **shape), "F32")
    return folder
