"""What has no numbers is said at the start, at the end, in the metadata and by the exit code."""

import json
import logging

import numpy as np
import pytest
from click.testing import CliRunner
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.cli import cli

QUIET = AnalyzeConfig(backend="numpy", metrics="basic")
BASE = "model.layers.0.mlp.up_proj"


@pytest.fixture
def model(tmp_path, rng):
    """A folder with these tensors and a norm; ``method`` is declared if there is one."""

    def make(tensors, method=None):
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        norm = rng.standard_normal(64, np.float32), "F32"
        arrays = {
            f"{BASE}.{end}".replace(f"{BASE}.model.", "model."): piece
            for end, piece in tensors.items()
        }
        write_safetensors(folder / "model.safetensors", arrays | {"model.norm.weight": norm})
        config = {"quantization_config": {"quant_method": method}} if method else {}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


def unknown(rng):
    return {
        "qcodes": (rng.integers(0, 255, (64, 48), np.uint8), "U8"),
        "magnitude": (rng.standard_normal((64, 1), np.float32), "F32"),
    }


def read(rng):
    return {"weight": (rng.standard_normal((64, 48), np.float32), "F32")}


def invoke(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_an_unknown_quantization_is_an_incomplete_run(model, rng, tmp_path):
    folder = model(unknown(rng), "surprise")
    done = invoke("analyze", folder, "--out", tmp_path / "out", "--metrics", "basic")
    assert done.exit_code == 3
    # At the start and as an error at the end on standard error, in the summary on standard output.
    assert done.stderr.count("2 of 3 tensors, 92.9% of the stored bytes, have no numbers") == 2
    assert "INCOMPLETE 2 of 3 tensors" in done.stdout
    assert "config.json declares the quantization 'surprise'" in done.stderr
    assert "--allow-unknown" in done.stderr
    assert "skipped  2 weights, 3.3 kB (92.9% of all)" in done.stdout
    meta = json.loads((tmp_path / "out" / "run_meta.json").read_text())
    assert meta["unread"]["tensors"] == 2
    assert meta["unread"]["methods"] == ["surprise"]
    assert meta["unread"]["unit"] == "stored bytes"
    assert meta["rows_by_status"] == {"skipped": 2, "ok": 1}


def test_an_incomplete_run_may_be_allowed(model, rng, tmp_path):
    folder = model(unknown(rng))
    done = invoke("analyze", folder, "--out", tmp_path / "out", "--allow-unknown")
    assert done.exit_code == 0
    assert "INCOMPLETE 2 of 3 tensors" in done.stdout
    assert "config.json declares no quantization" in done.stderr


def test_a_run_object_says_that_it_is_incomplete(model, rng, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "mlx_probe"):
        run = mlx_probe.analyze(model(unknown(rng)), out=tmp_path / "out", config=QUIET)
    assert run.passed
    assert not run.complete
    assert "have no numbers" in run.unread
    said = [record.message for record in caplog.records if "have no numbers" in record.message]
    assert len(said) == 2
    (log,) = (tmp_path / "out").glob("*.log")
    assert log.read_text().count("WARNING") == 2


def test_a_model_that_is_read_is_complete(model, rng, tmp_path):
    run = mlx_probe.analyze(model(read(rng)), out=tmp_path / "out", config=QUIET)
    assert run.complete
    assert run.unread is None
    assert run.meta["unread"] is None
    assert invoke("analyze", model(read(rng)), "--out", tmp_path / "b").exit_code == 0


def test_a_table_of_integers_is_no_loss(model, rng, tmp_path):
    """Skipped as well, for its name is not known; but all weights have numbers."""
    tensors = read(rng) | {"model.lookup": (np.arange(20, dtype="<i2"), "I16")}
    run = mlx_probe.analyze(model(tensors), out=tmp_path / "out", config=QUIET)
    assert run.meta["rows_by_status"] == {"ok": 2, "skipped": 1}
    assert run.complete


def test_floats_without_their_scale_count_as_parameters(model, rng, tmp_path):
    codes = rng.integers(0, 100, (64, 48), np.uint8), "F8_E4M3"
    run = mlx_probe.analyze(model({"weight": codes}, "fp8"), out=tmp_path / "out", config=QUIET)
    assert run.meta["unread"]["unit"] == "parameters"
    assert run.meta["unread"]["share"] == 64 * 48 / (64 * 48 + 64)


def test_a_resumed_run_says_it_too(model, rng, tmp_path, monkeypatch):
    folder = model(unknown(rng))

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mlx_probe.analysis.analyze.side_tables", stop)
    with pytest.raises(mlx_probe.core.errors.Interrupted):
        mlx_probe.analyze(folder, out=tmp_path / "out", config=QUIET)
    monkeypatch.undo()
    run = mlx_probe.analyze(folder, out=tmp_path / "out", config=QUIET)
    assert run.meta["resumed_rows"] == 3
    assert not run.complete


def test_a_comparison_is_incomplete_if_a_side_is(model, rng, tmp_path):
    folder = model(unknown(rng), "surprise")
    done = invoke("compare", folder, folder, "--out", tmp_path / "out")
    assert done.exit_code == 3
    assert "INCOMPLETE 4 of 6 tensors" in done.stdout
    run = mlx_probe.compare(folder, folder, out=tmp_path / "again")
    assert not run.complete
    assert run.meta["unread"]["methods"] == ["surprise"]
    allowed = invoke("compare", folder, folder, "--out", tmp_path / "c", "--allow-unknown")
    assert allowed.exit_code == 0


def test_a_run_of_an_earlier_version_has_no_such_entry(tmp_path):
    run = mlx_probe.Run(tmp_path / "run_meta.json", {"validation": {"checks": []}, "outputs": {}})
    assert run.complete


def test_reports_say_that_a_run_is_incomplete(model, rng, tmp_path):
    run = mlx_probe.analyze(model(unknown(rng)), out=tmp_path / "out", config=QUIET)
    shown = invoke("report", tmp_path / "out", "--terminal")
    assert shown.exit_code == 0
    assert "incomplete" in shown.stdout
    page = tmp_path / "page.html"
    assert invoke("report", tmp_path / "out", "--out", page).exit_code == 0
    assert run.unread.partition(",")[0] in page.read_text()


def test_a_plan_says_it_before_anything_runs(model, rng):
    folder = model(unknown(rng), "surprise")
    said = "2 of 3 tensors, 92.9% of the stored bytes, have no numbers"
    assert said in json.loads(invoke("plan", folder, "--json").stdout)["unread"]
    shown = " ".join(invoke("plan", folder).stdout.split())
    assert f"incomplete {said}" in shown
    assert json.loads(invoke("plan", model(read(rng)), "--json").stdout)["unread"] == ""
