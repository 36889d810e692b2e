"""Similarities of experts against their definitions, in float64 on whole matrices."""

import numpy as np
import pytest
from expert_models import (
    EXPERTS,
    HIDDEN,
    MOE,
    PLENTY,
    PREFIX,
    WIDTH,
    agree,
    cosine,
    mixture,
    named,
    of_kind,
    overlap,
    rows_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import orthonormal, store, with_spectrum

from mlx_probe.analysis.side_tables.experts.subspaces import SUBSPACE


@pytest.mark.parametrize("dtype", ["F64", "F32", "BF16"])
def test_every_number_by_its_definition(backend, rng, dtype):
    stacks = {kind: store(stack, dtype) for kind, stack in mixture(rng).items()}
    router_words, router = store(rng.standard_normal((EXPERTS, HIDDEN)), dtype)
    arrays = named({kind: words for kind, (words, _) in stacks.items()})
    stacks = {kind: values for kind, (_, values) in stacks.items()}
    arrays[f"{PREFIX}.gate.weight"] = router_words
    rows = rows_of(arrays, dtype=dtype, backend=backend)
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


@pytest.mark.parametrize("kind", ["gate_proj", "down_proj"])
@pytest.mark.parametrize(("width", "hidden"), [(90, 300), (400, 150), (200, 200)])
def test_overlaps_of_wide_streams_are_those_of_whole_spectra(backend, rng, kind, width, hidden):
    # Too wide for all eigenvectors: a block Krylov space, with the backend's products.
    sigma = np.append(np.linspace(3, 2, SUBSPACE), np.full(min(width, hidden) - SUBSPACE, 0.5))
    shared = orthonormal(rng, hidden, SUBSPACE)[:, :4].T
    stack = np.stack([with_spectrum(rng, width, hidden, sigma) for _ in range(4)])
    stack[:2] += 9 * rng.standard_normal((2, width, 4)) @ shared / np.sqrt(width)
    stack = stack if kind == "gate_proj" else stack.swapaxes(1, 2)
    stack = stack.astype(np.float32)
    rows = rows_of(named({kind: stack}), {"hidden_size": hidden}, dtype="F32", backend=backend)
    for i, row in enumerate(rows):
        expected = {
            j: overlap(stack[i], stack[j], int(kind != "down_proj")) for j in range(4) if j != i
        }
        assert row["mean_overlap"] == pytest.approx(np.mean(list(expected.values())), abs=1e-5)
        if i < 2:
            assert row["nearest_overlap_expert"] == 1 - i
            assert row["nearest_overlap"] == pytest.approx(expected[1 - i], abs=1e-5)
            assert row["nearest_overlap"] > 0.4


def test_dead_and_doubled_experts_are_marked(backend, rng):
    stack = rng.standard_normal((9, WIDTH, HIDDEN)).astype(np.float32)
    stack[3] = stack[1]
    stack[4] = 0
    stack[5] = 1e-3 * stack[5]
    stack[6] = 2.5 * stack[1]
    stack[7] = stack[2] + 1e-2 * rng.standard_normal((WIDTH, HIDDEN))
    stack[8] = 0
    rows = rows_of(named({"gate_proj": stack}), dtype="F32", backend=backend)
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


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_an_expert_that_is_not_finite_costs_itself_alone(backend, rng, value):
    stack = rng.standard_normal((4, WIDTH, HIDDEN)).astype(np.float32)
    stack[1, 3, 3] = value
    rows = rows_of(named({"gate_proj": stack}), dtype="F32", backend=backend)
    assert [row["status"] for row in rows] == ["ok", "nonfinite", "ok", "ok"]
    rest = rows_of(named({"gate_proj": stack[[0, 2, 3]]}), dtype="F32", backend=backend)
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


@pytest.mark.slow
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
