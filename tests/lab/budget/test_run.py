"""What is kept in a run folder, and taken from a finished analysis."""

import dataclasses
import json
import shutil

import mlx.core as mx
import pytest
from budgets import weights

from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.budget.measures import MEASURES
from mlx_probe.lab.budget.plan import plan_budget
from mlx_probe.lab.budget.records import Goal
from mlx_probe.lab.budget.run import run_budget

EASY = Goal(error=0.5)


def test_another_goal_begins_with_what_was_measured(tmp_path, plain, monkeypatch):
    from mlx_probe.lab.budget import plan as module

    out, measured = tmp_path / "out", []
    measure = module.measure

    def counted(matrix, *more):
        measured.append(matrix.name)
        if len(measured) == 4:
            raise KeyboardInterrupt
        return measure(matrix, *more)

    with mx.stream(mx.cpu):
        monkeypatch.setattr(module, "measure", counted)
        with pytest.raises(KeyboardInterrupt):
            run_budget(str(plain), EASY, out)
        assert not (out / "run_meta.json").exists()
        measured.append("")
        first = run_budget(str(plain), EASY, out, formats=("csv", "jsonl"))
        # Three were on the disk.
        assert len(measured) == 5 + sum(each.status == "ok" for each in first.chosen) - 3
        count = len(measured)
        second = run_budget(str(plain), Goal(error=0.01), out)
        assert len(measured) == count
        fresh = plan_budget(str(plain), Goal(error=0.01))
    assert dataclasses.asdict(second) == dataclasses.asdict(fresh)
    assert second.after > first.after
    assert sorted(path.name for path in out.iterdir()) == [
        "choices.csv", MEASURES, "run_meta.json"
    ]  # fmt: skip
    meta = json.loads((out / "run_meta.json").read_text())
    assert meta["kind"] == "budget"
    assert meta["metrics"]["bytes_after"] == second.after
    assert meta["configuration"]["goal"]["error"] == 0.01


def test_singular_values_of_a_run(tmp_path, plain, monkeypatch):
    from mlx_probe.analysis.analyze import analyze
    from mlx_probe.lab.budget import measure as module

    run = analyze(str(plain), out=tmp_path / "run", config=AnalyzeConfig(save_spectra=True))
    goal, kinds = Goal(energy=0.8), ("rank",)
    with mx.stream(mx.cpu):
        fresh = plan_budget(str(plain), goal, kinds=kinds)
        arrays = dict(weights(plain))
        name = "model.layers.0.mlp.down_proj.weight"
        other = tmp_path / "other"
        shutil.copytree(plain, other)
        mx.save_safetensors(str(other / "model.safetensors"), {**arrays, name: arrays[name] ** 3})
        unlike = plan_budget(str(other), goal, kinds=kinds)
        computed = []
        tails = module._Gram.tails
        monkeypatch.setattr(module._Gram, "tails", lambda gram: computed.append(1) or tails(gram))
        taken = plan_budget(str(plain), goal, kinds=kinds, run=str(run.folder))
        assert not computed
        # Of the matrix that is another one they are computed.
        guarded = plan_budget(str(other), goal, kinds=kinds, run=str(run.folder))
        assert len(computed) == 1
    assert [each.choice for each in taken.chosen] == [each.choice for each in fresh.chosen]
    assert [each.choice for each in guarded.chosen] == [each.choice for each in unlike.chosen]
    assert taken.squared_error == pytest.approx(fresh.squared_error)
    without = analyze(str(plain), out=tmp_path / "none", config=AnalyzeConfig(metrics="basic"))
    with pytest.raises(ConfigError, match="singular values of no matrix"):
        plan_budget(str(plain), goal, run=str(without.folder))
