"""The installed command: damaged input, interruptions, options, help."""

import json
import os
import signal
import subprocess
import time

import numpy as np
import pandas as pd
import pytest
from models import invoke, refuses
from project import CONFIGS
from tinymodel import COMMAND, comparable, heed_ctrl_c, refused, run
from weightfiles import entry, safetensors_bytes, write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig


@pytest.mark.slow
def test_kill_9_loses_no_row_and_a_second_process_is_kept_out(tmp_path):
    rng = np.random.default_rng(1)
    tensors = {f"layers.{i}.q_proj.weight": rng.standard_normal((500, 400)) for i in range(60)}
    path = write_safetensors(tmp_path / "model.safetensors", tensors, "F64")
    command = ["analyze", path, "--workers", "1", "--out", tmp_path / "out"]
    whole = run(*command[:-1], tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    process = subprocess.Popen([COMMAND, *map(str, command)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    journal = None
    while journal is None or journal.read_bytes().count(b'"index"') < 10:
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        journal = next((tmp_path / "out").glob("*.partial.jsonl"), None)
        time.sleep(0.005)
    # Stopped, so that it does not end before the second one begins.
    process.send_signal(signal.SIGSTOP)
    refused(run(*command), "another run is writing here")
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = run(*command)
    assert again.returncode == 0, again.stderr
    frame = mlx_probe.load_run(tmp_path / "out")
    assert frame.attrs["meta"]["resumed_rows"] >= 10
    expected = mlx_probe.load_run(tmp_path / "whole")
    pd.testing.assert_frame_equal(comparable(frame), comparable(expected))


@pytest.mark.slow
def test_ctrl_c_says_what_is_saved(tmp_path):
    rng = np.random.default_rng(2)
    tensors = {f"w{i}": rng.standard_normal((600, 500)) for i in range(60)}
    path = write_safetensors(tmp_path / "model.safetensors", tensors, "F64")
    command = [COMMAND, "analyze", path, "--workers", "1", "--out", tmp_path / "out"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )
    while not any(p.read_bytes().count(b"\n") > 5 for p in (tmp_path / "out").glob("*.jsonl")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "rows are saved in" in said
    assert "Run the same command again" in said
    assert "Traceback" not in said


HEADER = {"w": entry(end=8)}
DAMAGED = {
    "truncated": (safetensors_bytes(HEADER, bytes(4)), "truncated"),
    "header beyond the file": ((1000).to_bytes(8, "little") + b"{}", ""),
    "no JSON": (safetensors_bytes(b"{nonsense"), "JSON"),
    "out of range": (safetensors_bytes({"w": entry(begin=8, end=16)}, bytes(8)), "w"),
    "overlap": (safetensors_bytes({"a": entry(), "b": entry(begin=4, end=12)}, bytes(12)), "b"),
    "empty file": (b"", ""),
    "no Unicode": (safetensors_bytes({"w\ud800": entry()}, bytes(8)), "Unicode"),
    "no Unicode type": (safetensors_bytes({"w": entry("F\udfff")}, bytes(8)), "w"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_ends_in_one_message(tmp_path, damage):
    content, says = DAMAGED[damage]
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    refuses(invoke("analyze", path, "--out", tmp_path / "out"), str(path), says)
    assert not (tmp_path / "out").exists()


def test_a_path_that_is_no_utf_8(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.safetensors"
    with open(path, "wb") as file:  # noqa: PTH123  Path takes no bytes
        file.write(safetensors_bytes(HEADER, bytes(8)))
    refused(run("analyze", os.fsdecode(path), "--out", tmp_path / "out"), "Rename it")


@pytest.mark.parametrize("shard", ["gone.safetensors", "../outside.safetensors", "/etc/passwd"])
def test_an_index_that_names_wrong_files(tmp_path, shard):
    folder = tmp_path / "model"
    folder.mkdir()
    index = {"weight_map": {"w": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refuses(invoke("analyze", folder, "--out", tmp_path / "out"), "index.json", shard)


def test_folders_that_cannot_be_written(model, tmp_path):
    (tmp_path / "file").write_text("")
    refuses(invoke("analyze", model, "--out", tmp_path / "file" / "below"), "below", "--out")
    refuses(invoke("analyze", model, "--out", "/proc/mlx-probe"), "/proc/mlx-probe")


def test_models_and_options_that_do_not_exist(model, tmp_path):
    refuses(invoke("analyze", tmp_path / "tinny"), "tinny", "Did you mean")
    for options, *says in [
        (("--metrics", "most"), "'most'"),
        (("--include", "*q_prj*"), "no tensor is selected", "q_proj"),
        (("--memory-limit", "60MB"), "cannot hold", "--memory-limit"),
        (("--memory-limit", "much"), "600MB"),
        (("--backend", "numpy", "--device", "gpu"), "--backend mlx"),
    ]:
        code = 1 if "--device" in options else 2
        refuses(invoke("analyze", model, *options), *says, code=code)


def test_configuration_order_is_option_environment_file_default(model, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("workers: 2\nrank-tol: 1.0e-5\nseed: 5\nformat: jsonl\n")
    out = tmp_path / "out"
    result = invoke(
        "analyze", model, "--out", out, "--config", config, "--seed", "7",
        MLX_PROBE_ANALYZE_WORKERS="3", MLX_PROBE_ANALYZE_SEED="6",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    meta = json.loads((out / "run_meta.json").read_text())
    used = meta["configuration"]
    assert (used["seed"], used["workers"], used["rank_tol"]) == (7, 3, 1e-5)
    assert used["zero_epsilon"] == AnalyzeConfig().zero_epsilon
    assert list(meta["outputs"]) == ["params.jsonl", "spectra.parquet"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("wokers: 2", "Did you mean 'workers'?"),
        ("workers: many", "many"),
        ("- a list", "not a mapping"),
        ("a: [b", "YAML"),
    ],
)
def test_a_wrong_configuration_file(model, tmp_path, text, says):
    config = tmp_path / "c.yaml"
    config.write_text(text)
    refuses(invoke("analyze", model, "--config", config), says, code=2)


@pytest.mark.parametrize("name", ["analyze.yaml", "quick-look.yaml"])
def test_the_configurations_that_come_along_are_valid(model, tmp_path, name):
    path = CONFIGS / name
    result = invoke("analyze", model, "--out", tmp_path / "out", "--config", path)
    assert result.exit_code == 0, result.output


def test_an_output_file_names_table_and_format(model, tmp_path):
    result = run("analyze", model, "--out", tmp_path / "run" / "tiny.parquet", "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert (tmp_path / "run" / "tiny.run_meta.json").exists()
    assert len(mlx_probe.load_run(tmp_path / "run" / "tiny.parquet")) == 17


def test_a_dry_run_prints_the_plan_and_writes_nothing(model, tmp_path):
    result = invoke("analyze", model, "--out", tmp_path / "out", "--dry-run", COLUMNS="200")
    assert result.exit_code == 0, result.output
    for word in ("goal", "inputs", "steps", "outputs", "checks", "to read", "peak memory"):
        assert word in result.stdout
    assert not (tmp_path / "out").exists()


def test_inspect_reads_headers_only(tmp_path):
    path = tmp_path / "huge.safetensors"
    size = 10 * 2**30
    path.write_bytes(safetensors_bytes({"[bold]w[/]\x1b[2J": entry("U8", [size], 0, size)}))
    os.truncate(path, path.stat().st_size + size)
    result = invoke("inspect", path, COLUMNS="120")
    assert result.exit_code == 0, result.output
    assert "10,737,418,240" in result.stdout
    assert "[bold]w[/]" in result.stdout
    assert "\x1b[2J" not in result.stdout


def test_validate_passes_a_good_run_and_detects_a_changed_table(model, tmp_path):
    out = tmp_path / "out"
    assert invoke("analyze", model, "--out", out).exit_code == 0
    assert invoke("validate", out).exit_code == 0
    table = out / "params.csv"
    good = table.read_text()
    table.write_text(good.replace('"q_proj"', '"o_proj"'))
    result = invoke("validate", out)
    assert result.exit_code == 1
    assert "sha256" in result.stdout
    table.write_text(good)
    (model / "model.safetensors").rename(model / "gone")
    refuses(invoke("validate", out), "model.safetensors", "--no-recompute")
    assert invoke("validate", out, "--no-recompute").exit_code == 0


@pytest.mark.parametrize("command", [[], ["analyze"], ["inspect"], ["validate"]])
def test_help_describes_every_option(command):
    from mlx_probe.cli import cli

    result = invoke(*command, "--help")
    assert result.exit_code == 0
    target = cli.commands[command[0]] if command else cli
    for option in target.params:
        if option.param_type_name == "argument":
            assert option.name.upper() in result.stdout
        else:
            assert option.help, option.name
            assert option.opts[-1] in result.stdout


def test_version():
    assert mlx_probe.__version__ in run("--version").stdout
