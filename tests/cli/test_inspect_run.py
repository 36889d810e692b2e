"""`inspect` and `compare` where a finished run is named."""

import json
import shutil

import numpy as np
import pytest
from made_runs import matrix, store
from models import edit_meta, invoke, refuses
from pairs import base_model, rows_of, saved
from tinymodel import run

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.compare.compare import compare


@pytest.fixture
def analyzed(tmp_path, rng):
    """A model of two layers, and its run."""
    model = saved(tmp_path / "model", base_model(rng))
    config = AnalyzeConfig(backend="numpy", metrics="basic")
    return model, mlx_probe.analyze(model, out=tmp_path / "run", formats=["parquet"], config=config)


@pytest.mark.parametrize("file", ["", "run_meta.json", "params.parquet"])
def test_the_rows_of_a_run_as_those_of_its_model(analyzed, file):
    model, finished = analyzed
    of_model = invoke("inspect", model).stdout
    shutil.rmtree(model)
    result = run("inspect", finished.folder / file)
    assert result.returncode == 0, result.stderr
    tensors = [line.split() for line in of_model.splitlines() if " F32 " in line]
    assert len(tensors) == 11
    assert [line.split() for line in result.stdout.splitlines() if " F32 " in line] == tensors
    for text in ("run_meta.json", "11 (11 ok)", "settings", "metrics basic"):
        assert text in result.stdout


def test_statuses_are_there_where_one_is_not_ok(tmp_path):
    rows = [matrix(0), matrix(1, std=None) | {"status": "skipped", "status_reason": "no \x1b[2J"}]
    result = invoke("inspect", store(tmp_path / "a", rows))
    assert "skipped: no \\x1b[2J" in result.stdout
    assert "2 (1 ok, 1 skipped)" in result.stdout
    assert "\x1b[2J" not in result.output


def test_a_comparison_is_listed_with_both_models(analyzed, tmp_path):
    model, _ = analyzed
    result = invoke("inspect", compare(model, model, out=tmp_path / "cmp").folder)
    assert result.exit_code == 0, result.output
    assert "11 (11 identical)" in result.stdout
    last = result.stdout.splitlines()[-9:]
    assert [line.split()[0] for line in last if line.startswith(("A", "B"))] == ["A", "B"]


def test_what_is_no_finished_run_says_why(analyzed, tmp_path):
    _, finished = analyzed
    refuses(invoke("inspect", finished.folder, "--revision", "x"), "is a run on this disk", code=2)
    (finished.folder / "run_meta.json").unlink()
    journal = finished.folder / "params.0123456789ab.partial.jsonl"
    journal.write_text("{}\n")
    refuses(invoke("inspect", finished.folder), "is not finished", "to resume")
    refuses(invoke("inspect", finished.folder / "params.parquet"), "is not finished")


def test_runs_are_compared_by_their_models(analyzed, tmp_path):
    model, finished = analyzed
    for name in (finished.folder, finished.meta_path):
        rows = rows_of(name, model, tmp_path / name.name / "cmp")
        assert set(rows.status) == {"identical"}


def test_weights_that_are_gone_have_a_remedy(analyzed, tmp_path):
    model, finished = analyzed
    shutil.rmtree(model)
    out = tmp_path / "cmp"
    result = invoke("compare", finished.folder, finished.folder, "--out", out)
    refuses(result, "cannot be read again", "compare-runs")
    assert not out.exists()


def test_a_model_that_holds_a_run_is_a_model(analyzed):
    model, finished = analyzed
    for path in finished.folder.iterdir():
        shutil.copy(path, model / path.name)
    assert "run_meta.json" not in invoke("inspect", model).stdout


def test_runs_of_models_with_nothing_in_common(tmp_path):
    a = saved(tmp_path / "a", {"first.weight": np.eye(4, dtype=np.float32)})
    b = saved(tmp_path / "b", {"second.weight": np.eye(4, dtype=np.float32)})
    result = invoke("compare", a, b, "--out", tmp_path / "cmp")
    refuses(result, "nothing in common", "compare-runs")
    assert not (tmp_path / "cmp").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_run_is_refused_as_one(tmp_path, content):
    folder = store(tmp_path / "a", [matrix(0)])
    (folder / "run_meta.json").write_text(content)
    refuses(invoke("inspect", folder), "run_meta.json")


@pytest.mark.parametrize("command", [("inspect",), ("report", "--terminal")])
@pytest.mark.parametrize("model", [None, "owner/tiny", []])
def test_a_run_that_does_not_say_its_model_has_a_document(tmp_path, command, model):
    name, *options = command
    folder = edit_meta(
        store(tmp_path / "a", [matrix(0, stable_rank=2.0)]), lambda meta: meta.update(model=model)
    )
    result = invoke(name, folder, *options, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["models"] == []
