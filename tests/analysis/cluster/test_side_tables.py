"""Tables of heads and experts, made by the workers of a cluster."""

import numpy as np
import pytest
from sampled_models import model as write_model

from mlx_probe import AnalyzeConfig, open_checkpoint
from mlx_probe.analysis import analyze as analyze_module
from mlx_probe.analysis.analyze import analyze
from mlx_probe.analysis.cluster import dispatch
from mlx_probe.analysis.cluster import run as cluster_run
from mlx_probe.analysis.cluster.analyze_session import AnalyzeSetup, MeasureSide
from mlx_probe.analysis.cluster.config import ClusterConfig
from mlx_probe.analysis.cluster.copied_model import copied_model
from mlx_probe.analysis.cluster.facts import gather_facts
from mlx_probe.analysis.cluster.measuring import numerics_of
from mlx_probe.analysis.cluster.session import Allowance
from mlx_probe.analysis.plan import make_plan
from mlx_probe.analysis.side_tables import SIDES, side_parts
from mlx_probe.core.machine import host_name

pytestmark = pytest.mark.slow
FULL = {"metrics": "full", "backend": "numpy", "formats": ["parquet"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Seven layers of attention; six of them have six experts."""
    return write_model(tmp_path_factory.mktemp("model"), np.random.default_rng(0))


def alone(model, out, **settings):
    return analyze(model, out=out / "alone", **FULL, **settings)


def spread(model, cluster, out, **settings):
    config = ClusterConfig(cluster.address, timeout=30.0)
    return analyze(model, out=out / "spread", cluster=config, **FULL, **settings)


def rows(run, name):
    # Texts: NaN is equal to itself there, and every other number only to the same bits.
    return [repr(row) for row in run.sides[name].to_pylist()]


@pytest.mark.parametrize("settings", [{}, {"sample": "layers=every:2|experts=3"}], ids=str)
def test_workers_make_the_tables_of_a_single_process(
    model, three_workers, tmp_path, monkeypatch, settings
):
    single = alone(model, tmp_path, **settings)
    monkeypatch.delattr(analyze_module, "side_tables")
    run = spread(model, three_workers, tmp_path, **settings)
    assert run.passed
    assert list(run.sides) == list(single.sides) == ["heads", "experts"]
    for name in run.sides:
        assert rows(run, name) == rows(single, name)
        assert "ok" in run.sides[name]["status"].to_pylist()
        assert (run.folder / f"{name}.parquet").exists()
    assert run.meta["stages"]["sides"]["seconds"] > 0
    assert run.meta["tables"] == single.meta["tables"]
    assert sum(worker["rows"] for worker in run.meta["workers"]) == sum(
        host == host_name() for host in run.table["host"].to_pylist()
    )


def test_a_part_whose_workers_die_is_failed(model, three_workers, tmp_path, monkeypatch):
    single = alone(model, tmp_path)
    for module in (dispatch, cluster_run):
        monkeypatch.setattr(module, "DEATHS", 2)
    with three_workers.dying_at(str(MeasureSide("experts", 1))) as dead:
        run = spread(model, three_workers, tmp_path)
    assert len(dead) == 2
    assert rows(run, "heads") == rows(single, "heads")
    experts, expected = (each.sides["experts"].to_pylist() for each in (run, single))
    assert [repr(row) for row in experts[6:12]] != [repr(row) for row in expected[6:12]]
    for i, (row, other) in enumerate(zip(experts, expected, strict=True)):
        if i in range(6, 12):
            assert row["status"] == "failed"
            reason = row["status_reason"]
            assert reason.startswith("2 workers died while they measured it: worker")
            assert all(name in reason for name in dead)
            assert row["param_name"] == other["param_name"]
            assert row["norm"] is None
        else:
            assert repr(row) == repr(other)


@pytest.fixture
def plan(model):
    with open_checkpoint(model) as checkpoint:
        yield make_plan(checkpoint, AnalyzeConfig(metrics="full", backend="numpy"))


def session_of(plan, budget, memory):
    setup = AnalyzeSetup(
        token="t",
        models=(copied_model(plan.checkpoint, ()),),
        config=AnalyzeConfig(metrics="full", backend="numpy"),
        budget=budget,
        solvers=plan.solvers,
        numerics=numerics_of(plan),
        full_hash=False,
    )
    return setup.open(gather_facts("numpy", "cpu"), "w", memory)


class Has:
    """An allowance of so many bytes, whatever the process takes."""

    def __init__(self, each):
        self.each = each


@pytest.mark.parametrize("budgets", [(3000, 10**9), (10**9, 3000)], ids=["client", "worker"])
def test_the_smaller_memory_decides_what_is_left_out(plan, budgets):
    session = session_of(plan, budgets[0], Has(budgets[1]))
    try:
        within = side_parts(plan, 3000)
        made = [session.run(MeasureSide("heads", n)) for n in range(len(within["heads"]))]
        assert repr(made) == repr([part.rows(1) for part in within["heads"]])
        assert {row["status"] for part in made for row in part} == {"skipped"}
        assert "the memory limit leaves 3.0 kB" in made[0][0]["status_reason"]
    finally:
        session.close()


def test_a_worker_without_memory_left_skips(plan):
    session = session_of(plan, 10**9, Has(-5))
    try:
        (row,) = session.run(MeasureSide("heads", 0))
        assert row["status"] == "skipped"
    finally:
        session.close()


def test_sizes_are_those_of_the_weights_and_then_of_the_parts(plan):
    session = session_of(plan, plan.budget, Has(plan.budget))
    try:
        parts = side_parts(plan, plan.budget)
        assert list(parts) == list(SIDES)
        sizes = [part.nbytes for side in parts.values() for part in side]
        assert session.sizes == (*plan.sizes, *sizes)
        assert all(0 < size < plan.budget for size in sizes)
    finally:
        session.close()


def test_threads_share_what_the_process_leaves(monkeypatch):
    monkeypatch.setattr("mlx_probe.analysis.cluster.session.process_memory", lambda: 400)
    assert Allowance(1000, 2).each == 300
