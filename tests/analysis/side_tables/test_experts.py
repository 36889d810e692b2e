"""Similarities of experts against their definitions, in float64 on whole matrices."""

import json
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import orthonormal, with_spectrum
from weightfiles import model_files, write_gguf, write_safetensors

from mlx_probe.analysis.side_tables.experts.columns import EXPERT_COLUMNS
from mlx_probe.analysis.side_tables.experts.rows import expert_rows
from mlx_probe.analysis.side_tables.experts.similarity import SUBSPACE
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.records import Row
from mlx_probe.runs.table.schema import rows_to_table

PLENTY = 1 << 30
HIDDEN, WIDTH, EXPERTS = 40, 24, 5
MOE = {"model_type": "qwen3_moe", "hidden_size": HIDDEN, "moe_intermediate_size": WIDTH}
PREFIX = "model.layers.2.mlp"
SHAPES = {"gate_proj": (WIDTH, HIDDEN), "up_proj": (WIDTH, HIDDEN), "down_proj": (HIDDEN, WIDTH)}


def rows_of(arrays, config=MOE, budget=PLENTY, dtype="F64"):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(config))
        file = write_safetensors(folder / "model.safetensors", arrays, dtype)
        files = model_files(file, config=folder / "config.json")
        with open_checkpoint(files) as checkpoint:
            rows = list(expert_rows(checkpoint.weights(), checkpoint.architecture, budget))
    table = rows_to_table([Row(i, row) for i, row in enumerate(rows)], EXPERT_COLUMNS)
    for column in EXPERT_COLUMNS:
        values = [v for v in table[column.name].to_pylist() if v is not None]
        assert not column.required or len(values) == len(rows)
        assert column.lower is None or all(v >= column.lower for v in values), column.name
        assert column.upper is None or all(v <= column.upper for v in values), column.name
    return rows


def mixture(rng, experts=EXPERTS):
    """Matrices by kind, shape (experts, rows, cols), with something in common."""
    return {
        kind: rng.standard_normal((experts, *shape)) + rng.standard_normal(shape)
        for kind, shape in SHAPES.items()
    }


def named(stacks, prefix=PREFIX):
    return {
        f"{prefix}.experts.{i}.{kind}.weight": matrix
        for kind, stack in stacks.items()
        for i, matrix in enumerate(stack)
    }


def of_kind(rows, kind):
    return [row for row in rows if row["block_type"] == kind]


def cosine(x, y):
    return float(np.vdot(x, y) / (np.linalg.norm(x) * np.linalg.norm(y)))


def overlap(x, y, axis, dim=SUBSPACE):
    """From full SVDs; axis 0: of the columns' space."""
    one, two = (
        np.linalg.svd(m if axis == 0 else m.T, full_matrices=False)[0][:, :dim] for m in (x, y)
    )
    return float(np.sum((one.T @ two) ** 2) / dim)


def agree(one, two, but=()):
    """Rows that say the same; what is made of names may differ."""
    assert len(one) == len(two)
    for left, right in zip(one, two, strict=True):
        assert left.keys() - set(but) == right.keys() - set(but)
        for column in left.keys() - {"param_name", "part", "rows", "cols", *but}:
            if isinstance(left[column], float):
                assert left[column] == pytest.approx(right[column], rel=1e-9, abs=1e-12), column
            else:
                assert left[column] == right[column], column


def test_every_number_by_its_definition(rng):
    stacks = mixture(rng)
    router = rng.standard_normal((EXPERTS, HIDDEN))
    rows = rows_of({**named(stacks), f"{PREFIX}.gate.weight": router})
    assert len(rows) == 3 * EXPERTS
    for kind, stack in stacks.items():
        norms = np.linalg.norm(stack, axis=(1, 2))
        for i, row in enumerate(of_kind(rows, kind)):
            others = [j for j in range(EXPERTS) if j != i]
            cosines = {j: cosine(stack[i], stack[j]) for j in others}
            overlaps = {j: overlap(stack[i], stack[j], int(kind != "down_proj")) for j in others}
            routed = {j: cosine(router[i], router[j]) for j in others}
            nearest, alike, beside = (max(d, key=d.get) for d in (cosines, overlaps, routed))
            expected = {
                "layer_index": 2, "component": "moe", "expert_index": i, "status": "ok",
                "param_name": f"{PREFIX}.experts.{i}.{kind}.weight", "part": None,
                "rows": stack.shape[1], "cols": stack.shape[2], "expert_count": EXPERTS - 1,
                "norm": norms[i], "norm_ratio": norms[i] / np.median(norms), "dead": False,
                "duplicate_of": None, "nearest_expert": nearest,
                "nearest_cosine": cosines[nearest],
                "mean_cosine": np.mean(list(cosines.values())),
                "subspace_dim": SUBSPACE, "nearest_overlap_expert": alike,
                "nearest_overlap": overlaps[alike],
                "mean_overlap": np.mean(list(overlaps.values())),
                "chance_overlap": SUBSPACE / HIDDEN, "router_norm": np.linalg.norm(router[i]),
                "router_nearest_cosine": routed[nearest], "router_closest_expert": beside,
                "router_closest_cosine": routed[beside],
            }  # fmt: skip
            for column, value in expected.items():
                close = pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
                assert row[column] == close, (kind, i, column)


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


def test_dead_and_doubled_experts_are_marked(rng):
    stack = rng.standard_normal((9, WIDTH, HIDDEN))
    stack[3] = stack[1]
    stack[4] = 0
    stack[5] = 1e-3 * stack[5]
    stack[6] = 2.5 * stack[1]
    stack[7] = stack[2] + 1e-2 * rng.standard_normal((WIDTH, HIDDEN))
    stack[8] = 0
    rows = rows_of(named({"gate_proj": stack}))
    assert [i for i, row in enumerate(rows) if row["dead"]] == [4, 5, 8]
    copies = {i: row["duplicate_of"] for i, row in enumerate(rows)}
    assert {i: of for i, of in copies.items() if of is not None} == {3: 1, 6: 1, 8: 4}
    assert rows[7]["nearest_expert"] == 2
    assert 0.999 < rows[7]["nearest_cosine"] < 1 - 1e-6
    assert rows[3]["nearest_overlap"] == pytest.approx(1, abs=1e-9)
    assert (rows[4]["nearest_cosine"], rows[4].get("nearest_overlap")) == (None, None)
    assert (rows[4]["norm"], rows[4]["status"]) == (0.0, "ok")


def test_all_dead(rng):
    rows = rows_of(named({"gate_proj": np.zeros((3, WIDTH, HIDDEN))}))
    assert [(row["dead"], row["norm_ratio"], row["duplicate_of"]) for row in rows] == [
        (True, None, None), (True, None, 0), (True, None, 0),
    ]  # fmt: skip


def test_an_expert_that_is_not_finite_costs_itself_alone(rng):
    stack = rng.standard_normal((4, WIDTH, HIDDEN))
    stack[1, 3, 3] = np.nan
    rows = rows_of(named({"gate_proj": stack}))
    assert [row["status"] for row in rows] == ["ok", "nonfinite", "ok", "ok"]
    rest = rows_of(named({"gate_proj": stack[[0, 2, 3]]}))
    numbers = ("param_name", "expert_index", "nearest_expert", "nearest_overlap_expert")
    agree([rows[i] for i in (0, 2, 3)], rest, but=numbers)
    assert [rows[i]["nearest_expert"] for i in (0, 2, 3)] == [
        (0, 2, 3)[row["nearest_expert"]] for row in rest
    ]


@pytest.mark.parametrize("scale", [1e200, 1e120, 1e-120])
def test_extreme_weights(rng, scale):
    rows = rows_of(named({"gate_proj": scale * rng.standard_normal((3, WIDTH, HIDDEN))}))
    assert {row["status"] for row in rows} == {"nonfinite" if scale == 1e200 else "ok"}


def problem(arrays, config=MOE, budget=PLENTY):
    rows = rows_of(arrays, config, budget)
    assert {row["status"] for row in rows} == {"skipped"}
    (reason,) = {row["status_reason"] for row in rows}
    return len(rows), reason


def test_what_cannot_be_compared_says_why(rng):
    stack = rng.standard_normal((2, WIDTH, HIDDEN))
    arrays = named({"gate_proj": stack})
    third = f"{PREFIX}.experts.2.gate_proj.weight"
    # What hangs on an expert is none.
    scale = {f"{PREFIX}.experts.0.gate_proj.weight_scale": np.ones((WIDTH, 1))}
    assert len(rows_of({**arrays, **scale})) == 2
    count, reason = problem({**arrays, third: np.ones((WIDTH, HIDDEN + 1))})
    assert count == 3
    assert "different shapes" in reason
    count, reason = problem({**arrays, third: (np.ones((WIDTH, HIDDEN), np.int8), "I8")})
    assert count == 3
    assert "integers" in reason
    twice = {**arrays, f"{PREFIX}.experts.1.w1.weight": stack[0]}
    assert problem(twice) == (3, "several matrices for expert 1")
    count, reason = problem(arrays, budget=1000)
    assert count == 2
    assert "a memory budget of 1.0 kB cannot hold a line of two of 2 experts" in reason


def test_one_expert_has_nothing_to_compare_with(rng):
    (row,) = rows_of(named({"gate_proj": rng.standard_normal((1, WIDTH, HIDDEN))}))
    assert (row["status"], row["expert_count"], row["dead"]) == ("ok", 0, False)
    assert row["nearest_expert"] is row["mean_cosine"] is row["nearest_overlap"] is None


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


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_a_rotation_of_the_residual_stream_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    # With a gap behind the leading ones, without which these are no property of a matrix.
    sigma = np.append(np.linspace(3, 2, SUBSPACE), np.full(WIDTH - SUBSPACE, 0.5))
    gate = np.stack([with_spectrum(rng, WIDTH, HIDDEN, sigma) for _ in range(4)])
    turn = orthonormal(rng, HIDDEN, HIDDEN)
    before = rows_of(named({"gate_proj": gate, "down_proj": gate.swapaxes(1, 2).copy()}))
    rotated = gate @ turn
    after = rows_of(named({"gate_proj": rotated, "down_proj": rotated.swapaxes(1, 2).copy()}))
    agree(before, after)


@given(st.integers(0, 2**32 - 1), st.permutations(range(5)))
@settings(max_examples=15, deadline=None)
def test_experts_in_another_order_are_rows_in_another_order(seed, order):
    rng = np.random.default_rng(seed)
    stack = rng.standard_normal((5, WIDTH, HIDDEN))
    before = rows_of(named({"gate_proj": stack}))
    after = rows_of(named({"gate_proj": stack[list(order)]}))
    numbers = ("expert_index", "nearest_expert", "nearest_overlap_expert", "param_name")
    agree(after, [before[i] for i in order], but=numbers)
    for row, i in zip(after, order, strict=True):
        for column in numbers[1:3]:
            assert order[row[column]] == before[i][column]


def test_independent_experts_overlap_by_chance(rng):
    # Wide enough for the Krylov space, which must not bring the experts together.
    size, experts = 1200, 12
    stack = rng.standard_normal((experts, 1400, size), np.float32)
    rows = rows_of(named({"gate_proj": stack}), {"hidden_size": size}, dtype="F32")
    chance, pairs = SUBSPACE / size, experts * (experts - 1) / 2
    assert {row["chance_overlap"] for row in rows} == {chance}
    mean = np.mean([row["mean_overlap"] for row in rows])
    # A mean of 64 squared cosines for each pair, each of variance 2 / size^2.
    assert abs(mean - chance) < 5 * np.sqrt(2 / (64 * pairs)) * chance
    assert max(abs(row["nearest_cosine"]) for row in rows) < 6 / np.sqrt(1400 * size)


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


def opened(folder, arrays, config):
    (folder / "config.json").write_text(json.dumps(config))
    file = write_safetensors(folder / "model.safetensors", arrays, "F32")
    return open_checkpoint(model_files(file, config=folder / "config.json"))


def peak_of(weights, architecture, budget):
    tracemalloc.start()
    try:
        rows = list(expert_rows(weights, architecture, budget))
        return rows, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_budget_is_kept_and_decides_nothing_else(tmp_path, rng):
    stack = rng.standard_normal((12, 2 * 96, 256)).astype(np.float32)
    names = {f"{PREFIX}.experts.gate_up_proj": stack, f"{PREFIX}.gate.weight": stack[:, 0].copy()}
    config = {"hidden_size": 256, "moe_intermediate_size": 96}
    with opened(tmp_path, names, config) as checkpoint:
        weights, architecture = checkpoint.weights(), checkpoint.architecture
        expected = list(expert_rows(weights, architecture, PLENTY))
        assert {row["subspace_dim"] for row in expected} == {SUBSPACE}
        without = set()
        for budget in (30_000, 100_000, 500_000, 3_000_000, 20_000_000):
            rows, peak = peak_of(weights, architecture, budget)
            # What rows and names themselves take is no working memory.
            assert peak <= budget + 120_000, budget
            subspaces = {c for c in expected[0] if "overlap" in c or c == "subspace_dim"}
            left_out = {c for c in expected[0] if c not in rows[0]}
            without.add(bool(left_out))
            routers = {c for c in expected[0] if c.startswith("router")}
            assert left_out <= subspaces | routers
            agree(rows, [{c: row[c] for c in rows[0]} for row in expected])
        assert without == {True, False}
        rows, _ = peak_of(weights, architecture, 9_000)
        assert {row["status"] for row in rows} == {"skipped"}


def test_a_budget_for_some_lines_of_some_experts(tmp_path, rng):
    stack = rng.standard_normal((33, 6, 4096)).astype(np.float32)
    with opened(tmp_path, {f"{PREFIX}.experts.gate_proj": stack}, {}) as checkpoint:
        weights, architecture = checkpoint.weights(), checkpoint.architecture
        expected = list(expert_rows(weights, architecture, PLENTY))
        for budget in (400_000, 700_000, 1_200_000):
            rows, peak = peak_of(weights, architecture, budget)
            assert peak <= budget + 120_000, budget
            # A line of all would take 1,081,344 bytes.
            agree(rows, [{c: row[c] for c in rows[0]} for row in expected])


def test_workers_decide_nothing(tmp_path, rng):
    stack = rng.standard_normal((6, 150, 140)).astype(np.float32)
    with opened(tmp_path, {f"{PREFIX}.experts.down_proj": stack}, {}) as checkpoint:
        one, four = (
            list(expert_rows(checkpoint.weights(), checkpoint.architecture, PLENTY, workers=n))
            for n in (1, 4)
        )
    assert one == four
    assert one[0]["chance_overlap"] == SUBSPACE / 150


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
        for budget in (PLENTY, 60_000):
            rows = list(expert_rows(weights, architecture, budget))
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
