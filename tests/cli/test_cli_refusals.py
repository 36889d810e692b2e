"""What cannot be done ends in one message with a remedy, and in an exit code that is not 0."""

import json

import pytest
from models import edit_meta, forge, invoke, refuses, write_shards
from tinymodel import refused, run
from weightfiles import entry, safetensors_bytes, write_safetensors

import mlx_probe
from mlx_probe.core.files import LineWriter
from mlx_probe.runs.check import Check

HEADER = {"w": entry(end=8)}
DAMAGED = {
    "truncated": safetensors_bytes(HEADER, bytes(4)),
    "header longer than the file": (1000).to_bytes(8, "little") + b"{}",
    "header longer than memory": (2**63 - 1).to_bytes(8, "little") + b"{}",
    "shorter than a header's size": b"\x08",
    "empty": b"",
    "not JSON": safetensors_bytes(b"{nonsense"),
    "not an object": safetensors_bytes(b"[1, 2]"),
    "offsets beyond the file": safetensors_bytes({"w": entry(begin=8, end=16)}, bytes(8)),
    "offsets backwards": safetensors_bytes({"w": entry(begin=8, end=0)}, bytes(8)),
    "offsets negative": safetensors_bytes({"w": entry(begin=-8, end=0)}, bytes(8)),
    "overlap": safetensors_bytes({"a": entry(), "b": entry(begin=4, end=12)}, bytes(12)),
    "shape against bytes": safetensors_bytes({"w": entry(shape=(3,))}, bytes(8)),
}


@pytest.mark.parametrize("command", ["analyze", "inspect"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_files(tmp_path, damage, command):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(DAMAGED[damage])
    out = ["--out", tmp_path / "out"] if command == "analyze" else []
    refuses(invoke(command, path, *out), str(path))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["analyze", "inspect"])
def test_a_truncated_shard_is_named(arrays, tmp_path, command):
    folder = write_shards(tmp_path / "sharded", arrays, 3)
    shard = folder / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    refuses(invoke(command, folder), shard.name)


@pytest.mark.parametrize("command", ["analyze", "inspect"])
def test_a_missing_shard_is_named(arrays, tmp_path, command):
    folder = write_shards(tmp_path / "sharded", arrays, 3)
    shard = folder / "model-00002-of-00003.safetensors"
    shard.unlink()
    refuses(invoke(command, folder), shard.name)


@pytest.mark.parametrize("shard", ["../other.safetensors", "/etc/passwd", "a/../../x.safetensors"])
def test_an_index_that_leads_outside(tmp_path, shard):
    folder = tmp_path / "model"
    folder.mkdir()
    write_safetensors(tmp_path / "other.safetensors", {})
    index = {"weight_map": {"w": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refuses(invoke("analyze", folder), "index.json")


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": 3}', '{"weight_map": {"w": 3}}'])
def test_a_damaged_index(tmp_path, text):
    (tmp_path / "model.safetensors.index.json").write_text(text)
    refuses(invoke("analyze", tmp_path), "index.json")


def test_a_damaged_config(tiny, tmp_path):
    (tmp_path / "model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes())
    (tmp_path / "config.json").write_text("{")
    refuses(invoke("analyze", tmp_path, "--out", tmp_path / "out"), "config.json")


def test_an_unknown_dtype_is_a_row_and_the_run_incomplete(tmp_path):
    header = {"w": entry("F4", [2, 4], 0, 4), "v": entry("F32", [2], 4, 12)}
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(header, bytes(12)))
    result = invoke("analyze", path, "--out", tmp_path / "out")
    assert result.exit_code == 3, result.output
    frame = mlx_probe.load_run(tmp_path / "out").set_index("param_name")
    assert frame.status.to_dict() == {"w": "skipped", "v": "ok"}
    assert "F4" in frame.loc["w", "status_reason"]
    assert frame.loc["w", "dtype"] == "F4"
    assert "1 skipped" in " ".join(result.stdout.split())


def test_a_folder_that_cannot_be_written(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "below", tmp_path / "file"):
        refuses(invoke("analyze", tiny, "--out", out), str(out), "--out")


def test_a_folder_in_place_of_a_table(tiny, tmp_path):
    (tmp_path / "params.csv").mkdir()
    refuses(invoke("analyze", tiny, "--out", tmp_path), "params.csv", "not of a run")
    command = ("analyze", tiny, "--out", tmp_path, "--overwrite")
    refuses(invoke(*command), "params.csv", "it is a folder")


@pytest.mark.parametrize("command", ["analyze", "inspect"])
def test_a_model_that_does_not_exist(tiny, command):
    refuses(invoke(command, tiny.with_name("tinny")), "tinny")
    refuses(invoke(command, "./no/such/model.safetensors"), "does not exist")


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    refuses(invoke("inspect", tmp_path / "notes.txt"), "is not a weight file", ".safetensors")


def test_a_folder_without_weights(tmp_path):
    refuses(invoke("inspect", tmp_path), str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--metrics", "most"], "'most'"),
        (["--backend", "cuda"], "'cuda'"),
        (["--format", "xlsx"], "'xlsx'"),
        (["--device", "tpu"], "'tpu'"),
        (["--workers", "-1"], "-1"),
        (["--workers", "two"], "'two'"),
        (["--seed", "x"], "'x'"),
        (["--rank-tol", "0"], "--rank-tol"),
        (["--rank-tol", "1"], "--rank-tol"),
        (["--rank-tol", "nan"], "rank_tol cannot be nan"),
        (["--zero-epsilon", "-1"], "--zero-epsilon"),
        (["--zero-epsilon", "inf"], "zero_epsilon cannot be inf"),
        (["--memory-limit", "much"], "600MB"),
        (["--memory-limit", "-1"], "--memory-limit"),
        (["--memory-limit", "1MB"], "cannot hold"),
        (["--include", "*q_prj*"], "no tensor is selected"),
        (["--backend", "numpy", "--device", "gpu"], "--backend mlx"),
        (["--config", "no-such.yaml"], "no-such.yaml"),
        (["--metric", "basic"], "--metric"),
        (["--revision", "main"], "revision"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_options_that_make_no_sense(tiny, tmp_path, arguments, says):
    result = invoke("analyze", tiny, "--out", tmp_path / "out", *arguments)
    refuses(result, says, code=result.exit_code or 2)
    assert not (tmp_path / "out").exists()


def test_the_suggested_memory_limit_works(tiny, tmp_path):
    said = refuses(invoke("analyze", tiny, "--memory-limit", "1MB"), "model.", code=2)
    number, unit = said.split("at least ")[1].split(",")[0].split()
    # A little more: the process of the tests has grown in between.
    limit = f"{float(number) * 1.02:.1f}{unit}"
    result = invoke("analyze", tiny, "--memory-limit", limit, "--out", tmp_path, "--quiet")
    assert result.exit_code == 0, result.output


def test_no_command_and_no_such_command():
    assert "Usage" in invoke().output
    refuses(invoke("analyse"), "analyse", code=2)


@pytest.mark.parametrize("command", ["analyze", "inspect", "validate"])
def test_a_missing_argument(command):
    refuses(invoke(command), "Missing argument", code=2)


def test_a_check_that_fails_at_the_end_decides_the_exit_code(tiny, tmp_path, monkeypatch):
    check = Check("spot check of \x1b[2Jw", False, "mean is \x1b[31m1")
    monkeypatch.setattr("mlx_probe.analysis.spotcheck.spot_check", lambda *_: [check])
    said = refuses(invoke("analyze", tiny, "--out", tmp_path), "the validation failed")
    assert "\x1b" not in said
    assert r"spot check of \x1b[2Jw: mean is \x1b[31m1" in said
    meta = json.loads((tmp_path / "run_meta.json").read_text("utf-8"))
    assert meta["validation"]["passed"] is False
    assert len(mlx_probe.load_run(tmp_path)) == 17


def test_out_of_memory_says_what_helps(tiny, tmp_path, monkeypatch):
    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr("mlx_probe.analysis.analyze.analyze_rows", exhausted)
    refuses(invoke("analyze", tiny, "--out", tmp_path), "--memory-limit")


def test_ctrl_c_anywhere_is_no_traceback(tiny, tmp_path, monkeypatch):
    def pressed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mlx_probe.analysis.spotcheck.spot_check", pressed)
    said = refuses(invoke("analyze", tiny, "--out", tmp_path), "interrupted", code=130)
    assert "Run the same command again" in said


def test_a_full_disk_says_that_rows_are_safe(tiny, tmp_path, monkeypatch):
    def full(lines, line):
        # The header and the number of the process still fit.
        if lines.end > 0 and "pid" not in line:
            raise OSError(28, "No space left on device")
        return append(lines, line)

    append = LineWriter.append
    monkeypatch.setattr("mlx_probe.runs.journal.LineWriter.append", full)
    refuses(invoke("analyze", tiny, "--out", tmp_path), "cannot write", "Free space")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nowhere", "does not exist"),
        ("", "holds no run"),
        ("notes.txt", "notes.txt"),
        ("run_meta.json", "run_meta.json"),
    ],
)
def test_validate_wants_a_finished_run(tmp_path, target, says):
    (tmp_path / "notes.txt").write_text("hello")
    if target.endswith(".json"):
        (tmp_path / target).write_text("{}")
    refuses(invoke("validate", tmp_path / target), says)


def test_validate_names_what_fails_and_exits_with_1(copied):
    def half_the_rank(table):
        i = table.column_names.index("rank")
        ranks = [None if r is None else r // 2 for r in table["rank"].to_pylist()]
        return table.set_column(i, table.schema.field(i), [ranks])

    result = invoke("validate", forge(copied, half_the_rank))
    refuses(result, "checks failed", str(copied))
    assert "rank is" in " ".join(result.stdout.split())
    assert "failed" in result.stdout


def test_validate_without_the_model_s_files(copied):
    edit_meta(copied, lambda meta: meta["model"].update(weights=["/nowhere/w.safetensors"]))
    refuses(invoke("validate", copied), "/nowhere/w.safetensors", "--no-recompute")
    assert invoke("validate", copied, "--no-recompute").exit_code == 0


def test_the_real_command_refuses_the_same_way(copied, tmp_path):
    (copied / "params.csv").write_text("short")
    refused(run("validate", copied), "checks failed")
    refused(run("analyze", tmp_path / "none"), "does not exist")


def test_a_bug_is_not_dressed_up_as_a_message(tiny, tmp_path, monkeypatch):
    def wrong(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("mlx_probe.analysis.analyze.analyze_rows", wrong)
    result = invoke("analyze", tiny, "--out", tmp_path)
    assert isinstance(result.exception, ZeroDivisionError)
