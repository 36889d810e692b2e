"""Runs from before every run had its own folder: data/outputs/<model>/ held the files themselves.

tests/data/old_run was made by `mlx-probe analyze ./small --metrics full --backend numpy --format
csv --format parquet` of that time; the model's path in it is written @MODEL@.
"""

import shutil

import pytest
from models import invoke
from project import ROOT

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.validate import validate_run
from mlx_probe.core.errors import ResultError

OLD = ROOT / "tests/data/old_run"
CONFIG = AnalyzeConfig(backend="numpy", metrics="basic")


@pytest.fixture
def old(tmp_path, monkeypatch):
    """The flat folder of a run, and its model beside it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD / "small", tmp_path / "small")
    folder = tmp_path / "data/outputs/small"
    shutil.copytree(OLD / "run", folder)
    for name in ("run_meta.json", "plan.json"):
        text = (folder / name).read_text("utf-8").replace("@MODEL@", str(tmp_path / "small"))
        (folder / name).write_text(text, "utf-8")
    return folder


def test_it_loads(old):
    assert len(mlx_probe.load_run(old)) == 4
    assert len(mlx_probe.load_run(old / "params.csv")) == 4
    assert len(mlx_probe.load_spectra(old)) == 3
    assert mlx_probe.load_side_table(old, "heads") is not None
    assert len(mlx_probe.load_samples(old)) == 2
    with mlx_probe.reopen(old) as checkpoint:
        assert len(checkpoint.weights()) == 4


def test_it_is_valid_and_recomputed(old):
    checks = validate_run(old)
    assert [check for check in checks if not check.passed] == []
    assert sum("spot check" in check.name for check in checks) == 4


@pytest.mark.parametrize("command", ["validate", "report", "monitor"])
def test_commands_read_it(old, command):
    result = invoke(command, old)
    assert result.exit_code == 0, result.output


def test_a_new_run_goes_beside_it_and_touches_nothing(old):
    before = {path: path.read_bytes() for path in old.iterdir()}
    run = mlx_probe.analyze("small", config=CONFIG)
    assert run.folder.parent.resolve() == old
    assert {path: path.read_bytes() for path in before} == before
    # The model's folder now means the latest run, and the old one has its own names.
    assert mlx_probe.load_run(old).attrs["meta"]["configuration"]["metrics"] == "basic"
    flat = mlx_probe.load_run(old / "run_meta.json").attrs["meta"]
    assert flat["configuration"]["metrics"] == "full"
    for meta in (old / "run_meta.json", run.meta_path):
        assert all(check.passed for check in validate_run(meta))


def test_it_is_not_replaced_without_the_user_s_word(old):
    full = AnalyzeConfig(backend="numpy", metrics="full")
    for config, says in ((CONFIG, "metrics: full, now basic"), (full, "by an earlier mlx-probe")):
        with pytest.raises(ResultError) as refusal:
            mlx_probe.analyze("small", out=old, config=config)
        assert says in refusal.value.fact
    run = mlx_probe.analyze("small", out=old, config=CONFIG, overwrite=True)
    assert not list(old.glob("*.parquet*"))[1:]
    assert not (old / "heads.csv").exists()
    assert all(check.passed for check in validate_run(run.meta_path))


def test_a_stale_table_in_it_is_named(old):
    (old / "params.jsonl").write_text("{}\n")
    (failed,) = [check for check in validate_run(old) if not check.passed]
    assert "params.jsonl" in failed.detail
