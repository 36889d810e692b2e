"""Planted copies, merges, dead experts and loud rows are found, all of them and nothing else."""

import numpy as np
import pytest
from planted_mixtures import (
    CONFIG,
    EXPERTS,
    KINDS,
    expert_of,
    mean,
    plant,
    put,
    random_layer,
    reordered,
    write_mixture,
)
from repetitions import times

from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.mixture.columns import EXPERT_COLUMNS, LAYER_COLUMNS
from mlx_probe.analysis.mixture.copies import find_copies
from mlx_probe.analysis.mixture.found import found_in
from mlx_probe.analysis.mixture.layer import mixture_layers
from mlx_probe.analysis.mixture.measure import measure_layer
from mlx_probe.analysis.mixture.plan import plan_mixture
from mlx_probe.analysis.mixture.router import preferred_expert
from mlx_probe.analysis.opening import open_checkpoint
from mlx_probe.analysis.stages import STAGES
from mlx_probe.core.records import Row
from mlx_probe.runs.monitor import UsageMeter
from mlx_probe.runs.table.schema import rows_to_table


def found(folder):
    """What is unusual about a model's layers, and the rows of its layers."""
    experts, layers = [], []
    with (
        open_checkpoint(folder) as checkpoint,
        UsageMeter(STAGES) as meter,
    ):
        mixture = plan_mixture(checkpoint, AnalyzeConfig(workers=1, backend="numpy"))
        for layer in mixture.layers:
            measured = measure_layer(mixture.plan, layer, meter, lambda weight: None)
            experts += measured.experts
            layers.append(measured.layer)
    tables = [
        rows_to_table([Row(i, row) for i, row in enumerate(rows)], columns)
        for rows, columns in ((experts, EXPERT_COLUMNS), (layers, LAYER_COLUMNS))
    ]
    return found_in(*tables), layers


def without_layer(entries, layer):
    return [
        {k: v for k, v in entry.items() if k != "layer"}
        for entry in entries
        if entry["layer"] == layer
    ]


@pytest.mark.parametrize(
    ("family", "dtype"),
    [*((family, "F32") for family in CONFIG), ("mixtral", "BF16"), ("gpt_oss", "BF16")],
)
def test_all_that_is_planted_is_found(tmp_path, rng, family, dtype):
    layers = [random_layer(rng, 14), random_layer(rng, 14)]
    planted = plant(rng, layers[1])
    everything, rows = found(write_mixture(tmp_path / "model", family, layers, dtype))
    for name, expected in planted.items():
        assert without_layer(everything[name], 0) == []
        met = without_layer(everything[name], 1)
        assert len(met) == len(expected), (name, met)
        for one, other in zip(met, expected, strict=True):
            assert one == pytest.approx(other, abs=0.02), name
    assert [row["copies"] for row in rows] == [0, 3]
    assert [row["merged"] for row in rows] == [0, 2]
    assert [row["dead"] for row in rows] == [0, 2]
    assert rows[1]["preferred_expert"] == 13
    assert [row["order_reason"] for row in rows] == [None, None]


def test_random_layers_have_none(tmp_path, rng):
    """Layers of experts that have nothing in common, and such that were one expert once.

    With `--long` 200 of them.
    """
    layers = [
        random_layer(rng, 6, width=10, hidden=24, common=(0, 1, 20, 300)[number % 4])
        for number in range(times(40, 200))
    ]
    folder = write_mixture(tmp_path / "model", "qwen3_moe", layers)
    everything = np.ones(6, np.bool_)
    with open_checkpoint(folder) as checkpoint:
        for number, layer in enumerate(
            mixture_layers(checkpoint.weights(), checkpoint.architecture)
        ):
            flat = [layers[number][kind].reshape(6, -1) for kind in KINDS]
            copies = find_copies(layer, [each @ each.T for each in flat], everything, 1 << 30, 0)
            assert (copies.copies, copies.merged, copies.problem) == ({}, {}, None)
            assert (number % 4 == 3) <= (len(copies.aligned) == 6)
            assert preferred_expert(np.linalg.norm(layers[number]["router"], axis=1)) is None
    # The whole way, by which dead experts would be named, too.
    everything_found, _ = found(folder)
    assert not any(everything_found.values())


def test_of_two_experts_and_their_mean_only_the_mean_is_merged(tmp_path, rng):
    layer = random_layer(rng, 3)
    order = rng.permutation(layer["gate"].shape[1])
    put(layer, 0, reordered(mean(expert_of(layer, 1), expert_of(layer, 2), 0.3), order))
    everything, _ = found(write_mixture(tmp_path / "model", "qwen3_moe", [layer]))
    [merged] = everything["merged"]
    assert (merged["expert"], merged["first"], merged["second"]) == (0, 1, 2)
    assert merged["share"] == pytest.approx(0.3, abs=1e-6)


def test_a_copy_that_learned_a_little_is_alike_and_no_copy(tmp_path, rng):
    layer = random_layer(rng, 4)
    order = rng.permutation(layer["gate"].shape[1])
    learned = reordered(expert_of(layer, 0), order)
    put(layer, 3, {k: v + 0.1 * rng.standard_normal(v.shape) for k, v in learned.items()})
    folder = write_mixture(tmp_path / "model", "qwen3_moe", [layer])
    with open_checkpoint(folder) as checkpoint, UsageMeter(STAGES) as meter:
        mixture = plan_mixture(checkpoint, AnalyzeConfig(workers=1, backend="numpy"))
        measured = measure_layer(mixture.plan, mixture.layers[0], meter, lambda weight: None)
    alone = [expert_of(layer, 0), {k: v[np.argsort(order)] for k, v in expert_of(layer, 3).items()}]
    flat = [np.concatenate([m.ravel() for m in each.values()]) for each in alone]
    cosine = flat[0] @ flat[1] / np.linalg.norm(flat[0]) / np.linalg.norm(flat[1])
    for one, other in ((0, 3), (3, 0)):
        row = measured.experts[one]
        assert row["aligned_expert"] == other
        assert row["aligned_cosine"] == pytest.approx(cosine, abs=1e-6)
        assert "copy_of" not in row
        assert abs(row["nearest_cosine"]) < 0.3


class TestChosen:
    """Experts that a router always or never chooses, where its weights prove it."""

    def chosen(self, folder):
        everything, _ = found(folder)
        return [
            [each["expert"] for each in everything[name]]
            for name in ("always_chosen", "never_chosen")
        ]

    def test_corrections_of_scores_between_0_and_1(self, tmp_path, rng):
        layer = random_layer(rng)
        bias = np.zeros(EXPERTS)
        bias[[1, 2]] = 2.0
        layer["bias"] = bias
        folder = write_mixture(tmp_path / "model", "deepseek_v3", [layer])
        others = [i for i in range(EXPERTS) if i not in (1, 2)]
        assert self.chosen(folder) == [[1, 2], others]

    def test_groups_of_experts_prove_nothing(self, tmp_path, rng):
        layer = random_layer(rng)
        layer["bias"] = np.arange(EXPERTS) * 2.0
        folder = write_mixture(tmp_path / "model", "deepseek_v3", [layer], n_group=4, topk_group=2)
        assert self.chosen(folder) == [[], []]

    def test_biases_of_linear_scores(self, tmp_path, rng):
        layer = random_layer(rng)
        layer["router"] *= 0.01
        layer["bias"] = np.zeros(EXPERTS)
        layer["bias"][[0, 5]] = 3.0
        folder = write_mixture(tmp_path / "model", "gpt_oss", [layer])
        others = [i for i in range(EXPERTS) if i not in (0, 5)]
        assert self.chosen(folder) == [[0, 5], others]
        # By what the norm lets through, the largest difference that any token can make.
        rows = layer["router"]
        tokens = np.sqrt(rows.shape[1]) * (rows[1] - rows[0]) / np.linalg.norm(rows[1] - rows[0])
        scores = rows @ tokens + layer["bias"]
        assert set(np.argsort(-scores)[:2]) == {0, 5}

    def test_rows_that_make_up_for_a_bias(self, tmp_path, rng):
        layer = random_layer(rng)
        layer["bias"] = np.zeros(EXPERTS)
        layer["bias"][[0, 5]] = 3.0
        assert self.chosen(write_mixture(tmp_path / "model", "gpt_oss", [layer])) == [[], []]

    def test_a_plain_router_proves_nothing(self, tmp_path, rng):
        layer = random_layer(rng)
        layer["router"][2] = 0
        assert self.chosen(write_mixture(tmp_path / "model", "mixtral", [layer])) == [[], []]
