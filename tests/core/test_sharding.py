import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.core import sharding
from mlx_probe.core.errors import CheckpointError
from mlx_probe.core.sharding import is_inside, read_weight_map


def write(tmp_path, content):
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_weight_map(tmp_path):
    weight_map = {"a": "x.safetensors", "b": "sub/y.safetensors"}
    path = write(tmp_path, {"metadata": {"total_size": 3}, "weight_map": weight_map})
    assert read_weight_map(path) == weight_map


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        ([], "no weight_map"),
        ({}, "no weight_map"),
        ({"weight_map": {}}, "no weight_map"),
        ({"weight_map": ["a"]}, "no weight_map"),
        ({"weight_map": {"a": 1}}, "'a' lies in 1"),
        ({"weight_map": {"a": None}}, "'a' lies in None"),
        ({"weight_map": {"a": "../x"}}, "outside of the folder"),
        ({"weight_map": {"a": "x" * 256}}, r"xxx'\.\.\., too long a name"),
        (b'{"weight_map": {"a": "\\ud800"}}', "outside of the folder"),
        (b'{"weight_map": {"a": ' + b"1" * 5000 + b"}}", "not JSON|lies in 1"),
    ],
)
def test_damaged_index(tmp_path, content, what):
    path = write(tmp_path, content)
    with pytest.raises(CheckpointError, match=what) as e:
        read_weight_map(path)
    assert str(path) in e.value.fact


def test_missing_index(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot read .*gone.json: No such file"):
        read_weight_map(tmp_path / "gone.json")


def test_huge_index(tmp_path, monkeypatch):
    monkeypatch.setattr(sharding, "MAX_INDEX_BYTES", 10)
    with pytest.raises(CheckpointError, match="larger than 10 bytes"):
        read_weight_map(write(tmp_path, {"weight_map": {"a": "x"}}))


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/", "/etc/x", "//x", "../x", "a/../../x", "a\\..\\x", "c:x", "a\nb", "a\0b"],
)
def test_names_that_lead_out(name):
    assert not is_inside(name)


@settings(deadline=None)
@given(st.text(alphabet="./\\ab:\n", max_size=12))
def test_inside_is_below(name):
    if is_inside(name):
        assert os.path.normpath(f"/base/{name}").startswith("/base/")
        assert name.isprintable()
