"""Experts and routers under the names, shapes and packings of many families."""

import numpy as np
import pytest
from expert_models import (
    HIDDEN,
    NUMPY,
    PLENTY,
    PREFIX,
    SHAPES,
    WIDTH,
    agree,
    cosine,
    mixture,
    named,
    of_kind,
    overlap,
    rows_of,
)
from weightfiles import model_files, write_gguf

from mlx_probe.analysis.side_tables.experts.rows import expert_rows
from mlx_probe.analysis.side_tables.experts.subspaces import SUBSPACE
from mlx_probe.checkpoint import open_checkpoint


def test_stacks_and_fused_stacks_are_the_same_experts(rng):
    stacks = mixture(rng)
    expected = rows_of(named(stacks))
    gate_up = np.concatenate([stacks["gate_proj"], stacks["up_proj"]], axis=1)
    arrays = {
        f"{PREFIX}.experts.gate_up_proj": gate_up,
        f"{PREFIX}.experts.down_proj": stacks["down_proj"],
    }
    rows = rows_of(arrays)
    assert {row["part"] for row in of_kind(rows, "up_proj")} == {"up_proj"}
    for kind in SHAPES:
        agree(of_kind(rows, kind), of_kind(expected, kind))
    # Without the widths gate and up cannot be separated.
    unsplit = rows_of(arrays, {"model_type": "qwen3_moe"})
    assert {row["block_type"] for row in unsplit} == {"gate_up_proj", "down_proj"}


@pytest.mark.parametrize("model_type", ["llama4_text", "gpt_oss"])
@pytest.mark.parametrize("width", [WIDTH, HIDDEN])
def test_experts_whose_inputs_are_rows(rng, model_type, width):
    shapes = {
        "gate_proj": (width, HIDDEN),
        "up_proj": (width, HIDDEN),
        "down_proj": (HIDDEN, width),
    }
    stacks = {kind: rng.standard_normal((3, *shape)) for kind, shape in shapes.items()}
    config = {"model_type": model_type, "hidden_size": HIDDEN, "intermediate_size": width}
    expected = rows_of(named(stacks), config)
    both = [stacks["gate_proj"], stacks["up_proj"]]
    fused = (
        np.stack(both, axis=2).reshape(3, -1, HIDDEN)
        if model_type == "gpt_oss"
        else np.concatenate(both, axis=1)
    )
    arrays = {
        f"{PREFIX}.experts.gate_up_proj": fused.swapaxes(1, 2).copy(),
        f"{PREFIX}.experts.down_proj": stacks["down_proj"].swapaxes(1, 2).copy(),
    }
    rows = rows_of(arrays, config)
    for kind in SHAPES:
        agree(of_kind(rows, kind), of_kind(expected, kind))


def test_layers_stacks_and_shared_experts_are_apart(rng):
    stacks = {kind: rng.standard_normal((3, *shape)) for kind, shape in SHAPES.items()}
    blocks = ("model.layers.1.mlp", "model.layers.11.mlp", "draft.layers.1.mlp")
    arrays = {}
    for block in blocks:
        arrays |= named(stacks, block)
        arrays[f"{block}.shared_expert.gate_proj.weight"] = stacks["gate_proj"][0]
        arrays[f"{block}.shared_expert_gate.weight"] = np.ones((1, HIDDEN))
    arrays["model.layers.1.mlp.gate.weight"] = np.eye(3, HIDDEN)
    rows = rows_of(arrays)
    assert len(rows) == 3 * 9
    assert {row["expert_count"] for row in rows} == {2}
    routed = [row for row in rows if row.get("router_norm") is not None]
    assert {row["param_name"].partition(".experts")[0] for row in routed} == {blocks[0]}
    assert len(routed) == 9
    assert {row["router_closest_cosine"] for row in routed} == {0.0}


def test_the_hidden_size_tells_the_residual_stream(rng):
    # Stacks with inputs as rows, and no fused matrix that would show it.
    stacks = {
        "gate_proj": rng.standard_normal((3, HIDDEN, WIDTH)),
        "down_proj": rng.standard_normal((3, WIDTH, HIDDEN)),
    }
    rows = rows_of({f"{PREFIX}.experts.{kind}": stack for kind, stack in stacks.items()})
    assert {row["chance_overlap"] for row in rows} == {SUBSPACE / HIDDEN}
    for row in rows:
        stack, near = stacks[row["block_type"]], row["nearest_overlap_expert"]
        axis = int(row["block_type"] == "down_proj")
        expected = overlap(stack[row["expert_index"]], stack[near], axis)
        assert row["nearest_overlap"] == pytest.approx(expected, rel=1e-9)


def test_a_router_may_lie_on_its_side(rng):
    arrays = named({"gate_proj": rng.standard_normal((4, WIDTH, HIDDEN))})
    router = rng.standard_normal((HIDDEN, 4))
    rows = rows_of({**arrays, f"{PREFIX}.gate.weight": router})
    for row, norm in zip(rows, np.linalg.norm(router, axis=0), strict=True):
        assert row["router_norm"] == pytest.approx(norm, rel=1e-12)


@pytest.mark.parametrize(
    ("experts", "router"),
    [
        ("model.layers.2.block_sparse_moe.experts.{}.w1", "model.layers.2.block_sparse_moe.gate"),
        ("model.layers.2.mlp.experts.{}.gate_proj", "model.layers.2.mlp.gate"),
        ("layers.2.feed_forward.experts.{}.w1", "layers.2.feed_forward.gate"),
        ("backbone.layers.2.mixer.experts.{}.up_proj", "backbone.layers.2.mixer.gate"),
    ],
)
def test_routers_of_many_families(rng, experts, router):
    names = {experts.format(i) + ".weight": rng.standard_normal((WIDTH, HIDDEN)) for i in range(4)}
    rows = rows_of({**names, f"{router}.weight": np.diag([1.0, 2.0, 3.0, 4.0])})
    assert [row["router_norm"] for row in rows] == [1, 2, 3, 4]
    assert [row["expert_index"] for row in rows] == [0, 1, 2, 3]


def test_packed_experts_of_gguf(tmp_path, rng):
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize, quantize

    q8 = GGMLQuantizationType.Q8_0
    stacks = {
        "ffn_gate_exps": rng.standard_normal((4, 32, 64)).astype(np.float32),
        "ffn_down_exps": rng.standard_normal((4, 64, 32)).astype(np.float32),
    }
    packed = {name: quantize(stack, q8) for name, stack in stacks.items()}
    router = rng.standard_normal((4, 64)).astype(np.float32)
    path = write_gguf(
        tmp_path / "m.gguf",
        {
            **{f"blk.0.{name}.weight": (stack, "Q8_0") for name, stack in packed.items()},
            "blk.0.ffn_gate_inp.weight": (router, "F32"),
        },
        llama__embedding_length=64,
    )
    with open_checkpoint(model_files(path)) as checkpoint:
        weights, architecture = checkpoint.weights(), checkpoint.architecture
        for budget in (PLENTY, 17_000_000):
            rows = list(expert_rows(weights, architecture, NUMPY, budget))
            assert len(rows) == 8
            for kind, name in (("gate_proj", "ffn_gate_exps"), ("down_proj", "ffn_down_exps")):
                values = dequantize(packed[name], q8).astype(np.float64)
                for i, row in enumerate(of_kind(rows, kind)):
                    assert row["norm"] == pytest.approx(np.linalg.norm(values[i]), rel=1e-12)
                    near = row["nearest_expert"]
                    assert row["nearest_cosine"] == pytest.approx(
                        cosine(values[i], values[near]), abs=1e-12
                    )
                    if budget == PLENTY:
                        assert row["router_norm"] == pytest.approx(np.linalg.norm(router[i]))
