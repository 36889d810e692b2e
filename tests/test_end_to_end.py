"""Small models through the public interface and the installed command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matrices import store
from weightfiles import entry, safetensors_bytes, write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.backends import BACKENDS
from mlx_probe.errors import Interrupted, ProbeError
from mlx_probe.run import Silent, validate_run
from mlx_probe.table import WRITERS

COMMAND = Path(sys.executable).with_name("mlx-probe")
SEED_COLUMNS = (
    *("model_path", "model_id", "revision", "param_name", "layer_index", "block_type", "shape"),
    *("rows", "cols", "rank", "mean", "std", "var", "sparsity", "dtype", "created_at", "device"),
    *("backend", "framework", "code_version", "component", "expert_index", "numel", "nbytes"),
    *("read_seconds", "compute_seconds", "read_gbps", "status", "status_reason"),
)
# What differs between two runs over the same bytes.
OF_THE_MOMENT = ["created_at", "read_seconds", "compute_seconds", "read_gbps"]


def run(*arguments, **environment):
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=120,
    )


def refused(result, *says):
    assert result.returncode not in (0, None)
    assert "Traceback" not in result.stderr
    assert result.stderr.count("Error: ") == 1
    for text in says:
        assert text in result.stderr
    return result.stderr


def weights(rng):
    def matrix(dtype, *shape):
        return store(rng.standard_normal(shape), dtype)[0], dtype

    spoilt = rng.standard_normal((8, 8)).astype(np.float32)
    spoilt[0, 0], spoilt[1, 1] = np.nan, np.inf
    return {
        "model.embed_tokens.weight": matrix("BF16", 200, 32),
        "model.layers.0.input_layernorm.weight": matrix("F32", 32),
        "model.layers.0.self_attn.q_proj.weight": matrix("F16", 32, 32),
        "model.layers.0.mlp.gate_proj.weight": matrix("F32", 64, 32),
        "model.layers.0.mlp.experts.down_proj": matrix("BF16", 3, 32, 16),
        "model.layers.11.self_attn.k_proj.weight": matrix("F8_E4M3", 16, 32),
        "model.layers.11.self_attn.v_proj.weight": matrix("F64", 16, 32),
        "model.layers.11.conv1d.weight": matrix("F32", 32, 1, 4),
        "model.layers.11.mlp.up_proj.weight": (spoilt, "F32"),
        "model.norm.weight": matrix("F8_E5M2", 32),
        "position_ids": (np.arange(64)[None], "I64"),
        "mask": (np.array([[1, 0], [1, 1]], np.uint8), "BOOL"),
        "empty": (np.zeros((0, 4), np.float32), "F32"),
        "scalar": (np.float32(2.0).reshape(()), "F32"),
        "lm_head.weight": (np.zeros((40, 32), np.float32), "F32"),
    }


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", weights(np.random.default_rng(0)))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def comparable(frame):
    return frame.drop(columns=OF_THE_MOMENT)


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_every_tensor_gets_the_row_it_deserves(model, tmp_path, name):
    config = AnalyzeConfig(backend=name, device="cpu", metrics="full")
    result = mlx_probe.analyze(model, out=tmp_path / "out", formats=list(WRITERS), config=config)
    assert result.passed, result.failures
    frames = [mlx_probe.load_run(path) for path in result.outputs]
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frame, frames[0])
    frame = frames[0]
    assert tuple(frame.columns[: len(SEED_COLUMNS)]) == SEED_COLUMNS
    names = list(weights(np.random.default_rng(0)))
    assert list(dict.fromkeys(frame.param_name)) == names
    by_name = frame.drop_duplicates("param_name").set_index("param_name")
    experts = frame[frame.param_name == "model.layers.0.mlp.experts.down_proj"]
    assert list(experts.expert_index) == [0, 1, 2]
    assert set(experts.component) == {"moe"}
    assert set(experts["shape"]) == {(32, 16)}
    statuses = by_name.status[by_name.status != "ok"].to_dict()
    assert statuses == {
        "model.layers.11.mlp.up_proj.weight": "nonfinite",
        "empty": "empty",
        "scalar": "scalar",
    }
    assert by_name.status_reason[list(statuses)].notna().all()
    spoilt = by_name.loc["model.layers.11.mlp.up_proj.weight"]
    assert (spoilt.nan_count, spoilt.inf_count) == (1, 1)
    assert pd.isna(spoilt["rank"])
    assert np.isfinite(spoilt["mean"])
    assert by_name.loc["model.layers.11.conv1d.weight", ["rows", "cols"]].tolist() == [32, 4]
    assert by_name.loc["lm_head.weight", "rank"] == 0
    assert by_name.loc["lm_head.weight", "condition_number"] == np.inf
    assert by_name.loc["model.layers.11.self_attn.k_proj.weight", "layer_index"] == 11
    assert by_name.loc["position_ids", "rank"] is pd.NA
    assert not list(result.folder.glob("*.partial.jsonl"))


def test_backends_agree_on_every_column(model, tmp_path):
    ours, theirs = (
        mlx_probe.analyze(
            model,
            out=tmp_path / name,
            config=AnalyzeConfig(backend=name, device="cpu", metrics="full"),
        ).load()
        for name in ("numpy", "mlx")
    )
    # Digits leave something out, and a deficient matrix's smallest values are rounding.
    own = ["backend", "device", "spectrum_error", "spectrum_method", "sigma_min"]
    ours, theirs = (comparable(f).drop(columns=[*own, "condition_number"]) for f in (ours, theirs))
    # What cancels is compared on the scale of what it cancels from: 1, and the 3 of kurtosis.
    for column, scale in (("skewness", 1), ("kurtosis", 3)):
        a, b = ours.pop(column), theirs.pop(column)
        pd.testing.assert_series_equal(a, b, rtol=1e-6, atol=1e-6 * scale)
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-6, atol=1e-8)


def test_rows_do_not_depend_on_workers_or_memory(model, tmp_path):
    first, *others = (
        mlx_probe.analyze(model, out=tmp_path / str(i), config=config).load()
        for i, config in enumerate(
            (
                AnalyzeConfig(workers=1),
                AnalyzeConfig(workers=4),
                AnalyzeConfig(workers=3, memory_limit=2**30),
            )
        )
    )
    for other in others:
        pd.testing.assert_frame_equal(comparable(other), comparable(first))


def test_metadata_tells_how_the_table_came_about(model, tmp_path):
    meta = mlx_probe.analyze(model, out=tmp_path / "out").meta
    assert meta["model"]["id"] == "tiny"
    assert meta["model"]["revision"] == "local"
    assert meta["configuration"]["seed"] == 0
    assert meta["configuration"]["workers"] > 0
    assert meta["configuration"]["backend"] in BACKENDS
    assert meta["environment"]["packages"]["numpy"] == np.__version__
    assert meta["bytes_read"] == meta["bytes"] - 4  # the scalar is not read
    assert meta["peak_process_memory"] > 10_000_000
    assert meta["rows_by_status"] == {"ok": 14, "nonfinite": 1, "empty": 1, "scalar": 1}
    assert set(meta["outputs"]) == {"params.csv"}
    assert {"measure", "validate", "write"} <= set(meta["seconds"])
    assert meta["command"]
    logs = list((tmp_path / "out").glob("analyze_*.log"))
    assert len(logs) == 1
    assert " INFO mlx_probe.run: " in logs[0].read_text()


class StopAfter(Silent):
    def __init__(self, rows):
        self.rows, self.started = rows, []

    def start(self, weight):
        self.started.append(weight.name)

    def finish(self, weight, usage):
        self.rows -= 1
        if self.rows == 0:
            raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_where_it_stopped(model, tmp_path):
    whole = mlx_probe.analyze(model, out=tmp_path / "whole").load()
    with pytest.raises(Interrupted, match="5 of 17 rows are saved"):
        mlx_probe.analyze(
            model, out=tmp_path / "out", config=AnalyzeConfig(workers=1), progress=StopAfter(5)
        )
    watcher = StopAfter(-1)
    result = mlx_probe.analyze(model, out=tmp_path / "out", progress=watcher)
    assert result.meta["resumed_rows"] == 5
    assert len(watcher.started) == 12
    pd.testing.assert_frame_equal(comparable(result.load()), comparable(whole))


@pytest.mark.parametrize("config", [AnalyzeConfig(rank_tol=1e-5), AnalyzeConfig(metrics="basic")])
def test_another_configuration_does_not_resume(model, tmp_path, config):
    with pytest.raises(Interrupted):
        mlx_probe.analyze(model, out=tmp_path / "out", progress=StopAfter(5))
    assert mlx_probe.analyze(model, out=tmp_path / "out", config=config).meta["resumed_rows"] == 0


def test_no_resume_starts_over(model, tmp_path):
    with pytest.raises(Interrupted):
        mlx_probe.analyze(model, out=tmp_path / "out", progress=StopAfter(5))
    assert mlx_probe.analyze(model, out=tmp_path / "out", resume=False).meta["resumed_rows"] == 0


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
    while journal is None or journal.read_bytes().count(b"\n") < 12:
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        journal = next((tmp_path / "out").glob("*.partial.jsonl"), None)
        time.sleep(0.005)
    refused(run(*command), "another run is writing here")
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = run(*command)
    assert again.returncode == 0, again.stderr
    found = mlx_probe.load_run(tmp_path / "out")
    assert found.attrs["meta"]["resumed_rows"] >= 10
    expected = mlx_probe.load_run(tmp_path / "whole")
    pd.testing.assert_frame_equal(comparable(found), comparable(expected))


def test_ctrl_c_says_what_is_saved(tmp_path):
    rng = np.random.default_rng(2)
    tensors = {f"w{i}": rng.standard_normal((600, 500)) for i in range(60)}
    path = write_safetensors(tmp_path / "model.safetensors", tensors, "F64")
    command = [COMMAND, "analyze", path, "--workers", "1", "--out", tmp_path / "out"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
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
    refused(run("analyze", path, "--out", tmp_path / "out"), str(path), says)
    assert not (tmp_path / "out").exists()


def test_a_path_that_is_no_utf_8(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.safetensors"
    with open(path, "wb") as file:  # noqa: PTH123  Path takes no bytes
        file.write(safetensors_bytes(HEADER, bytes(8)))
    refused(run("analyze", os.fsdecode(path), "--out", tmp_path / "out"), "Rename it")


def test_an_unknown_dtype_keeps_its_row(tmp_path):
    header = {"w": entry("F4", [2, 4], 0, 4), "v": entry("F32", [2], 4, 12)}
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(header, bytes(12)))
    result = run("analyze", path, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    row = mlx_probe.load_run(tmp_path / "out").set_index("param_name").loc["w"]
    assert (row["status"], row["dtype"]) == ("skipped", "F4")
    assert "F4" in row.status_reason
    assert "1 skipped" in " ".join(result.stdout.split())


@pytest.mark.parametrize("shard", ["gone.safetensors", "../outside.safetensors", "/etc/passwd"])
def test_an_index_that_points_astray(tmp_path, shard):
    folder = tmp_path / "model"
    folder.mkdir()
    index = {"weight_map": {"w": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(run("analyze", folder, "--out", tmp_path / "out"), "index.json", shard)


def test_places_that_cannot_be_written(model, tmp_path):
    (tmp_path / "file").write_text("")
    refused(run("analyze", model, "--out", tmp_path / "file" / "below"), "below", "--out")
    refused(run("analyze", model, "--out", "/proc/mlx-probe"), "/proc/mlx-probe")


def test_models_and_options_that_do_not_exist(model, tmp_path):
    refused(run("analyze", tmp_path / "tinny"), "tinny", "Did you mean")
    refused(run("analyze", model, "--metrics", "most"), "'most'")
    refused(run("analyze", model, "--include", "*q_prj*"), "no tensor is selected", "q_proj")
    refused(run("analyze", model, "--memory-limit", "60MB"), "cannot hold", "--memory-limit")
    refused(run("analyze", model, "--memory-limit", "much"), "600MB")
    refused(run("analyze", model, "--backend", "numpy", "--device", "gpu"), "--backend mlx")


def test_disk_full_keeps_finished_rows(model, tmp_path, monkeypatch):
    from mlx_probe.table.journal import Journal

    write = Journal._write

    def full(self, record):
        if record.get("index") == 4:
            raise OSError(28, "No space left on device")
        write(self, record)

    monkeypatch.setattr(Journal, "_write", full)
    config = AnalyzeConfig(workers=1)
    with pytest.raises(ProbeError, match="finished rows are safe"):
        mlx_probe.analyze(model, out=tmp_path / "out", config=config)
    monkeypatch.setattr(Journal, "_write", write)
    result = mlx_probe.analyze(model, out=tmp_path / "out", config=config)
    assert result.meta["resumed_rows"] == 4
    assert result.passed


def test_configuration_order_is_option_environment_file_default(model, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("workers: 2\nrank-tol: 1.0e-5\nseed: 5\nformat: jsonl\n")
    out = tmp_path / "out"
    result = run(
        "analyze", model, "--out", out, "--config", config, "--seed", "7",
        MLX_PROBE_ANALYZE_WORKERS="3", MLX_PROBE_ANALYZE_SEED="6",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    meta = json.loads((out / "run_meta.json").read_text())
    found = meta["configuration"]
    assert (found["seed"], found["workers"], found["rank_tol"]) == (7, 3, 1e-5)
    assert found["zero_epsilon"] == AnalyzeConfig().zero_epsilon
    assert list(meta["outputs"]) == ["params.jsonl"]


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
    refused(run("analyze", model, "--config", config), says)


@pytest.mark.parametrize("name", ["analyze.yaml", "quick-look.yaml"])
def test_the_configurations_that_come_along_are_valid(model, tmp_path, name):
    path = Path(__file__).parent.parent / "configs" / name
    result = run("analyze", model, "--out", tmp_path / "out", "--config", path)
    assert result.returncode == 0, result.stderr


def test_an_output_file_names_table_and_format(model, tmp_path):
    result = run("analyze", model, "--out", tmp_path / "run" / "tiny.parquet", "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert (tmp_path / "run" / "tiny.run_meta.json").exists()
    assert len(mlx_probe.load_run(tmp_path / "run" / "tiny.parquet")) == 17


def test_a_dry_run_tells_the_plan_and_writes_nothing(model, tmp_path):
    result = run("analyze", model, "--out", tmp_path / "out", "--dry-run", COLUMNS="200")
    assert result.returncode == 0, result.stderr
    for word in ("goal", "inputs", "steps", "outputs", "checks", "to read", "largest working set"):
        assert word in result.stdout
    assert not (tmp_path / "out").exists()


def test_inspect_reads_headers_only(tmp_path):
    path = tmp_path / "huge.safetensors"
    size = 10 * 2**30
    path.write_bytes(safetensors_bytes({"[bold]w[/]\x1b[2J": entry("U8", [size], 0, size)}))
    os.truncate(path, path.stat().st_size + size)
    result = run("inspect", path, COLUMNS="120")
    assert result.returncode == 0, result.stderr
    assert "10,737,418,240" in result.stdout
    assert "[bold]w[/]" in result.stdout
    assert "\x1b[2J" not in result.stdout


def test_validate_passes_a_good_run_and_finds_what_was_changed(model, tmp_path):
    out = tmp_path / "out"
    assert run("analyze", model, "--out", out).returncode == 0
    assert run("validate", out).returncode == 0
    table = out / "params.csv"
    good = table.read_text()
    table.write_text(good.replace('"q_proj"', '"o_proj"'))
    result = run("validate", out)
    assert result.returncode == 1
    assert "sha256" in result.stdout
    table.write_text(good)
    (model / "model.safetensors").rename(model / "gone")
    refused(run("validate", out), "model.safetensors", "--no-recompute")
    assert run("validate", out, "--no-recompute").returncode == 0


def test_the_spot_check_finds_wrong_numbers(model, tmp_path):
    out = tmp_path / "out"
    mlx_probe.analyze(model, out=out)
    # Other bytes under the same header: same names, shapes and sizes.
    write_safetensors(model / "model.safetensors", weights(np.random.default_rng(99)))
    failed = [check for check in validate_run(out) if not check.passed]
    assert failed
    assert all(check.name.startswith("spot check") for check in failed)


@pytest.mark.parametrize("command", [[], ["analyze"], ["inspect"], ["validate"]])
def test_help_describes_every_option(command):
    from mlx_probe.cli import cli

    result = run(*command, "--help")
    assert result.returncode == 0
    target = cli.commands[command[0]] if command else cli
    for option in target.params:
        if option.param_type_name == "argument":
            assert option.name.upper() in result.stdout
        else:
            assert option.help, option.name
            assert option.opts[-1] in result.stdout


def test_version():
    assert mlx_probe.__version__ in run("--version").stdout
