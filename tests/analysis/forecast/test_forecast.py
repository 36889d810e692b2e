import json
import re
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from hub_server import commit_of
from tinymodel import COMMAND, run
from weightfiles import safetensors_bytes, write_safetensors

import mlx_probe
from mlx_probe.analysis.forecast import timing
from mlx_probe.analysis.forecast.forecast import forecast
from mlx_probe.analysis.forecast.model import forecast_model
from mlx_probe.analysis.plan import make_plan
from mlx_probe.cli import cli
from mlx_probe.runs.folder import resolve_output


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    """A calibration that takes no time, in a cache of its own."""
    monkeypatch.setenv("MLX_PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(timing, "ROUNDS", 1)
    for name in ("GRAM_SIDES", "SOLVE_SIDES", "METRIC_SIDES"):
        monkeypatch.setattr(timing, name, (16, 32))


def plan(*arguments):
    return CliRunner().invoke(cli, ["plan", *map(str, arguments)])


def test_json_tells_everything(model, tmp_path):
    result = plan(model, "--json", "--out", tmp_path / "out", "--context", 100, "--bits", "stored")
    assert result.exit_code == 0, result.output
    described = json.loads(result.stdout)
    assert described["fits"]
    assert described["seconds"] > 0
    assert described["memory"]["peak"] > described["memory"]["process"] > 0
    assert described["outputs"][-1] == str(tmp_path / "out" / "run_meta.json")
    assert described["inference"][0]["weights"] == sum(
        p.nbytes for p in mlx_probe.open_checkpoint(model).parameters
    )
    assert all(step["what"] and step["fallback"] for step in described["steps"])
    assert not (tmp_path / "out").exists()


def test_a_run_keeps_the_plan_that_it_ran_with(model, tmp_path):
    finished = mlx_probe.analyze(model, out=tmp_path / "first")
    kept = json.loads((finished.folder / "plan.json").read_text())
    assert kept["seconds"] is None  # nobody has timed this machine
    forecast_model(model)
    finished = mlx_probe.analyze(model, out=tmp_path / "second")
    kept = json.loads((finished.folder / "plan.json").read_text())
    assert kept["seconds"] > 0
    assert kept["weights"] == sum(finished.meta["rows_by_status"].values())
    assert kept["configuration"] == json.loads(json.dumps(finished.meta["configuration"]))
    assert kept["read_bytes"] == pytest.approx(finished.meta["bytes_read"], rel=1e-3)  # scalars


def test_a_limit_that_is_too_small_comes_with_remedies_that_help(tmp_path):
    arrays = {
        "small.weight": np.ones((8, 8), np.float32),
        "large.weight": np.zeros((3000, 2500), np.float32),
    }
    path = write_safetensors(tmp_path / "model.safetensors", arrays)
    # The limit is between what the two take; what the process itself takes depends on the tests.
    # The second time nothing is timed, which would leave its memory to the process.
    for _ in range(2):
        alone = forecast_model(path, config=mlx_probe.AnalyzeConfig(include=("small*",)))
    limit = alone.memory.least + 20_000_000
    refused = plan(path, "--memory-limit", limit)
    assert refused.exit_code == 1
    assert "does not fit" in refused.output
    text = re.sub(r"\s+", " ", refused.output)
    assert "--exclude 'large.weight'" in text
    helped = plan(path, "--memory-limit", limit, "--exclude", "large.weight")
    assert helped.exit_code == 0, helped.output
    suggested = re.search(r"Set --memory-limit to at least (\d+) MB", text)[1]
    assert plan(path, "--memory-limit", f"{suggested}MB").exit_code == 0


def test_of_a_model_on_the_hub_only_headers_are_read(hub, tmp_path):
    weights = safetensors_bytes(
        {"a.weight": {"dtype": "F32", "shape": [1024, 512], "data_offsets": [0, 1 << 21]}},
        bytes(1 << 21),
    )
    config = json.dumps({"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4})
    hub.repos["o/m"] = {"main": {"model.safetensors": weights, "config.json": config.encode()}}
    prediction = forecast_model("o/m", contexts=[10], widths=[16])
    assert prediction.model["revision"] == commit_of("o/mmain")
    assert prediction.fetch.nbytes == len(weights)
    assert prediction.fetch.free
    assert prediction.fits
    assert hub.sent["model.safetensors"] <= 1 << 16
    assert prediction.inference[0].cache == 2 * 2 * 2 * 64 * 10
    # Once it is on this disk there is nothing to fetch.
    mlx_probe.analyze("o/m", out=tmp_path / "out")
    assert forecast_model("o/m").fetch.nbytes == 0


def test_of_a_file_at_an_address_only_the_header_is_read(hub, tmp_path):
    header = {"a.weight": {"dtype": "F32", "shape": [1024, 512], "data_offsets": [0, 1 << 21]}}
    weights = safetensors_bytes(header, bytes(1 << 21))
    hub.repos["o/m"] = {"main": {"m.safetensors": weights}}
    prediction = forecast_model(f"{hub.url}/cdn/o/m/main/m.safetensors")
    assert prediction.fetch.nbytes == len(weights)
    assert prediction.fetch.folder == str(tmp_path / "cache")
    assert hub.sent["m.safetensors"] <= (1 << 16) + 1


def test_a_disk_that_is_too_small_is_reported(hub, monkeypatch):
    weights = safetensors_bytes(
        {"a.weight": {"dtype": "F32", "shape": [512, 512], "data_offsets": [0, 1 << 20]}},
        bytes(1 << 20),
    )
    hub.repos["o/m"] = {"main": {"model.safetensors": weights}}
    monkeypatch.setattr(
        "mlx_probe.analysis.forecast.model.free_space", lambda folder: (1000, 10**9)
    )
    result = plan("o/m")
    assert result.exit_code == 1
    assert "HF_HOME" in result.output


def test_a_device_that_should_hold_less_is_reported(model, monkeypatch):
    config = mlx_probe.AnalyzeConfig(backend="numpy")
    with mlx_probe.open_checkpoint(model) as checkpoint:
        plan = make_plan(checkpoint, config)
        paths = resolve_output(None, (), "tiny")
        prediction = forecast(plan, paths, None, device_limit=1000)
        roomy = forecast(plan, paths, None, device_limit=1 << 40)
    assert not prediction.fits
    assert "fewer --workers" in prediction.advice[0]
    assert roomy.fits
    assert roomy.advice == ()
    assert roomy.seconds is None


def test_names_from_files_are_harmless(tmp_path):
    name = "evil\x1b[31m`|<b>\u202e.weight"
    path = write_safetensors(tmp_path / "model.safetensors", {name: np.ones((3, 3), np.float32)})
    for form in ((), ("--markdown",), ("--json",)):
        output = plan(path, *form).output
        assert "\x1b" not in output
        assert "\u202e" not in output
        if form == ("--markdown",):
            assert "<b>" not in re.sub(r"\\.", "", output)


def test_markdown_and_json_exclude_each_other(model):
    assert plan(model, "--json", "--markdown").exit_code == 2


def test_dry_run_shows_the_plan_and_runs_nothing(model, tmp_path):
    result = CliRunner().invoke(
        cli, ["analyze", str(model), "--dry-run", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    assert "peak memory" in result.stdout
    assert "fits" in result.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the figures are those of Linux")
def test_peak_memory_is_predicted(on_disk, tmp_path):
    """Of a model whose largest weights decide it; the demo's is in test_smollm2."""
    rng = np.random.default_rng(0)
    arrays = {
        f"layers.{i}.up_proj.weight": rng.standard_normal((3072, 2048)).astype(np.float32)
        for i in range(3)
    }
    path = write_safetensors(on_disk / "model.safetensors", arrays)
    command = [path, "--workers", "2", "--backend", "numpy"]
    planned = run("plan", *command, "--json")
    assert planned.returncode == 0, planned.stderr
    launcher = (
        "import os, subprocess, sys; "
        "print(os.wait4(subprocess.Popen(sys.argv[1:]).pid, 0)[2].ru_maxrss)"
    )
    analyze = [COMMAND, "analyze", *command, "--metrics", "basic", "-q", "--out", tmp_path / "out"]
    peak = 1024 * int(
        subprocess.run(
            [sys.executable, "-c", launcher, *map(str, analyze)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    assert json.loads(planned.stdout)["memory"]["peak"] == pytest.approx(peak, rel=0.15)
