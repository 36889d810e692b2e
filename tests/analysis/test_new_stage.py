"""A made-up stage: one line in the table, and it is in the metadata, the cost text and the docs."""

import io

import pytest
from rich.console import Console

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.measure import Measurer
from mlx_probe.analysis.stages import STAGES
from mlx_probe.report.docs import TABLES
from mlx_probe.report.terminal.cost import cost_text
from mlx_probe.runs.monitor import Stage


@pytest.fixture
def pondering(monkeypatch):
    """Every weight is pondered over before it is measured."""
    stage = Stage("think about a weight", "thoughts", in_lane=True)
    monkeypatch.setitem(STAGES, "pondering", stage)
    measure = Measurer.measure

    def ponder(self, weights):
        with self._meter.stage("pondering", nbytes=10, flops=20.0) as thinking:
            thinking.cores = 1000
        return measure(self, weights)

    monkeypatch.setattr(Measurer, "measure", ponder)


def test_a_new_stage_shows_everywhere(tiny, tmp_path, pondering):
    run = mlx_probe.analyze(tiny, out=tmp_path, config=AnalyzeConfig(backend="numpy", workers=1))
    meta = run.meta
    assert list(meta["stages"])[-1] == "pondering"
    assert meta["stages"]["pondering"]["bytes"] == 10 * 17
    assert meta["stages"]["pondering"]["flops"] == 20.0 * 17
    file = io.StringIO()
    Console(file=file, width=100).print(cost_text(meta))
    assert "pondering" in file.getvalue()
    assert "| `pondering` | think about a weight | thoughts |" in TABLES["STAGES"]()


def test_a_new_stage_can_be_the_limit(tiny, tmp_path, pondering, monkeypatch):
    add = mlx_probe.runs.monitor.UsageMeter.add

    def exaggerate(self, stage, seconds, nbytes=0, flops=0.0):
        add(self, stage, 100.0 if stage == "pondering" else seconds, nbytes, flops)

    monkeypatch.setattr(mlx_probe.runs.monitor.UsageMeter, "add", exaggerate)
    config = AnalyzeConfig(backend="numpy", workers=1)
    meta = mlx_probe.analyze(tiny, out=tmp_path, config=config).meta
    assert meta["limit"]["name"] == "thoughts"
