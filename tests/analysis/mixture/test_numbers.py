"""The numbers of experts, routers and pairs against dense float64."""

import numpy as np
import pytest
from planted_mixtures import EXPERTS, HIDDEN, KINDS, random_layer, write_mixture

from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.mixture.combinations import best_combinations, combined
from mlx_probe.analysis.mixture.copies import find_copies
from mlx_probe.analysis.mixture.layer import mixture_layers
from mlx_probe.analysis.mixture.measure import measure_layer
from mlx_probe.analysis.mixture.plan import plan_mixture
from mlx_probe.analysis.mixture.units import Units, matched
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.analysis.stages import STAGES
from mlx_probe.runs.monitor import UsageMeter

DIM = 8


def ranks(sigma):
    share = sigma / sigma.sum()
    return np.sum(sigma**2) / sigma[0] ** 2, np.exp(-np.sum(share * np.log(share)))


def leading(units):
    return np.linalg.svd(units, full_matrices=False)[2][:DIM]


def overlaps_of(units):
    bases = [leading(each) for each in units]
    return np.array([[np.sum((a @ b.T) ** 2) / DIM for b in bases] for a in bases])


def cosines_of(rows):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize("family", ["qwen3_moe", "gpt_oss"])
def test_every_number_by_its_definition(tmp_path, rng, family):
    layer = {name: values.astype("f4") for name, values in random_layer(rng, common=0.5).items()}
    folder = write_mixture(tmp_path / "model", family, [layer])
    with open_checkpoint(folder) as checkpoint, UsageMeter(STAGES) as meter:
        mixture = plan_mixture(checkpoint, AnalyzeConfig(workers=1, backend="numpy"))
        measured = measure_layer(mixture.plan, mixture.layers[0], meter, lambda weight: None)
    exact = {name: values.astype(np.float64) for name, values in layer.items()}
    every = np.concatenate([exact[kind].reshape(EXPERTS, -1) for kind in KINDS], axis=1)
    cosines, routed = cosines_of(every), cosines_of(exact["router"])
    by_kind = {kind: overlaps_of(exact[kind]) for kind in KINDS}
    overlaps = np.mean(list(by_kind.values()), axis=0)
    norms = np.linalg.norm(every, axis=1)
    rows = np.linalg.norm(exact["router"], axis=1)
    close = {"rel": 1e-6, "abs": 1e-9}
    for i, row in enumerate(measured.experts):
        others = [j for j in range(EXPERTS) if j != i]
        for kind in KINDS:
            sigma = np.linalg.svd(exact[kind][i], compute_uv=False)
            expected = (np.linalg.norm(sigma), sigma[0], *ranks(sigma))
            for name, value in zip(
                ("norm", "spectral_norm", "stable_rank", "effective_rank"), expected, strict=True
            ):
                assert row[f"{kind}_{name}"] == pytest.approx(value, **close), (kind, name)
        nearest, beside, closest = (
            max(others, key=lambda j: table[i, j]) for table in (cosines, overlaps, routed)
        )
        expected = {
            "layer_index": 0, "component": "moe", "stack": "model.layers", "expert_index": i,
            "status": "ok", "status_reason": None, "width": exact["gate"].shape[1],
            "parameters": every.shape[1], "norm": norms[i],
            "norm_ratio": norms[i] / np.median(norms), "dead": False, "dead_matrix": None,
            "nearest_expert": nearest, "nearest_cosine": cosines[i, nearest],
            "mean_cosine": np.mean(cosines[i, others]), "nearest_overlap_expert": beside,
            "nearest_overlap": overlaps[i, beside], "mean_overlap": np.mean(overlaps[i, others]),
            "chance_overlap": DIM / HIDDEN, "router_norm": rows[i],
            "router_norm_ratio": rows[i] / np.median(rows), "router_closest_expert": closest,
            "router_closest_cosine": routed[i, closest],
            "router_mean_cosine": np.mean(routed[i, others]),
        }  # fmt: skip
        for name, value in expected.items():
            wanted = pytest.approx(value, **close) if isinstance(value, float) else value
            assert row[name] == wanted, name
    sigma = np.linalg.svd(exact["router"], compute_uv=False)
    above = np.triu_indices(EXPERTS, 1)
    for name, value in {
        "experts": EXPERTS, "active": 2, "dead": 0, "copies": 0, "merged": 0,
        "mean_cosine": cosines[above].mean(), "max_cosine": cosines[above].max(),
        "mean_overlap": overlaps[above].mean(), "max_overlap": overlaps[above].max(),
        "router_spectral_norm": sigma[0], "router_stable_rank": ranks(sigma)[0],
        "router_effective_rank": ranks(sigma)[1],
        "router_max_norm_ratio": rows.max() / np.median(rows),
        "router_mean_cosine": routed[above].mean(), "router_max_cosine": routed[above].max(),
    }.items():  # fmt: skip
        assert measured.layer[name] == pytest.approx(value, **close), name
    for name, value in {
        "similarity": overlaps, "cosine": cosines, "router_cosine": routed,
        **{f"similarity_{kind}": by_kind[kind] for kind in KINDS},
    }.items():  # fmt: skip
        np.testing.assert_allclose(measured.maps[name], value, atol=1e-6)


def test_combinations_are_those_of_least_squares(rng):
    vectors = rng.standard_normal((7, 40))
    vectors[5] = 0.4 * vectors[1] + 1.2 * vectors[3]
    vectors[6] = vectors[2]
    usable = np.array([True] * 4 + [False] + [True] * 2)
    found = best_combinations(vectors @ vectors.T, usable)
    assert 4 not in found
    for c, pair in found.items():
        best, where = np.inf, None
        for x in range(7):
            for y in range(x + 1, 7):
                if c in (x, y) or not usable[[x, y]].all() or (x, y) == (2, 6):
                    continue
                both = vectors[[x, y]].T
                (a, b), *_ = np.linalg.lstsq(both, vectors[c], rcond=None)
                rest = np.linalg.norm(vectors[c] - both @ (a, b)) / np.linalg.norm(vectors[c])
                if a > 0 and b > 0 and 0.05 <= a / (a + b) <= 0.95 and rest < best:
                    best, where = rest, (x, y, a, b)
        assert (pair.first, pair.second) == where[:2]
        assert (pair.a, pair.b) == pytest.approx(where[2:])
        assert pair.residual == pytest.approx(best, abs=1e-7)
    assert found[5].share == pytest.approx(0.25)


def test_a_negative_factor_or_a_near_copy_is_no_combination(rng):
    x, y = rng.standard_normal((2, 30))

    def judged(c):
        three = np.stack([c, x, y])
        return combined((three @ three.T)[None])

    assert judged(0.5 * x + 0.5 * y).residual == pytest.approx(0, abs=1e-7)
    assert judged(2 * x - y) is None
    assert judged(0.02 * x + 0.98 * y) is None
    # Next to a copy of both: the mean leaves most of what one of them leaves.
    y = x + 0.01 * rng.standard_normal(30)
    assert judged(x + 0.01 * rng.standard_normal(30)) is None


def test_units_are_matched_in_every_order(rng):
    units = rng.standard_normal((30, 16)).astype(np.float32)
    order = rng.permutation(30)
    assert np.array_equal(matched(units[order], units), order)
    # Two units that are nearest to the same one: each is taken once.
    doubled = units.copy()
    doubled[1] = doubled[0] + 1e-3
    assert sorted(matched(doubled, units)) == list(range(30))


class TestMemory:
    """What a small budget leaves out is said, and what it does not is the same."""

    @pytest.fixture
    def layer(self, tmp_path, rng):
        made = random_layer(rng)
        order = rng.permutation(made["gate"].shape[1])
        for kind in KINDS:
            made[kind][3] = made[kind][1][order]
        folder = write_mixture(tmp_path / "model", "qwen3_moe", [made])
        with open_checkpoint(folder) as checkpoint:
            [layer] = mixture_layers(checkpoint.weights(), checkpoint.architecture)
            flat = [made[kind].astype("f4").astype("f8").reshape(EXPERTS, -1) for kind in KINDS]
            yield layer, [each @ each.T for each in flat]

    def test_a_budget_that_holds_no_three_experts(self, layer):
        copies = find_copies(*layer, np.ones(EXPERTS, np.bool_), 1000, 0)
        assert copies.copies == {}
        assert "cannot hold a matrix of three experts" in copies.problem

    def test_one_that_does(self, layer):
        copies = find_copies(*layer, np.ones(EXPERTS, np.bool_), 1 << 24, 0)
        assert (copies.copies, copies.reordered) == ({3: 1}, {3})

    def test_sums_are_of_units(self, layer):
        units = Units(layer[0], 1 << 24, 0)
        sums = units.sums(np.ones(EXPERTS, np.bool_))
        assert sums.shape == (3, EXPERTS, HIDDEN)
        assert sums[:, 3] == pytest.approx(sums[:, 1])
        assert np.mean(np.square(sums), axis=(1, 2)) == pytest.approx(1)
