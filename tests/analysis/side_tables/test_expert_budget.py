"""The memory budget is kept, and neither it nor the number of workers changes a number."""

import json
import tracemalloc

import numpy as np
import pytest
from expert_models import NUMPY, PLENTY, PREFIX, agree
from weightfiles import model_files, write_safetensors

from mlx_probe.analysis.side_tables.experts import flattened
from mlx_probe.analysis.side_tables.experts.flattened import flattened_gram
from mlx_probe.analysis.side_tables.experts.rows import expert_rows
from mlx_probe.analysis.side_tables.experts.subspaces import SUBSPACE
from mlx_probe.checkpoint import open_checkpoint


def opened(folder, arrays, config):
    (folder / "config.json").write_text(json.dumps(config))
    file = write_safetensors(folder / "model.safetensors", arrays, "F32")
    return open_checkpoint(model_files(file, config=folder / "config.json"))


def peak_of(weights, architecture, budget):
    tracemalloc.start()
    try:
        rows = list(expert_rows(weights, architecture, NUMPY, budget))
        return rows, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_the_budget_is_kept_and_decides_nothing_else(tmp_path, rng):
    hidden = 4096
    stack = rng.standard_normal((12, 2 * 96, hidden)).astype(np.float32)
    names = {f"{PREFIX}.experts.gate_up_proj": stack, f"{PREFIX}.gate.weight": stack[:, 0].copy()}
    config = {"hidden_size": hidden, "moe_intermediate_size": 96}
    with opened(tmp_path, names, config) as checkpoint:
        weights, architecture = checkpoint.weights(), checkpoint.architecture
        expected = list(expert_rows(weights, architecture, NUMPY, PLENTY))
        assert {row["subspace_dim"] for row in expected} == {SUBSPACE}
        without = set()
        for budget in (17_500_000, 25_000_000, 60_000_000):
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
    count = 7
    stack = rng.standard_normal((count, 2, 200_000)).astype(np.float32)
    names = {f"{PREFIX}.experts.gate_proj": stack}
    with opened(tmp_path, names, {"hidden_size": 2}) as checkpoint:
        weights, architecture = checkpoint.weights(), checkpoint.architecture
        expected = list(expert_rows(weights, architecture, NUMPY, PLENTY))
        lines = flattened._lines(weights[0])
        budgets = [lines.range_bytes(NUMPY, n, 1) + 8 * 16 * count**2 for n in (2, 5, count)]
        assert budgets == sorted(set(budgets))
        for budget in budgets:
            rows, peak = peak_of(weights, architecture, budget)
            assert peak <= budget + 120_000, budget
            agree(rows, [{c: row[c] for c in rows[0]} for row in expected])


@pytest.mark.parametrize("block", [1 << 25, 4 * 140 * 6])
def test_some_lines_at_a_time_in_any_slabs(backend, tmp_path, rng, monkeypatch, block):
    monkeypatch.setattr(flattened, "_BLOCK_ELEMENTS", block)
    monkeypatch.setattr(flattened, "_SLAB_ELEMENTS", 1000)
    stack = rng.standard_normal((6, 150, 140)).astype(np.float32)
    with opened(tmp_path, {f"{PREFIX}.experts.down_proj": stack}, {}) as checkpoint:
        gram = flattened_gram(checkpoint.weights(), backend, PLENTY, 3)
    flat = stack.reshape(6, -1).astype(np.float64)
    np.testing.assert_allclose(np.triu(gram), np.triu(flat @ flat.T), rtol=1e-12, atol=1e-8)


def test_workers_decide_nothing(backend, tmp_path, rng, monkeypatch):
    monkeypatch.setattr(flattened, "_BLOCK_ELEMENTS", 20_000)
    stack = rng.standard_normal((6, 150, 140)).astype(np.float32)
    with opened(tmp_path, {f"{PREFIX}.experts.down_proj": stack}, {}) as checkpoint:
        one, four = (
            list(
                expert_rows(checkpoint.weights(), checkpoint.architecture, NUMPY, PLENTY, workers=n)
            )
            for n in (1, 4)
        )
    assert one == four
    assert one[0]["chance_overlap"] == SUBSPACE / 150
