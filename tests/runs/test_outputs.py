import errno
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_probe.core.errors import ResultError
from mlx_probe.runs.environment import package_versions
from mlx_probe.runs.folder import resolve_output
from mlx_probe.runs.meta import columns_from_meta, columns_to_meta, read_meta, write_meta
from mlx_probe.runs.outputs import finalize, verify_hashes
from mlx_probe.runs.table import WRITERS


def test_finalize_writes_and_hashes_every_format(table, tmp_path):
    paths = resolve_output(tmp_path, list(WRITERS), "m")
    outputs = finalize(paths, table)
    assert sorted(outputs) == sorted(file.name for file in tmp_path.iterdir())
    for name, entry in outputs.items():
        content = (tmp_path / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert all(check.passed for check in verify_hashes(tmp_path, {"outputs": outputs}))


def test_a_failed_write_leaves_the_older_run_alone(table, tmp_path, monkeypatch):
    paths = resolve_output(tmp_path, ["csv", "jsonl"], "m")
    paths.meta.write_text("{}")
    paths.table("csv").write_text("old")

    def refuse(_, path):
        path.write_text("torn")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setitem(WRITERS, "jsonl", replace(WRITERS["jsonl"], write=refuse))
    with pytest.raises(ResultError, match=r"params\.jsonl: No space left"):
        finalize(paths, table)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "params.csv": "old",
        "run_meta.json": "{}",
    }


def test_an_older_runs_metadata_goes_before_new_tables_come(table, tmp_path):
    paths = resolve_output(tmp_path, [], "m")
    paths.meta.write_text("{}")
    finalize(paths, table)
    assert not paths.meta.exists()


@pytest.mark.parametrize(
    ("spoil", "detail"),
    [
        (Path.unlink, "No such file"),
        (lambda path: path.write_text("edited"), "sha256 differs"),
    ],
)
def test_verify_hashes(table, tmp_path, spoil, detail):
    outputs = finalize(resolve_output(tmp_path, ["csv", "jsonl"], "m"), table)
    spoil(tmp_path / "params.csv")
    csv_check, jsonl_check = verify_hashes(tmp_path, {"outputs": outputs})
    assert (csv_check.name, csv_check.passed) == ("sha256 of params.csv", False)
    assert detail in csv_check.detail
    assert jsonl_check.passed


def test_meta_keeps_order_and_survives(tmp_path):
    meta = {"z": [1.5, None], "a": {"ü": True}}
    write_meta(tmp_path / "m", meta)
    assert read_meta(tmp_path / "m") == meta
    assert list(read_meta(tmp_path / "m")) == ["z", "a"]
    assert [file.name for file in tmp_path.iterdir()] == ["m"]


def test_meta_is_strict_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_meta(tmp_path / "m", {"a": float("nan")})


def test_meta_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    write_meta(tmp_path / "m", {"run": 1})

    def refuse(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ResultError, match=r"cannot write .*/m: "):
        write_meta(tmp_path / "m", {"run": 2})
    assert read_meta(tmp_path / "m") == {"run": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_damaged_meta(tmp_path, text):
    (tmp_path / "m").write_text(text)
    with pytest.raises(ResultError, match=str(tmp_path / "m")):
        read_meta(tmp_path / "m")


def test_columns_survive_in_meta(columns):
    described = json.loads(json.dumps({"columns": columns_to_meta(columns)}))
    for reread, column in zip(columns_from_meta(described), columns, strict=True):
        for key in ("name", "type", "required", "lower", "upper"):
            assert getattr(reread, key) == getattr(column, key)


def test_package_versions():
    versions = package_versions()
    json.dumps(versions, allow_nan=False)
    assert {"numpy", "mlx", "pyarrow", "pandas", "gguf", "psutil"} <= versions["packages"].keys()
    assert all(versions["packages"].values())
    assert versions["python"].startswith("3.")
    assert versions["blas"]["numpy"] not in ("", "unknown")
