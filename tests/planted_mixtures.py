"""Mixtures on disk in the layouts of several families, with structure that a test plants."""

import json

import numpy as np
from matrices import store
from weightfiles import write_safetensors

HIDDEN, WIDTH, EXPERTS = 32, 20, 8
KINDS = ("gate", "up", "down")
CONFIG = {
    "qwen3_moe": {"num_experts": EXPERTS},
    "mixtral": {"num_local_experts": EXPERTS},
    "deepseek_v3": {"n_routed_experts": EXPERTS, "n_group": 1, "topk_group": 1},
    "gpt_oss": {"num_local_experts": EXPERTS},
    "granitemoe": {"num_local_experts": EXPERTS},
}


def random_layer(rng, experts=EXPERTS, width=WIDTH, hidden=HIDDEN, common=0.0):
    """Units of each expert, by kind (experts, width, hidden), and a router (experts, hidden)."""

    def draw():
        return rng.standard_normal((experts, width, hidden)) + common * rng.standard_normal(
            (1, width, hidden)
        )

    return {
        **{kind: draw() for kind in KINDS},
        "router": rng.standard_normal((experts, hidden)),
    }


def reordered(expert, order):
    return {kind: units[order] for kind, units in expert.items()}


def expert_of(layer, number):
    return {kind: layer[kind][number].copy() for kind in KINDS}


def put(layer, number, expert):
    for kind in KINDS:
        layer[kind][number] = expert[kind]


def mean(one, two, share=0.5):
    return {kind: share * one[kind] + (1 - share) * two[kind] for kind in KINDS}


def named(family, number, layer):
    """Names and matrices of a layer, as the family's checkpoints have them."""
    block = f"model.layers.{number}.mlp"
    gate, up, down = (layer[kind] for kind in KINDS)
    router = layer["router"]
    if family == "gpt_oss":
        both = np.stack([gate, up], axis=2).reshape(len(gate), -1, gate.shape[2])
        return {
            f"{block}.experts.gate_up_proj": both.swapaxes(1, 2),
            f"{block}.experts.down_proj": down,
            f"{block}.router.weight": router,
            f"{block}.router.bias": layer.get("bias", np.zeros(len(router))),
            f"model.layers.{number}.post_attention_layernorm.weight": np.ones(router.shape[1]),
        }
    if family == "granitemoe":
        block = f"model.layers.{number}.block_sparse_moe"
        return {
            f"{block}.input_linear.weight": np.concatenate([gate, up], axis=1),
            f"{block}.output_linear.weight": down.swapaxes(1, 2),
            f"{block}.router.layer.weight": router,
        }
    names = ("gate_proj", "up_proj", "down_proj")
    if family == "mixtral":
        block, names = f"model.layers.{number}.block_sparse_moe", ("w1", "w3", "w2")
    found = {f"{block}.gate.weight": router}
    if family == "deepseek_v3":
        found[f"{block}.gate.e_score_correction_bias"] = layer.get("bias", np.zeros(len(router)))
        for name, of in zip(names, (gate[0], up[0], down[0].T), strict=True):
            found[f"{block}.shared_experts.{name}.weight"] = of
    for expert in range(len(gate)):
        matrices = (gate[expert], up[expert], down[expert].T)
        for name, matrix in zip(names, matrices, strict=True):
            found[f"{block}.experts.{expert}.{name}.weight"] = matrix
    return found


def write_mixture(folder, family, layers, dtype="F32", **config):
    """Write layers as a checkpoint of a family; gives the folder."""
    folder.mkdir(parents=True)
    arrays = {}
    for number, layer in enumerate(layers):
        for name, values in named(family, number, layer).items():
            arrays[name] = np.ascontiguousarray(store(values, dtype)[0])
    write_safetensors(folder / "model.safetensors", arrays, dtype)
    _, width, hidden = layers[0]["gate"].shape
    settings = {
        "model_type": family, "hidden_size": hidden, "intermediate_size": width,
        "moe_intermediate_size": width, "num_experts_per_tok": 2, **CONFIG[family], **config,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def plant(rng, layer):
    """Put copied, merged and dead experts into a layer of 14 random ones, and a loud row.

    Returns:
        What is found in it: see `found_in`.
    """
    hidden = layer["gate"].shape[2]
    orders = [rng.permutation(layer["gate"].shape[1]) for _ in range(4)]
    put(layer, 3, expert_of(layer, 1))
    put(layer, 4, reordered(expert_of(layer, 2), orders[0]))
    scaled = reordered(expert_of(layer, 0), orders[1])
    put(
        layer,
        5,
        {kind: factor * scaled[kind] for kind, factor in zip(KINDS, (1, 2, 0.5), strict=True)},
    )
    put(layer, 8, mean(expert_of(layer, 6), expert_of(layer, 7)))
    half = mean(expert_of(layer, 6), reordered(expert_of(layer, 10), orders[2]), 0.6)
    put(layer, 9, reordered(half, orders[3]))
    layer["up"][11] = 0
    layer["down"][12] *= 1e-3
    layer["router"] *= 1 / np.linalg.norm(layer["router"], axis=1, keepdims=True)
    layer["router"][13] *= 3
    assert hidden == len(layer["router"][0])
    return {
        "dead": [{"expert": 11, "matrix": "up_proj"}, {"expert": 12, "matrix": "down_proj"}],
        "copies": [
            {"expert": 3, "of": 1, "reordered": False},
            {"expert": 4, "of": 2, "reordered": True},
            {"expert": 5, "of": 0, "reordered": True},
        ],
        "merged": [
            {"expert": 8, "first": 6, "second": 7, "share": 0.5},
            {"expert": 9, "first": 6, "second": 10, "share": 0.6},
        ],
        "preferred": [{"expert": 13, "ratio": 3}],
    }
